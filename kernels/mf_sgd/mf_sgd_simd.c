/* Factors are the lanes: p and q are read once for the dot product, and once more, from the first-level cache, for the
 * step. Four sums hide the latency of their multiply-adds. */
#include "kernels/mf_sgd/mf_sgd.h"
#include "kernels/simd.h"

#define SUMS     4
#define DISTANCE 4  /* ratings between asking for a column's factors and using them */
#define LINE     64 /* bytes */

mr_mf_sgd_fn MR_KERNEL_NAME(mr_mf_sgd_f32), MR_KERNEL_NAME(mr_mf_sgd_f64);

/* Halves of a vector, until four or two numbers are left. */
#define LOW_8(v)   __builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7)
#define HIGH_8(v)  __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15)
#define LOW_4(v)   __builtin_shufflevector(v, v, 0, 1, 2, 3)
#define HIGH_4(v)  __builtin_shufflevector(v, v, 4, 5, 6, 7)
#define TOTAL_4(v) (((v)[0] + (v)[2]) + ((v)[1] + (v)[3]))
#if MR_LANES == 16
#define TOTAL_f32(v) TOTAL_4(LOW_4(LOW_8(v) + HIGH_8(v)) + HIGH_4(LOW_8(v) + HIGH_8(v)))
#define TOTAL_f64(v) TOTAL_4(LOW_4(v) + HIGH_4(v))
#elif MR_LANES == 8
#define TOTAL_f32(v) TOTAL_4(LOW_4(v) + HIGH_4(v))
#define TOTAL_f64(v) TOTAL_4(v)
#else
#define TOTAL_f32(v) TOTAL_4(v)
#define TOTAL_f64(v) ((v)[0] + (v)[1])
#endif

#define REAL        float
#define NAMED(name) MR_PASTE(name, f32)
#include "kernels/mf_sgd/mf_sgd_steps.h"
#undef REAL
#undef NAMED
#define REAL        double
#define NAMED(name) MR_PASTE(name, f64)
#include "kernels/mf_sgd/mf_sgd_steps.h"

double MR_KERNEL_NAME(mr_mf_sgd_f32)(const struct mr_mf_sgd *model, const struct mr_rating *rating, size_t count)
{
    return steps_f32(model, rating, count);
}

double MR_KERNEL_NAME(mr_mf_sgd_f64)(const struct mr_mf_sgd *model, const struct mr_rating *rating, size_t count)
{
    return steps_f64(model, rating, count);
}
