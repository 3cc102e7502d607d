/* The zmq sink against real SUB sockets: who listens, who is slow, who is not there, several lanes on one address. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <zmq.h>

#include "base/clock.h"
#include "registry.h"
#include "sink/zmq/hub.h"

#define RECORDS  100
#define DEADLINE 20000 /* ms */

extern const struct mr_sink_ops mr_sink_zmq;

static char folder[64], address[96];
static void *context;

/* ---- records ---- */

struct box {
    struct mr_outbox outbox;
    struct mr_record record[RECORDS];
    char text[RECORDS][32];
    size_t settled;
};

static void settled_ok(struct mr_outbox *outbox, size_t count)
{
    ((struct box *)(void *)outbox)->settled += count; /* its first member */
}

static void box_fill(struct box *box, unsigned lane, unsigned turn)
{
    *box = (struct box){.outbox = {.record = box->record, .count = RECORDS, .settled_ok = settled_ok}};
    for (size_t i = 0; i < RECORDS; i++) {
        const int bytes = snprintf(box->text[i], sizeof box->text[i], "%u %u", lane, turn * RECORDS + (unsigned)i);
        box->record[i] = (struct mr_record){.value = box->text[i], .value_bytes = (uint32_t)bytes, .row_count = 1};
    }
}

/* ---- the sink ---- */

static void options_make(struct mr_zmq_options *options, const char *const *given)
{
    struct mr_err err;
    assert_int_equal(mr_options_init(mr_sink_zmq.options, options, &err), MR_OK);
    for (; *given; given += 2)
        if (mr_options_set(mr_sink_zmq.options, options, given[0], given[1], &err)) fail_msg("%s", err.text);
}

static struct mr_sink *sink_open(const struct mr_zmq_options *options, unsigned lane)
{
    static const char *const models[] = {"plain", "sgd"};
    const struct mr_sink_open open = {
        .options = options, .job = "test", .lane = lane, .lane_count = 2, .weights_of = models, .weights_count = 2};
    struct mr_sink *sink;
    struct mr_err err;
    if (mr_sink_zmq.check(options, &err) || mr_sink_zmq.open(&open, &sink, &err)) fail_msg("%s", err.text);
    return sink;
}

static void emit(struct mr_sink *sink, struct box *box)
{
    struct mr_err err;
    size_t taken;
    if (mr_sink_zmq.emit(sink, &box->outbox, 0, &taken, &err)) fail_msg("%s", err.text);
    assert_int_equal(taken, RECORDS);
    assert_int_equal(box->settled, 0);
    if (mr_sink_zmq.poll(sink, 0, &err)) fail_msg("%s", err.text);
    assert_int_equal(box->settled, RECORDS);
}

/* ---- who listens ---- */

static void *subscriber(const char *prefix, int hwm, bool binds)
{
    void *const socket = zmq_socket(context, ZMQ_SUB);
    const int none = 0;
    assert_non_null(socket);
    assert_int_equal(zmq_setsockopt(socket, ZMQ_RCVHWM, &hwm, sizeof hwm), 0);
    assert_int_equal(zmq_setsockopt(socket, ZMQ_LINGER, &none, sizeof none), 0);
    assert_int_equal(zmq_setsockopt(socket, ZMQ_SUBSCRIBE, prefix, strlen(prefix)), 0);
    assert_int_equal(binds ? zmq_bind(socket, address) : zmq_connect(socket, address), 0);
    return socket;
}

/* The next frame, as text; false when nothing comes in time. */
static bool frame_get(void *socket, char text[64], int wait_ms)
{
    assert_int_equal(zmq_setsockopt(socket, ZMQ_RCVTIMEO, &wait_ms, sizeof wait_ms), 0);
    const int bytes = zmq_recv(socket, text, 63, 0);
    if (bytes >= 0) text[bytes < 63 ? bytes : 63] = 0;
    return bytes >= 0;
}

/* Publishes until a subscriber has got something: then its subscription is known. */
static void connect_wait(struct mr_zmq_hub *hub, void *socket, const char *marker)
{
    const int64_t end_ns = mr_clock_ns() + DEADLINE * INT64_C(1000000);
    char text[64];
    struct mr_err err;
    do {
        if (mr_clock_ns() > end_ns) fail_msg("nothing arrived within %d ms", DEADLINE);
        mr_zmq_hub_lock(hub);
        assert_int_equal(mr_zmq_hub_send(hub, marker, strlen(marker), &err), MR_OK);
        mr_zmq_hub_unlock(hub);
    } while (!frame_get(socket, text, 5));
    while (strcmp(text, marker) == 0 && frame_get(socket, text, 50)) continue; /* those of later turns */
}

