/* Tickets and outboxes: what is in flight, in which order it completes, and which offsets may be committed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "pipeline/flight.h"

#define TICKETS 3
#define BOXES   2
#define RECORDS 4

static struct mr_stats stats;
static struct mr_flight flight;
static struct mr_err err;
static unsigned undeliverable_count;
static mr_reason undeliverable_reason;

static void undeliverable(void *context, struct mr_box *box, struct mr_record *record, mr_reason reason,
                          const char *text)
{
    assert_ptr_equal(context, &stats);
    assert_non_null(box);
    assert_non_null(text);
    assert_true(record->row_count > 0);
    undeliverable_count++;
    undeliverable_reason = reason;
}

static int flight_open(void **state)
{
    (void)state;
    memset(&stats, 0, sizeof stats);
    memset(&err, 0, sizeof err);
    undeliverable_count = 0;
    if (mr_flight_init(&flight, TICKETS, BOXES, RECORDS, 1024, &stats, &err)) return -1;
    flight.undeliverable = undeliverable;
    flight.context = &stats;
    return 0;
}

static int flight_close(void **state)
{
    (void)state;
    mr_flight_deinit(&flight);
    return 0;
}

static struct mr_message message(uint32_t topic, int32_t partition, int64_t offset)
{
    return (struct mr_message){.topic = topic, .partition = partition, .offset = offset};
}

/* A ticket over one message of partition 0 at `offset`, with `in` records, still open. */
static struct mr_ticket *ticket_of(int64_t offset, uint64_t in)
{
    const struct mr_message only = message(0, 0, offset);
    struct mr_ticket *ticket = mr_ticket_open(&flight);
    assert_non_null(ticket);
    assert_int_equal(mr_ticket_cover(ticket, &only, 1, &err), MR_OK);
    ticket->in = in;
    return ticket;
}

/* A sealed box of `count` records that answer one row each, for `sinks` sinks. */
static struct mr_box *box_of(struct mr_ticket *ticket, size_t count, size_t sinks)
{
    struct mr_box *box = mr_box_open(&flight, ticket);
    assert_non_null(box);
    for (size_t i = 0; i < count; i++) box->out.record[i] = (struct mr_record){.row_count = 1};
    box->out.count = box->rows = count;
    mr_box_seal(box, sinks);
    return box;
}

static int64_t ready_of(uint32_t topic, int32_t partition)
{
    for (size_t i = 0; i < flight.ready_count; i++) {
        if (flight.ready[i].topic == topic && flight.ready[i].partition == partition)
            return flight.ready[i].next_offset;
    }
    return -1;
}

static void all_tickets_in_flight(void **state)
{
    (void)state;
    for (int i = 0; i < TICKETS; i++) ticket_of(i, 0);
    assert_null(mr_ticket_open(&flight));
    mr_ticket_close(&flight.ticket[flight.ticket_first]);
    assert_int_equal(mr_flight_settle(&flight, &err), MR_OK);
    assert_non_null(mr_ticket_open(&flight));
}

static void all_boxes_in_flight(void **state)
{
    (void)state;
    struct mr_ticket *ticket = ticket_of(0, 2);
    struct mr_box *first = box_of(ticket, 1, 1);
    box_of(ticket, 1, 1);
    assert_null(mr_box_open(&flight, ticket));
    first->out.settled_ok(&first->out, 1);
    assert_ptr_equal(mr_box_open(&flight, ticket), first);
}

static void positions_are_the_last_of_each_partition(void **state)
{
    struct mr_message messages[40];
    (void)state;
    for (int i = 0; i < 40; i++) messages[i] = message((uint32_t)(i % 2), i / 2, 100 + i);
    struct mr_ticket *ticket = mr_ticket_open(&flight);
    assert_int_equal(mr_ticket_cover(ticket, messages, 40, &err), MR_OK);
    messages[0].offset = 999;
    assert_int_equal(mr_ticket_cover(ticket, messages, 1, &err), MR_OK);
    assert_int_equal(ticket->position_count, 40); /* more than the list begins with */
    mr_ticket_close(ticket);
    assert_int_equal(mr_flight_settle(&flight, &err), MR_OK);
    assert_int_equal(ready_of(0, 0), 1000);
    for (int i = 1; i < 40; i++) assert_int_equal(ready_of((uint32_t)(i % 2), i / 2), 101 + i);
}

