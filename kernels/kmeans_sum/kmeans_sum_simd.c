/*
 * kmeans_sum with SIMD: row by row into the sums of the centre that it belongs to, a vector of columns at once, in
 * double. With fewer columns than a vector has, and few centres: each centre takes its rows by a weight of 1 or 0, as a
 * gradient does by its residuals.
 */
#include <string.h>

#include "kernels/kmeans_sum/kmeans_sum.h"
#include "kernels/sums.h"

mr_sum_fn MR_KERNEL_NAME(mr_kmeans_sum);

#define FEW 12 /* centres up to which looking at all of them is cheaper */

/* lanes: as the sums. is_mine: a tile of scratch. */
MR_INLINE void few_tile(const float *x, size_t cols, size_t k, const int32_t *class_index, const float *there,
                        float *is_mine, float *lanes, size_t vecs)
{
    for (size_t i = 0; i < k; i++) {
        const mr_vec_i here = (mr_vec_i){0} + (int32_t)i;
        for (size_t v = 0; v < vecs; v++) {
            const mr_mask mine = mr_equal_i(*(const mr_vec_i *)(class_index + v * MR_LANES), here);
            const mr_vec weight = mr_select(mine, mr_load(there + v * MR_LANES), (mr_vec){0});
            mr_store(is_mine + v * MR_LANES, weight);
            mr_lane_add(lanes + i * MR_LANES, weight);
        }
        mr_weigh_tile(x, cols, is_mine, lanes + (k + i * cols) * MR_LANES, vecs);
    }
}

/* Columns that are added at once: as many doubles as a register or two have. */
#if MR_LANES >= 8
#define BLOCK 8
#else
#define BLOCK 4
#endif

typedef float block_f __attribute__((vector_size(BLOCK * 4)));
typedef double block_d __attribute__((vector_size(BLOCK * 8)));

/* Lanes of two vectors, `by` vectors apart, after blocks of `by` lanes have changed places: the first, the second. */
#if MR_LANES == 16
#define FIRST_1  0, 16, 2, 18, 4, 20, 6, 22, 8, 24, 10, 26, 12, 28, 14, 30
#define SECOND_1 1, 17, 3, 19, 5, 21, 7, 23, 9, 25, 11, 27, 13, 29, 15, 31
#define FIRST_2  0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29
#define SECOND_2 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31
#define FIRST_4  0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26, 27
#define SECOND_4 4, 5, 6, 7, 20, 21, 22, 23, 12, 13, 14, 15, 28, 29, 30, 31
#elif MR_LANES == 8
#define FIRST_1  0, 8, 2, 10, 4, 12, 6, 14
#define SECOND_1 1, 9, 3, 11, 5, 13, 7, 15
#define FIRST_2  0, 1, 8, 9, 4, 5, 12, 13
#define SECOND_2 2, 3, 10, 11, 6, 7, 14, 15
#define FIRST_4  0, 1, 2, 3, 8, 9, 10, 11
#define SECOND_4 4, 5, 6, 7, 12, 13, 14, 15
#else
#define FIRST_1  0, 4, 2, 6
#define SECOND_1 1, 5, 3, 7
#define FIRST_2  0, 1, 4, 5
#define SECOND_2 2, 3, 6, 7
#endif