static void records_arrive_in_order(void **state)
{
    const char *const given[] = {"bind", address, NULL};
    struct mr_zmq_options options;
    struct mr_zmq_hub *hub;
    struct box box;
    struct mr_err err;
    char text[64];
    (void)state;
    options_make(&options, given);
    struct mr_sink *const sink = sink_open(&options, 0);
    assert_int_equal(mr_zmq_hub_acquire(&options, &hub, &err), MR_OK); /* the same one */
    void *const socket = subscriber("", 0, false);
    connect_wait(hub, socket, "marker");
    for (unsigned turn = 0; turn < 20; turn++) {
        box_fill(&box, 0, turn);
        emit(sink, &box);
    }
    for (unsigned i = 0; i < 20 * RECORDS; i++) {
        char want[32];
        snprintf(want, sizeof want, "0 %u", i);
        assert_true(frame_get(socket, text, DEADLINE));
        assert_string_equal(text, want);
    }
    mr_zmq_hub_release(hub);
    mr_sink_zmq.close(sink);
    zmq_close(socket);
    mr_options_deinit(mr_sink_zmq.options, &options);
}

struct lane {
    const struct mr_zmq_options *options;
    struct mr_sink *sink;
    unsigned number;
};

static void *lane_main(void *argument)
{
    const struct lane *const lane = argument;
    struct box *const box = malloc(sizeof *box);
    for (unsigned turn = 0; turn < 50; turn++) {
        box_fill(box, lane->number, turn);
        emit(lane->sink, box);
    }
    free(box);
    return NULL;
}

/* Four lanes on one address at once: nothing is lost, and each lane's records stay in order; a topic before them. */
static void lanes_share_an_address(void **state)
{
    const char *const given[] = {"bind", address, "topic", "scores", "send_hwm", "1000000", NULL};
    struct mr_zmq_options options;
    struct mr_zmq_hub *hub;
    struct lane lane[4];
    pthread_t thread[4];
    unsigned next[4] = {0}, number, at;
    uint64_t sent, behind;
    struct mr_err err;
    char text[64];
    (void)state;
    options_make(&options, given);
    for (unsigned i = 0; i < 4; i++) lane[i] = (struct lane){&options, sink_open(&options, i), i};
    assert_int_equal(mr_zmq_hub_acquire(&options, &hub, &err), MR_OK);
    void *const socket = subscriber("sco", 0, false), *const other = subscriber("other", 0, false);
    connect_wait(hub, socket, "marker");
    while (frame_get(socket, text, 50)) continue; /* what is left of the markers */
    for (unsigned i = 0; i < 4; i++) assert_int_equal(pthread_create(&thread[i], NULL, lane_main, &lane[i]), 0);
    for (unsigned i = 0; i < 4 * 50 * RECORDS; i++) {
        assert_true(frame_get(socket, text, DEADLINE));
        assert_string_equal(text, "scores");
        assert_true(frame_get(socket, text, DEADLINE));
        assert_int_equal(sscanf(text, "%u %u", &number, &at), 2);
        assert_in_range(number, 0, 3);
        assert_int_equal(at, next[number]++);
    }
    for (unsigned i = 0; i < 4; i++) pthread_join(thread[i], NULL);
    assert_false(frame_get(other, text, 0)); /* it asked for other topics */
    mr_zmq_hub_counts(hub, &sent, &behind);
    assert_true(sent >= 4 * 50 * RECORDS && behind == 0);
    mr_zmq_hub_release(hub);
    for (unsigned i = 0; i < 4; i++) mr_sink_zmq.close(lane[i].sink);
    zmq_close(socket);
    zmq_close(other);
    mr_options_deinit(mr_sink_zmq.options, &options);
}

/* The number of the next data message, -1: none in time. */
static long data_get(void *socket, int wait_ms)
{
    static char text[4097];
    assert_int_equal(zmq_setsockopt(socket, ZMQ_RCVTIMEO, &wait_ms, sizeof wait_ms), 0);
    do { /* markers may still come */
        if (zmq_recv(socket, text, sizeof text - 1, 0) < 0) return -1;
    } while (strncmp(text, "data", 4) != 0);
    return strtol(text + 5, NULL, 10);
}

