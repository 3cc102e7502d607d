/*
 * Labels on a topic of their own: late, early, missing, repeated, bad and too many; what is learned from them is what a
 * job learns that has them in its records; what is judged are the predictions that went out.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline/fixture.h"
#include "pipeline/lane_labels.h"

#define BASE_MS INT64_C(1700000000000)

/* What a run leaves. */
struct facts {
    uint64_t in, out, dead, matched, waiting[2], expired[2], evicted[2], duplicate[2], no_key;
    uint64_t labels_in, labels_taken, labels_dead, labels_filtered, judged, learned;
    double squared_error;
};

static void facts_take(const struct mr_run *run, struct facts *facts)
{
    const struct mr_lane_labels *const labels = run->lane[0]->labels;
    const struct mr_join_counts *const counts = mr_join_counts(labels->join);
    const struct mr_stats *const stats = &labels->topic->stats, *const own = &run->lane[0]->stats;
    *facts = (struct facts){.in = own->records_in,
                            .out = own->records_out,
                            .dead = own->records_dead,
                            .matched = counts->matched,
                            .no_key = labels->records_no_key,
                            .labels_in = stats->records_in,
                            .labels_taken = stats->records_out,
                            .labels_dead = stats->records_dead,
                            .labels_filtered = stats->records_filtered,
                            .judged = run->models.item[0].losses.rows,
                            .learned = run->models.item[0].stats.rows,
                            .squared_error = run->models.item[0].losses.loss};
    for (int side = 0; side < MR_JOIN_SIDES; side++) {
        facts->waiting[side] = counts->waiting[side];
        facts->expired[side] = counts->expired[side];
        facts->evicted[side] = counts->evicted[side];
        facts->duplicate[side] = counts->duplicate[side];
    }
}

static void balance_check(const struct facts *f)
{
    assert_int_equal(f->in, f->out + f->dead);
    assert_int_equal(f->labels_in, f->labels_taken + f->labels_dead + f->labels_filtered);
    assert_int_equal(f->out, f->no_key + f->matched + f->waiting[0] + f->expired[0] + f->evicted[0] + f->duplicate[0]);
    assert_int_equal(f->labels_taken, f->matched + f->waiting[1] + f->expired[1] + f->evicted[1] + f->duplicate[1]);
    assert_int_equal(f->matched, f->judged);
}

/* Drains a run and takes its facts. */
static void finish(struct fixture_run *run, struct facts *facts)
{
    mr_run_stop(run->run, MR_RUN_DRAIN);
    if (mr_run_finish(run->run, &run->err)) fail_msg("%s", run->err.text);
    facts_take(run->run, facts);
    assert_int_equal(fixture_stop(run, MR_RUN_DRAIN), MR_OK);
    fixture_run_free(run);
    balance_check(facts);
}

static void run_to_end(const struct fixture_job *job, struct facts *facts)
{
    struct fixture_run run;
    if (fixture_start(&run, job, &(struct mr_until){.end = true})) fail_msg("%s", run.err.text);
    if (!mr_run_wait(run.run, DEADLINE_S * 1000000LL)) fail_msg("%s: not at its end", job->name);
    finish(&run, facts);
}

static void topics_make(const char *name)
{
    static const char *const kinds[] = {"in", "labels", "out", "dead"};
    for (size_t i = 0; i < 4; i++) {
        char topic[80];
        snprintf(topic, sizeof topic, "%s.%s", name, kinds[i]);
        fixture_topic(topic, 1);
    }
}

static void say_at(const char *name, const char *kind, int64_t after_ms, const char *text)
{
    char topic[80];
    const struct fixture_message message = {
        .value = text, .bytes = text ? strlen(text) : 0, .timestamp_ms = BASE_MS + after_ms};
    snprintf(topic, sizeof topic, "%s.%s", name, kind);
    fixture_produce(topic, &message, 1);
}

#define EMIT "{\"fields\":{\"id\":\"id\",\"m\":\"m.score\"}}"

/* ---- what is learned ---- */

enum { COUNT = 400 }; /* whole batches: a poll that is not full would wait for more */

static double truth(uint64_t i)
{
    float a, b;
    fixture_features(i, &a, &b);
    return 3.5 * (double)a - 2 * (double)b + 0.25;
}

