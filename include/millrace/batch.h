/**
 * What flows through a slot: messages from the source, rows of features from the decoder, scores from the model,
 * records for the sinks. All arrays are allocated once for a slot and reused; counts say how much is in use.
 */
#ifndef MILLRACE_BATCH_H
#define MILLRACE_BATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Rows of a feature tile: x[tile][feature][MR_TILE_ROWS], float32, 64-byte aligned, the rows past the end hold zeros.
 */
#define MR_TILE_ROWS 64
#define MR_ALIGN     64

/** Tiles that hold `rows` rows. */
static inline size_t mr_tile_count(size_t rows)
{
    return (rows + MR_TILE_ROWS - 1) / MR_TILE_ROWS;
}

/** Index of (row, column) in tiles of `cols` columns. */
static inline size_t mr_tile_at(size_t row, size_t col, size_t cols)
{
    return ((row / MR_TILE_ROWS) * cols + col) * MR_TILE_ROWS + row % MR_TILE_ROWS;
}

/** Borrowed bytes. data NULL: absent (a JSON null or a missing field); bytes 0 with data: empty. */
struct mr_span {
    const char *data;
    size_t bytes;
};

/**
 * One message as a source hands it over. The bytes belong to the source and stay valid until the batch is released.
 * Nothing is promised about what lies behind value_bytes: it may not even be readable.
 */
struct mr_message {
    const char *value; /* NULL: a tombstone */
    size_t value_bytes;
    const char *key; /* NULL: no key */
    size_t key_bytes;
    int64_t offset; /* position in its partition; -1 where a source has none */
    int32_t partition;
    uint32_t topic; /* index into the source's topic names */
    void *handle;   /* the source's own: headers and timestamp are fetched through it when asked for */
    /* The line of column names that stands once before many messages (a CSV file's), line break included, as long as
     * the message; NULL: there is none. */
    const struct mr_span *header;
};

/** Where a record ends in a stream of bytes. */
typedef enum {
    MR_CUT_LINES,  /* behind a line break                             */
    MR_CUT_QUOTED, /* behind a line break outside double quotes (CSV) */
    MR_CUT_PACKED, /* behind row_bytes                                */
} mr_cut_kind;

/** How a source without messages of its own (a file, a pipe) makes them: what its codec asks for. */
struct mr_cut {
    mr_cut_kind kind;
    char delimiter;   /* MR_CUT_QUOTED */
    bool has_header;  /* the first line names the columns: mr_message.header, no message */
    bool is_block;    /* many records a message; else one */
    size_t row_bytes; /* MR_CUT_PACKED */
    size_t bytes_max; /* a record that is longer is handed over cut short: the codec refuses it; 0: 1 MiB */
};

/** Why a record was not scored. The names (mr_reason_name) are stable: they stand in dead-letter headers and metrics.
 */
typedef enum {
    MR_REASON_NONE = 0,
    MR_REASON_EMPTY,         /* no bytes at all */
    MR_REASON_SYNTAX,        /* not the format that the job states */
    MR_REASON_ENCODING,      /* not UTF-8 */
    MR_REASON_DEPTH,         /* nested deeper than allowed */
    MR_REASON_DUPLICATE_KEY, /* a key twice in one object */
    MR_REASON_MISSING,       /* a needed field is not there */
    MR_REASON_NULL,          /* a needed field is null */
    MR_REASON_TYPE,          /* a needed field is not of the type that the job needs */
    MR_REASON_RANGE,         /* a number that is not finite as float32, or outside stated bounds */
    MR_REASON_LENGTH,        /* wrong number of columns, of bytes in a packed row, or of array elements */
    MR_REASON_SIZE,          /* record larger than record.bytes_max */
    MR_REASON_TOMBSTONE,     /* null value, when the job sends those to the dead letters */
    MR_REASON_OUTPUT_SIZE,   /* the output was larger than the topic or the client allows */
    MR_REASON_REFUSED,       /* the broker refused the output for good */
    MR_REASON_COUNT
} mr_reason;

/** Stable lower-case name such as "duplicate_key"; never NULL. */
const char *mr_reason_name(mr_reason reason);

/** A record that was not scored. first and bytes delimit it inside its message's value. */
struct mr_reject {
    uint32_t message;
    uint32_t first;
    uint32_t bytes;
    uint16_t reason; /* mr_reason */
    uint16_t field;  /* index into the schema's fields that the reason is about; MR_FIELD_NONE otherwise */
};
#define MR_FIELD_NONE 0xffffu

/** Where decoding stands within a batch of messages: all messages before `message`, and its bytes before `byte`, are
 * done. */
struct mr_cursor {
    size_t message;
    size_t byte;
};

/** Decoded rows. Row r of every array belongs together. */
struct mr_rows {
    float *x;                 /* tiles [mr_tile_count(row_cap)][feature_count][64] */
    double *label;            /* [row_cap]; NULL when the schema has no label */
    struct mr_span *capture;  /* [capture_count][row_cap]: bytes of captured fields; NULL when there are none */
    uint32_t *message;        /* [row_cap]: the message that the row came from */
    struct mr_reject *reject; /* [reject_cap] */
    size_t feature_count, capture_count;
    size_t row_count, row_cap;
    size_t reject_count, reject_cap;
};

/** Scores of one model for the rows. */
struct mr_scores {
    float *y;             /* tiles [mr_tile_count(row_cap)][width][64]: probabilities, regression outputs or scores */
    int32_t *class_index; /* [row_cap rounded up to 64]: index of the winning class; NULL for a regression */
    int32_t *item; /* tiles as y: of a recommender, the items whose scores y has; -1: there are no more. Else NULL */
    size_t width;
    size_t row_cap;
    uint64_t version; /* updates that the model had seen: 0 of one that neither learns nor is followed */
};

/** What a sum is taken over, beside the features. */
struct mr_sum_target {
    const double *label; /* [rows]; NaN: this row has none and counts for nothing. NULL: the model needs none */
    const float *y;      /* tiles of the scores that the model has given these rows; NULL: the model needs none */
    const int32_t *class_index; /* [rows rounded up to 64], likewise */
};

#ifdef __cplusplus
}
#endif
#endif
