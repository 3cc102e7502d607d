/* Job files: what they become, what is wrong with them, and that no memory is lost when there is none. */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "config/job.h"
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

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_reports)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
