/* Twelve independent sums: enough to hide the latency of a multiply-add on all units, few enough for 16 registers. */
#include "kernels/peak/peak.h"
#include "kernels/simd.h"

#define SUM_COUNT 12
#define STEPS     1024

mr_peak_fn MR_KERNEL_NAME(mr_peak);

double MR_KERNEL_NAME(mr_peak)(size_t rounds)
{
    /* The compiler must not know the operands (it drops a sum that stays as it is), nor drop the result. */
    volatile float start = 0.37f, step_factor = 0.999f, step_term = 1e-3f;
    const mr_vec factor = mr_set(step_factor), term = mr_set(step_term);
    mr_vec sum[SUM_COUNT];
    MR_UNROLL for (int i = 0; i < SUM_COUNT; i++) sum[i] = mr_set(start + (float)i);
    for (size_t round = 0; round < rounds; round++) {
        for (int step = 0; step < STEPS; step++) {
            MR_UNROLL for (int i = 0; i < SUM_COUNT; i++) sum[i] = sum[i] * factor + term;
        }
    }
    MR_UNROLL for (int i = 1; i < SUM_COUNT; i++) sum[0] += sum[i];
    volatile float kept = sum[0][0];
    (void)kept;
    return 2.0 * (double)rounds * STEPS * SUM_COUNT * MR_LANES;
}
