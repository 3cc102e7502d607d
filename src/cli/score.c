/* millrace score: rows from a pipe or a file through one model file, without Kafka. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "base/options.h"
#include "base/term.h"
#include "cli/command.h"
#include "cli/score_input.h"
#include "modelfile/safetensors.h"
#include "pipeline/encode.h"
#include "registry.h"

#define ROW_CAP     4096
#define RECORD_CAP  64
#define ARENA_BYTES (2u << 20)
#define MODEL_NAME  "model"

enum { FORMAT_JSON, FORMAT_CSV, FORMAT_F32 };
static const char *const formats[] = {"json", "csv", "f32", NULL};

struct score_options {
    int format;
    struct mr_strings features;
    struct mr_map emit;
    struct mr_map record;
    char *floats;
    char *backend;
    int64_t errors_max;
    bool json;
};

/* All that a run of the command holds; zeroed, then filled from top to bottom. */
struct score {
    const struct score_options *options;
    struct mr_job job;
    struct mr_job_model job_model;
    struct mr_model *model;
    const struct mr_model_info *info;
    struct mr_layout *layout;
    struct mr_decoder *decoder;
    struct mr_encoder *encoder;
    const struct mr_backend_ops *backend_ops;
    struct mr_backend *backend;
    struct mr_plan *plan;
    struct mr_queue *queue;
    struct score_input input;
    struct mr_rows rows;
    struct mr_scores scores;
    struct mr_outbox box;
    uint64_t scored_count, bad_count, bad[MR_REASON_COUNT];
};

/* ---- the source that rows seem to come from: it knows no headers and no times ---- */

static const char *no_topic(const struct mr_source *source, uint32_t topic)
{
    (void)source;
    (void)topic;
    return "stdin";
}

static int64_t no_timestamp(const struct mr_source *source, const struct mr_message *message)
{
    (void)source;
    (void)message;
    return -1;
}

static bool no_header(const struct mr_source *source, const struct mr_message *message, const char *name,
                      struct mr_span *value_out)
{
    (void)source;
    (void)message;
    (void)name;
    (void)value_out;
    return false;
}

static const struct mr_source_ops no_source = {
    .name = "stdin", .topic_name = no_topic, .timestamp_ms = no_timestamp, .header = no_header};

/* ---- model ---- */

/* Which type of model is in the file. */
static mr_status model_ops_find(const char *path, const struct mr_model_ops **ops_out, struct mr_err *err)
{
    struct mr_safetensors *file;
    mr_status status = mr_safetensors_open(path, &file, err);
    if (status) return status;
    const char *const type = mr_safetensors_metadata(file, "millrace.type");
    *ops_out = type ? mr_model_find(type) : NULL;
    if (!type) {
        status =
            mr_fail(err, MR_EDATA, "model \"%s\": no millrace.type in its metadata: not written for millrace", path);
    } else if (!*ops_out) {
        status = mr_fail(err, MR_EDATA, "model \"%s\": unknown millrace.type \"%.40s\"", path, type);
    }
    mr_safetensors_close(file);
    return status;
}

static mr_status model_open(struct score *score, const char *path, struct mr_err *err)
{
    struct mr_job_model *const entry = &score->job_model;
    mr_status status = model_ops_find(path, &entry->ops, err);
    if (status) return status;
    entry->name = strdup(MODEL_NAME);
    entry->file = strdup(path);
    entry->options = calloc(1, entry->ops->options_size + 1);
    if (!entry->name || !entry->file || !entry->options) return mr_fail(err, MR_ENOMEM, "out of memory");
    if (entry->ops->options) status = mr_options_init(entry->ops->options, entry->options, err);
    if (!status) status = entry->ops->open(entry->options, path, &score->model, err);
    if (!status) score->info = entry->ops->info(score->model);
    return status;
}

/* ---- the job that the flags describe ---- */

/* A feature name as a path: in quotes when it holds what paths are made of. */
static bool feature_add(struct score *score, const char *name)
{
    char quoted[512];
    if (score->options->format == FORMAT_JSON && strpbrk(name, ".[@") && strlen(name) < sizeof quoted - 3) {
        snprintf(quoted, sizeof quoted, "\"%s\"", name);
        name = quoted;
    }
    return mr_strings_add(&score->job.record.features, name);
}

