/* millrace bench: what decode, score and encode of a job cost on this machine, without a broker. */
#include <cjson/cJSON.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/cut.h"
#include "cli/no_source.h"
#include "cli/override.h"
#include "cli/shared_flags.h"
#include "codec/rows.h"
#include "metrics/stats.h"
#include "pipeline/encode.h"
#include "pipeline/parts.h"
#include "pipeline/run.h"
#include "pipeline/slot.h"

#define SAMPLE_MAX 101

struct bench_options {
    char *rows, *backend;
    int64_t lines, repetitions;
    bool json;
};

/* The messages that are measured, and all that a lane would have for them. */
struct bench {
    const struct bench_options *opt;
    struct mr_run *run;
    char *text;                 /* the file */
    struct mr_message *message; /* [count] */
    size_t count;
    struct mr_span header; /* the file's line of column names, where the job says that it has one */
    struct mr_decoder *decoder;
    struct mr_encoder *encoder;
    struct mr_slot slot;
    struct mr_outbox box;
    double sample[MR_STAGE_COUNT][SAMPLE_MAX]; /* ns a record */
    size_t sample_count;
    uint64_t rows, rejects, bytes_in, bytes_out; /* of one repetition */
};

static mr_status file_read(struct bench *bench, size_t *bytes_out, struct mr_err *err)
{
    FILE *file = fopen(bench->opt->rows, "rb");
    size_t cap = 1 << 20, used = 0, got;

    if (!file) return mr_fail(err, MR_EINPUT, "%s: %s", bench->opt->rows, strerror(errno));
    bench->text = malloc(cap);
    while (bench->text && (got = fread(bench->text + used, 1, cap - used, file)) > 0) {
        used += got;
        if (used < cap) continue;
        char *grown = realloc(bench->text, cap *= 2);
        if (!grown) free(bench->text);
        bench->text = grown;
    }
    fclose(file);
    *bytes_out = used;
    return bench->text ? MR_OK : mr_fail(err, MR_ENOMEM, "out of memory");
}

/* Cuts the file into messages of --lines lines each. */
static mr_status messages_cut(struct bench *bench, struct mr_err *err)
{
    size_t bytes = 0, lines = 0, cap = 0;
    mr_status status = file_read(bench, &bytes, err);
    const char *first = bench->text;
    struct mr_cut cut = {0};

    if (bench->run->job->codec->cut) bench->run->job->codec->cut(bench->decoder, &cut);
    if (!status && cut.has_header) {
        const size_t header = mr_cut_record(&cut, first, bytes ? bytes : 1, true);
        bench->header = (struct mr_span){first, bytes ? header : 0};
        first += bench->header.bytes;
    }
    for (const char *at = first; !status && at < bench->text + bytes; at++) {
        const bool is_last = at + 1 == bench->text + bytes;
        if (*at != '\n' && !is_last) continue;
        if (++lines % (size_t)bench->opt->lines && !is_last) continue;
        if (bench->count == cap) {
            struct mr_message *grown = realloc(bench->message, (cap = cap ? cap * 2 : 4096) * sizeof *grown);
            if (!grown) return mr_fail(err, MR_ENOMEM, "out of memory");
            bench->message = grown;
        }
        const char *end = *at == '\n' ? at : at + 1;
        if (end > first)
            bench->message[bench->count++] = (struct mr_message){.value = first,
                                                                 .value_bytes = (size_t)(end - first),
                                                                 .offset = (int64_t)bench->count,
                                                                 .header = cut.has_header ? &bench->header : NULL};
        first = at + 1;
    }
    if (!status && !bench->count) status = mr_fail(err, MR_EDATA, "%s holds no records", bench->opt->rows);
    return status;
}

static mr_status bench_open(struct bench *bench, const struct mr_job *job, struct mr_err *err)
{
    const struct mr_until until = {0};
    mr_status status = mr_run_create(job, &until, &bench->run, err);
    const size_t row_cap = (size_t)job->batch.records_max;

    if (!status) status = job->codec->create(job->codec_options, &bench->run->layout->schema, &bench->decoder, err);
    if (!status) status = messages_cut(bench, err);
    if (!status) status = mr_slot_init(&bench->slot, bench->run, row_cap, err);
    if (!status) status = mr_encoder_create(job, bench->run->layout, bench->run->models.info, &bench->encoder, err);
    if (status) return status;
    bench->box.record_cap = row_cap;
    bench->box.arena_cap = row_cap * 256;
    bench->box.record = calloc(row_cap, sizeof *bench->box.record);
    bench->box.arena = malloc(bench->box.arena_cap);
    return bench->box.record && bench->box.arena ? MR_OK : mr_fail(err, MR_ENOMEM, "out of memory");
}

