/* What committing a model's state costs, and getting it back: store, checksum, chunks; a log of them, opening the
 * model. bench_state [WIDTH ...]: perceptrons with two hidden layers of that width; medians of 7. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "registry.h"
#include "state/log.h"

#define ROUNDS 7
#define COLS   16

static void die(const struct mr_err *err)
{
    fprintf(stderr, "bench_state: %s\n", err->text);
    exit(1);
}

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values)
{
    qsort(values, ROUNDS, sizeof *values, compare);
    return values[ROUNDS / 2];
}

static double ms_since(int64_t ns)
{
    return (double)(mr_clock_ns() - ns) / 1e6;
}

/* One round: the times of its steps in ms. */
struct times {
    double store[ROUNDS], checksum[ROUNDS], chunks[ROUNDS], log[ROUNDS], open[ROUNDS];
};

static struct mr_blob *records_make(const struct mr_state_commit *commit, const struct mr_blob *model, uint32_t count)
{
    struct mr_blob *const record = calloc(count + 1u, sizeof *record);
    struct mr_err err;
    for (uint32_t i = 0; i < count; i++) {
        if (mr_state_chunk_encode(commit, model->data, MR_STATE_RECORD_BYTES_MAX, i, &record[i], &err)) die(&err);
    }
    if (mr_state_commit_encode(commit, &record[count], &err)) die(&err);
    return record;
}

static struct mr_state_log *log_make(const struct mr_blob *record, uint32_t count, struct mr_err *err)
{
    struct mr_state_log *log;
    char key[MR_STATE_KEY_BYTES];
    if (mr_state_log_create(&(struct mr_state_log_open){.topic = "bench", .model = "m"}, &log, err)) die(err);
    for (uint32_t i = 0; i <= count; i++) {
        mr_state_key_print(key, "m", 1, i < count ? MR_STATE_CHUNK : MR_STATE_MANIFEST, i < count ? i : 0);
        if (mr_state_log_take(log, key, strlen(key), record[i].data, record[i].bytes, i, err)) die(err);
    }
    if (mr_state_log_check(log, err)) die(err);
    return log;
}

static void measure(const struct mr_model_ops *ops, const struct mr_model_open *open, const char *name)
{
    struct mr_model *model, *again;
    struct mr_blob bytes = {0}, one = {0}; /* as a lane does it: one buffer for all chunks */
    struct times t;
    struct mr_err err;
    uint32_t count = 0;
    if (ops->open(open, &model, &err)) die(&err);
    for (int round = -1; round < ROUNDS; round++) { /* the first one takes the memory */
        const int at = round < 0 ? 0 : round;
        int64_t ns = mr_clock_ns();
        if (ops->learn(model)->store(model, &bytes, &err)) die(&err);
        t.store[at] = ms_since(ns), ns = mr_clock_ns();
        struct mr_state_commit commit = {.model = "m",
                                         .type = "mlp",
                                         .unit = "",
                                         .kind = MR_STATE_LEARNED,
                                         .seq = 1,
                                         .snapshot = 1,
                                         .model_bytes = bytes.bytes};
        commit.model_checksum = mr_state_checksum(bytes.data, bytes.bytes);
        t.checksum[at] = ms_since(ns), ns = mr_clock_ns();
        count = mr_state_chunk_count(bytes.bytes, MR_STATE_RECORD_BYTES_MAX);
        for (uint32_t i = 0; i < count; i++) {
            if (mr_state_chunk_encode(&commit, bytes.data, MR_STATE_RECORD_BYTES_MAX, i, &one, &err)) die(&err);
        }
        t.chunks[at] = ms_since(ns);
        struct mr_blob *const record = records_make(&commit, &bytes, count);
        ns = mr_clock_ns();
        struct mr_state_log *const log = log_make(record, count, &err);
        t.log[at] = ms_since(ns), ns = mr_clock_ns();
        struct mr_span span;
        struct mr_model_open from = *open;
        if (!mr_state_log_model(log, &span)) exit(1);
        from.file = "bench", from.bytes = span.data, from.byte_count = span.bytes;
        if (ops->open(&from, &again, &err)) die(&err);
        t.open[at] = ms_since(ns);
        ops->close(again);
        mr_state_log_destroy(log);
        for (uint32_t i = 0; i <= count; i++) mr_blob_deinit(&record[i]);
        free(record);
    }
    printf("| %s | %.2f | %u | %.2f | %.2f | %.2f | %.2f | %.2f |\n", name, (double)bytes.bytes / 1e6, count,
           median(t.store), median(t.checksum), median(t.chunks), median(t.log), median(t.open));
    ops->close(model);
    mr_blob_deinit(&bytes);
    mr_blob_deinit(&one);
}

