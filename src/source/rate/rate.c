/* The rate source: synthetic streams of which the truth is known, so many records a second. */
#include "source/rate/rate.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/pace.h"
#include "registry.h"
#include "source/reading.h"

static void rate_close(struct mr_source *source);

struct mr_source {
    const struct rate_options *opt;
    struct mr_source_open open;
    struct mr_rate_stream stream;
    struct mr_ledger *ledger; /* of one file, which is the stream */
    struct mr_pool pool;
    struct mr_origin *origin;
    struct mr_piece *piece; /* the chunk that is written to */
    int64_t first, next;    /* records of this run */
    struct mr_pace pace;    /* of record `first` on */
    bool has_joined;
    struct mr_err failure;
};

static const char *const streams[] = {"plane", "clusters", "ratings", "ab", NULL};
static const char *const formats[] = {"json", "csv", NULL};
static const char *const shapes[] = {"normal", "uniform", NULL};
static const char *const places[] = {"y", "x", NULL};

#define AT(field) offsetof(struct rate_options, field)
static const struct mr_option rate_options[] = {
    {.key = "stream",
     .type = MR_OPT_ENUM,
     .offset = AT(stream),
     .fallback = "plane",
     .choices = streams,
     .doc =
         "What is made: plane, x1 x2 ... and y, a sum of them times coefficients; clusters, points around centres that "
         "walk (from, x and y); ratings, uid item rating of low rank; ab, arm and value, whose mean differs by arm."},
    {.key = "rate",
     .type = MR_OPT_DOUBLE,
     .offset = AT(rate),
     .fallback = "1000",
     .max = 1e9,
     .doc = "Records a second, exact over time; 0: as fast as they are taken."},
    {.key = "count",
     .type = MR_OPT_INT,
     .offset = AT(count),
     .fallback = "0",
     .max = 1e15,
     .doc = "Records in all, then the run ends; 0: no end."},
    {.key = "seed",
     .type = MR_OPT_INT,
     .offset = AT(seed),
     .fallback = "0",
     .max = 1e15,
     .doc = "Another one makes other records; the same one, the same."},
    {.key = "format",
     .type = MR_OPT_ENUM,
     .offset = AT(format),
     .fallback = "json",
     .choices = formats,
     .doc = "Of the messages, as record.format; in CSV the fields stand in the order in which stream names them."},
    {.key = "coefficients",
     .type = MR_OPT_STRINGS,
     .offset = AT(coefficients),
     .doc = "Of a plane, as many as it has x; by default 3.2 and 0.6.",
     .example = "[\"3.2\", \"0.6\"]"},
    {.key = "drift",
     .type = MR_OPT_STRINGS,
     .offset = AT(drift),
     .doc = "How much each coefficient of a plane changes in 1,000 records.",
     .example = "[\"0.1\", \"-0.05\"]"},
    {.key = "jump_at",
     .type = MR_OPT_INT,
     .offset = AT(jump_at),
     .fallback = "0",
     .max = 1e15,
     .doc = "Record of a plane from which its coefficients are those of jump_to; 0: none."},
    {.key = "jump_to",
     .type = MR_OPT_STRINGS,
     .offset = AT(jump_to),
     .doc = "Coefficients of a plane from record jump_at on.",
     .example = "[\"1.5\", \"2\"]"},
    {.key = "noise_in",
     .type = MR_OPT_ENUM,
     .offset = AT(noise_in),
     .fallback = "y",
     .choices = places,
     .doc = "Of a plane: y, a normal number is added to it, so that least squares finds the coefficients; x, x1 is "
            "computed "
            "from y and multiplied by 1 +- noise, as in datasets/plane, where least squares finds others."},
    {.key = "unlabelled_every",
     .type = MR_OPT_INT,
     .offset = AT(unlabelled_every),
     .fallback = "0",
     .max = 1e9,
     .doc = "Every so many records of a plane one has no y; 0: all have one."},
    {.key = "noise",
     .type = MR_OPT_DOUBLE,
     .offset = AT(noise),
     .unset = "-1",
     .min = 0,
     .max = 1000,
     .doc = "Standard deviation, or half the width where it is uniform; by default 1 of a plane (0.1 in x), 1 of "
            "clusters, "
            "0.25 of ratings, 2 of ab."},
    {.key = "noise_shape",
     .type = MR_OPT_ENUM,
     .offset = AT(noise_shape),
     .fallback = "normal",
     .choices = shapes,
     .doc = "Of clusters: normal (a Gaussian mixture), or uniform, as in datasets/clusters."},
    {.key = "clusters",
     .type = MR_OPT_INT,
     .offset = AT(clusters),
     .fallback = "4",
     .min = 1,
     .max = 1000,
     .doc = "Centres; four of two dimensions walk as in datasets/clusters, others between places of their own."},
    {.key = "dimensions",
     .type = MR_OPT_INT,
     .offset = AT(dimensions),
     .fallback = "2",
     .min = 1,
     .max = 64,
     .doc = "Numbers of a point of clusters: x and y; x1 x2 ... if not two."},
    {.key = "walk",
     .type = MR_OPT_INT,
     .offset = AT(walk),
     .fallback = "20000",
     .max = 1e12,
     .doc = "Records in which a centre walks from one end to the other, and then back; 0: centres stand."},
    {.key = "users",
     .type = MR_OPT_INT,
     .offset = AT(users),
     .fallback = "1000",
     .min = 1,
     .max = 1e9,
     .doc = "Users of ratings."},
    {.key = "items",
     .type = MR_OPT_INT,
     .offset = AT(items),
     .fallback = "500",
     .min = 1,
     .max = 1e9,
     .doc = "Items of ratings."},
    {.key = "rank",
     .type = MR_OPT_INT,
     .offset = AT(rank),
     .fallback = "4",
     .min = 1,
     .max = 256,
     .doc = "Factors of which ratings are made."},
    {.key = "lift",
     .type = MR_OPT_STRINGS,
     .offset = AT(lift),
     .doc = "How far the mean of each arm of ab lies above 10; by default 0 and 0.5.",
     .example = "[\"0\", \"0.5\"]"},
    {.key = "positions",
     .type = MR_OPT_STRING,
     .offset = AT(positions),
     .is_path = true,
     .no_path = "none",
     .doc = "File that keeps how far the job has come; by default none: each run begins with the first record."},
    {0},
};
#undef AT