static void a_ticket_waits_for_its_last_record(void **state)
{
    (void)state;
    struct mr_ticket *ticket = ticket_of(7, 3);
    struct mr_box *box = box_of(ticket, 3, 1);
    box->out.settled_ok(&box->out, 2);
    mr_ticket_close(ticket);
    assert_int_equal(mr_flight_settle(&flight, &err), MR_OK);
    assert_int_equal(flight.ready_count, 0);
    box->out.settled(&box->out, &box->out.record[2], MR_OK, MR_REASON_NONE, NULL);
    assert_int_equal(mr_flight_settle(&flight, &err), MR_OK);
    assert_int_equal(ready_of(0, 0), 8);
    assert_int_equal(mr_stats_get(&stats.records_out), 3);
    assert_int_equal(mr_stats_get(&stats.batches), 1);
}

static void an_open_ticket_is_never_done(void **state)
{
    (void)state;
    struct mr_ticket *ticket = ticket_of(7, 1);
    struct mr_box *box = box_of(ticket, 1, 1);
    box->out.settled_ok(&box->out, 1);
    assert_int_equal(mr_flight_settle(&flight, &err), MR_OK);
    assert_int_equal(flight.ready_count, 0);
}

/* The second batch is acknowledged first: no offset may pass the first one's. */
static void tickets_complete_in_order(void **state)
{
    (void)state;
    struct mr_ticket *first = ticket_of(7, 1), *second = ticket_of(8, 1);
    struct mr_box *first_box = box_of(first, 1, 1), *second_box = box_of(second, 1, 1);
    mr_ticket_close(first);
    mr_ticket_close(second);
    second_box->out.settled_ok(&second_box->out, 1);
    assert_int_equal(mr_flight_settle(&flight, &err), MR_OK);
    assert_int_equal(flight.ready_count, 0);
    first_box->out.settled_ok(&first_box->out, 1);
    assert_int_equal(mr_flight_settle(&flight, &err), MR_OK);
    assert_int_equal(ready_of(0, 0), 9);
    assert_int_equal(flight.ticket_count, 0);
}

static void every_sink_must_settle(void **state)
{
    (void)state;
    struct mr_ticket *ticket = ticket_of(7, 2);
    struct mr_box *box = box_of(ticket, 2, 2);
    mr_ticket_close(ticket);
    box->out.settled_ok(&box->out, 3);
    assert_int_equal(mr_flight_settle(&flight, &err), MR_OK);
    assert_int_equal(flight.ready_count, 0);
    box->out.settled_ok(&box->out, 1);
    assert_int_equal(mr_flight_settle(&flight, &err), MR_OK);
    assert_int_equal(ready_of(0, 0), 8);
}

/* Refused by both sinks: told once, and neither out nor dead until the dead letter is delivered. */
static void a_refused_record_is_told_once(void **state)
{
    (void)state;
    struct mr_ticket *ticket = ticket_of(7, 2);
    struct mr_box *box = box_of(ticket, 2, 2);
    mr_ticket_close(ticket);
    box->out.settled(&box->out, &box->out.record[0], MR_EDATA, MR_REASON_OUTPUT_SIZE, "large");
    box->out.settled(&box->out, &box->out.record[0], MR_EDATA, MR_REASON_REFUSED, "no");
    box->out.settled_ok(&box->out, 2);
    assert_int_equal(undeliverable_count, 1);
    assert_int_equal(undeliverable_reason, MR_REASON_OUTPUT_SIZE);
    assert_int_equal(ticket->out, 1);
    ticket->dead++; /* what the dead letter's box does */
    assert_int_equal(mr_flight_settle(&flight, &err), MR_OK);
    assert_int_equal(ready_of(0, 0), 8);
}

static void an_empty_box_is_done_at_once(void **state)
{
    (void)state;
    struct mr_ticket *ticket = ticket_of(7, 0);
    box_of(ticket, 0, 1);
    struct mr_box *dropped = mr_box_open(&flight, ticket);
    dropped->out.count = 2;
    mr_box_drop(dropped);
    assert_int_equal(ticket->box_count, 0);
    mr_ticket_close(ticket);
    assert_int_equal(mr_flight_settle(&flight, &err), MR_OK);
    assert_int_equal(ready_of(0, 0), 8);
}

static void a_record_that_is_missing_is_an_error(void **state)
{
    (void)state;
    struct mr_ticket *ticket = ticket_of(7, 3);
    struct mr_box *box = box_of(ticket, 2, 1);
    mr_ticket_close(ticket);
    box->out.settled_ok(&box->out, 2);
    assert_int_equal(mr_flight_settle(&flight, &err), MR_EINVARIANT);
    assert_non_null(strstr(err.text, "3 records in, but 2 out"));
    assert_int_equal(flight.ready_count, 0);
    assert_int_equal(mr_flight_settle(&flight, &err), MR_EINVARIANT); /* and stays one */
}

