/*
 * kmeans_assign with SIMD: one dense layer gives |c|^2 / 2 - x . c for a block of centres, whose least is kept before
 * the next block; the scores of all centres are never stored. Few centres: all in registers, and x read once. On a line
 * the centres are sorted, and one comparison a centre does.
 */
#include "kernels/dense.h"
#include "kernels/kernels.h"

mr_score_fn MR_KERNEL_NAME(mr_kmeans_assign);

/* The nearest centre of each row so far. */
struct nearest {
    _Alignas(MR_ALIGN) float score[MR_TILE_ROWS];
    _Alignas(MR_ALIGN) int32_t index[MR_TILE_ROWS];
};

/* N centres, of which the first has number `first`, by V vectors of rows. */
MR_INLINE void near_block(const float *x, const float *w, const float *b, size_t in, size_t first, float *score,
                          int32_t *index, const int N, const int V)
{
    mr_vec sum[MR_BLOCK_OUT][MR_TILE_VECS];
    mr_dense_sums(x, w, b, in, sum, N, V);
    MR_EACH(v, V)
    {
        mr_vec best = mr_load(score + v * MR_LANES);
        mr_vec_i at = *(const mr_vec_i *)(index + v * MR_LANES), here = (mr_vec_i){0} + (int32_t)first;
        MR_EACH(o, N)
        {
            at = mr_select_i(mr_greater(best, sum[o][v]), here, at);
            best = mr_min(best, sum[o][v]);
            here += 1;
        }
        mr_store(score + v * MR_LANES, best);
        *(mr_vec_i *)(index + v * MR_LANES) = at;
    }
}

MR_INLINE void near_rows(const float *x, const float *w, const float *b, size_t in, size_t first,
                         struct nearest *nearest, size_t vecs, const int N, const int V)
{
    size_t v = 0;
    for (; v + (size_t)V <= vecs; v += (size_t)V) {
        near_block(x + v * MR_LANES, w, b, in, first, nearest->score + v * MR_LANES, nearest->index + v * MR_LANES, N,
                   V);
    }
    for (; v < vecs; v++) {
        near_block(x + v * MR_LANES, w, b, in, first, nearest->score + v * MR_LANES, nearest->index + v * MR_LANES, N,
                   1);
    }
}

static void near_tile(const struct mr_dense *layer, const float *x, struct nearest *nearest, size_t vecs)
{
    enum { FULL = MR_REGISTERS == 32 ? 4 : 2 };
    const float *w = layer->w;
    for (size_t v = 0; v < vecs; v++) {
        mr_store(nearest->score + v * MR_LANES, mr_set(__builtin_inff()));
        *(mr_vec_i *)(nearest->index + v * MR_LANES) = (mr_vec_i){0};
    }
    for (size_t first = 0; first < layer->out; first += MR_BLOCK_OUT) {
        const size_t left = layer->out - first, n = left < MR_BLOCK_OUT ? left : MR_BLOCK_OUT;
        const float *const b = layer->b + first;
        switch (n) {
        case 1:
            near_rows(x, w, b, layer->in, first, nearest, vecs, 1, FULL);
            break;
        case 2:
            near_rows(x, w, b, layer->in, first, nearest, vecs, 2, FULL);
            break;
        case 3:
            near_rows(x, w, b, layer->in, first, nearest, vecs, 3, FULL);
            break;
        case 4:
            near_rows(x, w, b, layer->in, first, nearest, vecs, 4, FULL);
            break;
        case 5:
            near_rows(x, w, b, layer->in, first, nearest, vecs, 5, FULL);
            break;
        default:
            near_rows(x, w, b, layer->in, first, nearest, vecs, 6, FULL);
        }
        w += layer->in * n;
    }
}

/* |x|^2 + 2 * score, at least 0. */
MR_INLINE void distance_tile(const float *x, size_t in, const float *score, float *y, size_t vecs)
{
    for (size_t v = 0; v < vecs; v++) {
        mr_vec even = {0}, odd = {0};
        size_t c = 0;
        for (; c + 2 <= in; c += 2) {
            const mr_vec one = mr_load(x + c * MR_TILE_ROWS + v * MR_LANES),
                         two = mr_load(x + (c + 1) * MR_TILE_ROWS + v * MR_LANES);
            even += one * one;
            odd += two * two;
        }
        if (c < in) {
            const mr_vec one = mr_load(x + c * MR_TILE_ROWS + v * MR_LANES);
            even += one * one;
        }
        mr_store(y + v * MR_LANES, mr_max(mr_load(score + v * MR_LANES) * 2 + (even + odd), mr_set(0)));
    }
}

/*
 * No more centres than a block has: all that is done with a row is done while it is in registers. N centres by V
 * vectors of rows; has_y: their distances are wanted.
 */
MR_INLINE void few_block(const struct mr_packed *model, const float *x, float *y, int32_t *class_index, const int N,
                         const int V, const bool has_y)
{
    const float *w = model->layer[0].w;
    mr_vec sum[MR_BLOCK_OUT][MR_TILE_VECS], square[MR_TILE_VECS];
    MR_EACH(o, N) MR_EACH(v, V) sum[o][v] = mr_set(model->layer[0].b[o]);
    MR_EACH(v, V) square[v] = (mr_vec){0};
    for (size_t c = 0; c < model->in; c++, x += MR_TILE_ROWS, w += N) {
        const mr_vec by = mr_set(model->shift[c]);
        mr_vec value[MR_TILE_VECS];
        MR_EACH(v, V) value[v] = mr_load(x + v * MR_LANES) - by;
        MR_EACH(o, N)
        {
            const mr_vec weight = mr_set(w[o]);
            MR_EACH(v, V) sum[o][v] += value[v] * weight;
        }
        if (has_y) MR_EACH(v, V) square[v] += value[v] * value[v];
    }
    MR_EACH(v, V)
    {
        mr_vec best = sum[0][v];
        mr_vec_i at = {0}, here = {0};
        for (int o = 1; o < N; o++) {
            here += 1;
            at = mr_select_i(mr_greater(best, sum[o][v]), here, at);
            best = mr_min(best, sum[o][v]);
        }
        if (has_y) mr_store(y + v * MR_LANES, mr_max(best * 2 + square[v], mr_set(0)));
        if (class_index) *(mr_vec_i *)(class_index + v * MR_LANES) = at;
    }
}

