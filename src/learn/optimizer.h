/** One step from a gradient: SGD with constant, 1/sqrt(i) or AdaGrad steps, FTRL-proximal, Adam; L1 and L2. */
#ifndef MR_LEARN_OPTIMIZER_H
#define MR_LEARN_OPTIMIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum {
    MR_STEP_CONSTANT, /* step */
    MR_STEP_SQRT,     /* step / sqrt(i), i the number of the update from 1 */
    MR_STEP_ADAGRAD,  /* step / sqrt(sum of g^2 of this weight so far, + 1e-10) (Duchi et al. 2011) */
    MR_STEP_FTRL,     /* FTRL-proximal (McMahan et al. 2013, algorithm 1): step is alpha */
    MR_STEP_ADAM,     /* Adam (Kingma and Ba 2015, the last lines of section 2): betas 0.9 and 0.999, epsilon 1e-8 */
} mr_step_kind;

struct mr_optimizer_options {
    mr_step_kind kind;
    double step;   /* > 0 */
    double beta;   /* FTRL only: >= 0; the larger, the smaller the first steps */
    double l1, l2; /* >= 0; the bias is not regularised */
};

/** State of `count` weights of which the first `regularised` are regularised (the rest are biases). Not thread-safe. */
struct mr_optimizer {
    struct mr_optimizer_options options;
    size_t count, regularised;
    uint64_t updates;
    double *z, *n; /* [count] FTRL: z and n; AdaGrad: n the sum of squares; Adam: its moments m and v */
};

/** Zeroed state. False: out of memory, and deinit may still be called. */
bool mr_optimizer_init(struct mr_optimizer *optimizer, const struct mr_optimizer_options *options, size_t count,
                       size_t regularised);
void mr_optimizer_deinit(struct mr_optimizer *optimizer);

/**
 * Moves w[count] by the gradient g[count] of the mean loss. SGD: w -= eta * (g + l2 * w), then towards 0 by eta * l1 (a
 * proximal step: weights become exactly 0). FTRL keeps z and n for each weight and gives w from
 * them; its first update takes z from w, so that a model from elsewhere is gone on from.
 */
void mr_optimizer_step(struct mr_optimizer *optimizer, double *w, const double *g);

/** Copies the state, so that an update can be undone. Both were made with the same options and count. */
void mr_optimizer_copy(struct mr_optimizer *to, const struct mr_optimizer *from);

/**
 * The state as it was before a step that was undone; but with MR_STEP_SQRT the step counts, so that the next is
 * smaller, and the momentum of MR_STEP_ADAM is dropped: it would lead there again.
 */
void mr_optimizer_undo(struct mr_optimizer *optimizer, const struct mr_optimizer *before);

#endif
