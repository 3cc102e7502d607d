/**
 * Multi-layer perceptrons over rows in memory; a linear or logistic regression is one of a single layer. Their gradient
 * comes from the kernels that learn on a stream; weights are float64.
 */
#ifndef MR_FIT_NETWORK_H
#define MR_FIT_NETWORK_H

#include <stdatomic.h>

#include "fit/crew.h"
#include "kernels/mlp_gradient/mlp_gradient.h"
#include "table/table.h"

#define MR_NETWORK_LAYERS_MAX 32

struct mr_network {
    struct mr_mlp_gradient_params params;
    struct mr_mlp_layer layer[MR_NETWORK_LAYERS_MAX];
    size_t weights, count; /* weights; and biases, too */
    double *w;             /* [count]: all weights layer by layer, each [out][in], then all biases */
    float *rounded;        /* the same, as the kernels read them */
};

/**
 * sizes: [layer_count + 1], inputs first. hidden: activation of all layers but the last; loss MR_LOSS_LOG: the last one
 * is a sigmoid with one output, softmax with several; MR_LOSS_SQUARED: the identity with one. Weights start as Glorot
 * and Bengio (2010) have them, uniform within sqrt(6 / (in + out)), a sigmoid's with 2 in place of 6, as scikit-learn;
 * a single layer starts from 0. MR_ENOMEM; deinit whatever the outcome.
 */
mr_status mr_network_init(struct mr_network *network, const size_t *sizes, size_t layer_count, mr_activation hidden,
                          mr_loss loss, uint64_t seed, struct mr_err *err);
void mr_network_deinit(struct mr_network *network);

typedef enum { MR_SOLVER_ADAM, MR_SOLVER_LBFGS } mr_solver;

/** How to fit one. */
struct mr_network_fit {
    mr_solver solver;
    const struct mr_matrix *train;
    const struct mr_matrix *validation; /* NULL, or no rows: it goes on to epochs_max */
    size_t epochs_max;                  /* iterations of L-BFGS */
    size_t batch_rows;                  /* Adam: rows of a step, in whole tiles */
    double step;                        /* Adam */
    double l2;        /* l2 / 2 times the sum of squared weights (no biases) is added to the mean loss */
    double tolerance; /* less is no gain: of the loss, as a share of it */
    size_t patience;  /* epochs without gain until it ends; 0: it does not */
    uint64_t seed;
    const _Atomic bool *is_stopped;
    void (*stepped)(void *context, size_t epoch, double loss, double validation_loss); /* after an epoch; may be NULL */
    void *context;
};

struct mr_network_end {
    size_t epochs, best_epoch;
    double loss, validation_loss; /* of the weights that are kept; the latter NaN where nothing is held out */
    enum { MR_FIT_CONVERGED, MR_FIT_EPOCHS, MR_FIT_STOPPED } why;
};

/**
 * Lowers the loss. What is kept are the weights of the lowest validation loss, or where nothing is held out the last
 * ones. The same input gives the same bits on the same kind of backend. MR_EDATA: the loss is not finite any more.
 */
mr_status mr_network_fit(struct mr_crew *crew, struct mr_network *network, const struct mr_network_fit *fit,
                         struct mr_network_end *end_out, struct mr_err *err);

/** How good it is on rows. */
struct mr_network_score {
    double loss;        /* mean: log loss, or half the squared error */
    double rows, right; /* right: rows whose class is the label's */
    double *confusion;  /* [classes][classes], by label then class; NULL: not asked for */
    double label_sum, label_squares;
};

/** confusion: NULL, or room for it, which score_out then points to. A regression has no right and no confusion. */
mr_status mr_network_score(struct mr_crew *crew, const struct mr_network *network, const struct mr_matrix *rows,
                           double *confusion, struct mr_network_score *score_out, struct mr_err *err);

/** Classes that it tells apart; 0 of a regression. */
size_t mr_network_class_count(const struct mr_network *network);

#endif
