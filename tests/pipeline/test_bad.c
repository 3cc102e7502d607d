/* Bad records among good ones: the good ones are scored, the bad ones become dead letters, byte for byte, with the
 * reason. */
#include "pipeline/fixture.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline/dead.h"

#define DEPTH      10000
#define LARGE      10000000u
#define GOOD_EVERY 3 /* good records around each bad one */

struct bad {
    const char *value;
    size_t bytes;
    const char *reason, *field;
};

static char deep[2 * DEPTH + 16], large[LARGE];

#define TEXT(text) text, sizeof(text) - 1
static struct bad bads[] = {
    {TEXT("{\"id\":1,\"a\":1,\"b\":"), "syntax", NULL},
    {TEXT("{\"id\":1,\"a\":1 \"b\":2}"), "syntax", NULL},
    {TEXT("{\"id\":1,\"a\":1,\"b\":2} x"), "syntax", NULL},
    {TEXT("\0\1\2"), "syntax", NULL},
    {TEXT(""), "empty", NULL},
    {TEXT("{\"id\":\"\xff\xfe\",\"a\":1,\"b\":2}"), "encoding", NULL},
    {TEXT("{\"id\":1,\"a\":\"1\",\"b\":2}"), "type", "a"},
    {TEXT("[1,2]"), "type", NULL},
    {TEXT("{\"id\":1,\"b\":2}"), "missing", "a"},
    {TEXT("{\"id\":1,\"a\":1,\"b\":null}"), "null", "b"},
    {TEXT("{\"id\":1,\"a\":1,\"b\":1e999}"), "range", "b"},
    {TEXT("{\"id\":1,\"a\":NaN,\"b\":1}"), "syntax", NULL},
    {TEXT("{\"id\":1,\"a\":1,\"a\":2,\"b\":2}"), "duplicate_key", NULL},
    {deep, 0, "depth", NULL},
};
#define BAD_COUNT (sizeof bads / sizeof *bads)

static int bads_make(void **state)
{
    char *at = stpcpy(deep, "{\"a\":");
    memset(at, '[', DEPTH);
    memset(at + DEPTH, ']', DEPTH);
    strcpy(at + 2 * DEPTH, "}");
    bads[BAD_COUNT - 1].bytes = strlen(deep);
    return fixture_open(state);
}

static struct fixture_message bad_message(size_t i)
{
    struct fixture_message message = {.value = bads[i].value, .bytes = bads[i].bytes, .partition = (int32_t)(i % 2)};
    if (i % 3) {
        message.key = "some key";
        message.key_bytes = i % 9;
    }
    message.timestamp_ms = 1700000000000 + (int64_t)i;
    return message;
}

/* Each bad record with good ones before and behind; returns the number of good ones. */
static uint64_t mixture_fill(const char *topic)
{
    uint64_t good = 0;
    for (size_t i = 0; i < BAD_COUNT; i++, good += GOOD_EVERY) {
        const struct fixture_message message = bad_message(i);
        fixture_fill(topic, good, GOOD_EVERY, 2);
        fixture_produce(topic, &message, 1);
    }
    fixture_fill(topic, good, GOOD_EVERY, 2);
    return good + GOOD_EVERY;
}

static void header_is(const struct fixture_message *message, const char *name, const char *want)
{
    const char *found = fixture_header_of(message, name);
    if (!want && found) fail_msg("header %s is %s", name, found);
    if (want && (!found || strcmp(found, want)))
        fail_msg("header %s is %s, want %s", name, found ? found : "not there", want);
}

