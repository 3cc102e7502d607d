#include "pipeline/template.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/json_text.h"
#include "base/number.h"

/* Literals and names are copied in blocks of this size: what they are copied from and to has that much slack. */
#define BLOCK 16
#define SLACK 32

/* A table of ready texts for every class is made up to this many classes. */
#define CLASSES_MAX 4096

/* A constant text with SLACK readable bytes behind it. */
struct piece {
    const char *text;
    uint32_t bytes;
};

struct step {
    mr_emit_kind kind;
    uint32_t column;
    struct piece literal;
    /* CLASS, LABEL: literal, name and, in the last step, the closing brace in one text for each class; NULL: too many
     * classes */
    struct piece *class_text;
    uint32_t class_count;
    size_t model;
    size_t width; /* outputs of the model */
    bool is_complement, is_binary;
    mr_part part;
    const char *header;
};

struct mr_template {
    struct step *step; /* [step_count] */
    size_t step_count;
    size_t bytes_max; /* of everything whose length does not depend on the input */
    unsigned capture_factor;
    uint32_t *measured; /* steps whose length depends on the input */
    size_t measured_count;
    int decimals;
    bool is_closed; /* the last step writes the closing brace */
    bool is_one_line, captures_json;
    uint64_t nonfinite_count;
    char *pool; /* all constant texts */
    size_t pool_used, pool_cap;
};

static inline char *put_piece(char *out, const struct piece *piece)
{
    memcpy(out, piece->text, BLOCK);
    if (__builtin_expect(piece->bytes > BLOCK, 0)) memcpy(out + BLOCK, piece->text + BLOCK, piece->bytes - BLOCK);
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
    if (bytes <= BLOCK && message->value_bytes >= BLOCK && at <= message->value_bytes - BLOCK) {
        memcpy(out, data, BLOCK);
    } else {
        memcpy(out, data, bytes);
    }
    return out + bytes;
}

static char *put_number(struct mr_template *t, char *out, float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    if (__builtin_expect((bits & 0x7f800000u) == 0x7f800000u, 0)) {
        t->nonfinite_count++;
        return put_null(out);
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
static struct mr_span part_text(const struct step *step, const struct mr_encode_input *input,
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

static char *put_part(const struct step *step, const struct mr_encode_input *input, const struct mr_message *message,
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
        return text.data ? out + mr_json_quote(text.data, text.bytes, out) : put_null(out);
    }
    }
    return number < 0 ? put_null(out) : out + mr_print_i64(number, out);
}

/* All outputs of a row, comma between them, in brackets. */
static char *put_outputs(struct mr_template *t, const struct step *step, const float *y, char *out)
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

/* The value of every kind but classes that have ready texts. */
static char *put_value(struct mr_template *t, const struct step *step, const struct mr_encode_input *input,
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
    }
    return put_null(out);
}

