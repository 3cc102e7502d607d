#include "pipeline/paths.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool mr_paths_add(struct mr_strings *paths, const char *path)
{
    /* Grows at powers of two: the count says how much there is. */
    if (!(paths->count & (paths->count - 1))) {
        char **grown = realloc(paths->item, (paths->count ? paths->count * 2 : 1) * sizeof *grown);
        if (!grown) return false;
        paths->item = grown;
    }
    char *copy = strdup(path);
    if (!copy) return false;
    paths->item[paths->count++] = copy;
    return true;
}

void mr_paths_deinit(struct mr_strings *paths)
{
    for (size_t i = 0; i < paths->count; i++) free(paths->item[i]);
    free(paths->item);
    *paths = (struct mr_strings){0};
}

mr_status mr_path_check(const char *place, const char *path, struct mr_err *err)
{
    bool is_quoted = false;
    if (!*path)
        return mr_fail(err, MR_ECONFIG, "%s: an empty path; expected a field such as \"a.b\" or \"x[3]\"", place);
    for (const char *at = path; *at; at++) is_quoted ^= *at == '"';
    if (is_quoted) return mr_fail(err, MR_ECONFIG, "%s: `%s` opens a quote and does not close it", place, path);
    return MR_OK;
}

struct range {
    unsigned long first, last;
};

/* The next `[a..b]` outside quotes, from `path` on: its first byte, or NULL. Malformed ones come back with *end_out
 * NULL. */
static const char *range_find(const char *path, struct range *range_out, const char **end_out)
{
    bool is_quoted = false;
    for (const char *at = path; *at; at++) {
        is_quoted ^= *at == '"';
        if (is_quoted || *at != '[') continue;
        const char *close = strchr(at, ']'), *dots = strstr(at, "..");
        if (!close || !dots || dots > close) continue;
        char *end;
        *end_out = NULL;
        if (!isdigit((unsigned char)at[1]) || !isdigit((unsigned char)dots[2])) return at;
        range_out->first = strtoul(at + 1, &end, 10);
        if (end != dots) return at;
        range_out->last = strtoul(dots + 2, &end, 10);
        if (end == close && range_out->last < 1000000000) *end_out = close + 1;
        return at;
    }
    return NULL;
}

/* Replaces the first range of path by each of its numbers. */
static mr_status range_expand(const char *place, const char *path, size_t count_max, struct mr_strings *out,
                              bool *found_out, struct mr_err *err)
{
    struct range range;
    const char *end, *start = range_find(path, &range, &end);
    *found_out = start != NULL;
    if (!start) return mr_paths_add(out, path) ? MR_OK : mr_fail(err, MR_ENOMEM, "%s: out of memory", place);
    if (!end)
        return mr_fail(err, MR_ECONFIG, "%s: \"%s\": expected a range of whole numbers such as x[0..15]", place, path);
    if (range.first > range.last) {
        return mr_fail(err, MR_ECONFIG, "%s: \"%s\": the range runs backwards: write [%lu..%lu]", place, path,
                       range.last, range.first);
    }
    if (range.last - range.first >= count_max || out->count + (range.last - range.first) >= count_max) {
        return mr_fail(err, MR_ECONFIG, "%s: \"%s\": more than %zu features", place, path, count_max);
    }
    const size_t cap = strlen(path) + 24;
    char *text = malloc(cap);
    bool is_added = text != NULL;
    for (unsigned long i = range.first; is_added && i <= range.last; i++) {
        snprintf(text, cap, "%.*s[%lu]%s", (int)(start - path), path, i, end);
        is_added = mr_paths_add(out, text);
    }
    free(text);
    return is_added ? MR_OK : mr_fail(err, MR_ENOMEM, "%s: out of memory", place);
}

mr_status mr_paths_expand(const char *place, const char *path, size_t count_max, struct mr_strings *paths_out,
                          struct mr_err *err)
{
    struct mr_strings todo = {0};
    mr_status status = mr_path_check(place, path, err);
    if (!status && !mr_paths_add(&todo, path)) status = mr_fail(err, MR_ENOMEM, "%s: out of memory", place);
    for (bool found = true; !status && found;) { /* one range of every path a round */
        struct mr_strings next = {0};
        found = false;
        for (size_t i = 0; !status && i < todo.count; i++) {
            bool found_here;
            status = range_expand(place, todo.item[i], count_max, &next, &found_here, err);
            found |= found_here;
        }
        mr_paths_deinit(&todo);
        todo = next;
    }
    for (size_t i = 0; !status && i < todo.count; i++) {
        if (!mr_paths_add(paths_out, todo.item[i])) status = mr_fail(err, MR_ENOMEM, "%s: out of memory", place);
    }
    mr_paths_deinit(&todo);
    return status;
}

bool mr_path_has_name(const char *path)
{
    const size_t bytes = strlen(path);
    const char *digits = path + (*path == '$');
    return bytes && path[bytes - 1] != ']' && strspn(digits, "0123456789") != strlen(digits);
}

bool mr_path_names(const char *path, const char *name)
{
    path += *path == '@';
    name += *name == '@';
    if (!strcmp(path, name)) return true;
    /* the last key: behind the last dot outside quotes */
    const char *last = path;
    bool is_quoted = false;
    for (const char *at = path; *at; at++) {
        is_quoted ^= *at == '"';
        if (!is_quoted && *at == '.') last = at + 1;
    }
    const size_t bytes = strlen(last);
    if (bytes >= 2 && *last == '"' && last[bytes - 1] == '"')
        return strlen(name) == bytes - 2 && !strncmp(last + 1, name, bytes - 2);
    return !strcmp(last, name);
}
