/* The JSON codec: framing, sizes, and the plug-in. */
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/json_text.h"
#include "codec/json/template.h"

#define DEPTH_DEFAULT        32
#define RECORD_BYTES_DEFAULT (1u << 20)
#define RECORD_BYTES_LIMIT   (1u << 30)

static void reject_add(struct mr_rows *rows, size_t message, size_t first, size_t bytes, struct json_verdict verdict)
{
    rows->reject[rows->reject_count++] = (struct mr_reject){
        .message = (uint32_t)message,
        .first = (uint32_t)(first < UINT32_MAX ? first : UINT32_MAX),
        .bytes = (uint32_t)(bytes < UINT32_MAX ? bytes : UINT32_MAX),
        .reason = (uint16_t)verdict.reason,
        .field = verdict.field,
    };
}

static struct json_target target_at(struct mr_rows *rows)
{
    const size_t row = rows->row_count;
    return (struct json_target){.rows = rows, .row = row, .x = rows->x + mr_tile_at(row, 0, rows->feature_count)};
}

/* One record that is text[0 .. bytes) of its message, which starts `first` bytes earlier: becomes a row or a reject. */
static void record_decode(struct mr_decoder *decoder, const char *text, size_t bytes, size_t message, size_t first,
                          struct mr_rows *rows)
{
    struct json_verdict verdict = {MR_REASON_SIZE, MR_FIELD_NONE};
    if (bytes <= decoder->record_bytes_max) {
        const struct json_target target = target_at(rows);
        const char *const end = text + bytes, *behind = json_templates_read(decoder, text, end, &target);
        if (behind == end) {
            verdict.reason = MR_REASON_NONE;
        } else {
            verdict = json_strict_read(decoder, text, end, true, &target, &behind);
            if (!verdict.reason) json_templates_learn(decoder, text, end, &target);
        }
    }
    if (verdict.reason) {
        reject_add(rows, message, first, bytes, verdict);
    } else {
        rows->message[rows->row_count++] = (uint32_t)message;
    }
}

static void cursor_next(struct mr_cursor *cursor)
{
    *cursor = (struct mr_cursor){.message = cursor->message + 1};
}

static void line_decode(struct mr_decoder *decoder, const struct mr_message *message, struct mr_cursor *cursor,
                        struct mr_rows *rows)
{
    const char *const text = message->value + cursor->byte;
    const size_t left = message->value_bytes - cursor->byte;
    const char *const newline = memchr(text, '\n', left);
    size_t bytes = newline ? (size_t)(newline - text) : left;
    const size_t next = newline ? bytes + 1 : bytes;
    if (newline && bytes && text[bytes - 1] == '\r') bytes--;
    if (bytes) record_decode(decoder, text, bytes, cursor->message, cursor->byte, rows);
    cursor->byte += next;
    if (cursor->byte == message->value_bytes) cursor_next(cursor);
}

/* The rest of an array whose commas and brackets are not to be trusted: one reject. */
static void array_abandon(const struct mr_message *message, struct mr_cursor *cursor, size_t first,
                          struct mr_rows *rows)
{
    reject_add(rows, cursor->message, first, message->value_bytes - first,
               (struct json_verdict){MR_REASON_SYNTAX, MR_FIELD_NONE});
    cursor_next(cursor);
}

/* One element at byte `first`. Errors that leave the brackets readable refuse the element only. */
static void element_decode(struct mr_decoder *decoder, const struct mr_message *message, struct mr_cursor *cursor,
                           size_t first, struct mr_rows *rows)
{
    const char *const text = message->value + first, *const end = message->value + message->value_bytes;
    const struct json_target target = target_at(rows);
    const bool is_cut = (size_t)(end - text) > decoder->record_bytes_max;
    const char *const text_end = is_cut ? text + decoder->record_bytes_max : end;
    struct json_verdict verdict = {MR_REASON_NONE, MR_FIELD_NONE};
    const char *behind = json_templates_read(decoder, text, text_end, &target);
    if (!behind) {
        verdict = json_strict_read(decoder, text, text_end, false, &target, &behind);
        if (!verdict.reason) json_templates_learn(decoder, text, behind, &target);
    }
    const bool is_broken = verdict.reason == MR_REASON_SYNTAX || verdict.reason == MR_REASON_ENCODING ||
                           verdict.reason == MR_REASON_DEPTH || verdict.reason == MR_REASON_DUPLICATE_KEY;
    if (is_broken || (is_cut && behind == text_end)) {
        behind = mr_json_value_end(text, end);
        while (behind > text && behind < end && json_space_skip(behind - 1, behind) == behind) behind--;
        if ((size_t)(behind - text) > decoder->record_bytes_max) verdict.reason = MR_REASON_SIZE;
    }
    if (verdict.reason == MR_REASON_SYNTAX) {
        array_abandon(message, cursor, first, rows);
        return;
    }
    if (verdict.reason) {
        reject_add(rows, cursor->message, first, (size_t)(behind - text), verdict);
    } else {
        rows->message[rows->row_count++] = (uint32_t)cursor->message;
    }
    cursor->byte = first + (size_t)(behind - text);
}

