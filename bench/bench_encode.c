/*
 * Nanoseconds a record of the encoder, and of the CSV and f32 decoders: 4,096 rows a batch, medians over rounds, each
 * round between clock readings. Usage: bench_encode [FILTER]
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/number.h"
#include "pipeline/encode.h"

#define ROWS    4096
#define ROUNDS  201
#define COLUMNS 16

static double now_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Times work(context) and prints the median and the tenth percentile per record. */
static void measure(const char *filter, const char *name, void (*work)(void *context), void *context, size_t bytes)
{
    static double round[ROUNDS];
    if (filter && !strstr(name, filter)) return;
    for (int i = 0; i < 20; i++) work(context);
    for (int i = 0; i < ROUNDS; i++) {
        const double start = now_ns();
        work(context);
        round[i] = (now_ns() - start) / ROWS;
    }
    qsort(round, ROUNDS, sizeof *round, by_value);
    printf("%-34s %7.2f ns median  %7.2f ns p10  %5zu bytes\n", name, round[ROUNDS / 2], round[ROUNDS / 10], bytes);
}

static float random_unit(void)
{
    static uint64_t state = 88172645463325252u;
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return (float)(state >> 40) * 0x1p-24f;
}

static char *text_of(const char *text)
{
    return (char *)(uintptr_t)text;
}

/* ---- the encoder ---- */

struct encode_case {
    struct mr_encoder *encoder;
    struct mr_encode_input input;
    struct mr_rows rows;
    struct mr_outbox box;
};

static void encode_work(void *context)
{
    struct encode_case *c = context;
    size_t row = 0;
    c->box.count = c->box.arena_used = 0;
    mr_encode(c->encoder, &c->input, &c->rows, &row, &c->box);
}

/* id captured from messages such as {"id":123,...}; expression is the value of "prediction". */
static void encode_measure(const char *filter, const char *name, const char *expression, const char *floats)
{
    static const struct mr_model_info info = {
        .type = "mlp", .version = "1", .feature_count = 1, .width = 6, .is_classifier = true, .class_count = 6};
    const struct mr_model_info *infos[] = {&info};
    static const struct mr_codec_ops json = {.name = "json", .framings = 1, .captures_json = true, .captures = true};
    static struct mr_message message[ROWS];
    static struct mr_span capture[ROWS];
    static uint32_t row_message[ROWS];
    static int32_t class_index[ROWS];
    static float y[6 * ROWS];
    static struct mr_record record[ROWS];
    static char values[ROWS][96], arena[ROWS * 256];
    char *features[] = {text_of("Temperature")};
    struct mr_pair fields[] = {{text_of("id"), text_of("id")}, {text_of("prediction"), text_of(expression)}};
    struct mr_job_model model = {.name = text_of("regime"), .file = text_of("regime.safetensors")};
    const struct mr_job job = {.codec = &json,
                               .record.features = {features, 1},
                               .emit = {.fields = {fields, 2}, .floats = text_of(floats)},
                               .model = &model,
                               .model_count = 1};
    struct mr_scores scores = {.y = y, .class_index = class_index, .width = 6, .row_cap = ROWS};
    struct mr_layout *layout;
    struct encode_case c = {.input = {.messages = message, .scores = &scores},
                            .rows = {.capture = capture,
                                     .message = row_message,
                                     .feature_count = 1,
                                     .capture_count = 1,
                                     .row_count = ROWS,
                                     .row_cap = ROWS},
                            .box = {.record = record, .record_cap = ROWS, .arena = arena, .arena_cap = sizeof arena}};
    struct mr_err err;
    for (size_t i = 0; i < ROWS; i++) {
        const int id = snprintf(values[i], sizeof values[i], "{\"id\":%zu,\"Temperature\":%.2f}", i * 7919 % 1000000,
                                (double)random_unit() * 100);
        message[i] =
            (struct mr_message){.value = values[i], .value_bytes = (size_t)id, .offset = (int64_t)i, .partition = 1};
        capture[i] = (struct mr_span){values[i] + 6, strcspn(values[i] + 6, ",")};
        row_message[i] = (uint32_t)i;
        class_index[i] = (int32_t)(random_unit() * 6);
    }
    for (size_t i = 0; i < 6 * ROWS; i++) y[i] = random_unit();
    if (mr_layout_create(&job, infos, &layout, &err) || mr_encoder_create(&job, layout, infos, &c.encoder, &err)) {
        fprintf(stderr, "%s\n", err.text);
        exit(1);
    }
    encode_work(&c);
    measure(filter, name, encode_work, &c, c.box.arena_used / ROWS);
    mr_encoder_destroy(c.encoder);
    mr_layout_destroy(layout);
}

/* ---- numbers ---- */

static float numbers[ROWS];
static size_t number_sink;