/* The dead letters in `content` are the bad records, each once. */
static void dead_letters_check(const char *topic, const struct fixture_content *content)
{
    struct fixture_content input = fixture_read(topic);
    assert_int_equal(content->count, BAD_COUNT);
    for (size_t i = 0; i < BAD_COUNT; i++) {
        const struct fixture_message want = bad_message(i), *found = NULL;
        for (size_t k = 0; k < content->count; k++) {
            if (content->message[k].timestamp_ms == want.timestamp_ms) found = &content->message[k];
        }
        if (!found) fail_msg("no dead letter for bad record %zu", i);
        assert_non_null(found->value);
        assert_int_equal(found->bytes, want.bytes);
        assert_memory_equal(found->value, want.value, want.bytes);
        assert_int_equal(!found->key, !want.key);
        if (want.key) {
            assert_int_equal(found->key_bytes, want.key_bytes);
            assert_memory_equal(found->key, want.key, want.key_bytes);
        }
        header_is(found, "millrace-error", bads[i].reason);
        header_is(found, "millrace-error-stage", "decode");
        header_is(found, "millrace-error-field", bads[i].field);
        header_is(found, "millrace-source-topic", topic);
        header_is(found, "millrace-source-partition", i % 2 ? "1" : "0");
        const long long offset = atoll(fixture_header_of(found, "millrace-source-offset"));
        size_t matches = 0;
        for (size_t k = 0; k < input.count; k++) {
            const struct fixture_message *message = &input.message[k];
            matches += message->partition == want.partition && message->offset == offset &&
                       message->timestamp_ms == want.timestamp_ms;
        }
        assert_int_equal(matches, 1);
    }
    fixture_content_free(&input);
}

static void bad_ones_become_dead_letters(void **state)
{
    const struct fixture_job job = {.name = "bad", .rest = ",\"lanes\":2"};
    struct fixture_run run;
    (void)state;
    fixture_topic("bad.in", 2);
    fixture_topic("bad.out", 2);
    fixture_topic("bad.dead", 3);
    const uint64_t good = mixture_fill("bad.in");
    fixture_run_to_end(&run, &job);
    assert_int_equal(run.summary->records_out, good);
    assert_int_equal(run.summary->records_dead, BAD_COUNT);
    fixture_run_free(&run);
    fixture_check_scores("bad.out", 0, good, 2, true);
    struct fixture_content dead = fixture_read("bad.dead");
    dead_letters_check("bad.in", &dead);
    fixture_content_free(&dead);
    const int64_t committed = fixture_committed("bad", "bad.in", 0) + fixture_committed("bad", "bad.in", 1);
    assert_int_equal(committed, good + BAD_COUNT);
}

static void dropped(void **state)
{
    const struct fixture_job job = {.name = "drop", .bad = "{\"drop\":true}"};
    struct fixture_run run;
    (void)state;
    fixture_topic("drop.in", 2);
    fixture_topic("drop.out", 2);
    const uint64_t good = mixture_fill("drop.in");
    fixture_run_to_end(&run, &job);
    assert_int_equal(run.summary->records_dead, BAD_COUNT);
    assert_int_equal(run.summary->reasons[MR_REASON_SYNTAX], 5);
    assert_int_equal(run.summary->reasons[MR_REASON_DEPTH], 1);
    fixture_run_free(&run);
    fixture_check_scores("drop.out", 0, good, 2, true);
}

static int base64_digit(char c)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = c ? strchr(digits, c) : NULL;
    return at ? (int)(at - digits) : -1;
}

static size_t base64_read(const char *text, char *out)
{
    size_t used = 0;
    uint32_t bits = 0;
    int have = 0;
    for (; base64_digit(*text) >= 0; text++) {
        bits = bits << 6 | (uint32_t)base64_digit(*text);
        have += 6;
        if (have >= 8) {
            have -= 8;
            out[used++] = (char)(bits >> have & 0xff);
        }
    }
    return used;
}

/* Of a dead-letter line: `name`, or its bytes from name_base64. */
static size_t member_read(const cJSON *line, const char *name, char *out)
{
    char coded[32];
    const cJSON *plain = cJSON_GetObjectItemCaseSensitive(line, name);
    snprintf(coded, sizeof coded, "%s_base64", name);
    if (plain) {
        strcpy(out, plain->valuestring);
        return strlen(out);
    }
    return base64_read(cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(line, coded)), out);
}

/* cJSON's strings end at a NUL. */
static bool line_is(size_t i, int partition, const char *error, const char *value, size_t bytes, bool is_coded)
{
    const size_t want_bytes = is_coded ? bads[i].bytes : strnlen(bads[i].value, bads[i].bytes);
    return (int)(i % 2) == partition && !strcmp(bads[i].reason, error) && want_bytes == bytes &&
           !memcmp(bads[i].value, value, bytes);
}

