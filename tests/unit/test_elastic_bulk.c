/* The bulk interface: action and document lines, read back by cJSON; ids; index templates. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>
#include <cmocka.h>

#include "sink/elastic/bulk.h"
#include "sink/elastic/template.h"

#define TEXT_BYTES 8192

static char data[TEXT_BYTES];
static uint32_t units;
static mr_reason reason;
static char why[128];

static mr_status make(const char *value, const char *topic, uint32_t row, int64_t event_ms, bool creates)
{
    const struct mr_bulk_options options = {"the-index", creates};
    const struct mr_remote_record record = {.value = value,
                                            .value_bytes = value ? strlen(value) : 0,
                                            .topic = topic,
                                            .offset = 12345678901,
                                            .event_ms = event_ms,
                                            .partition = 3,
                                            .row = row};
    struct mr_remote_text text = {.data = data, .cap = TEXT_BYTES - 1};
    memset(data, 0, sizeof data);
    return mr_bulk_add(&options, &record, &text, &units, &reason, why);
}

/* Lines of the body as JSON, both of each unit; the caller frees. */
static cJSON *lines_of(void)
{
    cJSON *const list = cJSON_CreateArray();
    for (char *at = data, *end; *at; at = end + 1) {
        end = strchr(at, '\n');
        assert_non_null(end);
        cJSON *const line = cJSON_ParseWithLength(at, (size_t)(end - at));
        if (!line) fail_msg("no JSON: %.*s", (int)(end - at), at);
        cJSON_AddItemToArray(list, line);
    }
    assert_int_equal(cJSON_GetArraySize(list), 2 * units);
    return list;
}

static const char *text_of(const cJSON *list, int line, const char *outer, const char *key)
{
    const cJSON *const object = cJSON_GetArrayItem(list, line);
    return cJSON_GetStringValue(cJSON_GetObjectItem(outer ? cJSON_GetObjectItem(object, outer) : object, key));
}

static void test_documents(void **state)
{
    (void)state;
    assert_int_equal(make("{\"a\":1}", "in", 0, 1700000000123, false), MR_OK);
    assert_string_equal(data, "{\"index\":{\"_index\":\"the-index\",\"_id\":\"in-3-12345678901\"}}\n"
                              "{\"@timestamp\":\"2023-11-14T22:13:20.123Z\",\"a\":1}\n");
    assert_int_equal(make("{}", "in", 7, 0, true), MR_OK);
    assert_string_equal(data, "{\"create\":{\"_index\":\"the-index\",\"_id\":\"in-3-12345678901-7\"}}\n"
                              "{\"@timestamp\":\"1970-01-01T00:00:00.000Z\"}\n");
    assert_int_equal(make("{\"a\":1}", "in", 0, -1, false), MR_OK);
    assert_non_null(strstr(data, "\n{\"a\":1}\n"));
    static const char *const own[] = {"{\"@timestamp\":5}", "{\"b\":[1],\"@timestamp\":\"x\"}",
                                      "{\"@timestamp\":{\"y\":1}}", "{\"@timestamp\":null}"};
    for (size_t i = 0; i < sizeof own / sizeof *own; i++) {
        assert_int_equal(make(own[i], "in", 0, 1700000000123, false), MR_OK);
        assert_string_equal(strchr(data, '\n') + 1, strcat(strcpy(why, own[i]), "\n"));
    }
}

/* Line breaks between tokens are none in a body whose lines count; names of topics are escaped. */
static void test_lines(void **state)
{
    (void)state;
    assert_int_equal(
        make("[ {\n \"a\" :\r\n [ 1 ,\n 2 ] } ,\n{ \"s\":\"x\\ny\" } ]", "to\"pic\\\n", 10, 1700000000123, false),
        MR_OK);
    assert_int_equal(units, 2);
    cJSON *const list = lines_of();
    assert_string_equal(text_of(list, 0, "index", "_id"), "to\"pic\\\n-3-12345678901-10");
    assert_string_equal(text_of(list, 2, "index", "_id"), "to\"pic\\\n-3-12345678901-11");
    assert_string_equal(text_of(list, 3, NULL, "s"), "x\ny");
    assert_string_equal(text_of(list, 3, NULL, "@timestamp"), "2023-11-14T22:13:20.123Z");
    cJSON_Delete(list);
    assert_int_equal(make("{\"a\":1}\n{\"a\":2}\n{\"a\":3}\n", "in", 0, 0, false), MR_OK);
    assert_int_equal(units, 3);
    cJSON_Delete(lines_of());
}

static void test_refused(void **state)
{
    (void)state;
    static const char *const wrong[] = {"",
                                        "null",
                                        "[]",
                                        "\"x\"",
                                        "{\"a\":1}}",
                                        "{\"a\" 1}",
                                        "[{\"a\":1} {\"a\":1}]",
                                        "{\"a\":tru}",
                                        "{\"a\":1}\n\"\\n{}"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        if (make(wrong[i], "in", 0, 0, false) != MR_EDATA || reason != MR_REASON_SYNTAX)
            fail_msg("%s: %s", wrong[i], data);
    }
    assert_int_equal(make(NULL, "in", 0, 0, false), MR_EDATA);
    assert_int_equal(reason, MR_REASON_TOMBSTONE);
}

static void test_template(void **state)
{
    (void)state;
    char *const text = mr_template_default("the-index", true);
    char answer[4096];
    /* As a server shows it: in an array, with what it adds. */
    snprintf(answer, sizeof answer,
             "{\"index_templates\":[{\"name\":\"millrace-the-index\",\"index_template\":%.*s,\"composed_of\":[]}}]}",
             (int)strlen(text) - 1, text);
    assert_true(mr_template_is_same(text, answer, strlen(answer)));
    char *const other = mr_template_default("the-index", false);
    assert_true(mr_template_is_same(other, answer, strlen(answer))); /* what is there beside it does not count */
    char *const at = strstr(answer, "\"double\"");
    memcpy(at, "\"float_\"", 8);
    assert_false(mr_template_is_same(text, answer, strlen(answer)));
    assert_false(mr_template_is_same(text, "{}", 2));
    assert_false(mr_template_is_same(text, "<html>", 6));
    free(text);
    free(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_documents),
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_template),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
