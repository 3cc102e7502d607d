/**
 * DATA of offline commands: rows of features with their labels, decoded by the same codecs as a stream, from a file or
 * a pipe; block by block, or whole in memory.
 */
#ifndef MR_TABLE_TABLE_H
#define MR_TABLE_TABLE_H

#include <stdbool.h>

#include "base/mapping.h"
#include "millrace/codec.h"
#include "millrace/model.h"

/** Rows of a block. */
#define MR_TABLE_ROW_CAP 4096

/** What the flags say of DATA (cli/data_flags.h). Strings belong to the options. */
struct mr_table_options {
    int format;                 /* index into mr_table_formats; 0: by the file's name */
    struct mr_strings features; /* none: all columns of a CSV header, keys with numbers of the first object, floats of a
                                   packed row; without the label */
    char *label;                /* NULL: there is none */
    struct mr_map record;       /* options of the format */
    int bad_rows;               /* mr_table_bad_rows */
    /* The records of a topic in the place of a file: those that are there when it is opened. NULL: a file. */
    char *topic, *bootstrap;
    struct mr_map properties; /* of the client; without bootstrap.servers: bootstrap */
    int until;                /* "end" */
    bool wants_hash;          /* mr_table_hash is asked for: a third of the speed at which CSV is read */
    /* A model whose read() makes the columns of x from the text of the features (ids); then `features` says which, and
     * a label is a number. NULL: features are numbers. Both outlive the table. */
    const struct mr_model_ops *reader_ops;
    const struct mr_model *reader;
};

/** Where the reading of a topic ends: "end", where it does now. */
extern const char *const mr_table_until[];

/** What a bad row does. */
enum { MR_BAD_STOP, MR_BAD_SKIP };
extern const char *const mr_table_bad_rows[];

/** What a label is. */
typedef enum {
    MR_LABEL_NONE,
    MR_LABEL_NUMBER, /* a number, as float64 */
    MR_LABEL_CLASS,  /* any text or number: the name of a class. Whole numbers are the same however they are written */
} mr_label_kind;

/** Most classes, and bytes of a name. */
#define MR_CLASS_MAX      65536u
#define MR_CLASS_NAME_MAX 1024u

/** Rows one behind the other, as tiles; valid until the next call. */
struct mr_block {
    const float *x;      /* tiles [mr_tile_count(rows)][cols][64], rows past the end zero */
    const double *label; /* [rows] number, or index of the class; NULL: MR_LABEL_NONE */
    size_t rows;         /* MR_TABLE_ROW_CAP, but of the last block */
};

struct mr_table; /* one thread at a time */

/**
 * Opens DATA: path of a file; "-" or NULL: standard input, or the topic of the options. Finds the names of the
 * features, for which it looks at the first line at most. options are not needed afterwards, path is. MR_EINPUT,
 * MR_EKAFKA; MR_EDATA: the first line is not what the format wants; MR_EUSAGE: what the options say is not there;
 * MR_ENOMEM.
 */
mr_status mr_table_open(const char *path, const struct mr_table_options *options, mr_label_kind kind,
                        struct mr_table **table_out, struct mr_err *err);
/** Path for messages. */
const char *mr_table_path(const struct mr_table *table);
/** Names of the features in the order of the columns of x; NULL where a packed row has none. */
const char *const *mr_table_feature(const struct mr_table *table, size_t *count_out);
/** The next rows: MR_END behind the last one. A bad row is MR_EDATA that names file, line, field and reason. */
mr_status mr_table_next(struct mr_table *table, struct mr_block *block, struct mr_err *err);
/** Begins anew at the first row; classes keep their indices. MR_EUSAGE: a pipe cannot. */
mr_status mr_table_rewind(struct mr_table *table, struct mr_err *err);
/** Names of the classes seen so far, in the order of their indices (of first sight). */
const char *const *mr_table_class(const struct mr_table *table, size_t *count_out);
/** Bad rows that were left out since the beginning or the last rewind. */
uint64_t mr_table_skipped(const struct mr_table *table);
/** SHA-256 (hex) of all bytes of DATA, from the first time that its end is reached on; NULL before, or not asked for.
 */
const char *mr_table_hash(const struct mr_table *table);
/** Accepts NULL. */
void mr_table_close(struct mr_table *table);

/** All rows in memory. */
struct mr_matrix {
    float *x;      /* tiles [mr_tile_count(rows)][cols][64], page-aligned, rows past the end zero */
    double *label; /* [rows]; NULL: none. MR_LABEL_CLASS: indices into class_name */
    size_t rows, cols;
    char **class_name; /* sorted: numbers by value, then text by bytes */
    size_t class_count;
    struct mr_mapping x_map, label_map; /* what x and label lie in */
    const char *spill;                  /* folder of the files behind them; NULL: memory */
};

/**
 * Reads the rows that are left. Rows are decoded to where they stay, and memory grows by remapping: it takes the rows'
 * size and a block. spill: a folder on a disk where they lie instead (base/mapping.h); NULL: in memory; it must outlive
 * the matrix. No rows is no error. On one the matrix is empty: MR_ENOMEM, MR_EIO, or as mr_table_next.
 */
mr_status mr_matrix_read(struct mr_table *table, const char *spill, struct mr_matrix *matrix, struct mr_err *err);

/** Accepts a zeroed one. */
void mr_matrix_deinit(struct mr_matrix *matrix);

/**
 * The path (codec.h) of the field with this name at the top of a record: quoted where the format needs it. out has room
 * for MR_FIELD_PATH_MAX bytes; returns it, or name where that is the path.
 */
#define MR_FIELD_PATH_MAX 512
const char *mr_field_path(const struct mr_codec_ops *codec, const char *name, char *out);

#endif
