/* mf_estimate with SIMD: one dot product a row, of factors that lie one behind the other. */
#include "kernels/kernels.h"
#include "kernels/simd.h"

mr_score_fn MR_KERNEL_NAME(mr_mf_estimate);

/* Factors begin anywhere. */
typedef float vec_anywhere __attribute__((vector_size(MR_LANES * 4), aligned(4), may_alias));

static float dot(const float *p, const float *q, size_t rank)
{
    mr_vec even = {0}, odd = {0};
    size_t f = 0;
    for (; f + (size_t)2 * MR_LANES <= rank; f += (size_t)2 * MR_LANES) {
        even += *(const vec_anywhere *)(p + f) * *(const vec_anywhere *)(q + f);
        odd += *(const vec_anywhere *)(p + f + MR_LANES) * *(const vec_anywhere *)(q + f + MR_LANES);
    }
    float sum = 0;
    even += odd;
    for (int lane = 0; lane < MR_LANES; lane++) sum += even[lane];
    for (; f < rank; f++) sum += p[f] * q[f];
    return sum;
}

static float estimate(const struct mr_mf_params *params, float user, float item)
{
    const bool knows_user = user != MR_MF_UNKNOWN, knows_item = item != MR_MF_UNKNOWN;
    float sum = params->mean;
    if (params->user_bias) {
        if (knows_user) sum += params->user_bias[(size_t)user];
        if (knows_item) sum += params->item_bias[(size_t)item];
    } else if (knows_user && knows_item) {
        sum = 0;
    }
    if (knows_user && knows_item) {
        sum += dot(params->user_factor + (size_t)user * params->rank, params->item_factor + (size_t)item * params->rank,
                   params->rank);
    }
    if (sum < params->scale_min) return params->scale_min;
    return sum > params->scale_max ? params->scale_max : sum;
}

void MR_KERNEL_NAME(mr_mf_estimate)(const float *x, const struct mr_packed *model, float *y, int32_t *class_index,
                                    void *scratch, size_t rows)
{
    (void)class_index;
    (void)scratch;
    mr_kernel_ran = MR_QUOTE(MR_VARIANT);
    for (size_t row = 0; y && row < rows; row++)
        y[row] = estimate(model->params, x[mr_tile_at(row, 0, 2)], x[mr_tile_at(row, 1, 2)]);
}
