/** Time for measuring and waiting: monotonic; and the calendar for records. */
#ifndef MR_BASE_CLOCK_H
#define MR_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

/** Nanoseconds on the monotonic clock. */
static inline int64_t mr_clock_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/** Microseconds on the monotonic clock. */
static inline int64_t mr_clock_us(void)
{
    return mr_clock_ns() / 1000;
}

/** Milliseconds since 1970. */
static inline int64_t mr_clock_epoch_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/** CPU nanoseconds that the calling thread has used. */
static inline int64_t mr_clock_thread_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

#endif
