#include "learn/optimizer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define ADAGRAD_FLOOR 1e-10
#define ADAM_BETA1    0.9
#define ADAM_BETA2    0.999
#define ADAM_EPSILON  1e-8

bool mr_optimizer_init(struct mr_optimizer *optimizer, const struct mr_optimizer_options *options, size_t count,
                       size_t regularised)
{
    *optimizer = (struct mr_optimizer){.options = *options, .count = count, .regularised = regularised};
    optimizer->z = calloc(count, sizeof *optimizer->z);
    optimizer->n = calloc(count, sizeof *optimizer->n);
    return optimizer->z && optimizer->n;
}

void mr_optimizer_deinit(struct mr_optimizer *optimizer)
{
    free(optimizer->z);
    free(optimizer->n);
    *optimizer = (struct mr_optimizer){0};
}

void mr_optimizer_copy(struct mr_optimizer *to, const struct mr_optimizer *from)
{
    to->updates = from->updates;
    memcpy(to->z, from->z, from->count * sizeof *to->z);
    memcpy(to->n, from->n, from->count * sizeof *to->n);
}

void mr_optimizer_undo(struct mr_optimizer *optimizer, const struct mr_optimizer *before)
{
    const uint64_t updates = optimizer->updates;
    mr_optimizer_copy(optimizer, before);
    if (optimizer->options.kind == MR_STEP_SQRT) optimizer->updates = updates;
    if (optimizer->options.kind == MR_STEP_ADAM) memset(optimizer->z, 0, optimizer->count * sizeof *optimizer->z);
}

/* McMahan et al., "Ad Click Prediction: a View from the Trenches" (2013), algorithm 1, per coordinate. */
static void ftrl_step(struct mr_optimizer *o, double *w, const double *g)
{
    const double alpha = o->options.step, beta = o->options.beta;
    for (size_t i = 0; i < o->count; i++) {
        const double l1 = i < o->regularised ? o->options.l1 : 0, l2 = i < o->regularised ? o->options.l2 : 0;
        /* A first update: z as it would be with these weights, so that they are gone on from. */
        if (o->updates == 1 && w[i] != 0) o->z[i] = -w[i] * (beta / alpha + l2) - copysign(l1, w[i]);
        const double next = o->n[i] + g[i] * g[i], sigma = (sqrt(next) - sqrt(o->n[i])) / alpha;
        o->z[i] += g[i] - sigma * w[i];
        o->n[i] = next;
        w[i] = fabs(o->z[i]) <= l1 ? 0 : (copysign(l1, o->z[i]) - o->z[i]) / ((beta + sqrt(next)) / alpha + l2);
    }
}

/* L2 joins the gradient before the moments are taken, as scikit-learn and PyTorch's Adam do it. */
static void adam_step(struct mr_optimizer *o, double *w, const double *g)
{
    const double t = (double)o->updates;
    const double step = o->options.step * sqrt(1 - pow(ADAM_BETA2, t)) / (1 - pow(ADAM_BETA1, t));
    for (size_t i = 0; i < o->count; i++) {
        const bool is_regularised = i < o->regularised;
        const double slope = g[i] + (is_regularised ? o->options.l2 * w[i] : 0);
        o->z[i] = ADAM_BETA1 * o->z[i] + (1 - ADAM_BETA1) * slope;
        o->n[i] = ADAM_BETA2 * o->n[i] + (1 - ADAM_BETA2) * slope * slope;
        w[i] -= step * o->z[i] / (sqrt(o->n[i]) + ADAM_EPSILON);
        if (is_regularised && o->options.l1 > 0) w[i] = copysign(fmax(fabs(w[i]) - step * o->options.l1, 0), w[i]);
    }
}

void mr_optimizer_step(struct mr_optimizer *o, double *w, const double *g)
{
    const double step = o->options.step / (o->options.kind == MR_STEP_SQRT ? sqrt((double)(o->updates + 1)) : 1);
    o->updates++;
    if (o->options.kind == MR_STEP_FTRL) {
        ftrl_step(o, w, g);
        return;
    }
    if (o->options.kind == MR_STEP_ADAM) {
        adam_step(o, w, g);
        return;
    }
    for (size_t i = 0; i < o->count; i++) {
        const bool is_regularised = i < o->regularised;
        const double slope = g[i] + (is_regularised ? o->options.l2 * w[i] : 0);
        double eta = step;
        if (o->options.kind == MR_STEP_ADAGRAD) {
            o->n[i] += slope * slope;
            eta /= sqrt(o->n[i] + ADAGRAD_FLOOR);
        }
        w[i] -= eta * slope;
        if (is_regularised && o->options.l1 > 0) w[i] = copysign(fmax(fabs(w[i]) - eta * o->options.l1, 0), w[i]);
    }
}