static void dead_letter_file(void **state)
{
    const struct fixture_job job = {.name = "deadfile", .bad = "{\"file\":\"dead.jsonl\"}"};
    static char line[1 << 20], value[1 << 20];
    struct fixture_run run;
    bool seen[BAD_COUNT] = {false};
    size_t lines = 0;
    (void)state;
    fixture_topic("deadfile.in", 2);
    fixture_topic("deadfile.out", 2);
    const uint64_t good = mixture_fill("deadfile.in");
    fixture_run_to_end(&run, &job);
    fixture_run_free(&run);
    fixture_check_scores("deadfile.out", 0, good, 2, true);
    FILE *file = fopen(fixture_path("dead.jsonl"), "r");
    assert_non_null(file);
    while (fgets(line, sizeof line, file)) {
        cJSON *json = cJSON_Parse(line);
        assert_non_null(json);
        const char *topic = cJSON_GetStringValue(cJSON_GetObjectItem(json, "topic"));
        const char *error = cJSON_GetStringValue(cJSON_GetObjectItem(json, "error"));
        const char *field = cJSON_GetStringValue(cJSON_GetObjectItem(json, "field"));
        const int partition = (int)cJSON_GetNumberValue(cJSON_GetObjectItem(json, "partition"));
        const bool is_coded = cJSON_HasObjectItem(json, "value_base64");
        const size_t bytes = member_read(json, "value", value);
        size_t i = 0;
        assert_string_equal(topic, "deadfile.in");
        while (i < BAD_COUNT && (seen[i] || !line_is(i, partition, error, value, bytes, is_coded))) i++;
        if (i == BAD_COUNT) fail_msg("not a bad record: %.200s", line);
        if (strcmp(field ? field : "", bads[i].field ? bads[i].field : "")) fail_msg("field: %.200s", line);
        seen[i] = true;
        lines++;
        cJSON_Delete(json);
    }
    fclose(file);
    assert_int_equal(lines, BAD_COUNT);
}

static void tombstones(const char *name, const char *policy, bool is_file)
{
    char record[128], in[32], out[32], dead[32];
    const struct fixture_job job = {
        .name = name, .record = record, .bad = is_file ? "{\"file\":\"tombstones.jsonl\"}" : NULL};
    const struct fixture_message message = {.key = "gone", .key_bytes = 4, .partition = 1};
    struct fixture_run run;
    const bool is_dead = !strcmp(policy, "dead");
    snprintf(record, sizeof record, "{\"format\":\"json\",\"features\":[\"a\",\"b\"],\"tombstones\":\"%s\"}", policy);
    snprintf(in, sizeof in, "%s.in", name);
    snprintf(out, sizeof out, "%s.out", name);
    snprintf(dead, sizeof dead, "%s.dead", name);
    fixture_topic(in, 2);
    fixture_topic(out, 2);
    fixture_topic(dead, 2);
    for (uint64_t i = 0; i < 10; i++) {
        fixture_fill(in, i, 1, 2);
        fixture_produce(in, &message, 1);
    }
    fixture_run_to_end(&run, &job);
    assert_int_equal(run.summary->records_filtered, is_dead ? 0 : 10);
    assert_int_equal(run.summary->records_dead, is_dead ? 10 : 0);
    fixture_run_free(&run);
    fixture_check_scores(out, 0, 10, 2, true);
    assert_int_equal(fixture_committed(name, in, 1), 15);
    if (is_file) return;
    struct fixture_content content = fixture_read(dead);
    assert_int_equal(content.count, is_dead ? 10 : 0);
    for (size_t i = 0; i < content.count; i++) {
        assert_null(content.message[i].value); /* a null stays a null */
        assert_int_equal(content.message[i].key_bytes, 4);
        header_is(&content.message[i], "millrace-error", "tombstone");
        header_is(&content.message[i], "millrace-error-field", NULL);
    }
    fixture_content_free(&content);
}

