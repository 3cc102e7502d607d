/**
 * The output template compiled into a short program: a row of pieces and values that writes one JSON object. Internal
 * to the encoder, which alone includes the writing half, template_write.h, so that it becomes one loop.
 */
#ifndef MR_PIPELINE_TEMPLATE_H
#define MR_PIPELINE_TEMPLATE_H

#include "pipeline/encode.h"

/* Literals and names are copied in blocks of this size: what they are copied from and to has that much slack. */
#define MR_TEMPLATE_BLOCK 16
#define MR_TEMPLATE_SLACK 32

/* Captured fields up to this length are written without measuring them first. */
#define MR_TEMPLATE_SHORT 256

/* A table of ready texts for every class is made up to this many classes. */
#define CLASSES_MAX 4096

/* A constant text with MR_TEMPLATE_SLACK readable bytes behind it. */
struct mr_piece {
    const char *text;
    uint32_t bytes;
};

struct mr_step {
    mr_emit_kind kind;
    uint32_t column;
    struct mr_piece literal;
    /* CLASS, LABEL: literal, name and, in the last step, the closing brace in one text for each class; NULL: too many
     * classes */
    struct mr_piece *class_text;
    uint32_t class_count;
    size_t model;
    size_t width;                    /* outputs of the model */
    const struct mr_span *item_text; /* ITEM, ITEMS: JSON text of every item's id */
    bool is_complement, is_binary, is_bare;
    mr_part part;
    const char *header;
    /* of the batch at hand: what the value is read from; see template_bind */
    const struct mr_span *capture;
    const int32_t *class_index;
    const float *y;
};

struct mr_template {
    struct mr_step *step; /* [step_count] */
    size_t step_count;
    size_t bytes_max; /* of everything whose length does not depend on the input */
    unsigned capture_factor;
    uint32_t *measured; /* steps whose length depends on the input */
    size_t measured_count;
    int decimals;
    double scale;          /* 10^decimals up to 7 decimals, else 0: then the general writer does it */
    bool is_fast;          /* JSON captures, class texts and single numbers only: template_write_fast can do it */
    size_t fast_bytes_max; /* of an object whose captured fields are short */
    bool is_closed;        /* the last step writes the closing brace */
    bool is_one_line, captures_json;
    uint64_t nonfinite_count;
    char *pool; /* all constant texts */
    size_t pool_used, pool_cap;
};

/** layout and info must outlive it. is_one_line: line breaks inside captured JSON become spaces. */
mr_status mr_template_create(const struct mr_job *job, const struct mr_layout *layout,
                             const struct mr_model_info *const *info, bool is_one_line,
                             struct mr_template **template_out, struct mr_err *err);

/** Accepts NULL. */
void mr_template_destroy(struct mr_template *t);

#endif