static void bench_close(struct bench *bench, const struct mr_job *job)
{
    mr_encoder_destroy(bench->encoder);
    job->codec->destroy(bench->decoder);
    if (bench->run) mr_slot_deinit(&bench->slot, bench->run);
    mr_run_destroy(bench->run);
    free(bench->box.record);
    free(bench->box.arena);
    free(bench->message);
    free(bench->text);
}

/* All messages once; adds the time of each stage to ns. */
static mr_status pass(struct bench *bench, int64_t ns[MR_STAGE_COUNT], struct mr_err *err)
{
    struct mr_run *run = bench->run;
    struct mr_rows *rows = &bench->slot.rows;
    struct mr_cursor cursor = {0};
    const unsigned which = run->job->labels.topics.count ? MR_LEARN_UNLABELLED : MR_LEARN_ALL;
    const struct mr_encode_input input = {
        .messages = bench->message, .scores = bench->slot.scores, .source_ops = &mr_no_source};
    const struct mr_parts_input parts = {.messages = bench->message,
                                         .source_ops = &mr_no_source,
                                         .model_ops = run->job->model[0].ops,
                                         .model = run->models.item[0].model,
                                         .scratch = bench->slot.read_scratch,
                                         .captures_json = run->job->codec->captures_json};
    mr_status status = MR_OK;

    bench->rows = bench->rejects = bench->bytes_out = 0;
    run->models.begins_late = false; /* here a batch is a block */
    while (cursor.message < bench->count && !status) {
        const int64_t t0 = mr_clock_ns();
        rows->row_count = rows->reject_count = 0;
        rows->reject_cap = rows->row_cap; /* the rest is for rows that fail later */
        run->job->codec->decode(bench->decoder, bench->message, bench->count, &cursor, rows);
        rows->reject_cap = 2 * rows->row_cap;
        mr_parts_fill(run->layout, &parts, rows);
        mr_rows_tail_zero(rows);
        const int64_t t1 = mr_clock_ns();
        status = mr_models_score(&run->models, &bench->slot.queues, rows, bench->slot.scores, err);
        if (!status) status = mr_models_wait(&run->models, &bench->slot.queues, rows, bench->slot.scores, err);
        if (!status) status = mr_models_learn(&run->models, &bench->slot.queues, rows, bench->slot.scores, which, err);
        const int64_t t2 = mr_clock_ns();
        bench->rows += rows->row_count;
        bench->rejects += rows->reject_count;
        for (size_t row = 0; row < rows->row_count;) {
            bench->box.count = bench->box.arena_used = 0;
            mr_encode(bench->encoder, &input, rows, &row, &bench->box);
            bench->bytes_out += bench->box.arena_used;
        }
        const int64_t t3 = mr_clock_ns();
        ns[MR_STAGE_DECODE] += t1 - t0;
        ns[MR_STAGE_SCORE] += t2 - t1;
        ns[MR_STAGE_ENCODE] += t3 - t2;
    }
    return status;
}

static mr_status measure(struct bench *bench, struct mr_err *err)
{
    static const mr_stage stages[] = {MR_STAGE_DECODE, MR_STAGE_SCORE, MR_STAGE_ENCODE};
    int64_t warm_up[MR_STAGE_COUNT] = {0};
    mr_status status = pass(bench, warm_up, err);

    for (int64_t i = 0; i < bench->opt->repetitions && !status; i++) {
        int64_t ns[MR_STAGE_COUNT] = {0};
        status = pass(bench, ns, err);
        const double records = (double)(bench->rows + bench->rejects);
        for (size_t k = 0; k < 3; k++) bench->sample[stages[k]][i] = (double)ns[stages[k]] / records;
        bench->sample_count++;
    }
    for (size_t i = 0; i < bench->count; i++) bench->bytes_in += bench->message[i].value_bytes;
    return status;
}

static int by_size(const void *a, const void *b)
{
    const double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}

