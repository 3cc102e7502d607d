#include "pipeline/label_topic.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/options.h"
#include "kafka/client.h"

#define TICKET_COUNT      64
#define SETTLE_PAUSE_NS   1000000
#define GROUP_SUFFIX      ".labels"
#define DEAD_BOXES_UNUSED 1

int64_t mr_join_time_ms(const struct mr_source_ops *ops, const struct mr_source *source,
                        const struct mr_message *message)
{
    const int64_t time_ms = ops->timestamp_ms(source, message);
    return time_ms < 0 ? mr_clock_epoch_ms() : time_ms;
}

struct mr_span mr_join_key(struct mr_span captured)
{
    if (!captured.data || captured.bytes < 2 || captured.data[0] != '"') return captured;
    return (struct mr_span){captured.data + 1, captured.bytes - 2};
}

/* ---- opening ---- */

static void option_set(const struct mr_source_ops *ops, void *options, const char *key, const void *value, size_t bytes)
{
    const struct mr_option *const row = mr_option_find(ops->options, key);
    if (row) memcpy((char *)options + row->offset, value, bytes);
}

/* The source's options with the topics of the labels, and a group that has only these. */
static mr_status options_make(struct mr_label_topic *topic, struct mr_err *err)
{
    const struct mr_job *const job = topic->run->job;
    const struct mr_source_ops *const ops = job->source;
    char *const *const group = mr_option_value(ops->options, job->source_options, "group", MR_OPT_STRING);
    static const char start[] = "earliest";
    char records_group[512];
    if (!mr_option_find(ops->options, "topics"))
        return mr_fail(err, MR_ECONFIG, "labels: a source of type %s has no topics", ops->name);
    topic->source_options = malloc(ops->options_size + 1);
    mr_kafka_group(group ? *group : NULL, job->name, records_group, sizeof records_group);
    if (asprintf(&topic->group, "%s" GROUP_SUFFIX, records_group) < 0) topic->group = NULL;
    if (!topic->source_options || !topic->group) return mr_fail(err, MR_ENOMEM, "out of memory");
    memcpy(topic->source_options, job->source_options, ops->options_size);
    option_set(ops, topic->source_options, "topics", &job->labels.topics, sizeof job->labels.topics);
    option_set(ops, topic->source_options, "group", &topic->group, sizeof topic->group);
    char *const *const given = mr_option_value(ops->options, job->source_options, "start", MR_OPT_STRING);
    const char *const earliest = start;
    if (given && *given && strchr(*given, '=')) /* offsets are those of the source's topics */
        option_set(ops, topic->source_options, "start", &earliest, sizeof earliest);
    return MR_OK;
}

static mr_status decoder_make(struct mr_label_topic *topic, struct mr_err *err)
{
    const struct mr_job *const job = topic->run->job;
    const bool has_key = strcmp(job->labels.key, "@key") != 0;
    topic->field[0] = (struct mr_field){.path = job->labels.label, .role = MR_FIELD_LABEL, .missing = MR_MISSING_DEAD};
    topic->field[1] = (struct mr_field){.path = job->labels.key, .role = MR_FIELD_CAPTURE, .required = true};
    topic->schema = (struct mr_schema){.field = topic->field,
                                       .field_count = 1 + has_key,
                                       .capture_count = has_key,
                                       .framing = topic->run->layout->schema.framing,
                                       .depth_max = topic->run->layout->schema.depth_max,
                                       .record_bytes_max = topic->run->layout->schema.record_bytes_max};
    return job->codec->create(job->codec_options, &topic->schema, &topic->decoder, err);
}

static mr_status rows_make(struct mr_label_topic *topic, struct mr_err *err)
{
    const size_t cap = (size_t)topic->run->job->batch.records_max;
    struct mr_rows *const rows = &topic->rows;
    *rows = (struct mr_rows){.row_cap = cap, .reject_cap = cap, .capture_count = topic->schema.capture_count};
    rows->x = aligned_alloc(MR_ALIGN, MR_TILE_ROWS * sizeof(float)); /* of no columns: only pointed to */
    rows->label = calloc(cap, sizeof *rows->label);
    rows->message = calloc(cap, sizeof *rows->message);
    rows->reject = calloc(cap, sizeof *rows->reject);
    rows->capture = calloc(cap * rows->capture_count + 1, sizeof *rows->capture);
    if (rows->x && rows->label && rows->message && rows->reject && rows->capture)
        return mr_raw_init(&topic->raw, cap, err);
    return mr_fail(err, MR_ENOMEM, "no memory for a batch of %zu labels: lower batch.records_max", cap);
}

