/**
 * The kernel table: every variant of every operation, best first, and how one is chosen.
 * The same rows (kernels.def) drive selection, the parity test, bench_kernels and `millrace backends`.
 */
#ifndef MR_KERNELS_KERNELS_H
#define MR_KERNELS_KERNELS_H

#include <stdbool.h>

#include "kernels/pack.h"
#include "millrace/model.h"

/**
 * Scores rows of feature tiles; the type of every scoring operation's variants (the formula: kernels/<op>/<op>.h).
 *
 * x            tiles [ceil(rows / 64)][model->in][64] (batch.h), 64-byte aligned; rows past the end hold zeros.
 * model        packed by mr_<op>_pack.
 * y            tiles [ceil(rows / 64)][model->out][64], 64-byte aligned; NULL: not wanted, the final activation is not
 * computed. class_index  [rows rounded up to 64], 64-byte aligned; NULL: not wanted. scratch
 * mr_packed_scratch_bytes(model) bytes, 64-byte aligned, of this thread alone.
 *
 * Rows of y and class_index past the end, within the last tile, are unspecified; nothing behind that tile is touched.
 * rows may be 0. Nothing overlaps. Any number of threads may call it on disjoint outputs and scratch. Cannot fail.
 * Class: the index of the largest logit, the lowest of equal ones; one output: 1 when its logit is > 0, that is p >
 * 0.5. NaN (only by overflow: inputs and weights are finite): activations pass it on; as a logit it never wins; nothing
 * but NaN gives class 0. Error against the reference: see kernels/README.md, "Error bounds".
 */
typedef void mr_score_fn(const float *x, const struct mr_packed *model, float *y, int32_t *class_index, void *scratch,
                         size_t rows);

/**
 * Sums over rows of feature tiles what a model learns from; the type of every sum operation's variants (what the
 * sums are: kernels/<op>/<op>.h).
 *
 * x, model, rows, scratch, alignment: as in mr_score_fn. sums: [mr_packed_sum_count(model)] float64, overwritten.
 *
 * Products are float32; at most MR_SUM_ROWS rows are added in float32, in lanes, before they are added in float64. The
 * order of additions depends on the variant alone: the same rows give the same bits. Cannot fail. A feature or label
 * that is huge can make a sum infinite or NaN: for the model to see. Error against the reference, for a sum of terms t:
 * (MR_SUM_ROWS / 8 + 8) * FLT_EPSILON * sum |t|, and what is off in y times its weight in t.
 */
typedef void mr_sum_fn(const float *x, const struct mr_packed *model, const struct mr_sum_target *target, double *sums,
                       void *scratch, size_t rows);

/** What a variant needs of the CPU, as bits. */
#define MR_CPU_AVX2   1u  /* avx2, fma */
#define MR_CPU_AVX512 2u  /* avx512f, bw, dq, vl */
#define MR_CPU_NEON   4u  /* every arm64 */
#define MR_CPU_BF16   8u  /* avx512_bf16 */
#define MR_CPU_VNNI   16u /* avx512_vnni */

struct mr_kernel {
    mr_op op;
    const char *op_name;
    const char *variant; /* "avx512", "avx2", "neon", "base", "ref" */
    unsigned needs;      /* MR_CPU_... */
    mr_score_fn *score;  /* one of the two; both NULL: not compiled for this architecture */
    mr_sum_fn *sum;
};

/** All rows of kernels.def: by operation, best first; the reference is the last of each. */
extern const struct mr_kernel mr_kernels[];
extern const size_t mr_kernel_count;

/** Features of this CPU that the operating system lets programs use, as MR_CPU_ bits. Thread-safe. */
unsigned mr_cpu_features(void);

/** Can this row run here? If not, *reason_out (may be NULL) says why: a static text. */
bool mr_kernel_is_available(const struct mr_kernel *kernel, const char **reason_out);

/** The best available variant of an operation, or the named one; NULL when there is no such variant or it cannot run
 * here. The reference is never the best of a special operation. */
const struct mr_kernel *mr_kernel_select(mr_op op, const char *variant);

/** Whether only CPUs with certain features have this operation at all, beside its reference: mlp_bf16, mlp_int8,
 * mf_topn_bf16. */
bool mr_op_is_special(mr_op op);

/** Lower-case name of an operation, such as "mlp_forward"; never NULL. */
const char *mr_op_name(mr_op op);

/** Variant of the kernel that ran last on this thread, as that kernel itself noted it; "" before the first. For tests
 * and logs. */
const char *mr_kernel_last_ran(void);

/** Each kernel notes its own name at every call. */
extern _Thread_local const char *mr_kernel_ran;

#endif