/* Features as given, or those that the model was trained with, or by place. */
static mr_status features_fill(struct score *score, struct mr_err *err)
{
    const struct mr_strings *const given = &score->options->features;
    const struct mr_model_info *const info = score->info;
    bool is_added = true;
    for (size_t i = 0; i < given->count && is_added; i++)
        is_added = mr_strings_add(&score->job.record.features, given->item[i]);
    if (!given->count && !info->feature && score->options->format == FORMAT_JSON) {
        return mr_fail(err, MR_EUSAGE,
                       "the model file names no features: say which fields they are with --features a,b,...");
    }
    for (size_t i = 0; !given->count && i < info->feature_count && is_added; i++) {
        char number[32];
        snprintf(number, sizeof number, "%zu", i + 1);
        is_added = feature_add(score, info->feature ? info->feature[i] : number);
    }
    return is_added ? MR_OK : mr_fail(err, MR_ENOMEM, "out of memory");
}

/* What is printed unless --emit says otherwise. */
static mr_status emit_fill(struct score *score, struct mr_err *err)
{
    struct mr_map *const fields = &score->job.emit.fields;
    const struct mr_map *const given = &score->options->emit;
    bool is_put = true;
    for (size_t i = 0; i < given->count && is_put; i++)
        is_put = mr_map_put(fields, given->item[i].key, given->item[i].value);
    if (!given->count && score->info->is_classifier) {
        is_put = mr_map_put(fields, "prediction", MODEL_NAME ".class");
        if (is_put && score->info->label) is_put = mr_map_put(fields, "label", MODEL_NAME ".label");
        if (is_put) is_put = mr_map_put(fields, "probability", MODEL_NAME ".probability");
    } else if (!given->count) {
        is_put = mr_map_put(fields, "prediction", score->info->width == 1 ? MODEL_NAME ".score" : MODEL_NAME ".scores");
    }
    return is_put ? MR_OK : mr_fail(err, MR_ENOMEM, "out of memory");
}

/* True when CSV columns are looked up by name and nothing but the first line can say the names. */
static bool needs_header(const struct score *score)
{
    const struct mr_strings *const features = &score->job.record.features;
    if (score->options->format != FORMAT_CSV || mr_map_get(&score->options->record, "columns")) return false;
    if (mr_map_get(&score->options->record, "header"))
        return !strcmp(mr_map_get(&score->options->record, "header"), "message");
    for (size_t i = 0; i < features->count; i++) {
        const char *digits = features->item[i] + (*features->item[i] == '$');
        if (strspn(digits, "0123456789") != strlen(digits)) return true;
    }
    return false;
}

/* Codec options: fallbacks, then --record. */
static mr_status codec_fill(struct score *score, struct mr_err *err)
{
    const struct mr_codec_ops *const codec = score->job.codec;
    const struct mr_map *const record = &score->options->record;
    score->job.codec_options = calloc(1, codec->options_size + 1);
    if (!score->job.codec_options) return mr_fail(err, MR_ENOMEM, "out of memory");
    mr_status status = codec->options ? mr_options_init(codec->options, score->job.codec_options, err) : MR_OK;
    for (size_t i = 0; i < record->count && !status; i++) {
        if (!codec->options) return mr_fail(err, MR_EUSAGE, "--record: format %s has no options", codec->name);
        status =
            mr_options_set(codec->options, score->job.codec_options, record->item[i].key, record->item[i].value, err);
    }
    if (!status && needs_header(score))
        status = mr_options_set(codec->options, score->job.codec_options, "header", "message", err);
    if (!status && codec->check) status = codec->check(score->job.codec_options, err);
    return status;
}

