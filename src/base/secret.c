#include "base/secret.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BYTES_MAX 8192

mr_status mr_secret_read(const char *what, const char *path, char **text_out, struct mr_err *err)
{
    char text[BYTES_MAX + 1];
    *text_out = NULL;
    FILE *const file = fopen(path, "rbe");
    const size_t bytes = file ? fread(text, 1, BYTES_MAX, file) : 0;
    const int error = !file || ferror(file) ? errno : 0;
    if (file) fclose(file);
    if (error) return mr_fail(err, MR_EINPUT, "%s: reading \"%s\": %s", what, path, strerror(error));
    text[bytes] = '\0';
    text[strcspn(text, "\r\n")] = '\0';
    if (!*text) return mr_fail(err, MR_EINPUT, "%s: \"%s\": expected a secret on its first line", what, path);
    *text_out = strdup(text);
    explicit_bzero(text, sizeof text);
    return *text_out ? MR_OK : mr_fail(err, MR_ENOMEM, "%s: out of memory", what);
}

void mr_secret_free(char *secret)
{
    if (secret) explicit_bzero(secret, strlen(secret));
    free(secret);
}
