/* Filling and freeing of option structs. Reading of single values is in options_scan.c. */
#include "base/options.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/near.h"

static void *member(const struct mr_option *row, void *options)
{
    return (char *)options + row->offset;
}

size_t mr_option_member_bytes(mr_option_type type)
{
    switch (type) {
    case MR_OPT_STRING:
        return sizeof(char *);
    case MR_OPT_BOOL:
        return sizeof(bool);
    case MR_OPT_INT:
    case MR_OPT_DURATION:
    case MR_OPT_SIZE:
        return sizeof(int64_t);
    case MR_OPT_DOUBLE:
        return sizeof(double);
    case MR_OPT_ENUM:
        return sizeof(int);
    case MR_OPT_STRINGS:
        return sizeof(struct mr_strings);
    case MR_OPT_MAP:
        return sizeof(struct mr_map);
    }
    return 0;
}

const struct mr_option *mr_option_find(const struct mr_option *table, const char *key)
{
    for (const struct mr_option *row = table; row && row->key; row++) {
        if (!strcmp(row->key, key)) return row;
    }
    return NULL;
}

const void *mr_option_value(const struct mr_option *table, const void *options, const char *key, mr_option_type type)
{
    const struct mr_option *const row = options ? mr_option_find(table, key) : NULL;
    return row && row->type == type ? (const char *)options + row->offset : NULL;
}

const char *mr_option_nearest(const struct mr_option *table, const char *key)
{
    struct mr_near near;
    mr_near_start(&near, key);
    for (const struct mr_option *row = table; row && row->key; row++) mr_near_offer(&near, row->key);
    return mr_near_best(&near);
}

const char *mr_choice_nearest(const struct mr_option *row, const char *text)
{
    struct mr_near near;
    mr_near_start(&near, text);
    for (size_t i = 0; row->choices && row->choices[i]; i++) mr_near_offer(&near, row->choices[i]);
    return mr_near_best(&near);
}

bool mr_strings_add(struct mr_strings *strings, const char *text)
{
    char *const copy = strdup(text);
    char **const item = copy ? realloc(strings->item, (strings->count + 1) * sizeof *item) : NULL;
    if (!item) {
        free(copy);
        return false;
    }
    item[strings->count] = copy;
    strings->item = item;
    strings->count++;
    return true;
}

void mr_strings_deinit(struct mr_strings *strings)
{
    for (size_t i = 0; i < strings->count; i++) free(strings->item[i]);
    free(strings->item);
    *strings = (struct mr_strings){0};
}

static struct mr_pair *map_find(const struct mr_map *map, const char *key)
{
    for (size_t i = 0; i < map->count; i++) {
        if (!strcmp(map->item[i].key, key)) return &map->item[i];
    }
    return NULL;
}

bool mr_map_put(struct mr_map *map, const char *key, const char *value)
{
    struct mr_pair *const known = map_find(map, key);
    char *const value_copy = strdup(value);
    if (!value_copy) return false;
    if (known) {
        free(known->value);
        known->value = value_copy;
        return true;
    }
    char *const key_copy = strdup(key);
    struct mr_pair *const item = key_copy ? realloc(map->item, (map->count + 1) * sizeof *item) : NULL;
    if (!item) {
        free(key_copy);
        free(value_copy);
        return false;
    }
    item[map->count] = (struct mr_pair){.key = key_copy, .value = value_copy};
    map->item = item;
    map->count++;
    return true;
}

bool mr_map_copy(struct mr_map *map, const struct mr_map *from)
{
    bool is_done = true;
    for (size_t i = 0; i < from->count && is_done; i++)
        is_done = mr_map_put(map, from->item[i].key, from->item[i].value);
    return is_done;
}

const char *mr_map_get(const struct mr_map *map, const char *key)
{
    const struct mr_pair *const pair = map_find(map, key);
    return pair ? pair->value : NULL;
}

void mr_map_deinit(struct mr_map *map)
{
    for (size_t i = 0; i < map->count; i++) {
        free(map->item[i].key);
        free(map->item[i].value);
    }
    free(map->item);
    *map = (struct mr_map){0};
}

static mr_status set_string(char **string, const char *text, struct mr_err *err)
{
    char *const copy = strdup(text);
    if (!copy) return mr_fail(err, MR_ENOMEM, "out of memory");
    free(*string);
    *string = copy;
    return MR_OK;
}

/* "a,b" to two items; empty ones are dropped, so that "" is an empty list. */
static mr_status add_strings(struct mr_strings *strings, const char *text, struct mr_err *err)
{
    char *const copy = strdup(text);
    bool is_added = copy != NULL;
    for (char *rest = copy, *item; is_added && (item = strsep(&rest, ","));) {
        if (*item) is_added = mr_strings_add(strings, item);
    }
    free(copy);
    return is_added ? MR_OK : mr_fail(err, MR_ENOMEM, "out of memory");
}