static mr_status rate_check(const void *options, struct mr_err *err)
{
    struct mr_rate_stream stream;
    return mr_rate_stream_init(&stream, options, err);
}

static mr_status rate_open(const struct mr_source_open *open, struct mr_source **source_out, struct mr_err *err)
{
    struct mr_source *const source = calloc(1, sizeof *source);
    *source_out = NULL;
    if (!source) return mr_fail(err, MR_ENOMEM, "rate source: out of memory");
    source->opt = open->options;
    source->open = *open;
    mr_pool_init(&source->pool, open->memory_bytes);
    mr_status status = mr_single_lane_check(open, "rate", err);
    if (!status) status = mr_rate_stream_init(&source->stream, source->opt, err);
    if (!status && open->is_bounded && !source->opt->count)
        status =
            mr_fail(err, MR_EUSAGE,
                    "rate source: --until end: the stream has no end: set source.count, or give --until a duration or "
                    "a count");
    if (!status)
        status =
            mr_ledger_open(mr_reading_positions(source->opt->positions, NULL), "rate", open->job, &source->ledger, err);
    if (!status && !(source->origin = mr_origin_new(streams[source->opt->stream])))
        status = mr_fail(err, MR_ENOMEM, "rate source: out of memory");
    if (status)
        rate_close(source);
    else
        *source_out = source;
    return status;
}

/* The stream is the one file of its ledger. */
static mr_status stream_begin(struct mr_source *source, struct mr_err *err)
{
    const struct mr_file_id id = {.inode = (uint64_t)source->opt->seed + 1};
    struct mr_file *file = mr_ledger_first(source->ledger);
    if (file && file->id.inode != id.inode)
        return mr_fail(err, MR_EDATA, "rate source: the positions are those of seed %llu: set that one, or remove them",
                       (unsigned long long)file->id.inode - 1);
    if (!file) file = mr_ledger_add(source->ledger, &id, streams[source->opt->stream]);
    if (!file) return mr_fail(err, MR_ENOMEM, "rate source: out of memory");
    const int64_t known = mr_ledger_next(source->ledger);
    mr_ledger_rewind(source->ledger, source->next < known ? source->next : known);
    mr_ledger_begin(source->ledger, file, 0);
    return MR_OK;
}

static mr_status rate_join(struct mr_source *source, struct mr_err *err)
{
    const struct mr_source_events *const events = &source->open.events;
    const int64_t committed = mr_ledger_is_new(source->ledger) ? -1 : mr_ledger_next(source->ledger);
    int64_t offset = -1;
    mr_status status = MR_OK;
    if (events->start)
        status = events->start(events->context, streams[source->opt->stream], 0, committed, "", &offset, err);
    if (status) return status;
    if (offset < 0 && committed < 0 && events->began)
        status = events->began(events->context, streams[source->opt->stream], 0, 0, err);
    source->first = source->next = offset >= 0 ? offset : committed >= 0 ? committed : 0;
    if (!status) status = stream_begin(source, err);
    mr_pace_begin(&source->pace, source->opt->rate);
    source->has_joined = !status;
    return status;
}

static bool rate_has_joined(const struct mr_source *source)
{
    return source->has_joined;
}

