/* Any bytes through the float32 codec: every byte of a message is in one row or one reject, rows hold what was sent. */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "registry.h"

#define ROW_CAP    40 /* more than a tile, and no whole number of them */
#define REJECT_CAP 5
#define FEATURES   3

struct f32_options {
    int64_t stride;
    int order;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void check(bool holds)
{
    if (!holds) abort();
}

static float element_of(const char *row, size_t at, bool is_big)
{
    unsigned char raw[4];
    float value;
    memcpy(raw, row + 4 * at, 4);
    uint32_t bits = is_big ? (uint32_t)raw[0] << 24 | (uint32_t)raw[1] << 16 | (uint32_t)raw[2] << 8 | raw[3]
                           : (uint32_t)raw[3] << 24 | (uint32_t)raw[2] << 16 | (uint32_t)raw[1] << 8 | raw[0];
    memcpy(&value, &bits, 4);
    return value;
}

/* One message: the rows and rejects of a call, row by row against the bytes at *at. */
static void rows_check(const struct mr_rows *rows, const char *text, size_t bytes, size_t stride, bool is_big,
                       size_t *at)
{
    size_t row = 0, reject = 0;
    while (row < rows->row_count || reject < rows->reject_count) {
        if (reject < rows->reject_count && rows->reject[reject].first == *at) {
            check(rows->reject[reject].reason && *at + rows->reject[reject].bytes <= bytes);
            *at += rows->reject[reject++].bytes;
            continue;
        }
        check(row < rows->row_count && *at + stride <= bytes);
        for (size_t i = 0; i < FEATURES; i++) {
            const float got = rows->x[mr_tile_at(row, i, FEATURES)], want = element_of(text + *at, i, is_big);
            check(isfinite(got) && !memcmp(&got, &want, sizeof got));
        }
        *at += stride;
        row++;
    }
}

static void run(const char *text, size_t bytes, const struct f32_options *options, mr_framing framing)
{
    static const struct mr_field field[FEATURES] = {
        {.path = "x[0]", .column = 0}, {.path = "x[1]", .column = 1}, {.path = "x[2]", .column = 2}};
    static float x[(ROW_CAP / MR_TILE_ROWS + 1) * MR_TILE_ROWS * FEATURES];
    static uint32_t row_message[ROW_CAP];
    static struct mr_reject reject[REJECT_CAP];
    const struct mr_schema schema = {
        .field = field, .field_count = FEATURES, .feature_count = FEATURES, .framing = framing};
    const struct mr_message message = {.value = text, .value_bytes = bytes};
    const size_t stride = options->stride ? (size_t)options->stride : FEATURES * sizeof(float);
    struct mr_cursor cursor = {0};
    struct mr_decoder *decoder;
    size_t at = 0;
    check(!mr_codec_find("f32")->create(options, &schema, &decoder, NULL));
    for (size_t rounds = 0; cursor.message < 1; rounds++) {
        struct mr_rows rows = {.x = x,
                               .message = row_message,
                               .reject = reject,
                               .feature_count = FEATURES,
                               .row_cap = ROW_CAP,
                               .reject_cap = REJECT_CAP};
        mr_codec_find("f32")->decode(decoder, &message, 1, &cursor, &rows);
        check(rounds <= bytes + 1);
        rows_check(&rows, text, bytes, stride, options->order, &at);
    }
    check(at == bytes);
    mr_codec_find("f32")->destroy(decoder);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    if (!bytes) return 0;
    const struct f32_options options = {.stride = data[0] & 1 ? 13 + (data[0] >> 4) : 0, .order = data[0] >> 1 & 1};
    char *const text = malloc(bytes); /* its own block, so that a sanitizer sees a read behind it */
    if (!text) return 0;
    memcpy(text, data + 1, bytes - 1);
    run(text, bytes - 1, &options, data[0] & 4 ? MR_FRAMING_SINGLE : MR_FRAMING_PACKED);
    free(text);
    return 0;
}
