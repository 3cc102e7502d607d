#include "pipeline/run.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/cores.h"
#include "base/log.h"
#include "base/options.h"
#include "pipeline/exact_check.h"
#include "pipeline/follower.h"
#include "pipeline/lane.h"
#include "pipeline/lane_count.h"
#include "pipeline/lane_state.h"
#include "scoring/choose.h"
#include "scoring/follow.h"

#define IDLE_INTERVAL_US   30000000
#define WAIT_STEP_US       2000
#define CONNECT_TIMEOUT_US 10000000
#define FINISH_WAIT_US     3000000

/* Opens what the models run on and makes their plans. */
static mr_status units_open(struct mr_run *run, struct mr_err *err)
{
    const struct mr_job *const job = run->job;
    const size_t row_cap = (size_t)job->batch.records_max;
    const bool is_auto = !strcmp(job->backend, "auto");
    char text[256];
    mr_status status = mr_units_open(&run->units, is_auto ? "cpu" : job->backend, row_cap, job->cross_check > 0, err);
    if (!status && is_auto) mr_choose(&run->units, &run->models, row_cap, run->layout->want);
    if (run->learns_by_offsets) run->units.unit[0].rows_min = 0; /* one unit for all: sizes go by arrival */
    if (!status) status = mr_models_plan(&run->models, &run->units, run->layout->want, err);
    if (status) return status;
    mr_units_describe(&run->units, text, sizeof text);
    mr_log(MR_LOG_INFO, "run", "backend %s%s", text, is_auto ? " (auto)" : "");
    return MR_OK;
}

/* What sinks share with the source, where it has such an option. */
static const void *source_option(const struct mr_job *job, const char *key, mr_option_type type)
{
    return mr_option_value(job->source->options, job->source_options, key, type);
}

/* Seldom: partitions that leave then cannot be drained, and what is in flight of them is repeated. But in time for a
 * group that waits for less than usual. */
static int64_t idle_interval_us(const struct mr_map *properties)
{
    int64_t interval_us = IDLE_INTERVAL_US;
    for (size_t i = 0; properties && i < properties->count; i++) {
        if (strcmp(properties->item[i].key, "max.poll.interval.ms")) continue;
        const int64_t third_us = strtoll(properties->item[i].value, NULL, 10) * 1000 / 3;
        if (third_us > 0 && third_us < interval_us) interval_us = third_us;
    }
    return interval_us;
}

mr_status mr_run_create(const struct mr_job *job, const struct mr_until *until, struct mr_run **run_out,
                        struct mr_err *err)
{
    struct mr_run *run = calloc(1, sizeof *run);
    mr_status status = run ? MR_OK : mr_fail(err, MR_ENOMEM, "out of memory");

    *run_out = NULL;
    if (status) return status;
    run->job = job;
    run->until = *until;
    mr_ends_init(&run->ends);
    run->started_ns = mr_clock_ns();
    mr_breaker_init(&run->breaker);
    run->records_left = until->records;
    run->properties = mr_job_properties(job);
    run->idle_interval_us = idle_interval_us(run->properties);
    const int64_t *timeout = source_option(job, "connect_timeout", MR_OPT_DURATION);
    run->connect_timeout_us = timeout ? *timeout : CONNECT_TIMEOUT_US;
    status = mr_follow_open(job, run->properties, run->connect_timeout_us, until->patience, &run->follow, err);
    if (!status) status = mr_models_open_from(job, mr_follow_first(run->follow), &run->models, err);
    run->learns_by_offsets = run->models.learns && job->batch.by == MR_BATCH_OFFSETS;
    run->learns_by_topics = run->models.learns && job->record.learn_topics.count;
    run->models.begins_late = run->learns_by_offsets || run->learns_by_topics;
    run->is_ordered = run->models.learns || job->labels.topics.count;
    if (!status && job->state.file && !run->models.learns)
        status = mr_fail(err, MR_ECONFIG, "state.file: no model of the job learns: set \"learn\": true, or drop it");
    if (!status) status = mr_layout_create(job, run->models.info, &run->layout, err);
    if (!status) status = units_open(run, err);
    if (status)
        mr_run_destroy(run);
    else
        *run_out = run;
    return status;
}

/* Blocks are one behind the other in one partition; between partitions there is no order that comes back. */
static mr_status partitions_check(const struct mr_run *run, struct mr_err *err)
{
    const struct mr_job *const job = run->job;
    char text[16];
    unsigned count;
    if (!run->learns_by_offsets || !job->source->lane_count_max) return MR_OK;
    const mr_status status = job->source->lane_count_max(job->source_options, &count, err);
    if (status || count <= 1) return status;
    snprintf(text, sizeof text, "%u", count);
    return mr_fail(err, MR_ECONFIG,
                   "batch.by: \"offsets\" learns the same each time from one partition only, and source.topics have "
                   "%s: the order between partitions differs from run to run: read one topic of one partition, or set "
                   "batch.by to \"arrival\"",
                   count >= UINT32_MAX / 2 ? "a pattern, which may match any number" : text);
}

