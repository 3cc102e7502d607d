/*
 * A file that a follower writes, on the mock broker: requests of its client fail, the run is left at once and goes on;
 * the file holds each output once. (The mock writes no markers and aborts nothing: tests/kafka/test_follower.py has
 * those.)
 */
#include "pipeline/fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pipeline/follower.h"

#define COUNT      2000
#define PARTITIONS 2

static char sinks[512], path[256];

/* Topics and a job of that name; its file is new. */
static struct fixture_job job_of(const char *name)
{
    char topic[32];
    const char *const ends[] = {"in", "out", "dead"};
    for (size_t i = 0; i < 3; i++) {
        snprintf(topic, sizeof topic, "%s.%s", name, ends[i]);
        fixture_topic(topic, PARTITIONS);
    }
    snprintf(path, sizeof path, "%s.jsonl", fixture_path(name));
    snprintf(sinks, sizeof sinks, "[{\"type\":\"kafka\",\"topic\":\"%s.out\"},{\"type\":\"file\",\"path\":\"%s\"}]",
             name, path);
    return (struct fixture_job){
        .name = name,
        .servers = fixture_servers(),
        .sinks = sinks,
        .rest =
            ",\"delivery\":\"exactly-once\",\"lanes\":1,\"commit_interval\":\"10ms\",\"batch\":{\"records_max\":64}"};
}

static unsigned long id_of(const char *text)
{
    unsigned long id;
    if (sscanf(text, "{\"id\":%lu,", &id) != 1 || id >= 4 * COUNT) fail_msg("a strange line: %.80s", text);
    return id;
}

/* The file must have the records of the topic, each as often as that has it: what a job that was left does again stands
 * in there twice, for the mock hides no aborted records. */
static void file_is(const char *topic)
{
    static int balance[4 * COUNT];
    char line[256];
    struct fixture_content content = fixture_read(topic);
    FILE *const file = fopen(path, "re");
    assert_non_null(file);
    memset(balance, 0, sizeof balance);
    for (size_t i = 0; i < content.count; i++) {
        snprintf(line, sizeof line, "%.*s", (int)content.message[i].bytes, content.message[i].value);
        balance[id_of(line)]++;
    }
    while (fgets(line, sizeof line, file)) balance[id_of(line)]--;
    for (size_t id = 0; id < 4 * COUNT; id++)
        if (balance[id]) fail_msg("record %zu stands in the file %d times less than in the topic", id, balance[id]);
    fclose(file);
    fixture_content_free(&content);
}

static void clear_up(void)
{
    char mark[sizeof path + 16];
    snprintf(mark, sizeof mark, "%s.offsets", path);
    assert_int_equal(unlink(mark), 0);
    assert_int_equal(unlink(path), 0);
}

static void errors_pass(void **state)
{
    static const struct {
        const char *name;
        int16_t api;
        rd_kafka_resp_err_t code;
    } rows[] = {
        {"commit-coordinator", API_OFFSET_COMMIT, RD_KAFKA_RESP_ERR_NOT_COORDINATOR},
        {"commit-load", API_OFFSET_COMMIT, RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS},
        {"commit-timeout", API_OFFSET_COMMIT, RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT},
        {"fetch-leader", API_FETCH, RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION},
        {"ends-leader", API_LIST_OFFSETS, RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION},
        {"offsets-load", API_OFFSET_FETCH, RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS},
    };
    const struct mr_until until = {.end = true};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct fixture_job job = job_of(rows[i].name);
        struct fixture_run run = {0};
        char topic[64];
        snprintf(topic, sizeof topic, "%s.in", rows[i].name);
        fixture_fill(topic, 0, COUNT, PARTITIONS);
        rd_kafka_mock_push_request_errors(fixture_cluster(), rows[i].api, 3, rows[i].code, rows[i].code, rows[i].code);
        if (fixture_run(&run, &job, &until)) fail_msg("%s: %s", rows[i].name, run.err.text);
        rd_kafka_mock_clear_request_errors(fixture_cluster(), rows[i].api);
        fixture_run_free(&run);
        snprintf(topic, sizeof topic, "%s.out", rows[i].name);
        assert_true(fixture_count(topic) >= COUNT);
        file_is(topic);
        clear_up();
    }
}

/* Left at once again and again, in the middle of writing; then to the end. */
static void goes_on_where_it_was_marked(void **state)
{
    struct fixture_job job = job_of("left");
    const struct mr_until none = {0}, end = {.end = true};
    struct fixture_run run = {0};
    (void)state;
    for (uint64_t turn = 0; turn < 3; turn++) {
        run = (struct fixture_run){0};
        fixture_fill("left.in", turn * COUNT, COUNT, PARTITIONS);
        if (fixture_start(&run, &job, &none)) fail_msg("%s", run.err.text);
        fixture_wait(mr_stats_get(&run.run->follower[0]->stats.records_out) > COUNT / 4);
        fixture_stop(&run, MR_RUN_ABORT);
        fixture_run_free(&run);
    }
    run = (struct fixture_run){0};
    if (fixture_run(&run, &job, &end)) fail_msg("%s", run.err.text);
    fixture_run_free(&run);
    file_is("left.out");
    clear_up();
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(errors_pass), cmocka_unit_test(goes_on_where_it_was_marked)};
    return cmocka_run_group_tests(tests, fixture_open, fixture_close);
}
