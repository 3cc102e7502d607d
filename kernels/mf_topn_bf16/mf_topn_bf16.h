/**
 * mf_topn_bf16: the same answers as mf_topn, found by upper bounds in bfloat16. With p and q rounded to P and Q,
 *     p q <= P Q + |p| |q - Q| + |p - P| |Q| <= P Q + reach(user) * reach(item),
 * where reach(user) = max(|p|, 2^9 |p - P|) and reach(item) = |q - Q| + 2^-9 |Q|, and some room for roundings of
 * float32 in both.
 */
#ifndef MR_KERNEL_MF_TOPN_BF16_H
#define MR_KERNEL_MF_TOPN_BF16_H

#include <math.h>
#include <stddef.h>

/** Items whose words stand together. */
#define MR_MF_WORD_ITEMS 12

/** Words of two factors each. */
static inline size_t mr_mf_words(size_t rank)
{
    return (rank + 1) / 2;
}

/** Factors of a user in whole vectors. */
static inline size_t mr_mf_exact_cap(size_t rank)
{
    return (rank + 15) / 16 * 16;
}

/** Of a user, from the sums of squares of the factors, and of what rounding took from them. */
static inline float mr_mf_reach(double size, double off)
{
    return (float)(fmax(sqrt(size), 512 * sqrt(off)) * 1.0001);
}

#endif