static void tombstones_are_skipped_or_dead(void **state)
{
    char line[256];
    size_t lines = 0;
    (void)state;
    tombstones("skip", "skip", false);
    tombstones("grave", "dead", false);
    tombstones("gravefile", "dead", true);
    FILE *file = fopen(fixture_path("tombstones.jsonl"), "r");
    assert_non_null(file);
    for (; fgets(line, sizeof line, file); lines++) assert_non_null(strstr(line, "\"key\":\"gone\",\"value\":null}"));
    fclose(file);
    assert_int_equal(lines, 10);
}

/* 10 MB: whole where the client may send so much, else cut, and said so. The mock keeps 5 MiB a partition, and the last
 * record. */
static void ten_megabytes(const char *name, const char *properties, bool is_whole)
{
    char in[32], out[32], dead[32];
    const struct fixture_job job = {.name = name, .properties = properties};
    const struct fixture_message message = {.value = large, .bytes = LARGE, .key = "k", .key_bytes = 1, .partition = 1};
    struct fixture_run run;
    snprintf(in, sizeof in, "%s.in", name);
    snprintf(out, sizeof out, "%s.out", name);
    snprintf(dead, sizeof dead, "%s.dead", name);
    fixture_topic(in, 2);
    fixture_topic(out, 1);
    fixture_topic(dead, 1);
    memset(large, ' ', LARGE);
    memcpy(large, "{\"a\":1,\"b\":2,\"c\":\"", 19);
    memcpy(large + LARGE - 2, "\"}", 2);
    fixture_produce(in, &message, 1);
    for (uint64_t i = 0; i < 100; i++) fixture_say(in, 0, fixture_record(i));
    fixture_run_to_end(&run, &job);
    assert_int_equal(run.summary->records_dead, 1);
    fixture_run_free(&run);
    fixture_check_scores(out, 0, 100, 0, true);
    struct fixture_content content = fixture_read(dead);
    assert_int_equal(content.count, 1);
    assert_int_equal(content.message[0].bytes, is_whole ? LARGE : 65536);
    assert_memory_equal(content.message[0].value, large, content.message[0].bytes);
    header_is(&content.message[0], "millrace-error", "size");
    header_is(&content.message[0], "millrace-error-stage", "decode");
    header_is(&content.message[0], "millrace-source-topic", in);
    header_is(&content.message[0], "millrace-source-partition", "1");
    header_is(&content.message[0], "millrace-source-offset", "0");
    header_is(&content.message[0], "millrace-truncated-from", is_whole ? NULL : "10000000");
    fixture_content_free(&content);
}

/* How large an output may be is the topic's matter, not that of batch.records_max. */
static void large_outputs(const char *name, const char *rest)
{
    enum { LONG_BYTES = 900000 };
    char in[32], out[32], dead[32];
    char *const text = malloc(LONG_BYTES + 64);
    const struct fixture_job job = {
        .name = name, .emit = "{\"fields\":{\"long\":\"long\",\"class\":\"m.class\"}}", .rest = rest};
    struct fixture_message message = {.value = text};
    struct fixture_run run;
    snprintf(in, sizeof in, "%s.in", name);
    snprintf(out, sizeof out, "%s.out", name);
    snprintf(dead, sizeof dead, "%s.dead", name);
    fixture_topic(in, 1);
    fixture_topic(out, 1);
    fixture_topic(dead, 1);
    message.bytes = (size_t)sprintf(text, "{\"a\":1,\"b\":2,\"long\":\"%0*d\"}", LONG_BYTES, 0);
    fixture_produce(in, &message, 1);
    fixture_run_to_end(&run, &job);
    assert_int_equal(run.summary->records_dead, 0);
    fixture_run_free(&run);
    struct fixture_content content = fixture_read(out);
    assert_int_equal(content.count, 1);
    assert_in_range(content.message[0].bytes, LONG_BYTES, LONG_BYTES + 64);
    fixture_content_free(&content);
    free(text);
}

static void a_large_output_in_any_batch(void **state)
{
    (void)state;
    large_outputs("output256", ",\"batch\":{\"records_max\":256}");
    large_outputs("output8192", "");
}

