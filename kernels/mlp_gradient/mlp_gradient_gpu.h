/*
 * mlp_gradient on a device. The layers forward as in mlp_forward, each into scratch; mlp_residuals: how far the scores
 * are from the labels, the loss; then back: mlp_gradient, the products of a layer's residuals and inputs, summed over
 * the rows of a block; the transposed layer carries the residuals on, mlp_slope. At the end mlp_reduce adds the blocks.
 * Every sum has one order, whatever runs when.
 */
#ifndef MR_KERNEL_MLP_GRADIENT_GPU_H
#define MR_KERNEL_MLP_GRADIENT_GPU_H

#include "kernels/gpu_dense.h"
#include "kernels/gpu_product.h"
#include "kernels/gpu_sums.h"
#include "kernels/linear_sum/linear_sum_gpu.h"

/** The weights of classes of a model; NULL: it has none. */
MR_DEVICE MR_GLOBAL const float *mr_class_weight(MR_GLOBAL const mr_word *model, MR_GLOBAL const mr_word *at)
{
    return at[MR_SUMS_WEIGHT] ? (MR_GLOBAL const float *)(model + at[MR_SUMS_WEIGHT]) : 0;
}

/** Residuals to[out][64] of the rows of a tile that are this thread's, through r[MR_SUM_OUTS][MR_SUM_BLOCK]; losses
 * and labels; not_wanted[64]: room for what is not. */
MR_DEVICE void mr_residuals_store(MR_GLOBAL const mr_word *at, MR_GLOBAL const float *weight, MR_GLOBAL const float *y,
                                  MR_GLOBAL const float *label, MR_GLOBAL const float *rest, MR_SHARED float *r,
                                  MR_SHARED float *losses, MR_SHARED float *theres, MR_SHARED float *not_wanted,
                                  MR_GLOBAL float *to)
{
    const mr_word out = at[MR_SUMS_OUT];
    for (mr_word first = 0; first < out; first += MR_SUM_OUTS) {
        const mr_word outs = out - first < MR_SUM_OUTS ? out - first : MR_SUM_OUTS;
        mr_residuals_tile(at, weight, first, outs, y, label, rest, r, first ? not_wanted : losses,
                          first ? not_wanted : theres);
        for (mr_word row = mr_local_id() * MR_LANES; row < MR_TILE; row += mr_group_size() * MR_LANES) {
            for (mr_word o = 0; o < outs; o++)
                MR_STORE(MR_GLOBAL, to + (first + o) * MR_TILE + row, MR_LOAD(MR_SHARED, r + o * MR_SUM_BLOCK + row));
        }
    }
}

MR_KERNEL(mlp_residuals)(MR_KERNEL_ARGS)
{
    MR_KERNEL_BEGIN();
    MR_GLOBAL const mr_word *const at = model + step;
    const mr_word out = at[MR_SUMS_OUT], size = at[MR_SUMS_ROWS], start = mr_group_id() * size;
    const mr_word tile_rows = (rows + MR_TILE - 1) / MR_TILE * MR_TILE;
    const mr_word end = rows - start < size ? rows : start + size;
    MR_SHARED float *const losses = shared + MR_SUM_OUTS * MR_SUM_BLOCK, *const theres = losses + MR_SUM_BLOCK;
    MR_GLOBAL float *const partial = scratch + (size_t)(at[MR_RESIDUALS_PARTIAL] - 1) * MR_TILE +
                                     (size_t)mr_group_id() * at[MR_RESIDUALS_STRIDE] + at[MR_RESIDUALS_AT];
    float sum = 0.0f, sum_there = 0.0f;
    for (mr_word first = start; first < end; first += MR_SUM_BLOCK) {
        const mr_word tiles = mr_block_tiles(first, end);
        for (mr_word tile = 0; tile < tiles; tile++) {
            const mr_word row = first + tile * MR_TILE;
            mr_residuals_store(at, mr_class_weight(model, at), y + (size_t)row * out, label + row,
                               label + tile_rows + row, shared, losses + tile * MR_TILE, theres + tile * MR_TILE,
                               theres + MR_SUM_BLOCK, mr_place(scratch, at[MR_RESIDUALS_TO], row / MR_TILE, out));
        }
        mr_barrier();
        if (mr_local_id() == 0) {
            sum += mr_add_values(losses, tiles);
            sum_there += mr_add_values(theres, tiles);
        }
        mr_barrier();
    }
    if (mr_local_id() == 0) {
        partial[0] = sum;
        partial[1] = sum_there;
    }
}

