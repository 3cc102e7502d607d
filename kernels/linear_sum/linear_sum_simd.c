/* linear_sum with SIMD: the residuals of a tile, then their products with the features, which are read once an output.
 */
#include "kernels/sums.h"

mr_sum_fn MR_KERNEL_NAME(mr_linear_sum);

struct lanes {
    float *w, *b, *loss, *count;
};

/* Residuals r[64] and losses of one output; rows without a label get r = 0. The difference is taken in double: a label
 * may have more digits than a float. */
MR_INLINE void residuals_one(const mr_loss loss, float delta, const float *y, const double *label, float *r,
                             const struct lanes *lanes, size_t vecs)
{
    const mr_vec zero = {0}, one = mr_set(1.0f), least = mr_set((float)MR_PROBABILITY_MIN);
    for (size_t v = 0; v < vecs; v++) {
        const mr_vec p = mr_load(y + v * MR_LANES);
        const mr_vec_d wide = *(const mr_vec_d *)(label + v * MR_LANES);
        const mr_vec t = __builtin_convertvector(wide, mr_vec);
        mr_vec off = __builtin_convertvector(__builtin_convertvector(p, mr_vec_d) - wide, mr_vec), part;
        mr_vec there = mr_select(mr_is_number(t), one, zero);
        if (loss == MR_LOSS_LOG) { /* labels outside of [0, 1] are none */
            there = mr_select(mr_greater(zero, t), zero, mr_select(mr_greater(t, one), zero, there));
            part = -(t * mr_log(mr_max(p, least)) + (one - t) * mr_log(mr_max(one - p, least)));
        } else if (loss == MR_LOSS_HUBER) {
            const mr_vec size = (mr_vec)((mr_vec_i)off & 0x7fffffff), most = mr_set(delta);
            part = mr_select(mr_greater(size, most), most * (size - most * 0.5f), off * off * 0.5f);
            off = mr_max(mr_min(off, most), -most);
        } else {
            part = off * off * 0.5f;
        }
        const mr_mask is_there = mr_greater(there, zero);
        off = mr_select(is_there, off, zero);
        mr_store(r + v * MR_LANES, off);
        mr_lane_add(lanes->b, off);
        mr_lane_add(lanes->loss, mr_select(is_there, part, zero));
        mr_lane_add(lanes->count, there);
    }
}

/* Residuals r[out][64] of a softmax, in place of which y - 1 stands where the label is. */
MR_INLINE void residuals_many(const float *y, size_t out, const double *label, float *r, const struct lanes *lanes,
                              size_t vecs)
{
    const mr_vec zero = {0}, one = mr_set(1.0f);
    for (size_t v = 0; v < vecs; v++) {
        const mr_vec t = __builtin_convertvector(*(const mr_vec_d *)(label + v * MR_LANES), mr_vec);
        mr_vec there = zero, likely = one, o_here = zero;
        for (size_t o = 0; o < out; o++, o_here += 1.0f) {
            const mr_mask is_label = mr_equal(t, o_here);
            likely = mr_select(is_label, mr_load(y + o * MR_TILE_ROWS + v * MR_LANES), likely);
            there = mr_select(is_label, one, there);
        }
        const mr_mask is_there = mr_greater(there, zero);
        o_here = zero;
        for (size_t o = 0; o < out; o++, o_here += 1.0f) {
            const mr_vec p = mr_load(y + o * MR_TILE_ROWS + v * MR_LANES);
            const mr_vec off = mr_select(is_there, mr_select(mr_equal(t, o_here), p - 1.0f, p), zero);
            mr_store(r + o * MR_TILE_ROWS + v * MR_LANES, off);
            mr_lane_add(lanes->b + o * MR_LANES, off);
        }
        const mr_vec part = -mr_log(mr_max(likely, mr_set((float)MR_PROBABILITY_MIN)));
        mr_lane_add(lanes->loss, mr_select(is_there, part, zero));
        mr_lane_add(lanes->count, there);
    }
}

static __attribute__((noinline)) void residuals_tile(const struct mr_linear_sum_params *params, const float *y,
                                                     const double *label, float *r, const struct lanes *lanes,
                                                     size_t vecs)
{
    if (params->out > 1)
        residuals_many(y, params->out, label, r, lanes, vecs);
    else if (params->loss == MR_LOSS_LOG)
        residuals_one(MR_LOSS_LOG, 0, y, label, r, lanes, vecs);
    else if (params->loss == MR_LOSS_HUBER)
        residuals_one(MR_LOSS_HUBER, params->delta, y, label, r, lanes, vecs);
    else
        residuals_one(MR_LOSS_SQUARED, 0, y, label, r, lanes, vecs);
}

void MR_KERNEL_NAME(mr_linear_sum)(const float *x, const struct mr_packed *model, const struct mr_sum_target *target,
                                   double *sums, void *scratch, size_t rows)
{
    const struct mr_linear_sum_params *const params = model->params;
    const size_t cols = model->in, out = model->out, count = model->sum_count;
    float *const all = scratch, *const r = all + count * MR_LANES;
    const struct lanes lanes = {.w = all,
                                .b = all + out * cols * MR_LANES,
                                .loss = all + out * (cols + 1) * MR_LANES,
                                .count = all + (out * (cols + 1) + 1) * MR_LANES};
    const float *y = target->y;
    mr_kernel_ran = MR_QUOTE(MR_VARIANT);
    mr_lanes_clear(all, count);
    for (size_t i = 0; i < count; i++) sums[i] = 0;
    for (size_t row = 0; row < rows; row += MR_TILE_ROWS) {
        const size_t left = rows - row, vecs = mr_tile_vecs(left);
        const double *label = target->label + row;
        double padded[MR_TILE_ROWS];
        if (left < MR_TILE_ROWS) { /* nothing behind the last label may be read */
            for (size_t i = 0; i < MR_TILE_ROWS; i++) padded[i] = i < left ? label[i] : (double)__builtin_nanf("");
            label = padded;
        }
        residuals_tile(params, y, label, r, &lanes, vecs);
        for (size_t o = 0; o < out; o++)
            mr_weigh_tile(x, cols, r + o * MR_TILE_ROWS, lanes.w + o * cols * MR_LANES, vecs);
        x += cols * MR_TILE_ROWS;
        y += out * MR_TILE_ROWS;
        if ((row + MR_TILE_ROWS) % MR_SUM_ROWS == 0) mr_lanes_flush(all, count, sums);
    }
    mr_lanes_flush(all, count, sums);
}
