/* As peak_simd.c, of the instruction that multiplies and adds two pairs of bfloat16 a lane. */
#include "kernels/peak/peak.h"
#include "kernels/simd.h"

#define SUM_COUNT 12
#define STEPS     1024

mr_peak_fn mr_peak_bf16;

double mr_peak_bf16(size_t rounds)
{
    volatile uint32_t start = 0x3f803f80, step = 0x3a003a00; /* 1, and about 0.0005: they must not be known */
    const __m512bh factor = (__m512bh)_mm512_set1_epi32((int)start), term = (__m512bh)_mm512_set1_epi32((int)step);
    __m512 sum[SUM_COUNT];
    MR_UNROLL for (int i = 0; i < SUM_COUNT; i++) sum[i] = _mm512_set1_ps((float)i);
    for (size_t round = 0; round < rounds; round++) {
        for (int i = 0; i < STEPS; i++) {
            MR_UNROLL for (int k = 0; k < SUM_COUNT; k++) sum[k] = _mm512_dpbf16_ps(sum[k], factor, term);
        }
    }
    MR_UNROLL for (int i = 1; i < SUM_COUNT; i++) sum[0] += sum[i];
    volatile float kept = sum[0][0];
    (void)kept;
    return 4.0 * (double)rounds * STEPS * SUM_COUNT * MR_LANES;
}