/* One reads, one does not until much later: the job goes on, that somebody fell behind is counted, the other one gets
 * all, and the slow one goes on behind a gap. */
static void a_slow_subscriber_holds_nobody_up(void **state)
{
    const char *const given[] = {"bind", address, "send_hwm", "1000", "linger", "0", NULL};
    struct mr_zmq_options options;
    struct mr_zmq_hub *hub;
    uint64_t sent, behind = 0;
    struct mr_err err;
    static char data[4096];
    long last = -1, at = -1;
    (void)state;
    options_make(&options, given);
    assert_int_equal(mr_zmq_hub_acquire(&options, &hub, &err), MR_OK);
    void *const slow = subscriber("", 1, false), *const quick = subscriber("", 0, false);
    connect_wait(hub, slow, "slow");
    connect_wait(hub, quick, "quick");
    for (long i = 0; at - last <= 1; i++) {
        snprintf(data, sizeof data, "data %ld", i);
        mr_zmq_hub_lock(hub);
        if (mr_zmq_hub_send(hub, data, sizeof data, &err)) fail_msg("%s", err.text);
        mr_zmq_hub_unlock(hub);
        assert_int_equal(data_get(quick, DEADLINE), i); /* one at a time, so that it has room */
        mr_zmq_hub_counts(hub, &sent, &behind);
        if (i > 100000) fail_msg("%ld messages: %llu times behind, no gap", i, (unsigned long long)behind);
        if (!behind) continue;
        last = at;
        at = data_get(slow, 1);
        if (at < 0) at = last;
    }
    assert_in_range(behind, 1, 2); /* once more while the slow one catches up, perhaps */
    zmq_close(slow);
    zmq_close(quick);
    mr_zmq_hub_release(hub);
    mr_options_deinit(mr_sink_zmq.options, &options);
}

/* Nobody there, on either side: nothing waits, everything settles, and closing takes no longer than `linger`. */
static void an_absent_subscriber_holds_nobody_up(void **state)
{
    const char *const binds[] = {"bind", address, NULL};
    const char *const connects[] = {"connect", address, "send_hwm", "10", "linger", "0", "conflate", "true", NULL};
    struct box box;
    (void)state;
    for (int side = 0; side < 2; side++) {
        struct mr_zmq_options options;
        options_make(&options, side ? connects : binds);
        struct mr_sink *const sink = sink_open(&options, 0);
        for (unsigned turn = 0; turn < 200; turn++) {
            box_fill(&box, 0, turn);
            emit(sink, &box);
        }
        mr_sink_zmq.close(sink);
        mr_options_deinit(mr_sink_zmq.options, &options);
    }
}

static void it_connects_to_who_is_bound(void **state)
{
    const char *const given[] = {"connect", address, NULL};
    struct mr_zmq_options options;
    struct mr_zmq_hub *hub;
    struct mr_err err;
    char text[64];
    (void)state;
    options_make(&options, given);
    assert_int_equal(mr_zmq_hub_acquire(&options, &hub, &err), MR_OK);
    void *const socket = subscriber("", 0, true); /* later than the publisher */
    connect_wait(hub, socket, "marker");
    mr_zmq_hub_lock(hub);
    assert_int_equal(mr_zmq_hub_send(hub, "hello", 5, &err), MR_OK);
    mr_zmq_hub_unlock(hub);
    do {
        assert_true(frame_get(socket, text, DEADLINE));
    } while (strcmp(text, "marker") == 0);
    assert_string_equal(text, "hello");
    mr_zmq_hub_release(hub);
    zmq_close(socket);
    mr_options_deinit(mr_sink_zmq.options, &options);
}

