#include "pipeline/dead.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/number.h"
#include "pipeline/dead_file.h"
#include "pipeline/deliver.h"

#define BOX_COUNT         8
#define RECORD_CAP_MIN    64
#define RECORD_CAP_MAX    1024
#define ARENA_BYTES       (256u << 10)
#define QUEUE_BYTES       (4u << 20)
#define CLIENT_BYTES      1100 /* that librdkafka takes for a dead letter on its way: itself, 9 headers, its request */
#define HEADER_MAX        10
#define NUMBERS_BYTES     96    /* room for the numbers in one record's headers */
#define UNDELIVERABLE_MAX 65536 /* bytes kept of an output that no topic takes */
#define LOG_INTERVAL_US   10000000

/* An undeliverable record, copied: its box is reused as soon as it has settled. */
struct undeliverable {
    struct undeliverable *next;
    struct mr_ticket *ticket; /* kept from completing by one box_count */
    struct mr_bad bad;
    bool is_again; /* a dead letter that was too large */
    char bytes[];  /* key, then value */
};

/* What was refused for one reason: the first is logged at once, then one line tells of all that came meanwhile. */
struct refusals {
    uint64_t hidden; /* since the last line */
    int64_t due_us;  /* of the next line; 0: none was written yet */
};

struct mr_dead {
    const struct mr_run *run;
    unsigned lane;
    struct mr_stats *stats;
    const struct mr_source_ops *source_ops;
    struct mr_source *source;
    struct mr_transaction *transaction; /* NULL: none */
    void *sink_options;
    struct mr_lane_sink sink; /* opened when the first dead letter comes */
    struct mr_flight boxes;   /* only its boxes are used */
    struct mr_box *box;       /* being filled */
    struct mr_bad *sent;      /* [BOX_COUNT][record_cap]: of what is on its way, everything but the bytes */
    struct undeliverable *first, **last;
    struct refusals refusals[2][MR_REASON_COUNT]; /* of outputs, of dead letters */
    void (*idle)(void *context);
    void *idle_context;
};

static bool is_file(const struct mr_dead *dead)
{
    return dead->run->job->bad_records.file != NULL;
}

/* Records of a box: no more than a batch has, so that small batches need little memory. */
static size_t record_cap(const struct mr_job *job)
{
    const size_t cap = (size_t)job->batch.records_max;
    return cap < RECORD_CAP_MIN ? RECORD_CAP_MIN : cap > RECORD_CAP_MAX ? RECORD_CAP_MAX : cap;
}

size_t mr_dead_bytes(const struct mr_job *job)
{
    const size_t letter = sizeof(struct mr_record) + HEADER_MAX * sizeof(struct mr_header) + sizeof(struct mr_bad);
    if (!job->bad_records.topic && !job->bad_records.file) return 0;
    return BOX_COUNT * (ARENA_BYTES + record_cap(job) * (letter + (job->bad_records.topic ? CLIENT_BYTES : 0)));
}

mr_status mr_dead_create(const struct mr_run *run, unsigned lane, struct mr_stats *stats, struct mr_dead **dead_out,
                         struct mr_err *err)
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

void mr_dead_idle_set(struct mr_dead *dead, void (*idle)(void *context), void *context)
{
    dead->idle = idle;
    dead->idle_context = context;
}

/* One line a reason and interval: a topic may refuse every record. */
static void refusal_log(struct mr_dead *dead, const struct mr_bad *bad, const struct mr_record *record, bool is_dead,
                        mr_reason reason, const char *text)
{
    struct refusals *const refusals = &dead->refusals[is_dead][reason];
    const int64_t now_us = mr_clock_us();
    char more[64] = "";
    if (refusals->due_us && now_us < refusals->due_us) {
        refusals->hidden++;
        return;
    }
    if (refusals->hidden) snprintf(more, sizeof more, "; %llu more before it", (unsigned long long)refusals->hidden);
    mr_log(MR_LOG_WARN, "dead", "%s[%d] offset %lld: %s of %u bytes was not accepted: %s%s", bad->topic, bad->partition,
           (long long)bad->offset, is_dead ? "a dead letter" : "an output", record->value_bytes, text, more);
    *refusals = (struct refusals){.due_us = now_us + LOG_INTERVAL_US};
}

