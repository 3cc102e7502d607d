/* Opening and closing a lane, and its share of the job's memory. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/options.h"
#include "base/test_hook.h"
#include "config/roles.h"
#include "pipeline/follower.h"
#include "pipeline/lane.h"
#include "pipeline/lane_commit.h"
#include "pipeline/lane_labels.h"
#include "pipeline/lane_state.h"

#define BOX_COUNT            16
#define BOX_COUNT_LARGE      12
#define BOX_COUNT_MIN        4
#define TICKET_COUNT         64
#define ARENA_BYTES_A_RECORD 96          /* on average; a box that is full earlier is sent earlier */
#define ARENA_SLACK          (16u << 10) /* what the encoder wants to see free beyond what it writes */
#define MESSAGE_BYTES_MAX    1000000     /* librdkafka's default of message.max.bytes */

static const struct mr_map *properties_of(const struct mr_option *table, const void *options)
{
    return mr_option_value(table, options, "properties", MR_OPT_MAP);
}

/* Of the largest output that some sink of the job takes. */
static size_t message_bytes_max(const struct mr_job *job)
{
    size_t bytes_max = MESSAGE_BYTES_MAX;
    for (size_t i = 0; i < job->sink_count; i++) {
        const struct mr_map *properties = properties_of(job->sink[i].ops->options, job->sink[i].options);
        if (properties && !properties->count) properties = properties_of(job->source->options, job->source_options);
        const char *const text = properties ? mr_map_get(properties, "message.max.bytes") : NULL;
        const long long bytes = text ? atoll(text) : 0;
        if (bytes > 0 && (size_t)bytes > bytes_max) bytes_max = (size_t)bytes;
    }
    return bytes_max;
}

size_t mr_lane_arena_bytes(const struct mr_job *job)
{
    const size_t bytes = (size_t)job->batch.records_max * ARENA_BYTES_A_RECORD;
    const size_t least = message_bytes_max(job) + ARENA_SLACK;
    return bytes < least ? least : bytes;
}

/* Where arenas are so large for the sake of single outputs, there are as many as a sixteenth of the job's memory holds,
 * and no more in all than batches of the usual size take without. */
static size_t box_count(const struct mr_job *job)
{
    const size_t bytes = mr_lane_arena_bytes(job), count = (size_t)job->memory / 16 / bytes;
    if (bytes == (size_t)job->batch.records_max * ARENA_BYTES_A_RECORD) return BOX_COUNT;
    return count < BOX_COUNT_MIN ? BOX_COUNT_MIN : count > BOX_COUNT_LARGE ? BOX_COUNT_LARGE : count;
}

#define CLIENTS_BYTES_MIN (8u << 20) /* for prefetched messages and the sinks' queues */

static bool has_labels(const struct mr_run *run)
{
    return run->job->labels.topics.count != 0;
}

static bool has_block(const struct mr_run *run)
{
    return run->learns_by_offsets || run->learns_by_topics || has_labels(run);
}

/* What is taken whatever the clients get: slots, boxes, dead letters, what waits for labels. */
static size_t fixed_bytes(const struct mr_run *run)
{
    const struct mr_job *job = run->job;
    const size_t row_cap = (size_t)job->batch.records_max;
    return (has_block(run) ? mr_block_bytes(run, row_cap) : 0) + (has_labels(run) ? mr_lane_labels_bytes(run) : 0) +
           MR_SLOT_COUNT * (mr_slot_bytes(run, row_cap) + row_cap * sizeof(struct mr_message)) +
           box_count(job) * (mr_lane_arena_bytes(job) + row_cap * sizeof(struct mr_record)) + mr_dead_bytes(job);
}

size_t mr_lane_bytes_min(const struct mr_run *run)
{
    return fixed_bytes(run) + CLIENTS_BYTES_MIN;
}

size_t mr_run_lane_memory(const struct mr_run *run)
{
    const size_t bytes = (size_t)run->job->memory, followers = mr_followers_bytes(run->job);
    return bytes > followers ? bytes - followers : 0;
}

