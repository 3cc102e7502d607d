/* Which variants of mf_als there are. */
#include "kernels/mf_als/mf_als.h"

#include <string.h>

#include "kernels/kernels.h"

mr_mf_als_fn mr_mf_als_ref, mr_mf_als_base;
#if defined(__x86_64__)
mr_mf_als_fn mr_mf_als_avx2, mr_mf_als_avx512;
#elif defined(__aarch64__)
mr_mf_als_fn mr_mf_als_neon;
#endif

static const struct {
    const char *variant;
    mr_mf_als_fn *fn;
    unsigned needs;
} rows[] = {
#if defined(__x86_64__)
    {"avx512", mr_mf_als_avx512, MR_CPU_AVX512},
    {"avx2", mr_mf_als_avx2, MR_CPU_AVX2},
#elif defined(__aarch64__)
    {"neon", mr_mf_als_neon, MR_CPU_NEON},
#endif
    {"base", mr_mf_als_base, 0},
    {"ref", mr_mf_als_ref, 0},
};

mr_mf_als_fn *mr_mf_als_select(const char *variant)
{
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (rows[i].needs & ~mr_cpu_features()) continue;
        if (!variant || !strcmp(variant, rows[i].variant)) return rows[i].fn;
    }
    return NULL;
}

size_t mr_mf_als_scratch(size_t rank)
{
    const size_t width = mr_mf_als_width(rank);
    return (MR_ALS_PANEL + width) * width * sizeof(double);
}
