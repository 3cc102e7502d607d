/*
 * mlp_gradient with SIMD: up to MR_SUM_ROWS rows at once. Forward, keeping what every layer gives; then back, layer by
 * layer: the products of residuals and inputs in blocks of registers over all these rows, so that a weight's gradient
 * leaves the registers once a chunk; then the residuals of the layer before, through the transposed weights.
 */
#include "kernels/dense.h"
#include "kernels/residuals.h"

mr_sum_fn MR_KERNEL_NAME(mr_mlp_gradient);

enum { BLOCK_OUT = 4, BLOCK_IN = MR_REGISTERS == 32 ? 4 : 2 };

/* Rows that go through together. */
struct chunk {
    size_t tiles, last_vecs; /* vectors of the last tile */
};

MR_INLINE size_t chunk_vecs(const struct chunk *chunk, size_t tile)
{
    return tile + 1 < chunk->tiles ? MR_TILE_VECS : chunk->last_vecs;
}

/* The sum of a vector's lanes, in float64, always in the same order. */
MR_INLINE double lanes_sum(mr_vec value)
{
    const mr_vec_d wide = __builtin_convertvector(value, mr_vec_d);
    double part[4] = {0};
    MR_EACH(k, MR_LANES) part[k % 4] += wide[k];
    return (part[0] + part[1]) + (part[2] + part[3]);
}

/* w[o][c] += the sum over the chunk's rows of d[o] * a[c], of N outputs by C inputs; a tile of d is d_floats long. */
MR_INLINE void outer_block(const struct chunk *chunk, const float *d, size_t d_floats, const float *a, size_t a_floats,
                           double *w, size_t in, const int N, const int C)
{
    mr_vec sum[BLOCK_OUT][BLOCK_IN];
    MR_EACH(o, N) MR_EACH(c, C) sum[o][c] = (mr_vec){0};
    for (size_t t = 0; t < chunk->tiles; t++, d += d_floats, a += a_floats) {
        const size_t vecs = chunk_vecs(chunk, t);
        for (size_t v = 0; v < vecs; v++) {
            mr_vec left[BLOCK_OUT];
            MR_EACH(o, N) left[o] = mr_load(d + o * MR_TILE_ROWS + v * MR_LANES);
            MR_EACH(c, C)
            {
                const mr_vec right = mr_load(a + c * MR_TILE_ROWS + v * MR_LANES);
                MR_EACH(o, N) sum[o][c] += left[o] * right;
            }
        }
    }
    MR_EACH(o, N) MR_EACH(c, C) w[(size_t)o * in + (size_t)c] += lanes_sum(sum[o][c]);
}

/* N outputs by all inputs. */
MR_INLINE void outer_rows(const struct chunk *chunk, const float *d, size_t d_floats, const float *a, size_t in,
                          double *w, const int N)
{
    const size_t a_floats = in * MR_TILE_ROWS;
    size_t c = 0;
    for (; c + BLOCK_IN <= in; c += BLOCK_IN)
        outer_block(chunk, d, d_floats, a + c * MR_TILE_ROWS, a_floats, w + c, in, N, BLOCK_IN);
    for (; c < in; c++) outer_block(chunk, d, d_floats, a + c * MR_TILE_ROWS, a_floats, w + c, in, N, 1);
}

/* The gradient of a layer's weights: w[out][in] += sum of d[out] * a[in]. */
static __attribute__((noinline)) void outer_layer(const struct chunk *chunk, const float *d, size_t out, const float *a,
                                                  size_t in, double *w)
{
    const size_t d_floats = out * MR_TILE_ROWS;
    size_t o = 0;
    for (; o + BLOCK_OUT <= out; o += BLOCK_OUT)
        outer_rows(chunk, d + o * MR_TILE_ROWS, d_floats, a, in, w + o * in, BLOCK_OUT);
    d += o * MR_TILE_ROWS;
    w += o * in;
    if (out - o == 3) outer_rows(chunk, d, d_floats, a, in, w, 3);
    if (out - o == 2) outer_rows(chunk, d, d_floats, a, in, w, 2);
    if (out - o == 1) outer_rows(chunk, d, d_floats, a, in, w, 1);
}

