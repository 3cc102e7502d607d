/* Log lines as a reader of stderr gets them: a child logs into a pipe, the parent reads what came out. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include <cjson/cJSON.h>

#include "base/log.h"

enum { OUTPUT_BYTES = 1 << 20 };
static char output[OUTPUT_BYTES];

/* What body() writes to stderr, with MILLRACE_LOG=form. */
static const char *logged(const char *form, void (*body)(void))
{
    int ends[2];
    size_t used = 0;
    assert_int_equal(pipe(ends), 0);
    fflush(stdout);
    const pid_t child = fork();
    if (!child) {
        dup2(ends[1], STDERR_FILENO);
        close(ends[0]);
        close(ends[1]);
        if (form)
            setenv("MILLRACE_LOG", form, 1);
        else
            unsetenv("MILLRACE_LOG");
        body();
        _exit(0);
    }
    close(ends[1]);
    for (ssize_t bytes;
         used < sizeof output - 1 && (bytes = read(ends[0], output + used, sizeof output - 1 - used)) > 0;) {
        used += (size_t)bytes;
    }
    output[used] = '\0';
    close(ends[0]);
    int status;
    waitpid(child, &status, 0);
    assert_int_equal(status, 0);
    return output;
}

static size_t count_of(const char *text, const char *what)
{
    size_t count = 0;
    for (; (text = strstr(text, what)); text += strlen(what)) count++;
    return count;
}

static void log_joined(void)
{
    mr_log(MR_LOG_INFO, "kafka", "joined the group group=a-b lag=3 topic=\"two words\"");
}

static void test_logfmt(void **state)
{
    (void)state;
    const char *const line = logged(NULL, log_joined); /* a pipe is no terminal */
    int year;
    assert_int_equal(sscanf(line, "ts=%4d-%*2d-%*2dT%*2d:%*2d:%*2d.%*3dZ level=info", &year), 1);
    assert_non_null(
        strstr(line, "Z level=info component=kafka msg=\"joined the group\" group=a-b lag=3 topic=\"two words\"\n"));
}

static void test_pretty(void **state)
{
    (void)state;
    assert_string_equal(logged("pretty", log_joined) + 12,
                        " INFO  kafka: joined the group group=a-b lag=3 topic=\"two words\"\n");
}

static void log_hostile(void)
{
    mr_log(MR_LOG_WARN, "lane", "bad \"quote\" \\ \n\r\t\033[2J \x7f end \xc3\xa4 \xff a=\"x\\\"y\\q\" b=c\"d");
    mr_log(MR_LOG_ERROR, "lane", "%s", "");
    mr_log(MR_LOG_ERROR, "lane", "only=pairs x=1");
    mr_log(MR_LOG_ERROR, "lane", "text a=b behind, c=");
}

static void test_json(void **state)
{
    (void)state;
    char *text = strdup(logged("json", log_hostile)), *rest = text, *line;
    size_t lines = 0;
    const char *const messages[] = {"bad \"quote\" \\ \n\r\t\033[2J \x7f end \xc3\xa4 \xef\xbf\xbd", "", "",
                                    "text a=b behind, c="};
    while ((line = strsep(&rest, "\n")) && *line) {
        cJSON *const item = cJSON_Parse(line);
        assert_non_null(item);
        assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItem(item, "msg")), messages[lines]);
        assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItem(item, "component")), "lane");
        assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItem(item, "level")), lines ? "error" : "warn");
        if (!lines) assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItem(item, "a")), "x\"y\\q");
        if (!lines) assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItem(item, "b")), "c\"d");
        if (lines == 2) assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItem(item, "x")), "1");
        cJSON_Delete(item);
        lines++;
    }
    assert_int_equal(lines, 4);
    free(text);
}

static void test_control_bytes(void **state)
{
    (void)state;
    const char *const forms[] = {"logfmt", "pretty", "json"};
    for (size_t i = 0; i < 3; i++) {
        const char *const text = logged(forms[i], log_hostile);
        for (const char *c = text; *c; c++) assert_true(*c == '\n' || ((unsigned char)*c >= 0x20 && *c != 0x7f));
        assert_int_equal(count_of(text, "\n"), 4);
    }
}

static void log_levels(void)
{
    mr_log(MR_LOG_DEBUG, "a", "hidden");
    mr_log_level_set(MR_LOG_DEBUG);
    mr_log(MR_LOG_DEBUG, "a", "shown");
    mr_log_level_set(MR_LOG_ERROR);
    mr_log(MR_LOG_WARN, "a", "hidden");
}

