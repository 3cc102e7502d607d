/* Followers: what they are made of, opening and closing, all of a run. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/options.h"
#include "kafka/topic_ends.h"
#include "pipeline/follower.h"

#define RECORD_CAP    2048 /* a batch */
#define TICKET_CAP    8    /* batches, and positions that go over markers */
#define BYTES_MIN     (4u << 20)
#define BYTES_MAX     (32u << 20)
#define SHARE         16 /* of the job's memory */
#define OPEN_WAIT_NS  1000000000LL
#define OPEN_PAUSE_NS 2000000
#define JOIN_PAUSE_NS 2000000

static size_t bytes_each(const struct mr_job *job)
{
    const size_t bytes = (size_t)job->memory / SHARE;
    return bytes < BYTES_MIN ? BYTES_MIN : bytes > BYTES_MAX ? BYTES_MAX : bytes;
}

size_t mr_followers_bytes(const struct mr_job *job)
{
    return (job->sink_count - mr_job_direct_count(job)) * bytes_each(job);
}

/* ---- one ---- */

static void option_set(const struct mr_source_ops *ops, void *options, const char *key, const void *value, size_t bytes)
{
    const struct mr_option *const row = mr_option_find(ops->options, key);
    if (row) memcpy((char *)options + row->offset, value, bytes);
}

/* The source's options with the output topic, from its beginning, and a group that has only this; aborted records are
 * not for its eyes, whatever the job reads. */
static mr_status options_make(struct mr_follower *follower, struct mr_err *err)
{
    static const char start[] = "earliest";
    const char *const earliest = start, *const group = follower->group;
    const int stop = 0; /* the first choice */
    const struct mr_job *const job = follower->run->job;
    const struct mr_source_ops *const ops = job->source;
    const struct mr_map *const given = follower->run->properties;
    const bool is_done = !given || mr_map_copy(&follower->properties, given);
    follower->source_options = malloc(ops->options_size + 1);
    if (!is_done || !follower->source_options || !mr_strings_add(&follower->topics, follower->topic) ||
        !mr_map_put(&follower->properties, "isolation.level", "read_committed"))
        return mr_fail(err, MR_ENOMEM, "out of memory");
    memcpy(follower->source_options, job->source_options, ops->options_size);
    option_set(ops, follower->source_options, "topics", &follower->topics, sizeof follower->topics);
    option_set(ops, follower->source_options, "properties", &follower->properties, sizeof follower->properties);
    option_set(ops, follower->source_options, "group", &group, sizeof group);
    option_set(ops, follower->source_options, "start", &earliest, sizeof earliest);
    option_set(ops, follower->source_options, "lost_offsets", &stop, sizeof stop);
    return MR_OK;
}

/* Headers that the job's outputs may have. */
static mr_status headers_make(struct mr_follower *follower, struct mr_err *err)
{
    const struct mr_emit_options *const emit = &follower->run->job->emit;
    follower->header_name = calloc(emit->headers.count + 2, sizeof *follower->header_name);
    if (!follower->header_name) return mr_fail(err, MR_ENOMEM, "out of memory");
    for (size_t i = 0; i < emit->headers.count; i++)
        follower->header_name[follower->header_count++] = emit->headers.item[i];
    if (!emit->provenance) return MR_OK;
    follower->header_name[follower->header_count++] = "millrace-model"; /* of several models, the last one's */
    follower->header_name[follower->header_count++] = "millrace-source";
    return MR_OK;
}

static mr_status batches_make(struct mr_follower *follower, struct mr_err *err)
{
    for (size_t i = 0; i < MR_FOLLOWER_BATCHES; i++) {
        struct mr_follower_batch *const batch = &follower->batch[i];
        batch->message = calloc(RECORD_CAP, sizeof *batch->message);
        batch->header = calloc(RECORD_CAP * follower->header_count + 1, sizeof *batch->header);
        if (!batch->message || !batch->header) return mr_fail(err, MR_ENOMEM, "out of memory");
    }
    /* Values stay in the client's memory: the boxes need no arena. */
    const mr_status status =
        mr_flight_init(&follower->flight, TICKET_CAP, MR_FOLLOWER_BATCHES, RECORD_CAP, MR_ALIGN, &follower->stats, err);
    follower->flight.undeliverable = mr_follower_undeliverable;
    follower->flight.context = follower;
    return status;
}

