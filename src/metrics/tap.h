/**
 * What lanes let be seen of their work while somebody watches: now and then a row with its predictions, what models
 * have learned, and the last dead letters. A lane that finds the tap in use goes on without: it never waits.
 */
#ifndef MR_METRICS_TAP_H
#define MR_METRICS_TAP_H

#include <stdbool.h>

#include "metrics/by_offset.h"
#include "scoring/models.h"

#define MR_TAP_FEATURES 8   /* the first ones of a row */
#define MR_TAP_MODELS   4   /* the first ones of a job */
#define MR_TAP_NUMBERS  128 /* of a model, the first ones */
#define MR_TAP_TOPICS   4   /* the first ones that records come from */
#define MR_TAP_POINTS   2048
#define MR_TAP_DEAD     64
#define MR_TAP_IDS      16
#define MR_TAP_TEXT     96
#define MR_TAP_ID       64 /* bytes of an id; a longer one is not kept */

struct mr_source;
struct mr_source_ops;
struct mr_text_field;

/** What a model said of a row. */
struct mr_tap_answer {
    float y;             /* its first output; NaN: nobody wants it */
    int32_t class_index; /* -1: none */
};

/** A row that was scored. Of a pair of a record and a label that came on a topic of its own, offset, partition and
 * topic are -1. */
struct mr_tap_point {
    int64_t time_ms; /* when it was */
    int64_t offset;
    int32_t partition;
    int32_t topic; /* as mr_tap_topics numbers them; -1: one too many */
    float feature[MR_TAP_FEATURES];
    double label; /* NaN: none */
    struct mr_tap_answer answer[MR_TAP_MODELS];
};

/** A record that could not be scored. */
struct mr_tap_dead {
    int64_t time_ms, offset;
    int32_t partition;
    mr_reason reason;
    char topic[MR_TAP_TEXT], field[MR_TAP_TEXT]; /* cut; field: "" where it is about the whole record */
};

/** What a model consists of, as far as it can be drawn: weights [rows][cols], centres [rows][cols], factors [1][cols].
 */
struct mr_tap_numbers {
    size_t rows, cols; /* 0: nothing that could be drawn; rows * cols <= MR_TAP_NUMBERS, the first ones */
    float value[MR_TAP_NUMBERS];
    float bias[MR_TAP_NUMBERS]; /* [rows] of a linear model; of a scaler, what it subtracts [cols] */
    uint64_t version;
};

/** How wrong a model was about rows that were taken, by the topic that they came from. */
struct mr_tap_errors {
    struct mr_by_offset topic[MR_TAP_TOPICS];
};

/** Rows that were scored, and where they come from. */
struct mr_tap_batch {
    const struct mr_models *models;
    const struct mr_rows *rows;
    const struct mr_scores *scores;
    const struct mr_message *message; /* of the rows' batch */
    const struct mr_source_ops *source_ops;
    struct mr_source *source;
    const struct mr_text_field *id; /* the feature that is an id; NULL: features are numbers */
};

struct mr_tap;

/** points_per_s: rows that are taken, over all lanes. On error *tap_out is NULL. */
mr_status mr_tap_create(unsigned points_per_s, struct mr_tap **tap_out, struct mr_err *err);
void mr_tap_destroy(struct mr_tap *tap); /* accepts NULL */

/** On a lane's thread: rows that were scored, before anything is learned from them. */
void mr_tap_rows(struct mr_tap *tap, const struct mr_tap_batch *batch);

/** On a lane's thread: records whose labels came later, with the predictions that went out. rows: label and x. */
void mr_tap_pairs(struct mr_tap *tap, const struct mr_models *models, const struct mr_rows *rows,
                  const struct mr_scores *predicted);

/** On the thread that learns, or before any does: what the models are now. */
void mr_tap_models(struct mr_tap *tap, const struct mr_models *models);

/** On a lane's thread. topic and field (may be NULL) are copied. */
void mr_tap_dead(struct mr_tap *tap, const char *topic, int32_t partition, int64_t offset, mr_reason reason,
                 const char *field);

/**
 * For who watches, any thread: points behind number *next_io (0: the oldest that there is), up to cap; *next_io is
 * where to go on. Likewise dead letters.
 */
size_t mr_tap_points(struct mr_tap *tap, uint64_t *next_io, struct mr_tap_point *out, size_t cap);
void mr_tap_skip(struct mr_tap *tap, uint64_t *points_next_out, uint64_t *dead_next_out); /* to the end of both */
size_t mr_tap_dead_take(struct mr_tap *tap, uint64_t *next_io, struct mr_tap_dead *out, size_t cap);
void mr_tap_numbers(struct mr_tap *tap, struct mr_tap_numbers out[MR_TAP_MODELS]); /* of one moment */
void mr_tap_errors(struct mr_tap *tap, size_t model, struct mr_tap_errors *out);

/** Names of the topics that rows came from, by their numbers: how many there are. A name never changes. */
size_t mr_tap_topics(struct mr_tap *tap, char out[MR_TAP_TOPICS][MR_TAP_TEXT]);

/** The last ids that came by, the newest first, each once: how many there are. */
size_t mr_tap_ids(struct mr_tap *tap, char out[MR_TAP_IDS][MR_TAP_ID]);

/** The highest offset of the rows that were taken; -1: none was. */
int64_t mr_tap_offset(struct mr_tap *tap);

#endif
