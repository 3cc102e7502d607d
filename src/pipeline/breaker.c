#include "pipeline/breaker.h"

void mr_breaker_init(struct mr_breaker *breaker)
{
    *breaker = (struct mr_breaker){0};
    pthread_mutex_init(&breaker->mutex, NULL);
}

void mr_breaker_deinit(struct mr_breaker *breaker)
{
    pthread_mutex_destroy(&breaker->mutex);
}

/* Whether a scored row belongs to one of the messages [from, to]; *row only moves up. */
static bool row_lies_within(const struct mr_rows *rows, size_t *row, uint32_t from, uint32_t to)
{
    while (*row < rows->row_count && rows->message[*row] < from) ++*row;
    return *row < rows->row_count && rows->message[*row] <= to;
}

/*
 * Bad records in a row, across batches: longest run that ends in this one. Within a message of many records their order
 * is not known, so that a scored row of the same message ends a run.
 */
static uint64_t run_count(const struct mr_rows *rows, uint64_t *run_length)
{
    uint64_t longest = 0;
    uint32_t before = 0;
    size_t row = 0;
    for (size_t i = 0; i < rows->reject_count; i++) {
        const uint32_t at = rows->reject[i].message;
        if (at < before) { /* rejects of a later stage begin */
            row = before = 0;
            *run_length = 0;
        }
        if (row_lies_within(rows, &row, before, at)) *run_length = 0;
        if (++*run_length > longest) longest = *run_length;
        before = at;
    }
    if (row_lies_within(rows, &row, before, UINT32_MAX)) *run_length = 0;
    return longest;
}

static mr_status run_judge(const struct mr_bad_records_options *opt, const struct mr_rows *rows, uint64_t run,
                           struct mr_err *err)
{
    if (run < (uint64_t)opt->run_max) return MR_OK;
    return mr_fail(err, MR_EDATA,
                   "circuit breaker: %llu bad records in a row (the last one: %s): is the right topic read, and does "
                   "\"record\" describe it? Raise bad_records.run_max to go on all the same",
                   (unsigned long long)run, mr_reason_name(rows->reject[rows->reject_count - 1].reason));
}

static mr_status share_judge(struct mr_breaker *breaker, const struct mr_bad_records_options *opt, struct mr_err *err)
{
    if (!opt->window || breaker->seen < (uint64_t)opt->window) return MR_OK;
    const double share = (double)breaker->bad / (double)breaker->seen;
    if (opt->share_max < 1 && share > opt->share_max) {
        return mr_fail(
            err, MR_EDATA,
            "circuit breaker: %.1f %% of the last %llu records were bad, and bad_records.share_max is %.1f %%: "
            "look at the dead letters, mend the producer or the job, and start again: nothing is lost",
            100 * share, (unsigned long long)breaker->seen, 100 * opt->share_max);
    }
    breaker->seen /= 2;
    breaker->bad /= 2;
    return MR_OK;
}

mr_status mr_breaker_count(struct mr_breaker *breaker, const struct mr_bad_records_options *opt,
                           const struct mr_rows *rows, uint64_t *lane_run_length, struct mr_err *err)
{
    const uint64_t lane_run = run_count(rows, lane_run_length);

    pthread_mutex_lock(&breaker->mutex);
    const uint64_t run = run_count(rows, &breaker->run_length);
    breaker->seen += rows->row_count + rows->reject_count;
    breaker->bad += rows->reject_count;
    mr_status status = run_judge(opt, rows, run > lane_run ? run : lane_run, err);
    if (!status) status = share_judge(breaker, opt, err);
    pthread_mutex_unlock(&breaker->mutex);
    return status;
}

void mr_breaker_add_bad(struct mr_breaker *breaker, uint64_t count)
{
    pthread_mutex_lock(&breaker->mutex);
    breaker->bad += count;
    pthread_mutex_unlock(&breaker->mutex);
}
