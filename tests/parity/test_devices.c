/*
 * Every operation runs on every backend: it has a kernel for devices, and rows in the table of the parity tests. Those
 * of less precision are made of instructions that CPUs have.
 */
#include "parity_rig.h"

#define MR_GPU_KERNEL(name, shares) #name,
#define MR_GPU_KERNEL_WIDE(name)    #name,
static const char *const gpu_kernels[] = {
#include "kernels/gpu.def"
};

static bool has_kernel(const char *name)
{
    for (size_t i = 0; i < sizeof gpu_kernels / sizeof *gpu_kernels; i++) {
        if (!strcmp(gpu_kernels[i], name)) return true;
    }
    return false;
}

static bool has_row(unsigned op, const char *variant)
{
    for (const struct mr_kernel *kernel = mr_device_kernels; kernel->variant; kernel++) {
        if (kernel->op == op && !strcmp(kernel->variant, variant)) return true;
    }
    return false;
}

static void every_operation(void **state)
{
    static const char *const variants[] = {"emulated", "emulated8", "emulated16", "opencl", "opencl_gpu", "cuda"};
    (void)state;
    for (unsigned op = 0; op < MR_OP_COUNT; op++) {
        if (mr_op_is_special(op) || op == MR_OP_GRAPH_FORWARD) continue; /* CPUs alone have them */
        if (!has_kernel(mr_op_name(op))) fail_msg("%s has no kernel for devices", mr_op_name(op));
        for (size_t i = 0; i < sizeof variants / sizeof *variants; i++) {
            if (!has_row(op, variants[i])) fail_msg("%s is not compared on %s", mr_op_name(op), variants[i]);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_operation)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
