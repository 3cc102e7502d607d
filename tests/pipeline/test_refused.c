/* Records that the broker refuses: each is sent once more alone, without ever holding up the lane. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "millrace/option.h"
#include "pipeline/fixture.h"
#include "registry.h"

#define PUSH(api, ...)                                                                                                 \
    do {                                                                                                               \
        const rd_kafka_resp_err_t errors[] = {__VA_ARGS__};                                                            \
        rd_kafka_mock_push_request_errors_array(fixture_cluster(), api, sizeof errors / sizeof *errors, errors);       \
    } while (0)

#define API_INIT_PRODUCER_ID 22
#define ROOM                 3 /* messages that the client may hold */
#define COUNT                (5 * ROOM)
#define DEAD_COUNT           30
#define FLOOD_COUNT          500
#define SIZES_COUNT          200
#define SIZE_TRIED           24 /* records that may be tried alone: those that teach, and those sent before */

static const char digits[] = "012345678901234";

static struct {
    size_t good, bad;
} settled;

static void record_settled(struct mr_outbox *box, struct mr_record *record, mr_status status, mr_reason reason,
                           const char *text)
{
    (void)reason;
    (void)text;
    assert_in_range(record - box->record, 0, (ptrdiff_t)box->record_cap - 1);
    if (status)
        settled.bad++;
    else
        settled.good++;
}

static void records_settled_ok(struct mr_outbox *box, size_t count)
{
    (void)box;
    settled.good += count;
}

static void sink_poll(const struct mr_sink_ops *ops, struct mr_sink *sink)
{
    struct mr_err err = {0};
    if (ops->poll(sink, 1000, &err)) fail_msg("%s", err.text);
}

/* Emits until `until` records are taken; the client holds ROOM of them, so all but the last ROOM were reported. */
static size_t emit_to(const struct mr_sink_ops *ops, struct mr_sink *sink, struct mr_outbox *box, size_t from,
                      size_t until)
{
    const int64_t deadline_ns = fixture_deadline_ns();
    struct mr_err err = {0};
    size_t taken;
    box->count = until;
    while (from < until) {
        const mr_status status = ops->emit(sink, box, from, &taken, &err);
        if (status && status != MR_AGAIN) fail_msg("%s", err.text);
        from += taken;
        sink_poll(ops, sink);
        if (mr_clock_ns() > deadline_ns) fail_msg("%zu of %zu records taken", from, until);
    }
    return from;
}

/*
 * The client that sends records alone gets no producer id for a while, and has room for ROOM records: the sink goes on
 * taking and reporting others meanwhile, and all are delivered in the end.
 */
static void refused_records_hold_up_nothing(void **state)
{
    const struct mr_sink_ops *ops = mr_sink_find("kafka");
    void *options = calloc(1, ops->options_size);
    char servers[256];
    struct mr_pair pair[] = {{.key = (char[]){"bootstrap.servers"}, .value = servers},
                             {.key = (char[]){"queue.buffering.max.messages"}, .value = (char[]){"3"}},
                             {.key = (char[]){"linger.ms"}, .value = (char[]){"20"}}};
    const struct mr_map properties = {.item = pair, .count = 3};
    const struct mr_sink_open open = {.options = options,
                                      .job = "alone",
                                      .lane_count = 1,
                                      .memory_bytes = 1 << 20,
                                      .properties = &properties,
                                      .connect_timeout_us = 10000000};
    struct mr_record record[COUNT] = {0};
    struct mr_outbox box = {
        .record = record, .record_cap = COUNT, .settled = record_settled, .settled_ok = records_settled_ok};
    struct mr_sink *sink;
    struct mr_err err = {0};
    (void)state;
    snprintf(servers, sizeof servers, "%s", fixture_servers());
    fixture_topic("room.out", 1);
    assert_int_equal(mr_options_init(ops->options, options, &err), MR_OK);
    assert_int_equal(mr_options_set(ops->options, options, "topic", "room.out", &err), MR_OK);
    if (ops->open(&open, &sink, &err)) fail_msg("%s", err.text);
    for (size_t i = 0; i < COUNT; i++) {
        record[i] = (struct mr_record){
            .value = digits + i, .value_bytes = (uint32_t)(COUNT - i), .timestamp_ms = -1, .row_count = 1};
    }
    size_t from = emit_to(ops, sink, &box, 0, ROOM);
    fixture_wait((sink_poll(ops, sink), settled.good == ROOM)); /* it has its producer id */
    PUSH(API_INIT_PRODUCER_ID, RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS,
         RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS, RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS);
    PUSH(API_PRODUCE, RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE,
         RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE);
    from = emit_to(ops, sink, &box, from, COUNT);
    assert_int_equal(settled.good, ROOM); /* 3 * ROOM were refused, and nothing was waited for */
    fixture_wait((sink_poll(ops, sink), settled.good + settled.bad == COUNT));
    assert_int_equal(settled.bad, 0);
    ops->close(sink);
    mr_options_deinit(ops->options, options);
    free(options);
    assert_int_equal(fixture_count("room.out"), COUNT);
}

