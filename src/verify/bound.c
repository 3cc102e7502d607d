#include "verify/bound.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/kmeans_assign/kmeans_assign.h"
#include "kernels/linear_score/linear_score.h"
#include "kernels/mlp_forward/mlp_forward.h"
#include "kernels/scale/scale.h"

#define EPS          ((double)FLT_EPSILON)
#define WORK_MAX     65536 /* multiplications a row: larger networks have no bound here */
#define FAR_EXPONENT 100   /* beyond it a factor says nothing */

/* Of one model and row. */
struct scored {
    double *off; /* [width] */
    bool is_known;
};

/* A vector on its way through layers. */
struct vector {
    double *value, *off; /* [cap] */
};

struct mr_bound {
    const struct mr_models *models;
    struct scored *model; /* [models->count] */
    struct vector at[2];
    size_t cap;
};

/* The layers of a model; a linear one is a network of one. False: it has none, or too much work. */
static bool layers_of(const struct mr_model_at_work *model, struct mr_mlp_layer *single, struct mr_mlp_params *mlp_out)
{
    const void *params;
    const mr_op op = model->job->ops->op(model->model, &params);
    size_t work = 0;
    if (op == MR_OP_LINEAR_SCORE) {
        const struct mr_linear_params *const linear = params;
        *single = (struct mr_mlp_layer){linear->cols, linear->out, linear->w, linear->b, linear->activation};
        *mlp_out = (struct mr_mlp_params){.layer = single, .layer_count = 1};
    } else if (op == MR_OP_MLP_FORWARD) {
        *mlp_out = *(const struct mr_mlp_params *)params;
    } else {
        return false;
    }
    for (size_t i = 0; i < mlp_out->layer_count; i++) work += mlp_out->layer[i].in * mlp_out->layer[i].out;
    return work <= WORK_MAX;
}

static size_t widest_of(const struct mr_mlp_params *mlp)
{
    size_t widest = 0;
    for (size_t l = 0; l < mlp->layer_count; l++) {
        if (mlp->layer[l].in > widest) widest = mlp->layer[l].in;
        if (mlp->layer[l].out > widest) widest = mlp->layer[l].out;
    }
    return widest;
}

static size_t width_most(const struct mr_models *models)
{
    size_t most = 1;
    for (size_t i = 0; i < models->count; i++) {
        const struct mr_model_at_work *const model = &models->item[i];
        struct mr_mlp_layer single;
        struct mr_mlp_params mlp;
        const size_t widest = layers_of(model, &single, &mlp) ? widest_of(&mlp) : 0;
        if (widest > most) most = widest;
    }
    return most;
}

mr_status mr_bound_create(const struct mr_models *models, struct mr_bound **bound_out, struct mr_err *err)
{
    struct mr_bound *const bound = calloc(1, sizeof *bound);
    bool is_whole = bound;
    *bound_out = NULL;
    if (bound) {
        bound->models = models;
        bound->cap = width_most(models);
        is_whole = (bound->model = calloc(models->count + 1, sizeof *bound->model));
        for (size_t i = 0; i < models->count && is_whole; i++)
            is_whole = (bound->model[i].off = calloc(models->info[i]->width + 1, sizeof(double)));
        for (size_t i = 0; i < 2 && is_whole; i++) {
            bound->at[i].value = calloc(bound->cap, sizeof(double));
            bound->at[i].off = calloc(bound->cap, sizeof(double));
            is_whole = bound->at[i].value && bound->at[i].off;
        }
    }
    if (is_whole) {
        *bound_out = bound;
        return MR_OK;
    }
    mr_bound_destroy(bound);
    return mr_fail(err, MR_ENOMEM, "out of memory");
}

void mr_bound_destroy(struct mr_bound *bound)
{
    if (!bound) return;
    for (size_t i = 0; bound->model && i < bound->models->count; i++) free(bound->model[i].off);
    for (size_t i = 0; i < 2; i++) {
        free(bound->at[i].value);
        free(bound->at[i].off);
    }
    free(bound->model);
    free(bound);
}

/* What rounding the terms of a sum may change. */
static double sum_off(size_t terms, double size)
{
    return fmax(MR_NEAR, (double)(terms + 4) * EPS) * size;
}

static void layer_pass(const struct mr_mlp_layer *layer, const struct vector *in, struct vector *out)
{
    for (size_t o = 0; o < layer->out; o++) {
        double z = layer->b[o], size = fabs(z), off = 0;
        for (size_t c = 0; c < layer->in; c++) {
            const double w = layer->w[o * layer->in + c];
            z += w * in->value[c];
            size += fabs(w * in->value[c]);
            off += fabs(w) * in->off[c];
        }
        out->value[o] = z;
        out->off[o] = off * (1 + MR_NEAR) + sum_off(layer->in, size);
    }
}

