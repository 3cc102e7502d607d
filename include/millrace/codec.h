/** Codecs: how the bytes of a message become rows of features. */
#ifndef MILLRACE_CODEC_H
#define MILLRACE_CODEC_H

#include <stdbool.h>

#include "millrace/batch.h"
#include "millrace/option.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
    MR_FRAMING_SINGLE, /* one record a message                                                   */
    MR_FRAMING_LINES,  /* records separated by \n (a \r before it is dropped); empty lines skipped */
    MR_FRAMING_ARRAY,  /* one JSON array of records a message                                     */
    MR_FRAMING_PACKED, /* fixed-width binary rows, one after the other                            */
} mr_framing;

typedef enum { MR_MISSING_DEAD, MR_MISSING_DEFAULT } mr_missing;

typedef enum {
    MR_FIELD_FEATURE, /* becomes float32 in column `column` of x */
    MR_FIELD_LABEL,   /* becomes float64 in label                 */
    MR_FIELD_CAPTURE, /* its bytes are kept in capture[column]    */
} mr_field_role;

/**
 * One field that the job needs. A path names nested keys and array elements: `a.b`, `x[3]`; a key that holds a dot or
 * a bracket is written in double quotes: `"a.b".c`. The same path may stand in several rows (a feature that is also
 * captured).
 */
struct mr_field {
    const char *path;
    mr_field_role role;
    uint32_t column;
    bool required;        /* CAPTURE only: reject the record when it is missing (features and labels go by `missing`) */
    mr_missing missing;   /* FEATURE, LABEL: what a missing or null value does */
    double default_value; /* used where missing is MR_MISSING_DEFAULT */
};

/** What a decoder is compiled from. Message parts (`@key` ...) are not in here: the pipeline fills those. */
struct mr_schema {
    const struct mr_field *field;
    size_t field_count;
    size_t feature_count; /* columns of x; columns that no field names are left to the caller */
    size_t capture_count;
    mr_framing framing;
    uint32_t depth_max; /* nesting of objects and arrays, e.g. 32 */
    uint32_t record_bytes_max;
};

struct mr_decoder; /* one a lane: not thread-safe, no allocation after create */

/** A codec: a folder src/codec/<name>/ and a line in registry.def. */
struct mr_codec_ops {
    const char *name;                /* value of record.format */
    const char *summary;             /* one line, shown by --list */
    const struct mr_option *options; /* codec's own keys beside the common ones of "record"; may be NULL */
    size_t options_size;
    unsigned framings; /* bit (1u << mr_framing) for each framing that it reads */
    /*
     * Captured bytes are JSON text. Else plain text that the encoder quotes where needed; when such text begins with a
     * double quote it is quoted itself, quotes within it doubled, as in CSV: `"say ""hi"""`.
     */
    bool captures_json;
    bool captures; /* false: captured fields are not available (binary rows): emit prints the feature instead */
    /* Optional. Checks the options alone, without a file or network; fails with MR_ECONFIG. */
    mr_status (*check)(const void *options, struct mr_err *err);
    /*
     * Required. Compiles the schema, which is copied as far as needed; options stay valid until destroy. A framing that
     * is not in framings, and a path that the format cannot have, is MR_ECONFIG. On error *decoder_out is NULL.
     */
    mr_status (*create)(const void *options, const struct mr_schema *schema, struct mr_decoder **decoder_out,
                        struct mr_err *err);
    /*
     * Required. Decodes messages [cursor->message, count) from cursor->byte on, appending to rows (row_count and
     * reject_count go up) until the messages are used up (cursor->message == count) or rows or rejects are full.
     * Every record becomes one row or one reject, in input order; an empty value is one reject (MR_REASON_EMPTY), and
     * so is a record larger than record_bytes_max (MR_REASON_SIZE); value NULL never comes here. A number that is not
     * finite as float32 is MR_REASON_RANGE. Rows of the last tile past row_count may hold anything: the pipeline zeroes
     * them. Cannot fail, never allocates.
     */
    void (*decode)(struct mr_decoder *decoder, const struct mr_message *messages, size_t count,
                   struct mr_cursor *cursor, struct mr_rows *rows);
    /* Optional. How bytes without messages are cut into what this decoder reads; NULL: a line is a message. */
    void (*cut)(const struct mr_decoder *decoder, struct mr_cut *cut_out);
    /* Required. Accepts NULL. */
    void (*destroy)(struct mr_decoder *decoder);
};

#ifdef __cplusplus
}
#endif
#endif