/* Records that are due now and were not handed over. */
static int64_t due_count(const struct mr_source *source)
{
    const int64_t left = source->opt->count ? source->opt->count - source->next : INT64_MAX;
    const int64_t due = mr_pace_due(&source->pace) - (source->next - source->first);
    return due < left ? due : left;
}

/* Room for one record. MR_AGAIN: no buffer is free. */
static mr_status room_make(struct mr_source *source, struct mr_err *err)
{
    struct mr_chunk *chunk;
    if (source->piece && source->piece->chunk->cap - source->piece->chunk->used >= MR_RATE_RECORD_BYTES) return MR_OK;
    const mr_status status = mr_pool_fill(&source->pool, MR_RATE_RECORD_BYTES, &chunk, err);
    if (status) return status;
    if (source->piece) mr_piece_leave(&source->pool, source->piece, 1);
    source->piece = mr_piece_new(&source->pool, source->origin);
    return source->piece ? MR_OK : mr_fail(err, MR_ENOMEM, "rate source: out of memory");
}

static mr_status rate_take(void *context, struct mr_message *messages, size_t cap, size_t *count, struct mr_err *err)
{
    struct mr_source *const source = context;
    int64_t due = due_count(source);
    for (; due > 0 && *count < cap; due--) {
        const mr_status status = room_make(source, err);
        if (status) return status;
        struct mr_chunk *const chunk = source->piece->chunk;
        char *const text = chunk->data + chunk->used;
        const size_t bytes = mr_rate_record(&source->stream, source->next, text);
        chunk->used += bytes;
        source->piece->refs++;
        source->pool.out++;
        messages[(*count)++] =
            (struct mr_message){.value = text, .value_bytes = bytes, .offset = source->next++, .handle = source->piece};
    }
    return source->opt->count && source->next >= source->opt->count ? MR_END : MR_OK;
}

/* Until the next record is due. */
static void rate_wait(void *context, int64_t wait_us)
{
    const struct mr_source *const source = context;
    mr_pace_wait(&source->pace, source->next - source->first, wait_us);
}

static mr_status rate_poll(struct mr_source *source, struct mr_message *messages, size_t cap, int64_t wait_us,
                           int64_t fill_us, size_t *count_out, struct mr_err *err)
{
    const struct mr_fill fill = {source, rate_take, rate_wait, &source->failure};
    return mr_fill_poll(&fill, messages, cap, wait_us, fill_us, count_out, err);
}

static void rate_release(struct mr_source *source, struct mr_message *messages, size_t count)
{
    mr_pieces_release(&source->pool, messages, count);
}

static mr_status rate_commit(struct mr_source *source, const struct mr_position *positions, size_t count, bool wait,
                             struct mr_err *err)
{
    int64_t offset = mr_ledger_next(source->ledger);
    (void)wait;
    for (size_t i = 0; i < count; i++)
        if (positions[i].next_offset > offset) offset = positions[i].next_offset;
    return mr_ledger_commit(source->ledger, offset, NULL, NULL, err);
}

static const char *rate_topic_name(const struct mr_source *source, uint32_t topic)
{
    (void)topic;
    return streams[source->opt->stream];
}

/* When it was due; without a rate, about when it was made. */
static int64_t rate_timestamp_ms(const struct mr_source *source, const struct mr_message *message)
{
    if (source->opt->rate <= 0) return mr_piece_timestamp_ms(message);
    return mr_pace_ms(&source->pace, message->offset - source->first);
}

static size_t rate_truth(const void *options, int64_t offset, struct mr_truth *truth, size_t cap)
{
    struct mr_rate_stream stream;
    struct mr_err err;
    return mr_rate_stream_init(&stream, options, &err) ? 0 : mr_rate_truth(&stream, offset, truth, cap);
}

static void rate_close(struct mr_source *source)
{
    if (!source) return;
    if (source->piece) mr_piece_leave(&source->pool, source->piece, 1);
    mr_pool_deinit(&source->pool);
    mr_origin_leave(source->origin);
    mr_ledger_close(source->ledger);
    free(source);
}

const struct mr_source_ops mr_source_rate = {
    .name = "rate",
    .summary = "synthetic streams of which the truth is known, so many records a second",
    .options = rate_options,
    .options_size = sizeof(struct rate_options),
    .repeats = true,
    .check = rate_check,
    .open = rate_open,
    .lane_count_max = mr_single_lane_count_max,
    .partition_range = mr_single_partition_range,
    .join = rate_join,
    .has_joined = rate_has_joined,
    .poll = rate_poll,
    .release = rate_release,
    .commit = rate_commit,
    .topic_name = rate_topic_name,
    .timestamp_ms = rate_timestamp_ms,
    .header = mr_single_header,
    .truth = rate_truth,
    .close = rate_close,
};
