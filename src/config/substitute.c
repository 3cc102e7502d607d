#include "config/substitute.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RESULT_BYTES_MAX = 1 << 20 };

struct text {
    char *bytes;
    size_t used, cap;
};

static bool text_add(struct text *text, const char *bytes, size_t count)
{
    if (text->used + count + 1 > text->cap) {
        const size_t cap = (text->used + count + 1) * 2;
        char *const grown = realloc(text->bytes, cap);
        if (!grown) return false;
        text->bytes = grown;
        text->cap = cap;
    }
    memcpy(text->bytes + text->used, bytes, count);
    text->used += count;
    text->bytes[text->used] = '\0';
    return true;
}

char *mr_path_join(const char *folder, const char *name)
{
    if (name[0] == '/' || !*folder) return strdup(name);
    const size_t bytes = strlen(folder) + strlen(name) + 2;
    char *const path = malloc(bytes);
    if (path) snprintf(path, bytes, "%s/%s", folder, name);
    return path;
}

bool mr_is_substituted(const char *text)
{
    for (const char *at = text; (at = strstr(at, "${")); at += 2) {
        if (at == text || at[-1] != '$') return true;
    }
    return false;
}

static mr_status add_env(struct text *text, const char *name, struct mr_err *err)
{
    const char *const value = getenv(name);
    if (!*name) return mr_fail(err, MR_ECONFIG, "${env:} names no variable");
    if (!value) return mr_fail(err, MR_ECONFIG, "environment variable %s is not set", name);
    return text_add(text, value, strlen(value)) ? MR_OK : mr_fail(err, MR_ENOMEM, "out of memory");
}

static mr_status add_file(struct text *text, const char *folder, const char *name, struct mr_err *err)
{
    char *const content = malloc(MR_SUBSTITUTE_BYTES_MAX + 1);
    char *const path = mr_path_join(folder, name);
    FILE *file = NULL;
    mr_status status = content && path ? MR_OK : mr_fail(err, MR_ENOMEM, "out of memory");
    if (status == MR_OK && !*name) status = mr_fail(err, MR_ECONFIG, "${file:} names no file");
    if (status == MR_OK && !(file = fopen(path, "rb")))
        status = mr_fail(err, MR_ECONFIG, "cannot read %s: %s", path, strerror(errno));
    if (status == MR_OK) {
        size_t bytes = fread(content, 1, MR_SUBSTITUTE_BYTES_MAX + 1, file);
        if (ferror(file))
            status = mr_fail(err, MR_ECONFIG, "cannot read %s: %s", path, strerror(errno));
        else if (bytes > MR_SUBSTITUTE_BYTES_MAX) {
            status = mr_fail(err, MR_ECONFIG, "%s is larger than %d bytes", path, MR_SUBSTITUTE_BYTES_MAX);
        } else if (memchr(content, 0, bytes)) {
            status = mr_fail(err, MR_ECONFIG, "%s holds a zero byte: it is no text", path);
        } else {
            if (bytes && content[bytes - 1] == '\n') bytes--;
            if (bytes && content[bytes - 1] == '\r') bytes--;
            if (!text_add(text, content, bytes)) status = mr_fail(err, MR_ENOMEM, "out of memory");
        }
    }
    if (file) fclose(file);
    free(content);
    free(path);
    return status;
}

/* What stands between "${" and "}". */
static mr_status add_reference(struct text *text, const char *reference, const char *folder, struct mr_err *err)
{
    if (!strncmp(reference, "env:", 4)) return add_env(text, reference + 4, err);
    if (!strncmp(reference, "file:", 5)) return add_file(text, folder, reference + 5, err);
    return mr_fail(err, MR_ECONFIG,
                   "expected ${env:NAME} or ${file:PATH}, found ${%.60s}; a plain \"${\" is written \"$${\"",
                   reference);
}

mr_status mr_substitute(const char *text, const char *folder, char **text_out, struct mr_err *err)
{
    struct text result = {0};
    mr_status status = text_add(&result, "", 0) ? MR_OK : mr_fail(err, MR_ENOMEM, "out of memory");
    *text_out = NULL;
    for (const char *at = text; status == MR_OK && *at;) {
        if (result.used > RESULT_BYTES_MAX) {
            status = mr_fail(err, MR_ECONFIG, "more than %d bytes once replaced", RESULT_BYTES_MAX);
            break;
        }
        const size_t plain = strcspn(at, "$");
        if (!text_add(&result, at, plain)) status = mr_fail(err, MR_ENOMEM, "out of memory");
        at += plain;
        if (status != MR_OK || !*at) break;
        if (!strncmp(at, "$${", 3)) {
            if (!text_add(&result, "${", 2)) status = mr_fail(err, MR_ENOMEM, "out of memory");
            at += 3;
        } else if (at[1] != '{') {
            if (!text_add(&result, at, 1)) status = mr_fail(err, MR_ENOMEM, "out of memory");
            at++;
        } else {
            const char *const close = strchr(at, '}');
            char *const reference = close ? strndup(at + 2, (size_t)(close - at - 2)) : NULL;
            if (!close)
                status = mr_fail(err, MR_ECONFIG, "\"${\" without its \"}\"; a plain \"${\" is written \"$${\"");
            else if (!reference)
                status = mr_fail(err, MR_ENOMEM, "out of memory");
            else
                status = add_reference(&result, reference, folder, err);
            free(reference);
            at = close ? close + 1 : at;
        }
    }
    if (status == MR_OK)
        *text_out = result.bytes;
    else
        free(result.bytes);
    return status;
}