static void a_very_large_record(void **state)
{
    (void)state;
    ten_megabytes("large", ",\"message.max.bytes\":20000000", true);
    ten_megabytes("cut", NULL, false);
}

/* Many bad lines in one message, more than a batch has rows, and a feature from a header that is not there. */
static void more_bad_lines_than_rows(void **state)
{
    const struct fixture_job job = {
        .name = "badlines",
        .record = "{\"format\":\"json\",\"framing\":\"lines\",\"features\":[\"a\",\"@header.b\"]}",
        .rest = ",\"batch\":{\"records_max\":64}"};
    static char text[40000];
    char *at = text;
    struct fixture_run run;
    (void)state;
    fixture_topic("badlines.in", 1);
    fixture_topic("badlines.out", 1);
    fixture_topic("badlines.dead", 1);
    for (int i = 0; i < 1000; i++) at += sprintf(at, "%s", i % 5 == 4 ? "{\"id\":1,\"a\":1}\n" : "{\"id\":1}\n");
    fixture_produce("badlines.in", &(struct fixture_message){.value = text, .bytes = (size_t)(at - text)}, 1);
    fixture_run_to_end(&run, &job);
    assert_int_equal(run.summary->records_dead, 1000);
    assert_int_equal(run.summary->reasons[MR_REASON_MISSING], 1000);
    fixture_run_free(&run);
    assert_int_equal(fixture_count("badlines.dead"), 1000);
}

/* A bad line here and there is no run of bad records, however many messages have one. */
static void a_bad_line_a_message_is_no_run(void **state)
{
    const struct fixture_job job = {.name = "norun",
                                    .record = "{\"format\":\"json\",\"framing\":\"lines\",\"features\":[\"a\",\"b\"]}",
                                    .bad = "{\"drop\":true,\"run_max\":20}"};
    struct fixture_run run;
    (void)state;
    fixture_topic("norun.in", 1);
    fixture_topic("norun.out", 1);
    for (uint64_t i = 0; i < 100; i++) {
        char text[512];
        snprintf(text, sizeof text, "%s\n%s\nbad\n%s", fixture_record(3 * i), fixture_record(3 * i + 1),
                 fixture_record(3 * i + 2));
        fixture_say("norun.in", 0, text);
    }
    fixture_run_to_end(&run, &job);
    assert_int_equal(run.summary->records_dead, 100);
    fixture_run_free(&run);
    fixture_check_scores("norun.out", 0, 300, 0, true);
}

/*
 * The circuit breaker ends the job with MR_EDATA. What was taken in is delivered, and the committed offset stands
 * behind exactly what has an answer or a dead letter.
 */
static void breaker_trips(const char *name, const char *bad, uint64_t good, uint64_t bad_count, const char *word)
{
    char in[32], out[32], dead[32];
    const struct fixture_job job = {.name = name, .bad = bad, .rest = ",\"batch\":{\"records_max\":64}"};
    struct fixture_run run;
    static struct fixture_message messages[4000];
    snprintf(in, sizeof in, "%s.in", name);
    snprintf(out, sizeof out, "%s.out", name);
    snprintf(dead, sizeof dead, "%s.dead", name);
    fixture_topic(in, 1);
    fixture_topic(out, 1);
    fixture_topic(dead, 1);
    fixture_fill(in, 0, good, 1);
    for (uint64_t i = 0; i < bad_count; i++) messages[i] = (struct fixture_message){.value = "bad", .bytes = 3};
    fixture_produce(in, messages, bad_count);
    assert_int_equal(fixture_run(&run, &job, NULL), MR_EDATA);
    assert_non_null(strstr(run.err.text, "circuit breaker"));
    assert_non_null(strstr(run.err.text, word));
    const uint64_t answered = (uint64_t)(fixture_count(out) + fixture_count(dead));
    assert_int_equal(answered, run.summary->records_in);
    assert_int_equal(fixture_committed(name, in, 0), answered);
    assert_int_equal(run.summary->records_out, good);
    assert_true(run.summary->records_dead < bad_count);
    fixture_run_free(&run);
    fixture_check_scores(out, 0, good, 0, true);
}

