#include "pipeline/deliver.h"

#include "base/clock.h"

#define ROOM_WAIT_US 10000

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