/* Its slope times what its argument is off, and its own error. */
static void activation_pass(mr_activation activation, struct vector *at, size_t count)
{
    double max = -INFINITY, sum = 0, worst = 0;
    for (size_t i = 0; i < count; i++) {
        max = fmax(max, at->value[i]);
        worst = fmax(worst, at->off[i]);
    }
    for (size_t i = 0; i < count && activation == MR_ACT_SOFTMAX; i++) sum += exp(at->value[i] - max);
    for (size_t i = 0; i < count; i++) {
        const double z = at->value[i], off = at->off[i];
        double *const value = &at->value[i], *const error = &at->off[i];
        switch (activation) {
        case MR_ACT_IDENTITY:
            break;
        case MR_ACT_RELU:
            *value = fmax(z, 0);
            break;
        case MR_ACT_SIGMOID:
            *value = 1 / (1 + exp(-z));
            *error = fmin(off / 4, *value * expm1(fmin(off, FAR_EXPONENT))) + MR_NEAR * *value + FLT_MIN;
            break;
        case MR_ACT_TANH:
            *value = tanh(z);
            *error = off + MR_NEAR * fabs(*value);
            break;
        case MR_ACT_GELU:
            *value = z * 0.5 * erfc(-z * M_SQRT1_2);
            *error = 1.13 * off + MR_NEAR * fabs(z);
            break;
        case MR_ACT_SOFTMAX:
            *value = exp(z - max) / sum;
            *error = *value * expm1(fmin(2 * worst, FAR_EXPONENT)) + sum_off(count, *value) + FLT_MIN;
            break;
        }
    }
}

/* x of one row, and how far each column of it is off. */
struct reading {
    const float *x;
    size_t cols, row;
    const double *off; /* NULL: not at all */
};

static double x_at(const struct reading *in, size_t col)
{
    return in->x[mr_tile_at(in->row, col, in->cols)];
}

static void network_row(struct mr_bound *bound, const struct mr_mlp_params *mlp, const struct reading *in,
                        struct scored *scored)
{
    struct vector *from = &bound->at[0], *to = &bound->at[1];
    for (size_t c = 0; c < mlp->layer[0].in; c++) {
        from->value[c] = x_at(in, c) - (mlp->shift ? (double)mlp->shift[c] : 0);
        from->off[c] = (in->off ? in->off[c] : 0) + (mlp->shift ? fabs(from->value[c]) * EPS : 0);
    }
    for (size_t l = 0; l < mlp->layer_count; l++) {
        layer_pass(&mlp->layer[l], from, to);
        activation_pass(mlp->layer[l].activation, to, mlp->layer[l].out);
        struct vector *const next = from;
        from = to;
        to = next;
    }
    memcpy(scored->off, from->off, mlp->layer[mlp->layer_count - 1].out * sizeof *scored->off);
}

static void scale_row(const struct mr_scale_params *scale, const struct reading *in, struct scored *scored)
{
    for (size_t c = 0; c < scale->cols; c++) {
        const double size = fabs(x_at(in, c)) + fabs((double)scale->shift[c]);
        scored->off[c] = ((in->off ? in->off[c] : 0) + MR_NEAR * size) * fabs((double)scale->scale[c]);
    }
}

/* The squared distance to the centre: kernels/kmeans_assign/kmeans_assign.h; and what the centre itself is off. */
static void centre_row(const struct mr_kmeans_params *kmeans, const struct reading *in, int32_t winner,
                       struct scored *scored)
{
    double x2 = 0, c2 = 0, far = 0, off = 0;
    scored->is_known = winner >= 0 && (size_t)winner < kmeans->k;
    for (size_t i = 0; i < kmeans->cols && scored->is_known; i++) {
        const double x = x_at(in, i), c = kmeans->center[(size_t)winner * kmeans->cols + i];
        x2 += x * x;
        c2 += c * c;
        far += (x - c) * (x - c);
        off += in->off ? in->off[i] : 0;
    }
    const double size = sqrt(x2) + sqrt(c2);
    scored->off[0] = MR_NEAR * far + 2 * sqrt(far) * (MR_NEAR * size + off);
    if (kmeans->cols > 1) scored->off[0] += (double)(kmeans->cols + 8) * EPS * size * size;
}

static void model_row(struct mr_bound *bound, size_t i, const struct mr_rows *rows, const struct mr_scores *scores,
                      size_t row)
{
    const struct mr_model_at_work *const model = &bound->models->item[i];
    struct scored *const scored = &bound->model[i];
    const size_t width = scores[i].width, before = model->input;
    const bool is_first = before == MR_NO_MODEL;
    const struct reading in = {.x = is_first ? rows->x : scores[before].y,
                               .cols = is_first ? rows->feature_count : scores[before].width,
                               .row = row,
                               .off = is_first ? NULL : bound->model[before].off};
    const void *params;
    struct mr_mlp_layer single;
    struct mr_mlp_params mlp;
    const mr_op op = model->job->ops->op(model->model, &params);
    scored->is_known = is_first || bound->model[before].is_known;
    if (mr_model_is_reduced(model)) scored->is_known = false;
    if (scored->is_known && layers_of(model, &single, &mlp) && widest_of(&mlp) <= bound->cap) {
        network_row(bound, &mlp, &in, scored);
    } else if (scored->is_known && op == MR_OP_SCALE) {
        scale_row(params, &in, scored);
    } else if (scored->is_known && op == MR_OP_KMEANS_ASSIGN && model->want & MR_WANT_CLASS) {
        centre_row(params, &in, scores[i].class_index[row], scored);
    } else {
        scored->is_known = false;
        for (size_t o = 0; o < width && model->want & MR_WANT_Y; o++)
            scored->off[o] = MR_NEAR * fabs((double)scores[i].y[mr_tile_at(row, o, width)]);
    }
}

void mr_bound_row(struct mr_bound *bound, const struct mr_rows *rows, const struct mr_scores *scores, size_t row)
{
    for (size_t i = 0; i < bound->models->count; i++)
        if (bound->models->item[i].want) model_row(bound, i, rows, scores, row);
}

double mr_bound_of(const struct mr_bound *bound, size_t model, size_t output, bool *is_known)
{
    *is_known = bound->model[model].is_known;
    return bound->model[model].off[output];
}