size_t mr_label_topic_bytes(const struct mr_job *job)
{
    const size_t cap = (size_t)job->batch.records_max;
    return cap * (sizeof(double) + sizeof(uint32_t) + sizeof(struct mr_reject) + sizeof(struct mr_span) +
                  sizeof(struct mr_message)) +
           mr_dead_bytes(job);
}

static mr_status commit(struct mr_label_topic *topic, bool wait, struct mr_err *err)
{
    struct mr_flight *const flight = &topic->flight;
    topic->commit_due_ns = mr_clock_ns() + topic->run->job->commit_interval * 1000;
    const mr_status status =
        topic->run->job->source->commit(topic->source, flight->ready, flight->ready_count, wait, err);
    flight->ready_count = 0; /* the source sends again what could not be stored */
    if (!status) return MR_OK;
    mr_log(MR_LOG_WARN, "labels", "%s", err->text);
    mr_stats_add(&topic->stats.commit_failures, 1);
    return status == MR_AGAIN && !wait ? MR_OK : status;
}

/* Partitions of labels leave: what was taken from them is committed; dead letters on their way are repeated. */
static void revoked(void *context, const struct mr_position *positions, size_t count, bool is_lost)
{
    struct mr_label_topic *const topic = context;
    struct mr_err err = {0};
    topic->is_at_end = false;
    if (!is_lost && !mr_flight_settle(&topic->flight, &err)) commit(topic, true, &err);
    mr_flight_forget(&topic->flight, positions, count);
}

static mr_status source_open(struct mr_label_topic *topic, size_t memory_bytes, struct mr_err *err)
{
    struct mr_run *const run = topic->run;
    const struct mr_source_ops *const ops = run->job->source;
    unsigned partitions = 0;
    const struct mr_source_open open = {.options = topic->source_options,
                                        .job = run->job->name,
                                        .lane_count = 1,
                                        .memory_bytes = memory_bytes,
                                        .is_bounded = run->until.end,
                                        .ends = mr_ends_of(&run->ends),
                                        .reads_timestamps = true,
                                        .events = {.context = topic, .revoke = revoked}};
    mr_status status = ops->open(&open, &topic->source, err);
    if (!status && ops->lane_count_max) status = ops->lane_count_max(topic->source_options, &partitions, err);
    topic->clock.partitions = partitions;
    return status;
}

mr_status mr_label_topic_create(struct mr_run *run, size_t memory_bytes, void (*idle)(void *context), void *context,
                                struct mr_label_topic **topic_out, struct mr_err *err)
{
    struct mr_label_topic *const topic = calloc(1, sizeof *topic);
    *topic_out = NULL;
    if (!topic) return mr_fail(err, MR_ENOMEM, "out of memory");
    topic->run = run;
    mr_breaker_init(&topic->breaker);
    mr_status status = options_make(topic, err);
    if (!status) status = decoder_make(topic, err);
    if (!status) status = rows_make(topic, err);
    if (!status)
        status = mr_flight_init(&topic->flight, TICKET_COUNT, DEAD_BOXES_UNUSED, DEAD_BOXES_UNUSED, MR_ALIGN,
                                &topic->stats, err);
    if (!status) status = mr_dead_create(run, 0, &topic->stats, &topic->dead, err);
    if (!status) status = source_open(topic, memory_bytes, err);
    if (status) {
        mr_label_topic_destroy(topic);
        return status;
    }
    mr_dead_idle_set(topic->dead, idle, context);
    mr_dead_source_set(topic->dead, run->job->source, topic->source);
    *topic_out = topic;
    return MR_OK;
}