/** The slope of GELU at z, whose value there is a: P(Z < z), which is a / z, and z times the density. */
MR_DEVICE mr_vf mr_gelu_slope(mr_vf z, mr_vf a)
{
    const mr_vf size = mr_from_bits(mr_bits(z) & 0x7fffffff);
    const mr_vf below = z * 0.398942280f + 0.5f, safe = mr_pick(size < 1e-3f, mr_set(1.0f), z);
    const mr_vf density = mr_exp2_of_negative(z * z * -0.72134752f); /* 2^(-z^2 / 2 / ln 2) */
    return mr_pick(size < 1e-3f, below, a / safe) + z * density * 0.398942280f;
}

MR_DEVICE mr_vf mr_slope(mr_word activation, MR_GLOBAL const float *a, MR_GLOBAL const float *z)
{
    const mr_vf value = MR_LOAD(MR_GLOBAL, a), one = mr_set(1.0f);
    switch (activation) {
    case MR_GPU_SIGMOID:
        return value * (one - value);
    case MR_GPU_TANH:
        return one - value * value;
    case MR_GPU_RELU:
        return mr_pick(value > 0.0f, one, mr_set(0.0f));
    case MR_GPU_GELU:
        return mr_gelu_slope(MR_LOAD(MR_GLOBAL, z), value);
    default:
        return one;
    }
}

MR_KERNEL(mlp_slope)(MR_KERNEL_ARGS)
{
    MR_KERNEL_BEGIN();
    MR_GLOBAL const mr_word *const at = model + step;
    const mr_word tiles = at[MR_SLOPE_TILES], cols = at[MR_SLOPE_COLS], activation = at[MR_SLOPE_ACTIVATION];
    for (mr_word tile = mr_group_id() * tiles; tile < (mr_group_id() + 1) * tiles && tile * MR_TILE < rows; tile++) {
        MR_GLOBAL float *const d = mr_place(scratch, at[MR_SLOPE_D], tile, cols);
        MR_GLOBAL const float *const a = mr_place(scratch, at[MR_SLOPE_A], tile, cols);
        MR_GLOBAL const float *const z = activation == MR_GPU_GELU ? mr_place(scratch, at[MR_SLOPE_Z], tile, cols) : a;
        for (mr_word i = mr_local_id() * MR_LANES; i < cols * MR_TILE; i += mr_group_size() * MR_LANES)
            MR_STORE(MR_GLOBAL, d + i, MR_LOAD(MR_GLOBAL, d + i) * mr_slope(activation, a + i, z + i));
    }
}

/** What a group of mlp_gradient works on: rows [first, end) of tiles, and where its sums go. */
struct mr_outer {
    MR_GLOBAL const float *d, *a; /* at the first tile: residuals [out][64], inputs [in][64] */
    MR_GLOBAL float *w, *b;       /* partial sums [out][in], [out] */
    mr_word in, out, tiles;
};

/** Where the sums of a block of rows stand. */
MR_DEVICE MR_GLOBAL float *mr_partial_of(MR_GLOBAL const mr_word *at, MR_GLOBAL float *scratch, mr_word block)
{
    return scratch + (size_t)(at[MR_GRADIENT_PARTIAL] - 1) * MR_TILE + (size_t)block * at[MR_GRADIENT_STRIDE];
}

MR_DEVICE struct mr_outer mr_outer_of(MR_GLOBAL const mr_word *at, MR_GLOBAL const float *x, MR_GLOBAL float *scratch,
                                      mr_word rows, mr_word block)
{
    struct mr_outer outer;
    const mr_word size = at[MR_GRADIENT_ROWS], first = block * size, tile = first / MR_TILE;
    MR_GLOBAL float *const partial = mr_partial_of(at, scratch, block);
    outer.in = at[MR_GRADIENT_IN];
    outer.out = at[MR_GRADIENT_OUT];
    outer.tiles = ((rows - first < size ? rows - first : size) + MR_TILE - 1) / MR_TILE;
    outer.d = mr_place(scratch, at[MR_GRADIENT_D], tile, outer.out);
    outer.a = at[MR_GRADIENT_FROM] ? mr_place(scratch, at[MR_GRADIENT_FROM], tile, outer.in)
                                   : x + (size_t)tile * outer.in * MR_TILE;
    outer.w = partial + at[MR_GRADIENT_W];
    outer.b = partial + at[MR_GRADIENT_B];
    return outer;
}

