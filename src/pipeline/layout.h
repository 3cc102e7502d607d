/**
 * What a job's record, models and emit mean together, worked out once at start: which fields the decoder fills, which
 * message parts the pipeline fills, what is asked of each model, and the template of an output record.
 */
#ifndef MR_PIPELINE_LAYOUT_H
#define MR_PIPELINE_LAYOUT_H

#include "config/job.h"
#include "millrace/codec.h"
#include "millrace/model.h"

/** Message parts that may stand where a field path may: `@key` `@timestamp` `@partition` `@offset` `@topic`
 * `@header.NAME`. */
typedef enum {
    MR_PART_KEY,
    MR_PART_TIMESTAMP,
    MR_PART_PARTITION,
    MR_PART_OFFSET,
    MR_PART_TOPIC,
    MR_PART_HEADER
} mr_part;

/** A feature or label that comes from a message part and is filled after decoding. */
struct mr_part_field {
    mr_part part;
    char *header;       /* MR_PART_HEADER: its name */
    mr_field_role role; /* FEATURE or LABEL */
    uint32_t column;
    mr_missing missing;
    double default_value;
};

/** A feature that the model reads as text: a captured field, or a message part. */
struct mr_text_field {
    bool is_part;
    mr_part part; /* KEY or HEADER */
    char *header;
    uint32_t column; /* of captures */
    uint16_t field;  /* of the schema; MR_FIELD_NONE for a part */
};

/** One value of the output template. */
typedef enum {
    MR_EMIT_CAPTURE, /* bytes of an input field, as they are (quoted and escaped where the codec captures plain text) */
    MR_EMIT_FEATURE, /* a feature printed as a number: where the codec captures nothing */
    MR_EMIT_PART,    /* a message part: numbers bare, key, topic and header as JSON strings, null when absent */
    MR_EMIT_CLASS,   /* `model.class`: index of the class */
    MR_EMIT_LABEL,   /* `model.label`: name of the class as a JSON string; its index where the model has no names */
    MR_EMIT_SCORE,   /* `model.score`: first output (regression, binary probability of class 1) */
    MR_EMIT_PROBABILITY,   /* `model.probability`: of the winning class */
    MR_EMIT_PROBABILITIES, /* `model.probabilities` (one a class), `model.scores` (as the model gives them): an array */
    MR_EMIT_OUTPUT,        /* `model.scores[3]`, `model.probabilities[3]`, `model.NAME` of an output with a name */
    MR_EMIT_ITEM,          /* `model.item`, `model.items[3]`: the id of one of the best items */
    MR_EMIT_ITEMS,         /* `model.items`: an array of them, best first */
    MR_EMIT_ITEM_SCORES,   /* `model.scores` of a recommender: theirs */
    MR_EMIT_VERSION,       /* `model.version`: updates that the model had seen when it scored this */
} mr_emit_kind;

struct mr_emit_item {
    char *literal; /* JSON text that stands before the value: `{"prediction":`; never NULL */
    size_t literal_bytes;
    mr_emit_kind kind;
    size_t model;       /* index, for model outputs */
    uint32_t column;    /* capture, feature or output column */
    bool is_bare;       /* PART: text that is a number stands as a number */
    bool is_complement; /* OUTPUT, PROBABILITIES of a binary model of width 1: class 0 is 1 - y */
    mr_part part;
    char *header;
};

struct mr_layout {
    struct mr_schema schema;          /* field paths are owned by the layout */
    struct mr_part_field *part_field; /* [part_field_count] */
    size_t part_field_count;
    struct mr_text_field *text; /* [text_count], in the order of the features; none where features are numbers */
    size_t text_count;
    struct mr_emit_item *item; /* [item_count] */
    size_t item_count;
    unsigned *want; /* [model_count] MR_WANT_... */
    size_t model_count;
    bool reads_headers, reads_timestamps;
    bool has_join_key, join_key_is_part; /* what a record's label has in common with it: a captured field, or @key */
    uint32_t join_key_column;
    int decimals;        /* of printed floats; -1: shortest */
    char **feature_name; /* [feature_name_count]: paths with ranges expanded; schema.feature_count where these are
                            numbers */
    size_t feature_name_count;
};

/**
 * Works out the layout. info: one for each model of the job, in its order. MR_ECONFIG names the key, what is wrong and
 * the nearest known name (an emit expression that is no field, part or model output; a model whose width or names
 * differ from record.features; a range such as x[5..2]; a framing or field kind that the codec does not read). On error
 * *layout_out is NULL. A bare `model` in emit means its class for a classifier and its score for a regression, its
 * first output where outputs have names. A field that is named like a model is written in quotes: `"regime".class`.
 * Emitted fields that are no features are optional: absent or null, they print null. record.defaults, where
 * record.missing is "default", names the fields that may be missing; all others stay required.
 */
mr_status mr_layout_create(const struct mr_job *job, const struct mr_model_info *const *info,
                           struct mr_layout **layout_out, struct mr_err *err);

/** The features that record.features names, ranges expanded: paths, as mr_layout.feature_name. The caller frees them
 * with mr_paths_deinit, also after an error: MR_ECONFIG as mr_layout_create, MR_ENOMEM. */
mr_status mr_layout_features(const struct mr_job *job, struct mr_strings *names_out, struct mr_err *err);

/** Frees all. Accepts NULL. */
void mr_layout_destroy(struct mr_layout *layout);

#endif