void mr_label_topic_destroy(struct mr_label_topic *topic)
{
    if (!topic) return;
    const struct mr_job *const job = topic->run->job;
    struct mr_rows *const rows = &topic->rows;
    if (topic->raw.is_used) job->source->release(topic->source, topic->raw.message, topic->raw.count);
    job->source->close(topic->source);
    if (topic->dead) mr_dead_source_set(topic->dead, NULL, NULL);
    mr_dead_destroy(topic->dead);
    job->codec->destroy(topic->decoder);
    mr_raw_deinit(&topic->raw);
    mr_flight_deinit(&topic->flight);
    mr_breaker_deinit(&topic->breaker);
    mr_topic_clock_deinit(&topic->clock);
    free(rows->x);
    free(rows->label);
    free(rows->message);
    free(rows->reject);
    free(rows->capture);
    free(topic->source_options);
    free(topic->group);
    free(topic);
}

/* ---- reading ---- */

mr_status mr_label_topic_join(struct mr_label_topic *topic, struct mr_err *err)
{
    const struct mr_source_ops *const ops = topic->run->job->source;
    return ops->join ? ops->join(topic->source, err) : MR_OK;
}

void mr_label_topic_serve(struct mr_label_topic *topic)
{
    size_t count;
    topic->run->job->source->poll(topic->source, NULL, 0, 0, 0, &count, NULL);
}

static mr_status rejects_add(struct mr_label_topic *topic, struct mr_err *err)
{
    const struct mr_source_ops *const ops = topic->run->job->source;
    mr_status status = MR_OK;
    for (size_t i = 0; i < topic->rows.reject_count && !status; i++) {
        const struct mr_reject *const reject = &topic->rows.reject[i];
        const struct mr_message *const message = &topic->raw.message[reject->message];
        const struct mr_bad bad = {.value = message->value ? message->value + reject->first : NULL,
                                   .value_bytes = reject->bytes,
                                   .key = message->key,
                                   .key_bytes = message->key_bytes,
                                   .topic = ops->topic_name(topic->source, message->topic),
                                   .partition = message->partition,
                                   .offset = message->offset,
                                   .timestamp_ms = ops->timestamp_ms(topic->source, message),
                                   .reason = reject->reason,
                                   .stage = "label",
                                   .field = reject->field == MR_FIELD_NONE ? NULL : topic->field[reject->field].path,
                                   .rows = 1};
        status = mr_dead_add(topic->dead, topic->raw.ticket, &bad, err);
    }
    return status ? status : mr_dead_flush(topic->dead, err);
}

/* Hands over the rows that were decoded; one whose message has no key is bad. */
static mr_status rows_take(struct mr_label_topic *topic, mr_label_fn *take, void *context, struct mr_err *err)
{
    const struct mr_source_ops *const ops = topic->run->job->source;
    struct mr_rows *const rows = &topic->rows;
    mr_status status = MR_OK;
    for (size_t row = 0; row < rows->row_count && !status; row++) {
        const struct mr_message *const message = &topic->raw.message[rows->message[row]];
        const struct mr_span key =
            rows->capture_count ? mr_join_key(rows->capture[row]) : (struct mr_span){message->key, message->key_bytes};
        const int64_t time_ms = mr_join_time_ms(ops, topic->source, message);
        status = take(context, &key, time_ms, rows->label[row], err);
        if (!status && !mr_topic_clock_see(&topic->clock, message->topic, message->partition, time_ms))
            status = mr_fail(err, MR_ENOMEM, "no memory for the partitions of labels");
        topic->raw.ticket->out++;
    }
    return status;
}

/* Messages that can be no label, before the codec sees them: without a value, or without the key that is asked for. */
static bool is_skipped(struct mr_label_topic *topic, size_t at)
{
    const struct mr_message *const message = &topic->raw.message[at];
    struct mr_rows *const rows = &topic->rows;
    const bool is_tombstone = !message->value;
    if (!is_tombstone && (rows->capture_count || message->key)) return false;
    if (is_tombstone && topic->run->job->record.tombstones != MR_TOMBSTONE_DEAD) {
        topic->raw.ticket->filtered++;
        topic->raw.ticket->in++;
        mr_stats_add(&topic->stats.records_in, 1);
    } else {
        rows->reject[rows->reject_count++] =
            (struct mr_reject){.message = (uint32_t)at,
                               .bytes = (uint32_t)message->value_bytes,
                               .reason = is_tombstone ? MR_REASON_TOMBSTONE : MR_REASON_MISSING,
                               .field = MR_FIELD_NONE};
    }
    return true;
}