#define EXCHANGE(v, by)                                                                                                \
    MR_EACH(i, BLOCK)                                                                                                  \
    {                                                                                                                  \
        if (i & (by)) continue;                                                                                        \
        const mr_vec a = (v)[i], b = (v)[i + (by)];                                                                    \
        (v)[i] = __builtin_shufflevector(a, b, FIRST_##by);                                                            \
        (v)[i + (by)] = __builtin_shufflevector(a, b, SECOND_##by);                                                    \
    }

/* v[c][row] becomes v[row % BLOCK][row / BLOCK * BLOCK + c]: the columns of a row side by side. */
MR_INLINE void turn(mr_vec v[BLOCK])
{
    EXCHANGE(v, 1)
    EXCHANGE(v, 2)
#if BLOCK == 8
    EXCHANGE(v, 4)
#endif
}

/* A row's columns to its centre's sum. gcc 12 converts 8 numbers by halves where the machine does it at once. */
MR_INLINE void row_add(const mr_vec v[BLOCK], int row, block_d *sum)
{
#if MR_LANES == 16
    const __m512 all = (__m512)v[row % BLOCK];
    *sum += (block_d)_mm512_cvtps_pd(row < BLOCK ? _mm512_castps512_ps256(all) : _mm512_extractf32x8_ps(all, 1));
#else
    *sum += __builtin_convertvector((block_f)v[row], block_d);
#endif
}

/*
 * `blocks` blocks of columns of all rows, in the order of the rows. sum: [k][blocks], in scratch, so that it is small
 * and stays near. Up to four blocks at once: an addition waits for the one before it, as the CPU can not know that it
 * goes to another centre; four of them wait together (64 columns, 256 centres: 17 ns a row by twos, 14.6 by fours).
 */
MR_INLINE void blocks_add(const float *x, size_t cols, const int32_t *class_index, block_d *sum, size_t k, size_t rows,
                          size_t blocks)
{
    memset(sum, 0, k * blocks * sizeof *sum);
    for (size_t row = 0; row < rows; row += MR_TILE_ROWS, x += cols * MR_TILE_ROWS, class_index += MR_TILE_ROWS) {
        const size_t count = rows - row < MR_TILE_ROWS ? rows - row : MR_TILE_ROWS;
        size_t i = 0;
        for (; i + MR_LANES <= count; i += MR_LANES) {
            mr_vec v[4][BLOCK];
            for (size_t b = 0; b < blocks; b++) {
                MR_EACH(c, BLOCK) v[b][c] = mr_load(x + (b * BLOCK + (size_t)c) * MR_TILE_ROWS + i);
                turn(v[b]);
            }
            MR_EACH(lane, MR_LANES)
            {
                block_d *const at = sum + (size_t)class_index[i + (size_t)lane] * blocks;
                for (size_t b = 0; b < blocks; b++) row_add(v[b], lane, at + b);
            }
        }
        for (; i < count; i++) {
            double *const at = (double *)(sum + (size_t)class_index[i] * blocks);
            for (size_t c = 0; c < blocks * BLOCK; c++) at[c] += (double)x[c * MR_TILE_ROWS + i];
        }
    }
}

/* The columns behind the last whole block. */
static void rest_add(const float *x, size_t cols, size_t first, const int32_t *class_index, double *sums, size_t rows)
{
    for (size_t row = 0; row < rows && first < cols; row++) {
        double *const at = sums + (size_t)class_index[row] * cols;
        for (size_t c = first; c < cols; c++) at[c] += (double)x[mr_tile_at(row, c, cols)];
    }
}

/* [k]: four rows at a time count apart. */
static void count_add(const int32_t *class_index, uint32_t *apart, double *count, size_t k, size_t rows)
{
    memset(apart, 0, 4 * k * sizeof *apart);
    for (size_t row = 0; row < rows; row++) apart[row % 4 * k + (size_t)class_index[row]]++;
    for (size_t i = 0; i < k; i++)
        count[i] = (double)apart[i] + (double)apart[k + i] + (double)apart[2 * k + i] + (double)apart[3 * k + i];
}

/* Many centres or columns. */
static void many_add(const float *x, size_t cols, size_t k, const int32_t *class_index, void *scratch, double *sums,
                     size_t rows)
{
    block_d *const block = scratch;
    size_t c = 0, blocks;
    if (cols % BLOCK) memset(sums + k, 0, k * cols * sizeof *sums);
    count_add(class_index, scratch, sums, k, rows);
    for (; c + BLOCK <= cols; c += blocks * BLOCK) {
        blocks = c + 4 * BLOCK <= cols ? 4 : c + 2 * BLOCK <= cols ? 2 : 1;
        if (blocks == 4)
            blocks_add(x + c * MR_TILE_ROWS, cols, class_index, block, k, rows, 4);
        else if (blocks == 2)
            blocks_add(x + c * MR_TILE_ROWS, cols, class_index, block, k, rows, 2);
        else
            blocks_add(x + c * MR_TILE_ROWS, cols, class_index, block, k, rows, 1);
        for (size_t i = 0; i < k; i++) memcpy(sums + k + i * cols + c, block + i * blocks, blocks * sizeof *block);
    }
    rest_add(x, cols, c, class_index, sums + k, rows);
}

/* Few of both. scratch: lanes of all sums, then a tile. */
static void few_add(const float *x, size_t cols, size_t k, const int32_t *class_index, void *scratch, double *sums,
                    size_t rows)
{
    const size_t count = k * (cols + 1);
    float *const lanes = scratch;
    _Alignas(MR_ALIGN) float there[MR_TILE_ROWS];
    mr_lanes_clear(lanes, count);
    memset(sums, 0, count * sizeof *sums);
    for (size_t row = 0; row < rows; row += MR_TILE_ROWS, x += cols * MR_TILE_ROWS) {
        mr_there_tile(there, rows - row);
        few_tile(x, cols, k, class_index + row, there, lanes + count * MR_LANES, lanes, mr_tile_vecs(rows - row));
        if ((row + MR_TILE_ROWS) % MR_SUM_ROWS == 0) mr_lanes_flush(lanes, count, sums);
    }
    mr_lanes_flush(lanes, count, sums);
}

static void distance_add(const float *y, double *sum, size_t rows)
{
    _Alignas(MR_ALIGN) float lane[MR_LANES] = {0}, there[MR_TILE_ROWS];
    *sum = 0;
    for (size_t row = 0; row < rows; row += MR_TILE_ROWS) {
        mr_there_tile(there, rows - row);
        for (size_t v = 0; v < mr_tile_vecs(rows - row); v++) {
            const mr_mask is_there = mr_greater(mr_load(there + v * MR_LANES), (mr_vec){0});
            mr_lane_add(lane, mr_select(is_there, mr_load(y + row + v * MR_LANES), (mr_vec){0}));
        }
        if ((row + MR_TILE_ROWS) % MR_SUM_ROWS == 0) mr_lanes_flush(lane, 1, sum);
    }
    mr_lanes_flush(lane, 1, sum);
}

void MR_KERNEL_NAME(mr_kmeans_sum)(const float *x, const struct mr_packed *model, const struct mr_sum_target *target,
                                   double *sums, void *scratch, size_t rows)
{
    const size_t cols = model->in, k = model->out;
    mr_kernel_ran = MR_QUOTE(MR_VARIANT);
    (k <= FEW && cols < BLOCK ? few_add : many_add)(x, cols, k, target->class_index, scratch, sums, rows);
    distance_add(target->y, &sums[k * (cols + 1)], rows);
}
