/** Writes rows by a compiled template. Everything here is static: for encode.c alone. */
#ifndef MR_PIPELINE_TEMPLATE_WRITE_H
#define MR_PIPELINE_TEMPLATE_WRITE_H

#include <math.h>
#include <string.h>

#include "base/json_text.h"
#include "base/number.h"
#include "base/number_digits.h"
#include "pipeline/template.h"

static inline char *put_piece(char *out, const struct mr_piece *piece)
{
    memcpy(out, piece->text, MR_TEMPLATE_BLOCK);
    if (__builtin_expect(piece->bytes > MR_TEMPLATE_BLOCK, 0))
        memcpy(out + MR_TEMPLATE_BLOCK, piece->text + MR_TEMPLATE_BLOCK, piece->bytes - MR_TEMPLATE_BLOCK);
    return out + piece->bytes;
}

static inline char *put_null(char *out)
{
    memcpy(out, "null", 4);
    return out + 4;
}

/* Bytes of a captured field. Most lie inside the message, where a whole block may be read. */
static inline char *put_bytes(char *out, const char *data, size_t bytes, const struct mr_message *message)
{
    const uintptr_t at = (uintptr_t)data - (uintptr_t)message->value;
    if (bytes <= MR_TEMPLATE_BLOCK && message->value_bytes >= MR_TEMPLATE_BLOCK &&
        at <= message->value_bytes - MR_TEMPLATE_BLOCK) {
        memcpy(out, data, MR_TEMPLATE_BLOCK);
    } else {
        memcpy(out, data, bytes);
    }
    return out + bytes;
}

static inline char *put_number(struct mr_template *t, char *out, float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    if (__builtin_expect((bits & 0x7f800000u) == 0x7f800000u, 0)) {
        t->nonfinite_count++;
        return put_null(out);
    }
    if (t->scale > 0) { /* as mr_print_fixed, whose comments say why this is exact */
        const double scaled = (double)fabsf(value) * t->scale;
        if (__builtin_expect(scaled < 99999999.0, 1)) {
            const double rounded = scaled + 0x1p52;
            uint64_t whole;
            memcpy(&whole, &rounded, sizeof whole);
            *out = '-';
            out += bits >> 31;
            return out + mr_fixed_put((uint32_t)whole, (unsigned)t->decimals, out);
        }
    }
    return out + (t->decimals < 0 ? mr_print_f32(value, out) : mr_print_fixed(value, (unsigned)t->decimals, out));
}

/* Plain text that is quoted as in CSV: the outer quotes go, doubled ones become one, then JSON quotes it. */
static char *put_doubled(char *out, const char *data, size_t bytes)
{
    const char *at = data + 1, *const end = data + bytes - 1;
    *out++ = '"';
    while (at < end) {
        const char *quote = memchr(at, '"', (size_t)(end - at));
        const char *stop = quote ? quote + 1 : end; /* the first of the two stays */
        out += mr_json_escape(at, (size_t)(stop - at), out);
        at = quote ? quote + 2 : end;
    }
    *out++ = '"';
    return out;
}

static char *put_capture(const struct mr_template *t, char *out, const struct mr_span *span,
                         const struct mr_message *message)
{
    if (!span->data) return put_null(out);
    if (!t->captures_json) {
        if (mr_json_is_number(span->data, span->bytes)) return put_bytes(out, span->data, span->bytes, message);
        if (span->bytes >= 2 && span->data[0] == '"') return put_doubled(out, span->data, span->bytes);
        return out + mr_json_quote(span->data, span->bytes, out);
    }
    char *const start = out;
    out = put_bytes(out, span->data, span->bytes, message);
    if (t->is_one_line && (*start == '{' || *start == '[')) { /* only between tokens may JSON hold a line break */
        for (char *at = start; at < out; at++) {
            if (*at == '\n' || *at == '\r') *at = ' ';
        }
    }
    return out;
}

