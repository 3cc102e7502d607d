/* The option tables of every plug-in and of the job itself: what the parser, the schema and the reference page rely on.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <cjson/cJSON.h>

#include "base/options.h"
#include "config/job.h"
#include "config/sections.h"

static char where[128];

#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) fail_msg("%s: not true: %s", where, #condition);                                             \
    } while (0)

static void check_row(const struct mr_option *table, const struct mr_option *row, size_t options_size)
{
    CHECK(row->key[strspn(row->key, "abcdefghijklmnopqrstuvwxyz0123456789_")] == '\0' && *row->key);
    CHECK(mr_option_find(table, row->key) == row); /* no key twice */
    CHECK(row->offset + mr_option_member_bytes(row->type) <= options_size);
    CHECK(row->doc && strlen(row->doc) > 8 && row->doc[strlen(row->doc) - 1] == '.');
    CHECK(!!row->required + !!row->fallback + !!row->unset <= 1);
    CHECK(!row->unset || strtod(row->unset, NULL) < row->min);
    CHECK((row->type == MR_OPT_ENUM) == (row->choices != NULL));
    CHECK(row->min <= row->max);
    for (const struct mr_option *other = table; other < row; other++) CHECK(other->offset != row->offset);
    cJSON *const example = row->example ? cJSON_Parse(row->example) : NULL;
    CHECK(!row->example || example);
    cJSON_Delete(example);
}

static void check_table(const char *kind, const char *name, const struct mr_option *table, size_t options_size)
{
    char *const options = calloc(1, options_size + 1);
    struct mr_err err = {0};
    snprintf(where, sizeof where, "%s %s", kind, name);
    CHECK(!table == !options_size);
    for (const struct mr_option *row = table; row && row->key; row++) {
        snprintf(where, sizeof where, "%s %s: %s", kind, name, row->key);
        check_row(table, row, options_size);
    }
    CHECK(mr_options_init(table, options, &err) == MR_OK); /* asserts that every fallback is right */
    mr_options_deinit(table, options);
    free(options);
}

static void test_plugs(void **state)
{
    (void)state;
    const mr_plug_kind kinds[] = {MR_PLUG_SOURCE, MR_PLUG_CODEC, MR_PLUG_MODEL, MR_PLUG_SINK, MR_PLUG_BACKEND};
    size_t count = 0;
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        struct mr_plug plug;
        for (size_t i = 0; mr_plug_at(kinds[k], i, &plug); i++, count++) {
            check_table(mr_plug_kind_name(kinds[k]), plug.name, plug.options, plug.options_size);
            CHECK(plug.summary && *plug.summary);
        }
    }
    if (!count) {
        puts("SKIP: no plug-in is built in");
        exit(77);
    }
}

static void test_sections(void **state)
{
    (void)state;
    check_table("job", "", mr_job_options, sizeof(struct mr_job));
    for (const struct mr_section *section = mr_sections; section->key; section++) {
        struct mr_plug plug;
        if (section->rows) check_table("section", section->key, section->rows, sizeof(struct mr_job) - section->offset);
        if (section->selectors) check_table("selectors", section->key, section->selectors, sizeof(struct mr_selector));
        /* The keys of a section and of its plug-ins share one object. */
        for (size_t i = 0; mr_plug_at(section->kind, i, &plug); i++) {
            for (const struct mr_option *row = plug.options; row && row->key; row++) {
                snprintf(where, sizeof where, "%s %s: %s", section->key, plug.name, row->key);
                CHECK(!mr_option_find(section->rows, row->key) && !mr_option_find(section->selectors, row->key));
            }
        }
    }
}

/* The page and the schema name every key. */
static void test_pages(void **state)
{
    (void)state;
    void (*const prints[])(FILE *) = {mr_job_schema_print, mr_job_reference_print};
    for (size_t p = 0; p < 2; p++) {
        char *page = NULL, name[128];
        size_t bytes;
        struct mr_plug plug;
        FILE *const out = open_memstream(&page, &bytes);
        prints[p](out);
        fclose(out);
        for (const struct mr_section *section = mr_sections; section->key; section++) {
            for (size_t i = 0; mr_plug_at(section->kind, i, &plug); i++) {
                for (const struct mr_option *row = plug.options; row && row->key; row++) {
                    snprintf(name, sizeof name, "%c%s%c", p ? '`' : '"', row->key, p ? '`' : '"');
                    snprintf(where, sizeof where, "%s %s: %s", section->key, plug.name, row->key);
                    CHECK(strstr(page, name));
                }
            }
        }
        free(page);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_plugs), cmocka_unit_test(test_sections),
                                       cmocka_unit_test(test_pages)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
