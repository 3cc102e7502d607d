/* State topics on a real broker: transactions, aborted ones and open ones, a topic that is not as it should be,
 * following.
 */
#include <librdkafka/rdkafka.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "state/topic.h"
#include "unit/state_fixture.h"

#define MODEL_BYTES 5000
#define WAIT_MS     30000

static char folder[] = "/tmp/millrace-topic-XXXXXX", servers[256];
static char key_name[] = "bootstrap.servers";
static struct mr_pair pair = {.key = key_name, .value = servers};
static const struct mr_map properties = {.item = &pair, .count = 1};
static rd_kafka_t *producer;

static void ok(rd_kafka_error_t *error)
{
    if (error) fail_msg("%s", rd_kafka_error_string(error));
}

static int broker_start(void **state)
{
    char command[512];
    (void)state;
    if (!mkdtemp(folder)) return -1;
    snprintf(command, sizeof command,
             "%s/scripts/kafka start --dir %s/broker --set log.cleaner.backoff.ms=100 2>%s/log", MR_SOURCE_DIR, folder,
             folder);
    FILE *const out = popen(command, "re");
    const bool has_line = out && fgets(servers, sizeof servers, out);
    const int status = out ? pclose(out) : -1;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77) {
        printf("SKIP: no Java or no Kafka here\n");
        fflush(stdout);
        _exit(77);
    }
    if (status || !has_line) return -1;
    servers[strcspn(servers, "\n")] = 0;
    rd_kafka_conf_t *const conf = rd_kafka_conf_new();
    rd_kafka_conf_set(conf, "bootstrap.servers", servers, NULL, 0);
    rd_kafka_conf_set(conf, "transactional.id", "trainer", NULL, 0);
    rd_kafka_conf_set(conf, "linger.ms", "0", NULL, 0);
    producer = rd_kafka_new(RD_KAFKA_PRODUCER, conf, NULL, 0);
    if (!producer) return -1;
    ok(rd_kafka_init_transactions(producer, WAIT_MS));
    return 0;
}

static int broker_stop(void **state)
{
    char command[512];
    (void)state;
    if (producer) rd_kafka_destroy(producer);
    snprintf(command, sizeof command, "%s/scripts/kafka stop --dir %s/broker --kill --clean >/dev/null 2>&1; rm -rf %s",
             MR_SOURCE_DIR, folder, folder);
    return system(command);
}

/* setting: names and values behind the policy, NULL at the end; NULL: none. */
static void topic_make_with(const char *name, int partitions, const char *policy, const char *const *setting)
{
    rd_kafka_queue_t *const queue = rd_kafka_queue_new(producer);
    rd_kafka_NewTopic_t *topic = rd_kafka_NewTopic_new(name, partitions, 1, NULL, 0);
    size_t count;
    rd_kafka_NewTopic_set_config(topic, "cleanup.policy", policy);
    for (; setting && *setting; setting += 2) rd_kafka_NewTopic_set_config(topic, setting[0], setting[1]);
    rd_kafka_CreateTopics(producer, &topic, 1, NULL, queue);
    rd_kafka_event_t *const event = rd_kafka_queue_poll(queue, WAIT_MS);
    assert_non_null(event);
    const rd_kafka_topic_result_t **const result =
        rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event), &count);
    if (rd_kafka_topic_result_error(result[0])) fail_msg("%s", rd_kafka_topic_result_error_string(result[0]));
    rd_kafka_event_destroy(event);
    rd_kafka_NewTopic_destroy(topic);
    rd_kafka_queue_destroy(queue);
}

static void topic_make(const char *name, int partitions, const char *policy)
{
    topic_make_with(name, partitions, policy, NULL);
}

static void record_send(const char *topic, const char *key, const struct mr_blob *value)
{
    const rd_kafka_resp_err_t code = rd_kafka_producev(
        producer, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_PARTITION(0), RD_KAFKA_V_KEY((void *)(uintptr_t)key, strlen(key)),
        RD_KAFKA_V_VALUE(value->data, value->bytes), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END);
    assert_int_equal(code, 0);
}

/* Commit seq, every third with a snapshot of five chunks; sent, not committed. */
static void commit_send(const char *topic, uint64_t seq)
{
    struct state_fixture f;
    struct mr_blob blob = {0};
    struct mr_err err;
    char key[MR_STATE_KEY_BYTES];
    fixture_commit(&f, seq, 1 + (seq - 1) / 3, (uint32_t)((seq - 1) % 3));
    char *const model = fixture_model(seq, MODEL_BYTES);
    if (!f.commit.index) fixture_snapshot(&f, model, MODEL_BYTES);
    if (mr_state_commit_encode(&f.commit, &blob, &err)) fail_msg("%s", err.text);
    mr_state_key_print(key, "m/1", f.commit.snapshot, MR_STATE_MANIFEST, f.commit.index);
    record_send(topic, key, &blob);
    for (uint32_t i = 0; !f.commit.index && i < mr_state_chunk_count(MODEL_BYTES, 1500); i++) {
        if (mr_state_chunk_encode(&f.commit, model, 1500, i, &blob, &err)) fail_msg("%s", err.text);
        mr_state_key_print(key, "m/1", f.commit.snapshot, MR_STATE_CHUNK, i);
        record_send(topic, key, &blob);
    }
    free(model);
    mr_blob_deinit(&blob);
}

