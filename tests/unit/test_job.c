/* Job files: what they become, what is wrong with them, and that no memory is lost when there is none. */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "config/job.h"
#include "failing_malloc.h" /* defines __wrap_malloc */
#include "unit/job_registry.h"

#define GOLDEN MR_SOURCE_DIR "/tests/golden/config/"

static char *read_file(const char *path, size_t *bytes_out)
{
    FILE *const file = fopen(path, "rb");
    *bytes_out = 0;
    if (!file) return NULL;
    char *const text = malloc(1 << 20);
    *bytes_out = fread(text, 1, (1 << 20) - 1, file);
    text[*bytes_out] = '\0';
    fclose(file);
    return text;
}

/* The report of a job as text, to be freed. */
static char *report_of(const char *name, const char *text, size_t bytes, mr_status *status_out)
{
    char *report = NULL;
    size_t report_bytes = 0;
    FILE *const talk = open_memstream(&report, &report_bytes);
    struct mr_job *job = NULL;
    struct mr_err err = {0};
    *status_out = mr_job_parse(name, text, bytes, talk, &job, &err);
    if (*status_out != MR_OK) {
        assert_null(job);
        fprintf(talk, "millrace check: %s\n", err.text);
    }
    mr_job_destroy(job);
    fclose(talk);
    return report;
}

/* Every tests/golden/config/NAME.json gives the report NAME.txt. MILLRACE_GOLDEN=write renews them, to be read before a
 * commit. */
static void test_reports(void **state)
{
    (void)state;
    const char *const mode = getenv("MILLRACE_GOLDEN");
    DIR *const folder = opendir(GOLDEN);
    size_t count = 0;
    assert_non_null(folder);
    setenv("MILLRACE_TEST_SERVERS", "broker:9092", 1);
    setenv("MILLRACE_TEST_SECRET", "correct-horse", 1);
    setenv("MILLRACE_TEST_LANES", "3", 1);
    unsetenv("MILLRACE_TEST_UNSET");
    for (const struct dirent *entry; (entry = readdir(folder));) {
        char job_path[512], text_path[512];
        size_t bytes, wanted_bytes;
        mr_status status;
        const size_t length = strlen(entry->d_name);
        if (length < 6 || strcmp(entry->d_name + length - 5, ".json") != 0) continue;
        snprintf(job_path, sizeof job_path, GOLDEN "%s", entry->d_name);
        snprintf(text_path, sizeof text_path, GOLDEN "%.*s.txt", (int)length - 5, entry->d_name);
        char *const job = read_file(job_path, &bytes);
        char *const report = report_of(entry->d_name, job, bytes, &status);
        if (mode && !strcmp(mode, "write")) {
            FILE *const file = fopen(text_path, "wb");
            fputs(report, file);
            fclose(file);
        }
        char *const wanted = read_file(text_path, &wanted_bytes);
        if (!wanted || strcmp(report, wanted) != 0) print_message("%s gives:\n%s", entry->d_name, report);
        assert_non_null(wanted);
        assert_string_equal(report, wanted);
        assert_int_equal(status, !strcmp(entry->d_name, "good.json") ? MR_OK : MR_ECONFIG);
        assert_null(strstr(report, "correct-horse"));
        assert_null(strstr(report, "hunter2"));
        free(job);
        free(report);
        free(wanted);
        count++;
    }
    closedir(folder);
    assert_true(count >= 20);
}

/* A job of the good parts, with `extra` keys put in; parsed as /jobs/a/test.job.json. */
static mr_status parse(const char *extra, struct mr_job **job_out, char report[4096])
{
    static const char *const parts =
        "{ %s \"source\": {\"type\": \"kafka\", \"topics\": [\"in\"], \"properties\": {\"bootstrap.servers\": \"a:1\", "
        "\"linger\": 5}},"
        "\"record\": {\"format\": \"csv\", \"features\": [\"a\", \"x[0..3]\"], \"header\": true},"
        "\"models\": [{\"type\": \"linear\", \"file\": \"m.safetensors\"}, {\"name\": \"n\", \"type\": \"mlp\", "
        "\"file\": \"/abs\"}],"
        "\"emit\": {\"fields\": {\"y\": \"linear.score\"}},"
        "\"sinks\": [{\"type\": \"kafka\", \"topic\": \"out\", \"linger\": 0.25}, {\"type\": \"file\", \"path\": "
        "\"o\", \"mode\": "
        "\"truncate\", \"bytes_max\": \"1GB\"}],"
        "\"bad_records\": {\"file\": \"bad.jsonl\"} }";
    char text[4096];
    struct mr_err err;
    FILE *const talk = fmemopen(report, 4096, "w");
    const int bytes = snprintf(text, sizeof text, parts, extra);
    memset(report, 0, 4096);
    const mr_status status = mr_job_parse("/jobs/a/test.job.json", text, (size_t)bytes, talk, job_out, &err);
    fclose(talk);
    return status;
}

