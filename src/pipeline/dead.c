#include "pipeline/dead.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "pipeline/dead_file.h"
#include "pipeline/deliver.h"

#define BOX_COUNT 8
#define RECORD_CAP 1024
#define ARENA_BYTES (1u << 20)
#define HEADER_MAX 9
#define TEXT_BYTES 512        /* room for the values of one record's headers */
#define UNDELIVERABLE_MAX 65536 /* bytes kept of an output that no topic takes */

/* An undeliverable record, copied: its box is reused as soon as it has settled. */
struct undeliverable {
    struct undeliverable *next;
    struct mr_ticket *ticket; /* kept from completing by one box_count */
    struct mr_bad bad;
    char bytes[];             /* key, then value */
};

struct mr_dead {
    const struct mr_run *run;
    unsigned lane;
    struct mr_stats *stats;
    const struct mr_source_ops *source_ops;
    struct mr_source *source;
    void *sink_options;
    struct mr_lane_sink sink; /* opened when the first dead letter comes */
    struct mr_flight boxes;   /* only its boxes are used */
    struct mr_box *box;       /* being filled */
    struct undeliverable *first, **last;
    uint64_t seen, bad, run_length; /* circuit breaker */
};

static bool is_file(const struct mr_dead *dead) { return dead->run->job->bad_records.file != NULL; }

mr_status mr_dead_create(const struct mr_run *run, unsigned lane, struct mr_stats *stats, struct mr_dead **dead_out, struct mr_err *err)
{
    struct mr_dead *dead = calloc(1, sizeof *dead);
    *dead_out = dead;
    if (!dead) return mr_fail(err, MR_ENOMEM, "out of memory");
    dead->run = run;
    dead->lane = lane;
    dead->stats = stats;
    dead->last = &dead->first;
    return MR_OK;
}

void mr_dead_source_set(struct mr_dead *dead, const struct mr_source_ops *ops, struct mr_source *source)
{
    dead->source_ops = ops;
    dead->source = source;
}

void mr_dead_destroy(struct mr_dead *dead)
{
    if (!dead) return;
    if (dead->sink.sink) dead->sink.ops->close(dead->sink.sink);
    if (dead->sink_options) mr_options_deinit(dead->sink.ops->options, dead->sink_options);
    free(dead->sink_options);
    for (struct undeliverable *item = dead->first, *next; item; item = next) {
        next = item->next;
        free(item);
    }
    mr_flight_deinit(&dead->boxes);
    free(dead);
}

static mr_status sink_open(struct mr_dead *dead, struct mr_err *err)
{
    const struct mr_job *job = dead->run->job;
    const struct mr_sink_ops *ops = mr_sink_find(is_file(dead) ? "file" : "kafka");
    const struct mr_sink_open open_base = {.job = job->name, .lane = dead->lane, .lane_count = dead->run->lane_count, .memory_bytes = 4u << 20,
                                           .linger_us = 5000, .properties = dead->run->properties, .connect_timeout_us = 10000000};
    struct mr_sink_open open = open_base;
    mr_status status;

    if (!ops) return mr_fail(err, MR_ECONFIG, "bad_records: this build has no sink for it");
    dead->sink.ops = ops;
    if (!(dead->sink_options = calloc(1, ops->options_size))) return mr_fail(err, MR_ENOMEM, "out of memory");
    status = mr_options_init(ops->options, dead->sink_options, err);
    if (!status) {
        status = is_file(dead) ? mr_options_set(ops->options, dead->sink_options, "path", job->bad_records.file, err)
                               : mr_options_set(ops->options, dead->sink_options, "topic", job->bad_records.topic, err);
    }
    open.options = dead->sink_options;
    if (!status) status = ops->open(&open, &dead->sink.sink, err);
    if (!status) status = mr_flight_init(&dead->boxes, 1, BOX_COUNT, RECORD_CAP, ARENA_BYTES, dead->stats, err);
    for (size_t i = 0; i < BOX_COUNT && !status; i++) {
        dead->boxes.box[i].header = calloc(RECORD_CAP * HEADER_MAX, sizeof(struct mr_header));
        if (!dead->boxes.box[i].header) status = mr_fail(err, MR_ENOMEM, "out of memory");
    }
    dead->boxes.undeliverable = mr_dead_undeliverable;
    dead->boxes.context = dead;
    return status;
}

static mr_status box_send(struct mr_dead *dead, struct mr_err *err)
{
    struct mr_box *box = dead->box;
    dead->box = NULL;
    return box ? mr_deliver(dead->run, box, &dead->sink, 1, NULL, NULL, err) : MR_OK;
}

