/**
 * What a run scores on: the backend that it asks for, the CPU behind it, and with a cross-check the reference behind
 * both. A unit that fails or computes wrongly is left for the next one: no batch and nothing learned is lost by that,
 * because rows, scores and learned state are the host's.
 */
#ifndef MR_SCORING_UNITS_H
#define MR_SCORING_UNITS_H

#include <stdatomic.h>

#include "millrace/backend.h"

#define MR_UNIT_MAX 3
#define MR_NO_UNIT  SIZE_MAX

/** A backend at work. */
struct mr_unit {
    const struct mr_backend_ops *ops;
    struct mr_backend *backend;
    size_t rows_min;           /* batches with fewer rows go to the next unit; 0: all are for this one */
    size_t row_cap;            /* the largest batch */
    _Atomic size_t chunk_rows; /* rows that it is given at once, whole tiles: halved when it runs out of memory */
    _Atomic bool is_left;
    _Atomic uint64_t batches; /* that it scored */
};

/** In the order in which they are tried. The last of those that are not the reference is the CPU. */
struct mr_units {
    struct mr_unit unit[MR_UNIT_MAX];
    size_t count;
    size_t reference; /* index of the unit that only a cross-check asks, until all others are left; MR_NO_UNIT */
};

/** Queues of one slot, one for each unit, and the unit that has its batch. One thread at a time. */
struct mr_queues {
    struct mr_queue *queue[MR_UNIT_MAX];
    size_t unit;
    unsigned refused; /* of struct mr_models when the batch was started */
};

/**
 * Opens the unit that `wanted` names ("cpu", "cpu:avx2", "cuda:1") and the CPU behind it when it is another.
 * row_cap: the largest batch. with_reference: also the CPU's reference kernels. MR_ECONFIG: no such backend in this
 * build; MR_EBACKEND: it does not start, and nothing takes its place. On error the units are as after mr_units_close.
 */
mr_status mr_units_open(struct mr_units *units, const char *wanted, size_t row_cap, bool with_reference,
                        struct mr_err *err);

/** Puts an opened backend, which the units then own, before all others. */
void mr_units_prefer(struct mr_units *units, const struct mr_backend_ops *ops, struct mr_backend *backend,
                     size_t row_cap, size_t rows_min);

/** Index of the unit for a batch of that many rows. Any thread. */
size_t mr_unit_pick(const struct mr_units *units, size_t rows);

/**
 * A call of a unit failed with `status`: out of memory halves its chunks, all else leaves it, and says so once. True:
 * try the batch again (mr_unit_pick says where); false: there is no other unit, the error stands. Any thread.
 */
bool mr_unit_recover(struct mr_units *units, size_t unit, mr_status status, const struct mr_err *err);

/** Leaves a unit because of what it computed; `why` is what the log says. Any thread. */
void mr_unit_leave(struct mr_units *units, size_t unit, const char *why);

/** What rows are scored on now: "cuda:0 NVIDIA H200, small batches cpu:avx512, 16 cores". */
void mr_units_describe(const struct mr_units *units, char *text, size_t bytes);

/** What of that decides the bits of a score: "cpu:avx512". Two runs of the same kind compute the same bits. */
void mr_units_kind(const struct mr_units *units, char *text, size_t bytes);

/** Whether a second slot in flight pays. */
bool mr_units_overlap(const struct mr_units *units);

/** Host memory that the first unit reads at full speed; as the backend's slab_acquire and slab_release. */
void *mr_units_slab_acquire(const struct mr_units *units, size_t bytes);
void mr_units_slab_release(const struct mr_units *units, void *slab, size_t bytes);

/** Opens a queue on every unit. On error all are closed. */
mr_status mr_queues_open(struct mr_queues *queues, const struct mr_units *units, struct mr_err *err);
/** Nothing may be in flight. Accepts zeroed queues. */
void mr_queues_close(struct mr_queues *queues, const struct mr_units *units);

/** Closes all backends; plans, queues and slabs must be gone. Accepts a zeroed struct. */
void mr_units_close(struct mr_units *units);

#endif