static void too_many_acknowledgements_are_an_error(void **state)
{
    (void)state;
    struct mr_ticket *ticket = ticket_of(7, 2);
    struct mr_box *box = box_of(ticket, 2, 1);
    mr_ticket_close(ticket);
    box->out.settled_ok(&box->out, 5);
    assert_int_equal(mr_flight_settle(&flight, &err), MR_EINVARIANT);
    assert_non_null(strstr(err.text, "3 records more"));
    assert_int_equal(flight.ready_count, 0);
}

static void partitions_that_left_are_forgotten(void **state)
{
    const struct mr_message both[] = {message(0, 0, 7), message(0, 1, 3), message(1, 1, 5)};
    const struct mr_position gone = {.topic = 0, .partition = 1};
    (void)state;
    for (int i = 0; i < 2; i++) { /* one ticket is done, one is on its way */
        struct mr_ticket *ticket = mr_ticket_open(&flight);
        assert_int_equal(mr_ticket_cover(ticket, both, 3, &err), MR_OK);
        if (!i) mr_ticket_close(ticket);
        assert_int_equal(mr_flight_settle(&flight, &err), MR_OK);
    }
    assert_int_equal(ready_of(0, 1), 4);
    mr_flight_forget(&flight, &gone, 1);
    assert_int_equal(ready_of(0, 1), -1);
    assert_int_equal(ready_of(0, 0), 8);
    assert_int_equal(ready_of(1, 1), 6);
    mr_ticket_close(&flight.ticket[flight.ticket_first]);
    assert_int_equal(mr_flight_settle(&flight, &err), MR_OK);
    assert_int_equal(ready_of(0, 1), -1);
}

/* Lists that share what finds their places: tickets that are covered in turns, and what is left by a forget. */
static void each_partition_stands_once(void **state)
{
    enum { COUNT = 300 };
    static struct mr_message messages[COUNT];
    static struct mr_position gone[COUNT / 3];
    struct mr_ticket *first = mr_ticket_open(&flight), *second = mr_ticket_open(&flight);
    (void)state;
    for (int i = 0; i < COUNT; i++) messages[i] = message(0, (i * 7) % COUNT, 10);
    assert_int_equal(mr_ticket_cover(first, messages, COUNT, &err), MR_OK);
    assert_int_equal(mr_ticket_cover(second, messages + COUNT / 2, COUNT / 2, &err), MR_OK);
    assert_int_equal(mr_ticket_cover(first, messages + COUNT / 2, COUNT / 2, &err), MR_OK);
    assert_int_equal(first->position_count, COUNT);
    assert_int_equal(second->position_count, COUNT / 2);
    mr_ticket_close(first);
    mr_ticket_close(second);
    assert_int_equal(mr_flight_settle(&flight, &err), MR_OK);
    assert_int_equal(flight.ready_count, COUNT);

    for (int i = 0; i < COUNT / 3; i++) gone[i] = (struct mr_position){0, 3 * i, 0};
    mr_flight_forget(&flight, gone, COUNT / 3);
    assert_int_equal(flight.ready_count, COUNT - COUNT / 3);
    for (int i = 0; i < COUNT; i++) messages[i].offset = 20;
    struct mr_ticket *third = mr_ticket_open(&flight);
    assert_int_equal(mr_ticket_cover(third, messages, COUNT, &err), MR_OK);
    mr_ticket_close(third);
    assert_int_equal(mr_flight_settle(&flight, &err), MR_OK);
    assert_int_equal(flight.ready_count, COUNT);
    for (int i = 0; i < COUNT; i++) assert_int_equal(ready_of(0, i), 21);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, flight_open, flight_close)
    const struct CMUnitTest tests[] = {
        TEST(all_tickets_in_flight),
        TEST(all_boxes_in_flight),
        TEST(positions_are_the_last_of_each_partition),
        TEST(a_ticket_waits_for_its_last_record),
        TEST(an_open_ticket_is_never_done),
        TEST(tickets_complete_in_order),
        TEST(every_sink_must_settle),
        TEST(a_refused_record_is_told_once),
        TEST(an_empty_box_is_done_at_once),
        TEST(a_record_that_is_missing_is_an_error),
        TEST(too_many_acknowledgements_are_an_error),
        TEST(partitions_that_left_are_forgotten),
        TEST(each_partition_stands_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
