/* cpu: the SIMD kernels on the thread that asks. `cpu` takes the best variant that the machine has, `cpu:avx2` that
 * one. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/cores.h"
#include "kernels/kernels.h"
#include "millrace/backend.h"

struct mr_backend {
    const struct mr_kernel *kernel[MR_OP_COUNT]; /* NULL: a special operation that is not to be had here */
    char text[64], kind[32];
};

struct mr_plan {
    const struct mr_kernel *kernel;
    const void *params;
    struct mr_packed *packed;
    size_t scratch_bytes;
    unsigned want;
};

struct mr_queue {
    void *scratch;
    size_t scratch_bytes;
};

/* Appends "avx512, avx2, ..." : the variants of all operations that can run here, or, with the reason, those that
 * cannot. */
static void variants_list(char *text, size_t bytes, bool available)
{
    size_t used = 0;
    text[0] = '\0';
    for (size_t i = 0; i < mr_kernel_count && mr_kernels[i].op == mr_kernels[0].op; i++) {
        const char *reason = NULL;
        if (mr_kernel_is_available(&mr_kernels[i], &reason) != available || used >= bytes) continue;
        used += (size_t)snprintf(text + used, bytes - used, "%s%s%s%s%s", used ? ", " : "", mr_kernels[i].variant,
                                 reason ? " (" : "", reason ? reason : "", reason ? ")" : "");
    }
}

static mr_status cpu_open(const char *variant, struct mr_backend **backend_out, struct mr_err *err)
{
    struct mr_backend *const backend = calloc(1, sizeof *backend);
    *backend_out = NULL;
    if (!backend) return mr_fail(err, MR_ENOMEM, "backend cpu: out of memory");
    for (unsigned op = 0; op < MR_OP_COUNT; op++) {
        backend->kernel[op] = mr_kernel_select((mr_op)op, variant);
        if (!backend->kernel[op] && !mr_op_is_special((mr_op)op)) {
            char here[128], missing[256];
            variants_list(here, sizeof here, true);
            variants_list(missing, sizeof missing, false);
            free(backend);
            return mr_fail(err, MR_EBACKEND, "backend \"cpu:%.40s\": no such variant here; there are: %s%s%s",
                           variant ? variant : "", here, *missing ? "; not: " : "", missing);
        }
    }
    const unsigned cores = mr_core_count();
    snprintf(backend->kind, sizeof backend->kind, "cpu:%s", backend->kernel[0]->variant);
    snprintf(backend->text, sizeof backend->text, "%s, %u core%s", backend->kind, cores, cores == 1 ? "" : "s");
    *backend_out = backend;
    return MR_OK;
}

static const char *cpu_describe(const struct mr_backend *backend)
{
    return backend->text;
}

/* A lane scores its batches alone: the number of cores changes no sum. */
static const char *cpu_kind(const struct mr_backend *backend)
{
    return backend->kind;
}

static void *cpu_slab_acquire(struct mr_backend *backend, size_t bytes)
{
    const size_t huge_page_bytes = (size_t)2 << 20;
    (void)backend;
    if (bytes >= huge_page_bytes) {
        /* Whole huge pages; the kernel zeroes them. */
        if (bytes > SIZE_MAX - huge_page_bytes) return NULL;
        const size_t whole = (bytes + huge_page_bytes - 1) / huge_page_bytes * huge_page_bytes;
        void *const slab = aligned_alloc(huge_page_bytes, whole);
        if (!slab) return NULL;
        (void)madvise(slab, whole, MADV_HUGEPAGE); /* advice only: without it the slab works as well, only slower */
        return memset(slab, 0, whole);
    }
    void *const slab = aligned_alloc(MR_ALIGN, (bytes / MR_ALIGN + 1) * MR_ALIGN);
    return slab ? memset(slab, 0, (bytes / MR_ALIGN + 1) * MR_ALIGN) : NULL;
}

static void cpu_slab_release(struct mr_backend *backend, void *slab, size_t bytes)
{
    (void)backend;
    (void)bytes;
    free(slab);
}

/* Why a special operation cannot be had, and what to write instead. */
static mr_status special_refuse(const struct mr_backend *backend, mr_op op, struct mr_err *err)
{
    const struct mr_kernel *best = mr_kernels;
    const char *reason;
    while (best->op != op) best++;
    if (!mr_kernel_is_available(best, &reason))
        return mr_fail(err, MR_EBACKEND, "backend cpu: %s cannot run here: %s: set \"precision\" to \"fp32\"",
                       best->op_name, reason);
    return mr_fail(err, MR_EBACKEND,
                   "backend cpu:%s has no %s: set \"backend\" to \"cpu\", or \"precision\" to \"fp32\"",
                   backend->kernel[0]->variant, best->op_name);
}

