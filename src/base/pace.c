#include "base/pace.h"

#include <math.h>
#include <time.h>

#include "base/clock.h"

void mr_pace_begin(struct mr_pace *pace, double rate)
{
    *pace = (struct mr_pace){.rate = rate, .began_ns = mr_clock_ns(), .began_ms = mr_clock_epoch_ms()};
}

int64_t mr_pace_due(const struct mr_pace *pace)
{
    if (pace->rate <= 0) return INT64_MAX;
    return 1 + (int64_t)floor((double)(mr_clock_ns() - pace->began_ns) * pace->rate / 1e9);
}

void mr_pace_wait(const struct mr_pace *pace, int64_t index, int64_t wait_us)
{
    const int64_t now_ns = mr_clock_ns();
    const int64_t due_ns = pace->rate > 0 ? pace->began_ns + (int64_t)ceil((double)index * 1e9 / pace->rate) : now_ns;
    const int64_t last_ns = now_ns + wait_us * 1000, until_ns = due_ns < last_ns ? due_ns : last_ns;
    const struct timespec until = {until_ns / 1000000000, until_ns % 1000000000};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
}

int64_t mr_pace_ms(const struct mr_pace *pace, int64_t index)
{
    return pace->began_ms + (int64_t)((double)index * 1000 / pace->rate);
}
