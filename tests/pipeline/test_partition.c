/* Which output partition a record goes to: decided once for all records of a run. */
#include "pipeline/fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEYS    12
#define RECORDS 2000

/* Records whose keys come in every input partition. */
static void fill(const char *topic, int partition_count)
{
    fixture_topic(topic, partition_count);
    struct fixture_message *messages = calloc(RECORDS, sizeof *messages);
    char(*text)[128] = calloc(RECORDS, sizeof *text);
    char(*key)[16] = calloc(RECORDS, sizeof *key);
    assert_true(messages && text && key);
    for (int i = 0; i < RECORDS; i++) {
        snprintf(text[i], sizeof *text, "%s", fixture_record((uint64_t)i));
        snprintf(key[i], sizeof *key, "k%d", i % KEYS);
        messages[i] = (struct fixture_message){.value = text[i],
                                               .bytes = strlen(text[i]),
                                               .key = key[i],
                                               .key_bytes = strlen(key[i]),
                                               .partition = i / KEYS % partition_count};
    }
    fixture_produce(topic, messages, RECORDS);
    free(messages);
    free(text);
    free(key);
}

static long id_of(const struct fixture_message *message)
{
    return atol(message->value + strlen("{\"id\":"));
}

static void outputs_stay(const char *topic, int partition_count)
{
    struct fixture_content content = fixture_read(topic);
    assert_int_equal(content.count, RECORDS);
    for (size_t i = 0; i < content.count; i++)
        assert_int_equal(content.message[i].partition, id_of(&content.message[i]) / KEYS % partition_count);
    fixture_content_free(&content);
}

/* All records of a key stand in one partition. */
static void outputs_go_by_key(const char *topic)
{
    int32_t place[KEYS];
    struct fixture_content content = fixture_read(topic);
    assert_int_equal(content.count, RECORDS);
    memset(place, -1, sizeof place);
    for (size_t i = 0; i < content.count; i++) {
        const long key = id_of(&content.message[i]) % KEYS;
        if (place[key] < 0) place[key] = content.message[i].partition;
        if (place[key] != content.message[i].partition)
            fail_msg("%s: key k%ld in partitions %d and %d", topic, key, place[key], content.message[i].partition);
    }
    fixture_content_free(&content);
}

static void auto_is_same_or_key_for_all(void **state)
{
    const struct {
        const char *name;
        int in, out;
    } cases[] = {{"equal", 4, 4}, {"fewer", 4, 3}, {"more", 3, 4}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct fixture_job job = {.name = cases[i].name};
        struct fixture_run run;
        char in[32], out[32];
        snprintf(in, sizeof in, "%s.in", job.name);
        snprintf(out, sizeof out, "%s.out", job.name);
        fill(in, cases[i].in);
        fixture_topic(out, cases[i].out);
        fixture_run_to_end(&run, &job);
        fixture_run_free(&run);
        if (cases[i].in == cases[i].out)
            outputs_stay(out, cases[i].in);
        else
            outputs_go_by_key(out);
    }
}

static void same_by_name(void **state)
{
    const struct fixture_job job = {.name = "named",
                                    .emit = "{\"fields\":{\"id\":\"id\",\"class\":\"m.class\"},\"partition\":\"same\"}",
                                    .sinks = "[{\"type\":\"kafka\",\"topic\":\"named.three\"}]"};
    struct fixture_job wide = job;
    struct fixture_run run;
    (void)state;
    fill("named.in", 4);
    fixture_topic("named.three", 3);
    fixture_topic("named.five", 5);
    assert_int_equal(fixture_start(&run, &job, NULL), MR_ECONFIG);
    if (!strstr(run.err.text, "\"named.three\" has 3 partitions, the input has 4") || !strstr(run.err.text, "--alter"))
        fail_msg("%s", run.err.text);
    wide.sinks = "[{\"type\":\"kafka\",\"topic\":\"named.five\"}]";
    fixture_run_to_end(&run, &wide);
    fixture_run_free(&run);
    outputs_stay("named.five", 4);
}

/* Two outputs, two decisions. */
static void each_topic_for_itself(void **state)
{
    const struct fixture_job job = {
        .name = "two",
        .sinks = "[{\"type\":\"kafka\",\"topic\":\"two.four\"},{\"type\":\"kafka\",\"topic\":\"two.three\"}]"};
    struct fixture_run run;
    (void)state;
    fill("two.in", 4);
    fixture_topic("two.four", 4);
    fixture_topic("two.three", 3);
    fixture_run_to_end(&run, &job);
    fixture_run_free(&run);
    outputs_stay("two.four", 4);
    outputs_go_by_key("two.three");
}

/* Topics of different widths, by name and by pattern: an output cannot be like both. */
static void inputs_of_different_widths(void **state)
{
    (void)state;
    fill("widths.in", 4);
    fixture_topic("widths.in.other", 2);
    fixture_topic("widths.out", 4);
    const struct fixture_job job = {.name = "widths",
                                    .servers = fixture_servers(),
                                    .source = "\"membership\":\"dynamic\",\"fetch_wait_max\":\"5ms\",",
                                    .properties = ",\"session.timeout.ms\":4000"};
    struct mr_job *loaded = fixture_job_load(&job);
    const struct mr_source_open open = {
        .options = loaded->source_options, .job = "widths", .lane_count = 1, .memory_bytes = 1 << 22};
    const char *const patterns[] = {"widths.in", "^widths[.]in", "^no[.]such"};
    const int32_t wanted[][2] = {{4, 4}, {2, 4}, {0, 0}};
    for (size_t i = 0; i < 3; i++) {
        struct mr_source *source;
        struct mr_err err;
        int32_t min = -1, max = -1;
        assert_int_equal(mr_options_set(loaded->source->options, loaded->source_options, "topics", patterns[i], &err),
                         MR_OK);
        if (loaded->source->open(&open, &source, &err)) fail_msg("%s", err.text);
        assert_int_equal(loaded->source->partition_range(source, &min, &max, &err), MR_OK);
        loaded->source->close(source);
        assert_int_equal(min, wanted[i][0]);
        assert_int_equal(max, wanted[i][1]);
    }
    mr_job_destroy(loaded);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(auto_is_same_or_key_for_all),
        cmocka_unit_test(same_by_name),
        cmocka_unit_test(each_topic_for_itself),
        cmocka_unit_test(inputs_of_different_widths),
    };
    return cmocka_run_group_tests(tests, fixture_open, fixture_close);
}