/** A sum of the first rows of a block, or of later ones, which is added. */
MR_DEVICE void mr_partial_put(MR_GLOBAL float *to, float sum, int is_first)
{
    *to = is_first ? sum : *to + sum;
}

#if MR_LANES == 1

/*
 * A work-group of 256 threads has 128 outputs by 128 inputs, each thread 8 by 8 in registers, from slices of 16 rows
 * that are turned over on their way into shared memory. After MR_OUTER_TILES tiles the sums go into the block's.
 */
#define MR_OUTER_TILES  2             /* tiles whose rows are added one by one */
#define MR_OUTER_STRIDE (MR_WIDE + 4) /* floats: fewer threads meet at a bank of shared memory */
#define MR_OUTER_SHARED (2 * MR_WIDE_SLICE * MR_OUTER_STRIDE) /* floats */

/** Four rows of two columns, 64 apart, of a slice. */
struct mr_outer_part {
    mr_f4 low, high;
};

/** Where this thread reads the slices of its columns, one after the other; 0 where there is no such column. */
struct mr_outer_reader {
    MR_GLOBAL const float *from;
    mr_word step; /* from the last slice of a tile to the first of the next */
    int has_low, has_high;
};

MR_DEVICE struct mr_outer_reader mr_outer_open(MR_GLOBAL const float *from, mr_word cols, mr_word first)
{
    struct mr_outer_reader reader;
    const mr_word col = first + mr_local_id() / 4;
    reader.from = from + (size_t)col * MR_TILE + mr_local_id() % 4 * 4;
    reader.step = cols * MR_TILE - 3 * MR_WIDE_SLICE;
    reader.has_low = col < cols;
    reader.has_high = col + 64 < cols;
    return reader;
}

MR_DEVICE struct mr_outer_part mr_outer_read(struct mr_outer_reader *reader, mr_word slice)
{
    struct mr_outer_part part;
    part.low = mr_slice_load(reader->from, reader->has_low);
    part.high = mr_slice_load(reader->from + 64 * MR_TILE, reader->has_high);
    reader->from += slice % 4 == 3 ? reader->step : MR_WIDE_SLICE;
    return part;
}

MR_DEVICE void mr_outer_store(MR_SHARED float *to, const struct mr_outer_part *part)
{
    to += mr_local_id() % 4 * 4 * MR_OUTER_STRIDE + mr_local_id() / 4;
    to[0] = part->low.x;
    to[MR_OUTER_STRIDE] = part->low.y;
    to[2 * MR_OUTER_STRIDE] = part->low.z;
    to[3 * MR_OUTER_STRIDE] = part->low.w;
    to[64] = part->high.x;
    to[64 + MR_OUTER_STRIDE] = part->high.y;
    to[64 + 2 * MR_OUTER_STRIDE] = part->high.z;
    to[64 + 3 * MR_OUTER_STRIDE] = part->high.w;
}

/**
 * The sums of this thread into the block's, and back to 0. Sizes and places are read again, here, so that they need no
 * registers while slices are multiplied.
 */
MR_DEVICE void mr_outer_flush(MR_GLOBAL const mr_word *at, MR_GLOBAL float *scratch, mr_word first_out,
                              mr_word first_in, int is_first, float *acc, float *bias)
{
    const mr_word out = at[MR_GRADIENT_OUT], in = at[MR_GRADIENT_IN];
    const mr_word o_own = first_out + mr_local_id(), c = first_in + mr_local_id() % 16 * 4, left = c < in ? in - c : 0;
    MR_GLOBAL float *const partial = mr_partial_of(at, scratch, mr_group_id() / at[MR_GRADIENT_BLOCKS]);
    MR_UNROLL for (mr_word i = 0; i < 8; i++)
    {
        const mr_word o = first_out + MR_WIDE_AT(mr_local_id() / 16, i);
        MR_GLOBAL float *const to = partial + at[MR_GRADIENT_W] + (size_t)o * in + c;
        MR_UNROLL for (mr_word k = 0; k < 8; k++)
        {
            if (o < out && MR_WIDE_AT(0, k) < left) mr_partial_put(to + MR_WIDE_AT(0, k), acc[i * 8 + k], is_first);
            acc[i * 8 + k] = 0.0f;
        }
    }
    if (first_in == 0 && mr_local_id() < MR_WIDE && o_own < out)
        mr_partial_put(partial + at[MR_GRADIENT_B] + o_own, *bias, is_first);
    *bias = 0.0f;
}

