/*
 * Every sum operation against its reference: each sum within the rounding of its terms (mr_sum_fn), rows without a
 * label, labels that no class has, all losses; and the same bits when the same rows come again.
 */
#include <float.h>

#include "kernels/kmeans_sum/kmeans_sum.h"
#include "kernels/moments/moments.h"
#include "parity_rig.h"

#define EPS ((double)FLT_EPSILON)

struct subject {
    struct mr_linear_sum_params linear;
    struct mr_kmeans_params kmeans;
    struct mr_scale_params scale;
    struct mr_packed *packed;
    struct mr_sum_target target;
    float *x, *y, *shift, *center;
    double *label, *want, *got, *size; /* size: sum of the absolute terms of each sum */
    int32_t *class_index;
    void *scratch;
    size_t cols, out, rows, count;
};

/* Scores as a model would give them: probabilities that sum to 1, some of them 0 and 1. */
static void scores_make(struct subject *s)
{
    for (size_t row = 0; row < s->rows; row++) {
        double sum = 0, p[64];
        for (size_t o = 0; o < s->out && o < 64; o++) sum += p[o] = exp(8 * uniform());
        for (size_t o = 0; o < s->out; o++) {
            const double value = s->linear.loss != MR_LOSS_LOG ? (double)salted(3)
                                 : s->out > 1                  ? p[o % 64] / sum
                                                               : 1 / (1 + p[0]);
            s->y[mr_tile_at(row, o, s->out)] = row % 37 == 5 ? (float)(o == 0) : (float)value;
        }
        s->class_index[row] = (int32_t)((uniform() + 1) / 2 * (double)s->kmeans.k);
    }
}

static void labels_make(struct subject *s)
{
    for (size_t row = 0; row < s->rows; row++) {
        const double dice = uniform();
        double label = (double)salted(3) * 1.0000001;
        if (s->linear.loss == MR_LOSS_LOG)
            label = s->out > 1 ? floor((uniform() + 1) / 2 * (double)s->out)
                    : dice > 0 ? dice > 0.5
                               : (uniform() + 1) / 2;
        if (dice < -0.9) label = NAN;
        if (dice > 0.9 && s->linear.loss == MR_LOSS_LOG) label = s->out > 1 ? 0.5 : -0.5;
        if (dice > 0.95 && s->linear.loss == MR_LOSS_LOG) label = (double)s->out + 1;
        s->label[row] = label;
    }
}

static void subject_make(struct subject *s, mr_op op, size_t cols, size_t out, mr_loss loss, size_t rows)
{
    const size_t tile_rows = mr_tile_count(rows) * MR_TILE_ROWS;
    *s = (struct subject){.cols = cols, .out = out, .rows = rows};
    s->shift = zeroed(cols * sizeof(float));
    s->center = zeroed(cols * out * sizeof(float));
    for (size_t c = 0; c < cols; c++) s->shift[c] = salted(10);
    s->linear = (struct mr_linear_sum_params){cols, out, loss, 0.7f};
    s->kmeans = (struct mr_kmeans_params){cols, out, s->center};
    s->scale = (struct mr_scale_params){cols, s->shift, s->shift};
    const void *const params = op == MR_OP_LINEAR_SUM   ? (const void *)&s->linear
                               : op == MR_OP_KMEANS_SUM ? (const void *)&s->kmeans
                                                        : (const void *)&s->scale;
    s->packed = mr_packed_create(op, params);
    assert_non_null(s->packed);
    s->count = mr_packed_sum_count(s->packed);
    s->x = rows_make(rows, cols, 2);
    for (size_t row = 0; op == MR_OP_MOMENTS && row < rows; row++) {
        for (size_t c = 0; c < cols; c++) s->x[mr_tile_at(row, c, cols)] += s->shift[c];
    }
    s->y = zeroed(tile_rows * out * sizeof(float));
    s->class_index = zeroed(tile_rows * sizeof(int32_t));
    s->label = malloc(rows * sizeof(double) + 1); /* to the byte: the sanitizers see what is read behind it */
    scores_make(s);
    labels_make(s);
    /* What kernels leave behind the last row may be anything. */
    for (size_t row = rows; row < tile_rows; row++) {
        s->class_index[row] = 0;
        for (size_t o = 0; o < out; o++) s->y[mr_tile_at(row, o, out)] = 77;
    }
    s->target = (struct mr_sum_target){.label = s->label, .y = s->y, .class_index = s->class_index};
    s->want = zeroed(s->count * sizeof(double));
    s->got = zeroed((s->count + GUARD_COUNT) * sizeof(double));
    s->size = zeroed(s->count * sizeof(double));
    s->scratch = zeroed(mr_packed_scratch_bytes(s->packed) + GUARD_COUNT * sizeof(float));
}

