/*
 * graph_forward with SIMD. What networks are made of goes by vectors; what is rare goes lane by lane through the C
 * library, in float: right to its last digits, and still all rows of a step together.
 */
#include <math.h>
#include <string.h>

#include "kernels/dense.h"
#include "kernels/kernels.h"

mr_score_fn MR_KERNEL_NAME(mr_graph_forward);

/* e^z - 1 for z <= 0, with its digits near 0; -1 far out. */
MR_INLINE mr_vec exp_minus_1(mr_vec z)
{
    mr_vec t = mr_max(z * 1.44269504f, mr_set(-125.0f)), rest, scale;
    mr_vec_u scale_bits;
    mr_exp2_parts(&t, &rest, &scale_bits, 1, 1);
    scale = mr_scale(mr_set(1.0f), scale_bits);
    return scale * rest + (scale - 1.0f);
}

/* One vector of a unary operation that has a form by vectors. */
MR_INLINE mr_vec unary_vec(const mr_graph_op op, mr_vec z, mr_vec a, mr_vec b)
{
    const mr_vec zero = {0};
    switch (op) {
    case MR_GRAPH_ABS:
        return (mr_vec)((mr_vec_i)z & 0x7fffffff);
    case MR_GRAPH_CLIP:
        return mr_min(mr_max(z, a), b);
    case MR_GRAPH_LEAKY_RELU:
        return mr_select(mr_greater(zero, z), z * a, z);
    case MR_GRAPH_ELU:
        return mr_select(mr_greater(z, zero), z, a * exp_minus_1(mr_min(z, zero)));
    case MR_GRAPH_SELU:
        return mr_select(mr_greater(z, zero), z * b, a * b * exp_minus_1(mr_min(z, zero)));
    case MR_GRAPH_RECIPROCAL:
        return 1.0f / z;
    case MR_GRAPH_RELU:
        mr_activate(MR_ACT_RELU, &z, 1);
        return z;
    case MR_GRAPH_SIGMOID:
        z *= -1.44269504f;
        mr_activate(MR_ACT_SIGMOID, &z, 1);
        return z;
    case MR_GRAPH_TANH:
        z *= 2.88539008f;
        mr_activate(MR_ACT_TANH, &z, 1);
        return z;
    case MR_GRAPH_GELU:
        mr_activate(MR_ACT_GELU, &z, 1);
        return z;
    default:
        return z;
    }
}

/* The same of a whole value, the operation a constant where it is called. */
MR_INLINE void unary_as(const mr_graph_op op, const struct mr_graph_step *step, const float *x, float *y, size_t vecs)
{
    const mr_vec a = mr_set((float)step->a), b = mr_set((float)step->b);
    for (size_t c = 0; c < step->width; c++, x += MR_TILE_ROWS, y += MR_TILE_ROWS) {
        for (size_t v = 0; v < vecs; v++) mr_store(y + v * MR_LANES, unary_vec(op, mr_load(x + v * MR_LANES), a, b));
    }
}

static void unary_lanes(const struct mr_graph_step *step, const float *x, float *y, size_t vecs)
{
    for (size_t c = 0; c < step->width; c++, x += MR_TILE_ROWS, y += MR_TILE_ROWS) {
        for (size_t r = 0; r < vecs * MR_LANES; r++)
            y[r] = (float)mr_graph_value(step->op, (double)x[r], 0, step->a, step->b);
    }
}