MR_KERNEL_WIDE(mlp_gradient)(MR_KERNEL_ARGS)
{
    MR_KERNEL_BEGIN();
    MR_GLOBAL const mr_word *const at = model + step;
    const mr_word blocks = at[MR_GRADIENT_BLOCKS], which = mr_group_id() % blocks, thread = mr_local_id();
    const mr_word first_out = which / at[MR_GRADIENT_IN_BLOCKS] * MR_WIDE;
    const mr_word first_in = which % at[MR_GRADIENT_IN_BLOCKS] * MR_WIDE;
    const struct mr_outer outer = mr_outer_of(at, x, scratch, rows, mr_group_id() / blocks);
    const mr_word slices = outer.tiles * 4, step_slices = MR_OUTER_TILES * 4;
    MR_SHARED float *const as = shared, *const ds = shared + MR_WIDE_SLICE * MR_OUTER_STRIDE;
    float acc[64], bias = 0.0f;
    MR_UNROLL for (int i = 0; i < 64; i++) acc[i] = 0.0f;
    struct mr_outer_reader reader_a = mr_outer_open(outer.a, outer.in, first_in);
    struct mr_outer_reader reader_d = mr_outer_open(outer.d, outer.out, first_out);
    struct mr_outer_part next_a = mr_outer_read(&reader_a, 0), next_d = mr_outer_read(&reader_d, 0);
    for (mr_word slice = 0; slice < slices; slice++) {
        mr_barrier(); /* the slice before is no longer read */
        mr_outer_store(as, &next_a);
        mr_outer_store(ds, &next_d);
        mr_barrier();
        if (slice + 1 < slices) {
            next_a = mr_outer_read(&reader_a, slice + 1);
            next_d = mr_outer_read(&reader_d, slice + 1);
        }
        mr_slice_multiply(as, ds, MR_OUTER_STRIDE, thread % 16, thread / 16, acc);
        for (mr_word row = 0; first_in == 0 && thread < MR_WIDE && row < MR_WIDE_SLICE; row++)
            bias += ds[row * MR_OUTER_STRIDE + thread];
        if ((slice + 1) % step_slices == 0 || slice + 1 == slices)
            mr_outer_flush(at, scratch, first_out, first_in, slice < step_slices, acc, &bias);
    }
}

#else

/* Outputs by inputs in registers, as outputs by vectors of rows in gpu_dense.h; rows of a block in lanes. */
#define MR_OUTER_START(o, v) mr_vf s##o##v = mr_set(0.0f);
#define MR_OUTER_A(o, v)     const mr_vf x##v = MR_LOAD(MR_GLOBAL, from_a + v * MR_TILE);
#define MR_OUTER_D(o, v)     const mr_vf w##o = MR_LOAD(MR_GLOBAL, from_d + o * MR_TILE);
#define MR_OUTER_KEEP(o, v)  mr_partial_put(to + (size_t)(o)*outer->in + v, mr_lanes_sum(s##o##v), is_first);
#define MR_OUTER_BLOCK(N, vecs)                                                                                        \
    MR_EACH_OUT_##N(MR_OUTER_START, vecs) for (mr_word t = first; t < end; t++)                                        \
    {                                                                                                                  \
        MR_GLOBAL const float *from_d = outer->d + ((size_t)t * outer->out + o) * MR_TILE;                             \
        MR_GLOBAL const float *from_a = outer->a + ((size_t)t * outer->in + c) * MR_TILE;                              \
        for (mr_word row = 0; row < MR_TILE; row += MR_LANES, from_d += MR_LANES, from_a += MR_LANES) {                \
            vecs(MR_OUTER_A, 0) MR_EACH_OUT_##N(MR_OUTER_D, MR_FIRST_VEC) MR_EACH_OUT_##N(MR_SUM_ADD, vecs)            \
        }                                                                                                              \
    }                                                                                                                  \
    MR_EACH_OUT_##N(MR_OUTER_KEEP, vecs)

