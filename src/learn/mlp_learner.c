#include "learn/mlp_learner.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/reference.h"
#include "millrace/batch.h"

#define GUARD_MULTIPLIES 1e6 /* what one look at the loss may cost */
#define GUARD_ROWS_MIN   4
#define HALVINGS         20

bool mr_mlp_learner_init(struct mr_mlp_learner *l, const struct mr_mlp_gradient_params *sum, const double *factor,
                         const struct mr_optimizer_options *options)
{
    const struct mr_mlp_params *const mlp = &sum->mlp;
    *l = (struct mr_mlp_learner){.sum = *sum, .factor = factor, .weights = mr_mlp_weight_count(mlp)};
    l->count = l->weights + mr_mlp_bias_count(mlp);
    l->w = calloc(l->count, sizeof *l->w);
    l->w_before = calloc(l->count, sizeof *l->w_before);
    l->gradient = calloc(l->count, sizeof *l->gradient);
    l->scratch = calloc(l->count - l->weights + mlp->layer[0].in, sizeof *l->scratch);
    const bool is_optimizer = mr_optimizer_init(&l->optimizer, options, l->count, l->weights);
    const bool is_before = mr_optimizer_init(&l->before, options, l->count, l->weights);
    if (!l->w || !l->w_before || !l->gradient || !l->scratch || !is_optimizer || !is_before) return false;
    double *w = l->w, *b = l->w + l->weights;
    for (size_t i = 0; i < mlp->layer_count; i++) {
        const struct mr_mlp_layer *const layer = &mlp->layer[i];
        for (size_t k = 0; k < layer->in * layer->out; k++)
            *w++ = (double)layer->w[k] / (factor && !i ? factor[k % layer->in] : 1);
        for (size_t o = 0; o < layer->out; o++) *b++ = (double)layer->b[o];
    }
    return true;
}

void mr_mlp_learner_deinit(struct mr_mlp_learner *l)
{
    mr_optimizer_deinit(&l->optimizer);
    mr_optimizer_deinit(&l->before);
    free(l->w);
    free(l->w_before);
    free(l->gradient);
    free(l->scratch);
    *l = (struct mr_mlp_learner){0};
}

/* The float32 value of weight k of layer i. */
static double rounded(const struct mr_mlp_learner *l, size_t i, size_t k, double w)
{
    return l->factor && !i ? w * l->factor[k % l->sum.mlp.layer[0].in] : w;
}

void mr_mlp_learner_round(struct mr_mlp_learner *l)
{
    const double *w = l->w, *b = l->w + l->weights;
    for (size_t i = 0; i < l->sum.mlp.layer_count; i++) {
        const struct mr_mlp_layer *const layer = &l->sum.mlp.layer[i];
        float *const to_w = (float *)(uintptr_t)layer->w, *const to_b = (float *)(uintptr_t)layer->b;
        for (size_t k = 0; k < layer->in * layer->out; k++) to_w[k] = (float)rounded(l, i, k, *w++);
        for (size_t o = 0; o < layer->out; o++) to_b[o] = (float)*b++;
    }
}

/* The last layer's logits of one row. */
static const double *logits_of(const struct mr_mlp_learner *l, const double *weights, const float *x, size_t row)
{
    const struct mr_mlp_params *const mlp = &l->sum.mlp;
    const double *w = weights, *b = weights + l->weights;
    double *value = l->scratch;
    for (size_t c = 0; c < mlp->layer[0].in; c++)
        value[c] = (double)x[mr_tile_at(row, c, mlp->layer[0].in)] - (mlp->shift ? (double)mlp->shift[c] : 0);
    for (size_t i = 0; i < mlp->layer_count; i++) {
        const struct mr_mlp_layer *const layer = &mlp->layer[i];
        double *const z = value + layer->in;
        for (size_t o = 0; o < layer->out; o++) {
            z[o] = *b++;
            for (size_t c = 0; c < layer->in; c++) z[o] += rounded(l, i, c, *w++) * value[c];
        }
        if (i + 1 < mlp->layer_count) mr_reference_activate(layer->activation, z, layer->out);
        value = z;
    }
    return value;
}