static void test_levels(void **state)
{
    (void)state;
    const char *const text = logged("logfmt", log_levels);
    assert_int_equal(count_of(text, "\n"), 1);
    assert_non_null(strstr(text, "level=debug component=a msg=\"shown\""));
}

static void log_repeats(void)
{
    for (int i = 0; i < 100; i++) mr_log(MR_LOG_WARN, "kafka", "broker %s is down", "a");
    for (int i = 0; i < 3; i++) mr_log(MR_LOG_WARN, "kafka", "broker %s is down", "b");
    for (int i = 0; i < 300; i++)
        mr_log(MR_LOG_INFO, "kafka", "each one differs i=%d", i); /* more than there are slots */
    for (int i = 0; i < 7; i++) mr_log(MR_LOG_WARN, "kafka", "again");
    mr_log_flush();
    mr_log_flush();
}

static void test_repeats(void **state)
{
    (void)state;
    const char *const text = logged("logfmt", log_repeats);
    assert_int_equal(count_of(text, "broker a is down"), 5);
    assert_int_equal(count_of(text, "repeated 95 times"), 1);
    assert_int_equal(count_of(text, "broker b is down"), 3);
    assert_int_equal(count_of(text, "each one differs"), 300);
    assert_int_equal(count_of(text, "repeated 2 times"), 1);
    assert_int_equal(count_of(text, "repeated"), 2);
}

static void log_long(void)
{
    char text[10000];
    memset(text, 1, sizeof text - 1);
    text[sizeof text - 1] = '\0';
    mr_log(MR_LOG_WARN, "a", "%s", text);
    memset(text, 'x', sizeof text - 1);
    mr_log(MR_LOG_WARN, "a", "%s", text);
}

static void test_long(void **state)
{
    (void)state;
    const char *const forms[] = {"logfmt", "pretty", "json"};
    for (size_t i = 0; i < 3; i++) {
        const char *const text = logged(forms[i], log_long);
        assert_int_equal(count_of(text, "\n"), 2);
        assert_true(strlen(text) > 4000 && strlen(text) < 20000);
        if (i == 2) {
            cJSON *const item = cJSON_Parse(text);
            assert_non_null(item);
            cJSON_Delete(item);
        }
    }
}

static void clear_line(void)
{
    const ssize_t written = write(STDERR_FILENO, "<clear>", 7);
    (void)written;
}

static void log_cleared(void)
{
    mr_log_clear_line_set(clear_line);
    mr_log(MR_LOG_INFO, "a", "one");
    mr_log_clear_line_set(NULL);
    mr_log(MR_LOG_INFO, "a", "two");
}

static void test_clear(void **state)
{
    (void)state;
    const char *const text = logged("logfmt", log_cleared);
    assert_int_equal(strncmp(text, "<clear>ts=", 10), 0);
    assert_int_equal(count_of(text, "<clear>"), 1);
}

static void *log_thread(void *number)
{
    for (int i = 0; i < 200; i++)
        mr_log(MR_LOG_INFO, "lane", "thread %d line %d 0123456789 0123456789 end", *(int *)number, i);
    return NULL;
}

static void log_threads(void)
{
    pthread_t threads[8];
    int numbers[8];
    for (int i = 0; i < 8; i++) {
        numbers[i] = i;
        pthread_create(&threads[i], NULL, log_thread, &numbers[i]);
    }
    for (int i = 0; i < 8; i++) pthread_join(threads[i], NULL);
}

/* Lines of threads never mix. */
static void test_threads(void **state)
{
    (void)state;
    const char *const text = logged("logfmt", log_threads);
    size_t lines = 0;
    for (const char *line = text; *line; line = strchr(line, '\n') + 1) {
        assert_int_equal(strncmp(line, "ts=", 3), 0);
        assert_int_equal(strncmp(strchr(line, '\n') - 5, " end\"", 5), 0);
        lines++;
    }
    assert_int_equal(lines, 1600);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_logfmt),        cmocka_unit_test(test_pretty), cmocka_unit_test(test_json),
        cmocka_unit_test(test_control_bytes), cmocka_unit_test(test_levels), cmocka_unit_test(test_repeats),
        cmocka_unit_test(test_long),          cmocka_unit_test(test_clear),  cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