static __attribute__((noinline)) void unary_tile(const struct mr_graph_step *step, const float *x, float *y,
                                                 size_t vecs)
{
#define BY_VECTORS(NAME)                                                                                               \
    case MR_GRAPH_##NAME:                                                                                              \
        unary_as(MR_GRAPH_##NAME, step, x, y, vecs);                                                                   \
        break
    switch (step->op) {
        BY_VECTORS(ABS);
        BY_VECTORS(CLIP);
        BY_VECTORS(ELU);
        BY_VECTORS(GELU);
        BY_VECTORS(LEAKY_RELU);
        BY_VECTORS(RECIPROCAL);
        BY_VECTORS(RELU);
        BY_VECTORS(SELU);
        BY_VECTORS(SIGMOID);
        BY_VECTORS(TANH);
    default:
        unary_lanes(step, x, y, vecs);
    }
#undef BY_VECTORS
}

MR_INLINE mr_vec binary_vec(const mr_graph_op op, mr_vec x, mr_vec z)
{
    switch (op) {
    case MR_GRAPH_ADD:
        return x + z;
    case MR_GRAPH_SUB:
        return x - z;
    case MR_GRAPH_MUL:
        return x * z;
    case MR_GRAPH_DIV:
        return x / z;
    case MR_GRAPH_MIN:
        return mr_min(x, z);
    default:
        return mr_max(x, z);
    }
}

MR_INLINE void binary_as(const mr_graph_op op, const struct mr_graph_step *step, const float *x, const float *z,
                         float *y, size_t vecs)
{
    const size_t x_by = step->x_width == 1 ? 0 : MR_TILE_ROWS, z_by = step->z_width == 1 ? 0 : MR_TILE_ROWS;
    for (size_t c = 0; c < step->width; c++, x += x_by, z += z_by, y += MR_TILE_ROWS) {
        for (size_t v = 0; v < vecs; v++)
            mr_store(y + v * MR_LANES, binary_vec(op, mr_load(x + v * MR_LANES), mr_load(z + v * MR_LANES)));
    }
}

static void power_tile(const struct mr_graph_step *step, const float *x, const float *z, float *y, size_t vecs)
{
    const size_t x_by = step->x_width == 1 ? 0 : MR_TILE_ROWS, z_by = step->z_width == 1 ? 0 : MR_TILE_ROWS;
    for (size_t c = 0; c < step->width; c++, x += x_by, z += z_by, y += MR_TILE_ROWS) {
        for (size_t r = 0; r < vecs * MR_LANES; r++) y[r] = (float)pow((double)x[r], (double)z[r]);
    }
}

static __attribute__((noinline)) void binary_tile(const struct mr_graph_step *step, const float *x, const float *z,
                                                  float *y, size_t vecs)
{
#define BY_VECTORS(NAME)                                                                                               \
    case MR_GRAPH_##NAME:                                                                                              \
        binary_as(MR_GRAPH_##NAME, step, x, z, y, vecs);                                                               \
        break
    switch (step->op) {
        BY_VECTORS(ADD);
        BY_VECTORS(SUB);
        BY_VECTORS(MUL);
        BY_VECTORS(DIV);
        BY_VECTORS(MIN);
        BY_VECTORS(MAX);
    default:
        power_tile(step, x, z, y, vecs);
    }
#undef BY_VECTORS
}

/* What one column adds to a sum over columns. */
MR_INLINE mr_vec fold_vec(mr_graph_op op, mr_vec sum, mr_vec x)
{
    switch (op) {
    case MR_GRAPH_REDUCE_MIN:
        return mr_min(x, sum);
    case MR_GRAPH_REDUCE_MAX:
    case MR_GRAPH_REDUCE_LOG_SUM_EXP: /* its greatest exponent, first */
        return mr_max(x, sum);
    case MR_GRAPH_REDUCE_PROD:
        return sum * x;
    case MR_GRAPH_REDUCE_SUM_SQUARE:
    case MR_GRAPH_REDUCE_L2:
        return sum + x * x;
    case MR_GRAPH_REDUCE_L1:
        return sum + (mr_vec)((mr_vec_i)x & 0x7fffffff);
    default:
        return sum + x;
    }
}

/* The sum of 2^((x - most) log2 e), in one vector of rows. */
MR_INLINE mr_vec powers_sum(const float *x, size_t width, mr_vec most)
{
    mr_vec sum = {0};
    for (size_t c = 0; c < width; c++, x += MR_TILE_ROWS) {
        mr_vec t = (mr_load(x) - most) * 1.44269504f;
        mr_exp2_of_negative(&t, 1);
        sum += t;
    }
    return sum;
}

static __attribute__((noinline)) void fold_tile(const struct mr_graph_step *step, const float *x, float *y, size_t vecs)
{
    const mr_graph_op op = step->op;
    const bool is_limit = op == MR_GRAPH_REDUCE_MIN || op == MR_GRAPH_REDUCE_MAX || op == MR_GRAPH_REDUCE_LOG_SUM_EXP;
    for (size_t v = 0; v < vecs; v++) {
        const float *const from = x + v * MR_LANES;
        mr_vec sum = is_limit ? mr_load(from) : mr_set(op == MR_GRAPH_REDUCE_PROD ? 1.0f : 0.0f);
        for (size_t c = 0; c < step->x_width; c++) sum = fold_vec(op, sum, mr_load(from + c * MR_TILE_ROWS));
        if (op == MR_GRAPH_REDUCE_MEAN) sum /= (float)step->x_width;
        if (op == MR_GRAPH_REDUCE_LOG_SUM_EXP) sum += mr_log(powers_sum(from, step->x_width, sum));
        mr_store(y + v * MR_LANES, sum);
    }
    for (size_t r = 0; op == MR_GRAPH_REDUCE_L2 && r < vecs * MR_LANES; r++) y[r] = sqrtf(y[r]);
}

/* Columns by their norm, which stands in the first column of y until then. */
static void normalize_tile(const struct mr_graph_step *step, const float *x, float *y, size_t vecs)
{
    struct mr_graph_step norm = *step;
    norm.op = step->op == MR_GRAPH_NORMALIZE_L1   ? MR_GRAPH_REDUCE_L1
              : step->op == MR_GRAPH_NORMALIZE_L2 ? MR_GRAPH_REDUCE_L2
                                                  : MR_GRAPH_REDUCE_MAX;
    fold_tile(&norm, x, y, vecs);
    for (size_t v = 0; v < vecs; v++) {
        const mr_vec size = mr_load(y + v * MR_LANES), zero = {0};
        const mr_vec by = mr_select(mr_equal(size, zero), mr_set(1.0f), size);
        for (size_t c = 0; c < step->width; c++)
            mr_store(y + c * MR_TILE_ROWS + v * MR_LANES, mr_load(x + c * MR_TILE_ROWS + v * MR_LANES) / by);
    }
}

static __attribute__((noinline)) void row_tile(const struct mr_graph_step *step, const float *x, float *y, size_t vecs)
{
    const size_t width = step->width;
    const bool is_log = step->op == MR_GRAPH_LOG_SOFTMAX;
    for (size_t v = 0; v < vecs; v++, x += MR_LANES, y += MR_LANES) {
        mr_vec most = mr_load(x);
        for (size_t c = 1; c < width; c++) most = mr_max(mr_load(x + c * MR_TILE_ROWS), most);
        if (is_log) {
            const mr_vec log_sum = mr_log(powers_sum(x, width, most));
            for (size_t c = 0; c < width; c++)
                mr_store(y + c * MR_TILE_ROWS, (mr_load(x + c * MR_TILE_ROWS) - most) - log_sum);
            continue;
        }
        for (size_t c = 0; c < width; c++)
            mr_store(y + c * MR_TILE_ROWS, (mr_load(x + c * MR_TILE_ROWS) - most) * 1.44269504f);
        mr_softmax_memory(y, width);
    }
}

static void columns_tile(const struct mr_graph_step *step, const float *x, float *y, size_t vecs)
{
    for (size_t o = 0; o < step->width; o++, y += MR_TILE_ROWS) {
        const float *const from = x + (size_t)step->column[o] * MR_TILE_ROWS;
        const mr_vec shift = mr_set(step->shift[o]), w = mr_set(step->w[o]), bias = mr_set(step->bias[o]);
        for (size_t v = 0; v < vecs; v++) mr_store(y + v * MR_LANES, (mr_load(from + v * MR_LANES) - shift) * w + bias);
    }
}

/* The first `width` columns of each row, best first, by insertion: few of many. */
static void top_tile(const struct mr_graph_step *step, const float *x, float *y, size_t rows)
{
    const float sign = (float)step->a;
    for (size_t r = 0; r < rows; r++) {
        size_t count = 0;
        for (size_t i = 0; i < step->x_width; i++) {
            const float value = x[i * MR_TILE_ROWS + r];
            size_t at = count;
            /* y holds which they are until all are known. */
            while (at && sign * value > sign * x[(size_t)y[(at - 1) * MR_TILE_ROWS + r] * MR_TILE_ROWS + r]) at--;
            if (at == step->width) continue;
            count += count < step->width;
            for (size_t k = count - 1; k > at; k--) y[k * MR_TILE_ROWS + r] = y[(k - 1) * MR_TILE_ROWS + r];
            y[at * MR_TILE_ROWS + r] = (float)i;
        }
        for (size_t k = 0; step->op == MR_GRAPH_TOP && k < step->width; k++)
            y[k * MR_TILE_ROWS + r] = x[(size_t)y[k * MR_TILE_ROWS + r] * MR_TILE_ROWS + r];
    }
}

static void class_tile(const struct mr_graph_params *graph, const float *of, int32_t *class_index, size_t vecs)
{
    if (graph->of_width > 1) {
        mr_class_tile(of, graph->of_width, graph->is_least, class_index, vecs);
        return;
    }
    for (size_t r = 0; r < vecs * MR_LANES; r++) class_index[r] = graph->of_width && of[r] > 0.5f;
}

/* One step of a tile; *layer goes on to the next dense step's weights. */
static void step_run(const struct mr_graph_step *step, const float *x, const float *z, float *y,
                     const struct mr_dense **layer, size_t vecs)
{
    switch (mr_graph_kind_of(step->op)) {
    case MR_GRAPH_unary:
        unary_tile(step, x, y, vecs);
        break;
    case MR_GRAPH_binary:
        binary_tile(step, x, z, y, vecs);
        break;
    case MR_GRAPH_fold:
        fold_tile(step, x, y, vecs);
        break;
    case MR_GRAPH_row:
        if (step->op == MR_GRAPH_SOFTMAX || step->op == MR_GRAPH_LOG_SOFTMAX)
            row_tile(step, x, y, vecs);
        else
            normalize_tile(step, x, y, vecs);
        break;
    case MR_GRAPH_dense:
        mr_logits_tile((*layer)++, x, y, vecs);
        break;
    case MR_GRAPH_columns:
        columns_tile(step, x, y, vecs);
        break;
    case MR_GRAPH_join:
        memcpy(y, x, step->x_width * MR_TILE_ROWS * sizeof *y);
        memcpy(y + step->x_width * MR_TILE_ROWS, z, step->z_width * MR_TILE_ROWS * sizeof *y);
        break;
    case MR_GRAPH_top:
        top_tile(step, x, y, vecs * MR_LANES);
        break;
    }
}

void MR_KERNEL_NAME(mr_graph_forward)(const float *x, const struct mr_packed *model, float *y, int32_t *class_index,
                                      void *scratch, size_t rows)
{
    const struct mr_graph_params *const graph = model->params;
    float *const work = scratch;
#define COLUMN(at) ((at) < graph->cols ? x + (at)*MR_TILE_ROWS : work + ((at)-graph->cols) * MR_TILE_ROWS)
    mr_kernel_ran = MR_QUOTE(MR_VARIANT);
    for (size_t row = 0; row < rows; row += MR_TILE_ROWS) {
        const size_t vecs = mr_tile_vecs(rows - row);
        const struct mr_dense *layer = model->layer;
        for (size_t i = 0; i < graph->step_count; i++) {
            const struct mr_graph_step *const step = &graph->step[i];
            step_run(step, COLUMN(step->x), COLUMN(step->z), work + (step->to - graph->cols) * MR_TILE_ROWS, &layer,
                     vecs);
        }
        if (y) memcpy(y, COLUMN(graph->y), graph->width * MR_TILE_ROWS * sizeof *y);
        if (class_index) class_tile(graph, COLUMN(graph->of), class_index, vecs);
        x += graph->cols * MR_TILE_ROWS;
        if (y) y += graph->width * MR_TILE_ROWS;
        if (class_index) class_index += MR_TILE_ROWS;
    }
#undef COLUMN
}