static void print(struct bench *bench)
{
    static const mr_stage stages[] = {MR_STAGE_DECODE, MR_STAGE_SCORE, MR_STAGE_ENCODE};
    const double records = (double)(bench->rows + bench->rejects);
    double total = 0;
    cJSON *root = cJSON_CreateObject();
    char backend[256];

    mr_units_describe(&bench->run->units, backend, sizeof backend);
    cJSON_AddStringToObject(root, "job", bench->run->job->name);
    cJSON_AddStringToObject(root, "backend", backend);
    cJSON_AddNumberToObject(root, "records", records);
    cJSON_AddNumberToObject(root, "bad", (double)bench->rejects);
    cJSON_AddNumberToObject(root, "repetitions", (double)bench->sample_count);
    if (!bench->opt->json) {
        printf(
            "job %s on %s: %.0f records of %.0f bytes (%llu bad), %zu repetitions; ns a record\n%-8s %10s %10s %10s\n",
            bench->run->job->name, backend, records, (double)bench->bytes_in / records,
            (unsigned long long)bench->rejects, bench->sample_count, "stage", "min", "median", "max");
    }
    for (size_t k = 0; k < 3; k++) {
        double *sample = bench->sample[stages[k]];
        qsort(sample, bench->sample_count, sizeof *sample, by_size);
        const double median = sample[bench->sample_count / 2];
        total += median;
        if (!bench->opt->json)
            printf("%-8s %10.1f %10.1f %10.1f\n", mr_stage_name(stages[k]), sample[0], median,
                   sample[bench->sample_count - 1]);
        cJSON *item = cJSON_AddObjectToObject(root, mr_stage_name(stages[k]));
        cJSON_AddNumberToObject(item, "min_ns", sample[0]);
        cJSON_AddNumberToObject(item, "median_ns", median);
        cJSON_AddNumberToObject(item, "max_ns", sample[bench->sample_count - 1]);
    }
    char *text = bench->opt->json ? cJSON_PrintUnformatted(root) : NULL;
    if (text)
        puts(text);
    else
        printf("%-8s %32.1f = %.2f M records/s on one core, Kafka not included\n", "all", total, 1e3 / total);
    free(text);
    cJSON_Delete(root);
}

static mr_status bench_run(const void *options, const struct mr_words *words, struct mr_err *err)
{
    struct bench *bench = calloc(1, sizeof *bench);
    struct mr_job *job = NULL;
    mr_status status =
        bench ? mr_job_load(words->item[0], stderr, &job, err) : mr_fail(err, MR_ENOMEM, "out of memory");

    if (!status) {
        bench->opt = options;
        if (bench->opt->backend) status = mr_override_string(&job->backend, bench->opt->backend, err);
        if (!status) status = bench_open(bench, job, err);
        if (!status) status = measure(bench, err);
        if (!status && !bench->rows)
            status =
                mr_fail(err, MR_EDATA, "%s: none of its %llu records fits the job's \"record\": nothing to measure%s",
                        bench->opt->rows, (unsigned long long)bench->rejects,
                        bench->run->layout->part_field_count ? " (lines have no key, headers and time)" : "");
        if (!status) print(bench);
        bench_close(bench, job);
    }
    mr_job_destroy(job);
    free(bench);
    return status;
}

#define AT(field) offsetof(struct bench_options, field)
static const struct mr_flag bench_flags[] = {
    {.argument = "FILE",
     .row = {.key = "rows",
             .type = MR_OPT_STRING,
             .offset = AT(rows),
             .required = true,
             .doc = "Records as the topic or the file holds them, one a line."}},
    MR_FLAG_LINES(AT(lines)),
    {.argument = "N",
     .row = {.key = "repetitions",
             .type = MR_OPT_INT,
             .offset = AT(repetitions),
             .fallback = "21",
             .min = 1,
             .max = SAMPLE_MAX,
             .doc = "How often all rows are measured."}},
    {.argument = "NAME",
     .row = {.key = "backend",
             .type = MR_OPT_STRING,
             .offset = AT(backend),
             .doc = "Backend over the job file, such as cpu:avx2."}},
    {.row = {.key = "json", .type = MR_OPT_BOOL, .offset = AT(json), .doc = "One JSON object."}},
    {0},
};
#undef AT

const struct mr_command mr_command_bench = {
    .name = "bench",
    .summary = "Measure what decode, score and encode of a job cost here, without a broker",
    .usage = "JOB --rows FILE [flags]",
    .examples = "millrace bench job.json --rows readings.jsonl\n"
                "millrace bench job.json --rows readings.jsonl --backend cpu:avx2 --json",
    .flags = bench_flags,
    .options_size = sizeof(struct bench_options),
    .word_min = 1,
    .word_max = 1,
    .completes_files = true,
    .run = bench_run,
};
