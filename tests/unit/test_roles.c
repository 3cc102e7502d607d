/* A job with scorers: what each of its processes does, and what is told when it cannot be divided. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/options.h"
#include "config/roles.h"
#include "scoring/follow.h"

#define REPORT_BYTES 8192

/* A job that learns, with keys put in before and into its model. */
static mr_status parse(const char *keys, const char *model, struct mr_job **job_out, char report[REPORT_BYTES])
{
    char text[2048];
    struct mr_err err;
    const int bytes = snprintf(
        text, sizeof text,
        "{ %s \"job\": \"j\", \"source\": {\"type\": \"kafka\", \"topics\": [\"in\"], \"properties\": "
        "{\"bootstrap.servers\": \"a:1\"}}, \"record\": {\"format\": \"json\", \"features\": [\"x\"]}, \"models\": "
        "[{\"name\": \"near\", \"type\": \"kmeans\", \"k\": 3, %s}, {\"name\": \"still\", \"type\": \"mlp\", \"file\": "
        "\"m\"}], \"emit\": {\"fields\": {\"y\": \"near.class\"}}, \"sinks\": [{\"type\": \"kafka\", \"topic\": "
        "\"out\"}], \"bad_records\": {\"topic\": \"dead\"} }",
        keys, model);
    FILE *const talk = fmemopen(report, REPORT_BYTES, "w");
    memset(report, 0, REPORT_BYTES);
    const mr_status status = mr_job_parse("j.json", text, (size_t)bytes, talk, job_out, &err);
    fclose(talk);
    return status;
}

#define EXACT "\"delivery\": \"exactly-once\", \"memory\": \"120MiB\", \"scorers\": 3,"
#define LEARN "\"learn\": true, \"topic\": \"near\", \"save\": \"s\""

static const char *group_of(const struct mr_job *job)
{
    char *const *const group = mr_option_value(job->source->options, job->source_options, "group", MR_OPT_STRING);
    return *group;
}

static struct mr_job *role_of(mr_job_role role)
{
    char report[REPORT_BYTES];
    struct mr_job *job;
    struct mr_err err;
    if (parse(EXACT, LEARN, &job, report)) fail_msg("%s", report);
    assert_int_equal(job->role, MR_ROLE_WHOLE);
    assert_int_equal(mr_job_role_apply(job, role, &err), MR_OK);
    assert_int_equal(mr_job_role_apply(job, role, &err), MR_OK); /* once more: nothing changes */
    assert_int_equal(job->role, role);
    return job;
}

static void test_trainer(void **state)
{
    struct mr_job *const job = role_of(MR_ROLE_TRAINER);
    (void)state;
    assert_string_equal(group_of(job), "millrace-j.trainer");
    assert_int_equal(job->sink_count, 0);
    assert_null(job->bad_records.topic);
    assert_true(job->bad_records.drop);
    assert_int_equal(job->lanes, 1);
    assert_int_equal(job->memory, 30 << 20);
    assert_true(mr_job_model_learns(&job->model[0]));
    assert_string_equal(job->model[0].save, "s");
    assert_int_equal(mr_job_role_lanes(job, 1), 4);
    mr_job_destroy(job);
}

static void test_scorers(void **state)
{
    struct mr_job *const job = role_of(MR_ROLE_SCORERS);
    (void)state;
    assert_null(group_of(job));
    assert_int_equal(job->sink_count, 1);
    assert_string_equal(job->bad_records.topic, "dead");
    assert_int_equal(job->lanes, 3);
    assert_int_equal(job->memory, 90 << 20);
    assert_false(mr_job_model_learns(&job->model[0]));
    assert_true(mr_job_model_follows(&job->model[0]));
    assert_false(mr_job_model_follows(&job->model[1]));
    assert_null(job->model[0].save);
    assert_int_equal(mr_job_role_lanes(job, 3), 4);
    mr_job_destroy(job);
}

static void test_undivided(void **state)
{
    char report[REPORT_BYTES];
    struct mr_job *job;
    struct mr_err err;
    (void)state;
    assert_int_equal(parse("", LEARN, &job, report), MR_OK);
    assert_int_equal(mr_job_role_apply(job, MR_ROLE_TRAINER, &err), MR_EUSAGE);
    assert_non_null(strstr(err.text, "scorers"));
    assert_int_equal(mr_job_role_lanes(job, 2), 2);
    mr_job_destroy(job);
}

static void test_errors(void **state)
{
    static const struct {
        const char *keys, *model, *told;
    } rows[] = {
        {"\"scorers\": 2,", LEARN, "add \"delivery\": \"exactly-once\""},
        {EXACT, "\"learn\": true", "has no topic from which the scorers could take it"},
        {EXACT, "\"topic\": \"near\"", "no model of the job learns"},
        {EXACT "\"lanes\": 2,", LEARN, "has no effect with scorers"},
        {"\"delivery\": \"exactly-once\", \"scorers\": 65,", LEARN, "64"},
    };
    char report[REPORT_BYTES];
    struct mr_job *job;
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(parse(rows[i].keys, rows[i].model, &job, report), MR_ECONFIG);
        if (!strstr(report, rows[i].told)) fail_msg("row %zu: no \"%s\" in:\n%s", i, rows[i].told, report);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_trainer),
        cmocka_unit_test(test_scorers),
        cmocka_unit_test(test_undivided),
        cmocka_unit_test(test_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