static char *file_read(const char *name, size_t *bytes_out)
{
    FILE *const file = fopen(fixture_path(name), "rb");
    char *const bytes = malloc(1 << 16);
    assert_non_null(file);
    assert_non_null(bytes);
    *bytes_out = fread(bytes, 1, 1 << 16, file);
    fclose(file);
    return bytes;
}

static void fill(const char *name, bool has_labels)
{
    for (uint64_t i = 0; i < COUNT; i++) {
        char text[200];
        const char *const record = fixture_record(i);
        if (has_labels) {
            snprintf(text, sizeof text, "%.*s,\"y\":%.17g}", (int)strlen(record) - 1, record, truth(i));
            say_at(name, "in", (int64_t)i, text);
            continue;
        }
        say_at(name, "in", (int64_t)i, record);
        snprintf(text, sizeof text, "{\"of\":%llu,\"y\":%.17g}", (unsigned long long)i, truth(i));
        say_at(name, "labels", (int64_t)i + 50, text);
    }
}

/* The sum of squared errors of the predictions in a topic. */
static double squared_error_of(const char *topic)
{
    struct fixture_content content = fixture_read(topic);
    double sum = 0;
    assert_int_equal(content.count, COUNT);
    for (size_t i = 0; i < content.count; i++) {
        unsigned long long id;
        double y;
        assert_int_equal(sscanf(content.message[i].value, "{\"id\":%llu,\"m\":%lf}", &id, &y), 2);
        sum += (y - truth(id)) * (y - truth(id));
    }
    fixture_content_free(&content);
    return sum;
}

/* The same records with the label in them, and in the same blocks: the same weights, bit for bit. */
static void learned_as_from_records(void **state)
{
    static const char *const models[] = {
        "[{\"name\":\"m\",\"type\":\"linear\",\"learn\":true,\"step\":0.02,\"save\":\"within.safetensors\"}]",
        "[{\"name\":\"m\",\"type\":\"linear\",\"learn\":true,\"step\":0.02,\"save\":\"apart.safetensors\"}]"};
    const struct fixture_job within = {.name = "within",
                                       .record = "{\"format\":\"json\",\"features\":[\"a\",\"b\"],\"label\":\"y\"}",
                                       .models = models[0],
                                       .emit = EMIT,
                                       .rest = ",\"batch\":{\"records_max\":50,\"by\":\"offsets\"}"};
    const struct fixture_job apart = {.name = "apart",
                                      .models = models[1],
                                      .emit = EMIT,
                                      .rest = ",\"batch\":{\"records_max\":50,\"wait_max\":\"10s\"},\"labels\":{"
                                              "\"topics\":[\"apart.labels\"],\"key\":\"of\",\"record_key\":\"id\","
                                              "\"label\":\"y\"}"};
    struct fixture_run run;
    struct facts facts;
    size_t bytes[2];
    (void)state;
    topics_make("within");
    topics_make("apart");
    fill("within", true);
    fill("apart", false);
    fixture_run_to_end(&run, &within);
    fixture_run_free(&run);
    run_to_end(&apart, &facts);
    assert_int_equal(facts.matched, COUNT);
    assert_int_equal(facts.learned, COUNT);
    char *const one = file_read("within.safetensors", &bytes[0]), *const other =
                                                                      file_read("apart.safetensors", &bytes[1]);
    assert_int_equal(bytes[0], bytes[1]);
    assert_memory_equal(one, other, bytes[0]);
    free(one);
    free(other);
    const double want = squared_error_of("apart.out");
    if (!(fabs(facts.squared_error - want) <= 1e-5 * want))
        fail_msg("squared error %.9g, that of the predictions is %.9g", facts.squared_error, want);
    assert_int_equal(fixture_committed("apart.labels", "apart.labels", 0), COUNT);
    assert_int_equal(fixture_committed("apart", "apart.in", 0), COUNT);
}

/* ---- case by case ---- */

static void record_at(const char *name, int64_t after_ms, int id)
{
    char text[80];
    snprintf(text, sizeof text, id < 0 ? "{\"a\":1,\"b\":2}" : "{\"id\":\"%d\",\"a\":1,\"b\":2}", id);
    say_at(name, "in", after_ms, text);
}

