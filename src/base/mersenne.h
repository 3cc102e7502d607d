/**
 * The random numbers of NumPy's RandomState, where a result is to be that of a program that draws from it: MT19937
 * (Matsumoto and Nishimura 1998), from a seed as its init_genrand takes it. All else draws from base/random.h.
 */
#ifndef MR_BASE_MERSENNE_H
#define MR_BASE_MERSENNE_H

#include <stdbool.h>
#include <stdint.h>

#define MR_MERSENNE_WORDS 624

struct mr_mersenne {
    uint32_t word[MR_MERSENNE_WORDS];
    unsigned at;
    double kept; /* the second number of a pair */
    bool has_kept;
};

void mr_mersenne_init(struct mr_mersenne *mersenne, uint32_t seed);

/** In [0, 1), of 53 bits: two words. */
double mr_mersenne_unit(struct mr_mersenne *mersenne);

/** Of mean 0 and deviation 1, in pairs by the polar method (Marsaglia and Bray 1964). */
double mr_mersenne_normal(struct mr_mersenne *mersenne);

#endif
