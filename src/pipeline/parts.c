#include "pipeline/parts.h"

#include <assert.h>
#include <float.h>
#include <math.h>

#include "base/number.h"
#include "codec/rows.h"

#define TEXT_MAX 4 /* features of a model that reads text */

/* The number in a text part. */
static mr_reason text_read(const struct mr_span *text, double *value_out)
{
    if (!text->data) return MR_REASON_MISSING;
    const char *const end = text->data + text->bytes;
    return mr_parse_f64(text->data, end, value_out) == end && text->bytes ? MR_REASON_NONE : MR_REASON_TYPE;
}

static mr_reason integer_read(int64_t number, double *value_out)
{
    *value_out = (double)number;
    return number < 0 ? MR_REASON_MISSING : MR_REASON_NONE;
}

static struct mr_span part_text(mr_part part, const char *header, const struct mr_parts_input *input,
                                const struct mr_message *message)
{
    struct mr_span text = {message->key, message->key_bytes};
    if (part == MR_PART_HEADER && !input->source_ops->header(input->source, message, header, &text)) text.data = NULL;
    return text;
}

static mr_reason part_read(const struct mr_part_field *field, const struct mr_parts_input *input,
                           const struct mr_message *message, double *value_out)
{
    switch (field->part) {
    case MR_PART_PARTITION:
        return integer_read(message->partition, value_out);
    case MR_PART_OFFSET:
        return integer_read(message->offset, value_out);
    case MR_PART_TIMESTAMP:
        return integer_read(input->source_ops->timestamp_ms(input->source, message), value_out);
    case MR_PART_KEY:
    case MR_PART_HEADER:
    case MR_PART_TOPIC:
        break; /* the layout refuses it */
    }
    const struct mr_span text = part_text(field->part, field->header, input, message);
    return text_read(&text, value_out);
}

/* The features that the model reads as text. */
static mr_reason texts_read(const struct mr_layout *layout, const struct mr_parts_input *input, struct mr_rows *rows,
                            size_t row, uint16_t *field_out)
{
    struct mr_text text[TEXT_MAX];
    size_t feature = 0;
    assert(layout->text_count <= TEXT_MAX);
    for (size_t i = 0; i < layout->text_count; i++) {
        const struct mr_text_field *const field = &layout->text[i];
        struct mr_span span = {0};
        if (!field->is_part)
            span = rows->capture[field->column * rows->row_cap + row];
        else
            span = part_text(field->part, field->header, input, &input->messages[rows->message[row]]);
        text[i] = (struct mr_text){span.data, span.bytes, input->captures_json && !field->is_part};
    }
    const mr_reason reason = input->model_ops->read(
        input->model, text, rows->x + mr_tile_at(row, 0, rows->feature_count), input->scratch, &feature);
    if (reason && feature < layout->text_count) *field_out = layout->text[feature].field;
    return reason;
}

/* All parts of one row; the first thing that is wrong with it. */
static mr_reason row_fill(const struct mr_layout *layout, const struct mr_parts_input *input, struct mr_rows *rows,
                          size_t row, uint16_t *field_out)
{
    const struct mr_message *message = &input->messages[rows->message[row]];
    for (size_t i = 0; i < layout->part_field_count; i++) {
        const struct mr_part_field *field = &layout->part_field[i];
        double value;
        mr_reason reason = part_read(field, input, message, &value);
        const bool is_default = reason == MR_REASON_MISSING && field->missing == MR_MISSING_DEFAULT;
        if (is_default) {
            value = field->default_value;
            reason = MR_REASON_NONE;
        }
        if (reason) return reason;
        if (field->role == MR_FIELD_LABEL) {
            if (!is_default && !isfinite(value)) return MR_REASON_RANGE;
            rows->label[row] = value;
        } else {
            if (!isfinite((float)value)) return MR_REASON_RANGE;
            rows->x[mr_tile_at(row, field->column, rows->feature_count)] = (float)value;
        }
    }
    return layout->text_count ? texts_read(layout, input, rows, row, field_out) : MR_REASON_NONE;
}

void mr_parts_fill(const struct mr_layout *layout, const struct mr_parts_input *input, struct mr_rows *rows)
{
    size_t kept = 0;
    if (!layout->part_field_count && !layout->text_count) return;
    for (size_t row = 0; row < rows->row_count; row++) {
        uint16_t field = MR_FIELD_NONE;
        const mr_reason reason = row_fill(layout, input, rows, row, &field);
        if (!reason) {
            if (kept != row) mr_rows_move(rows, row, kept);
            kept++;
            continue;
        }
        const size_t bytes = input->messages[rows->message[row]].value_bytes;
        assert(rows->reject_count < rows->reject_cap);
        rows->reject[rows->reject_count++] =
            (struct mr_reject){.message = rows->message[row],
                               .bytes = (uint32_t)(bytes < UINT32_MAX ? bytes : UINT32_MAX),
                               .reason = (uint16_t)reason,
                               .field = field};
    }
    rows->row_count = kept;
}
