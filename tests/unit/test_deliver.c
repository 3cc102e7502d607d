/* Who is waited for when several sinks owe acknowledgements. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "pipeline/deliver.h"

/** Acknowledges what it was given with its poll number `answers_at` that may wait. */
struct mr_sink {
    unsigned answers_at; /* 0: never */
    bool is_instant;     /* it has nothing to wait for: returns at once */
    bool fails;
    unsigned polls, waits;
    struct mr_outbox *box;
};

static struct mr_stats stats;
static struct mr_flight flight;

static mr_status sink_emit(struct mr_sink *sink, struct mr_outbox *box, size_t from, size_t *taken_out,
                           struct mr_err *err)
{
    (void)err;
    sink->box = box;
    *taken_out = box->count - from;
    return MR_OK;
}

static mr_status sink_poll(struct mr_sink *sink, int64_t wait_us, struct mr_err *err)
{
    sink->polls++;
    sink->waits += wait_us > 0;
    if (sink->fails) return mr_fail(err, MR_ESINK, "broken");
    if (wait_us > 0 && sink->waits == sink->answers_at) {
        sink->box->settled_ok(sink->box, sink->box->count);
    } else if (wait_us > 0 && !sink->is_instant) {
        nanosleep(&(struct timespec){.tv_nsec = wait_us * 1000}, NULL);
    }
    return MR_OK;
}

static const struct mr_sink_ops ops = {.name = "test", .emit = sink_emit, .poll = sink_poll};

/* Gives both sinks a box of one record, and waits once for at most 50 ms. */
static mr_status settle(struct mr_sink *first, struct mr_sink *second, struct mr_err *err)
{
    const struct mr_lane_sink sinks[] = {{&ops, first}, {&ops, second}};
    struct mr_run run = {.idle_interval_us = INT64_MAX / 2};
    assert_int_equal(mr_flight_init(&flight, 1, 1, 1, 64, &stats, err), MR_OK);
    struct mr_ticket *const ticket = mr_ticket_open(&flight);
    struct mr_box *const box = mr_box_open(&flight, ticket);
    box->out.count = 1;
    mr_ticket_close(ticket);
    assert_int_equal(mr_deliver(&run, box, sinks, 2, NULL, NULL, err), MR_OK);
    const mr_status status = mr_sinks_settle(sinks, 2, &flight, 50000, err);
    mr_flight_deinit(&flight);
    return status;
}

/* The first one has nothing to wait for: the wait is the second one's, which else would be asked without end. */
static void behind_one_that_is_done(void **state)
{
    (void)state;
    struct mr_err err = {0};
    struct mr_sink first = {.is_instant = true}, second = {.answers_at = 1};
    assert_int_equal(settle(&first, &second, &err), MR_OK);
    assert_int_equal(second.waits, 1);
    assert_int_equal(second.polls, 2); /* what was there first, then with a wait */
}

/* The first one is silent: an acknowledgement of the second one is not kept waiting until that one's time is over. */
static void behind_one_that_is_silent(void **state)
{
    (void)state;
    struct mr_err err = {0};
    struct mr_sink first = {0}, second = {.answers_at = 2};
    assert_int_equal(settle(&first, &second, &err), MR_OK);
    assert_int_equal(second.waits, 2);
    assert_int_equal(first.waits, 2);
}

/* Nobody waits and nothing comes: asked a few times at most, not as often as the processor can. */
static void nobody_waits(void **state)
{
    (void)state;
    struct mr_err err = {0};
    struct mr_sink first = {.is_instant = true}, second = {.is_instant = true};
    assert_int_equal(settle(&first, &second, &err), MR_OK);
    assert_true(first.polls <= 3 && second.polls <= 3);
}

static void errors_end_it(void **state)
{
    (void)state;
    struct mr_err err = {0};
    struct mr_sink first = {.fails = true}, second = {.answers_at = 1};
    assert_int_equal(settle(&first, &second, &err), MR_ESINK);
    assert_int_equal(second.polls, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(behind_one_that_is_done),
        cmocka_unit_test(behind_one_that_is_silent),
        cmocka_unit_test(nobody_waits),
        cmocka_unit_test(errors_end_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