size_t mr_run_memory_least(const struct mr_run *run)
{
    const struct mr_job *job = run->job;
    const unsigned lanes = mr_job_role_lanes(job, run->lane_count);
    const size_t bytes = mr_lane_bytes_min(run) * run->lane_count + mr_followers_bytes(job);
    return (bytes * lanes / run->lane_count >> 20) + 1;
}

mr_status mr_run_memory_check(const struct mr_run *run, struct mr_err *err)
{
    const struct mr_job *job = run->job;
    const size_t least = mr_lane_bytes_min(run);
    const unsigned lanes = mr_job_role_lanes(job, run->lane_count);
    const char *const plural = run->lane_count == 1 ? "" : "s";
    if (least <= mr_run_lane_memory(run) / run->lane_count) return MR_OK;
    if (job->role != MR_ROLE_WHOLE)
        return mr_fail(err, MR_ECONFIG,
                       "memory: trainer and scorers share it, an equal part for each of %u lanes, and the %s %s too "
                       "little, %lld MiB for %u lane%s: batches of %lld records need %zu MiB a lane: raise memory to "
                       "%zuMiB, or lower batch.records_max%s",
                       lanes, mr_job_role_name((mr_job_role)job->role), job->role == MR_ROLE_TRAINER ? "has" : "have",
                       (long long)(job->memory >> 20), run->lane_count, plural, (long long)job->batch.records_max,
                       least >> 20, mr_run_memory_least(run), job->scorers > 1 ? " or scorers" : "");
    return mr_fail(err, MR_ECONFIG,
                   "memory: %lld MiB for %u lane%s is too little: batches of %lld records%s need %zu MiB a lane: raise "
                   "memory to %zuMiB, or lower batch.records_max%s",
                   (long long)(job->memory >> 20), run->lane_count, plural, (long long)job->batch.records_max,
                   has_labels(run) ? ", and what waits for labels," : "", least >> 20, mr_run_memory_least(run),
                   has_labels(run)       ? " or labels.records_max"
                   : run->lane_count > 1 ? " or lanes"
                                         : "");
}

/*
 * Splits the lane's share of the budget: what is fixed first, then two thirds of the rest for prefetched messages, one
 * third for the sinks' queues.
 */
static mr_status memory_split(const struct mr_run *run, size_t *source_out, size_t *sink_out, struct mr_err *err)
{
    const struct mr_job *job = run->job;
    const size_t share = mr_run_lane_memory(run) / run->lane_count, fixed = fixed_bytes(run);
    const mr_status status = mr_run_memory_check(run, err);
    if (status) return status;
    *source_out = (share - fixed) / 3 * 2;
    const size_t direct = mr_job_direct_count(job); /* none: a trainer, whose transactions hold its models alone */
    *sink_out = (share - fixed) / 3 / (direct ? direct : 1);
    return MR_OK;
}

/*
 * Divides batch.wait_max between source and sinks. The records of a batch reach a sink within microseconds of each
 * other, so it needs little time to gather them (measured: with 0.3 ms instead of 1 ms p50 falls from 4.2 to 2.7 ms at
 * 20,000 records/s, for 5 % more CPU); what is more than that is better spent in the source, where it makes larger
 * batches for everything. The source waits in milliseconds.
 */
#define LINGER_US 300
static void wait_divide(struct mr_lane *lane)
{
    const int64_t wait_us = lane->run->job->batch.wait_max;
    const bool is_filled = wait_us >= LINGER_US + 1000;
    lane->fill_us = is_filled ? wait_us - LINGER_US : 0;
    lane->linger_us = is_filled ? LINGER_US : wait_us;
}

/* Tells the sinks that ask for it what a model has learned. */
static void learned_tell(void *context, const struct mr_model_at_work *model)
{
    const struct mr_lane *const lane = context;
    struct mr_weights weights = {.model = model->job->name, .version = atomic_load(&model->version)};
    if (!model->learn->weights) return;
    weights.value = model->learn->weights(model->model, &weights.count);
    for (size_t i = 0; i < lane->sink_count; i++) {
        const struct mr_lane_sink *const sink = &lane->sink[i];
        if (sink->ops->learned && sink->sink) sink->ops->learned(sink->sink, &weights);
    }
}

