/**
 * How good a classifier is, summed over rows: what scikit-learn calls accuracy_score, balanced_accuracy_score,
 * log_loss, brier_score_loss, roc_auc_score, confusion_matrix and calibration_curve. Memory does not grow with the
 * rows, but for the scores that the AUC is taken of.
 */
#ifndef MR_EVALUATE_CLASS_SUMS_H
#define MR_EVALUATE_CLASS_SUMS_H

#include "evaluate/auc.h"
#include "millrace/model.h"

/** Bins of the calibration, of equal width; a probability at an edge belongs to the lower one. */
#define MR_BIN_COUNT 10

/** Scores are kept for the AUC up to so many bytes; of more rows there is none. */
#define MR_AUC_BYTES_MAX (1u << 30)

struct mr_bin {
    uint64_t rows, hits;
    double probability; /* sum */
};

struct mr_class_sums {
    size_t class_count;
    bool has_probability;
    uint64_t rows, unfit;            /* unfit: a score was no number; they count for nothing else */
    uint64_t *confusion;             /* [label][prediction], class_count of each */
    double log_loss, brier;          /* sums; brier: of two classes */
    struct mr_bin bin[MR_BIN_COUNT]; /* two classes: of the second one; more: of the class that was predicted */
    size_t kept_cols;                /* two classes: 1, else class_count */
    float *kept;                     /* [rows][kept_cols]; NULL: there were too many */
    int32_t *label;                  /* [rows] */
    size_t kept_cap;                 /* rows */
    bool keeps;
};

/** NaN: not defined, because there is no probability, no row or only one class. */
struct mr_class_metrics {
    double accuracy, balanced_accuracy, macro_f1;
    double
        log_loss; /* nats a row; probabilities within 1.2e-7 of 0 and 1 count as that, as of float32 in scikit-learn */
    double brier; /* two classes only */
    double auc;   /* of more classes: the mean over them, each against all others */
    double calibration_error; /* ECE: mean over the rows of |share of hits - mean probability| of their bins */
};

/** Of one class. NaN where it is not defined. */
struct mr_class_metric {
    double precision, recall, f1, auc;
    uint64_t rows;
};

mr_status mr_class_sums_init(struct mr_class_sums *sums, const struct mr_model_info *info, struct mr_err *err);
/** label: [rows] index of the class. MR_ENOMEM: no room for the scores. */
mr_status mr_class_sums_add(struct mr_class_sums *sums, const struct mr_scores *scores, const int32_t *label,
                            size_t rows, struct mr_err *err);
/** What the sums say. metric: [class_count], for each class. */
mr_status mr_class_sums_end(const struct mr_class_sums *sums, struct mr_class_metrics *metrics,
                            struct mr_class_metric *metric, struct mr_err *err);
/** The curve of one class against the others; as mr_roc_curve. 0 also when memory is short. */
size_t mr_class_sums_curve(const struct mr_class_sums *sums, size_t k, struct mr_roc_point *point, size_t cap);
/** Accepts a zeroed one. */
void mr_class_sums_deinit(struct mr_class_sums *sums);

#endif