/* The gradient of a layer's bias: b[out] += sum of d[out]. */
static __attribute__((noinline)) void bias_layer(const struct chunk *chunk, const float *d, size_t out, double *b)
{
    for (size_t o = 0; o < out; o++) {
        mr_vec sum = {0};
        for (size_t t = 0; t < chunk->tiles; t++) {
            const float *const from = d + (t * out + o) * MR_TILE_ROWS;
            for (size_t v = 0; v < chunk_vecs(chunk, t); v++) sum += mr_load(from + v * MR_LANES);
        }
        b[o] += lanes_sum(sum);
    }
}

/* The slope of GELU at z, whose value there is a: Phi(z) + z * phi(z), and Phi is a / z. */
MR_INLINE mr_vec gelu_slope(mr_vec z, mr_vec a)
{
    const mr_vec size = (mr_vec)((mr_vec_i)z & 0x7fffffff);
    const mr_mask is_near_0 = mr_greater(mr_set(1e-3f), size);
    const mr_vec below = z * 0.398942280f + 0.5f, safe = mr_select(is_near_0, mr_set(1.0f), z);
    mr_vec density = z * z * -0.72134752f; /* 2^(-z^2 / 2 / ln 2) */
    mr_exp2_of_negative(&density, 1);
    return mr_select(is_near_0, below, a / safe) + z * density * 0.398942280f;
}

/* d[count][64] *= the slope of the activation where its value is a and its logit z (read for GELU only). */
static __attribute__((noinline)) void slope_tile(mr_activation activation, const float *a, const float *z, float *d,
                                                 size_t count, size_t vecs)
{
    const mr_vec zero = {0}, one = mr_set(1.0f);
    for (size_t o = 0; o < count; o++, a += MR_TILE_ROWS, z += MR_TILE_ROWS, d += MR_TILE_ROWS) {
        for (size_t v = 0; v < vecs; v++) {
            const mr_vec value = mr_load(a + v * MR_LANES), by = mr_load(d + v * MR_LANES);
            mr_vec next = by;
            if (activation == MR_ACT_SIGMOID) next = by * (value * (one - value));
            if (activation == MR_ACT_TANH) next = by * (one - value * value);
            if (activation == MR_ACT_RELU) next = mr_select(mr_greater(value, zero), by, zero);
            if (activation == MR_ACT_GELU) next = by * gelu_slope(mr_load(z + v * MR_LANES), value);
            mr_store(d + v * MR_LANES, next);
        }
    }
}

/* Floats that a hidden layer keeps for a chunk: its values, and behind them GELU's logits. */
MR_INLINE size_t kept_floats(const struct mr_dense *layer)
{
    return layer->out * MR_SUM_ROWS * (layer->activation == MR_ACT_GELU ? 2 : 1);
}

/* All hidden layers of a chunk, from the (shifted) inputs x, into kept[]. */
static void forward(const struct mr_packed *model, size_t hidden, const struct chunk *chunk, const float *x,
                    float *kept)
{
    for (size_t i = 0; i < hidden; i++) {
        const struct mr_dense *const layer = &model->layer[i];
        for (size_t t = 0; t < chunk->tiles; t++) {
            const float *const from = x + t * layer->in * MR_TILE_ROWS;
            float *const to = kept + t * layer->out * MR_TILE_ROWS;
            const size_t vecs = chunk_vecs(chunk, t);
            mr_dense_tile(layer, from, to, vecs);
            if (layer->activation == MR_ACT_GELU) mr_logits_tile(layer, from, to + layer->out * MR_SUM_ROWS, vecs);
        }
        x = kept;
        kept += kept_floats(layer);
    }
}