static mr_status cpu_plan_create(struct mr_backend *backend, mr_op op, const void *params, size_t row_cap,
                                 unsigned want, struct mr_plan **plan_out, struct mr_err *err)
{
    struct mr_plan *const plan = calloc(1, sizeof *plan);
    (void)row_cap; /* a tile at a time: scratch does not grow with the batch */
    *plan_out = NULL;
    /* The same answers sooner, and from half the memory. */
    if (op == MR_OP_MF_TOPN && backend->kernel[MR_OP_MF_TOPN_BF16]) op = MR_OP_MF_TOPN_BF16;
    if (!backend->kernel[op]) {
        free(plan);
        return special_refuse(backend, op, err);
    }
    if (plan) plan->packed = mr_packed_create(op, params);
    if (!plan || !plan->packed) {
        free(plan);
        return mr_fail(err, MR_ENOMEM, "backend cpu: out of memory for the weights of %s", mr_op_name(op));
    }
    plan->kernel = backend->kernel[op];
    plan->params = params;
    plan->scratch_bytes = mr_packed_scratch_bytes(plan->packed);
    plan->want = want;
    *plan_out = plan;
    return MR_OK;
}

static mr_status cpu_plan_update(struct mr_plan *plan, struct mr_err *err)
{
    struct mr_packed *const packed = mr_packed_create(plan->kernel->op, plan->params);
    if (!packed)
        return mr_fail(err, MR_ENOMEM, "backend cpu: out of memory for the weights of %s", plan->kernel->op_name);
    mr_packed_free(plan->packed);
    plan->packed = packed;
    return MR_OK;
}

static void cpu_plan_destroy(struct mr_plan *plan)
{
    if (plan) mr_packed_free(plan->packed);
    free(plan);
}

static mr_status cpu_queue_open(struct mr_backend *backend, struct mr_queue **queue_out, struct mr_err *err)
{
    (void)backend;
    *queue_out = calloc(1, sizeof **queue_out);
    return *queue_out ? MR_OK : mr_fail(err, MR_ENOMEM, "backend cpu: out of memory");
}

static void cpu_queue_close(struct mr_queue *queue)
{
    if (queue) free(queue->scratch);
    free(queue);
}

/* Scratch grows with the first batch of a model that needs more, never afterwards. */
static mr_status scratch_grow(struct mr_queue *queue, size_t bytes, struct mr_err *err)
{
    if (bytes <= queue->scratch_bytes) return MR_OK;
    void *const scratch = aligned_alloc(MR_ALIGN, bytes);
    if (!scratch) return mr_fail(err, MR_ENOMEM, "backend cpu: out of memory for %zu bytes of scratch", bytes);
    free(queue->scratch);
    queue->scratch = scratch;
    queue->scratch_bytes = bytes;
    return MR_OK;
}

static mr_status cpu_score(struct mr_queue *queue, const struct mr_plan *plan, const float *x, size_t row_count,
                           struct mr_scores *scores, struct mr_err *err)
{
    if (scratch_grow(queue, plan->scratch_bytes, err)) return MR_ENOMEM;
    plan->kernel->score(x, plan->packed, plan->want & MR_WANT_Y ? scores->y : NULL,
                        plan->want & MR_WANT_ITEMS   ? scores->item
                        : plan->want & MR_WANT_CLASS ? scores->class_index
                                                     : NULL,
                        queue->scratch, row_count);
    return MR_OK;
}

static mr_status cpu_sum(struct mr_queue *queue, const struct mr_plan *plan, const float *x, size_t row_count,
                         const struct mr_sum_target *target, double *sums, struct mr_err *err)
{
    if (scratch_grow(queue, plan->scratch_bytes, err)) return MR_ENOMEM;
    plan->kernel->sum(x, plan->packed, target, sums, queue->scratch, row_count);
    return MR_OK;
}

static mr_status cpu_wait(struct mr_queue *queue, struct mr_err *err)
{
    (void)queue;
    (void)err;
    return MR_OK;
}

static void cpu_close(struct mr_backend *backend)
{
    free(backend);
}

extern const struct mr_backend_ops mr_backend_cpu;
const struct mr_backend_ops mr_backend_cpu = {
    .name = "cpu",
    .summary = "SIMD units of this machine: AVX-512, AVX2, NEON or baseline, chosen at start; cpu:NAME forces one",
    .has_reduced = true,
    .open = cpu_open,
    .describe = cpu_describe,
    .kind = cpu_kind,
    .slab_acquire = cpu_slab_acquire,
    .slab_release = cpu_slab_release,
    .plan_create = cpu_plan_create,
    .plan_update = cpu_plan_update,
    .plan_destroy = cpu_plan_destroy,
    .queue_open = cpu_queue_open,
    .queue_close = cpu_queue_close,
    .score = cpu_score,
    .sum = cpu_sum,
    .wait = cpu_wait,
    .close = cpu_close,
};
