/** What the parity tests share: row counts around every register and tile size, salted numbers, guards, one test a row
 * of kernels.def. */
#ifndef MR_TESTS_PARITY_RIG_H
#define MR_TESTS_PARITY_RIG_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/kernels.h"
#include "millrace/batch.h"

#define GUARD_COUNT 64
#define GUARD       12345.0f

static const size_t row_counts[] = {0, 1, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 1000};
#define ROW_COUNTS (sizeof row_counts / sizeof *row_counts)

static unsigned long long seed;

static inline double uniform(void) /* [-1, 1) */
{
    seed = seed * 6364136223846793005ull + 1442695040888963407ull;
    return (double)(long long)seed / 9223372036854775808.0;
}

/** One in 50 is much larger, one in 50 is 0. */
static inline float salted(double size)
{
    const double dice = uniform();
    return (float)(uniform() * size * (dice > 0.96 ? 30 : dice < -0.96 ? 0 : 1));
}

/** Zeroed, for kernels; free() releases it. */
static inline void *zeroed(size_t bytes)
{
    void *const memory = aligned_alloc(MR_ALIGN, (bytes / MR_ALIGN + 1) * MR_ALIGN);
    assert_non_null(memory);
    return memset(memory, 0, (bytes / MR_ALIGN + 1) * MR_ALIGN);
}

/** Rows of salted features in tiles. */
static inline float *rows_make(size_t rows, size_t cols, double size)
{
    float *const x = zeroed(mr_tile_count(rows) * MR_TILE_ROWS * cols * sizeof *x);
    for (size_t row = 0; row < rows; row++) {
        for (size_t c = 0; c < cols; c++) x[mr_tile_at(row, c, cols)] = salted(size);
    }
    return x;
}

/* Under a sanitizer, or another machine's emulation, every path through the code matters and not every number. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define CASES_EVERY_CPU         5
#define CASES_EVERY_EMULATED(n) (2 * (n) + 1)
#else
#ifndef CASES_EVERY_CPU
#define CASES_EVERY_CPU 1
#endif
#define CASES_EVERY_EMULATED(n) (n)
#endif

/** One case in so many is checked, where cases are each of one thing with each of another: all on a CPU where nothing
 * slows it down; `emulated` on an emulated device, every launch of which starts hundreds of threads. */
static inline size_t cases_every(const struct mr_kernel *kernel, size_t emulated)
{
    return kernel >= mr_kernels && kernel < mr_kernels + mr_kernel_count ? CASES_EVERY_CPU
                                                                         : CASES_EVERY_EMULATED(emulated);
}

/** Skips the test, with its reason, where the kernel cannot run here. */
static inline void need_kernel(const struct mr_kernel *kernel)
{
    const char *reason;
    if (mr_kernel_is_available(kernel, &reason)) return;
    printf("SKIP: %s_%s: %s\n", kernel->op_name, kernel->variant, reason);
    skip();
}

/** Kernels of devices as rows of the table (parity/device.c), where they are linked in; {0} ends it. */
extern const struct mr_kernel mr_device_kernels[] __attribute__((weak));

/** Runs `check` with each variant but the reference of the operations [first, last]; an argument limits it to one.
 * cuda runs only when it is named: on the double and on a GPU these are tests of their own (CMakeLists.txt). */
static inline int parity_main(int argc, char **argv, void (*check)(void **state), mr_op first, mr_op last)
{
    struct CMUnitTest tests[128];
    static char names[128][64];
    size_t count = 0, device_count = 0;
    while (mr_device_kernels && mr_device_kernels[device_count].variant) device_count++;
    if (mr_kernel_count + device_count > 128) return 1;
    for (size_t i = 0; i < mr_kernel_count + device_count; i++) {
        const struct mr_kernel *const kernel =
            i < mr_kernel_count ? &mr_kernels[i] : &mr_device_kernels[i - mr_kernel_count];
        if (kernel->op < first || kernel->op > last || !strcmp(kernel->variant, "ref") ||
            (argc > 1 ? strcmp(kernel->variant, argv[1]) != 0 : !strcmp(kernel->variant, "cuda")))
            continue;
        snprintf(names[count], sizeof names[count], "%s_%s", kernel->op_name, kernel->variant);
        tests[count] =
            (struct CMUnitTest){.name = names[count], .test_func = check, .initial_state = (void *)(uintptr_t)kernel};
        count++;
    }
    return _cmocka_run_group_tests("kernels", tests, count, NULL, NULL);
}

#endif
