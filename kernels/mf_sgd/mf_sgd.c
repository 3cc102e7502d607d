/* Which variants of mf_sgd there are. They are no rows of kernels.def: they score nothing, and change their model. */
#include "kernels/mf_sgd/mf_sgd.h"

#include <string.h>

#include "kernels/kernels.h"

mr_mf_sgd_fn mr_mf_sgd_f32_ref, mr_mf_sgd_f64_ref, mr_mf_sgd_f32_base, mr_mf_sgd_f64_base;
#if defined(__x86_64__)
mr_mf_sgd_fn mr_mf_sgd_f32_avx2, mr_mf_sgd_f64_avx2, mr_mf_sgd_f32_avx512, mr_mf_sgd_f64_avx512;
#elif defined(__aarch64__)
mr_mf_sgd_fn mr_mf_sgd_f32_neon, mr_mf_sgd_f64_neon;
#endif

static const struct {
    struct mr_mf_sgd_kernel kernel;
    unsigned needs;
} rows[] = {
#if defined(__x86_64__)
    {{"avx512", mr_mf_sgd_f32_avx512, mr_mf_sgd_f64_avx512}, MR_CPU_AVX512},
    {{"avx2", mr_mf_sgd_f32_avx2, mr_mf_sgd_f64_avx2}, MR_CPU_AVX2},
#elif defined(__aarch64__)
    {{"neon", mr_mf_sgd_f32_neon, mr_mf_sgd_f64_neon}, MR_CPU_NEON},
#endif
    {{"base", mr_mf_sgd_f32_base, mr_mf_sgd_f64_base}, 0},
    {{"ref", mr_mf_sgd_f32_ref, mr_mf_sgd_f64_ref}, 0},
};

const struct mr_mf_sgd_kernel *mr_mf_sgd_select(const char *variant)
{
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (rows[i].needs & ~mr_cpu_features()) continue;
        if (!variant || !strcmp(variant, rows[i].kernel.variant)) return &rows[i].kernel;
    }
    return NULL;
}
