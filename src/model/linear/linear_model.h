/** What the model types linear and logistic share: one dense layer in tensors `weight` and `bias`, and how it learns.
 */
#ifndef MR_MODEL_LINEAR_MODEL_H
#define MR_MODEL_LINEAR_MODEL_H

#include "kernels/linear_score/linear_score.h"
#include "modelfile/model_file.h"

/** How the two types differ. */
struct mr_linear_kind {
    const char *type;
    mr_activation single, multiple; /* with one output, and with more */
    bool is_classifier;
};

typedef enum { MR_LINEAR_PLAIN, MR_LINEAR_SPARK } mr_linear_compat;

/** Options of both; each type's table names those that it has. */
struct mr_linear_options {
    bool learn;
    int loss; /* mr_loss; linear only */
    double delta;
    double step;
    int schedule; /* mr_step_kind */
    double beta, l1, l2;
    int64_t classes; /* logistic: 2 is one output */
    int compat;      /* mr_linear_compat */
    int64_t iterations;
    double tolerance;
    bool intercept;
    bool standardise;
};

/** Names of mr_step_kind and mr_linear_compat, for the tables. */
extern const char *const mr_linear_schedules[], *const mr_linear_compats[];

/** Rows of an option table that both types have, in the order of struct mr_linear_options. */
#define MR_LINEAR_AT(field) offsetof(struct mr_linear_options, field)
#define MR_LINEAR_LEARN_ROWS                                                                                           \
    {.key = "step",                                                                                                    \
     .type = MR_OPT_DOUBLE,                                                                                            \
     .offset = MR_LINEAR_AT(step),                                                                                     \
     .fallback = "0.1",                                                                                                \
     .min = 1e-15,                                                                                                     \
     .max = 1e6,                                                                                                       \
     .doc = "Size of a step along the mean gradient of a batch."},                                                     \
        {.key = "schedule",                                                                                            \
         .type = MR_OPT_ENUM,                                                                                          \
         .offset = MR_LINEAR_AT(schedule),                                                                             \
         .fallback = "constant",                                                                                       \
         .choices = mr_linear_schedules,                                                                               \
         .doc = "How steps shrink: constant; sqrt: step / sqrt(batches); adagrad: by each weight's own gradients so "  \
                "far; ftrl: FTRL-proximal, step is its alpha."},                                                       \
        {.key = "beta",                                                                                                \
         .type = MR_OPT_DOUBLE,                                                                                        \
         .offset = MR_LINEAR_AT(beta),                                                                                 \
         .fallback = "1",                                                                                              \
         .min = 0,                                                                                                     \
         .max = 1e6,                                                                                                   \
         .doc = "FTRL: the larger, the smaller the first steps."},                                                     \
        {.key = "l1",                                                                                                  \
         .type = MR_OPT_DOUBLE,                                                                                        \
         .offset = MR_LINEAR_AT(l1),                                                                                   \
         .min = 0,                                                                                                     \
         .max = 1e6,                                                                                                   \
         .doc = "L1 penalty on the weights, the bias left out: small weights become 0."},                              \
        {.key = "l2",                                                                                                  \
         .type = MR_OPT_DOUBLE,                                                                                        \
         .offset = MR_LINEAR_AT(l2),                                                                                   \
         .min = 0,                                                                                                     \
         .max = 1e6,                                                                                                   \
         .doc = "L2 penalty on the weights, the bias left out."},                                                      \
        {.key = "compat",                                                                                              \
         .type = MR_OPT_ENUM,                                                                                          \
         .offset = MR_LINEAR_AT(compat),                                                                               \
         .fallback = "none",                                                                                           \
         .choices = mr_linear_compats,                                                                                 \
         .doc = "spark: learns a batch as Spark's streaming class does, in float64: iterations full gradients, "       \
                "step / sqrt(i) from 1 again for each batch."},                                                        \
        {.key = "iterations",                                                                                          \
         .type = MR_OPT_INT,                                                                                           \
         .offset = MR_LINEAR_AT(iterations),                                                                           \
         .fallback = "50",                                                                                             \
         .min = 1,                                                                                                     \
         .max = 100000,                                                                                                \
         .doc = "With compat spark: numIterations."},                                                                  \
        {.key = "tolerance",                                                                                           \
         .type = MR_OPT_DOUBLE,                                                                                        \
         .offset = MR_LINEAR_AT(tolerance),                                                                            \
         .fallback = "0.001",                                                                                          \
         .min = 0,                                                                                                     \
         .max = 1,                                                                                                     \
         .doc = "With compat spark: convergenceTol."},                                                                 \
        {.key = "intercept",                                                                                           \
         .type = MR_OPT_BOOL,                                                                                          \
         .offset = MR_LINEAR_AT(intercept),                                                                            \
         .doc = "With compat spark: setIntercept(true), a bias that starts at 1 with every batch. Without compat a "   \
                "bias is always learned, and kept."},                                                                  \
    {                                                                                                                  \
        .key = "standardise", .type = MR_OPT_BOOL, .offset = MR_LINEAR_AT(standardise),                                \
        .doc = "Learn in features less their running mean, divided by their running standard deviation, so that one "  \
               "step fits all of them. The first batch gives the first of both. The model still reads features as "    \
               "they are; where a mean is hundreds of deviations away from 0, a scaler before it (input) keeps more "  \
               "digits."                                                                                               \
    }

/** Opens a model of this kind. table: the type's options, for their defaults. Otherwise as mr_model_ops.open, whose
 * work this is. */
mr_status mr_linear_model_open(const struct mr_linear_kind *kind, const struct mr_option *table,
                               const struct mr_model_open *open, struct mr_model **model_out, struct mr_err *err);

/** The other entries of mr_model_ops for what mr_linear_model_open opened. */
const struct mr_model_info *mr_linear_model_info(const struct mr_model *model);
mr_op mr_linear_model_op(const struct mr_model *model, const void **params_out);
const struct mr_learn_ops *mr_linear_model_learn(const struct mr_model *model);
void mr_linear_model_close(struct mr_model *model);

#endif