mr_status mr_follower_create(struct mr_run *run, size_t sink, struct mr_follower **follower_out, struct mr_err *err)
{
    struct mr_follower *const follower = calloc(1, sizeof *follower);
    *follower_out = NULL;
    if (!follower) return mr_fail(err, MR_ENOMEM, "out of memory");
    follower->run = run;
    follower->index = sink;
    follower->sink.ops = run->job->sink[sink].ops;
    follower->topic = mr_job_followed_topic(run->job);
    follower->source_ops = run->job->source;
    follower->lag = -1;
    follower->progress_ns = mr_clock_ns();
    mr_job_followed_group(run->job, sink, follower->group);
    mr_status status = options_make(follower, err);
    if (!status) status = headers_make(follower, err);
    if (!status) status = batches_make(follower, err);
    if (!status) status = mr_topic_ends_open(&follower->properties, follower->topic, &follower->ends, err);
    if (status)
        mr_follower_destroy(follower);
    else
        *follower_out = follower;
    return status;
}

static int64_t event_ms(const void *context, const struct mr_message *message)
{
    const struct mr_follower *const follower = context;
    return follower->source_ops->timestamp_ms(follower->source, message);
}

mr_status mr_follower_open(struct mr_follower *follower, struct mr_err *err)
{
    struct mr_run *const run = follower->run;
    const struct mr_job_sink *const sink = &run->job->sink[follower->index];
    const size_t bytes = bytes_each(run->job);
    const struct mr_sink_open sink_open = {.options = sink->options,
                                           .job = run->job->name,
                                           .lane_count = 1,
                                           .memory_bytes = bytes / 4,
                                           .linger_us = run->job->batch.wait_max,
                                           .properties = run->properties,
                                           .connect_timeout_us = run->connect_timeout_us,
                                           .followed = follower->topic,
                                           .fields = &run->job->emit.fields,
                                           .event_ms = event_ms,
                                           .origin_context = follower,
                                           .stats = &follower->sink_stats};
    const struct mr_source_open source_open = {
        .options = follower->source_options,
        .job = run->job->name,
        .lane_count = 1,
        .memory_bytes = bytes / 2, /* a third of it is queued, and so much again may be in each batch */
        .reads_headers = follower->header_count > 0,
        .reads_timestamps = true,
        .events = {.context = follower,
                   .start = mr_follower_begins,
                   .began = mr_follower_began,
                   .note = mr_follower_note,
                   .reached = mr_follower_reached,
                   .revoke = mr_follower_revoked}};
    follower->must_restart = follower->has_explained = false;
    mr_status status = sink->ops->open(&sink_open, &follower->sink.sink, err);
    if (!status) status = follower->source_ops->open(&source_open, &follower->source, err);
    return !status && follower->source_ops->join ? follower->source_ops->join(follower->source, err) : status;
}

void mr_follower_close(struct mr_follower *follower)
{
    follower->is_rebuilding = true;
    follower->sink.ops->close(follower->sink.sink); /* before the bytes that it was lent */
    follower->sink.sink = NULL;
    for (size_t i = 0; i < MR_FOLLOWER_BATCHES; i++) {
        struct mr_follower_batch *const batch = &follower->batch[i];
        if (batch->count) follower->source_ops->release(follower->source, batch->message, batch->count);
        batch->count = 0;
    }
    follower->batch_first = follower->batch_count = 0;
    follower->source_ops->close(follower->source);
    follower->source = NULL;
    mr_flight_reset(&follower->flight);
    follower->part_cap = 0;
    free(follower->part);
    follower->part = NULL;
    follower->is_rebuilding = false;
}

void mr_follower_destroy(struct mr_follower *follower)
{
    if (!follower) return;
    mr_follower_close(follower);
    mr_topic_ends_close(follower->ends);
    for (size_t i = 0; i < MR_FOLLOWER_BATCHES; i++) {
        free(follower->batch[i].message);
        free(follower->batch[i].header);
    }
    mr_map_deinit(&follower->properties);
    mr_strings_deinit(&follower->topics);
    free(follower->source_options);
    free(follower->header_name);
    mr_flight_deinit(&follower->flight);
    free(follower);
}

/* ---- all of a run ---- */

static bool is_any_opening(const struct mr_run *run)
{
    for (size_t i = 0; i < run->follower_count; i++)
        if (!atomic_load(&run->follower[i]->is_open) && !atomic_load(&run->follower[i]->is_over)) return true;
    return false;
}