static void test_values(void **state)
{
    (void)state;
    struct mr_job *job;
    char report[4096];
    assert_int_equal(parse("\"lanes\": 2e0, \"memory\": \"64MiB\", \"commit_interval\": \"250ms\", ", &job, report),
                     MR_OK);
    assert_string_equal(report, "");
    assert_string_equal(job->name, "test");
    assert_string_equal(job->path, "/jobs/a/test.job.json");
    assert_int_equal(job->lanes, 2);
    assert_int_equal(job->memory, 64 << 20);
    assert_int_equal(job->commit_interval, 250000);
    assert_int_equal(job->delivery, MR_DELIVERY_AT_LEAST_ONCE);
    assert_string_equal(job->backend, "auto");
    const struct test_kafka_source *const source = job->source_options;
    assert_ptr_equal(job->source, mr_source_find("kafka"));
    assert_int_equal(source->topics.count, 1);
    assert_string_equal(source->start, "earliest");
    assert_null(source->group);
    assert_int_equal(source->properties.count, 2);
    assert_string_equal(source->properties.item[1].key, "linger");
    assert_string_equal(source->properties.item[1].value, "5");
    assert_int_equal(job->record.features.count, 2);
    assert_int_equal(job->record.bytes_max, 1 << 20);
    const struct test_csv *const csv = job->codec_options;
    assert_true(csv->header);
    assert_string_equal(csv->separator, ",");
    assert_int_equal(job->model_count, 2);
    assert_string_equal(job->model[0].name, "linear");
    assert_string_equal(job->model[0].file, "/jobs/a/m.safetensors");
    assert_string_equal(job->model[1].name, "n");
    assert_string_equal(job->model[1].file, "/abs");
    assert_int_equal(job->sink_count, 2);
    assert_int_equal(((const struct test_kafka_sink *)job->sink[0].options)->linger, 250000);
    const struct test_file_sink *const file = job->sink[1].options;
    assert_string_equal(file->path, "/jobs/a/o");
    assert_int_equal(file->bytes_max, 1000000000);
    assert_int_equal(file->mode, 1);
    assert_true(file->share == 0.25);
    assert_string_equal(job->bad_records.file, "/jobs/a/bad.jsonl");
    assert_false(job->bad_records.drop);
    assert_int_equal(job->batch.wait_max, 300);
    mr_job_destroy(job);
    mr_job_destroy(NULL);
}

/* Less than float32 can keep would leave a backend that computes rightly. */
static void test_cross_check_tolerance(void **state)
{
    (void)state;
    struct mr_job *job;
    char report[4096];
    assert_int_equal(parse("\"cross_check_tolerance\": 1e-6, ", &job, report), MR_OK);
    mr_job_destroy(job);
    assert_int_equal(parse("\"cross_check_tolerance\": 9e-7, ", &job, report), MR_ECONFIG);
    assert_non_null(strstr(report, "cross_check_tolerance: expected a number from 1e-06 to 1, found 9e-7"));
}

static void test_substitution(void **state)
{
    (void)state;
    struct mr_job *job;
    char report[4096], extra[512], folder[] = "/tmp/millrace-job-XXXXXX", path[64];
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/lanes", folder);
    FILE *const file = fopen(path, "w");
    fputs("7\n", file);
    fclose(file);
    setenv("MILLRACE_TEST_NAME", "from-env", 1);
    snprintf(extra, sizeof extra, "\"job\": \"a-${env:MILLRACE_TEST_NAME}.b\", \"lanes\": \"${file:%s}\",", path);
    assert_int_equal(parse(extra, &job, report), MR_OK);
    assert_string_equal(job->name, "a-from-env.b");
    assert_int_equal(job->lanes, 7);
    mr_job_destroy(job);
    /* A plain "${" in a value, and no replacing in keys. */
    assert_int_equal(parse("\"job\": \"$${x\", \"x-${env:NONE}\": 1,", &job, report), MR_ECONFIG);
    assert_non_null(strstr(report, "job: expected 1 to 100 letters"));
    assert_null(strstr(report, "is not set"));
    /* A plug-in's own complaint must not show what came from outside. */
    setenv("MILLRACE_TEST_NAME", "swordfish", 1);
    assert_int_equal(
        parse("\"record\": {\"format\": \"csv\", \"features\": [\"a\"], \"separator\": \"${env:MILLRACE_TEST_NAME}\"},",
              &job, report),
        MR_ECONFIG);
    assert_non_null(strstr(report, "separator must be one byte, found \"[set]\""));
    assert_null(strstr(report, "swordfish"));
    unlink(path);
    rmdir(folder);
}