/* One "key=value": the value may hold commas and more equal signs. */
static mr_status put_pair(struct mr_map *map, const char *name, const char *text, struct mr_err *err)
{
    const char *const equals = strchr(text, '=');
    if (!equals || equals == text) {
        return mr_fail(err, MR_ECONFIG, "%s: expected KEY=VALUE, found \"%s\"", name, equals ? "=..." : text);
    }
    char *const key = strndup(text, (size_t)(equals - text));
    const bool is_put = key && mr_map_put(map, key, equals + 1);
    free(key);
    return is_put ? MR_OK : mr_fail(err, MR_ENOMEM, "out of memory");
}

static mr_status scan_failed(const struct mr_option *row, const char *text, struct mr_err *err)
{
    char expected[MR_EXPECTED_BYTES];
    mr_option_expected(row, expected);
    const char *const near = row->type == MR_OPT_ENUM ? mr_choice_nearest(row, text) : NULL;
    if (near)
        return mr_fail(err, MR_ECONFIG, "%s: expected %s, found \"%s\"; did you mean \"%s\"?", row->key, expected, text,
                       near);
    return mr_fail(err, MR_ECONFIG, "%s: expected %s, found \"%s\"", row->key, expected, row->secret ? "[set]" : text);
}

/* Lists and maps grow; the rest is replaced. */
static mr_status row_add(const struct mr_option *row, void *options, const char *text, struct mr_err *err)
{
    void *const at = member(row, options);
    switch (row->type) {
    case MR_OPT_STRING:
        return set_string(at, text, err);
    case MR_OPT_STRINGS:
        return add_strings(at, text, err);
    case MR_OPT_MAP:
        return put_pair(at, row->key, text, err);
    default:
        return mr_option_scan(row, text, options) ? MR_OK : scan_failed(row, text, err);
    }
}

static mr_status unknown_key(const struct mr_option *table, const char *key, struct mr_err *err)
{
    const char *const near = mr_option_nearest(table, key);
    if (near) return mr_fail(err, MR_ECONFIG, "unknown option \"%s\"; did you mean \"%s\"?", key, near);
    return mr_fail(err, MR_ECONFIG, "unknown option \"%s\"", key);
}

/* The fallback, or what says that there is none: no range holds for that. */
static mr_status row_init(const struct mr_option *row, void *options, struct mr_err *err)
{
    struct mr_option free_row = *row;
    if (!row->unset) return row->fallback ? row_add(row, options, row->fallback, err) : MR_OK;
    free_row.min = free_row.max = 0;
    return row_add(&free_row, options, row->unset, err);
}

mr_status mr_options_init(const struct mr_option *table, void *options, struct mr_err *err)
{
    for (const struct mr_option *row = table; row && row->key; row++) {
        memset(member(row, options), 0, mr_option_member_bytes(row->type));
    }
    for (const struct mr_option *row = table; row && row->key; row++) {
        const mr_status status = row_init(row, options, err);
        assert(status == MR_OK ||
               status == MR_ENOMEM); /* a table whose own fallback is wrong is a bug; tests find it */
        if (status != MR_OK) {
            mr_options_deinit(table, options);
            return status;
        }
    }
    return MR_OK;
}

mr_status mr_options_set(const struct mr_option *table, void *options, const char *key, const char *text,
                         struct mr_err *err)
{
    const struct mr_option *const row = mr_option_find(table, key);
    if (!row) return unknown_key(table, key, err);
    if (row->type != MR_OPT_STRINGS) return row_add(row, options, text, err);
    struct mr_strings fresh = {0};
    const mr_status status = add_strings(&fresh, text, err);
    if (status != MR_OK) {
        mr_strings_deinit(&fresh);
        return status;
    }
    struct mr_strings *const strings = member(row, options);
    mr_strings_deinit(strings);
    *strings = fresh;
    return MR_OK;
}

mr_status mr_options_add(const struct mr_option *table, void *options, const char *key, const char *text,
                         struct mr_err *err)
{
    const struct mr_option *const row = mr_option_find(table, key);
    return row ? row_add(row, options, text, err) : unknown_key(table, key, err);
}

void mr_options_deinit(const struct mr_option *table, void *options)
{
    if (!options) return;
    for (const struct mr_option *row = table; row && row->key; row++) {
        void *const at = member(row, options);
        if (row->type == MR_OPT_STRING) free(*(char **)at);
        if (row->type == MR_OPT_STRINGS) mr_strings_deinit(at);
        if (row->type == MR_OPT_MAP) mr_map_deinit(at);
        memset(at, 0, mr_option_member_bytes(row->type));
    }
}