MR_INLINE void few_rows(const struct mr_packed *model, const float *x, float *y, int32_t *class_index, size_t vecs,
                        const int N, const int V, const bool has_y)
{
    size_t v = 0;
    for (; v + (size_t)V <= vecs; v += (size_t)V)
        few_block(model, x + v * MR_LANES, has_y ? y + v * MR_LANES : NULL,
                  class_index ? class_index + v * MR_LANES : NULL, N, V, has_y);
    for (; v < vecs; v++)
        few_block(model, x + v * MR_LANES, has_y ? y + v * MR_LANES : NULL,
                  class_index ? class_index + v * MR_LANES : NULL, N, 1, has_y);
}

/* With distances there are more sums to hold: fewer vectors at once. */
#define FEW_CASE(N)                                                                                                    \
    case N:                                                                                                            \
        if (y)                                                                                                         \
            few_rows(model, x, y, class_index, vecs, N, MR_REGISTERS == 32 ? 2 : 1, true);                             \
        else                                                                                                           \
            few_rows(model, x, NULL, class_index, vecs, N, MR_REGISTERS == 32 ? 4 : 2, false);                         \
        break;

static void few_tile(const struct mr_packed *model, const float *x, float *y, int32_t *class_index, size_t vecs)
{
    switch (model->layer[0].out) {
        FEW_CASE(1)
        FEW_CASE(2)
        FEW_CASE(3)
        FEW_CASE(4)
        FEW_CASE(5)
        FEW_CASE(6)
    default:
        break; /* near_tile's */
    }
}

/* Sorted centres, V vectors of rows: the last one whose lower bound is passed. */
MR_INLINE void line_block(const struct mr_line *line, const float *x, float *y, int32_t *class_index, const int V)
{
    mr_vec value[MR_TILE_VECS], center[MR_TILE_VECS];
    mr_vec_i index[MR_TILE_VECS];
    MR_EACH(v, V)
    {
        value[v] = mr_load(x + v * MR_LANES);
        center[v] = mr_set(line->center[0]);
        index[v] = (mr_vec_i){0} + line->index[0];
    }
    for (size_t i = 1; i < line->count; i++) {
        const mr_vec bound = mr_set(line->bound[i - 1]), next = mr_set(line->center[i]);
        const mr_vec_i next_index = (mr_vec_i){0} + line->index[i];
        MR_EACH(v, V)
        {
            const mr_mask is_passed = mr_greater(value[v], bound);
            center[v] = mr_select(is_passed, next, center[v]);
            index[v] = mr_select_i(is_passed, next_index, index[v]);
        }
    }
    MR_EACH(v, V)
    {
        const mr_vec off = value[v] - center[v];
        if (y) mr_store(y + v * MR_LANES, off * off);
        if (class_index) *(mr_vec_i *)(class_index + v * MR_LANES) = index[v];
    }
}

static __attribute__((noinline)) void line_tile(const struct mr_line *line, const float *x, float *y,
                                                int32_t *class_index, size_t vecs)
{
    enum { FULL = MR_REGISTERS == 32 ? 4 : 2 };
    size_t v = 0;
    for (; v + FULL <= vecs; v += FULL) {
        line_block(line, x + v * MR_LANES, y ? y + v * MR_LANES : NULL, class_index ? class_index + v * MR_LANES : NULL,
                   FULL);
    }
    for (; v < vecs; v++) {
        line_block(line, x + v * MR_LANES, y ? y + v * MR_LANES : NULL, class_index ? class_index + v * MR_LANES : NULL,
                   1);
    }
}

void MR_KERNEL_NAME(mr_kmeans_assign)(const float *x, const struct mr_packed *model, float *y, int32_t *class_index,
                                      void *scratch, size_t rows)
{
    float *const shifted = scratch;
    struct nearest nearest;
    mr_kernel_ran = MR_QUOTE(MR_VARIANT);
    for (size_t row = 0; row < rows; row += MR_TILE_ROWS) {
        const size_t vecs = mr_tile_vecs(rows - row);
        if (model->line.count) {
            line_tile(&model->line, x, y, class_index, vecs);
        } else if (model->layer[0].out <= MR_BLOCK_OUT) {
            few_tile(model, x, y, class_index, vecs);
        } else {
            mr_shift_tile(x, model->shift, model->in, shifted, vecs);
            near_tile(&model->layer[0], shifted, &nearest, vecs);
            if (y) distance_tile(shifted, model->in, nearest.score, y, vecs);
            for (size_t v = 0; class_index && v < vecs; v++)
                *(mr_vec_i *)(class_index + v * MR_LANES) = *(const mr_vec_i *)(nearest.index + v * MR_LANES);
        }
        x += model->in * MR_TILE_ROWS;
        if (y) y += MR_TILE_ROWS;
        if (class_index) class_index += MR_TILE_ROWS;
    }
}