/* Nulls, with and without a key, and other dead letters in one request that is refused: each is found again. */
static void refused_dead_letters_with_nulls(void **state)
{
    const struct fixture_job job = {.name = "nulls",
                                    .properties = ",\"linger.ms\":300",
                                    .record =
                                        "{\"format\":\"json\",\"features\":[\"a\",\"b\"],\"tombstones\":\"dead\"}",
                                    .bad = "{\"topic\":\"nulls.dead\",\"share_max\":1}",
                                    .rest = ",\"lanes\":1"};
    struct fixture_message messages[DEAD_COUNT] = {0};
    bool seen[DEAD_COUNT] = {false};
    struct fixture_run run;
    (void)state;
    fixture_topic("nulls.in", 1);
    fixture_topic("nulls.out", 1);
    fixture_topic("nulls.dead", 1);
    for (size_t i = 0; i < DEAD_COUNT; i++) {
        messages[i].timestamp_ms = 1700000000000 + (int64_t)i;
        if (i % 3 == 0) messages[i].value = "bad", messages[i].bytes = 3;
        if (i % 2) messages[i].key = "key", messages[i].key_bytes = 3;
    }
    fixture_produce("nulls.in", messages, DEAD_COUNT);
    PUSH(API_PRODUCE, RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE);
    fixture_run_to_end(&run, &job);
    assert_int_equal(run.summary->records_dead, DEAD_COUNT);
    fixture_run_free(&run);
    struct fixture_content content = fixture_read("nulls.dead");
    assert_int_equal(content.count, DEAD_COUNT);
    for (size_t k = 0; k < DEAD_COUNT; k++) {
        const struct fixture_message *found = &content.message[k];
        const size_t i = (size_t)(found->timestamp_ms - 1700000000000);
        char offset[16];
        assert_in_range(i, 0, DEAD_COUNT - 1);
        assert_false(seen[i]);
        seen[i] = true;
        snprintf(offset, sizeof offset, "%zu", i);
        assert_int_equal(!found->value, !messages[i].value);
        assert_int_equal(!found->key, !messages[i].key);
        assert_string_equal(fixture_header_of(found, "millrace-source-offset"), offset);
        assert_string_equal(fixture_header_of(found, "millrace-error"), found->value ? "syntax" : "tombstone");
    }
    fixture_content_free(&content);
}

