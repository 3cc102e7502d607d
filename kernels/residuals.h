/** How far the scores of a tile are from its labels: what the gradients of all models with labels begin with. Included
 * by <op>_simd.c only. */
#ifndef MR_KERNELS_RESIDUALS_H
#define MR_KERNELS_RESIDUALS_H

#include "kernels/sums.h"

/** Where the sums of residuals are kept: vectors of lanes. */
struct mr_residual_lanes {
    float *b; /* [out] */
    float *loss, *count;
};

/* -log of what p gives a label of 0 to 1. Labels of 0 and 1 alone, the usual case, need one logarithm, with the same
 * result. */
MR_INLINE mr_vec mr_log_loss(mr_vec p, mr_vec t)
{
    const mr_vec one = mr_set(1.0f), least = mr_set((float)MR_PROBABILITY_MIN);
    const mr_mask is_one = mr_equal(t, one);
    const unsigned all = MR_LANES == 16 ? 0xffffu : (1u << MR_LANES) - 1;
    if ((mr_mask_bits(is_one) | mr_mask_bits(mr_equal(t, (mr_vec){0}))) == all)
        return -mr_log(mr_max(mr_select(is_one, p, one - p), least));
    return -(t * mr_log(mr_max(p, least)) + (one - t) * mr_log(mr_max(one - p, least)));
}

/* Residuals r[64] and losses of one output; rows without a label get r = 0. The difference is taken in double: a label
 * may have more digits than a float. */
MR_INLINE void mr_residuals_one(const mr_loss loss, float delta, const float *weight, const float *y,
                                const double *label, float *r, const struct mr_residual_lanes *lanes, size_t vecs)
{
    const mr_vec zero = {0}, one = mr_set(1.0f);
    mr_vec sum = mr_load(lanes->b), lost = mr_load(lanes->loss), count = mr_load(lanes->count);
    for (size_t v = 0; v < vecs; v++) {
        const mr_vec p = mr_load(y + v * MR_LANES), t = mr_narrow(label + v * MR_LANES);
        mr_vec off = mr_subtract_wide(p, label + v * MR_LANES), part;
        mr_mask is_there = mr_is_number(t);
        if (loss == MR_LOSS_LOG) { /* labels outside of [0, 1] are none */
            is_there &= ~mr_greater(zero, t) & ~mr_greater(t, one);
            part = mr_log_loss(p, t);
            if (weight) {
                const mr_vec by = (one - t) * mr_set(weight[0]) + t * mr_set(weight[1]);
                off *= by;
                part *= by;
            }
        } else if (loss == MR_LOSS_HUBER) {
            const mr_vec size = (mr_vec)((mr_vec_i)off & 0x7fffffff), most = mr_set(delta);
            part = mr_select(mr_greater(size, most), most * (size - most * 0.5f), off * off * 0.5f);
            off = mr_max(mr_min(off, most), -most);
        } else {
            part = off * off * 0.5f;
        }
        off = mr_select(is_there, off, zero);
        mr_store(r + v * MR_LANES, off);
        sum += off;
        lost += mr_select(is_there, part, zero);
        count += mr_select(is_there, one, zero);
    }
    mr_store(lanes->b, sum);
    mr_store(lanes->loss, lost);
    mr_store(lanes->count, count);
}

/* Residuals r[out][64] of a softmax, in place of which y - 1 stands where the label is. */
MR_INLINE void mr_residuals_many(const float *weight, const float *y, size_t out, const double *label, float *r,
                                 const struct mr_residual_lanes *lanes, size_t vecs)
{
    const mr_vec zero = {0}, one = mr_set(1.0f);
    for (size_t v = 0; v < vecs; v++) {
        const mr_vec t = mr_narrow(label + v * MR_LANES);
        mr_vec there = zero, likely = one, by = one, o_here = zero;
        for (size_t o = 0; o < out; o++, o_here += 1.0f) {
            const mr_mask is_label = mr_equal(t, o_here);
            likely = mr_select(is_label, mr_load(y + o * MR_TILE_ROWS + v * MR_LANES), likely);
            there = mr_select(is_label, one, there);
            if (weight) by = mr_select(is_label, mr_set(weight[o]), by);
        }
        const mr_mask is_there = mr_greater(there, zero);
        o_here = zero;
        for (size_t o = 0; o < out; o++, o_here += 1.0f) {
            const mr_vec p = mr_load(y + o * MR_TILE_ROWS + v * MR_LANES);
            const mr_vec off = by * mr_select(is_there, mr_select(mr_equal(t, o_here), p - 1.0f, p), zero);
            mr_store(r + o * MR_TILE_ROWS + v * MR_LANES, off);
            mr_lane_add(lanes->b + o * MR_LANES, off);
        }
        const mr_vec part = -by * mr_log(mr_max(likely, mr_set((float)MR_PROBABILITY_MIN)));
        mr_lane_add(lanes->loss, mr_select(is_there, part, zero));
        mr_lane_add(lanes->count, there);
    }
}

/**
 * Residuals r[out][64] of a tile: the gradient of the loss by the logits, for squared loss and identity, log loss and
 * sigmoid (one output) or softmax; what they, the loss and the labelled rows add up to goes to the lanes. Rows without
 * a label have residuals of 0. weight: as mr_mlp_gradient_params.class_weight.
 */
static __attribute__((noinline)) void mr_residuals_tile(mr_loss loss, float delta, const float *weight, size_t out,
                                                        const float *y, const double *label, float *r,
                                                        const struct mr_residual_lanes *lanes, size_t vecs)
{
    if (out > 1)
        mr_residuals_many(weight, y, out, label, r, lanes, vecs);
    else if (loss == MR_LOSS_LOG)
        mr_residuals_one(MR_LOSS_LOG, 0, weight, y, label, r, lanes, vecs);
    else if (loss == MR_LOSS_HUBER)
        mr_residuals_one(MR_LOSS_HUBER, delta, NULL, y, label, r, lanes, vecs);
    else
        mr_residuals_one(MR_LOSS_SQUARED, 0, NULL, y, label, r, lanes, vecs);
}

/** The labels of a tile: as they are, or where fewer than 64 are left, copied, with none behind the last. */
MR_INLINE const double *mr_labels_tile(const double *label, size_t left, double padded[MR_TILE_ROWS])
{
    if (left >= MR_TILE_ROWS) return label;
    for (size_t i = 0; i < MR_TILE_ROWS; i++) padded[i] = i < left ? label[i] : (double)__builtin_nanf("");
    return padded;
}

#endif