static const char *topic_name(const void *context, uint32_t topic)
{
    const struct mr_lane *const lane = context;
    return lane->run->job->source->topic_name(lane->source, topic);
}

static int64_t event_ms(const void *context, const struct mr_message *message)
{
    const struct mr_lane *const lane = context;
    return lane->run->job->source->timestamp_ms(lane->source, message);
}

static mr_status sinks_open(struct mr_lane *lane, struct mr_err *err)
{
    const struct mr_job *job = lane->run->job;
    struct mr_models *const models = &lane->run->models;
    const char **const weights_of = calloc(models->count + 1, sizeof *weights_of);
    size_t weights_count = 0;
    char run[20];
    snprintf(run, sizeof run, "%llx", (unsigned long long)mr_clock_epoch_ms());
    mr_status status = weights_of ? MR_OK : mr_fail(err, MR_ENOMEM, "out of memory");
    for (size_t i = 0; i < models->count && !status; i++)
        if (models->item[i].learn && models->item[i].learn->weights) weights_of[weights_count++] = job->model[i].name;

    if (!lane->sink) lane->sink = calloc(job->sink_count + 1, sizeof *lane->sink);
    if (!lane->sink_stats) lane->sink_stats = calloc(job->sink_count + 1, sizeof *lane->sink_stats);
    if (!lane->sink || !lane->sink_stats) status = mr_fail(err, MR_ENOMEM, "out of memory");
    lane->sink_count = 0;
    for (size_t i = 0; i < job->sink_count && !status; i++) {
        if (mr_job_sink_is_followed(job, i)) continue;
        struct mr_lane_sink *const sink = &lane->sink[lane->sink_count];
        const struct mr_sink_open open = {
            .options = job->sink[i].options,
            .job = job->name,
            .lane = lane->index,
            .lane_count = lane->run->lane_count,
            .memory_bytes = lane->sink_bytes,
            .linger_us = lane->linger_us,
            .properties = lane->run->properties,
            .connect_timeout_us = lane->run->connect_timeout_us,
            .partition_rule = job->emit.partition == MR_PARTITION_SAME ? MR_PARTITION_ALWAYS : MR_PARTITION_IF_EQUAL,
            .source_partitions_min = lane->run->source_partitions_min,
            .source_partitions_max = lane->run->source_partitions_max,
            .transaction = lane->exact ? lane->exact->transaction : NULL,
            .fields = &job->emit.fields,
            .weights_of = weights_of,
            .weights_count = weights_count,
            .topic_name = topic_name,
            .event_ms = event_ms,
            .origin_context = lane,
            .run = job->source->repeats ? NULL : run,
            .stats = &lane->sink_stats[i]};
        sink->ops = job->sink[i].ops;
        status = sink->ops->open(&open, &sink->sink, err);
        lane->sink_count++;
        if (!status && sink->ops->learned && weights_count) {
            models->learned = learned_tell;
            models->learned_context = lane;
        }
    }
    free(weights_of);
    return status;
}

static void lane_revoked(void *context, const struct mr_position *positions, size_t count, bool is_lost)
{
    mr_lane_revoked(context, positions, count, is_lost);
}

static mr_status lane_start(void *context, const char *topic, int32_t partition, int64_t committed, const char *note,
                            int64_t *offset_out, struct mr_err *err)
{
    (void)note;
    return mr_lane_state_start(context, topic, partition, committed, offset_out, err);
}

static mr_status lane_began(void *context, const char *topic, int32_t partition, int64_t offset, struct mr_err *err)
{
    return mr_lane_state_began(context, topic, partition, offset, err);
}

