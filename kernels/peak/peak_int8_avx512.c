/* As peak_simd.c, of the instruction that multiplies and adds four pairs of bytes a lane. */
#include "kernels/peak/peak.h"
#include "kernels/simd.h"

#define SUM_COUNT 12
#define STEPS     1024

mr_peak_fn mr_peak_int8;

double mr_peak_int8(size_t rounds)
{
    volatile int start = 0x01020304, step = 0x01000100; /* they must not be known */
    const __m512i factor = _mm512_set1_epi32(start), term = _mm512_set1_epi32(step);
    __m512i sum[SUM_COUNT];
    MR_UNROLL for (int i = 0; i < SUM_COUNT; i++) sum[i] = _mm512_set1_epi32(i);
    for (size_t round = 0; round < rounds; round++) {
        for (int i = 0; i < STEPS; i++) {
            MR_UNROLL for (int k = 0; k < SUM_COUNT; k++) sum[k] = _mm512_dpbusd_epi32(sum[k], factor, term);
        }
    }
    MR_UNROLL for (int i = 1; i < SUM_COUNT; i++) sum[0] = _mm512_add_epi32(sum[0], sum[i]);
    volatile int kept = _mm512_cvtsi512_si32(sum[0]);
    (void)kept;
    return 8.0 * (double)rounds * STEPS * SUM_COUNT * MR_LANES;
}
