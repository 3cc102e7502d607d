/**
 * How good predictions were, for rows that have a label: the same measure for all models of a job, whether they learn
 * or not, so that a champion and its challengers can be read side by side. Taken of what was predicted before a model
 * learned from the row.
 */
#ifndef MR_SCORING_LOSSES_H
#define MR_SCORING_LOSSES_H

#include <stdatomic.h>

#include "config/job.h"

/** What a label says about a model's output. */
typedef enum {
    MR_JUDGED_NOT,     /* no label in the job, or outputs that no label is about: distances, items, features */
    MR_JUDGED_NUMBER,  /* squared error */
    MR_JUDGED_CLASSES, /* log loss, and how often the class is right */
} mr_judged;

/** The least probability that counts, as in scikit-learn for float32: that of a label which was given none. */
#define MR_LOSS_PROBABILITY_MIN 1.1920929e-07

/** Of one model; all lanes add to it, any thread reads. */
struct mr_losses {
    _Atomic uint64_t rows;     /* that had a label which counts */
    _Atomic double loss;       /* sum over them: (y - label)^2, or -log of the label's probability */
    _Atomic double loss_batch; /* mean of the last batch that had such rows */
    _Atomic uint64_t unfit; /* rows apart from those: the loss is not finite, or the label is no class of the model */
    _Atomic uint64_t right; /* rows whose class is the label; MR_JUDGED_CLASSES */
};

/** How this model can be judged in this job. */
mr_judged mr_losses_kind(const struct mr_job *job, const struct mr_model_info *info);

/** What mr_losses_take needs the model to compute, as bits MR_WANT_... */
unsigned mr_losses_want(mr_judged judged);

/**
 * Adds a batch. label: [rows]; NaN: the row does not count; a class that the model does not have, or a loss that is not
 * finite: it is counted apart, so that one overflow does not hide the mean of the others. Sums are double
 * and in the order of the rows; batches of several lanes are added as they come.
 */
void mr_losses_take(struct mr_losses *losses, mr_judged judged, const struct mr_model_info *info,
                    const struct mr_scores *scores, const double *label, size_t rows);

#endif
