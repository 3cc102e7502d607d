/** A table, inside. shape.c finds out what its rows are, table.c reads them. */
#ifndef MR_TABLE_INSIDE_H
#define MR_TABLE_INSIDE_H

#include "table/classes.h"
#include "table/input.h"
#include "table/table.h"

struct mr_table {
    /* what the rows are */
    const struct mr_codec_ops *codec;
    void *codec_options;
    mr_label_kind kind;
    struct mr_strings feature, path; /* of each feature: its name, and as the codec is told it */
    char *label_path;
    bool has_names, skips_bad;
    bool has_header;  /* CSV whose first line names the columns */
    bool is_by_text;  /* classes are captured; else they are numbers of the decoder */
    size_t row_bytes; /* of packed rows */
    size_t cols;      /* of x: the features, or what the reader makes of them */
    const struct mr_model_ops *reader_ops;
    const struct mr_model *reader;
    void *reader_scratch;
    struct mr_schema schema;
    struct mr_decoder *decoder;
    /* where they are read */
    struct mr_input input;
    char *topic_path;          /* its path; NULL: a file's */
    struct mr_message message; /* the block of the input, and what of it is done */
    struct mr_cursor cursor;
    struct mr_rows rows;
    float *x; /* of the block that mr_table_next hands over */
    double *label;
    struct mr_classes classes;
    uint64_t taken, skipped; /* rows, since the beginning */
    struct mr_sha256 sha;
    char hash[MR_SHA256_TEXT_BYTES]; /* "" before it is known */
    bool wants_hash;
};

/** Codec, features, label and decoder, by the options and the first line. Opens the input. What was made stands in the
 * table whatever the outcome. */
mr_status mr_table_shape(struct mr_table *table, const char *path, const struct mr_table_options *options,
                         struct mr_err *err);

/** A bad row as an error, with the remedy. */
mr_status mr_table_bad_row(const struct mr_table *table, const struct mr_reject *reject, struct mr_err *err);

/** Rows from `first` on whose features were captured: fills their columns by the reader; rows that it refuses are left
 * out, or the first of them is the error. Labels move with their rows. */
mr_status mr_table_texts_take(struct mr_table *table, size_t first, double *label, struct mr_err *err);

/**
 * Decodes rows to x (tiles) and label, [MR_TABLE_ROW_CAP] of each, both as in struct mr_block. MR_END: there are none.
 */
mr_status mr_table_fill(struct mr_table *table, float *x, double *label, size_t *rows_out, struct mr_err *err);

#endif