/* From the residuals of the last layer to the gradients of all. kept: the end of what forward() kept. */
static void backward(const struct mr_packed *model, size_t count, const struct chunk *chunk, const float *x,
                     const float *kept, float *d, float *other, double *w, double *b)
{
    for (size_t i = count; i-- > 0;) {
        const struct mr_dense *const layer = &model->layer[i];
        const size_t out = layer->out, in = layer->in;
        w -= out * in;
        b -= out;
        if (i) kept -= kept_floats(&model->layer[i - 1]);
        outer_layer(chunk, d, out, i ? kept : x, in, w);
        bias_layer(chunk, d, out, b);
        for (size_t t = 0; i && t < chunk->tiles; t++) {
            const size_t vecs = chunk_vecs(chunk, t), at = t * in * MR_TILE_ROWS;
            mr_logits_tile(&model->layer[count + i - 1], d + t * out * MR_TILE_ROWS, other + at, vecs);
            slope_tile(model->layer[i - 1].activation, kept + at, kept + in * MR_SUM_ROWS + at, other + at, in, vecs);
        }
        float *const swap = d;
        d = other;
        other = swap;
    }
}

/* Residuals d[tiles][out][64] of a chunk; the loss and the labelled rows go to sums[2]. */
static void residuals(const struct mr_mlp_gradient_params *params, size_t out, const float *y, const double *label,
                      size_t rows, float *d, float *all, double *sums)
{
    const struct mr_residual_lanes lanes = {
        .loss = all, .count = all + MR_LANES, .b = all + 2 * (size_t)MR_LANES}; /* b: not read */
    mr_lanes_clear(all, 2 + out);
    for (size_t row = 0; row < rows; row += MR_TILE_ROWS) {
        double padded[MR_TILE_ROWS];
        const double *const here = mr_labels_tile(label + row, rows - row, padded);
        mr_residuals_tile(params->loss, params->delta, params->class_weight, out, y, here, d, &lanes,
                          mr_tile_vecs(rows - row));
        y += out * MR_TILE_ROWS;
        d += out * MR_TILE_ROWS;
    }
    mr_lanes_flush(all, 2, sums);
}

/* x of a chunk with the shift taken off. */
static const float *shifted(const struct mr_packed *model, const struct chunk *chunk, const float *x, float *to)
{
    const size_t floats = model->in * MR_TILE_ROWS;
    if (!model->shift) return x;
    for (size_t t = 0; t < chunk->tiles; t++)
        mr_shift_tile(x + t * floats, model->shift, model->in, to + t * floats, chunk_vecs(chunk, t));
    return to;
}

void MR_KERNEL_NAME(mr_mlp_gradient)(const float *x, const struct mr_packed *model, const struct mr_sum_target *target,
                                     double *sums, void *scratch, size_t rows)
{
    const struct mr_mlp_gradient_params *const params = model->params;
    const size_t count = params->mlp.layer_count, weights = mr_mlp_weight_count(&params->mlp),
                 biases = mr_mlp_bias_count(&params->mlp);
    float *const inputs = scratch, *const d = inputs + model->in * MR_SUM_ROWS,
                 *const other = d + model->width_max * MR_SUM_ROWS,
                 *const kept = other + model->width_max * MR_SUM_ROWS;
    float *end = kept;
    for (size_t i = 0; i + 1 < count; i++) end += kept_floats(&model->layer[i]);
    mr_kernel_ran = MR_QUOTE(MR_VARIANT);
    for (size_t i = 0; i < model->sum_count; i++) sums[i] = 0;
    for (size_t row = 0; row < rows; row += MR_SUM_ROWS) {
        const size_t left = rows - row, here = left < MR_SUM_ROWS ? left : MR_SUM_ROWS,
                     tiles = (here + MR_TILE_ROWS - 1) / MR_TILE_ROWS;
        const struct chunk chunk = {tiles, mr_tile_vecs(here - (tiles - 1) * MR_TILE_ROWS)};
        const float *const from = shifted(model, &chunk, x + row * model->in, inputs);
        residuals(params, model->out, target->y + row * model->out, target->label + row, here, d, end,
                  sums + weights + biases);
        forward(model, count - 1, &chunk, from, kept);
        backward(model, count, &chunk, from, end, d, other, sums + weights, sums + weights + biases);
    }
}
