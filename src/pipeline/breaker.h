/** The circuit breaker: ends a job whose input is mostly bad, counted over all lanes. */
#ifndef MR_PIPELINE_BREAKER_H
#define MR_PIPELINE_BREAKER_H

#include <pthread.h>

#include "config/job.h"
#include "millrace/batch.h"

/** One for a run; its lanes share it. */
struct mr_breaker {
    pthread_mutex_t mutex;
    uint64_t seen, bad;  /* since about the last `window` records */
    uint64_t run_length; /* bad records since any lane had a good one */
};

void mr_breaker_init(struct mr_breaker *breaker);
void mr_breaker_deinit(struct mr_breaker *breaker);

/**
 * Counts a batch as it is decoded, before any of it is scored or delivered. lane_run_length: bad records of this lane
 * in a row, across its batches; kept by the caller, 0 at first. MR_EDATA, with figures and remedy, when it trips. Any
 * thread.
 */
mr_status mr_breaker_count(struct mr_breaker *breaker, const struct mr_bad_records_options *opt,
                           const struct mr_rows *rows, uint64_t *lane_run_length, struct mr_err *err);

/** Counts rows that were good when they were decoded and became dead letters later. Any thread. */
void mr_breaker_add_bad(struct mr_breaker *breaker, uint64_t count);

#endif
