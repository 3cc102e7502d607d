/** Features and labels that come from message parts (`@offset`, `@header.NAME`, ...): filled after the codec has
 * decoded the rest. */
#ifndef MR_PIPELINE_PARTS_H
#define MR_PIPELINE_PARTS_H

#include "millrace/source.h"
#include "pipeline/layout.h"

struct mr_parts_input {
    const struct mr_message *messages;
    const struct mr_source_ops *source_ops; /* for headers and timestamps */
    struct mr_source *source;
    /* Where the layout has text: who reads it, and its scratch. */
    const struct mr_model_ops *model_ops;
    const struct mr_model *model;
    void *scratch;
    bool captures_json;
};

/**
 * Fills them for all rows. A row whose part is absent takes the field's default, or becomes a reject (MISSING); text
 * that is no JSON number is TYPE, a number beyond float32 is RANGE. Rejects name the whole message and MR_FIELD_NONE;
 * the rows behind move up, in order. rows->reject must have room for rows->row_count more. Features
 * that the model reads as text are read here too. Does nothing when the layout has neither. Allocates nothing.
 */
void mr_parts_fill(const struct mr_layout *layout, const struct mr_parts_input *input, struct mr_rows *rows);

#endif