static void refusals_tell(const struct mr_dead *dead)
{
    for (size_t i = 0; i < 2 * MR_REASON_COUNT; i++) {
        const struct refusals *const refusals = &dead->refusals[i / MR_REASON_COUNT][i % MR_REASON_COUNT];
        if (!refusals->hidden) continue;
        mr_log(MR_LOG_WARN, "dead", "%llu more %s not accepted: %s", (unsigned long long)refusals->hidden,
               i / MR_REASON_COUNT ? "dead letters were" : "outputs were",
               mr_reason_name((mr_reason)(i % MR_REASON_COUNT)));
    }
}

void mr_dead_transaction_set(struct mr_dead *dead, struct mr_transaction *transaction)
{
    dead->transaction = transaction;
}

void mr_dead_reset(struct mr_dead *dead)
{
    if (dead->sink.sink) dead->sink.ops->close(dead->sink.sink);
    if (dead->sink_options) mr_options_deinit(dead->sink.ops->options, dead->sink_options);
    free(dead->sink_options);
    for (struct undeliverable *item = dead->first, *next; item; item = next) {
        next = item->next;
        free(item);
    }
    mr_flight_deinit(&dead->boxes);
    free(dead->sent);
    dead->sink = (struct mr_lane_sink){0};
    dead->sink_options = NULL;
    dead->box = NULL;
    dead->sent = NULL;
    dead->first = NULL;
    dead->last = &dead->first;
}

void mr_dead_destroy(struct mr_dead *dead)
{
    if (!dead) return;
    refusals_tell(dead);
    mr_dead_reset(dead);
    free(dead);
}

static mr_status sink_open(struct mr_dead *dead, struct mr_err *err)
{
    const struct mr_job *job = dead->run->job;
    const size_t cap = record_cap(job);
    const struct mr_sink_ops *ops = mr_sink_find(is_file(dead) ? "file" : "kafka");
    const struct mr_sink_open open_base = {.job = job->name,
                                           .lane = dead->lane,
                                           .lane_count = dead->run->lane_count,
                                           .memory_bytes = QUEUE_BYTES,
                                           .linger_us = 5000,
                                           .properties = dead->run->properties,
                                           .connect_timeout_us = dead->run->connect_timeout_us,
                                           .transaction = dead->transaction,
                                           .compress = true};
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
    if (!status) status = mr_flight_init(&dead->boxes, 1, BOX_COUNT, cap, ARENA_BYTES, dead->stats, err);
    if (!status && !(dead->sent = calloc(BOX_COUNT * cap, sizeof *dead->sent)))
        status = mr_fail(err, MR_ENOMEM, "out of memory");
    for (size_t i = 0; i < BOX_COUNT && !status; i++) {
        dead->boxes.box[i].header = calloc(cap * HEADER_MAX, sizeof(struct mr_header));
        if (!dead->boxes.box[i].header) status = mr_fail(err, MR_ENOMEM, "out of memory");
    }
    dead->boxes.undeliverable = mr_dead_undeliverable;
    dead->boxes.context = dead;
    return status;
}

mr_status mr_dead_open(struct mr_dead *dead, struct mr_err *err)
{
    const struct mr_bad_records_options *opt = &dead->run->job->bad_records;
    return dead->sink.sink || (!opt->topic && !opt->file) ? MR_OK : sink_open(dead, err);
}

static mr_status box_send(struct mr_dead *dead, struct mr_err *err)
{
    struct mr_box *box = dead->box;
    dead->box = NULL;
    return box ? mr_deliver(dead->run, box, &dead->sink, 1, dead->idle, dead->idle_context, err) : MR_OK;
}

/* Waits for acknowledgements until a box is free. The source is served meanwhile: the group must hear from us. */
static mr_status box_wait(struct mr_dead *dead, struct mr_ticket *ticket, struct mr_err *err)
{
    const int64_t interval_us = dead->run->idle_interval_us;
    int64_t idle_due_us = mr_clock_us() + interval_us;
    while (!(dead->box = mr_box_open(&dead->boxes, ticket))) {
        const mr_status status = dead->sink.ops->poll(dead->sink.sink, 10000, err);
        if (status) return status;
        if (dead->run->state == MR_RUN_ABORT)
            return mr_fail(err, MR_ERETRY, "stopped while dead letters were not delivered");
        if (dead->idle && mr_clock_us() >= idle_due_us) {
            dead->idle(dead->idle_context);
            idle_due_us = mr_clock_us() + interval_us;
        }
    }
    return MR_OK;
}