static void label_at(const char *name, int64_t after_ms, int id, double y)
{
    char text[80];
    snprintf(text, sizeof text, "{\"y\":%g,\"id\":\"%d\"}", y, id);
    say_at(name, "labels", after_ms, text);
}

static void dead_check(void)
{
    struct fixture_content content = fixture_read("cases.dead");
    assert_int_equal(content.count, 3);
    for (size_t i = 0; i < content.count; i++) {
        assert_string_equal(fixture_header_of(&content.message[i], "millrace-error-stage"), "label");
        assert_string_equal(fixture_header_of(&content.message[i], "millrace-source-topic"), "cases.labels");
    }
    assert_string_equal(fixture_header_of(&content.message[0], "millrace-error"), "missing");
    assert_string_equal(fixture_header_of(&content.message[0], "millrace-error-field"), "y");
    assert_string_equal(fixture_header_of(&content.message[1], "millrace-error"), "type");
    assert_string_equal(fixture_header_of(&content.message[2], "millrace-error-field"), "id");
    fixture_content_free(&content);
}

static void case_by_case(void **state)
{
    const struct fixture_job job = {
        .name = "cases",
        .models = "[{\"name\":\"m\",\"type\":\"linear\",\"learn\":true,\"step\":0.02}]",
        .emit = EMIT,
        .rest = ",\"batch\":{\"records_max\":4},\"labels\":{\"topics\":[\"cases.labels\"],\"key\":\"id\","
                "\"label\":\"y\",\"wait_max\":\"1s\"}"};
    struct facts f;
    (void)state;
    topics_make("cases");
    record_at("cases", 0, 1);   /* its label is late */
    record_at("cases", 500, 2); /* its label was early */
    record_at("cases", 600, 3);
    record_at("cases", 610, 4);
    record_at("cases", 620, 4);
    record_at("cases", 630, -1);
    record_at("cases", 700, 5); /* has none */
    record_at("cases", 750, 6); /* its label is too late */
    record_at("cases", 10000, 99);
    label_at("cases", 100, 2, 1);
    say_at("cases", "labels", 200, "{\"id\":\"8\"}");
    say_at("cases", "labels", 210, "{\"id\":\"9\",\"y\":\"x\"}");
    say_at("cases", "labels", 220, "{\"y\":1}");
    say_at("cases", "labels", 230, NULL);
    label_at("cases", 650, 3, 1);
    label_at("cases", 700, 3, 2);
    label_at("cases", 710, 4, 1);
    label_at("cases", 800, 7, 1); /* of no record */
    label_at("cases", 1000, 1, 1);
    label_at("cases", 2000, 6, 1);
    label_at("cases", 10000, 98, 1);
    run_to_end(&job, &f);
    assert_int_equal(f.in, 9);
    assert_int_equal(f.out, 9);
    assert_int_equal(f.matched, 4);
    assert_int_equal(f.learned, 4);
    assert_int_equal(f.no_key, 1);
    assert_int_equal(f.expired[MR_JOIN_RECORD], 2);
    assert_int_equal(f.expired[MR_JOIN_LABEL], 2);
    assert_int_equal(f.duplicate[MR_JOIN_RECORD], 1);
    assert_int_equal(f.duplicate[MR_JOIN_LABEL], 1);
    assert_int_equal(f.waiting[MR_JOIN_RECORD], 1);
    assert_int_equal(f.waiting[MR_JOIN_LABEL], 1);
    assert_int_equal(f.labels_in, 12);
    assert_int_equal(f.labels_dead, 3);
    assert_int_equal(f.labels_filtered, 1);
    dead_check();
    assert_int_equal(fixture_committed("cases.labels", "cases.labels", 0), 12);
}

/* ---- live: predictions do not wait, and the store has an end ---- */

static const struct mr_join_counts *counts_of(const struct fixture_run *run)
{
    return mr_join_counts(run->run->lane[0]->labels->join);
}

