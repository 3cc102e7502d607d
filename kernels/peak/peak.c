#include "kernels/peak/peak.h"

#include <string.h>

mr_peak_fn mr_peak_base;
#if defined(__x86_64__)
mr_peak_fn mr_peak_avx2, mr_peak_avx512, mr_peak_bf16, mr_peak_int8;
#elif defined(__aarch64__)
mr_peak_fn mr_peak_neon;
#endif

static const struct {
    const char *variant;
    mr_peak_fn *fn;
} peaks[] = {
    {"base", mr_peak_base},
#if defined(__x86_64__)
    {"avx2", mr_peak_avx2}, {"avx512", mr_peak_avx512}, {"bf16", mr_peak_bf16}, {"int8", mr_peak_int8},
#elif defined(__aarch64__)
    {"neon", mr_peak_neon},
#endif
};

mr_peak_fn *mr_peak_find(const char *variant)
{
    for (size_t i = 0; i < sizeof peaks / sizeof *peaks; i++) {
        if (!strcmp(peaks[i].variant, variant)) return peaks[i].fn;
    }
    return NULL;
}
