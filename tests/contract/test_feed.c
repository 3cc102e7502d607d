/* Feeding a topic and looking at it: which lines are sent, that a stop ends a feed whose broker stalls, and that tap
 * prints JSON. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include <cjson/cJSON.h>
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <netinet/in.h>
#include <pthread.h>

#include "kafka/embedded.h"
#include "kafka/feed.h"

#define STALL_MS   600000 /* longer than any test */
#define DEADLINE_S 20     /* only turns a hang into an error */

static char servers_key[] = "bootstrap.servers", servers_value[] = "embedded",
            queue_key[] = "queue.buffering.max.messages", queue_value[] = "10";
static struct mr_pair few[] = {{servers_key, servers_value}, {queue_key, queue_value}};
static struct mr_pair many[] = {{servers_key, servers_value}};
static char path[64];

static void file_make(const char *text, int repeat)
{
    FILE *const file = fopen(path, "w");
    assert_non_null(file);
    for (int i = 0; i < repeat; i++) fputs(text, file);
    fclose(file);
}

static int setup(void **state)
{
    const char *servers;
    struct mr_err err = {0};
    (void)state;
    snprintf(path, sizeof path, "/tmp/millrace_feed_%ld", (long)getpid());
    if (mr_kafka_embedded_start(&servers, &err) || mr_kafka_embedded_topic("feed", 1, &err)) return -1;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    unlink(path);
    mr_kafka_embedded_stop();
    return 0;
}

/* What is counted ahead is what is sent. */
static void test_lines(void **state)
{
    const struct mr_map properties = {.item = many, .count = 1};
    struct mr_feed feed = {
        .properties = &properties, .path = path, .topic = "feed", .lines_per_message = 1, .repeat = 1};
    struct mr_err err = {0};
    uint64_t count;
    (void)state;
    file_make("a\r\n\r\n\n b\n\r\r\nc", 1);
    assert_int_equal(mr_feed_count(path, &count, &err), MR_OK);
    assert_int_equal(count, 3);
    if (mr_feed_run(&feed, &err)) fail_msg("%s", err.text);
    assert_int_equal(feed.sent, count);
}

struct feeder {
    struct mr_feed feed;
    struct mr_err err;
    mr_status status;
};

static void *feeder_main(void *argument)
{
    struct feeder *const feeder = argument;
    feeder->status = mr_feed_run(&feeder->feed, &feeder->err);
    return NULL;
}

static void look_again(void)
{
    const struct timespec pause = {.tv_nsec = 1000000};
    nanosleep(&pause, NULL);
}

/* A stop takes effect at once, or up to 2 s later while the broker is asked for the topic. Without a look at it the
 * feed waits 30 s for acknowledgements, and without end for room in its queue. */
static void feeder_join(pthread_t thread)
{
    struct timespec due;
    clock_gettime(CLOCK_REALTIME, &due);
    due.tv_sec += DEADLINE_S;
    if (pthread_timedjoin_np(thread, NULL, &due)) fail_msg("the feed still runs %d s after its stop", DEADLINE_S);
}

static void stall(struct mr_map properties, int lines)
{
    struct feeder feeder = {
        .feed = {.properties = &properties, .path = path, .topic = "feed", .lines_per_message = 1, .repeat = 1}};
    pthread_t thread;
    file_make("x\n", lines);
    assert_int_equal(pthread_create(&thread, NULL, feeder_main, &feeder), 0);
    while (!feeder.feed.sent) look_again(); /* it has asked for the topic by then */
    assert_int_equal(rd_kafka_mock_broker_set_rtt(mr_kafka_embedded_cluster(), 1, STALL_MS), 0);
    /* Until it stands still. */
    for (uint64_t seen = 0, looks = 0; looks < 100;
         looks = seen == feeder.feed.sent ? looks + 1 : 0, seen = feeder.feed.sent)
        look_again();
    feeder.feed.stop = true;
    feeder_join(thread);
    rd_kafka_mock_broker_set_rtt(mr_kafka_embedded_cluster(), 1, 0);
    if (feeder.status) fail_msg("%s", feeder.err.text);
}

static void test_stop_queue_full(void **state)
{
    (void)state;
    stall((struct mr_map){.item = few, .count = 2}, 1000000);
}

