/** `millrace eval` in parts: eval.c reads and scores, eval_print.c says what came out, as text or JSON,
 * eval_svg.c draws it. */
#ifndef MR_CLI_EVAL_H
#define MR_CLI_EVAL_H

#include "evaluate/class_sums.h"
#include "evaluate/number_sums.h"
#include "evaluate/rank_sums.h"
#include "scoring/scorer.h"

/** How a model is judged. */
typedef enum {
    EVAL_CLASSES,
    EVAL_NUMBERS,
    EVAL_CLUSTERS, /* by the distances to the nearest centre */
    EVAL_RATINGS,  /* numbers, and the lists that they make */
} eval_kind;

/** Everything that is said about a model on some data. */
struct eval_result {
    const char *model, *data, *backend;
    const struct mr_model_info *info;
    eval_kind kind;
    uint64_t rows;    /* that count */
    uint64_t skipped; /* bad ones */
    uint64_t unknown; /* whose label the model does not know */
    uint64_t unfit;   /* for which the model gave no number */
    double seconds;
    struct mr_class_sums classes;
    struct mr_class_metrics class_metrics;
    struct mr_class_metric *class_metric; /* [class_count] */
    struct mr_number_sums numbers;
    struct mr_number_metrics number_metrics;
    struct mr_rank_sums ranks;
    struct mr_rank_metrics rank_metrics;
    size_t top;             /* of the lists */
    double relevant;        /* the rating from which on an item is */
    uint64_t strangers;     /* rows of users that the model does not know: in no list */
    double inertia;         /* sum of the squared distances */
    uint64_t *cluster_rows; /* [class_count] */
};

/** The name of a class: the model's, or its index, written to text. */
#define EVAL_NAME_BYTES 24
const char *mr_eval_class_name(const struct mr_model_info *info, size_t k, char text[EVAL_NAME_BYTES]);

void mr_eval_print(const struct eval_result *result);
mr_status mr_eval_print_json(const struct eval_result *result, struct mr_err *err);

/** Draws confusion.svg, calibration.svg and roc.svg of a classifier into a folder, which is made if need be. MR_EIO;
 * MR_EUSAGE: the model is no classifier. */
mr_status mr_eval_draw(const struct eval_result *result, const char *folder, struct mr_err *err);

#endif