/* Decodes and hands over as much of the raw batch as rows and rejects hold. */
static mr_status part_take(struct mr_label_topic *topic, mr_label_fn *take, void *context, struct mr_err *err)
{
    struct mr_raw *const raw = &topic->raw;
    struct mr_rows *const rows = &topic->rows;
    rows->row_count = rows->reject_count = 0;
    while (raw->cursor.message < raw->count && rows->row_count < rows->row_cap &&
           rows->reject_count < rows->reject_cap) {
        size_t end = raw->cursor.message;
        if (!raw->cursor.byte && is_skipped(topic, end)) {
            raw->cursor = (struct mr_cursor){end + 1, 0};
            continue;
        }
        do end++;
        while (end < raw->count && raw->message[end].value && (rows->capture_count || raw->message[end].key));
        topic->run->job->codec->decode(topic->decoder, raw->message, end, &raw->cursor, rows);
    }
    raw->ticket->in += rows->row_count + rows->reject_count;
    mr_stats_add(&topic->stats.records_in, rows->row_count + rows->reject_count);
    struct mr_err bad;
    mr_status status =
        mr_breaker_count(&topic->breaker, &topic->run->job->bad_records, rows, &topic->bad_run_length, &bad);
    if (status) return mr_fail(err, status, "labels: %s", bad.text);
    status = rows_take(topic, take, context, err);
    return status ? status : rejects_add(topic, err);
}

mr_status mr_label_topic_poll(struct mr_label_topic *topic, mr_label_fn *take, void *context, struct mr_err *err)
{
    const struct mr_source_ops *const ops = topic->run->job->source;
    struct mr_raw *const raw = &topic->raw;
    const bool is_full = topic->flight.ticket_count == topic->flight.ticket_cap;
    size_t count = 0;
    mr_status status = ops->poll(topic->source, raw->message, is_full ? 0 : raw->cap, 0, 0, &count, err);
    if (!is_full) topic->is_at_end = status == MR_END;
    topic->was_fed = count != 0;
    if (status == MR_AGAIN) status = err->status = MR_EKAFKA; /* records wait in memory for their labels */
    if ((status && status != MR_END) || !count) return status == MR_END ? MR_OK : status;
    raw->is_used = true;
    raw->count = count;
    raw->cursor = (struct mr_cursor){0};
    raw->ticket = mr_ticket_open(&topic->flight);
    mr_stats_add(&topic->stats.messages_in, count);
    status = mr_ticket_cover(raw->ticket, raw->message, count, err);
    while (!status && raw->cursor.message < raw->count) status = part_take(topic, take, context, err);
    if (status) return status;
    mr_ticket_close(raw->ticket);
    ops->release(topic->source, raw->message, raw->count);
    raw->is_used = false;
    return MR_OK;
}

mr_status mr_label_topic_settle(struct mr_label_topic *topic, struct mr_err *err)
{
    mr_status status = mr_dead_poll(topic->dead, err);
    if (!status) status = mr_dead_flush(topic->dead, err);
    if (!status) status = mr_flight_settle(&topic->flight, err);
    if (!status && mr_clock_ns() >= topic->commit_due_ns) status = commit(topic, false, err);
    return status;
}

mr_status mr_label_topic_finish(struct mr_label_topic *topic, int64_t deadline_ns, struct mr_err *err)
{
    const struct timespec pause = {.tv_nsec = SETTLE_PAUSE_NS};
    mr_status status = mr_label_topic_settle(topic, err);
    while (!status && topic->flight.ticket_count && mr_clock_ns() < deadline_ns) {
        nanosleep(&pause, NULL);
        status = mr_label_topic_settle(topic, err);
    }
    while (!status && (status = commit(topic, true, err)) == MR_AGAIN && mr_clock_ns() < deadline_ns) {
        nanosleep(&pause, NULL);
        status = MR_OK;
    }
    if (status && status != MR_AGAIN) return status;
    return status || topic->flight.ticket_count
               ? mr_fail(err, MR_ERETRY, "labels: not all offsets could be committed in time: they will be repeated")
               : MR_OK;
}
