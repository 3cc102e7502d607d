/* The kernel table from kernels.def, and the choice among its rows. */
#include "kernels/kernels.h"

#include <string.h>

#if defined(__x86_64__)
#define IF_X86(fn) fn
#else
#define IF_X86(fn) NULL
#endif
#if defined(__aarch64__)
#define IF_ARM64(fn) fn
#else
#define IF_ARM64(fn) NULL
#endif

#define MR_KERNEL_ANY(kind, name, NAME, variant, needs) mr_##kind##_fn mr_##name##_##variant;
#define MR_KERNEL_X86                                   MR_KERNEL_ANY
#define MR_KERNEL_ARM64                                 MR_KERNEL_ANY
#include "kernels/kernels.def"
#undef MR_KERNEL_ANY
#undef MR_KERNEL_X86
#undef MR_KERNEL_ARM64

#define ROW(kind, name, NAME, which, features, fn)                                                                     \
    /* NOLINTNEXTLINE(bugprone-macro-parentheses): kind is a member's name */                                          \
    {.op = MR_OP_##NAME, .op_name = #name, .variant = #which, .needs = (features), .kind = fn},
#define MR_KERNEL_ANY(kind, name, NAME, which, features) ROW(kind, name, NAME, which, features, mr_##name##_##which)
#define MR_KERNEL_X86(kind, name, NAME, which, features)                                                               \
    ROW(kind, name, NAME, which, features, IF_X86(mr_##name##_##which))
#define MR_KERNEL_ARM64(kind, name, NAME, which, features)                                                             \
    ROW(kind, name, NAME, which, features, IF_ARM64(mr_##name##_##which))
const struct mr_kernel mr_kernels[] = {
#include "kernels/kernels.def"
};
const size_t mr_kernel_count = sizeof mr_kernels / sizeof *mr_kernels;

_Thread_local const char *mr_kernel_ran = "";

const char *mr_kernel_last_ran(void)
{
    return mr_kernel_ran;
}

unsigned mr_cpu_features(void)
{
    unsigned features = 0;
#if defined(__x86_64__)
    /* These ask the operating system too: a feature whose registers it does not save is not reported. */
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) features |= MR_CPU_AVX2;
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("fma")) {
        features |= MR_CPU_AVX512;
    }
    if (__builtin_cpu_supports("avx512bf16")) features |= MR_CPU_BF16;
    if (__builtin_cpu_supports("avx512vnni")) features |= MR_CPU_VNNI;
#elif defined(__aarch64__)
    features |= MR_CPU_NEON;
#endif
    return features;
}

bool mr_kernel_is_available(const struct mr_kernel *kernel, const char **reason_out)
{
    const unsigned lacking = kernel->needs & ~mr_cpu_features();
    const char *reason = NULL;
    if (!kernel->score && !kernel->sum) {
        reason = "not compiled for this architecture";
    } else if (lacking & MR_CPU_AVX512) {
        reason = "this CPU has no AVX-512 (f, bw, dq, vl)";
    } else if (lacking & MR_CPU_AVX2) {
        reason = "this CPU has no AVX2 with FMA";
    } else if (lacking & MR_CPU_BF16) {
        reason = "this CPU has no AVX512-BF16";
    } else if (lacking & MR_CPU_VNNI) {
        reason = "this CPU has no AVX512-VNNI";
    } else if (lacking) {
        reason = "this CPU lacks what it needs";
    }
    if (reason_out) *reason_out = reason;
    return !reason;
}

const struct mr_kernel *mr_kernel_select(mr_op op, const char *variant)
{
    for (size_t i = 0; i < mr_kernel_count; i++) {
        const struct mr_kernel *kernel = &mr_kernels[i];
        if (kernel->op != op || !mr_kernel_is_available(kernel, NULL)) continue;
        if (variant ? !strcmp(kernel->variant, variant) : !mr_op_is_special(op) || strcmp(kernel->variant, "ref") != 0)
            return kernel;
    }
    return NULL;
}

bool mr_op_is_special(mr_op op)
{
    return op == MR_OP_MLP_BF16 || op == MR_OP_MLP_INT8 || op == MR_OP_MF_TOPN_BF16;
}

const char *mr_op_name(mr_op op)
{
    for (size_t i = 0; i < mr_kernel_count; i++) {
        if (mr_kernels[i].op == op) return mr_kernels[i].op_name;
    }
    return "unknown";
}
