/*
 * The JSON decoder: never crashes, every record is one row or one reject in input order, captures lie within their
 * message, and every variant, with plenty of room or one row at a time, gives the same rows and rejects. Input: a byte
 * that chooses framing and schema, then messages separated by 0xfe (which no UTF-8 text has).
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "codec/json/template.h"
#include "json_rig.h"

#define MESSAGES_MAX 64
#define CAP          8192

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static const char *const specs[] = {"f:a f:b", "f:Temperature l:y c:id", "f:a.b f:x[0] f:x[2] c:x C:a",
                                    "d:a d:b m:y c:o"};
static const mr_framing framings[] = {MR_FRAMING_SINGLE, MR_FRAMING_LINES, MR_FRAMING_ARRAY};

static void check(int is_right)
{
    if (!is_right) abort();
}

/* Decodes with at most `cap` rows and rejects a call, gathering them in rig->rows as if there had been one call. */
static void decode_in_steps(struct rig *rig, const struct mr_message *messages, size_t count, size_t cap)
{
    struct mr_cursor cursor = {0};
    rig->rows.row_count = rig->rows.reject_count = 0;
    while (cursor.message < count) {
        const struct mr_cursor before = cursor;
        const size_t done = rig->rows.row_count + rig->rows.reject_count;
        struct mr_rows part = rig->rows;
        part.row_cap = part.row_count + cap < CAP ? part.row_count + cap : CAP;
        part.reject_cap = part.reject_count + cap < CAP ? part.reject_count + cap : CAP;
        part.capture =
            calloc(part.row_cap * part.capture_count + 1, sizeof *part.capture); /* [capture][row_cap of this call] */
        check(part.capture != NULL);
        mr_codec_find("json")->decode(rig->decoder, messages, count, &cursor, &part);
        for (size_t row = rig->rows.row_count; row < part.row_count; row++) {
            for (size_t i = 0; i < part.capture_count; i++)
                rig->rows.capture[i * CAP + row] = part.capture[i * part.row_cap + row];
        }
        free(part.capture);
        rig->rows.row_count = part.row_count;
        rig->rows.reject_count = part.reject_count;
        check(cursor.message > before.message || cursor.byte > before.byte);
        check(cursor.message == count || part.row_count + part.reject_count > done || cursor.message > before.message ||
              cursor.byte > before.byte);
    }
}

static void rows_check(const struct rig *rig, const struct mr_message *messages, size_t count, mr_framing framing)
{
    const struct mr_rows *const rows = &rig->rows;
    if (framing == MR_FRAMING_SINGLE) check(rows->row_count + rows->reject_count == count);
    for (size_t row = 0; row < rows->row_count; row++) {
        check(rows->message[row] < count && (!row || rows->message[row] >= rows->message[row - 1]));
        const struct mr_message *const message = &messages[rows->message[row]];
        for (size_t i = 0; i < rows->capture_count; i++) {
            const struct mr_span *const span = &rows->capture[i * CAP + row];
            check(!span->data || (span->bytes && span->data >= message->value &&
                                  span->data + span->bytes <= message->value + message->value_bytes));
        }
    }
    for (size_t i = 0; i < rows->reject_count; i++) {
        const struct mr_reject *const reject = &rows->reject[i];
        check(reject->reason && reject->reason < MR_REASON_COUNT && reject->message < count);
        check((size_t)reject->first + reject->bytes <= messages[reject->message].value_bytes);
        check(reject->field == MR_FIELD_NONE || reject->field < rig->schema.field_count);
    }
}

static void rows_compare(const struct rig *a, const struct rig *b)
{
    check(a->rows.row_count == b->rows.row_count && a->rows.reject_count == b->rows.reject_count);
    check(!memcmp(a->rows.reject, b->rows.reject, a->rows.reject_count * sizeof *a->rows.reject));
    check(!memcmp(a->rows.message, b->rows.message, a->rows.row_count * sizeof *a->rows.message));
    for (size_t row = 0; row < a->rows.row_count; row++) {
        for (size_t i = 0; i < a->rows.feature_count; i++) {
            const float x = rig_x(a, row, i), y = rig_x(b, row, i);
            check(!memcmp(&x, &y, sizeof x));
        }
        check(!memcmp(&a->rows.label[row], &b->rows.label[row], sizeof *a->rows.label));
        for (size_t i = 0; i < a->rows.capture_count; i++) {
            const struct mr_span *const x = &a->rows.capture[i * CAP + row], *const y = &b->rows.capture[i * CAP + row];
            check(x->data == y->data && x->bytes == y->bytes);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    if (!bytes || bytes > CAP) return 0;
    const mr_framing framing = framings[data[0] % 3];
    struct mr_message messages[MESSAGES_MAX];
    size_t count = 0;
    for (size_t at = 1; at <= bytes && count < MESSAGES_MAX;) {
        const uint8_t *const stop = at < bytes ? memchr(data + at, 0xfe, bytes - at) : NULL;
        const size_t length = stop ? (size_t)(stop - data) - at : bytes - at;
        messages[count++] = rig_message((const char *)data + at, length);
        at += length + 1;
    }
    struct rig want, got;
    char want_spec[64], got_spec[64];
    rig_spec(&want, strcpy(want_spec, specs[data[0] / 3 % 4]), framing);
    rig_spec(&got, strcpy(got_spec, want_spec[0] ? specs[data[0] / 3 % 4] : ""), framing);
    want.schema.record_bytes_max = got.schema.record_bytes_max = 2048;
    check(!rig_open(&want, CAP, CAP) && !rig_open(&got, CAP, CAP));
    check(!json_variant_set(want.decoder, "strict", NULL));
    check(rig_decode(&want, messages, count));
    rows_check(&want, messages, count, framing);
    for (const struct json_variant *variant = json_variants; variant->name; variant++) {
        if (json_variant_set(got.decoder, variant->name, NULL)) continue;
        check(rig_decode(&got, messages, count));
        rows_compare(&want, &got);
        decode_in_steps(&got, messages, count, 1 + data[0] % 2); /* the second time with templates known */
        rows_compare(&want, &got);
    }
    rig_close(&want);
    rig_close(&got);
    for (size_t i = 0; i < count; i++) rig_message_free(&messages[i]);
    return 0;
}