static void commit_do(const char *topic, uint64_t seq)
{
    ok(rd_kafka_begin_transaction(producer));
    commit_send(topic, seq);
    ok(rd_kafka_commit_transaction(producer, -1));
}

static struct mr_state_topic topic_of(const char *name, int timeout_ms)
{
    return (struct mr_state_topic){
        .properties = &properties,
        .log = {.topic = name, .model = "m/1", .type = "linear", .schema_hash = FIXTURE_SCHEMA},
        .timeout_ms = timeout_ms};
}

static struct mr_state_log *read_ok(const char *name)
{
    const struct mr_state_topic topic = topic_of(name, WAIT_MS);
    struct mr_state_log *log;
    struct mr_err err;
    if (mr_state_topic_read(&topic, &log, &err)) fail_msg("%s", err.text);
    return log;
}

static void read_fails(const char *name, int timeout_ms, mr_status status, const char *reason)
{
    const struct mr_state_topic topic = topic_of(name, timeout_ms);
    struct mr_state_log *log = (struct mr_state_log *)(uintptr_t)name;
    struct mr_err err = {0};
    const mr_status found = mr_state_topic_read(&topic, &log, &err);
    if (found != status || !strstr(err.text, reason) || log)
        fail_msg("%d \"%s\", not %d \"%s\"", found, err.text, status, reason);
}

static void model_is(const struct mr_state_log *log, uint64_t seq)
{
    struct mr_span bytes;
    const struct mr_state_commit *const commit = mr_state_log_model(log, &bytes);
    assert_non_null(commit);
    char *const model = fixture_model(seq, MODEL_BYTES);
    assert_int_equal(commit->seq, seq);
    assert_int_equal(bytes.bytes, MODEL_BYTES);
    assert_memory_equal(bytes.data, model, MODEL_BYTES);
    free(model);
}

/* Only what was committed counts, and all of it, markers and aborted records between. */
static void committed_records_are_read(void **state)
{
    struct mr_state_log *log;
    (void)state;
    topic_make("plain", 1, "compact");
    log = read_ok("plain");
    assert_null(mr_state_log_last(log));
    mr_state_log_destroy(log);
    for (uint64_t seq = 1; seq <= 5; seq++) {
        ok(rd_kafka_begin_transaction(producer));
        commit_send("plain", seq + 40); /* a snapshot or manifest that nobody may see */
        assert_int_equal(rd_kafka_flush(producer, WAIT_MS), 0);
        ok(rd_kafka_abort_transaction(producer, -1));
        commit_do("plain", seq);
        log = read_ok("plain");
        assert_int_equal(mr_state_log_last(log)->seq, seq);
        model_is(log, (seq - 1) / 3 * 3 + 1);
        mr_state_log_destroy(log);
    }
    const int64_t before_ns = mr_clock_ns();
    log = read_ok("plain");
    print_message("read in %.0f ms\n", (double)(mr_clock_ns() - before_ns) / 1e6);
    mr_state_log_destroy(log);
}

/* The end is that of open transactions, too: what they hold is waited for, in vain or not. */
static void an_open_transaction_is_waited_for(void **state)
{
    struct mr_state_log *log;
    (void)state;
    topic_make("open", 1, "compact");
    commit_do("open", 1);
    ok(rd_kafka_begin_transaction(producer));
    commit_send("open", 2);
    assert_int_equal(rd_kafka_flush(producer, WAIT_MS), 0);
    read_fails("open", 2000, MR_ERETRY, "still open");
    ok(rd_kafka_commit_transaction(producer, -1));
    log = read_ok("open");
    assert_int_equal(mr_state_log_last(log)->seq, 2);
    mr_state_log_destroy(log);
}

static void wrong_topics_are_refused(void **state)
{
    char text[4096] = "";
    (void)state;
    read_fails("missing", WAIT_MS, MR_EINPUT,
               "--create --topic missing --partitions 1 --config cleanup.policy=compact");
    topic_make("wide", 3, "compact");
    read_fails("wide", WAIT_MS, MR_ECONFIG, "has 3 partitions");
    read_fails("wide", WAIT_MS, MR_ECONFIG, "--create --topic wide.2 --partitions 1 --config cleanup.policy=compact)");
    /* A topic that is not compacted is taken, and complained of. */
    topic_make("loose", 1, "delete");
    const int kept = dup(2), file = memfd_create("stderr", MFD_CLOEXEC);
    assert_true(kept >= 0 && file >= 0 && dup2(file, 2) == 2);
    struct mr_err err;
    struct mr_state_log *log = NULL;
    const struct mr_state_topic loose = topic_of("loose", WAIT_MS);
    const mr_status status = mr_state_topic_read(&loose, &log, &err);
    assert_true(dup2(kept, 2) == 2);
    assert_true(pread(file, text, sizeof text - 1, 0) >= 0);
    close(kept);
    close(file);
    if (status) fail_msg("%s", err.text);
    mr_state_log_destroy(log);
    if (!strstr(text, "cleanup.policy=delete") || !strstr(text, "kafka-configs"))
        fail_msg("no warning in \"%s\"", text);
    /* Somebody else's record. */
    struct mr_blob blob = {0};
    assert_true(mr_blob_put(&blob, "hello", 5));
    ok(rd_kafka_begin_transaction(producer));
    record_send("loose", "greeting", &blob);
    ok(rd_kafka_commit_transaction(producer, -1));
    read_fails("loose", WAIT_MS, MR_EDATA, "other records");
    mr_blob_deinit(&blob);
}

