/* The meaning of linear_sum: plain loops, sums in double, never optimised. */
#include <math.h>
#include <string.h>

#include "kernels/kernels.h"
#include "millrace/batch.h"

mr_sum_fn mr_linear_sum_ref;

/* The gradient of the loss by the logit of output o, and the loss of the row. */
static double residual(const struct mr_linear_sum_params *params, double label, size_t o, double y, double *loss)
{
    const double r = y - label, delta = (double)params->delta;
    *loss = 0;
    switch (params->loss) {
    case MR_LOSS_SQUARED:
        *loss = r * r / 2;
        return r;
    case MR_LOSS_HUBER:
        *loss = fabs(r) <= delta ? r * r / 2 : delta * (fabs(r) - delta / 2);
        return fabs(r) <= delta ? r : copysign(delta, r);
    case MR_LOSS_LOG:
        if (params->out > 1) {
            const double is_label = label == (double)o;
            *loss = is_label ? -log(fmax(y, MR_PROBABILITY_MIN)) : 0;
            return y - is_label;
        }
        *loss = -label * log(fmax(y, MR_PROBABILITY_MIN)) - (1 - label) * log(fmax(1 - y, MR_PROBABILITY_MIN));
        return r;
    }
    return 0;
}

void mr_linear_sum_ref(const float *x, const struct mr_packed *model, const struct mr_sum_target *target, double *sums,
                       void *scratch, size_t rows)
{
    const struct mr_linear_sum_params *params = model->params;
    const size_t cols = params->cols, out = params->out;
    double *const w = sums, *const b = w + out * cols, *const loss = b + out, *const count = loss + 1;
    (void)scratch;
    mr_kernel_ran = "ref";
    memset(sums, 0, mr_linear_sum_count(params) * sizeof *sums);
    for (size_t row = 0; row < rows; row++) {
        const double label = target->label[row];
        if (isnan(label)) continue;
        if (params->loss == MR_LOSS_LOG && out == 1 && !(label >= 0 && label <= 1)) continue;
        if (out > 1 && !(label >= 0 && label < (double)out && label == floor(label))) continue;
        for (size_t o = 0; o < out; o++) {
            double part;
            const double r = residual(params, label, o, (double)target->y[mr_tile_at(row, o, out)], &part);
            *loss += part;
            b[o] += r;
            for (size_t c = 0; c < cols; c++) w[o * cols + c] += r * (double)x[mr_tile_at(row, c, cols)];
        }
        *count += 1;
    }
}