/* A box of the ticket with room for `bytes`; waits for acknowledgements when all boxes are on their way. */
static mr_status box_ready(struct mr_dead *dead, struct mr_ticket *ticket, size_t bytes, struct mr_err *err)
{
    mr_status status = MR_OK;
    struct mr_box *box = dead->box;

    if (box && (box->ticket != ticket || box->out.count == box->out.record_cap || box->out.arena_cap - box->out.arena_used < bytes)) {
        status = box_send(dead, err);
    }
    while (!status && !dead->box && !(dead->box = mr_box_open(&dead->boxes, ticket))) {
        status = dead->sink.ops->poll(dead->sink.sink, 10000, err);
        if (!status && dead->run->state == MR_RUN_ABORT) status = mr_fail(err, MR_ERETRY, "stopped while dead letters were not delivered");
    }
    if (status) return status;
    dead->box->is_dead = true;
    if (dead->box->out.arena_cap < bytes) { /* a very large record: the box is empty here */
        char *grown = realloc(dead->box->out.arena, bytes);
        if (!grown) return mr_fail(err, MR_ENOMEM, "no memory for a dead letter of %zu bytes", bytes);
        dead->box->out.arena = grown;
        dead->box->out.arena_cap = bytes;
    }
    return MR_OK;
}

static const char *arena_copy(struct mr_outbox *out, const void *from, size_t bytes)
{
    char *to = out->arena + out->arena_used;
    if (bytes) memcpy(to, from, bytes);
    out->arena_used += bytes;
    return to;
}