/* The frame that the reader of Spark's streaming regression splits at its tab. */
static void weights_are_published(void **state)
{
    static const float value[] = {3.178f, 0.648f, -1e-7f};
    const char *const given[] = {"bind", address, "format", "weights", "model", "sgd", NULL};
    struct mr_zmq_options options;
    struct mr_zmq_hub *hub;
    struct box box;
    struct mr_err err;
    char text[64], weights[64];
    long long ms;
    (void)state;
    options_make(&options, given);
    struct mr_sink *const sink = sink_open(&options, 0);
    assert_int_equal(mr_zmq_hub_acquire(&options, &hub, &err), MR_OK);
    void *const socket = subscriber("", 0, false);
    connect_wait(hub, socket, "marker");
    box_fill(&box, 0, 0);
    emit(sink, &box); /* records are settled, and are not what goes out */
    const int64_t before_ms = mr_clock_epoch_ms();
    mr_sink_zmq.learned(sink, &(struct mr_weights){.model = "plain", .value = value, .count = 2, .version = 1});
    mr_sink_zmq.learned(sink, &(struct mr_weights){.model = "sgd", .value = value, .count = 3, .version = 1});
    do {
        assert_true(frame_get(socket, text, DEADLINE));
    } while (strcmp(text, "marker") == 0);
    assert_int_equal(sscanf(text, "%lld ms\t%63s", &ms, weights), 2);
    assert_in_range(ms, before_ms, mr_clock_epoch_ms());
    assert_string_equal(weights, "[3.178,0.648,-1e-7]");
    assert_non_null(strstr(text, " ms\t["));
    assert_int_equal(mr_sink_zmq.poll(sink, 0, &err), MR_OK);
    mr_zmq_hub_release(hub);
    mr_sink_zmq.close(sink);
    zmq_close(socket);
    mr_options_deinit(mr_sink_zmq.options, &options);
}

static void refused(const char *const *given, const char *reason)
{
    static const char *const models[] = {"sgd"};
    struct mr_zmq_options options;
    struct mr_sink *sink = NULL;
    struct mr_err err = {0};
    options_make(&options, given);
    const struct mr_sink_open open = {.options = &options,
                                      .followed = strstr(reason, "exactly-once") ? "out" : NULL,
                                      .weights_of = models,
                                      .weights_count = strstr(reason, "no model") ? 0 : 1};
    mr_status status = mr_sink_zmq.check(&options, &err);
    if (!status) status = mr_sink_zmq.open(&open, &sink, &err);
    assert_null(sink);
    assert_true(status == MR_ECONFIG || status == MR_ESINK);
    if (!strstr(err.text, reason)) fail_msg("\"%s\" does not say \"%s\"", err.text, reason);
    mr_options_deinit(mr_sink_zmq.options, &options);
}

static void what_cannot_be_is_refused(void **state)
{
    const char *const neither[] = {NULL}, *const both[] = {"bind", address, "connect", address, NULL};
    const char *const required[] = {"bind", address, "required", "true", NULL};
    const char *const frames[] = {"bind", address, "topic", "t", "conflate", "true", NULL};
    const char *const idle[] = {"bind", address, "model", "m", NULL};
    const char *const weights[] = {"bind", address, "format", "weights", NULL};
    const char *const other[] = {"bind", address, "format", "weights", "model", "m", NULL};
    const char *const no_address[] = {"bind", "localhost:5555", NULL};
    const char *const no_host[] = {"bind", "tcp://192.0.2.1:5555", NULL};
    char endpoint[64];
    const char *const plain[] = {"bind", endpoint, NULL};
    (void)state;
    refused(neither, "one of the two");
    refused(both, "one of the two");
    refused(required, "acknowledges nothing");
    refused(frames, "drop one of them");
    refused(idle, "does nothing without format");
    refused(weights, "no model of the job learns weights");
    refused(weights, "delivery \"exactly-once\"");
    refused(other, "\"m\" is none that learns weights");
    refused(no_address, "expected an address such as");
    refused(no_host, "no such address");
    /* A port that is taken; of an ipc address the last who binds it has it. */
    void *const taken = zmq_socket(context, ZMQ_PUB);
    assert_int_equal(zmq_bind(taken, "tcp://127.0.0.1:*"), 0);
    assert_int_equal(zmq_getsockopt(taken, ZMQ_LAST_ENDPOINT, endpoint, &(size_t){sizeof endpoint}), 0);
    refused(plain, "has it: give each its own");
    zmq_close(taken);
    mr_sink_zmq.close(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_arrive_in_order),           cmocka_unit_test(lanes_share_an_address),
        cmocka_unit_test(a_slow_subscriber_holds_nobody_up), cmocka_unit_test(an_absent_subscriber_holds_nobody_up),
        cmocka_unit_test(it_connects_to_who_is_bound),       cmocka_unit_test(weights_are_published),
        cmocka_unit_test(what_cannot_be_is_refused)};
    strcpy(folder, "/tmp/millrace-zmq-XXXXXX");
    if (!mkdtemp(folder)) return 1;
    snprintf(address, sizeof address, "ipc://%s/socket", folder);
    context = zmq_ctx_new();
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    if (!failed) zmq_ctx_term(context); /* else a test has left its sockets open */
    unlink(address + strlen("ipc://"));
    rmdir(folder);
    return failed;
}