/** MR_OUTS outputs from o on, or one, by all inputs: w[o][in] of tiles [first, end) of a block. */
#define MR_OUTER_ROWS(name, N)                                                                                         \
    MR_DEVICE void name(const struct mr_outer *outer, mr_word o, mr_word first, mr_word end, int is_first)             \
    {                                                                                                                  \
        MR_GLOBAL float *to = outer->w + (size_t)o * outer->in;                                                        \
        mr_word c = 0;                                                                                                 \
        for (; c + MR_VECS <= outer->in; c += MR_VECS, to += MR_VECS) {                                                \
            MR_OUTER_BLOCK(N, MR_EACH_VEC)                                                                             \
        }                                                                                                              \
        for (; c < outer->in; c++, to++) {                                                                             \
            MR_OUTER_BLOCK(N, MR_FIRST_VEC)                                                                            \
        }                                                                                                              \
    }
MR_OUTER_ROWS(mr_outer_rows_6, 6)
MR_OUTER_ROWS(mr_outer_rows_1, 1)

/** The sums of the biases. */
MR_DEVICE void mr_outer_bias(const struct mr_outer *outer, mr_word first, mr_word end, int is_first)
{
    for (mr_word o = 0; o < outer->out; o++) {
        mr_vf sum = mr_set(0.0f);
        for (mr_word t = first; t < end; t++) {
            MR_GLOBAL const float *const d = outer->d + ((size_t)t * outer->out + o) * MR_TILE;
            for (mr_word row = 0; row < MR_TILE; row += MR_LANES) sum += MR_LOAD(MR_GLOBAL, d + row);
        }
        mr_partial_put(outer->b + o, mr_lanes_sum(sum), is_first);
    }
}

MR_KERNEL(mlp_gradient)(MR_KERNEL_ARGS)
{
    MR_KERNEL_BEGIN();
    MR_GLOBAL const mr_word *const at = model + step;
    const struct mr_outer outer = mr_outer_of(at, x, scratch, rows, mr_group_id());
    for (mr_word first = 0; first < outer.tiles; first += MR_SUM_BLOCK / MR_TILE) {
        const mr_word left = outer.tiles - first;
        const mr_word end = first + (left < MR_SUM_BLOCK / MR_TILE ? left : MR_SUM_BLOCK / MR_TILE);
        mr_word o = 0;
        for (; o + MR_OUTS <= outer.out; o += MR_OUTS) mr_outer_rows_6(&outer, o, first, end, first == 0);
        for (; o < outer.out; o++) mr_outer_rows_1(&outer, o, first, end, first == 0);
        mr_outer_bias(&outer, first, end, first == 0);
    }
}

#endif

/* The blocks of all sums, with what each addition rounds off kept beside: to the start of scratch. */
MR_KERNEL(mlp_reduce)(MR_KERNEL_ARGS)
{
    MR_KERNEL_BEGIN();
    MR_GLOBAL const mr_word *const at = model + step;
    const mr_word stride = at[MR_GRADIENT_STRIDE], blocks = (rows - 1) / at[MR_GRADIENT_ROWS] + 1;
    const mr_word threads = at[MR_GRADIENT_BLOCKS] * mr_group_size();
    MR_GLOBAL const float *const partial = scratch + (size_t)(at[MR_GRADIENT_PARTIAL] - 1) * MR_TILE;
    for (mr_word i = (mr_group_id() * mr_group_size() + mr_local_id()) * MR_LANES; i < stride;
         i += threads * MR_LANES) {
        mr_vf sum = MR_LOAD(MR_GLOBAL, partial + i), rest = mr_set(0.0f);
        for (mr_word block = 1; block < blocks; block++) {
            const mr_vf value = MR_LOAD(MR_GLOBAL, partial + (size_t)block * stride + i), before = sum;
            sum = before + value;
            const mr_vf taken = sum - before;
            rest += (before - (sum - taken)) + (value - taken);
        }
        MR_STORE(MR_GLOBAL, scratch + i, sum + rest);
    }
}

#endif
