/* Values of a job file into option structs. */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/near.h"
#include "base/options.h"
#include "config/load.h"
#include "config/substitute.h"

static void *member(const struct mr_option *row, void *options)
{
    return (char *)options + row->offset;
}

void mr_load_error(struct mr_load *load, uint32_t node, const char *format, ...)
{
    const struct mr_node *const value = &load->document.node[node];
    const uint32_t marked = value->kind <= MR_NODE_ARRAY ? 1 : value->bytes; /* of an object or array its bracket */
    char path[MR_PATH_BYTES], text[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    mr_report_error(&load->report, value->first, marked, mr_node_path(&load->document, node, path), "%s", text);
}

char *mr_load_string(struct mr_load *load, uint32_t node)
{
    struct mr_err err;
    char *text;
    const mr_status status = mr_substitute(load->document.node[node].item->valuestring, load->folder, &text, &err);
    if (status == MR_ENOMEM) load->is_out_of_memory = true;
    if (status == MR_ECONFIG) mr_load_error(load, node, "%s", err.text);
    if (text && mr_is_substituted(load->document.node[node].item->valuestring)) mr_report_hide(&load->report, text);
    return text;
}

/* The text of a number as it stands in the file; numbers are short, the scan saw to it. */
static const char *raw_number(const struct mr_load *load, uint32_t node, char out[MR_DOCUMENT_NUMBER_MAX + 1])
{
    const struct mr_node *const number = &load->document.node[node];
    memcpy(out, load->document.text + number->first, number->bytes);
    out[number->bytes] = '\0';
    return out;
}

const char *mr_load_found(const struct mr_load *load, uint32_t node, bool is_secret, char out[MR_QUOTED_BYTES])
{
    const struct mr_node *const value = &load->document.node[node];
    switch (value->kind) {
    case MR_NODE_OBJECT:
        return "an object";
    case MR_NODE_ARRAY:
        return "an array";
    case MR_NODE_NULL:
        return "null";
    case MR_NODE_BOOL:
        return cJSON_IsTrue(value->item) ? "true" : "false";
    case MR_NODE_NUMBER:
        return is_secret ? "[set]" : raw_number(load, node, out);
    case MR_NODE_STRING:
        break;
    }
    const bool is_hidden = is_secret || mr_is_substituted(value->item->valuestring) ||
                           (value->key_bytes && mr_key_is_secret(value->item->string));
    return is_hidden ? "[set]" : mr_quote(value->item->valuestring, out);
}

void mr_load_suggest(struct mr_load *load, const char *near)
{
    if (near) mr_report_hint(&load->report, "did you mean \"%s\"?", near);
}

uint32_t mr_load_find(const struct mr_load *load, const char *section, const char *key)
{
    const uint32_t node = mr_node_child(&load->document, 0, section);
    const uint32_t child = key ? mr_node_child(&load->document, node, key) : MR_NODE_NONE;
    return child != MR_NODE_NONE ? child : node != MR_NODE_NONE ? node : 0;
}

uint32_t mr_load_find_item(const struct mr_load *load, const char *section, const char *key, size_t index)
{
    const uint32_t node = mr_load_find(load, section, key);
    if (load->document.node[node].kind != MR_NODE_ARRAY) return node;
    uint32_t child = load->document.node[node].child;
    while (index-- && child != MR_NODE_NONE) child = load->document.node[child].next;
    return child == MR_NODE_NONE ? node : child;
}

/* What the row wants, in the words of JSON. */
static void wrong_value(struct mr_load *load, uint32_t node, const struct mr_option *row)
{
    const struct mr_node *const value = &load->document.node[node];
    char expected[MR_EXPECTED_BYTES], found[MR_QUOTED_BYTES];
    mr_option_expected(row, expected);
    const char *const shown = mr_load_found(load, node, row->secret, found);
    if (row->type == MR_OPT_ENUM && value->kind == MR_NODE_STRING &&
        mr_is_planned(row->key, value->item->valuestring)) {
        mr_load_error(load, node, "%s is not in this build yet", shown);
        mr_report_hint(&load->report, "expected %s", expected);
        return;
    }
    mr_load_error(load, node, "expected %s, found %s", expected, shown);
    if (!strcmp(shown, "[set]")) return;
    if (value->kind == MR_NODE_STRING) {
        const char *const text = value->item->valuestring;
        struct mr_option bare = *row;
        int64_t scratch[2];
        _Static_assert(sizeof scratch >= sizeof(struct mr_strings), "holds any scalar");
        bare.offset = 0;
        if (row->type == MR_OPT_ENUM)
            mr_load_suggest(load, mr_choice_nearest(row, text));
        else if (mr_option_scan(&bare, text, scratch))
            mr_report_hint(&load->report, "write %s, without quotes", text);
    } else if (row->type == MR_OPT_STRING && value->kind >= MR_NODE_NUMBER && value->kind < MR_NODE_NULL) {
        mr_report_hint(&load->report, "write \"%s\", in quotes", shown);
    } else if (value->kind == MR_NODE_NULL) {
        mr_report_hint(&load->report, "leave the key out for its default");
    }
}

/* Numbers, units, choices. A string stands for them only where the row is written as one, or when it was ${...}. */
static void load_scalar(struct mr_load *load, uint32_t node, const struct mr_option *row, void *options)
{
    const struct mr_node *const value = &load->document.node[node];
    const bool is_unit = row->type == MR_OPT_DURATION || row->type == MR_OPT_SIZE;
    char number[MR_DOCUMENT_NUMBER_MAX + 1];
    char *text = NULL;
    const char *given = NULL;
    if (value->kind == MR_NODE_STRING &&
        (is_unit || row->type == MR_OPT_ENUM || mr_is_substituted(value->item->valuestring))) {
        given = text = mr_load_string(load, node);
        if (!text) return;
    } else if (value->kind == MR_NODE_NUMBER && row->type != MR_OPT_ENUM && row->type != MR_OPT_BOOL) {
        given = raw_number(load, node, number);
    } else if (value->kind == MR_NODE_BOOL && row->type == MR_OPT_BOOL) {
        given = cJSON_IsTrue(value->item) ? "true" : "false";
    }
    if (!given || !mr_option_scan(row, given, options)) wrong_value(load, node, row);
    free(text);
}

static void load_string(struct mr_load *load, uint32_t node, const struct mr_option *row, void *options)
{
    if (load->document.node[node].kind != MR_NODE_STRING) {
        wrong_value(load, node, row);
        return;
    }
    char *text = mr_load_string(load, node);
    char **const at = member(row, options);
    if (!text) return;
    if (row->required && !*text) mr_load_error(load, node, "must not be empty");
    if (row->is_path && *text && !(row->no_path && !strcmp(text, row->no_path))) {
        char *const path = mr_path_join(load->folder, text);
        free(text);
        if (!(text = path)) load->is_out_of_memory = true;
    }
    free(*at);
    *at = text;
}

static void add_string(struct mr_load *load, uint32_t node, struct mr_strings *strings)
{
    char *const text = mr_load_string(load, node);
    if (text && !*text) mr_load_error(load, node, "must not be empty");
    if (text && !mr_strings_add(strings, text)) load->is_out_of_memory = true;
    free(text);
}

static void load_strings(struct mr_load *load, uint32_t node, const struct mr_option *row, void *options)
{
    const struct mr_document *const document = &load->document;
    struct mr_strings fresh = {0};
    if (document->node[node].kind == MR_NODE_STRING) {
        add_string(load, node, &fresh);
    } else if (document->node[node].kind == MR_NODE_ARRAY) {
        for (uint32_t child = document->node[node].child; child != MR_NODE_NONE; child = document->node[child].next) {
            char found[MR_QUOTED_BYTES];
            if (document->node[child].kind == MR_NODE_STRING)
                add_string(load, child, &fresh);
            else
                mr_load_error(load, child, "expected a string, found %s",
                              mr_load_found(load, child, row->secret, found));
        }
        if (row->required && document->node[node].child == MR_NODE_NONE)
            mr_load_error(load, node, "needs at least one item");
    } else {
        wrong_value(load, node, row);
    }
    struct mr_strings *const at = member(row, options);
    for (size_t i = 0; i < at->count; i++) free(at->item[i]);
    free(at->item);
    *at = fresh;
}

/* Values that are secrets by their row or their name are masked in excerpts, and had better not stand in the file at
 * all. */
static void mark_secret(struct mr_load *load, uint32_t node, bool is_secret)
{
    struct mr_node *const value = &load->document.node[node];
    const bool is_text = value->kind == MR_NODE_STRING;
    if (!is_secret && !(value->key_bytes && mr_key_is_secret(value->item->string))) return;
    if (is_text && mr_is_substituted(value->item->valuestring)) return;
    value->is_secret = is_text || value->kind == MR_NODE_NUMBER;
    if (!is_text) return;
    mr_load_error(load, node, "a secret in plain text");
    mr_report_hint(&load->report, "write \"${env:NAME}\" or \"${file:PATH}\"");
    mr_report_as_warning(&load->report);
}

/* Asks the plug-in about one pair. Its words are not shown where they would show a value that came from outside. */
static void check_pair(struct mr_load *load, uint32_t node, const struct mr_option *row, const char *value)
{
    struct mr_err err = {0};
    char found[MR_QUOTED_BYTES];
    const mr_status status = row->check_pair(mr_node_key(&load->document, node), value, &err);
    const bool is_hidden = !strcmp(mr_load_found(load, node, row->secret, found), "[set]");
    if (status == MR_ENOMEM)
        load->is_out_of_memory = true;
    else if (status != MR_OK && is_hidden && *value && strstr(err.text, value))
        mr_load_error(load, node, "[set] is not accepted");
    else if (status != MR_OK)
        mr_load_error(load, node, "%s", err.text);
}

static void load_map(struct mr_load *load, uint32_t node, const struct mr_option *row, void *options)
{
    const struct mr_document *const document = &load->document;
    struct mr_map *const map = member(row, options);
    if (document->node[node].kind != MR_NODE_OBJECT) {
        wrong_value(load, node, row);
        return;
    }
    for (uint32_t child = document->node[node].child; child != MR_NODE_NONE; child = document->node[child].next) {
        const struct mr_node *const value = &document->node[child];
        char number[MR_DOCUMENT_NUMBER_MAX + 1], found[MR_QUOTED_BYTES];
        char *text = NULL;
        const char *given = NULL;
        mark_secret(load, child, row->secret);
        if (value->kind == MR_NODE_STRING)
            given = text = mr_load_string(load, child);
        else if (value->kind == MR_NODE_NUMBER)
            given = raw_number(load, child, number);
        else if (value->kind == MR_NODE_BOOL)
            given = cJSON_IsTrue(value->item) ? "true" : "false";
        else
            mr_load_error(load, child, "expected a string, a number, true or false, found %s",
                          mr_load_found(load, child, row->secret, found));
        if (given && !mr_map_put(map, mr_node_key(document, child), given)) load->is_out_of_memory = true;
        if (given && row->check_pair) check_pair(load, child, row, given);
        free(text);
    }
    if (row->required && document->node[node].child == MR_NODE_NONE)
        mr_load_error(load, node, "needs at least one key");
}

void mr_load_value(struct mr_load *load, uint32_t node, const struct mr_option *row, void *options)
{
    mark_secret(load, node, row->secret);
    switch (row->type) {
    case MR_OPT_STRING:
        load_string(load, node, row, options);
        break;
    case MR_OPT_STRINGS:
        load_strings(load, node, row, options);
        break;
    case MR_OPT_MAP:
        load_map(load, node, row, options);
        break;
    default:
        load_scalar(load, node, row, options);
        break;
    }
}

/* "type, topics, group" for notes. */
static void list_keys(const struct mr_target *targets, size_t target_count, char *out, size_t out_bytes)
{
    size_t used = 0;
    out[0] = '\0';
    for (size_t i = 0; i < target_count; i++) {
        for (const struct mr_option *row = targets[i].table; row && row->key && used < out_bytes; row++) {
            used += (size_t)snprintf(out + used, out_bytes - used, "%s%s", used ? ", " : "", row->key);
        }
    }
}

/* The key that an unknown one most likely meant, or NULL. */
static const char *nearest_key(const struct mr_load *load, uint32_t node, const struct mr_target *targets,
                               size_t target_count)
{
    struct mr_near near;
    mr_near_start(&near, mr_node_key(&load->document, node));
    for (size_t i = 0; i < target_count; i++) {
        for (const struct mr_option *row = targets[i].table; row && row->key; row++) mr_near_offer(&near, row->key);
    }
    return mr_near_best(&near);
}

static void unknown_key(struct mr_load *load, uint32_t node, const struct mr_target *targets, size_t target_count,
                        const char *what)
{
    const struct mr_node *const value = &load->document.node[node];
    char path[MR_PATH_BYTES], keys[512];
    list_keys(targets, target_count, keys, sizeof keys);
    mr_report_error(&load->report, value->key_first, value->key_bytes, mr_node_path(&load->document, node, path),
                    "unknown key");
    mr_load_suggest(load, nearest_key(load, node, targets, target_count));
    mr_report_note(&load->report, "keys of %s: %s", what, keys);
}

static void missing_key(struct mr_load *load, uint32_t node, const struct mr_option *row)
{
    char path[MR_PATH_BYTES], expected[MR_EXPECTED_BYTES];
    mr_option_expected(row, expected);
    mr_path_append(mr_node_path(&load->document, node, path), row->key);
    mr_report_error(&load->report, load->document.node[node].first, 1, path, "missing; expected %s", expected);
    mr_report_hint(&load->report, "add \"%s\": %s", row->key, row->example ? row->example : "...");
    mr_report_note(&load->report, "%s", row->doc);
}

static const struct mr_option *find_row(const struct mr_target *targets, size_t target_count, const char *key,
                                        void **options_out)
{
    for (size_t i = 0; i < target_count; i++) {
        const struct mr_option *const row = mr_option_find(targets[i].table, key);
        *options_out = targets[i].options;
        if (row) return row;
    }
    return NULL;
}

bool mr_load_is_mistyped(const struct mr_load *load, uint32_t node, const struct mr_target *targets,
                         size_t target_count, const char *key)
{
    const struct mr_document *const document = &load->document;
    void *options;
    for (uint32_t child = document->node[node].child; child != MR_NODE_NONE; child = document->node[child].next) {
        const char *const other = mr_node_key(document, child);
        if (mr_key_is_free(other) || find_row(targets, target_count, other, &options)) continue;
        const char *const near = nearest_key(load, child, targets, target_count);
        if (near && !strcmp(near, key)) return true;
    }
    return false;
}

void mr_load_object(struct mr_load *load, uint32_t node, const struct mr_target *targets, size_t target_count,
                    const char *what, bool is_open)
{
    const struct mr_document *const document = &load->document;
    for (uint32_t child = document->node[node].child; child != MR_NODE_NONE; child = document->node[child].next) {
        const char *const key = mr_node_key(document, child);
        void *options = NULL;
        if (mr_key_is_free(key) || mr_node_child(document, node, key) != child)
            continue; /* the second of a pair has its finding */
        const struct mr_option *const row = find_row(targets, target_count, key, &options);
        if (row) {
            mr_load_value(load, child, row, options);
            continue;
        }
        /* In an open object only what is taken below for a missing key, mistyped. */
        const char *const near = is_open ? nearest_key(load, child, targets, target_count) : NULL;
        if (!is_open || (near && mr_node_child(document, node, near) == MR_NODE_NONE)) {
            unknown_key(load, child, targets, target_count, what);
        }
    }
    for (size_t i = 0; i < target_count; i++) {
        for (const struct mr_option *row = targets[i].table; row && row->key; row++) {
            if (!row->required || mr_node_child(document, node, row->key) != MR_NODE_NONE) continue;
            if (!mr_load_is_mistyped(load, node, targets, target_count, row->key)) missing_key(load, node, row);
        }
    }
}