/* One step through `[record, record]`. cursor->byte is 0 or stands behind an element, so that nothing else need be
 * remembered. */
static void array_decode(struct mr_decoder *decoder, const struct mr_message *message, struct mr_cursor *cursor,
                         struct mr_rows *rows)
{
    const char *const value = message->value, *const end = value + message->value_bytes;
    const bool is_first = cursor->byte == 0;
    const char *text = json_space_skip(value + cursor->byte, end);
    if (is_first) {
        if (text == end || *text != '[') {
            array_abandon(message, cursor, 0, rows);
            return;
        }
        text = json_space_skip(text + 1, end);
    }
    if (text < end && *text == ']') {
        text = json_space_skip(text + 1, end);
        if (text == end) {
            cursor_next(cursor);
        } else {
            array_abandon(message, cursor, (size_t)(text - value), rows);
        }
        return;
    }
    if (!is_first) {
        if (text == end || *text != ',') {
            array_abandon(message, cursor, (size_t)(text - value), rows);
            return;
        }
        text = json_space_skip(text + 1, end);
    }
    element_decode(decoder, message, cursor, (size_t)(text - value), rows);
}

/* The records of a shape that was just seen, as many as there are in a row. False when that were none. */
static bool run_decode(struct mr_decoder *decoder, const struct mr_message *messages, size_t count,
                       struct mr_cursor *cursor, struct mr_rows *rows)
{
    const size_t rows_before = rows->row_count;
    struct json_run run;
    if (decoder->framing == MR_FRAMING_ARRAY || !json_run_begin(decoder, rows, &run)) return false;
    const struct json_variant *const variant = decoder->templates->variant;
    if (decoder->framing == MR_FRAMING_SINGLE) {
        cursor->message += variant->run_single(&run, messages, cursor->message, count);
    } else {
        const struct mr_message *const message = &messages[cursor->message];
        const char *const end = message->value + message->value_bytes;
        cursor->byte =
            (size_t)(variant->run_lines(&run, message->value + cursor->byte, end, (uint32_t)cursor->message) -
                     message->value);
        if (cursor->byte == message->value_bytes) cursor_next(cursor);
    }
    json_run_end(decoder, rows->row_count - rows_before);
    return rows->row_count > rows_before;
}

static void json_decode(struct mr_decoder *decoder, const struct mr_message *messages, size_t count,
                        struct mr_cursor *cursor, struct mr_rows *rows)
{
    while (cursor->message < count && rows->row_count < rows->row_cap && rows->reject_count < rows->reject_cap) {
        const struct mr_message *const message = &messages[cursor->message];
        if (!message->value_bytes || message->value_bytes > UINT32_MAX) {
            const mr_reason reason = message->value_bytes ? MR_REASON_SIZE : MR_REASON_EMPTY;
            reject_add(rows, cursor->message, 0, message->value_bytes, (struct json_verdict){reason, MR_FIELD_NONE});
            cursor_next(cursor);
        } else if (run_decode(decoder, messages, count, cursor, rows)) {
            continue;
        } else if (decoder->framing == MR_FRAMING_SINGLE) {
            record_decode(decoder, message->value, message->value_bytes, cursor->message, 0, rows);
            cursor_next(cursor);
        } else if (decoder->framing == MR_FRAMING_LINES) {
            line_decode(decoder, message, cursor, rows);
        } else {
            array_decode(decoder, message, cursor, rows);
        }
    }
}

static void json_destroy(struct mr_decoder *decoder)
{
    if (!decoder) return;
    free(decoder->field);
    free(decoder->node);
    free(decoder->lookup);
    free(decoder->order);
    free(decoder->key_text);
    free(decoder->state);
    free(decoder->frame);
    free(decoder->seen);
    free(decoder->unescaped);
    json_templates_destroy(decoder->templates);
    free(decoder);
}

