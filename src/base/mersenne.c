#include "base/mersenne.h"

#include <math.h>

#define WORDS  MR_MERSENNE_WORDS
#define SHIFT  397
#define TWIST  0x9908b0dfu
#define UPPER  0x80000000u
#define LOWER  0x7fffffffu
#define SPREAD 1812433253u

void mr_mersenne_init(struct mr_mersenne *mersenne, uint32_t seed)
{
    uint32_t *const word = mersenne->word;
    word[0] = seed;
    for (uint32_t i = 1; i < WORDS; i++) word[i] = SPREAD * (word[i - 1] ^ word[i - 1] >> 30) + i;
    mersenne->at = WORDS;
    mersenne->has_kept = false;
}

static void words_renew(uint32_t *word)
{
    for (unsigned i = 0; i < WORDS; i++) {
        const uint32_t joined = (word[i] & UPPER) | (word[(i + 1) % WORDS] & LOWER);
        word[i] = word[(i + SHIFT) % WORDS] ^ joined >> 1 ^ (joined & 1 ? TWIST : 0);
    }
}

static uint32_t word_next(struct mr_mersenne *mersenne)
{
    if (mersenne->at == WORDS) {
        words_renew(mersenne->word);
        mersenne->at = 0;
    }
    uint32_t y = mersenne->word[mersenne->at++];
    y ^= y >> 11;
    y ^= y << 7 & 0x9d2c5680u;
    y ^= y << 15 & 0xefc60000u;
    return y ^ y >> 18;
}

double mr_mersenne_unit(struct mr_mersenne *mersenne)
{
    const uint32_t high = word_next(mersenne) >> 5, low = word_next(mersenne) >> 6;
    return (high * 0x1p26 + low) * 0x1p-53;
}

double mr_mersenne_normal(struct mr_mersenne *mersenne)
{
    double x, y, square;
    if (mersenne->has_kept) {
        mersenne->has_kept = false;
        return mersenne->kept;
    }
    do {
        x = 2 * mr_mersenne_unit(mersenne) - 1;
        y = 2 * mr_mersenne_unit(mersenne) - 1;
        square = x * x + y * y;
    } while (square >= 1 || square == 0);
    const double factor = sqrt(-2 * log(square) / square);
    mersenne->kept = factor * x;
    mersenne->has_kept = true;
    return factor * y;
}