/* A commit of 100 ms: 400 updates, each of the next 64 messages of four partitions. */
static void manifest_measure(void)
{
    enum { UPDATES = 400, PARTITIONS = 4 };
    static struct mr_state_position position[PARTITIONS];
    static struct mr_state_range range[UPDATES * PARTITIONS];
    static struct mr_state_update update[UPDATES];
    struct mr_state_commit *read, commit = {.model = "m",
                                            .type = "mlp",
                                            .unit = "cpu",
                                            .kind = MR_STATE_LEARNED,
                                            .seq = 1,
                                            .snapshot = 1,
                                            .index = 1,
                                            .version_after = UPDATES,
                                            .position = position,
                                            .range = range,
                                            .update = update,
                                            .position_count = PARTITIONS,
                                            .range_count = UPDATES * PARTITIONS,
                                            .update_count = UPDATES};
    struct mr_blob blob = {0};
    double encode[ROUNDS], decode[ROUNDS];
    struct mr_err err;
    for (unsigned p = 0; p < PARTITIONS; p++)
        position[p] = (struct mr_state_position){"events", (int32_t)p, 8000000000 + UPDATES * 64};
    for (unsigned i = 0; i < UPDATES; i++) {
        update[i] = (struct mr_state_update){PARTITIONS, 256};
        for (unsigned p = 0; p < PARTITIONS; p++)
            range[i * PARTITIONS + p] = (struct mr_state_range){
                .position = p, .first_offset = 8000000000 + i * 64, .end_offset = 8000000000 + i * 64 + 64};
    }
    for (int round = 0; round < ROUNDS; round++) {
        int64_t ns = mr_clock_ns();
        if (mr_state_commit_encode(&commit, &blob, &err)) die(&err);
        encode[round] = ms_since(ns), ns = mr_clock_ns();
        if (mr_state_commit_decode(blob.data, blob.bytes, &read, &err)) die(&err);
        decode[round] = ms_since(ns);
        free(read);
    }
    printf("\nmanifest of %d updates over %d partitions: %zu bytes, encode %.3f ms, decode %.3f ms\n", UPDATES,
           PARTITIONS, blob.bytes, median(encode), median(decode));
    mr_blob_deinit(&blob);
}

int main(int count, char **words)
{
    static const char *const usual[] = {"190", "2030"}; /* about 1 MB and 100 MB */
    const struct mr_model_ops *const ops = mr_model_find("mlp");
    printf("| mlp 16-W-W-1 | MB | chunks | store, ms | checksum, ms | chunks, ms | log, ms | open, ms "
           "|\n|-|-|-|-|-|-|-|-|\n");
    for (int i = 0; i < (count > 1 ? count - 1 : 2); i++) {
        const char *const width = count > 1 ? words[i + 1] : usual[i];
        void *const options = calloc(1, ops->options_size);
        char hidden[64];
        struct mr_err err;
        snprintf(hidden, sizeof hidden, "%.20s-%.20s", width, width);
        if (mr_options_init(ops->options, options, &err) ||
            mr_options_set(ops->options, options, "learn", "true", &err) ||
            mr_options_set(ops->options, options, "hidden", hidden, &err))
            die(&err);
        measure(ops, &(struct mr_model_open){.options = options, .feature_count = COLS}, width);
        mr_options_deinit(ops->options, options);
        free(options);
    }
    manifest_measure();
    return 0;
}