static mr_status source_open(struct mr_lane *lane, struct mr_err *err)
{
    struct mr_run *run = lane->run;
    struct mr_source_open open = {.options = run->job->source_options,
                                  .job = run->job->name,
                                  .lane = lane->index,
                                  .lane_count = run->lane_count,
                                  .memory_bytes = lane->source_bytes,
                                  .is_bounded = run->until.end,
                                  .ends = mr_ends_of(&run->ends),
                                  .must_exist = lane->exact != NULL,
                                  .reads_headers = run->layout->reads_headers,
                                  .reads_timestamps = run->layout->reads_timestamps || has_labels(run),
                                  .events = {.context = lane,
                                             .start = lane->state ? lane_start : NULL,
                                             .began = lane->state ? lane_began : NULL,
                                             .revoke = lane_revoked}};
    const struct mr_source_ops *ops = run->job->source;
    if (run->job->codec->cut) run->job->codec->cut(lane->decoder, &open.cut);
    const mr_status status = ops->open(&open, &lane->source, err);
    if (status || lane->index || !ops->partition_range) return status;
    const mr_status range_status =
        ops->partition_range(lane->source, &run->source_partitions_min, &run->source_partitions_max, err);
    if (!range_status && !run->source_partitions_max && run->job->emit.partition == MR_PARTITION_AUTO)
        mr_log(MR_LOG_WARN, "lane",
               "no input topic is there yet: records go by key; to keep their order set "
               "emit.partition to \"same\"");
    return range_status;
}

/* Opens everything that has a connection: producer, source, sinks. */
static mr_status clients_open(struct mr_lane *lane, struct mr_err *err)
{
    struct mr_run *const run = lane->run;
    mr_status status = lane->exact ? mr_lane_commit_open(lane, err) : MR_OK; /* before offsets are read */
    if (!status && lane->state) status = mr_lane_state_restore(lane, err);
    MR_TEST_HOOK("open.restored");
    if (!status) status = source_open(lane, err);
    if (!status && has_labels(run)) status = mr_lane_labels_create(lane, lane->label_bytes, &lane->labels, err);
    if (!status) status = sinks_open(lane, err); /* they are told of the source's partitions */
    if (!status && lane->index == 0)
        status = mr_dead_open(lane->dead, err); /* the other lanes when they need it: most never do */
    if (!status) mr_dead_idle_set(lane->dead, mr_lane_idle, lane);
    if (!status) mr_dead_source_set(lane->dead, run->job->source, lane->source);
    return status;
}

void mr_lane_sinks_finish(struct mr_lane *lane)
{
    for (size_t i = 0; i < lane->sink_count && mr_run_state_now(lane->run) != MR_RUN_ABORT; i++)
        if (lane->sink[i].sink && lane->sink[i].ops->finish) lane->sink[i].ops->finish(lane->sink[i].sink);
}

/* Closes them; what was in flight is forgotten. */
static void clients_close(struct mr_lane *lane)
{
    const struct mr_job *const job = lane->run->job;
    lane->is_rebuilding = true;
    for (size_t i = 0; i < MR_SLOT_COUNT; i++) {
        if (lane->raw[i].is_used) job->source->release(lane->source, lane->raw[i].message, lane->raw[i].count);
        lane->raw[i].is_used = false;
    }
    if (lane->exact) mr_commit_close(&lane->exact->protocol); /* its last reports find the sinks */
    mr_lane_labels_destroy(lane->labels, lane->run);
    lane->labels = NULL;
    job->source->close(lane->source);
    lane->source = NULL;
    if (lane->dead) mr_dead_source_set(lane->dead, NULL, NULL); /* reports that still come find nobody to tell */
    for (size_t i = 0; i < lane->sink_count; i++) {
        lane->sink[i].ops->close(lane->sink[i].sink);
        lane->sink[i].sink = NULL;
    }
    if (lane->state) mr_lane_state_close(lane);
    lane->is_rebuilding = false;
}

mr_status mr_lane_rebuild(struct mr_lane *lane, struct mr_err *err)
{
    mr_lane_sinks_finish(lane);
    clients_close(lane);
    mr_dead_reset(lane->dead);
    mr_flight_reset(&lane->flight);
    lane->slot_first = lane->slot_count = 0;
    mr_lane_models_leave(lane);
    lane->input = NULL;
    lane->bad_run_length = 0;
    lane->is_input_over = false;
    atomic_store(&lane->is_at_end, false);
    return clients_open(lane, err);
}

