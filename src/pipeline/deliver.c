#include "pipeline/deliver.h"

#include <time.h>

#include "base/clock.h"

#define ROOM_WAIT_US 10000
#define TURN_WAIT_US 1000 /* for one of several sinks */

mr_status mr_deliver(const struct mr_run *run, struct mr_box *box, const struct mr_lane_sink *sinks, size_t sink_count,
                     void (*idle)(void *context), void *context, struct mr_err *err)
{
    const size_t count = box->out.count;
    int64_t idle_due_us = mr_clock_us() + run->idle_interval_us;

    mr_box_seal(box, sink_count);
    if (!count) return MR_OK;
    for (size_t i = 0; i < sink_count; i++) {
        size_t from = 0, taken = 0;
        for (;;) {
            mr_status status = sinks[i].ops->emit(sinks[i].sink, &box->out, from, &taken, err);
            from += taken;
            if (from == count) break;
            if (status == MR_OK || status == MR_AGAIN) status = sinks[i].ops->poll(sinks[i].sink, ROOM_WAIT_US, err);
            if (status) return status;
            if (atomic_load_explicit(&run->state, memory_order_relaxed) == MR_RUN_ABORT) {
                return mr_fail(err, MR_ERETRY,
                               "stopped while a sink had no room: what was not delivered is not committed");
            }
            if (idle && mr_clock_us() >= idle_due_us) {
                idle(context);
                idle_due_us = mr_clock_us() + run->idle_interval_us;
            }
        }
    }
    return MR_OK;
}

/* Each sink once, with so long for each. */
static mr_status sinks_poll(const struct mr_lane_sink *sinks, size_t sink_count, const struct mr_flight *flight,
                            uint64_t settled, int64_t wait_us, struct mr_err *err)
{
    mr_status status = MR_OK;
    for (size_t i = 0; i < sink_count && !status; i++)
        status = sinks[i].ops->poll(sinks[i].sink, flight->settled == settled ? wait_us : 0, err);
    return status;
}

mr_status mr_sinks_settle(const struct mr_lane_sink *sinks, size_t sink_count, const struct mr_flight *flight,
                          int64_t wait_us, struct mr_err *err)
{
    const uint64_t settled = flight->settled;
    const int64_t until_us = wait_us > 0 ? mr_clock_us() + wait_us : 0;
    mr_status status = sinks_poll(sinks, sink_count, flight, settled, 0, err);
    while (!status && wait_us > 0 && flight->settled == settled) {
        const int64_t began_us = mr_clock_us(), left_us = until_us - began_us;
        const int64_t turn_us = sink_count == 1 || left_us < TURN_WAIT_US ? left_us : TURN_WAIT_US;
        const struct timespec turn = {.tv_nsec = TURN_WAIT_US * 1000};
        if (left_us <= 0) break;
        status = sinks_poll(sinks, sink_count, flight, settled, turn_us, err);
        /* Those that have nothing to wait for return at once: what is due comes from elsewhere, as dead letters do. */
        if (!status && flight->settled == settled && mr_clock_us() - began_us < turn_us / 2) {
            nanosleep(&turn, NULL);
            break;
        }
    }
    return status;
}
