/** What the makers of a layout share: layout.c puts it together, layout_record.c and layout_emit.c each do a section.
 */
#ifndef MR_PIPELINE_LAYOUT_BUILD_H
#define MR_PIPELINE_LAYOUT_BUILD_H

#include "pipeline/layout.h"

/** What is being put together, and what has been found so far. One call of mr_layout_create owns it. */
struct mr_layout_builder {
    const struct mr_job *job;
    const struct mr_model_info *const *info; /* [job->model_count] */
    struct mr_layout *layout;
    struct mr_err *err;
    struct mr_strings features; /* expanded; becomes layout->feature_name */
    struct mr_strings captures; /* paths, one a column */
    bool reads_text;            /* the model reads features as text */
};

struct mr_layout_part {
    const char *name; /* as a job writes it */
    mr_part part;
    bool is_numeric; /* may be a feature; key and header are when their text is a number */
};

static inline mr_status mr_layout_no_memory(struct mr_err *err)
{
    return mr_fail(err, MR_ENOMEM, "layout: out of memory");
}

/** Looks an `@...` expression up. place: where it stands, for the error text. *header_out is a copy for the caller to
 * free, or NULL. MR_ECONFIG with the nearest known part, or MR_ENOMEM. */
mr_status mr_layout_part_find(struct mr_layout_builder *b, const char *place, const char *text,
                              const struct mr_layout_part **part_out, char **header_out);

/** Appends a field to the schema. written: the path before its range was expanded, for record.defaults. */
mr_status mr_layout_field_add(struct mr_layout_builder *b, const char *path, const char *written, mr_field_role role,
                              uint32_t column);

/** record: features, label and defaults become fields of the schema and of the message. */
mr_status mr_layout_record(struct mr_layout_builder *b);

/** emit: the template of an output record, what is asked of each model, and the fields that are captured for it. */
mr_status mr_layout_emit(struct mr_layout_builder *b);

#endif
