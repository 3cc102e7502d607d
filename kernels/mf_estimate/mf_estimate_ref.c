/* The meaning of mf_estimate: plain loops, sums in double, never optimised. */
#include "kernels/kernels.h"
#include "millrace/batch.h"

mr_score_fn mr_mf_estimate_ref;

static double estimate(const struct mr_mf_params *params, float user, float item)
{
    const bool knows_user = user != MR_MF_UNKNOWN, knows_item = item != MR_MF_UNKNOWN;
    double sum = (double)params->mean;
    if (params->user_bias) {
        if (knows_user) sum += (double)params->user_bias[(size_t)user];
        if (knows_item) sum += (double)params->item_bias[(size_t)item];
    } else if (knows_user && knows_item) {
        sum = 0;
    }
    for (size_t f = 0; f < params->rank && knows_user && knows_item; f++) {
        sum += (double)params->user_factor[(size_t)user * params->rank + f] *
               (double)params->item_factor[(size_t)item * params->rank + f];
    }
    if (sum < (double)params->scale_min) return (double)params->scale_min;
    return sum > (double)params->scale_max ? (double)params->scale_max : sum;
}

void mr_mf_estimate_ref(const float *x, const struct mr_packed *model, float *y, int32_t *class_index, void *scratch,
                        size_t rows)
{
    (void)class_index;
    (void)scratch;
    mr_kernel_ran = "ref";
    for (size_t row = 0; y && row < rows; row++)
        y[row] = (float)estimate(model->params, x[mr_tile_at(row, 0, 2)], x[mr_tile_at(row, 1, 2)]);
}