static void shortest_work(void *context)
{
    char out[MR_NUMBER_BYTES];
    (void)context;
    for (size_t i = 0; i < ROWS; i++) number_sink += mr_print_f32(numbers[i], out) + (size_t)out[2];
}

static void fixed_work(void *context)
{
    char out[MR_NUMBER_BYTES];
    (void)context;
    for (size_t i = 0; i < ROWS; i++) number_sink += mr_print_fixed(numbers[i], 6, out) + (size_t)out[2];
}

static void printf_work(void *context)
{
    char out[MR_NUMBER_BYTES];
    (void)context;
    for (size_t i = 0; i < ROWS; i++) number_sink += (size_t)snprintf(out, sizeof out, "%.9g", (double)numbers[i]);
}

/* ---- decoders ---- */

struct decode_case {
    const struct mr_codec_ops *ops;
    struct mr_decoder *decoder;
    struct mr_message *message;
    size_t message_count;
    struct mr_rows rows;
};

static void decode_work(void *context)
{
    struct decode_case *c = context;
    struct mr_cursor cursor = {0};
    c->rows.row_count = c->rows.reject_count = 0;
    c->ops->decode(c->decoder, c->message, c->message_count, &cursor, &c->rows);
    if (c->rows.row_count != ROWS) abort();
}

/* 16 features; per_message rows in one message. */
static void decode_measure(const char *filter, const char *name, const char *codec, bool is_csv, size_t per_message)
{
    static struct mr_message message[ROWS];
    static uint32_t row_message[ROWS];
    static struct mr_reject reject[16];
    static char text[ROWS * 160];
    static char paths[COLUMNS][4];
    struct mr_field field[COLUMNS];
    float *x = aligned_alloc(64, ROWS * COLUMNS * sizeof *x);
    struct decode_case c = {.ops = mr_codec_find(codec),
                            .message = message,
                            .message_count = ROWS / per_message,
                            .rows = {.x = x,
                                     .message = row_message,
                                     .reject = reject,
                                     .feature_count = COLUMNS,
                                     .row_cap = ROWS,
                                     .reject_cap = 16}};
    const mr_framing framing = per_message == 1 ? MR_FRAMING_SINGLE : is_csv ? MR_FRAMING_LINES : MR_FRAMING_PACKED;
    const struct mr_schema schema = {.field = field,
                                     .field_count = COLUMNS,
                                     .feature_count = COLUMNS,
                                     .framing = framing,
                                     .record_bytes_max = 1 << 20};
    char *out = text;
    for (size_t i = 0; i < COLUMNS; i++) {
        snprintf(paths[i], sizeof paths[i], is_csv ? "%zu" : "f%zu", i + 1);
        field[i] = (struct mr_field){.path = paths[i], .column = (uint32_t)i};
    }
    for (size_t row = 0; row < ROWS; row++) {
        struct mr_message *here = &message[row / per_message];
        if (row % per_message == 0) here->value = out;
        for (size_t i = 0; i < COLUMNS; i++) {
            const float value = (random_unit() - 0.5f) * (i % 2 ? 20 : 2000);
            if (is_csv) {
                out += sprintf(out, i % 3 ? "%.4f%c" : "%.2f%c", (double)value, i + 1 == COLUMNS ? '\n' : ',');
            } else {
                memcpy(out, &value, sizeof value);
                out += sizeof value;
            }
        }
        here->value_bytes = (size_t)(out - here->value);
    }
    struct mr_err err;
    if (c.ops->create(NULL, &schema, &c.decoder, &err)) {
        fprintf(stderr, "%s\n", err.text);
        exit(1);
    }
    measure(filter, name, decode_work, &c, (size_t)(out - text) / ROWS);
    c.ops->destroy(c.decoder);
    free(x);
}

int main(int argc, char **argv)
{
    const char *filter = argc > 1 ? argv[1] : NULL;
    encode_measure(filter, "encode/class", "regime.class", "shortest");
    encode_measure(filter, "encode/fixed:4", "regime.scores[1]", "fixed:4");
    encode_measure(filter, "encode/fixed:6", "regime.scores[1]", "fixed:6");
    encode_measure(filter, "encode/shortest", "regime.scores[1]", "shortest");
    encode_measure(filter, "encode/probabilities(6)/shortest", "regime.probabilities", "shortest");
    for (size_t i = 0; i < ROWS; i++) numbers[i] = random_unit();
    measure(filter, "number/shortest", shortest_work, NULL, 0);
    measure(filter, "number/fixed:6", fixed_work, NULL, 0);
    measure(filter, "number/printf %.9g", printf_work, NULL, 0);
    decode_measure(filter, "decode/csv16/lines(64)", "csv", true, 64);
    decode_measure(filter, "decode/csv16/single", "csv", true, 1);
    decode_measure(filter, "decode/f32x16/packed(64)", "f32", false, 64);
    decode_measure(filter, "decode/f32x16/single", "f32", false, 1);
    return number_sink == 1; /* keeps the work */
}
