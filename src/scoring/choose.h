/** "backend": "auto": the job's own models are timed on everything that starts, and the best way to run them is taken.
 */
#ifndef MR_SCORING_CHOOSE_H
#define MR_SCORING_CHOOSE_H

#include "scoring/models.h"

#define MR_CHOOSE_SIZES 4

/** What one backend takes for the models of a job. */
struct mr_candidate {
    char name[128];                 /* as it describes itself, or its name when it does not start */
    double row_ns[MR_CHOOSE_SIZES]; /* sum over the models; 0: not measured */
    char reason[MR_ERR_TEXT_BYTES]; /* why it was not measured; "": it was */
};

/** What follows from the measurements. */
struct mr_choice {
    size_t device;     /* index of the candidate that takes large batches; MR_NO_UNIT: the CPU takes all */
    size_t rows_min;   /* and from how many rows on */
    char because[256]; /* one line for the log */
};

/** The batch sizes that are measured, ascending, none above row_cap; returns their count. */
size_t mr_choose_sizes(size_t row_cap, size_t sizes_out[MR_CHOOSE_SIZES]);

/**
 * Times the models of a job, opened, on an opened backend. seconds: for all sizes and models; a backend whose own
 * set-up takes longer is measured at fewer sizes, the largest first. want: as mr_models_plan.
 */
void mr_choose_measure(const struct mr_models *models, const struct mr_backend_ops *ops, struct mr_backend *backend,
                       const size_t *sizes, size_t size_count, const unsigned *want, double seconds,
                       struct mr_candidate *candidate_out);

/**
 * Chooses: candidate 0 is the CPU, of which `lanes` work side by side while a device is one for all. A device must be
 * faster by a tenth at the largest size; it then takes batches from the smallest size on at which one of its batches is
 * done before the CPU's. Pure.
 */
void mr_choose_decide(const struct mr_candidate *candidates, size_t count, const size_t *sizes, size_t size_count,
                      unsigned lanes, struct mr_choice *choice_out);

/**
 * Measures all backends of the build that start, beside the CPU that is open in `units`, within half a second, and puts
 * the chosen one before it. Says in the log what it has chosen and why. A build or machine with nothing but the CPU is
 * not measured at all.
 */
void mr_choose(struct mr_units *units, const struct mr_models *models, size_t row_cap, const unsigned *want);

#endif
