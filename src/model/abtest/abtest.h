/** An A/B test as a model: what its parts share. abtest.c is the model, plan.c what is tested and how, record.c reads
 * and sums records, file.c stores, words.c tells. */
#ifndef MR_MODEL_ABTEST_ABTEST_H
#define MR_MODEL_ABTEST_ABTEST_H

#include "base/intern.h"
#include "kernels/linear_score/linear_score.h"
#include "learn/ab_test.h"
#include "millrace/model.h"
#include "modelfile/model_file.h"

#define MR_ABTEST_WINDOW_MAX 4096

/** A mismatch of the ratio is warned of below this p, which is small because it is looked at after each batch. */
#define MR_ABTEST_MISMATCH 0.0005

struct mr_abtest_options {
    bool learn;
    struct mr_strings arms; /* their names; none: they are numbers */
    int64_t arm_count;      /* -1: not given */
    char *ratio;
    int64_t window, peace_period;
    int method, comparisons; /* of mr_abtest_methods; mr_ab_comparisons */
    double alpha, tightest_at;
};

extern const char *const mr_abtest_methods[];     /* "welch", "student" */
extern const char *const mr_abtest_comparisons[]; /* as mr_ab_comparisons */

/** What is tested, and how. */
struct mr_abtest_plan {
    struct mr_ab_rule rule;
    char *name[MR_AB_ARMS_MAX];   /* [rule.arms]: "0", "1" where arms are numbers */
    double share[MR_AB_ARMS_MAX]; /* [rule.arms] of the records, of any sum */
    bool is_named;                /* records say the names */
    bool has_label;               /* the value is the label, not the second feature */
    size_t window, peace_period;
};

/**
 * A plan of a job's options (NULL: none were given), a model file (NULL: none) and what the model will read. The file
 * says which arms there are, whether the value is the label, and without options all the rest. Errors as
 * mr_model_ops.open; then deinit may be called.
 */
mr_status mr_abtest_plan_make(struct mr_abtest_plan *plan, const struct mr_abtest_options *options,
                              const struct mr_safetensors *file, const struct mr_model_open *open, struct mr_err *err);
void mr_abtest_plan_deinit(struct mr_abtest_plan *plan);

/** The plan as JSON text, to be freed with cJSON_free; NULL: no memory. */
char *mr_abtest_plan_print(const struct mr_abtest_plan *plan);

/** The names of the arms in their order, likewise: what tells how records are read. */
char *mr_abtest_arms_print(const struct mr_abtest_plan *plan);

struct mr_model {
    struct mr_abtest_plan plan;
    bool learns;
    struct mr_model_meta meta;
    struct mr_model_info info;
    struct mr_linear_params params; /* no weights, and as bias what has been found: the same for every row */
    float *weight, *bias;
    struct mr_intern names;
    char **output; /* [info.width]: names of what is found */
    char *reading; /* of info */
    /* State: sums since the peace period; those of the last batches, a ring [window][arms]; counts. */
    struct mr_arm all[MR_AB_ARMS_MAX];
    struct mr_arm *window;
    size_t window_next, window_count;
    double batches;       /* that it has seen */
    double held, unknown; /* rows that do not count: of the peace period; without an arm or a value */
    /* Worked out of that. */
    struct mr_arm recent[MR_AB_ARMS_MAX]; /* what the fixed test is about */
    struct mr_ab_result result[MR_AB_ARMS_MAX];
    double mismatch;
    double mismatch_told; /* p of the last warning; 0: none yet */
};

/** Works out what the sums say, and puts it where rows are scored from. */
void mr_abtest_refresh(struct mr_model *model);

/** [info.width]: what the next rows get, in double. */
void mr_abtest_values(const struct mr_model *model, double *values);

/** mr_model_ops.read: the arm by its name, and the value where that is a feature. */
mr_reason mr_abtest_read(const struct mr_model *model, const struct mr_text *feature, float *x, void *scratch,
                         size_t *feature_out);
size_t mr_abtest_read_bytes(void);

/** mr_learn_ops.update and store. */
void mr_abtest_update(struct mr_model *model, const struct mr_learn_batch *batch, struct mr_learn_report *report_out);
mr_status mr_abtest_store(const struct mr_model *model, struct mr_blob *out, struct mr_err *err);

/** The sums of a file. The model has its plan and its window. */
mr_status mr_abtest_sums_read(struct mr_model *model, const struct mr_safetensors *file, struct mr_err *err);

/** mr_model_ops.found. */
void mr_abtest_found(const struct mr_model *model, char *text, size_t bytes, double *values);

/** Warns of a mismatch of the ratio: once, and again when p has twice as many zeros. */
void mr_abtest_mismatch_warn(struct mr_model *model);

#endif