static mr_status job_fill(struct score *score, struct mr_err *err)
{
    struct mr_job *const job = &score->job;
    job->codec = mr_codec_find(formats[score->options->format]);
    job->model = &score->job_model;
    job->model_count = 1;
    job->record.framing = score->options->format == FORMAT_F32 ? MR_FRAMING_PACKED : MR_FRAMING_LINES;
    job->record.depth_max = 32;
    job->record.bytes_max = 1 << 20;
    job->emit.framing = MR_EMIT_LINES;
    job->emit.records_max = ROW_CAP;
    job->emit.floats = score->options->floats;
    mr_status status = features_fill(score, err);
    if (!status) status = emit_fill(score, err);
    if (!status) status = codec_fill(score, err);
    if (!status) status = mr_layout_create(job, &score->info, &score->layout, err);
    if (!status) status = job->codec->create(job->codec_options, &score->layout->schema, &score->decoder, err);
    if (!status) status = mr_encoder_create(job, score->layout, &score->info, &score->encoder, err);
    if (status == MR_ECONFIG && err) err->status = status = MR_EUSAGE; /* there is no job file: flags said it */
    return status;
}

/* ---- machine ---- */

static mr_status backend_start(struct score *score, struct mr_err *err)
{
    const char *const text = score->options->backend, *const colon = strchr(text, ':');
    char name[32];
    snprintf(name, sizeof name, "%.*s", colon ? (int)(colon - text) : (int)strlen(text), text);
    score->backend_ops = mr_backend_find(strcmp(name, "auto") != 0 ? name : "cpu");
    if (!score->backend_ops) return mr_fail(err, MR_EUSAGE, "--backend: unknown backend \"%s\"", name);
    mr_status status = score->backend_ops->open(colon ? colon + 1 : NULL, &score->backend, err);
    if (status) return status;
    status = score->backend_ops->plan_create(score->backend, score->job_model.ops, score->model, ROW_CAP,
                                             score->layout->want[0], &score->plan, err);
    return status ? status : score->backend_ops->queue_open(score->backend, &score->queue, err);
}

/* Slabs from the backend, zeroed. */
static void *slab(struct score *score, size_t bytes)
{
    return score->backend_ops->slab_acquire(score->backend, bytes);
}

static size_t tiles_bytes(size_t cols)
{
    return ROW_CAP * cols * sizeof(float);
}

static mr_status buffers_create(struct score *score, struct mr_err *err)
{
    const struct mr_schema *const schema = &score->layout->schema;
    _Static_assert(ROW_CAP % MR_TILE_ROWS == 0, "whole tiles");
    score->rows = (struct mr_rows){.x = slab(score, tiles_bytes(schema->feature_count)),
                                   .capture = calloc(ROW_CAP * schema->capture_count + 1, sizeof(struct mr_span)),
                                   .message = calloc(ROW_CAP, sizeof(uint32_t)),
                                   .reject = calloc(2 * ROW_CAP, sizeof(struct mr_reject)),
                                   .feature_count = schema->feature_count,
                                   .capture_count = schema->capture_count,
                                   .row_cap = ROW_CAP};
    score->scores = (struct mr_scores){.y = slab(score, tiles_bytes(score->info->width)),
                                       .class_index = slab(score, ROW_CAP * sizeof(int32_t)),
                                       .width = score->info->width,
                                       .row_cap = ROW_CAP};
    score->box = (struct mr_outbox){.record = calloc(RECORD_CAP, sizeof(struct mr_record)),
                                    .record_cap = RECORD_CAP,
                                    .arena = malloc(ARENA_BYTES),
                                    .arena_cap = ARENA_BYTES};
    const bool is_whole = score->rows.x && score->rows.capture && score->rows.message && score->rows.reject &&
                          score->scores.y && score->scores.class_index && score->box.record && score->box.arena;
    return is_whole ? MR_OK : mr_fail(err, MR_ENOMEM, "out of memory");
}

