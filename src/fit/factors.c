#include "fit/factors.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mersenne.h"
#include "millrace/batch.h"

#define PIECE 65536 /* ratings whose errors are added up by one thread */

static void *numbers_create(size_t count, bool is_double)
{
    const size_t bytes = count * (is_double ? sizeof(double) : sizeof(float));
    void *const numbers = aligned_alloc(MR_ALIGN, (bytes / MR_ALIGN + 1) * MR_ALIGN);
    if (numbers) memset(numbers, 0, bytes);
    return numbers;
}

static double number_at(const struct mr_factors *factors, const void *numbers, size_t at)
{
    return factors->is_double ? ((const double *)numbers)[at] : (double)((const float *)numbers)[at];
}

static void factors_draw(const struct mr_factors *factors, struct mr_mersenne *mersenne, double deviation, size_t count,
                         void *to)
{
    for (size_t i = 0; i < count; i++) {
        for (size_t f = 0; f < factors->rank; f++) {
            const double value = deviation * mr_mersenne_normal(mersenne);
            if (factors->is_double)
                ((double *)to)[i * factors->stride + f] = value;
            else
                ((float *)to)[i * factors->stride + f] = (float)value;
        }
    }
}

mr_status mr_factors_init(struct mr_factors *factors, double deviation, uint32_t seed, struct mr_err *err)
{
    struct mr_mersenne mersenne;
    factors->stride = (factors->rank + MR_MF_STRIDE - 1) / MR_MF_STRIDE * MR_MF_STRIDE;
    factors->row_factor = numbers_create(factors->rows * factors->stride, factors->is_double);
    factors->col_factor = numbers_create(factors->cols * factors->stride, factors->is_double);
    factors->row_bias = numbers_create(factors->rows, factors->is_double);
    factors->col_bias = numbers_create(factors->cols, factors->is_double);
    if (!factors->row_factor || !factors->col_factor || !factors->row_bias || !factors->col_bias)
        return mr_fail(err, MR_ENOMEM, "out of memory for %zu factors of %zu users and %zu items", factors->rank,
                       factors->rows, factors->cols);
    mr_mersenne_init(&mersenne, seed);
    factors_draw(factors, &mersenne, deviation, factors->rows, factors->row_factor);
    factors_draw(factors, &mersenne, deviation, factors->cols, factors->col_factor);
    return MR_OK;
}

void mr_factors_deinit(struct mr_factors *factors)
{
    free(factors->row_factor);
    free(factors->col_factor);
    free(factors->row_bias);
    free(factors->col_bias);
    *factors = (struct mr_factors){0};
}

/* Sums of every fourth product, which do not wait for each other. */
#define DOT(name, real)                                                                                                \
    static double name(const void *p_at, const void *q_at, size_t row, size_t col, size_t stride)                      \
    {                                                                                                                  \
        const real *const p = (const real *)p_at + row * stride, *const q = (const real *)q_at + col * stride;         \
        double sum[4] = {0};                                                                                           \
        for (size_t f = 0; f < stride; f += 4)                                                                         \
            for (size_t i = 0; i < 4; i++) sum[i] += (double)p[f + i] * (double)q[f + i];                              \
        return (sum[0] + sum[1]) + (sum[2] + sum[3]);                                                                  \
    }
DOT(dot_f32, float)
DOT(dot_f64, double)

static double estimate(const struct mr_factors *factors, size_t row, size_t col)
{
    const double bias = number_at(factors, factors->row_bias, row) + number_at(factors, factors->col_bias, col);
    return factors->mean + bias +
           (factors->is_double ? dot_f64 : dot_f32)(factors->row_factor, factors->col_factor, row, col,
                                                    factors->stride);
}

struct scoring {
    const struct mr_factors *factors;
    const struct mr_rating *rating;
    size_t count;
    double low, high;
    double *sums; /* [pieces][2]: of squares, of magnitudes */
};

static void piece_score(void *context, size_t piece)
{
    const struct scoring *const scoring = context;
    const size_t first = piece * PIECE, end = first + PIECE < scoring->count ? first + PIECE : scoring->count;
    double squares = 0, magnitudes = 0;
    for (size_t i = first; i < end; i++) {
        const struct mr_rating *const rating = &scoring->rating[i];
        const double value = estimate(scoring->factors, rating->row, rating->col);
        const double error = (double)rating->value - fmin(fmax(value, scoring->low), scoring->high);
        squares += error * error;
        magnitudes += fabs(error);
    }
    scoring->sums[2 * piece] = squares;
    scoring->sums[2 * piece + 1] = magnitudes;
}

mr_status mr_factors_score(struct mr_crew *crew, const struct mr_factors *factors, const struct mr_rating *rating,
                           size_t count, double low, double high, struct mr_factors_score *score_out,
                           struct mr_err *err)
{
    const size_t pieces = (count + PIECE - 1) / PIECE;
    struct scoring scoring = {factors, rating, count, low, high, malloc((2 * pieces + 1) * sizeof(double))};
    double squares = 0, magnitudes = 0;
    if (!scoring.sums) return mr_fail(err, MR_ENOMEM, "out of memory");
    mr_crew_share(crew, pieces, piece_score, &scoring);
    for (size_t i = 0; i < pieces; i++) {
        squares += scoring.sums[2 * i];
        magnitudes += scoring.sums[2 * i + 1];
    }
    free(scoring.sums);
    *score_out = (struct mr_factors_score){sqrt(squares / (double)count), magnitudes / (double)count};
    return MR_OK;
}
