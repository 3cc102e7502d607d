/**
 * Threads that pass over all rows of a matrix with the kernels of a backend: score them, sum over them, or both. What
 * a fit does is a sequence of such passes.
 *
 * The rows are cut into parts in a way that depends on their count alone, and the sums of the parts are added in their
 * order: the same rows give the same bits whatever the number of threads, on the same kind of backend.
 */
#ifndef MR_FIT_CREW_H
#define MR_FIT_CREW_H

#include "millrace/backend.h"

struct mr_crew;

/**
 * backend: as a job file names it ("cpu", "cpu:avx2", "cuda" ...; "auto" is cpu). threads: 0 takes as many as there are
 * cores; a device has one. MR_EUSAGE: no such backend; MR_EBACKEND, MR_ENOMEM. On error *crew_out is NULL.
 */
mr_status mr_crew_open(const char *backend, unsigned threads, struct mr_crew **crew_out, struct mr_err *err);
/** Accepts NULL. Destroy its plans before. */
void mr_crew_close(struct mr_crew *crew);

/** One line on what it runs on, and how many threads there are. */
const char *mr_crew_describe(const struct mr_crew *crew);
unsigned mr_crew_thread_count(const struct mr_crew *crew);

/** As mr_backend_ops.plan_create, for passes; cols: of x. */
mr_status mr_crew_plan_create(struct mr_crew *crew, mr_op op, const void *params, size_t cols, unsigned want,
                              struct mr_plan **plan_out, struct mr_err *err);
mr_status mr_crew_plan_update(struct mr_crew *crew, struct mr_plan *plan, struct mr_err *err);
/** Accepts NULL. */
void mr_crew_plan_destroy(struct mr_crew *crew, struct mr_plan *plan);

struct mr_hand; /* what a thread works with while it has a chunk */

/** Rows of a chunk: [first, first + rows); first is a multiple of mr_crew_chunk_rows. */
struct mr_chunk {
    size_t first, rows;
};

/** Rows that a chunk has, but for the last one: of the columns alone. A multiple of a tile. */
size_t mr_crew_chunk_rows(size_t cols);

/**
 * Calls work for each chunk of the rows, on any of the threads, and adds up what it puts into sums ([sum_count], which
 * hold anything when it is called): sums_out may be NULL with sum_count 0. One caller at a time. The first error ends
 * it.
 */
typedef mr_status mr_chunk_fn(void *context, struct mr_hand *hand, const struct mr_chunk *chunk, double *sums,
                              struct mr_err *err);
mr_status mr_crew_walk(struct mr_crew *crew, size_t rows, size_t cols, size_t sum_count, mr_chunk_fn *work,
                       void *context, double *sums_out, struct mr_err *err);

/**
 * For work: scores rows (at most a chunk) with a plan of the crew. What *y_out (tiles of width columns) and *class_out
 * point to is the hand's until it scores again.
 */
mr_status mr_hand_score(struct mr_hand *hand, const struct mr_plan *plan, const float *x, size_t rows, size_t width,
                        const float **y_out, const int32_t **class_out, struct mr_err *err);

/** One pass of a model: scores the rows, and sums over them. Arrays are the caller's. */
struct mr_pass {
    const float *x;      /* tiles [mr_tile_count(rows)][cols][64], 64-byte aligned, rows past the end zero */
    const double *label; /* [rows]; NULL: none */
    size_t rows, cols;
    const struct mr_plan *score; /* NULL: rows are not scored */
    size_t width;                /* of its y */
    const struct mr_plan *sum;
    size_t sum_count; /* of its sums */
};

/** sums_out: [sum_count]; zero where there are no rows. As mr_crew_walk. */
mr_status mr_crew_pass(struct mr_crew *crew, const struct mr_pass *pass, double *sums_out, struct mr_err *err);

/**
 * Other work that falls into pieces: calls work(context, piece) once for each piece below count, on any of the threads.
 * Returns when all are done.
 */
void mr_crew_share(struct mr_crew *crew, size_t count, void (*work)(void *context, size_t piece), void *context);

#endif
