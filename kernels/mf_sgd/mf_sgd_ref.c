/* What mf_sgd means: plain loops, in double but for where the numbers are kept. */
#include "kernels/mf_sgd/mf_sgd.h"

mr_mf_sgd_fn mr_mf_sgd_f32_ref, mr_mf_sgd_f64_ref;

/* NOLINTBEGIN(bugprone-macro-parentheses): real is a type */
#define REFERENCE(name, real)                                                                                          \
    double name(const struct mr_mf_sgd *model, const struct mr_rating *rating, size_t count)                           \
    {                                                                                                                  \
        const double step = model->step, reg = model->reg;                                                             \
        double squares = 0;                                                                                            \
        for (size_t i = 0; i < count; i++) {                                                                           \
            real *const p = (real *)model->row_factor + rating[i].row * model->stride;                                 \
            real *const q = (real *)model->col_factor + rating[i].col * model->stride;                                 \
            double estimate = model->mean;                                                                             \
            for (size_t f = 0; f < model->stride; f++) estimate += (double)p[f] * (double)q[f];                        \
            real *const row_bias = model->is_biased ? (real *)model->row_bias + rating[i].row : NULL;                  \
            real *const col_bias = model->is_biased ? (real *)model->col_bias + rating[i].col : NULL;                  \
            if (model->is_biased) estimate += (double)*row_bias + (double)*col_bias;                                   \
            const double error = (double)rating[i].value - estimate;                                                   \
            squares += error * error;                                                                                  \
            if (model->is_biased) {                                                                                    \
                *row_bias = (real)((double)*row_bias + step * (error - reg * (double)*row_bias));                      \
                *col_bias = (real)((double)*col_bias + step * (error - reg * (double)*col_bias));                      \
            }                                                                                                          \
            for (size_t f = 0; f < model->stride; f++) {                                                               \
                const double old = (double)p[f];                                                                       \
                p[f] = (real)(old + step * (error * (double)q[f] - reg * old));                                        \
                q[f] = (real)((double)q[f] + step * (error * old - reg * (double)q[f]));                               \
            }                                                                                                          \
        }                                                                                                              \
        return squares;                                                                                                \
    }

/* NOLINTEND(bugprone-macro-parentheses) */
REFERENCE(mr_mf_sgd_f32_ref, float)
REFERENCE(mr_mf_sgd_f64_ref, double)
