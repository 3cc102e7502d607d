/**
 * What lanes let be seen of their work while somebody watches: now and then a row with its predictions, what models
 * have learned, and the last dead letters. A lane that finds the tap in use goes on without: it never waits.
 */
#ifndef MR_METRICS_TAP_H
#define MR_METRICS_TAP_H

#include <stdbool.h>

#include "scoring/models.h"

#define MR_TAP_FEATURES 8   /* the first ones of a row */
#define MR_TAP_MODELS   4   /* the first ones of a job */
#define MR_TAP_NUMBERS  128 /* of a model, the first ones */
#define MR_TAP_POINTS   2048
#define MR_TAP_DEAD     64
#define MR_TAP_TEXT     96

/** What a model said of a row. */
struct mr_tap_answer {
    float y;             /* its first output; NaN: nobody wants it */
    int32_t class_index; /* -1: none */
};

/** A row that was scored. */
struct mr_tap_point {
    int64_t time_ms; /* when it was */
    int64_t offset;
    int32_t partition;
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

/** What a model consists of, as far as it can be drawn: weights [rows][cols], centres [rows][cols]. */
struct mr_tap_numbers {
    size_t rows, cols; /* 0: nothing that could be drawn; rows * cols <= MR_TAP_NUMBERS, the first ones */
    float value[MR_TAP_NUMBERS];
    float bias[MR_TAP_NUMBERS]; /* [rows] of a linear model */
    uint64_t version;
};

struct mr_tap;

/** points_per_s: rows that are taken, over all lanes. On error *tap_out is NULL. */
mr_status mr_tap_create(unsigned points_per_s, struct mr_tap **tap_out, struct mr_err *err);
void mr_tap_destroy(struct mr_tap *tap); /* accepts NULL */

/** On a lane's thread: rows that were scored, before anything is learned from them. message: of the rows' batch. */
void mr_tap_rows(struct mr_tap *tap, const struct mr_models *models, const struct mr_rows *rows,
                 const struct mr_scores *scores, const struct mr_message *message);

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
void mr_tap_numbers(struct mr_tap *tap, size_t model, struct mr_tap_numbers *out);

#endif
