/**
 * GPU kernels on the host: the threads of a work-group are fibres that take turns at barriers, so a kernel that relies
 * on more than its barriers gives wrong numbers here, and the sanitizers see what it reads and writes.
 */
#ifndef MR_TESTS_EMULATE_H
#define MR_TESTS_EMULATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** The arguments of every kernel (MR_KERNEL_ARGS in kernels/gpu.h). */
struct mr_emulated_args {
    const float *x;
    const uint32_t *model;
    float *y;
    int *class_index;
    const float *label;
    float *scratch;
    uint32_t rows, step;
};

/**
 * Runs `groups` work-groups of `threads` threads of the kernel of that name, such as "mlp_forward", compiled for
 * vectors of `lanes` rows (1, 8 or 16). Each group gets shared_bytes of memory filled with NaN. Returns false when
 * there is no such kernel, or no memory. A kernel in which only some threads of a group reach a barrier ends the
 * program.
 */
bool mr_emulate_launch(const char *kernel, unsigned lanes, uint32_t groups, uint32_t threads, size_t shared_bytes,
                       const struct mr_emulated_args *args);

#endif
