/** What bench_kernels measures with: the CPU time of the thread, medians, and the peaks that figures are compared with.
 */
#ifndef MR_BENCH_PEAKS_H
#define MR_BENCH_PEAKS_H

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "kernels/kernels.h"
#include "kernels/peak/peak.h"

#define REPETITIONS_MAX 1000

static double cpu_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static int double_compare(const void *a, const void *b)
{
    const double one = *(const double *)a, two = *(const double *)b;
    return (one > two) - (one < two);
}

static double median(double *values, size_t count)
{
    qsort(values, count, sizeof *values, double_compare);
    return (values[(count - 1) / 2] + values[count / 2]) / 2;
}

/* The peak routine of the best variant, and how many of its rounds take about a millisecond. */
struct peak {
    mr_peak_fn *fn;
    size_t rounds;
};

static double peak_rate(const struct peak *peak)
{
    const double start = cpu_seconds(), flops = peak->fn(peak->rounds);
    return flops / (cpu_seconds() - start);
}

/* Finds how many rounds a routine needs and prints its rate, which is returned. */
static double peak_tune(struct peak *peak, const char *name, size_t repetitions)
{
    double rates[REPETITIONS_MAX];
    while (peak->fn(peak->rounds) / peak_rate(peak) < 1e-3) peak->rounds *= 2;
    for (size_t r = 0; r < repetitions; r++) rates[r] = peak_rate(peak);
    const double rate = median(rates, repetitions);
    printf(" %s %.1f", name, rate * 1e-9);
    return rate;
}

/* Prints the peak of every variant. Figures are compared with the highest, those of fewer bits with their own. */
static void peaks_find(size_t repetitions, struct peak peaks[MR_OP_COUNT])
{
    struct peak best = {NULL, 1};
    double best_rate = 0;
    printf("Multiply-add peak of one core, float32:");
    for (size_t i = 0; i < mr_kernel_count && mr_kernels[i].op == mr_kernels[0].op; i++) {
        struct peak peak = {mr_peak_find(mr_kernels[i].variant), 1};
        if (!peak.fn || !mr_kernel_is_available(&mr_kernels[i], NULL)) continue;
        const double rate = peak_tune(&peak, mr_kernels[i].variant, repetitions);
        if (rate > best_rate) {
            best_rate = rate;
            best = peak;
        }
    }
    for (size_t op = 0; op < MR_OP_COUNT; op++) peaks[op] = best;
    printf("; of fewer bits:");
    for (mr_op op = MR_OP_MLP_BF16; op <= MR_OP_MLP_INT8; op++) {
        const char *const name = op == MR_OP_MLP_BF16 ? "bf16" : "int8";
        struct peak peak = {mr_peak_find(name), 1};
        if (!peak.fn || !mr_kernel_select(op, "avx512")) continue;
        peak_tune(&peak, name, repetitions);
        peaks[op] = peak;
        if (op == MR_OP_MLP_BF16) peaks[MR_OP_MF_TOPN_BF16] = peak;
    }
    printf(" GFLOP/s\n\n");
}

#endif
