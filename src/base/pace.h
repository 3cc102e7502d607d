/** Records that come at a rate: record i of a run is due i / rate seconds after the first, by the monotonic clock. A
 * reader that is late gets at once what is due, so the rate is exact over time. */
#ifndef MR_BASE_PACE_H
#define MR_BASE_PACE_H

#include <stdint.h>

struct mr_pace {
    double rate; /* records a second; 0: each is due at once */
    int64_t began_ns, began_ms;
};

/** Record 0 is due now. */
void mr_pace_begin(struct mr_pace *pace, double rate);

/** How many records are due by now, the first among them; INT64_MAX: there is no rate. */
int64_t mr_pace_due(const struct mr_pace *pace);

/** Sleeps until record `index` is due, at most wait_us; not at all if it is. */
void mr_pace_wait(const struct mr_pace *pace, int64_t index, int64_t wait_us);

/** When record `index` was due, in milliseconds since 1970; there must be a rate. */
int64_t mr_pace_ms(const struct mr_pace *pace, int64_t index);

#endif