static void score_close(struct score *score)
{
    const struct mr_backend_ops *const ops = score->backend_ops;
    if (score->rows.x) ops->slab_release(score->backend, score->rows.x, tiles_bytes(score->rows.feature_count));
    if (score->scores.y) ops->slab_release(score->backend, score->scores.y, tiles_bytes(score->scores.width));
    if (score->scores.class_index)
        ops->slab_release(score->backend, score->scores.class_index, ROW_CAP * sizeof(int32_t));
    free(score->rows.capture);
    free(score->rows.message);
    free(score->rows.reject);
    free(score->box.record);
    free(score->box.arena);
    if (score->input.buffer) score_input_close(&score->input);
    if (score->queue) ops->queue_close(score->queue);
    if (score->plan) ops->plan_destroy(score->plan);
    if (score->backend) ops->close(score->backend);
    mr_encoder_destroy(score->encoder);
    if (score->decoder) score->job.codec->destroy(score->decoder);
    mr_layout_destroy(score->layout);
    if (score->model) score->job_model.ops->close(score->model);
    if (score->job_model.options && score->job_model.ops->options)
        mr_options_deinit(score->job_model.ops->options, score->job_model.options);
    free(score->job_model.options);
    free(score->job_model.name);
    free(score->job_model.file);
    if (score->job.codec_options && score->job.codec->options)
        mr_options_deinit(score->job.codec->options, score->job.codec_options);
    free(score->job.codec_options);
    for (size_t i = 0; i < score->job.record.features.count; i++) free(score->job.record.features.item[i]);
    free(score->job.record.features.item);
    for (size_t i = 0; i < score->job.emit.fields.count; i++) {
        free(score->job.emit.fields.item[i].key);
        free(score->job.emit.fields.item[i].value);
    }
    free(score->job.emit.fields.item);
}

/* ---- scoring ---- */

/* "line 17: type: field \"Temperature\"", for the first ones. */
static void rejects_report(struct score *score)
{
    const struct mr_rows *const rows = &score->rows;
    for (size_t i = 0; i < rows->reject_count; i++) {
        const struct mr_reject *const reject = &rows->reject[i];
        score->bad[reject->reason]++;
        if (score->bad_count++ >= (uint64_t)score->options->errors_max) continue;
        fprintf(stderr, "%s: %s %llu: %s", score->input.path, score->input.cut == SCORE_PACKED ? "row" : "line",
                (unsigned long long)score_input_place(&score->input, reject->first),
                mr_reason_name((mr_reason)reject->reason));
        if (reject->field != MR_FIELD_NONE)
            fprintf(stderr, ": field \"%s\"", score->layout->schema.field[reject->field].path);
        fputc('\n', stderr);
    }
    if (score->bad_count > (uint64_t)score->options->errors_max &&
        score->bad_count - rows->reject_count <= (uint64_t)score->options->errors_max) {
        fprintf(stderr, "%s: more bad rows follow; they are counted only (--errors-max)\n", score->input.path);
    }
}

static mr_status write_all(const struct iovec *vectors, int count, struct mr_err *err)
{
    struct iovec left[2 * RECORD_CAP];
    int first = 0;
    memcpy(left, vectors, (size_t)count * sizeof *left);
    while (first < count) {
        ssize_t written = writev(STDOUT_FILENO, left + first, count - first);
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) return mr_fail(err, MR_EIO, "writing to stdout: %s", strerror(errno));
        for (; first < count && (size_t)written >= left[first].iov_len; first++)
            written -= (ssize_t)left[first].iov_len;
        if (first < count)
            left[first] = (struct iovec){(char *)left[first].iov_base + written, left[first].iov_len - (size_t)written};
    }
    return MR_OK;
}

/* Prints the records of the scored rows. */
static mr_status rows_print(struct score *score, const struct mr_message *message, struct mr_err *err)
{
    static char newline[] = "\n";
    const struct mr_encode_input input = {message, &score->scores, &no_source, NULL};
    const size_t decoded = score->rows.reject_count;
    mr_status status = MR_OK;
    for (size_t row = 0; row < score->rows.row_count && !status;) {
        struct iovec vectors[2 * RECORD_CAP];
        int count = 0;
        score->box.count = score->box.arena_used = 0;
        mr_encode(score->encoder, &input, &score->rows, &row, &score->box);
        for (size_t i = 0; i < score->box.count; i++) {
            vectors[count++] =
                (struct iovec){(void *)(uintptr_t)score->box.record[i].value, score->box.record[i].value_bytes};
            vectors[count++] = (struct iovec){newline, 1};
        }
        status = write_all(vectors, count, err);
    }
    score->scored_count += score->rows.row_count - (score->rows.reject_count - decoded);
    return status;
}