static mr_status exact_create(struct mr_lane *lane, struct mr_err *err)
{
    const struct mr_job *const job = lane->run->job;
    if (job->delivery != MR_DELIVERY_EXACTLY_ONCE)
        return lane->run->models.learns && job->state.file ? mr_lane_state_create(lane, &lane->state, err) : MR_OK;
    const size_t direct = mr_job_direct_count(job);
    const mr_status status = mr_lane_commit_create(lane, lane->sink_bytes * (direct ? direct : 1), &lane->exact, err);
    if (status) return status;
    mr_dead_transaction_set(lane->dead, lane->exact->transaction);
    return lane->run->models.learns ? mr_lane_state_create(lane, &lane->state, err) : MR_OK;
}

mr_status mr_lane_create(struct mr_run *run, unsigned index, struct mr_lane **lane_out, struct mr_err *err)
{
    struct mr_lane *lane = calloc(1, sizeof *lane);
    const struct mr_job *job = run->job;
    const size_t row_cap = (size_t)job->batch.records_max;
    mr_status status = lane ? MR_OK : mr_fail(err, MR_ENOMEM, "out of memory");

    *lane_out = NULL;
    if (status) return status;
    lane->run = run;
    lane->index = index;
    lane->stats.lag = -1;
    mr_lags_init(&lane->lags);
    wait_divide(lane);
    status = memory_split(run, &lane->source_bytes, &lane->sink_bytes, err);
    lane->label_bytes = has_labels(run) ? lane->source_bytes / 4 : 0;
    lane->source_bytes -= lane->label_bytes;
    for (size_t i = 0; i < MR_SLOT_COUNT && !status; i++) {
        status = mr_raw_init(&lane->raw[i], row_cap, err);
        if (!status) status = mr_slot_init(&lane->slot[i], run, row_cap, err);
    }
    if (!status && has_block(run)) status = mr_block_init(&lane->block, run, row_cap, err);
    if (!status)
        status = mr_cross_check_init(&lane->check, &run->models, &run->check_stats, job->cross_check,
                                     job->cross_check_tolerance, row_cap, err);
    if (!status) status = mr_precision_init(&lane->precision, &run->models, err);
    if (!status)
        status = mr_flight_init(&lane->flight, TICKET_COUNT, box_count(job), row_cap, mr_lane_arena_bytes(job),
                                &lane->stats, err);
    if (!status) status = mr_dead_create(run, index, &lane->stats, &lane->dead, err);
    if (!status) {
        lane->flight.undeliverable = mr_dead_undeliverable;
        lane->flight.context = lane->dead;
        status = job->codec->create(job->codec_options, &run->layout->schema, &lane->decoder, err);
    }
    if (!status) status = mr_encoder_create(job, run->layout, run->models.info, &lane->encoder, err);
    if (!status && !job->sink_count) mr_encoder_mute(lane->encoder); /* a trainer: its scorers answer */
    if (!status) status = exact_create(lane, err);
    if (!status) status = clients_open(lane, err);
    if (status)
        mr_lane_destroy(lane);
    else
        *lane_out = lane;
    return status;
}

void mr_lane_destroy(struct mr_lane *lane)
{
    if (!lane) return;
    clients_close(lane);
    mr_dead_destroy(lane->dead);
    mr_lane_state_destroy(lane->state);
    mr_lane_commit_destroy(lane->exact);
    mr_encoder_destroy(lane->encoder);
    lane->run->job->codec->destroy(lane->decoder);
    for (size_t i = 0; i < MR_SLOT_COUNT; i++) {
        mr_slot_deinit(&lane->slot[i], lane->run);
        mr_raw_deinit(&lane->raw[i]);
    }
    mr_block_deinit(&lane->block, lane->run);
    mr_cross_check_deinit(&lane->check);
    mr_precision_deinit(&lane->precision);
    mr_flight_deinit(&lane->flight);
    mr_lags_deinit(&lane->lags);
    free(lane->sink);
    free(lane->sink_stats);
    free(lane);
}
