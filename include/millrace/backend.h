/** Backends: where operations run. A backend owns slabs (host memory that its device reads at full speed) and queues.
 */
#ifndef MILLRACE_BACKEND_H
#define MILLRACE_BACKEND_H

#include "millrace/model.h"

#ifdef __cplusplus
extern "C" {
#endif

struct mr_backend; /* one a process; thread-safe */
struct mr_plan;  /* one operation made ready for one backend: weights packed or uploaded; thread-safe but for update */
struct mr_queue; /* in-order work of one slot; one thread at a time */

/** A backend: a folder src/backend/<name>/ and a line in registry.def. */
struct mr_backend_ops {
    const char *name; /* value of "backend", before an optional ":variant" */
    const char *summary;
    bool has_reduced; /* may have the operations of fewer bits (struct mr_reduced) */
    bool overlaps;    /* score() returns before the work is done, so a second slot in flight pays */
    /*
     * Whether the machine looks as if it had a device for this backend beside its own processors: a matter of
     * microseconds, and no driver is loaded. "auto" asks it before open(). NULL: only open() can tell.
     */
    bool (*may_start)(void);
    /*
     * Required. variant: what stands behind the colon ("avx2"), or NULL for the best that the machine has.
     * An unknown variant or a missing device is MR_EBACKEND whose text lists what there is: never a silent fallback.
     * On error *backend_out is NULL.
     */
    mr_status (*open)(const char *variant, struct mr_backend **backend_out, struct mr_err *err);
    /* Required. One line on what it runs on, e.g. "cpu:avx512, 2 cores". Valid until close. */
    const char *(*describe)(const struct mr_backend *backend);
    /* What of that decides the bits of a score, e.g. "cpu:avx512": the same text, the same bits. Valid until close.
     * NULL: all that describe() says may. */
    const char *(*kind)(const struct mr_backend *backend);
    /* Whether it computes on this machine's own processors, where `cpu` is the better choice; NULL: it does not. */
    bool (*is_host)(const struct mr_backend *backend);
    /* Required. 64-byte aligned, zeroed host memory that uploads and downloads run from at full speed. NULL: out of
     * memory. release: with the same count of bytes; accepts NULL. Any thread. */
    void *(*slab_acquire)(struct mr_backend *backend, size_t bytes);
    void (*slab_release)(struct mr_backend *backend, void *slab, size_t bytes);
    /*
     * Required. Makes an operation with its parameters (the struct that mr_op names; they must outlive the plan) ready
     * for batches of up to row_cap rows; want: outputs of one that scores (MR_WANT_...).
     * On error *plan_out is NULL: MR_ENOMEM, MR_EBACKEND. Destroy plans before the backend.
     */
    mr_status (*plan_create)(struct mr_backend *backend, mr_op op, const void *params, size_t row_cap, unsigned want,
                             struct mr_plan **plan_out, struct mr_err *err);
    /* Required. Takes over what the numbers behind params have become; sizes stay. Nothing may run with the plan. On
     * error the plan is as before. */
    mr_status (*plan_update)(struct mr_plan *plan, struct mr_err *err);
    void (*plan_destroy)(struct mr_plan *plan);
    /* Required. A queue for one slot at a time. On error *queue_out is NULL. queue_close accepts NULL; nothing may be
     * in flight. */
    mr_status (*queue_open)(struct mr_backend *backend, struct mr_queue **queue_out, struct mr_err *err);
    void (*queue_close)(struct mr_queue *queue);
    /*
     * Required. Starts scoring row_count rows of the tiles x into scores. Returns at once on a device, after the work
     * on a CPU. x and scores must stay untouched until wait() returns. Rows of the last tile past row_count hold zeros,
     * or what a score before on the same queue left there: x may be the y of other scores.
     */
    mr_status (*score)(struct mr_queue *queue, const struct mr_plan *plan, const float *x, size_t row_count,
                       struct mr_scores *scores, struct mr_err *err);
    /*
     * Required. Starts summing over row_count rows of x (kernels.h, mr_sum_fn; sums: float64, as many as the operation
     * has). target: label, and what score() gave the rows, on the same queue. What the last score() of this queue took
     * and gave must still be as it was then: a device does not fetch it again.
     */
    mr_status (*sum)(struct mr_queue *queue, const struct mr_plan *plan, const float *x, size_t row_count,
                     const struct mr_sum_target *target, double *sums, struct mr_err *err);
    /* Required. Waits until all that was started on the queue is done and readable by the host. */
    mr_status (*wait)(struct mr_queue *queue, struct mr_err *err);
    /* Required. Accepts NULL. */
    void (*close)(struct mr_backend *backend);
};

/** The plan that scores a model, with fewer bits where it asks for them; as plan_create. */
static inline mr_status mr_plan_model(const struct mr_backend_ops *backend_ops, struct mr_backend *backend,
                                      const struct mr_model_ops *ops, const struct mr_model *model, size_t row_cap,
                                      unsigned want, struct mr_plan **plan_out, struct mr_err *err)
{
    const void *params;
    const mr_op op = ops->op(model, &params);
    const struct mr_reduced reduced = ops->reduced ? ops->reduced(model) : (struct mr_reduced){0};
    return backend_ops->plan_create(backend, reduced.name ? reduced.op : op, params, row_cap, want, plan_out, err);
}

#ifdef __cplusplus
}
#endif
#endif
