#include "config/path.h"

#include <stdlib.h>
#include <string.h>

/* Behind the bracket at text: an index or a range, and its end. NULL when it is neither; *problem says why. */
static const char *skip_index(const char *text, const char **problem)
{
    const size_t first = strspn(text + 1, "0123456789");
    const char *at = text + 1 + first;
    *problem = "expected an index in the brackets, such as x[3] or x[0..15]";
    if (!first || first > 9) return NULL;
    if (!strncmp(at, "..", 2)) {
        const size_t last = strspn(at + 2, "0123456789");
        if (!last || last > 9) return NULL;
        if (atol(at + 2) < atol(text + 1)) {
            *problem = "the range ends before it begins";
            return NULL;
        }
        at += 2 + last;
    }
    return *at == ']' ? at + 1 : NULL;
}

const char *mr_path_problem(const char *path)
{
    const char *problem = NULL;
    if (!*path) return "must not be empty";
    if (*path == '@') return path[1] ? NULL : "expected a message part such as @key or @timestamp";
    for (const char *at = path; *at;) {
        if (*at == '"') {
            const char *const close = strchr(at + 1, '"');
            if (!close) return "a quote is not closed";
            at = close + 1;
        } else if (*at == '[') {
            at = skip_index(at, &problem);
            if (!at) return problem;
        } else if (*at == ']') {
            return "] without [";
        } else {
            at++;
        }
    }
    return NULL;
}

bool mr_path_covers(const char *feature, const char *path)
{
    if (!strcmp(feature, path)) return true;
    for (const char *open = strchr(feature, '['); open; open = strchr(open + 1, '[')) {
        const size_t before = (size_t)(open - feature) + 1;
        char *end, *last_end, *index_end;
        const long first = strtol(open + 1, &end, 10);
        if (strncmp(end, "..", 2) != 0) continue;
        const long last = strtol(end + 2, &last_end, 10);
        if (strncmp(feature, path, before) != 0 || !strchr("0123456789", path[before]) || !path[before]) return false;
        const long index = strtol(path + before, &index_end, 10);
        return index >= first && index <= last && !strcmp(index_end, last_end);
    }
    return false;
}