static void breaker_share(void **state)
{
    (void)state;
    breaker_trips("share", "{\"topic\":\"share.dead\",\"share_max\":0.25,\"window\":200}", 1000, 2000, "share_max");
}

static void breaker_run(void **state)
{
    (void)state;
    breaker_trips("run", "{\"topic\":\"run.dead\",\"run_max\":150,\"share_max\":1}", 1000, 2000, "run_max");
}

/* Two lanes count together, batch by batch: the run is over one batch a lane after its limit at the latest. */
static void breaker_over_all_lanes(void **state)
{
    enum { BATCH = 64, RUN_MAX = 1500, BAD = 8000 };
    const struct fixture_job job = {.name = "lanes",
                                    .bad = "{\"topic\":\"lanes.dead\",\"run_max\":1500,\"share_max\":1}",
                                    .rest = ",\"lanes\":2,\"batch\":{\"records_max\":64}"};
    static struct fixture_message messages[BAD];
    struct fixture_run run;
    (void)state;
    fixture_topic("lanes.in", 2);
    fixture_topic("lanes.out", 2);
    fixture_topic("lanes.dead", 1);
    for (int i = 0; i < BAD; i++)
        messages[i] = (struct fixture_message){.value = "bad", .bytes = 3, .partition = i % 2};
    fixture_produce("lanes.in", messages, BAD);
    assert_int_equal(fixture_run(&run, &job, NULL), MR_EDATA);
    assert_non_null(strstr(run.err.text, "circuit breaker"));
    assert_in_range(run.summary->records_dead, RUN_MAX, RUN_MAX + 2 * BATCH - 1);
    assert_int_equal(fixture_count("lanes.dead"), run.summary->records_dead);
    fixture_run_free(&run);
}

/* The boxes of dead letters are part of the job's memory: where they do not fit, the job says so at start. They follow
 * the size of the batches, so that the smallest memory that a job may name is enough for some. */
static void dead_letters_count_as_memory(void **state)
{
    const char *const small = ",\"memory\":\"16MiB\",\"lanes\":1,\"batch\":{\"records_max\":64}";
    const char *const larger = ",\"memory\":\"16MiB\",\"lanes\":1,\"batch\":{\"records_max\":1024}";
    const struct fixture_job fits = {.name = "budget", .rest = small};
    const struct fixture_job dead = {.name = "budget", .rest = larger};
    const struct fixture_job drop = {.name = "budget", .rest = larger, .bad = "{\"drop\":true}"};
    struct fixture_run run;
    (void)state;
    fixture_topic("budget.in", 1);
    fixture_topic("budget.out", 1);
    fixture_topic("budget.dead", 1);
    for (int i = 0; i < 200; i++) fixture_say("budget.in", 0, "bad");
    fixture_fill("budget.in", 0, 10, 1);
    assert_int_equal(fixture_start(&run, &dead, NULL), MR_ECONFIG);
    assert_non_null(strstr(run.err.text, "memory"));
    fixture_run_free(&run);
    fixture_run_to_end(&run, &fits);
    fixture_run_free(&run);
    assert_int_equal(fixture_count("budget.dead"), 200);
    fixture_run_to_end(&run, &drop);
    fixture_run_free(&run);
}

static int idle_calls;

/* The lane serves its source here. The broker takes dead letters again once it was served three times. */
static void idle_count(void *context)
{
    (void)context;
    if (++idle_calls == 3) rd_kafka_mock_clear_request_errors(fixture_cluster(), API_PRODUCE);
}