/* The arena of an empty box: large enough, and no larger than usual if it may be. */
static mr_status arena_fit(struct mr_outbox *out, size_t bytes, struct mr_err *err)
{
    const size_t cap = bytes > ARENA_BYTES ? bytes : ARENA_BYTES;
    if (out->arena_cap == cap || out->count) return MR_OK;
    char *fitted = realloc(out->arena, cap);
    if (!fitted) return mr_fail(err, MR_ENOMEM, "no memory for a dead letter of %zu bytes", bytes);
    out->arena = fitted;
    out->arena_cap = cap;
    return MR_OK;
}

/* A box of the ticket with room for `bytes`. */
static mr_status box_ready(struct mr_dead *dead, struct mr_ticket *ticket, size_t bytes, struct mr_err *err)
{
    mr_status status = MR_OK;
    struct mr_box *box = dead->box;

    if (box && (box->ticket != ticket || box->out.count == box->out.record_cap ||
                box->out.arena_cap - box->out.arena_used < bytes)) {
        status = box_send(dead, err);
    }
    if (!status && !dead->box) status = box_wait(dead, ticket, err);
    if (status) return status;
    dead->box->is_dead = true;
    return arena_fit(&dead->box->out, bytes, err);
}

static const char *arena_copy(struct mr_outbox *out, const void *from, size_t bytes)
{
    char *to = out->arena + out->arena_used;
    if (bytes) memcpy(to, from, bytes);
    out->arena_used += bytes;
    return to;
}

/* The text is borrowed: it lives as long as the run, or the source (the name of a topic). */
static void header_put(struct mr_record *record, struct mr_header *header, const char *name, const char *text)
{
    header[record->header_count++] = (struct mr_header){name, text, strlen(text)};
}

static void header_put_number(struct mr_record *record, struct mr_header *header, const char *name, int64_t number,
                              struct mr_outbox *out)
{
    char *text = out->arena + out->arena_used;
    const size_t bytes = mr_print_i64(number, text);
    out->arena_used += bytes;
    header[record->header_count++] = (struct mr_header){name, text, bytes};
}

/* Where the facts of a record on its way are kept. */
static struct mr_bad *sent_of(const struct mr_dead *dead, const struct mr_box *box, size_t index)
{
    return &dead->sent[(size_t)(box - dead->boxes.box) * box->out.record_cap + index];
}

static void record_fill(struct mr_dead *dead, const struct mr_bad *bad)
{
    struct mr_outbox *out = &dead->box->out;
    struct mr_header *header = dead->box->header + out->count * HEADER_MAX;
    struct mr_record *record = &out->record[out->count];

    struct mr_bad *const sent = sent_of(dead, dead->box, out->count++);
    *sent = *bad;
    sent->place = NULL; /* it is borrowed; what is sent once more, cut, is found by its offset */
    /* The value first: values lie in the arena in the order of the records. */
    *record = (struct mr_record){.partition = MR_PARTITION_BY_KEY,
                                 .header = header,
                                 .timestamp_ms = bad->timestamp_ms,
                                 .offset = bad->offset,
                                 .source_partition = bad->partition,
                                 .row_count = (uint32_t)bad->rows};
    if (is_file(dead)) {
        record->value = out->arena + out->arena_used;
        record->value_bytes =
            (uint32_t)mr_dead_file_line(bad, out->arena + out->arena_used, out->arena_cap - out->arena_used);
        out->arena_used += record->value_bytes;
        record->timestamp_ms = -1;
        return;
    }
    record->value = bad->value ? arena_copy(out, bad->value, bad->value_bytes) : NULL;
    record->value_bytes = (uint32_t)bad->value_bytes;
    if (bad->key) {
        record->key = arena_copy(out, bad->key, bad->key_bytes);
        record->key_bytes = (uint32_t)bad->key_bytes;
    }
    header_put(record, header, "millrace-error", mr_reason_name(bad->reason));
    header_put(record, header, "millrace-error-stage", bad->stage);
    if (bad->field) header_put(record, header, "millrace-error-field", bad->field);
    header_put(record, header, "millrace-source-topic", bad->topic);
    header_put_number(record, header, "millrace-source-partition", bad->partition, out);
    header_put_number(record, header, "millrace-source-offset", bad->offset, out);
    if (bad->place) {
        const size_t bytes = strlen(bad->place);
        header[record->header_count++] =
            (struct mr_header){"millrace-source-place", arena_copy(out, bad->place, bytes), bytes};
    }
    header_put(record, header, "millrace-job", dead->run->job->name);
    if (bad->truncated_from)
        header_put_number(record, header, "millrace-truncated-from", (int64_t)bad->truncated_from, out);
}