/* As many lanes as the job says; without a word of it, as many as pay and fit. */
static mr_status lane_count_choose(struct mr_run *run, struct mr_err *err)
{
    const struct mr_job *job = run->job;
    struct mr_lane_limits limits = {
        .cores = mr_core_count(), .memory_bytes = mr_run_lane_memory(run), .lane_bytes = mr_lane_bytes_min(run)};
    int by_memory;

    if (run->is_ordered && job->lanes > 1)
        mr_log(MR_LOG_WARN, "run", "lanes: a job that learns or waits for labels has one, its batches are in order");
    run->lane_count = run->is_ordered ? 1 : (unsigned)job->lanes;
    if (run->lane_count) return MR_OK;
    if (job->source->lane_count_max) {
        const mr_status status = job->source->lane_count_max(job->source_options, &limits.partitions, err);
        if (status) return status;
    }
    run->lane_count = mr_lane_count(&limits, &by_memory);
    if (by_memory)
        mr_log(MR_LOG_INFO, "run", "%u lane%s: \"memory\" holds no more (%zu MiB a lane), there are %u cores",
               run->lane_count, run->lane_count == 1 ? "" : "s", limits.lane_bytes >> 20, limits.cores);
    return MR_OK;
}

mr_status mr_run_start(struct mr_run *run, struct mr_err *err)
{
    mr_status status = partitions_check(run, err);

    if (!status) status = lane_count_choose(run, err);
    if (!status) status = mr_exact_check(run, err);
    if (status) return status;
    run->lane = calloc(run->lane_count, sizeof *run->lane);
    if (!run->lane) return mr_fail(err, MR_ENOMEM, "out of memory");
    status = mr_followers_start(run, err);
    for (unsigned i = 0; i < run->lane_count && !status; i++) status = mr_lane_create(run, i, &run->lane[i], err);
    if (!status) status = mr_followers_open_wait(run, err);
    if (!status) status = mr_follow_start(run->follow, &run->models, err);
    if (!status) atomic_store(&run->has_begun, true);
    for (unsigned i = 0; i < run->lane_count && !status; i++) {
        if (pthread_create(&run->lane[i]->thread, NULL, mr_lane_main, run->lane[i]))
            status = mr_fail(err, MR_ENOMEM, "could not start lane %u", i);
        else
            run->lane[i]->has_thread = true;
    }
    if (status) {
        mr_run_stop(run, MR_RUN_ABORT);
        mr_run_finish(run, NULL);
    }
    return status;
}

void mr_run_stop(struct mr_run *run, mr_run_state state)
{
    int now = atomic_load(&run->state);
    while (now < (int)state && !atomic_compare_exchange_weak(&run->state, &now, (int)state)) {
    }
}

static bool is_over(const struct mr_run *run)
{
    bool all_at_end = true;
    if (mr_followers_failed(run)) return true;
    for (unsigned i = 0; i < run->lane_count; i++) {
        if (atomic_load(&run->lane[i]->is_over)) return true; /* one ended by itself: an error, so the others drain */
        all_at_end &= atomic_load(&run->lane[i]->is_at_end);
    }
    return all_at_end;
}

bool mr_run_wait(struct mr_run *run, int64_t wait_us)
{
    const struct timespec step = {.tv_nsec = WAIT_STEP_US * 1000};
    const int64_t deadline_us = mr_clock_us() + wait_us;
    for (;;) {
        if (is_over(run)) return true;
        if (mr_clock_us() >= deadline_us) return false;
        nanosleep(&step, NULL);
    }
}

bool mr_run_lanes_ended(const struct mr_run *run)
{
    for (unsigned i = 0; i < run->lane_count; i++) {
        if (!atomic_load(&run->lane[i]->is_over)) return false;
    }
    return true;
}

bool mr_run_has_failed(const struct mr_run *run)
{
    for (unsigned i = 0; i < run->lane_count; i++)
        if (atomic_load(&run->lane[i]->is_over) && run->lane[i]->err.status) return true;
    return mr_followers_failed(run);
}

/* Whatever ended the run, what was learned until then is saved; not when a promise does not hold, nor what is ahead of
 * the state that the next run goes on from. */
static void models_save(struct mr_run *run, struct mr_err *first)
{
    const struct mr_lane *const lane = run->lane_count ? run->lane[0] : NULL;
    struct mr_err save_err = {0};
    if (!run->models.learns) return;
    if (first->status == MR_EINVARIANT) {
        mr_log(MR_LOG_ERROR, "learn", "what was learned is not saved: it may be wrong");
        return;
    }
    if (lane && lane->state && !mr_lane_state_is_kept(lane->state)) {
        mr_log(MR_LOG_WARN, "learn",
               "what was learned is not saved: the last of it is not committed, and will be learned again");
        return;
    }
    const mr_status saved = mr_models_save(&run->models, &save_err);
    if (saved && first->status) mr_log(MR_LOG_ERROR, "learn", "%s", save_err.text);
    if (saved && !first->status) *first = save_err;
}

mr_status mr_run_finish(struct mr_run *run, struct mr_err *err)
{
    struct mr_err first = {0};
    for (unsigned i = 0; i < run->lane_count; i++) {
        struct mr_lane *lane = run->lane[i];
        if (!lane || !lane->has_thread) continue;
        pthread_join(lane->thread, NULL);
        lane->has_thread = false;
        if (lane->err.status && !first.status) first = lane->err;
    }
    struct mr_err follower_err = {0};
    mr_followers_ask(run, MR_FOLLOWER_FINISH);
    if (mr_followers_join(run, FINISH_WAIT_US, &follower_err) && !first.status) first = follower_err;
    models_save(run, &first);
    if (err && first.status) *err = first;
    return first.status;
}

void mr_run_destroy(struct mr_run *run)
{
    if (!run) return;
    mr_followers_destroy(run);
    for (unsigned i = 0; run->lane && i < run->lane_count; i++) mr_lane_destroy(run->lane[i]);
    free(run->lane);
    mr_follow_close(run->follow);
    mr_models_close(&run->models);
    mr_units_close(&run->units);
    mr_layout_destroy(run->layout);
    mr_breaker_deinit(&run->breaker);
    mr_ends_deinit(&run->ends);
    free(run);
}