/* Bytes of a part that is text; data NULL when it is absent. */
static struct mr_span part_text(const struct mr_step *step, const struct mr_encode_input *input,
                                const struct mr_message *message)
{
    struct mr_span text = {0};
    if (step->part == MR_PART_KEY) {
        text = (struct mr_span){message->key, message->key_bytes};
    } else if (step->part == MR_PART_TOPIC) {
        text.data = input->source_ops->topic_name(input->source, message->topic);
        text.bytes = text.data ? strlen(text.data) : 0;
    } else if (step->part == MR_PART_HEADER) {
        if (!input->source_ops->header(input->source, message, step->header, &text)) text.data = NULL;
    }
    return text;
}

static char *put_part(const struct mr_step *step, const struct mr_encode_input *input, const struct mr_message *message,
                      char *out)
{
    int64_t number = message->partition;
    switch (step->part) {
    case MR_PART_TIMESTAMP:
        number = input->source_ops->timestamp_ms(input->source, message);
        break;
    case MR_PART_OFFSET:
        number = message->offset;
        break;
    case MR_PART_PARTITION:
        break;
    default: {
        const struct mr_span text = part_text(step, input, message);
        if (step->is_bare && text.data && mr_json_is_number(text.data, text.bytes)) {
            memcpy(out, text.data, text.bytes);
            return out + text.bytes;
        }
        return text.data ? out + mr_json_quote(text.data, text.bytes, out) : put_null(out);
    }
    }
    return number < 0 ? put_null(out) : out + mr_print_i64(number, out);
}

/* All outputs of a row, comma between them, in brackets. */
static char *put_outputs(struct mr_template *t, const struct mr_step *step, const float *y, char *out)
{
    *out++ = '[';
    if (step->is_complement) {
        out = put_number(t, out, 1 - *y);
        *out++ = ',';
    }
    for (size_t i = 0; i < step->width; i++) {
        out = put_number(t, out, y[i * MR_TILE_ROWS]);
        *out++ = ',';
    }
    out[-1] = ']';
    return out;
}

/* The best items of a row, or their scores, in brackets: as many as there are. */
static char *put_best(struct mr_template *t, const struct mr_step *step, const struct mr_scores *scores, size_t at,
                      char *out)
{
    *out++ = '[';
    for (size_t i = 0; i < step->width; i++, at += MR_TILE_ROWS) {
        const int32_t item = scores->item[at];
        if (item < 0) break;
        if (i) *out++ = ',';
        if (step->kind == MR_EMIT_ITEM_SCORES) {
            out = put_number(t, out, scores->y[at]);
        } else {
            memcpy(out, step->item_text[item].data, step->item_text[item].bytes);
            out += step->item_text[item].bytes;
        }
    }
    *out++ = ']';
    return out;
}

static char *put_item(const struct mr_step *step, int32_t item, char *out)
{
    if (item < 0) return put_null(out);
    memcpy(out, step->item_text[item].data, step->item_text[item].bytes);
    return out + step->item_text[item].bytes;
}

/* The value of every kind but classes that have ready texts. */
static char *put_value(struct mr_template *t, const struct mr_step *step, const struct mr_encode_input *input,
                       const struct mr_rows *rows, size_t row, const struct mr_message *message, char *out)
{
    const struct mr_scores *scores = &input->scores[step->model];
    const size_t at = mr_tile_at(row, 0, step->width);
    switch (step->kind) {
    case MR_EMIT_CAPTURE:
        return put_capture(t, out, &rows->capture[step->column * rows->row_cap + row], message);
    case MR_EMIT_FEATURE:
        return put_number(t, out, rows->x[mr_tile_at(row, step->column, rows->feature_count)]);
    case MR_EMIT_PART:
        return put_part(step, input, message, out);
    case MR_EMIT_CLASS:
    case MR_EMIT_LABEL:
        return out + mr_print_i64(scores->class_index[row], out);
    case MR_EMIT_SCORE:
    case MR_EMIT_OUTPUT: {
        const float value = scores->y[at + step->column * MR_TILE_ROWS];
        return put_number(t, out, step->is_complement ? 1 - value : value);
    }
    case MR_EMIT_PROBABILITY: {
        const int32_t winner = scores->class_index[row];
        if (step->is_binary) return put_number(t, out, winner == 1 ? scores->y[at] : 1 - scores->y[at]);
        return put_number(t, out, (size_t)winner < step->width ? scores->y[at + (size_t)winner * MR_TILE_ROWS] : NAN);
    }
    case MR_EMIT_PROBABILITIES:
        return put_outputs(t, step, scores->y + at, out);
    case MR_EMIT_ITEM:
        return put_item(step, scores->item[at + step->column * MR_TILE_ROWS], out);
    case MR_EMIT_ITEMS:
    case MR_EMIT_ITEM_SCORES:
        return put_best(t, step, scores, at, out);
    case MR_EMIT_VERSION:
        return out + mr_print_i64((int64_t)scores->version, out);
    }
    return put_null(out);
}

