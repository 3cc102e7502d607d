#include "learn/kmeans_learner.h"

#include <math.h>
#include <stdlib.h>

#define DYING_SHARE 1e-8
#define SPLIT_SHARE 1e-14
#define WEIGHT_MIN  1e-16

bool mr_kmeans_learner_init(struct mr_kmeans_learner *learner, size_t k, size_t cols)
{
    *learner = (struct mr_kmeans_learner){.k = k, .cols = cols, .decay = 1};
    learner->center = calloc(k * cols, sizeof *learner->center);
    learner->weight = calloc(k, sizeof *learner->weight);
    return learner->center && learner->weight;
}

void mr_kmeans_learner_deinit(struct mr_kmeans_learner *learner)
{
    free(learner->center);
    free(learner->weight);
    *learner = (struct mr_kmeans_learner){0};
}

double mr_decay_of_half_life(double half_life)
{
    return exp(log(0.5) / half_life);
}

/* The heaviest gives half of its weight to the lightest, which moves beside it. */
static void dying_split(struct mr_kmeans_learner *l)
{
    size_t heavy = 0, light = 0;
    for (size_t i = 1; i < l->k; i++) {
        if (l->weight[i] > l->weight[heavy]) heavy = i;
        if (l->weight[i] < l->weight[light]) light = i;
    }
    if (!(l->weight[light] < DYING_SHARE * l->weight[heavy])) return;
    l->weight[heavy] = l->weight[light] = (l->weight[heavy] + l->weight[light]) / 2;
    for (size_t c = 0; c < l->cols; c++) {
        const double at = l->center[heavy * l->cols + c], part = SPLIT_SHARE * fmax(fabs(at), 1);
        l->center[heavy * l->cols + c] = at + part;
        l->center[light * l->cols + c] = at - part;
    }
    l->split_count++;
}

void mr_kmeans_learner_update(struct mr_kmeans_learner *l, const double *count, const double *sum)
{
    double points = 0;
    for (size_t i = 0; i < l->k; i++) points += count[i];
    const double discount = l->unit == MR_DECAY_BATCHES ? l->decay : pow(l->decay, points);
    for (size_t i = 0; i < l->k; i++) {
        l->weight[i] *= discount;
        if (!(count[i] > 0)) continue;
        l->weight[i] += count[i];
        /* As Spark computes it, so that the bits agree: a step of share towards the mean of the batch. */
        const double share = count[i] / fmax(l->weight[i], WEIGHT_MIN);
        for (size_t c = 0; c < l->cols; c++) {
            double *const at = &l->center[i * l->cols + c];
            *at = (1 - share) * *at + share / count[i] * sum[i * l->cols + c];
        }
    }
    dying_split(l);
}