/* The effective job: every default is there, and nothing that is secret or came from outside. */
static void test_show(void **state)
{
    (void)state;
    const char *const mode = getenv("MILLRACE_GOLDEN");
    size_t bytes, wanted_bytes, shown_bytes = 0;
    char *shown = NULL;
    struct mr_err err;
    setenv("MILLRACE_TEST_SECRET", "correct-horse", 1);
    char *const job = read_file(GOLDEN "show/job.json", &bytes);
    FILE *const out = open_memstream(&shown, &shown_bytes), *const talk = fopen("/dev/null", "w");
    assert_int_equal(mr_job_show("job.json", job, bytes, talk, out, &err), MR_OK);
    fclose(out);
    fclose(talk);
    if (mode && !strcmp(mode, "write")) {
        FILE *const file = fopen(GOLDEN "show/shown.json", "wb");
        fputs(shown, file);
        fclose(file);
    }
    char *const wanted = read_file(GOLDEN "show/shown.json", &wanted_bytes);
    assert_non_null(wanted);
    assert_string_equal(shown, wanted);
    assert_null(strstr(shown, "correct-horse"));
    assert_null(strstr(shown, "hunter2"));
    free(job);
    free(wanted);
    free(shown);
}

/* What stands in the text does not move what is reported: every comment is blanked in place. */
static void test_positions(void **state)
{
    (void)state;
    static const char text[] = "\xef\xbb\xbf// \xc3\xa4\n{ /* { */ \"job\": \"\xc3\xa4\xc3\xb6\", \"jobb\": 1 }";
    mr_status status;
    char *const report = report_of("p.json", text, sizeof text - 1, &status);
    assert_int_equal(status, MR_ECONFIG);
    assert_non_null(strstr(report, "p.json:2:18: job: expected"));
    assert_non_null(strstr(report, "p.json:2:24: jobb: unknown key"));
    free(report);
}

/* Control bytes in a hostile file never reach the terminal. */
static void test_no_control_bytes(void **state)
{
    (void)state;
    static const char text[] =
        "{ \"\\u001b[2Jx\": 1, \"job\": \"\\u001b[31m\", \"source\": { \"type\": \"\\u0007\" } }";
    mr_status status;
    char *const report = report_of("\033p.json", text, sizeof text - 1, &status);
    for (const char *c = report; *c; c++)
        assert_true(*c == '\n' || (unsigned char)*c >= 0x20 || c == strstr(report, "\033p.json: "));
    free(report);
}

/* Every allocation in turn fails, once or for good: MR_ENOMEM and nothing lost, or the same answer as ever. */
static void out_of_memory(const char *name, bool fails_once)
{
    char path[512];
    size_t bytes, rounds = 0;
    FILE *const talk = fopen("/dev/null", "w");
    snprintf(path, sizeof path, GOLDEN "%s", name);
    char *const text = read_file(path, &bytes);
    struct mr_job *job;
    struct mr_err err;
    const mr_status wanted = mr_job_parse(name, text, bytes, talk, &job, &err);
    mr_job_destroy(job);
    for (size_t until = 0;; until++, rounds++) {
        failing_start(until, fails_once);
        const long live = failing.live;
        const mr_status status = mr_job_parse(name, text, bytes, talk, &job, &err);
        const bool has_failed = failing.failed;
        failing_stop();
        assert_int_equal(status, has_failed ? MR_ENOMEM : wanted);
        assert_true((status == MR_OK) == (job != NULL));
        mr_job_destroy(job);
        assert_int_equal(failing.live, live);
        if (!has_failed) break;
    }
    assert_true(rounds > 20);
    free(text);
    fclose(talk);
}

static void test_out_of_memory(void **state)
{
    (void)state;
    static const char *const names[] = {"good.json", "many_mistakes.json", "secrets.json", "loops.json"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        out_of_memory(names[i], false);
        out_of_memory(names[i], true);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reports),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_substitution),
        cmocka_unit_test(test_positions),
        cmocka_unit_test(test_no_control_bytes),
        cmocka_unit_test(test_out_of_memory),
        cmocka_unit_test(test_show),
        cmocka_unit_test(test_cross_check_tolerance),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
