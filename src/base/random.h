/** Random numbers that are the same everywhere: splitmix64 (Steele, Lea, Flood 2014). */
#ifndef MR_BASE_RANDOM_H
#define MR_BASE_RANDOM_H

#include <stddef.h>
#include <stdint.h>

/** The next 64 bits of a sequence; any start will do. */
static inline uint64_t mr_random_next(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/** In [0, 1). */
static inline double mr_random_unit(uint64_t *state)
{
    return (double)(mr_random_next(state) >> 11) * 0x1p-53;
}

/** In [0, count); count at least 1 and below 2^53. */
static inline size_t mr_random_below(uint64_t *state, size_t count)
{
    const size_t at = (size_t)(mr_random_unit(state) * (double)count);
    return at < count ? at : count - 1;
}

/** In [0, 1), of a number of its own: what a row draws does not depend on who asks for it first. */
static inline double mr_random_of(uint64_t seed, uint64_t number)
{
    uint64_t state = seed ^ (number * UINT64_C(0xd1342543de82ef95));
    return mr_random_unit(&state);
}

#endif