/* Rows of the last tile past the end must hold zeros. */
static void tail_zero(struct mr_rows *rows)
{
    const size_t tail = rows->row_count % MR_TILE_ROWS;
    float *const tile = rows->x + mr_tile_at(rows->row_count - tail, 0, rows->feature_count);
    for (size_t col = 0; tail && col < rows->feature_count; col++) {
        memset(tile + col * MR_TILE_ROWS + tail, 0, (MR_TILE_ROWS - tail) * sizeof *tile);
    }
}

/* One block of input, as many batches as it takes. */
static mr_status block_score(struct score *score, const struct mr_message *message, struct mr_err *err)
{
    struct mr_cursor cursor = {0};
    mr_status status = MR_OK;
    while (cursor.message == 0 && !status) {
        score->rows.row_count = score->rows.reject_count = 0;
        score->rows.reject_cap = ROW_CAP;
        score->job.codec->decode(score->decoder, message, 1, &cursor, &score->rows);
        score->rows.reject_cap = 2 * ROW_CAP; /* the encoder may add one for each row */
        if (score->rows.row_count) {
            tail_zero(&score->rows);
            if (score->layout->want[0]) {
                status = score->backend_ops->score(score->queue, score->plan, &score->rows, &score->scores, err);
                if (!status) status = score->backend_ops->wait(score->queue, err);
            }
            if (!status) status = rows_print(score, message, err);
        }
        rejects_report(score);
    }
    return status;
}

/* ---- report ---- */

static void report_print(const struct score *score, double seconds)
{
    const double rate = seconds > 0 ? (double)score->scored_count / seconds : 0;
    if (score->options->json) {
        const char *separator = "";
        fprintf(stderr, "{\"scored\":%llu,\"bad\":%llu,\"reasons\":{", (unsigned long long)score->scored_count,
                (unsigned long long)score->bad_count);
        for (int reason = 1; reason < MR_REASON_COUNT; reason++) {
            if (!score->bad[reason]) continue;
            fprintf(stderr, "%s\"%s\":%llu", separator, mr_reason_name((mr_reason)reason),
                    (unsigned long long)score->bad[reason]);
            separator = ",";
        }
        fprintf(stderr, "},\"not_finite\":%llu,\"model_type\":\"%s\",\"seconds\":%.6f,\"rows_per_s\":%.0f}\n",
                (unsigned long long)mr_encoder_nonfinite_count(score->encoder), score->info->type, seconds, rate);
    } else if (mr_term_is_live(STDERR_FILENO)) {
        fprintf(stderr, "%llu rows scored in %.3f s (%.0f a second)\n", (unsigned long long)score->scored_count,
                seconds, rate);
    }
}