/* Writes the object of a row at out, which has room for template_bytes_max; returns its end. */
static inline char *template_write(struct mr_template *t, const struct mr_encode_input *input,
                                   const struct mr_rows *rows, size_t row, const struct mr_message *message, char *out)
{
    bool is_closed = false;
    for (const struct mr_step *step = t->step, *end = step + t->step_count; step < end; step++) {
        if (step->class_text) {
            const uint32_t winner = (uint32_t)input->scores[step->model].class_index[row];
            if (__builtin_expect(winner < step->class_count, 1)) {
                out = put_piece(out, &step->class_text[winner]);
                is_closed = t->is_closed; /* matters after the last step only */
                continue;
            }
        }
        out = put_piece(out, &step->literal);
        out = put_value(t, step, input, rows, row, message, out);
        is_closed = false;
    }
    *out = '}';
    return out + !is_closed;
}

/* At most how many bytes the object of this row takes, scratch of the writers included; too high for text to be
 * escaped. */
static inline size_t template_bytes_max(const struct mr_template *t, const struct mr_encode_input *input,
                                        const struct mr_rows *rows, size_t row, const struct mr_message *message)
{
    size_t bytes = t->bytes_max;
    for (size_t i = 0; i < t->measured_count; i++) {
        const struct mr_step *step = &t->step[t->measured[i]];
        if (step->kind == MR_EMIT_CAPTURE) {
            bytes += rows->capture[step->column * rows->row_cap + row].bytes * t->capture_factor;
        } else {
            bytes += part_text(step, input, message).bytes * MR_JSON_ESCAPE_MAX;
        }
    }
    return bytes;
}

/* Points every step at its column of the batch. */
static inline void template_bind(struct mr_template *t, const struct mr_encode_input *input, const struct mr_rows *rows)
{
    for (size_t i = 0; i < t->step_count; i++) {
        struct mr_step *step = &t->step[i];
        if (step->kind == MR_EMIT_CAPTURE) step->capture = rows->capture + (size_t)step->column * rows->row_cap;
        if (step->kind == MR_EMIT_FEATURE) {
            step->y = rows->x;
            step->width = rows->feature_count;
        }
        if (step->kind < MR_EMIT_CLASS) continue;
        step->class_index = input->scores[step->model].class_index;
        step->y = input->scores[step->model].y;
    }
}

/*
 * As template_write, for templates that are is_fast and were bound, with room for fast_bytes_max. NULL when a captured
 * field is longer than MR_TEMPLATE_SHORT, or a class has no text: nothing counts as written then.
 */
static inline char *template_write_fast(struct mr_template *t, size_t row, const struct mr_message *message, char *out)
{
    const size_t tile = row / MR_TILE_ROWS * MR_TILE_ROWS, lane = row % MR_TILE_ROWS;
    for (const struct mr_step *step = t->step, *end = step + t->step_count; step < end; step++) {
        if (step->class_text) {
            const uint32_t winner = (uint32_t)step->class_index[row];
            if (__builtin_expect(winner >= step->class_count, 0)) return NULL;
            out = put_piece(out, &step->class_text[winner]);
            continue;
        }
        out = put_piece(out, &step->literal);
        if (step->capture) {
            const struct mr_span span = step->capture[row];
            if (__builtin_expect(span.bytes > MR_TEMPLATE_SHORT, 0)) return NULL;
            out = span.data ? put_bytes(out, span.data, span.bytes, message) : put_null(out);
        } else {
            const float value = step->y[tile * step->width + step->column * MR_TILE_ROWS + lane];
            out = put_number(t, out, step->is_complement ? 1 - value : value);
        }
    }
    *out = '}';
    return out + !t->is_closed;
}

#endif