static void header_add(struct mr_outbox *out, struct mr_header *header, uint32_t *count, const char *name, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

static void header_add(struct mr_outbox *out, struct mr_header *header, uint32_t *count, const char *name, const char *format, ...)
{
    char text[256];
    va_list arguments;
    va_start(arguments, format);
    int bytes = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (bytes >= (int)sizeof text) bytes = (int)sizeof text - 1;
    header[(*count)++] = (struct mr_header){name, arena_copy(out, text, (size_t)bytes), (size_t)bytes};
}

static void record_fill(struct mr_dead *dead, const struct mr_bad *bad)
{
    struct mr_outbox *out = &dead->box->out;
    struct mr_header *header = dead->box->header + out->count * HEADER_MAX;
    struct mr_record *record = &out->record[out->count++];

    /* The value first: values lie in the arena in the order of the records. */
    *record = (struct mr_record){.partition = MR_PARTITION_BY_KEY, .header = header, .timestamp_ms = bad->timestamp_ms,
                                 .offset = bad->offset, .source_partition = bad->partition, .row_count = (uint32_t)bad->rows};
    if (is_file(dead)) {
        record->value = out->arena + out->arena_used;
        record->value_bytes = (uint32_t)mr_dead_file_line(bad, out->arena + out->arena_used, out->arena_cap - out->arena_used);
        out->arena_used += record->value_bytes;
        record->timestamp_ms = -1;
        return;
    }
    record->value = arena_copy(out, bad->value, bad->value_bytes);
    record->value_bytes = (uint32_t)bad->value_bytes;
    if (bad->key) {
        record->key = arena_copy(out, bad->key, bad->key_bytes);
        record->key_bytes = (uint32_t)bad->key_bytes;
    }
    header_add(out, header, &record->header_count, "millrace-error", "%s", mr_reason_name(bad->reason));
    header_add(out, header, &record->header_count, "millrace-error-stage", "%s", bad->stage);
    if (bad->field) header_add(out, header, &record->header_count, "millrace-error-field", "%s", bad->field);
    header_add(out, header, &record->header_count, "millrace-source-topic", "%s", bad->topic);
    header_add(out, header, &record->header_count, "millrace-source-partition", "%d", bad->partition);
    header_add(out, header, &record->header_count, "millrace-source-offset", "%lld", (long long)bad->offset);
    header_add(out, header, &record->header_count, "millrace-job", "%s", dead->run->job->name);
    if (bad->truncated_from) header_add(out, header, &record->header_count, "millrace-truncated-from", "%zu", bad->truncated_from);
}

mr_status mr_dead_add(struct mr_dead *dead, struct mr_ticket *ticket, const struct mr_bad *bad, struct mr_err *err)
{
    const struct mr_bad_records_options *opt = &dead->run->job->bad_records;
    mr_status status = MR_OK;

    mr_stats_add(&dead->stats->reasons[bad->reason], bad->rows);
    if (!opt->topic && !opt->file) { /* the job says: drop */
        ticket->dead += bad->rows;
        return MR_OK;
    }
    if (!dead->sink.sink) status = sink_open(dead, err);
    if (!status) status = box_ready(dead, ticket, (is_file(dead) ? mr_dead_file_bytes(bad) : bad->value_bytes) + bad->key_bytes + TEXT_BYTES * 2, err);
    if (status) return status;
    record_fill(dead, bad);
    dead->box->rows += bad->rows;
    return MR_OK;
}

void mr_dead_undeliverable(void *context, struct mr_box *box, struct mr_record *record, mr_reason reason, const char *text)
{
    struct mr_dead *dead = context;
    const bool is_cut = box->is_dead; /* a dead letter that is itself too large goes once more, cut */
    const size_t value_bytes = record->value_bytes > UNDELIVERABLE_MAX ? UNDELIVERABLE_MAX : record->value_bytes;
    struct undeliverable *item = malloc(sizeof *item + record->key_bytes + value_bytes);

    mr_log(MR_LOG_WARN, "dead", "%s[%d] offset %lld: %s of %u bytes was not accepted: %s",
           dead->source_ops ? dead->source_ops->topic_name(dead->source, record->topic) : "?", record->source_partition,
           (long long)record->offset, is_cut ? "a dead letter" : "an output", record->value_bytes, text ? text : mr_reason_name(reason));
    if (!item || (is_cut && record->value_bytes <= UNDELIVERABLE_MAX)) {
        if (!box->flight->failure.status) {
            mr_fail(&box->flight->failure, item ? MR_ESINK : MR_ENOMEM, "a dead letter could not be delivered (%s): nothing past it was committed",
                    text ? text : mr_reason_name(reason));
        }
        free(item);
        return;
    }
    memcpy(item->bytes, record->key, record->key ? record->key_bytes : 0);
    memcpy(item->bytes + record->key_bytes, record->value, value_bytes);
    item->next = NULL;
    item->ticket = box->ticket;
    item->ticket->box_count++;
    item->bad = (struct mr_bad){.value = item->bytes + record->key_bytes, .value_bytes = value_bytes, .key = record->key ? item->bytes : NULL,
                                .key_bytes = record->key ? record->key_bytes : 0, .partition = record->source_partition, .offset = record->offset,
                                .timestamp_ms = -1, .reason = reason, .stage = "output", .rows = record->row_count,
                                .truncated_from = value_bytes < record->value_bytes ? record->value_bytes : 0};
    item->bad.topic = dead->source_ops ? dead->source_ops->topic_name(dead->source, record->topic) : "?";
    *dead->last = item;
    dead->last = &item->next;
}

mr_status mr_dead_flush(struct mr_dead *dead, struct mr_err *err)
{
    mr_status status = box_send(dead, err);
    while (!status && dead->first) {
        struct undeliverable *item = dead->first;
        dead->first = item->next;
        if (!dead->first) dead->last = &dead->first;
        status = mr_dead_add(dead, item->ticket, &item->bad, err);
        item->ticket->box_count--; /* the dead letter's own box holds the ticket now */
        free(item);
        if (!status && !dead->first) status = box_send(dead, err);
    }
    return status;
}

mr_status mr_dead_poll(struct mr_dead *dead, struct mr_err *err)
{
    if (!dead->sink.sink) return MR_OK;
    const mr_status status = dead->sink.ops->poll(dead->sink.sink, 0, err);
    if (status || !dead->boxes.failure.status) return status;
    if (err) *err = dead->boxes.failure;
    return dead->boxes.failure.status;
}

mr_status mr_dead_breaker(struct mr_dead *dead, const struct mr_rows *rows, struct mr_err *err)
{
    const struct mr_bad_records_options *opt = &dead->run->job->bad_records;

    dead->run_length = rows->row_count ? 0 : dead->run_length;
    for (size_t i = 0; i < rows->reject_count; i++) {
        const bool follows = i && rows->reject[i].message <= rows->reject[i - 1].message + 1;
        dead->run_length = follows || (!i && !rows->row_count) ? dead->run_length + 1 : 1;
        if (opt->run_max && dead->run_length >= (uint64_t)opt->run_max) {
            return mr_fail(err, MR_EDATA, "circuit breaker: %llu bad records in a row (the last one: %s): is the right topic read, and does "
                           "\"record\" describe it? Raise bad_records.run_max to go on all the same",
                           (unsigned long long)dead->run_length, mr_reason_name(rows->reject[i].reason));
        }
    }
    dead->seen += rows->row_count + rows->reject_count;
    dead->bad += rows->reject_count;
    if (opt->window && dead->seen >= (uint64_t)opt->window) {
        const double share = (double)dead->bad / (double)dead->seen;
        if (opt->share_max < 1 && share > opt->share_max) {
            return mr_fail(err, MR_EDATA, "circuit breaker: %.1f %% of the last %llu records were bad, and bad_records.share_max is %.1f %%: "
                           "look at the dead letters, mend the producer or the job, and start again: nothing is lost",
                           100 * share, (unsigned long long)dead->seen, 100 * opt->share_max);
        }
        dead->seen /= 2;
        dead->bad /= 2;
    }
    return MR_OK;
}