static void subject_free(struct subject *s)
{
    void *const all[] = {s->x,    s->y,   s->shift, s->center,  s->label,
                         s->want, s->got, s->size,  s->scratch, s->class_index};
    mr_packed_free(s->packed);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
}

/* The reference, one row at a time, gives the terms of each sum: what rounding errors are measured by. */
static void sizes_make(struct subject *s, const struct mr_kernel *ref)
{
    double *const term = zeroed(s->count * sizeof *term);
    float *const x = zeroed(MR_TILE_ROWS * s->cols * sizeof *x), *const y = zeroed(MR_TILE_ROWS * s->out * sizeof *y);
    for (size_t row = 0; row < s->rows; row++) {
        int32_t class_index[MR_TILE_ROWS] = {s->class_index[row]};
        for (size_t c = 0; c < s->cols; c++) x[c * MR_TILE_ROWS] = s->x[mr_tile_at(row, c, s->cols)];
        for (size_t o = 0; o < s->out; o++) y[o * MR_TILE_ROWS] = s->y[mr_tile_at(row, o, s->out)];
        const struct mr_sum_target target = {.label = &s->label[row], .y = y, .class_index = class_index};
        ref->sum(x, s->packed, &target, term, s->scratch, 1);
        for (size_t i = 0; i < s->count; i++) s->size[i] += fabs(term[i]) + EPS;
    }
    free(term);
    free(x);
    free(y);
}

static void case_check(const struct mr_kernel *kernel, size_t cols, size_t out, mr_loss loss, size_t rows)
{
    const struct mr_kernel *const ref = mr_kernel_select(kernel->op, "ref");
    struct subject s;
    subject_make(&s, kernel->op, cols, out, loss, rows);
    ref->sum(s.x, s.packed, &s.target, s.want, s.scratch, rows);
    sizes_make(&s, ref);
    float *const scratch_end = (float *)s.scratch + mr_packed_scratch_bytes(s.packed) / sizeof(float);
    for (size_t i = 0; i < GUARD_COUNT; i++) s.got[s.count + i] = scratch_end[i] = GUARD;
    kernel->sum(s.x, s.packed, &s.target, s.got, s.scratch, rows);
    assert_string_equal(mr_kernel_last_ran(), kernel->variant);
    for (size_t i = 0; i < s.count; i++) {
        const double off = fabs(s.got[i] - s.want[i]), bound = (MR_SUM_ROWS / 8 + 8) * EPS * s.size[i];
        if (!(off <= bound))
            fail_msg("%s_%s cols=%zu out=%zu loss=%d rows=%zu: sum %zu is %.12g, want %.12g, off by %.3g, bound %.3g",
                     kernel->op_name, kernel->variant, cols, out, (int)loss, rows, i, s.got[i], s.want[i], off, bound);
    }
    double *const again = zeroed((s.count + GUARD_COUNT) * sizeof *again);
    kernel->sum(s.x, s.packed, &s.target, again, s.scratch, rows);
    assert_memory_equal(again, s.got, s.count * sizeof *again);
    for (size_t i = 0; i < GUARD_COUNT; i++) {
        if (s.got[s.count + i] != (double)GUARD || scratch_end[i] != GUARD)
            fail_msg("%s_%s cols=%zu out=%zu rows=%zu: wrote past the sums or its scratch", kernel->op_name,
                     kernel->variant, cols, out, rows);
    }
    free(again);
    subject_free(&s);
}

static void kernel_check(void **state)
{
    static const size_t cols[] = {1, 2, 3, 7, 8, 9, 16, 17, 64, 129, 1024}, outs[] = {1, 2, 3, 6, 12, 13, 33};
    const struct mr_kernel *const kernel = *state;
    const size_t every = cases_every(kernel, 1);
    size_t count = 0, number = 0;
    need_kernel(kernel);
    seed = 4711;
    for (size_t c = 0; c < sizeof cols / sizeof *cols; c++) {
        for (size_t o = 0; o < sizeof outs / sizeof *outs; o++) {
            for (size_t r = 0; r < ROW_COUNTS; r++) {
                if ((kernel->op == MR_OP_MOMENTS && o) || row_counts[r] * cols[c] * outs[o] > 400000) continue;
                if (number++ % every) continue;
                const mr_loss last = kernel->op == MR_OP_LINEAR_SUM ? MR_LOSS_LOG : MR_LOSS_SQUARED;
                for (unsigned loss = outs[o] > 1 ? last : MR_LOSS_SQUARED; loss <= last; loss++, count++)
                    case_check(kernel, cols[c], outs[o], (mr_loss)loss, row_counts[r]);
            }
        }
    }
    printf("%s_%s: %zu cases agree with the reference\n", kernel->op_name, kernel->variant, count);
}

int main(int argc, char **argv)
{
    return parity_main(argc, argv, kernel_check, MR_OP_LINEAR_SUM, MR_OP_MOMENTS);
}