static void a_follower_gets_each_snapshot(void **state)
{
    const struct mr_state_topic topic = topic_of("followed", WAIT_MS);
    struct mr_state_follower *follower;
    struct mr_err err;
    (void)state;
    topic_make("followed", 1, "compact");
    if (mr_state_follow_open(&topic, &follower, &err)) fail_msg("%s", err.text);
    assert_null(mr_state_log_last(mr_state_follow_log(follower)));
    for (uint64_t seq = 1; seq <= 16; seq++) {
        mr_status status = MR_AGAIN;
        commit_do("followed", seq);
        const int64_t end_ns = mr_clock_ns() + WAIT_MS * 1000000LL;
        while (mr_clock_ns() < end_ns) {
            status = mr_state_follow_poll(follower, 100, &err);
            if (status && status != MR_AGAIN) fail_msg("%s", err.text);
            const struct mr_state_commit *const last = mr_state_log_last(mr_state_follow_log(follower));
            if (!status || (last && last->seq == seq && seq % 3 != 1)) break;
        }
        assert_int_equal(status, seq % 3 == 1 ? MR_OK : MR_AGAIN);
        model_is(mr_state_follow_log(follower), (seq - 1) / 3 * 3 + 1);
    }
    mr_state_follow_close(follower);
    mr_state_follow_close(NULL);
}

/* Offset of the first record that a topic still has. */
static int64_t first_offset(const char *name)
{
    rd_kafka_conf_t *const conf = rd_kafka_conf_new();
    rd_kafka_conf_set(conf, "bootstrap.servers", servers, NULL, 0);
    rd_kafka_t *const consumer = rd_kafka_new(RD_KAFKA_CONSUMER, conf, NULL, 0);
    rd_kafka_topic_t *const topic = rd_kafka_topic_new(consumer, name, NULL);
    assert_int_equal(rd_kafka_consume_start(topic, 0, RD_KAFKA_OFFSET_BEGINNING), 0);
    rd_kafka_message_t *const message = rd_kafka_consume(topic, 0, WAIT_MS);
    assert_non_null(message);
    assert_int_equal(message->err, 0);
    const int64_t offset = message->offset;
    rd_kafka_message_destroy(message);
    rd_kafka_consume_stop(topic, 0);
    rd_kafka_topic_destroy(topic);
    rd_kafka_destroy(consumer);
    return offset;
}

/* The broker's cleaner at work, in whatever state it has left the topic: the last four snapshots are always there. */
static void a_compacted_topic_is_read(void **state)
{
    static const char *const setting[] = {"segment.ms", "10", "min.cleanable.dirty.ratio", "0.01", NULL};
    const int64_t end_ns = mr_clock_ns() + 2 * WAIT_MS * 1000000LL;
    uint64_t seq = 0, cleaned = 0;
    (void)state;
    topic_make_with("cleaned", 1, "compact", setting);
    while (seq < 16 || cleaned < 3) { /* cleaned: looks that found another beginning than the one before */
        const int64_t before = seq ? first_offset("cleaned") : 0;
        if (mr_clock_ns() > end_ns) fail_msg("nothing was compacted after %llu commits", (unsigned long long)seq);
        commit_do("cleaned", ++seq);
        if (seq < 16) continue;
        struct mr_state_log *const log = read_ok("cleaned");
        struct mr_state_point point;
        struct mr_err err;
        assert_int_equal(mr_state_log_last(log)->seq, seq);
        model_is(log, (seq - 1) / 3 * 3 + 1);
        for (uint64_t at = (seq - 1) / 3 * 3 - 8; at <= seq; at++) {
            const struct mr_state_target target = {.by = MR_STATE_AT_SEQ, .number = at};
            if (mr_state_log_seek(log, &target, &point, &err)) fail_msg("%s", err.text);
        }
        mr_state_log_destroy(log);
        cleaned += first_offset("cleaned") > before;
    }
    print_message("compacted %llu times in %llu commits\n", (unsigned long long)cleaned, (unsigned long long)seq);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(committed_records_are_read), cmocka_unit_test(an_open_transaction_is_waited_for),
        cmocka_unit_test(wrong_topics_are_refused), cmocka_unit_test(a_follower_gets_each_snapshot),
        cmocka_unit_test(a_compacted_topic_is_read)};
    return cmocka_run_group_tests(tests, broker_start, broker_stop);
}
