/* The text of mf_sgd for one kind of number, REAL: mf_sgd_simd.c includes it for float and for double, nobody else. */

typedef REAL NAMED(vec) __attribute__((vector_size(MR_LANES * 4), may_alias));
#define LANES (MR_LANES * 4 / sizeof(REAL))

MR_INLINE NAMED(vec) NAMED(load)(const REAL *from)
{
    return *(const NAMED(vec) *)from;
}

MR_INLINE REAL NAMED(dot)(const REAL *p, const REAL *q, size_t stride)
{
    NAMED(vec) sum[SUMS] = {0};
    size_t at = 0;
    for (; at + SUMS * LANES <= stride; at += SUMS * LANES) {
        MR_UNROLL for (size_t i = 0; i < SUMS; i++) sum[i] +=
            NAMED(load)(p + at + i * LANES) * NAMED(load)(q + at + i * LANES);
    }
    MR_UNROLL for (size_t i = 0; i < SUMS - 1; i++)
    {
        if (at + i * LANES < stride) sum[i] += NAMED(load)(p + at + i * LANES) * NAMED(load)(q + at + i * LANES);
    }
    const NAMED(vec) all = (sum[0] + sum[1]) + (sum[2] + sum[3]);
    return NAMED(TOTAL)(all);
}

MR_INLINE double NAMED(steps)(const struct mr_mf_sgd *model, const struct mr_rating *rating, size_t count)
{
    REAL *const row_factor = model->row_factor, *const col_factor = model->col_factor;
    REAL *const row_bias = model->row_bias, *const col_bias = model->col_bias;
    const size_t stride = model->stride;
    const bool is_biased = model->is_biased;
    const REAL mean = (REAL)model->mean, step = (REAL)model->step, kept = (REAL)(1 - model->step * model->reg);
    double squares = 0;
    for (size_t i = 0; i < count; i++) {
        const size_t row = rating[i].row, col = rating[i].col;
        REAL *const p = row_factor + row * stride, *const q = col_factor + col * stride;
        if (i + DISTANCE < count) {
            const char *const next = (const char *)(col_factor + rating[i + DISTANCE].col * stride);
            for (size_t at = 0; at < stride * sizeof(REAL); at += LINE) __builtin_prefetch(next + at, 1);
        }
        REAL error = (REAL)rating[i].value - mean - NAMED(dot)(p, q, stride);
        if (is_biased) error -= row_bias[row] + col_bias[col];
        squares += (double)error * (double)error;
        const REAL pull = step * error;
        if (is_biased) {
            row_bias[row] = kept * row_bias[row] + pull;
            col_bias[col] = kept * col_bias[col] + pull;
        }
        for (size_t at = 0; at < stride; at += LANES) {
            const NAMED(vec) old_p = NAMED(load)(p + at), old_q = NAMED(load)(q + at);
            *(NAMED(vec) *)(p + at) = kept * old_p + pull * old_q;
            *(NAMED(vec) *)(q + at) = kept * old_q + pull * old_p;
        }
    }
    return squares;
}
#undef LANES
