/** L-BFGS (Nocedal 1980; Nocedal and Wright 2006, algorithms 7.4 and 7.5) with a strong Wolfe line search (3.5, 3.6).
 */
#ifndef MR_FIT_LBFGS_H
#define MR_FIT_LBFGS_H

#include <stdatomic.h>
#include <stddef.h>

#include "millrace/status.h"

struct mr_lbfgs {
    size_t count;  /* of what is sought */
    size_t memory; /* pairs that are kept; 10 is usual */
    size_t iterations_max;
    double gradient_tolerance; /* it ends when no entry of the gradient is larger, in magnitude */
    double loss_tolerance;     /* or when three steps in a row lower the loss by less than this share of it */
    double noise; /* the share of the loss that it may be off by: a step up of so much is taken where the slope falls
                     (after Hager and Zhang 2005, "approximate Wolfe"): float32 sums give better slopes than losses */
    /* Loss and gradient [count] at w. An error ends the search. */
    mr_status (*evaluate)(void *context, const double *w, double *loss_out, double *gradient, struct mr_err *err);
    /* After each iteration, with the loss there; NULL: nobody asks. False: it is to end here. */
    int (*iterated)(void *context, size_t iteration, const double *w, double loss);
    void *context;
};

struct mr_lbfgs_end {
    double loss;
    size_t iterations, evaluations;
    enum {
        MR_LBFGS_CONVERGED,
        MR_LBFGS_ITERATIONS,
        MR_LBFGS_STOPPED,
        MR_LBFGS_STUCK
    } why; /* STUCK: no step goes down */
};

/** Lowers the loss from w[count], in place, and leaves there where it ended: the lowest point, but for noise.
 * MR_ENOMEM, or as evaluate. */
mr_status mr_lbfgs_run(const struct mr_lbfgs *lbfgs, double *w, struct mr_lbfgs_end *end_out, struct mr_err *err);

#endif