static double now_s(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static mr_status input_open(struct score *score, const char *path, struct mr_err *err)
{
    const int format = score->options->format;
    const char *const stride = mr_map_get(&score->options->record, "stride");
    size_t row_bytes = 0;
    if (format == FORMAT_F32) {
        for (size_t i = 0; i < score->layout->schema.feature_count && !stride; i++) {
            if (*score->layout->feature_name[i] == '[')
                return mr_fail(err, MR_EUSAGE, "features by place need the bytes of a row: --record stride=N");
        }
        row_bytes = stride ? strtoul(stride, NULL, 10) : score->layout->schema.feature_count * sizeof(float);
        if (!row_bytes || row_bytes > SCORE_BLOCK_BYTES)
            return mr_fail(err, MR_EUSAGE, "--record stride=%s: expected bytes of a row", stride);
    }
    return score_input_open(&score->input, path,
                            format == FORMAT_F32   ? SCORE_PACKED
                            : format == FORMAT_CSV ? SCORE_QUOTED
                                                   : SCORE_LINES,
                            row_bytes, needs_header(score), err);
}

static mr_status score_all(struct score *score, const struct mr_words *words, struct mr_err *err)
{
    struct mr_message message;
    mr_status status = model_open(score, words->item[0], err);
    if (!status) status = job_fill(score, err);
    if (!status) status = backend_start(score, err);
    if (!status) status = buffers_create(score, err);
    if (!status) status = input_open(score, words->count > 1 ? words->item[1] : NULL, err);
    if (status) return status;
    const double start = now_s();
    while (!(status = score_input_next(&score->input, &message, err)) && !(status = block_score(score, &message, err)))
        continue;
    if (status != MR_END) return status;
    report_print(score, now_s() - start);
    if (!score->bad_count) return MR_OK;
    return mr_fail(err, MR_EDATA, "%llu of %llu rows could not be scored", (unsigned long long)score->bad_count,
                   (unsigned long long)(score->bad_count + score->scored_count));
}

static mr_status score_run(const void *options, const struct mr_words *words, struct mr_err *err)
{
    struct score score = {.options = options};
    const mr_status status = score_all(&score, words, err);
    score_close(&score);
    return status;
}

#define AT(field) offsetof(struct score_options, field)
static const struct mr_flag score_flags[] = {
    {.letter = 'f',
     .argument = "FORMAT",
     .row = {.key = "format",
             .type = MR_OPT_ENUM,
             .offset = AT(format),
             .fallback = "json",
             .choices = formats,
             .doc = "What the rows are: JSON objects, one a line; CSV; float32 rows as they lie in memory."}},
    {.letter = 'F',
     .argument = "LIST",
     .row = {.key = "features",
             .type = MR_OPT_STRINGS,
             .offset = AT(features),
             .doc = "Fields in the model's order: a.b, x[0..15], CSV columns by name or number. Without it those that "
                    "the model file names."}},
    {.letter = 'e',
     .argument = "KEY=EXPR",
     .row = {.key = "emit",
             .type = MR_OPT_MAP,
             .offset = AT(emit),
             .doc = "What to print, repeatable: input fields, and model.class .label .score .probability "
                    ".probabilities .scores[0]. Without it the prediction."}},
    {.argument = "KEY=VALUE",
     .row = {.key = "record",
             .type = MR_OPT_MAP,
             .offset = AT(record),
             .doc = "An option of the format as in a job file, repeatable: delimiter=; columns=a,b,c stride=64 "
                    "byte_order=big."}},
    {.argument = "HOW",
     .row = {.key = "floats",
             .type = MR_OPT_STRING,
             .offset = AT(floats),
             .fallback = "shortest",
             .doc =
                 "Numbers as \"shortest\" that reads back the same, or with N digits behind the point, \"fixed:N\"."}},
    {.argument = "NAME",
     .row = {.key = "backend",
             .type = MR_OPT_STRING,
             .offset = AT(backend),
             .fallback = "cpu",
             .doc = "Where to compute: cpu, cpu:avx2 ..."}},
    {.argument = "N",
     .row = {.key = "errors-max",
             .type = MR_OPT_INT,
             .offset = AT(errors_max),
             .fallback = "20",
             .min = 0,
             .max = 1e9,
             .doc = "How many bad rows are named on stderr."}},
    {.row = {.key = "json",
             .type = MR_OPT_BOOL,
             .offset = AT(json),
             .doc = "A report on stderr at the end, as one JSON object."}},
    {0},
};
#undef AT

const struct mr_command mr_command_score = {
    .name = "score",
    .summary = "Score rows from a pipe or a file with a model file alone",
    .usage = "MODEL [FILE] [flags]",
    .examples = "millrace score regime.safetensors < readings.jsonl\n"
                "millrace score regime.safetensors --format csv readings.csv   # the first line names the columns\n"
                "millrace score m.safetensors -f csv -F 2,3 -e id=1 -e p=model.probability < rows.csv\n"
                "kcat -C -t example_1 | millrace score regime.safetensors --json >scores.jsonl",
    .notes = "Scores go to stdout, one JSON object a line, in the order of the rows. Rows that cannot be scored are "
             "named on stderr with their line; the others are "
             "scored all the same, and the exit code is 65. The model is called \"model\" in --emit.",
    .flags = score_flags,
    .options_size = sizeof(struct score_options),
    .word_min = 1,
    .word_max = 2,
    .completes_files = true,
    .run = score_run,
};
