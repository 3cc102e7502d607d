/** When a step is undone: what all learners that follow a gradient ask after each of them. */
#ifndef MR_LEARN_GUARD_H
#define MR_LEARN_GUARD_H

#include <stdbool.h>
#include <stdint.h>

#include "learn/loss.h"

/** What a learner remembers of the losses so far. Zeroed: of none. A model that is stored keeps
 * it (modelfile/optimizer_file.h). */
struct mr_guard {
    double level;     /* natural logarithm of the usual loss of a batch before its step */
    uint64_t batches; /* that it was taken from */
    unsigned worse;   /* steps in a row that led further away */
};

/** The loss around a step. */
struct mr_guard_loss {
    double batch;         /* mean over the whole batch, before the step */
    double before, after; /* mean over the rows that the guard looks at */
    double noise;         /* a loss below this is none */
};

/**
 * Whether the step is to be undone. It is when the loss after it is not finite, or more than four times that before and
 * more than usual. It is, too, when it led away slowly: the batch's loss was already more than four times the usual,
 * the step made its own rows still worse, and so did the two before it (or the loss is a thousand times the usual). A
 * step that is stable lowers the loss of its own rows, however far a stream has drifted; that is what tells the two
 * apart. The usual loss follows the stream up slowly, and only by steps that did their rows good.
 */
bool mr_guard_undoes(struct mr_guard *guard, const struct mr_guard_loss *loss);

#endif
