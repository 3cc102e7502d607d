/* millrace score: rows from a pipe or a file through one model file, without Kafka. */
#include "cli/score.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/options.h"
#include "base/term.h"
#include "cli/command.h"
#include "cli/data_flags.h"
#include "cli/no_source.h"
#include "codec/rows.h"
#include "pipeline/slot.h"
#include "table/format.h"

/* "line 17: type: field \"Temperature\"", for the first ones. */
static void rejects_report(struct score *score)
{
    const struct mr_rows *const rows = &score->rows;
    for (size_t i = 0; i < rows->reject_count; i++) {
        const struct mr_reject *const reject = &rows->reject[i];
        score->bad[reject->reason]++;
        if (score->bad_count++ >= (uint64_t)score->options->errors_max) continue;
        fprintf(stderr, "%s: %s %llu: %s", score->input.path, score->input.cut == MR_CUT_PACKED ? "row" : "line",
                (unsigned long long)mr_input_place(&score->input, reject->first),
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
    struct iovec left[2 * SCORE_RECORD_CAP];
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
    const struct mr_encode_input input = {message, &score->scores, &mr_no_source, NULL, false};
    const size_t decoded = score->rows.reject_count;
    mr_status status = MR_OK;
    for (size_t row = 0; row < score->rows.row_count && !status;) {
        struct iovec vectors[2 * SCORE_RECORD_CAP];
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

/* One block of input, as many batches as it takes. */
static mr_status block_score(struct score *score, const struct mr_message *message, struct mr_err *err)
{
    struct mr_cursor cursor = {0};
    mr_status status = MR_OK;
    while (cursor.message == 0 && !status) {
        score->rows.row_count = score->rows.reject_count = 0;
        score->rows.reject_cap = SCORE_ROW_CAP;
        score->job.codec->decode(score->decoder, message, 1, &cursor, &score->rows);
        score->rows.reject_cap = 2 * SCORE_ROW_CAP; /* the encoder may add one for each row */
        if (score->rows.row_count) {
            mr_rows_tail_zero(&score->rows);
            if (score->layout->want[0] || score->options->expect) status = mr_score_rows(score, err);
            if (!status) status = rows_print(score, message, err);
        }
        rejects_report(score);
        if (!status) status = mr_score_expect_rows(score, err);
    }
    return status;
}

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
        fputc('}', stderr);
        if (score->at_work.reduced.name)
            fprintf(stderr, ",\"precision\":{\"name\":\"%s\",\"rows\":%llu,\"error_max\":%.9g,\"is_refused\":%s}",
                    score->at_work.reduced.name, (unsigned long long)atomic_load(&score->at_work.precision.rows),
                    fmin(atomic_load(&score->at_work.precision.error_max), 1e300),
                    atomic_load(&score->at_work.precision.is_refused) ? "true" : "false");
        fprintf(stderr, ",\"not_finite\":%llu,\"model_type\":\"%s\",\"seconds\":%.6f,\"rows_per_s\":%.0f}\n",
                (unsigned long long)mr_encoder_nonfinite_count(score->encoder), score->info->type, seconds, rate);
    } else if (mr_term_is_live(STDERR_FILENO)) {
        fprintf(stderr, "%llu rows scored in %.3f s (%.0f a second)\n", (unsigned long long)score->scored_count,
                seconds, rate);
    }
}

static mr_status input_open(struct score *score, const char *path, struct mr_err *err)
{
    const char *const stride = mr_map_get(&score->options->record, "stride");
    size_t row_bytes = 0;
    if (score_is_packed(score)) {
        for (size_t i = 0; i < score->layout->schema.feature_count && !stride; i++) {
            if (*score->layout->feature_name[i] == '[')
                return mr_fail(err, MR_EUSAGE, "features by place need the bytes of a row: --record stride=N");
        }
        row_bytes = stride ? strtoul(stride, NULL, 10) : score->layout->schema.feature_count * sizeof(float);
        if (!row_bytes || row_bytes > MR_INPUT_BLOCK_BYTES)
            return mr_fail(err, MR_EUSAGE, "--record stride=%s: expected bytes of a row", stride);
    }
    return mr_input_open(&score->input, path,
                         score_is_packed(score)                   ? MR_CUT_PACKED
                         : !strcmp(score->job.codec->name, "csv") ? MR_CUT_QUOTED
                                                                  : MR_CUT_LINES,
                         row_bytes, mr_score_needs_header(score), err);
}

static mr_status score_all(struct score *score, const struct mr_words *words, struct mr_err *err)
{
    const char *const path = words->count > 1 ? words->item[1] : NULL;
    struct mr_message message;
    mr_status status = mr_score_job_open(score, words->item[0], path, err);
    if (!status) status = mr_score_machine_open(score, err);
    if (!status) status = input_open(score, path, err);
    if (!status) status = mr_score_expect_open(score, err);
    if (status) return status;
    const int64_t start_ns = mr_clock_ns();
    while (!(status = mr_input_next(&score->input, &message, err)) && !(status = block_score(score, &message, err)))
        continue;
    if (status != MR_END) return status;
    report_print(score, (double)(mr_clock_ns() - start_ns) / 1e9);
    if (!score->bad_count) return mr_score_expect_end(score, err);
    return mr_fail(err, MR_EDATA, "%llu of %llu rows could not be scored", (unsigned long long)score->bad_count,
                   (unsigned long long)(score->bad_count + score->scored_count));
}

static mr_status score_run(const void *options, const struct mr_words *words, struct mr_err *err)
{
    struct score score = {.options = options};
    const mr_status status = score_all(&score, words, err);
    if (score.input.buffer) mr_input_close(&score.input);
    mr_score_expect_close(&score);
    mr_score_machine_close(&score);
    mr_score_job_close(&score);
    return status;
}

#define AT(field) offsetof(struct score_options, field)
static const struct mr_flag score_flags[] = {
    {.letter = 'f',
     .argument = "FORMAT",
     .row = {.key = "format",
             .type = MR_OPT_ENUM,
             .offset = AT(format),
             .fallback = "auto",
             .choices = mr_table_formats,
             .doc =
                 "What the rows are: JSON objects, one a line; CSV; float32 rows as they lie in memory. auto: by the "
                 "end of the file's name (.csv .tsv .json .jsonl .ndjson .f32 .bin), else JSON."}},
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
    {.argument = "KIND",
     .row = {.key = "precision",
             .type = MR_OPT_ENUM,
             .offset = AT(precision),
             .fallback = "fp32",
             .choices = score_precisions,
             .doc =
                 "fp32, bf16, int8: as the option of a model in a job file. The error on the first rows is logged."}},
    {.argument = "SIZE",
     .row = {.key = "precision-tolerance",
             .type = MR_OPT_DOUBLE,
             .offset = AT(precision_tolerance),
             .fallback = "0.01",
             .min = 0,
             .max = 1,
             .doc = "Largest error of bf16 or int8; past it rows are scored in fp32."}},
    {.argument = "N",
     .row = {.key = "errors-max",
             .type = MR_OPT_INT,
             .offset = AT(errors_max),
             .fallback = "20",
             .min = 0,
             .max = 1e9,
             .doc = "How many bad rows are named on stderr."}},
    MR_FLAG_EXPECT(AT(expect)),
    MR_FLAG_EXPECT_FIELDS(AT(expect_fields)),
    MR_FLAG_TOLERANCE(AT(tolerance)),
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
                "millrace score regime.safetensors readings.csv   # the first line names the columns\n"
                "millrace score m.safetensors -f csv -F 2,3 -e id=1 -e p=model.probability < rows.csv\n"
                "kcat -C -t example_1 | millrace score regime.safetensors --json >scores.jsonl\n"
                "millrace score m.safetensors rows.csv --expect probabilities.csv >/dev/null   # exit code 1 past "
                "--tolerance",
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
