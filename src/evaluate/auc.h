/** The area under a ROC curve, exactly, and the curve. */
#ifndef MR_EVALUATE_AUC_H
#define MR_EVALUATE_AUC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** A score and whether its row is one of those looked for, as a number that sorts by the score. */
uint64_t mr_auc_key(float score, bool is_positive);

/** Share of false and of true positives with all scores from some value on called positive. */
struct mr_roc_point {
    double false_rate, true_rate;
};

/**
 * The probability that a positive row has the higher score of a positive and a negative one, ties counting half: the
 * area under the ROC curve, as roc_auc_score of scikit-learn. NaN when one of the two kinds is missing. Sorts the keys.
 */
double mr_auc(uint64_t *key, size_t count);

/** Points of the curve from (0, 0) to (1, 1) of keys that mr_auc has sorted: at most `cap` (2 or more), spread evenly
 * where there are more. Returns how many; 0 where there is no curve. */
size_t mr_roc_curve(const uint64_t *key, size_t count, struct mr_roc_point *point, size_t cap);

#endif
