/**
 * One batch as Spark's StreamingLinearRegressionWithSGD and StreamingLogisticRegressionWithSGD learn it, update for
 * update, in float64 (mllib/optimization/GradientDescent.scala with SimpleUpdater and SquaredL2Updater;
 * miniBatchFraction 1).
 */
#ifndef MR_LEARN_LINEAR_SPARK_H
#define MR_LEARN_LINEAR_SPARK_H

#include "learn/linear_learner.h"

struct mr_spark_options {
    double step;         /* 0.1 there; divided by sqrt(i), i = 1 .. iterations, from 1 again for each batch */
    uint32_t iterations; /* 50 there: full gradients a batch */
    double tolerance;    /* 0.001 there: |w_i - w_(i-1)| < tolerance * max(|w_i|, 1) ends the batch */
    double l2;           /* logistic: regParam */
    bool is_logistic;    /* gradient of the log loss; else of (w.x - y)^2 / 2 */
    bool has_intercept;  /* setIntercept(true): a bias that starts at 1 with every batch */
};

/**
 * Learns w[cols] and, with an intercept, *b_inout (set to 1 first; else left alone) from the rows with a label.
 * scratch: [2 * (cols + 1)]. Returns the iterations done; 0 without rows.
 */
uint32_t mr_linear_spark_update(const struct mr_spark_options *options, size_t cols, const struct mr_learn_rows *rows,
                                double *w, double *b_inout, double *scratch);

#endif
