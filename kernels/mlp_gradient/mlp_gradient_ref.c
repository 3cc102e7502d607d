/* The meaning of mlp_gradient: plain loops, sums in double, never optimised. */
#include <math.h>
#include <string.h>

#include "kernels/kernels.h"
#include "kernels/reference.h"
#include "millrace/batch.h"

mr_sum_fn mr_mlp_gradient_ref;

/* The derivative of an activation at z, whose value there is a. */
static double slope(mr_activation activation, double z, double a)
{
    switch (activation) {
    case MR_ACT_SIGMOID:
        return a * (1 - a);
    case MR_ACT_TANH:
        return 1 - a * a;
    case MR_ACT_RELU:
        return z > 0;
    case MR_ACT_GELU:
        return (1 + erf(z * M_SQRT1_2)) / 2 + z * exp(-z * z / 2) * (M_2_SQRTPI * M_SQRT1_2 / 2);
    case MR_ACT_IDENTITY:
    case MR_ACT_SOFTMAX:
        break;
    }
    return 1;
}

/* Logits and values of every layer for one row, one layer behind the other. */
static void forward(const struct mr_mlp_params *mlp, const float *x, size_t row, double *z, double *a)
{
    const size_t in = mlp->layer[0].in;
    for (size_t c = 0; c < in; c++) a[c] = (double)x[mr_tile_at(row, c, in)] - (mlp->shift ? (double)mlp->shift[c] : 0);
    for (size_t i = 0; i < mlp->layer_count; i++) {
        const struct mr_mlp_layer *const layer = &mlp->layer[i];
        double *const next = a + layer->in;
        for (size_t o = 0; o < layer->out; o++) {
            z[o] = (double)layer->b[o];
            for (size_t c = 0; c < layer->in; c++) z[o] += (double)layer->w[o * layer->in + c] * a[c];
            next[o] = z[o];
        }
        mr_reference_activate(layer->activation, next, layer->out);
        a = next;
        z += layer->out;
    }
}

/* How much a row counts. */
static double weight_of(const float *class_weight, double label, size_t out)
{
    if (out > 1) return (double)class_weight[(size_t)label];
    return (1 - label) * (double)class_weight[0] + label * (double)class_weight[1];
}

/* The residuals r[out] of one row and its loss; false: it has no label. */
static bool residuals(const struct mr_mlp_gradient_params *params, const float *y, size_t row, double label, size_t out,
                      double *r, double *loss)
{
    *loss = 0;
    if (isnan(label)) return false;
    if (params->loss == MR_LOSS_LOG && out == 1 && !(label >= 0 && label <= 1)) return false;
    if (out > 1 && !(label >= 0 && label < (double)out && label == floor(label))) return false;
    for (size_t o = 0; o < out; o++) {
        const double p = (double)y[mr_tile_at(row, o, out)], delta = (double)params->delta;
        r[o] = p - (out > 1 ? label == (double)o : label);
        if (params->loss == MR_LOSS_LOG && out > 1) {
            if (label == (double)o) *loss = -log(fmax(p, MR_PROBABILITY_MIN));
        } else if (params->loss == MR_LOSS_LOG) {
            *loss = -label * log(fmax(p, MR_PROBABILITY_MIN)) - (1 - label) * log(fmax(1 - p, MR_PROBABILITY_MIN));
        } else if (params->loss == MR_LOSS_HUBER && fabs(r[0]) > delta) {
            *loss = delta * (fabs(r[0]) - delta / 2);
            r[0] = copysign(delta, r[0]);
        } else {
            *loss = r[0] * r[0] / 2;
        }
    }
    if (params->class_weight && params->loss == MR_LOSS_LOG) {
        const double weight = weight_of(params->class_weight, label, out);
        for (size_t o = 0; o < out; o++) r[o] *= weight;
        *loss *= weight;
    }
    return true;
}

/* Adds one row: a and z as forward() left them, behind which d holds the last layer's residuals and room for others. */
static void backward(const struct mr_mlp_params *mlp, const double *z, const double *a, double *d, double *other,
                     double *sums)
{
    double *w = sums + mr_mlp_weight_count(mlp), *b = w + mr_mlp_bias_count(mlp);
    z += mr_mlp_bias_count(mlp);
    a += mr_mlp_bias_count(mlp); /* the inputs of the last layer end here, its outputs come behind */
    a += mlp->layer[0].in;
    for (size_t i = mlp->layer_count; i-- > 0;) {
        const struct mr_mlp_layer *const layer = &mlp->layer[i];
        w -= layer->in * layer->out;
        b -= layer->out;
        z -= layer->out;
        a -= layer->out;
        const double *const in = a - layer->in;
        for (size_t o = 0; o < layer->out; o++) {
            b[o] += d[o];
            for (size_t c = 0; c < layer->in; c++) w[o * layer->in + c] += d[o] * in[c];
        }
        for (size_t c = 0; i && c < layer->in; c++) {
            other[c] = 0;
            for (size_t o = 0; o < layer->out; o++) other[c] += (double)layer->w[o * layer->in + c] * d[o];
            other[c] *= slope(layer[-1].activation, z[(ptrdiff_t)c - (ptrdiff_t)layer->in], in[c]);
        }
        double *const swap = d;
        d = other;
        other = swap;
    }
}

void mr_mlp_gradient_ref(const float *x, const struct mr_packed *model, const struct mr_sum_target *target,
                         double *sums, void *scratch, size_t rows)
{
    const struct mr_mlp_gradient_params *const params = model->params;
    const struct mr_mlp_params *const mlp = &params->mlp;
    const size_t out = mlp->layer[mlp->layer_count - 1].out, values = mr_mlp_bias_count(mlp);
    double *const z = scratch, *const a = z + values, *const d = a + mlp->layer[0].in + values,
                  *const other = d + model->width_max;
    double *const loss = sums + mr_mlp_weight_count(mlp) + values, *const count = loss + 1;
    mr_kernel_ran = "ref";
    memset(sums, 0, mr_mlp_gradient_count(params) * sizeof *sums);
    for (size_t row = 0; row < rows; row++) {
        double part;
        if (!residuals(params, target->y, row, target->label[row], out, d, &part)) continue;
        *loss += part;
        *count += 1;
        forward(mlp, x, row, z, a);
        backward(mlp, z, a, d, other, sums);
    }
}