/* The topic takes nothing and all boxes are on their way: whoever waits for one serves the source meanwhile. */
static void a_slow_dead_letter_topic_starves_no_group(void **state)
{
    enum { BAD = 20000 };
    const struct fixture_job text = {.name = "slow"};
    const struct mr_until until = {.end = true};
    const struct mr_bad bad = {
        .value = "bad", .value_bytes = 3, .topic = "slow.in", .reason = MR_REASON_SYNTAX, .stage = "decode", .rows = 1};
    rd_kafka_resp_err_t errors[40];
    struct mr_stats stats = {0};
    struct mr_flight flight;
    struct mr_dead *dead;
    struct mr_err err = {0};
    struct mr_run *run;
    (void)state;
    fixture_topic("slow.dead", 1);
    struct mr_job *job = fixture_job_load(&text);
    assert_int_equal(mr_run_create(job, &until, &run, &err), MR_OK);
    run->idle_interval_us = 20000;
    assert_int_equal(mr_flight_init(&flight, 2, 1, 1, 1, &stats, &err), MR_OK);
    assert_int_equal(mr_dead_create(run, 0, &stats, &dead, &err), MR_OK);
    mr_dead_idle_set(dead, idle_count, NULL);
    for (size_t i = 0; i < 40; i++) errors[i] = RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS;
    rd_kafka_mock_push_request_errors_array(fixture_cluster(), API_PRODUCE, 40, errors);
    struct mr_ticket *ticket = mr_ticket_open(&flight);
    for (int i = 0; i < BAD; i++) {
        if (mr_dead_add(dead, ticket, &bad, &err)) fail_msg("%s", err.text);
        ticket->in++;
    }
    assert_true(idle_calls >= 3);
    assert_int_equal(mr_dead_flush(dead, &err), MR_OK);
    mr_ticket_close(ticket);
    fixture_wait((assert_int_equal(mr_dead_poll(dead, &err), MR_OK), !ticket->box_count));
    assert_int_equal(mr_flight_settle(&flight, &err), MR_OK);
    assert_int_equal(stats.records_dead, BAD);
    mr_dead_destroy(dead);
    mr_flight_deinit(&flight);
    mr_run_destroy(run);
    mr_job_destroy(job);
    assert_int_equal(fixture_count("slow.dead"), BAD);
}

/* It trips in the middle of a message of many records: the message is finished, so that its offset can be committed. */
static void breaker_within_a_message(void **state)
{
    const struct fixture_job job = {.name = "within",
                                    .record = "{\"format\":\"json\",\"framing\":\"lines\",\"features\":[\"a\",\"b\"]}",
                                    .bad = "{\"topic\":\"within.dead\",\"run_max\":150,\"share_max\":1}",
                                    .rest = ",\"batch\":{\"records_max\":64}"};
    static char text[64000];
    char *at = text;
    struct fixture_run run;
    (void)state;
    fixture_topic("within.in", 1);
    fixture_topic("within.out", 1);
    fixture_topic("within.dead", 1);
    for (uint64_t i = 0; i < 500; i++) at += sprintf(at, "%s\n", fixture_record(i));
    for (int i = 0; i < 2000; i++) at += sprintf(at, "bad\n");
    fixture_produce("within.in", &(struct fixture_message){.value = text, .bytes = (size_t)(at - text)}, 1);
    assert_int_equal(fixture_run(&run, &job, NULL), MR_EDATA);
    assert_int_equal(run.summary->records_out, 500);
    assert_int_equal(run.summary->records_dead, 2000);
    fixture_run_free(&run);
    assert_int_equal(fixture_committed("within", "within.in", 0), 1);
    assert_int_equal(fixture_count("within.dead"), 2000);
    fixture_check_scores("within.out", 0, 500, 0, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_ones_become_dead_letters),
        cmocka_unit_test(dropped),
        cmocka_unit_test(dead_letter_file),
        cmocka_unit_test(tombstones_are_skipped_or_dead),
        cmocka_unit_test(a_large_output_in_any_batch),
        cmocka_unit_test(a_very_large_record),
        cmocka_unit_test(more_bad_lines_than_rows),
        cmocka_unit_test(a_bad_line_a_message_is_no_run),
        cmocka_unit_test(breaker_share),
        cmocka_unit_test(breaker_run),
        cmocka_unit_test(breaker_within_a_message),
        cmocka_unit_test(breaker_over_all_lanes),
        cmocka_unit_test(dead_letters_count_as_memory),
        cmocka_unit_test(a_slow_dead_letter_topic_starves_no_group),
    };
    return cmocka_run_group_tests(tests, bads_make, fixture_close);
}