/* The moving line, and the report of a run that is on. */
static void progress_check(const struct mr_run *run)
{
    struct mr_summary *const before = calloc(2, sizeof *before), *const now = before + 1;
    char line[512], page[8192] = "";
    FILE *const out = fmemopen(page, sizeof page - 1, "w");
    assert_non_null(before);
    assert_non_null(out);
    mr_summary_take(run, now);
    mr_progress_line(line, sizeof line, before, now, 0);
    if (!strstr(line, "dead 0  matched 9  ")) fail_msg("%s", line);
    mr_summary_print(out, run, now);
    fclose(out);
    if (!strstr(page, "51 in: 50 taken, 1 dead  missing: 1\n") || !strstr(page, " 9 records with their labels\n") ||
        !strstr(page, "0 records wait, 0 expired, 41 evicted, 0 duplicates\n") ||
        !strstr(page, "1 labels wait, 0 expired, 40 evicted, 0 duplicates\n"))
        fail_msg("%s", page);
    free(before);
}

static void live_and_full(void **state)
{
    const struct fixture_job job = {
        .name = "live",
        .models = "[{\"name\":\"m\",\"type\":\"linear\",\"learn\":true,\"step\":0.02}]",
        .emit = EMIT,
        .rest = ",\"labels\":{\"topics\":[\"live.labels\"],\"key\":\"@key\",\"record_key\":\"id\",\"label\":\"y\","
                "\"records_max\":10}"};
    struct fixture_message label = {.value = "{\"y\":1}", .bytes = 7, .timestamp_ms = BASE_MS + 100};
    struct fixture_run run;
    struct facts f;
    char key[16];
    (void)state;
    topics_make("live");
    if (fixture_start(&run, &job, NULL)) fail_msg("%s", run.err.text);
    for (int i = 0; i < 50; i++) record_at("live", i, i);
    fixture_wait(fixture_sum(&run, records_out) == 50); /* without any label */
    assert_int_equal(counts_of(&run)->evicted[MR_JOIN_RECORD], 40);
    for (int i = 0; i < 50; i++) { /* labels of records that were pushed out push out few others */
        label.key = key;
        label.key_bytes = (size_t)snprintf(key, sizeof key, "%d", i);
        fixture_produce("live.labels", &label, 1);
    }
    label.key = NULL;
    label.key_bytes = 0;
    fixture_produce("live.labels", &label, 1);
    fixture_wait(counts_of(&run)->matched == 9);
    fixture_wait(run.run->models.item[0].stats.rows == 9); /* batch.wait_max, not a full block */
    fixture_wait(run.run->lane[0]->labels->topic->stats.records_dead == 1);
    progress_check(run.run);
    finish(&run, &f);
    assert_int_equal(f.matched, 9);
    assert_int_equal(f.waiting[MR_JOIN_LABEL], 1);
    assert_int_equal(f.evicted[MR_JOIN_LABEL], 40);
    assert_int_equal(fixture_committed("live.labels", "live.labels", 0), 51);
}

/* A model that does not learn is judged all the same; records wait for labels that came before them. */
static void judged_only(void **state)
{
    const struct fixture_job job = {.name = "judge",
                                    .emit = EMIT,
                                    .models = "[{\"name\":\"m\",\"type\":\"linear\",\"file\":\"within.safetensors\"}]",
                                    .rest =
                                        ",\"labels\":{\"topics\":[\"judge.labels\"],\"key\":\"id\",\"label\":\"y\"}"};
    struct facts f;
    (void)state;
    topics_make("judge");
    for (int i = 0; i < 20; i++) {
        label_at("judge", i, i, 3);
        record_at("judge", i + 200, i);
    }
    run_to_end(&job, &f);
    assert_int_equal(f.judged, 20);
    assert_int_equal(f.learned, 0);
    const double each = f.squared_error / 20; /* all records are alike */
    struct fixture_content content = fixture_read("judge.out");
    double y;
    assert_int_equal(sscanf(content.message[7].value, "{\"id\":\"7\",\"m\":%lf}", &y), 1);
    if (!(fabs((y - 3) * (y - 3) - each) <= 1e-5 * each)) fail_msg("%g was predicted, squared error %g", y, each);
    fixture_content_free(&content);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(learned_as_from_records),
        cmocka_unit_test(case_by_case),
        cmocka_unit_test(live_and_full),
        cmocka_unit_test(judged_only),
    };
    return cmocka_run_group_tests_name("labels", tests, fixture_open, fixture_close);
}