/* Records that are too large for the topic: after some were tried alone, the others are settled without a request. */
static void refused_sizes_are_learnt(void **state)
{
    const struct mr_sink_ops *ops = mr_sink_find("kafka");
    void *options = calloc(1, ops->options_size);
    char servers[256];
    struct mr_pair pair[] = {{.key = (char[]){"bootstrap.servers"}, .value = servers},
                             {.key = (char[]){"linger.ms"}, .value = (char[]){"300"}}};
    const struct mr_map properties = {.item = pair, .count = 2};
    const struct mr_sink_open open = {.options = options,
                                      .job = "sizes",
                                      .lane_count = 1,
                                      .memory_bytes = 1 << 20,
                                      .properties = &properties,
                                      .connect_timeout_us = 10000000};
    struct mr_record record[SIZES_COUNT];
    struct mr_outbox box = {
        .record = record, .record_cap = SIZES_COUNT, .settled = record_settled, .settled_ok = records_settled_ok};
    rd_kafka_resp_err_t errors[1 + SIZE_TRIED];
    struct mr_sink *sink;
    struct mr_err err = {0};
    (void)state;
    settled.good = settled.bad = 0;
    snprintf(servers, sizeof servers, "%s", fixture_servers());
    fixture_topic("sizes.out", 1);
    assert_int_equal(mr_options_init(ops->options, options, &err), MR_OK);
    assert_int_equal(mr_options_set(ops->options, options, "topic", "sizes.out", &err), MR_OK);
    if (ops->open(&open, &sink, &err)) fail_msg("%s", err.text);
    for (size_t i = 0; i < SIZES_COUNT; i++)
        record[i] = (struct mr_record){.value = digits, .value_bytes = 9, .timestamp_ms = -1, .row_count = 1};
    for (size_t i = 0; i < 1 + SIZE_TRIED; i++) errors[i] = RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE;
    rd_kafka_mock_push_request_errors_array(fixture_cluster(), API_PRODUCE, 1 + SIZE_TRIED, errors);
    emit_to(ops, sink, &box, 0, SIZES_COUNT);
    fixture_wait((sink_poll(ops, sink), settled.good + settled.bad == SIZES_COUNT));
    assert_int_equal(settled.bad, SIZES_COUNT);
    ops->close(sink);
    mr_options_deinit(ops->options, options);
    free(options);
    rd_kafka_mock_clear_request_errors(fixture_cluster(), API_PRODUCE);
    assert_int_equal(fixture_count("sizes.out"), 0);
}

/* Lines of a log that say how many outputs were not accepted, and the sum of what they say. */
static size_t refusals_read(FILE *log, size_t *sum_out)
{
    char line[4096];
    size_t lines = 0;
    rewind(log);
    for (*sum_out = 0; fgets(line, sizeof line, log);) {
        const char *more = strstr(line, " more ");
        if (!strstr(line, "not accepted")) continue;
        lines++;
        if (!more || strstr(line, "more before it")) ++*sum_out;
        if (!more) continue;
        while (more > line && more[-1] >= '0' && more[-1] <= '9') more--;
        *sum_out += strtoull(more, NULL, 10);
    }
    return lines;
}

/* Every output is larger than the sink's message.max.bytes: a few lines tell of all of them. */
static void refusals_do_not_flood_the_log(void **state)
{
    const struct fixture_job job = {
        .name = "flood",
        .emit = "{\"fields\":{\"long\":\"long\",\"class\":\"m.class\"}}",
        .sinks = "[{\"type\":\"kafka\",\"topic\":\"flood.out\","
                 "\"properties\":{\"bootstrap.servers\":\"embedded\",\"message.max.bytes\":1000}}]",
        .rest = ",\"lanes\":1"};
    static char text[1300];
    struct fixture_message *messages = calloc(FLOOD_COUNT, sizeof *messages);
    struct fixture_run run;
    FILE *log = tmpfile();
    const int kept = dup(STDERR_FILENO);
    size_t sum;
    (void)state;
    fixture_topic("flood.in", 1);
    fixture_topic("flood.out", 1);
    fixture_topic("flood.dead", 1);
    snprintf(text, sizeof text, "{\"a\":1,\"b\":2,\"long\":\"%01200d\"}", 0);
    for (size_t i = 0; i < FLOOD_COUNT; i++)
        messages[i] = (struct fixture_message){.value = text, .bytes = strlen(text)};
    fixture_produce("flood.in", messages, FLOOD_COUNT);
    free(messages);
    dup2(fileno(log), STDERR_FILENO);
    fixture_run_to_end(&run, &job);
    dup2(kept, STDERR_FILENO);
    close(kept);
    assert_int_equal(run.summary->records_dead, FLOOD_COUNT);
    fixture_run_free(&run);
    assert_in_range(refusals_read(log, &sum), 1, FLOOD_COUNT / 10);
    assert_int_equal(sum, FLOOD_COUNT);
    fclose(log);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refused_records_hold_up_nothing), cmocka_unit_test(refused_dead_letters_with_nulls),
        cmocka_unit_test(refused_sizes_are_learnt), cmocka_unit_test(refusals_do_not_flood_the_log)};
    return cmocka_run_group_tests(tests, fixture_open, fixture_close);
}
