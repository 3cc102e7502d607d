/**
 * What the pipeline tests share: librdkafka's mock cluster in this process, topics filled with given records, a small
 * model, a job run through the pipeline's own interface, and topics read back whole. Failures end the test (cmocka).
 */
#ifndef MR_TESTS_PIPELINE_FIXTURE_H
#define MR_TESTS_PIPELINE_FIXTURE_H

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "metrics/summary.h"
#include "pipeline/run.h"

/* Kafka's numbers of the requests that tests make fail. */
enum {
    API_PRODUCE = 0,
    API_FETCH = 1,
    API_LIST_OFFSETS = 2,
    API_METADATA = 3,
    API_OFFSET_COMMIT = 8,
    API_OFFSET_FETCH = 9
};

#define BROKER_ID  1
#define DEADLINE_S 30 /* no wait of a test takes longer, also under a sanitizer on a busy machine */

/** cmocka group setup and teardown: broker, folder, model. Output and logs of the program go to stderr. */
int fixture_open(void **state);
int fixture_close(void **state);

/** The mock cluster, its address, and the folder of this test program. */
rd_kafka_mock_cluster_t *fixture_cluster(void);
const char *fixture_servers(void);
const char *fixture_path(const char *name); /* static buffer */

/** Creates a topic. */
void fixture_topic(const char *name, int partition_count);

#define FIXTURE_HEADER_MAX 12

struct fixture_header {
    const char *name, *value; /* value NULL: null */
    size_t bytes;
};

/** A message to be produced, or one that was read. */
struct fixture_message {
    const char *value; /* NULL: null */
    size_t bytes;
    const char *key; /* NULL: none */
    size_t key_bytes;
    int32_t partition;
    int64_t offset, timestamp_ms; /* timestamp to be produced: 0: now */
    struct fixture_header header[FIXTURE_HEADER_MAX];
    size_t header_count;
};

/** Produces the messages in order and waits for all acknowledgements. */
void fixture_produce(const char *topic, const struct fixture_message *messages, size_t count);

/** Produces one text to a partition. */
void fixture_say(const char *topic, int32_t partition, const char *text);

/** All messages of a topic, partition by partition. */
struct fixture_content {
    struct fixture_message *message;
    size_t count, cap;
};

/** Reads a topic from its beginning to its end; free with fixture_content_free. Aborted or gone records are not in it.
 */
struct fixture_content fixture_read(const char *topic);
void fixture_content_free(struct fixture_content *content);

/** A header of a message as a terminated string (static buffers, four in turn), or NULL. */
const char *fixture_header_of(const struct fixture_message *message, const char *name);

/** Messages that a topic holds now: sum of its high watermarks. */
int64_t fixture_count(const char *topic);

/** High watermark of one partition. */
int64_t fixture_end(const char *topic, int32_t partition);

/** Offset that a group has committed; RD_KAFKA_OFFSET_INVALID when none. */
int64_t fixture_committed(const char *group, const char *topic, int32_t partition);

/** A job: what is NULL is the default. Texts are members of a JSON object, or (record, emit, sinks, bad) whole values.
 */
struct fixture_job {
    const char *name;       /* topics name.in, name.out, name.dead; group name */
    const char *servers;    /* "embedded" */
    const char *source;     /* more members of "source", each with a comma behind: "\"membership\": \"dynamic\"," */
    const char *properties; /* more members of source.properties, each with a comma before */
    const char *record;     /* {"format":"json","features":["a","b"]} */
    const char *models;     /* [{"name":"m","type":"mlp","file":"m.safetensors"}] */
    const char *emit;       /* {"fields":{"id":"id","class":"m.class"}} */
    const char *sinks;      /* [{"type":"kafka","topic":"name.out"}] */
    const char *bad;        /* {"topic":"name.dead"} */
    const char *rest;       /* more members of the job, each with a comma before */
};

/**
 * Sinks of a job whose outputs are refused for a while: one request at a time. The mock takes the next request while
 * the one before is refused, which a real broker does not (their sequence), and the client then takes the refused one
 * for stored, too.
 */
#define FIXTURE_ONE_AT_A_TIME(topic)                                                                                   \
    "[{\"type\":\"kafka\",\"topic\":\"" topic                                                                          \
    "\",\"properties\":{\"bootstrap.servers\":\"embedded\",\"max.in.flight\":1}}]"

struct fixture_run {
    struct mr_job *job;
    struct mr_run *run;
    struct mr_summary *summary; /* filled by finish */
    struct mr_err err;
};

/** Writes the job file and loads it; the test fails when it is wrong. */
struct mr_job *fixture_job_load(const struct fixture_job *job);

/** Loads, creates, starts. Returns the status of the start; when it is an error the run is already closed. */
mr_status fixture_start(struct fixture_run *run, const struct fixture_job *job, const struct mr_until *until);

/** Asks for an end, waits for the lanes, takes the sums, closes. The status of the run; run->err and run->summary stay.
 */
mr_status fixture_stop(struct fixture_run *run, mr_run_state state);

/** Start, wait for the end that `until` names (or an error), drain, close. */
mr_status fixture_run(struct fixture_run *run, const struct fixture_job *job, const struct mr_until *until);

/** As fixture_run to what is there now; fails the test unless all went well and in = out + dead + filtered. */
void fixture_run_to_end(struct fixture_run *run, const struct fixture_job *job);

/** Frees what finish left. */
void fixture_run_free(struct fixture_run *run);

/** Waits until the condition holds, looking every millisecond; the test fails at the deadline, naming the condition. */
#define fixture_wait(condition)                                                                                        \
    do {                                                                                                               \
        const int64_t wait_until_ns = fixture_deadline_ns();                                                           \
        while (!(condition)) fixture_tick(wait_until_ns, #condition);                                                  \
    } while (0)
int64_t fixture_deadline_ns(void);
void fixture_tick(int64_t deadline_ns, const char *condition);

/** Sum of a counter of struct mr_stats over the lanes of a run that is on. */
#define fixture_sum(fixture, member) fixture_stat(fixture, offsetof(struct mr_stats, member))
uint64_t fixture_stat(const struct fixture_run *run, size_t counter_offset);

/** Input of record i: {"id":i,"a":..,"b":..}; the text is static, 8 buffers in turn. */
const char *fixture_record(uint64_t i);

/** The model's features of record i, as float32. */
void fixture_features(uint64_t i, float *a, float *b);

/** Class of record i by the reference kernel. */
int fixture_class(uint64_t i);

/** Produces records [first, first + count), record i to partition i % partitions with key "k<i>". */
void fixture_fill(const char *topic, uint64_t first, uint64_t count, int partition_count);

/**
 * The topic's messages are {"id":i,"class":c} of records [first, first + count): each at least once (is_exact: exactly
 * once), with its class by the reference kernel, in partition i % partition_count unless that is 0.
 */
void fixture_check_scores(const char *topic, uint64_t first, uint64_t count, int partition_count, bool is_exact);

#endif