double mr_mlp_loss(const struct mr_mlp_learner *l, const double *w, const struct mr_learn_rows *rows, size_t rows_max)
{
    const size_t out = l->sum.mlp.layer[l->sum.mlp.layer_count - 1].out;
    double loss = 0;
    size_t count = 0;
    for (size_t row = 0; row < rows->rows && count < rows_max; row++) {
        if (!mr_loss_has_label(l->sum.loss, out, rows->label[row])) continue;
        loss += mr_loss_of_row(l->sum.loss, (double)l->sum.delta, logits_of(l, w, rows->x, row), out, rows->label[row]);
        count++;
    }
    return count ? loss / (double)count : 0;
}

/* Rows that the guard looks at. */
static size_t guard_rows(const struct mr_mlp_learner *l)
{
    const double rows = GUARD_MULTIPLIES / (double)l->weights;
    return rows >= MR_TILE_ROWS ? MR_TILE_ROWS : rows <= GUARD_ROWS_MIN ? GUARD_ROWS_MIN : (size_t)rows;
}

static bool is_finite(const struct mr_mlp_learner *l)
{
    for (size_t i = 0; i < l->count; i++) {
        if (!isfinite((float)l->w[i])) return false;
    }
    return true;
}

/* Whether the weights may replace w_before, whose loss on the guard's rows was `before`. */
static bool has_diverged(struct mr_mlp_learner *l, const double *sums, const struct mr_learn_rows *rows, double before)
{
    const struct mr_guard_loss loss = {.batch = sums[l->count] / sums[l->count + 1],
                                       .before = before,
                                       .after = mr_mlp_loss(l, l->w, rows, guard_rows(l)),
                                       .noise = mr_loss_noise(l->sum.loss, rows)};
    return !is_finite(l) || mr_guard_undoes(&l->guard, &loss);
}

/* The step that would have done; w holds the weights that would not. */
static double step_stable(struct mr_mlp_learner *l, const struct mr_learn_rows *rows, double before)
{
    double step = l->optimizer.options.step;
    for (unsigned k = 0; k < HALVINGS; k++) {
        step /= 2;
        for (size_t i = 0; i < l->count; i++) l->w[i] = (l->w[i] + l->w_before[i]) / 2;
        if (is_finite(l) && mr_mlp_loss(l, l->w, rows, guard_rows(l)) <= before) return step;
    }
    return 0;
}

void mr_mlp_learner_update(struct mr_mlp_learner *l, const double *sums, const struct mr_learn_rows *rows,
                           struct mr_learn_report *report)
{
    const double labelled = sums[l->count + 1];
    const struct mr_mlp_layer *const first = &l->sum.mlp.layer[0];
    *report = (struct mr_learn_report){.loss = sums[l->count], .rows = (uint64_t)labelled};
    if (!(labelled > 0)) return;
    for (size_t i = 0; i < l->count; i++) l->gradient[i] = sums[i] / labelled;
    for (size_t k = 0; l->factor && k < first->in * first->out; k++) l->gradient[k] *= l->factor[k % first->in];
    const double before = mr_mlp_loss(l, l->w, rows, guard_rows(l));
    memcpy(l->w_before, l->w, l->count * sizeof *l->w);
    mr_optimizer_copy(&l->before, &l->optimizer);
    mr_optimizer_step(&l->optimizer, l->w, l->gradient);
    if (has_diverged(l, sums, rows, before)) {
        report->step_stable = isfinite(before) ? step_stable(l, rows, before) : 0;
        memcpy(l->w, l->w_before, l->count * sizeof *l->w);
        mr_optimizer_undo(&l->optimizer, &l->before);
        l->undone_count++;
        report->is_undone = true;
    }
    mr_mlp_learner_round(l);
}