char *mr_template_write(struct mr_template *t, const struct mr_encode_input *input, const struct mr_rows *rows,
                        size_t row, const struct mr_message *message, char *out)
{
    bool is_closed = false;
    for (const struct step *step = t->step, *end = step + t->step_count; step < end; step++) {
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

size_t mr_template_bytes_max(const struct mr_template *t, const struct mr_encode_input *input,
                             const struct mr_rows *rows, size_t row, const struct mr_message *message)
{
    size_t bytes = t->bytes_max;
    for (size_t i = 0; i < t->measured_count; i++) {
        const struct step *step = &t->step[t->measured[i]];
        if (step->kind == MR_EMIT_CAPTURE) {
            bytes += rows->capture[step->column * rows->row_cap + row].bytes * t->capture_factor;
        } else {
            bytes += part_text(step, input, message).bytes * MR_JSON_ESCAPE_MAX;
        }
    }
    return bytes;
}

/* ---- compiling ---- */

/* Starts a text in the pool; the room was counted before. */
static struct piece piece_begin(struct mr_template *t)
{
    return (struct piece){t->pool + t->pool_used, 0};
}

static void piece_add(struct mr_template *t, struct piece *piece, const char *text, size_t bytes)
{
    memcpy(t->pool + t->pool_used, text, bytes);
    t->pool_used += bytes;
    piece->bytes += (uint32_t)bytes;
}

/* Bytes of the pool that all literals and class texts may take. */
static size_t pool_bytes(const struct mr_layout *layout, const struct mr_model_info *const *info)
{
    size_t bytes = SLACK;
    for (size_t i = 0; i < layout->item_count; i++) {
        const struct mr_emit_item *item = &layout->item[i];
        bytes += item->literal_bytes;
        if (item->kind != MR_EMIT_CLASS && item->kind != MR_EMIT_LABEL) continue;
        const struct mr_model_info *model = info[item->model];
        for (size_t c = 0; c < model->class_count && c < CLASSES_MAX; c++) {
            const size_t name = model->label ? strlen(model->label[c]) : 0;
            bytes += item->literal_bytes + MR_NUMBER_BYTES + name * MR_JSON_ESCAPE_MAX + 1;
        }
    }
    return bytes;
}

/* One ready text for each class. */
static mr_status class_texts_create(struct mr_template *t, struct step *step, const struct mr_emit_item *item,
                                    const struct mr_model_info *info, bool is_last, size_t *bytes_max_out,
                                    struct mr_err *err)
{
    if (!info->class_count || info->class_count > CLASSES_MAX) return MR_OK;
    step->class_text = calloc(info->class_count, sizeof *step->class_text);
    if (!step->class_text) return mr_fail(err, MR_ENOMEM, "encoder: out of memory");
    step->class_count = (uint32_t)info->class_count;
    for (size_t c = 0; c < info->class_count; c++) {
        struct piece piece = piece_begin(t);
        piece_add(t, &piece, item->literal, item->literal_bytes);
        char *name = t->pool + t->pool_used;
        const bool is_named = item->kind == MR_EMIT_LABEL && info->label;
        const size_t bytes =
            is_named ? mr_json_quote(info->label[c], strlen(info->label[c]), name) : mr_print_i64((long long)c, name);
        t->pool_used += bytes;
        piece.bytes += (uint32_t)bytes;
        if (is_last) piece_add(t, &piece, "}", 1);
        if (piece.bytes > *bytes_max_out) *bytes_max_out = piece.bytes;
        step->class_text[c] = piece;
    }
    t->is_closed |= is_last;
    return MR_OK;
}

static mr_status step_compile(struct mr_template *t, const struct mr_emit_item *item,
                              const struct mr_model_info *const *info, bool is_last, struct mr_err *err)
{
    const bool is_output = item->kind >= MR_EMIT_CLASS;
    const struct mr_model_info *model = is_output ? info[item->model] : NULL;
    struct step *step = &t->step[t->step_count];
    *step = (struct step){.kind = item->kind,
                          .column = item->column,
                          .model = is_output ? item->model : 0,
                          .width = is_output ? model->width : 0,
                          .is_complement = item->is_complement,
                          .is_binary = is_output && model->width == 1,
                          .part = item->part,
                          .header = item->header};
    step->literal = piece_begin(t);
    piece_add(t, &step->literal, item->literal, item->literal_bytes);
    size_t class_bytes = 0;
    if (item->kind == MR_EMIT_CLASS || item->kind == MR_EMIT_LABEL) {
        const mr_status status = class_texts_create(t, step, item, model, is_last, &class_bytes, err);
        if (status) return status;
    }
    if (item->kind == MR_EMIT_CAPTURE || (item->kind == MR_EMIT_PART && item->part != MR_PART_PARTITION &&
                                          item->part != MR_PART_OFFSET && item->part != MR_PART_TIMESTAMP)) {
        t->measured[t->measured_count++] = (uint32_t)t->step_count;
    }
    const size_t numbers = item->kind == MR_EMIT_PROBABILITIES ? step->width + 1 : 1;
    t->bytes_max += item->literal_bytes + class_bytes + numbers * (MR_NUMBER_BYTES + 1) + 2;
    t->step_count++;
    return MR_OK;
}

mr_status mr_template_create(const struct mr_job *job, const struct mr_layout *layout,
                             const struct mr_model_info *const *info, bool is_one_line,
                             struct mr_template **template_out, struct mr_err *err)
{
    struct mr_template *t = calloc(1, sizeof *t);
    *template_out = NULL;
    if (!t) return mr_fail(err, MR_ENOMEM, "encoder: out of memory");
    t->decimals = layout->decimals;
    t->is_one_line = is_one_line;
    t->captures_json = job->codec->captures_json;
    t->capture_factor = t->captures_json ? 1 : MR_JSON_ESCAPE_MAX;
    t->bytes_max = 1 + SLACK;
    t->pool_cap = pool_bytes(layout, info);
    t->pool = calloc(1, t->pool_cap);
    t->step = calloc(layout->item_count + 1, sizeof *t->step);
    t->measured = calloc(layout->item_count + 1, sizeof *t->measured);
    mr_status status = t->pool && t->step && t->measured ? MR_OK : mr_fail(err, MR_ENOMEM, "encoder: out of memory");
    for (size_t i = 0; !status && i < layout->item_count; i++) {
        status = step_compile(t, &layout->item[i], info, i + 1 == layout->item_count, err);
    }
    if (status) {
        mr_template_destroy(t);
        return status;
    }
    *template_out = t;
    return MR_OK;
}

uint64_t mr_template_nonfinite_count(const struct mr_template *t)
{
    return t->nonfinite_count;
}

void mr_template_destroy(struct mr_template *t)
{
    if (!t) return;
    for (size_t i = 0; t->step && i < t->step_count; i++) free(t->step[i].class_text);
    free(t->step);
    free(t->measured);
    free(t->pool);
    free(t);
}