static mr_status schema_check(const struct mr_schema *schema, struct mr_err *err)
{
    if (schema->framing != MR_FRAMING_SINGLE && schema->framing != MR_FRAMING_LINES &&
        schema->framing != MR_FRAMING_ARRAY) {
        return mr_fail(err, MR_ECONFIG, "json: reads framing single, lines or array only");
    }
    if (schema->field_count >= MR_FIELD_NONE) {
        return mr_fail(err, MR_ECONFIG, "json: %zu fields; at most %u are possible", schema->field_count,
                       MR_FIELD_NONE - 1);
    }
    if (schema->record_bytes_max > RECORD_BYTES_LIMIT) {
        return mr_fail(err, MR_ECONFIG, "json: records of up to %u bytes; at most %u are possible",
                       schema->record_bytes_max, RECORD_BYTES_LIMIT);
    }
    for (size_t i = 0; i < schema->field_count; i++) {
        const struct mr_field *const field = &schema->field[i];
        const size_t count = field->role == MR_FIELD_FEATURE   ? schema->feature_count
                             : field->role == MR_FIELD_CAPTURE ? schema->capture_count
                                                               : SIZE_MAX;
        if (field->column >= count) {
            return mr_fail(err, MR_ECONFIG, "json: field `%s` has column %u of %zu", field->path ? field->path : "",
                           field->column, count);
        }
    }
    return MR_OK;
}

static mr_status json_create(const void *options, const struct mr_schema *schema, struct mr_decoder **decoder_out,
                             struct mr_err *err)
{
    (void)options;
    *decoder_out = NULL;
    mr_status status = schema_check(schema, err);
    if (status) return status;
    struct mr_decoder *const decoder = calloc(1, sizeof *decoder);
    if (!decoder) return mr_fail(err, MR_ENOMEM, "json: out of memory");
    decoder->field_count = (uint32_t)schema->field_count;
    decoder->framing = schema->framing;
    decoder->depth_max = schema->depth_max ? schema->depth_max : DEPTH_DEFAULT;
    decoder->record_bytes_max = schema->record_bytes_max ? schema->record_bytes_max : RECORD_BYTES_DEFAULT;
    /* A key takes 5 bytes ("":0 and a comma) or more, and a table is at most half full. */
    for (decoder->seen_cap = 16; decoder->seen_cap / 2 < decoder->record_bytes_max / 5 + 1;) decoder->seen_cap *= 2;
    decoder->field = calloc(schema->field_count + 1, sizeof *decoder->field);
    decoder->state = calloc(schema->field_count + 1, sizeof *decoder->state);
    decoder->frame = calloc(decoder->depth_max, sizeof *decoder->frame);
    decoder->seen = calloc(decoder->seen_cap, sizeof *decoder->seen); /* pages that no record needs are never touched */
    decoder->unescaped = malloc((size_t)decoder->record_bytes_max + 1);
    if (!decoder->field || !decoder->state || !decoder->frame || !decoder->seen || !decoder->unescaped) {
        status = mr_fail(err, MR_ENOMEM, "json: out of memory for records of %u bytes", decoder->record_bytes_max);
        goto fail;
    }
    if (getrandom(&decoder->seed, sizeof decoder->seed, GRND_NONBLOCK) != (ssize_t)sizeof decoder->seed) {
        decoder->seed =
            (uint64_t)(uintptr_t)decoder ^ (uint64_t)(uintptr_t)&status; /* early boot: address randomisation must do */
    }
    for (size_t i = 0; i < schema->field_count; i++) {
        decoder->field[i] = schema->field[i];
        decoder->field[i].path = NULL;
    }
    decoder->templates = json_templates_create(decoder);
    if (!decoder->templates) {
        status = mr_fail(err, MR_ENOMEM, "json: out of memory for templates");
        goto fail;
    }
    status = json_schema_compile(decoder, schema, err);
    if (status) goto fail;
    *decoder_out = decoder;
    return MR_OK;

fail:
    json_destroy(decoder);
    return status;
}

static void json_cut(const struct mr_decoder *decoder, struct mr_cut *cut_out)
{
    *cut_out = (struct mr_cut){
        .kind = MR_CUT_LINES, .is_block = decoder->framing == MR_FRAMING_LINES, .bytes_max = decoder->record_bytes_max};
}

const struct mr_codec_ops mr_codec_json = {
    .name = "json",
    .summary = "JSON text (RFC 8259, strict): nested fields by path; one record a message, lines, or an array",
    .framings = 1u << MR_FRAMING_SINGLE | 1u << MR_FRAMING_LINES | 1u << MR_FRAMING_ARRAY,
    .captures_json = true,
    .captures = true,
    .create = json_create,
    .decode = json_decode,
    .cut = json_cut,
    .destroy = json_destroy,
};