mr_status mr_followers_open_wait(const struct mr_run *run, struct mr_err *err)
{
    const struct timespec pause = {.tv_nsec = OPEN_PAUSE_NS};
    const int64_t deadline_ns = mr_clock_ns() + OPEN_WAIT_NS;
    while (is_any_opening(run) && mr_clock_ns() < deadline_ns) nanosleep(&pause, NULL);
    for (size_t i = 0; i < run->follower_count; i++) {
        const struct mr_follower *const follower = run->follower[i];
        if (atomic_load(&follower->is_over) && follower->err.status) {
            if (err) *err = follower->err;
            return follower->err.status;
        }
        if (!atomic_load(&follower->is_open))
            mr_log(MR_LOG_WARN, "follower", "sinks[%zu] (%s) does not open yet: it is fed when it does",
                   follower->index, follower->sink.ops->name);
    }
    return MR_OK;
}

mr_status mr_followers_start(struct mr_run *run, struct mr_err *err)
{
    const struct mr_job *const job = run->job;
    const size_t count = job->sink_count - mr_job_direct_count(job);
    mr_status status = MR_OK;
    if (!count) return MR_OK;
    run->follower = calloc(count, sizeof(*run->follower));
    if (!run->follower) return mr_fail(err, MR_ENOMEM, "out of memory");
    for (size_t i = 0; i < job->sink_count && !status; i++) {
        if (!mr_job_sink_is_followed(job, i)) continue;
        status = mr_follower_create(run, i, &run->follower[run->follower_count], err);
        if (status) break;
        struct mr_follower *const follower = run->follower[run->follower_count++];
        mr_log(MR_LOG_INFO, "follower", "sinks[%zu] (%s) is fed from topic \"%s\", group \"%s\"", i,
               follower->sink.ops->name, follower->topic, follower->group);
        if (pthread_create(&follower->thread, NULL, mr_follower_main, follower))
            status = mr_fail(err, MR_ENOMEM, "could not start a follower");
        else
            follower->has_thread = true;
    }
    return status;
}

void mr_followers_ask(struct mr_run *run, mr_follower_phase phase)
{
    for (size_t i = 0; i < run->follower_count; i++) {
        int now = atomic_load(&run->follower[i]->phase);
        while (now < (int)phase && !atomic_compare_exchange_weak(&run->follower[i]->phase, &now, (int)phase)) {
        }
    }
}

bool mr_followers_failed(const struct mr_run *run)
{
    for (size_t i = 0; i < run->follower_count; i++)
        if (atomic_load(&run->follower[i]->is_over) && run->follower[i]->err.status) return true;
    return false;
}

bool mr_followers_ended(const struct mr_run *run)
{
    for (size_t i = 0; i < run->follower_count; i++)
        if (!atomic_load(&run->follower[i]->is_over)) return false;
    return true;
}

int64_t mr_followers_progress_ns(const struct mr_run *run)
{
    int64_t last_ns = 0;
    for (size_t i = 0; i < run->follower_count; i++) {
        const int64_t at_ns = atomic_load(&run->follower[i]->progress_ns);
        if (!atomic_load(&run->follower[i]->is_over) && at_ns > last_ns) last_ns = at_ns;
    }
    return last_ns ? last_ns : mr_clock_ns();
}

mr_status mr_followers_join(struct mr_run *run, int64_t wait_us, struct mr_err *err)
{
    const struct timespec pause = {.tv_nsec = JOIN_PAUSE_NS};
    const int64_t deadline_us = mr_clock_us() + wait_us;
    struct mr_err first = {0};
    while (!mr_followers_ended(run) && mr_clock_us() < deadline_us) nanosleep(&pause, NULL);
    for (size_t i = 0; i < run->follower_count; i++) {
        struct mr_follower *const follower = run->follower[i];
        if (!follower->has_thread) continue;
        if (atomic_load(&follower->is_over)) {
            pthread_join(follower->thread, NULL);
            follower->has_thread = false;
            if (!first.status) first = follower->err;
            continue;
        }
        follower->is_lost = true;
        if (!first.status)
            mr_fail(
                &first, MR_ERETRY,
                "sinks[%zu] (%s) does not come back: what it has not taken stays in topic \"%s\"; start again to go "
                "on",
                follower->index, follower->sink.ops->name, follower->topic);
    }
    if (first.status && err) *err = first;
    return first.status;
}

bool mr_followers_lost(const struct mr_run *run)
{
    for (size_t i = 0; i < run->follower_count; i++)
        if (run->follower[i]->is_lost) return true;
    return false;
}

void mr_followers_destroy(struct mr_run *run)
{
    for (size_t i = 0; i < run->follower_count; i++) mr_follower_destroy(run->follower[i]);
    free(run->follower);
    run->follower = NULL;
    run->follower_count = 0;
}