static void test_stop_flush(void **state)
{
    (void)state;
    stall((struct mr_map){.item = many, .count = 1}, 100000);
}

/* A broker that takes the connection and says nothing: a stop does not wait until the feed gives it up with an error.
 */
static void test_stop_unanswered(void **state)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof address;
    char servers[32];
    struct mr_pair mute[] = {{servers_key, servers}};
    const struct mr_map properties = {.item = mute, .count = 1};
    struct feeder feeder = {
        .feed = {.properties = &properties, .path = path, .topic = "feed", .lines_per_message = 1, .repeat = 1}};
    pthread_t thread;
    (void)state;
    const int listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(listener, 8), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &bytes), 0);
    snprintf(servers, sizeof servers, "127.0.0.1:%d", ntohs(address.sin_port));
    file_make("x\n", 1);
    assert_int_equal(pthread_create(&thread, NULL, feeder_main, &feeder), 0);
    const int connection = accept(listener, NULL, NULL); /* it is asking */
    feeder.feed.stop = true;
    feeder_join(thread);
    close(connection);
    close(listener);
    if (feeder.status) fail_msg("%s", feeder.err.text);
    assert_int_equal(feeder.feed.sent, 0);
}

static void produce(const char *topic)
{
    const char *servers;
    struct mr_err err = {0};
    char reason[256], value[] = "v";
    rd_kafka_conf_t *const conf = rd_kafka_conf_new();
    assert_int_equal(mr_kafka_embedded_start(&servers, &err), MR_OK);
    assert_int_equal(rd_kafka_conf_set(conf, "bootstrap.servers", servers, reason, sizeof reason), RD_KAFKA_CONF_OK);
    rd_kafka_t *const client = rd_kafka_new(RD_KAFKA_PRODUCER, conf, reason, sizeof reason);
    assert_non_null(client);
    for (int i = 0; i < 2; i++) { /* without headers, and with names that need care */
        rd_kafka_headers_t *const headers = rd_kafka_headers_new(4);
        rd_kafka_header_add(headers, "a\"b\\", -1, "one", 3);
        rd_kafka_header_add(headers, "bytes\n", -1, "\xff\xfe", 2);
        rd_kafka_header_add(headers, "none", -1, NULL, 0);
        const rd_kafka_resp_err_t code =
            i ? rd_kafka_producev(client, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_VALUE(value, 1),
                                  RD_KAFKA_V_HEADERS(headers), RD_KAFKA_V_END)
              : rd_kafka_producev(client, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_VALUE(value, 1), RD_KAFKA_V_END);
        if (!i || code) rd_kafka_headers_destroy(headers);
        assert_int_equal(code, 0);
    }
    assert_int_equal(rd_kafka_flush(client, 30000), 0);
    rd_kafka_destroy(client);
}

static void test_tap(void **state)
{
    const char *servers;
    struct mr_err err = {0};
    char command[512], line[2048];
    (void)state;
    assert_int_equal(mr_kafka_embedded_topic("tap", 1, &err), MR_OK);
    produce("tap");
    mr_kafka_embedded_start(&servers, &err);
    snprintf(command, sizeof command, "%s tap tap -J -c 2 -b %s", MR_PROGRAM, servers);
    FILE *const tap = popen(command, "r");
    assert_non_null(tap);
    for (int i = 0; i < 2; i++) {
        assert_non_null(fgets(line, sizeof line, tap));
        cJSON *const message = cJSON_Parse(line);
        if (!message) fail_msg("no JSON: %s", line);
        const cJSON *const headers = cJSON_GetObjectItemCaseSensitive(message, "headers");
        assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(message, "topic")), "tap");
        assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(message, "value")), "v");
        if (i) {
            assert_int_equal(cJSON_GetArraySize(headers), 3);
            assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(headers, "a\"b\\")), "one");
            assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(headers, "bytes\n_base64")),
                                "//4=");
            assert_true(cJSON_IsNull(cJSON_GetObjectItemCaseSensitive(headers, "none")));
        } else {
            assert_null(headers);
        }
        cJSON_Delete(message);
    }
    assert_int_equal(pclose(tap), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines),           cmocka_unit_test(test_tap),
        cmocka_unit_test(test_stop_queue_full), cmocka_unit_test(test_stop_flush),
        cmocka_unit_test(test_stop_unanswered),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