static mr_status bad_add(struct mr_dead *dead, struct mr_ticket *ticket, const struct mr_bad *bad, struct mr_err *err)
{
    const struct mr_bad_records_options *opt = &dead->run->job->bad_records;
    mr_status status = MR_OK;

    if (!opt->topic && !opt->file) { /* the job says: drop */
        ticket->dead += bad->rows;
        return MR_OK;
    }
    status = mr_dead_open(dead, err);
    if (!status)
        status = box_ready(
            dead, ticket,
            (is_file(dead) ? mr_dead_file_bytes(bad) : bad->value_bytes + (bad->place ? strlen(bad->place) : 0)) +
                bad->key_bytes + NUMBERS_BYTES,
            err);
    if (status) return status;
    record_fill(dead, bad);
    dead->box->rows += bad->rows;
    return MR_OK;
}

mr_status mr_dead_add(struct mr_dead *dead, struct mr_ticket *ticket, const struct mr_bad *bad, struct mr_err *err)
{
    mr_stats_add(&dead->stats->reasons[bad->reason], bad->rows);
    return bad_add(dead, ticket, bad, err);
}

/* An output that no topic takes becomes a dead letter; a dead letter that is too large goes once more, cut, with its
 * own facts. */
static struct mr_bad bad_of(const struct mr_dead *dead, const struct mr_box *box, const struct mr_record *record,
                            mr_reason reason)
{
    if (box->is_dead) return *sent_of(dead, box, (size_t)(record - box->out.record));
    return (struct mr_bad){.topic = dead->source_ops->topic_name(dead->source, record->topic),
                           .partition = record->source_partition,
                           .offset = record->offset,
                           .timestamp_ms = -1,
                           .reason = reason,
                           .stage = "output",
                           .rows = record->row_count};
}

void mr_dead_undeliverable(void *context, struct mr_box *box, struct mr_record *record, mr_reason reason,
                           const char *text)
{
    struct mr_dead *dead = context;
    if (!dead->source) return; /* the lane is being closed: nothing more is committed, all of it will be repeated */
    const struct mr_bad bad = bad_of(dead, box, record, reason);
    const size_t value_bytes = record->value_bytes > UNDELIVERABLE_MAX ? UNDELIVERABLE_MAX : record->value_bytes;
    struct undeliverable *item = malloc(sizeof *item + record->key_bytes + value_bytes);

    refusal_log(dead, &bad, record, box->is_dead, reason, text ? text : mr_reason_name(reason));
    if (!item || (box->is_dead && record->value_bytes <= UNDELIVERABLE_MAX)) {
        if (!box->flight->failure.status) {
            mr_fail(&box->flight->failure, item ? MR_ESINK : MR_ENOMEM,
                    "a dead letter could not be delivered (%s): nothing past it was committed",
                    text ? text : mr_reason_name(reason));
        }
        free(item);
        return;
    }
    if (record->key) memcpy(item->bytes, record->key, record->key_bytes);
    if (record->value) memcpy(item->bytes + record->key_bytes, record->value, value_bytes);
    item->next = NULL;
    item->ticket = box->ticket;
    item->ticket->box_count++;
    item->is_again = box->is_dead;
    item->bad = bad;
    item->bad.value = record->value ? item->bytes + record->key_bytes : NULL;
    item->bad.value_bytes = value_bytes;
    item->bad.key = record->key ? item->bytes : NULL;
    item->bad.key_bytes = record->key ? record->key_bytes : 0;
    if (value_bytes < record->value_bytes) item->bad.truncated_from = record->value_bytes;
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
        status = item->is_again ? bad_add(dead, item->ticket, &item->bad, err)
                                : mr_dead_add(dead, item->ticket, &item->bad, err);
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
