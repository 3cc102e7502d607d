#include "base/output_check.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static mr_status folder_check(const char *what, const char *output, struct mr_err *err)
{
    const char *const slash = strrchr(output, '/');
    struct stat folder;
    if (!slash || slash == output) return MR_OK;
    char *const name = strndup(output, (size_t)(slash - output));
    if (!name) return mr_fail(err, MR_ENOMEM, "out of memory");
    const int reason = stat(name, &folder) ? errno : S_ISDIR(folder.st_mode) ? 0 : ENOTDIR;
    const mr_status status =
        reason ? mr_fail(err, MR_EIO, "%s %s: its folder %s: %s", what, output, name, strerror(reason)) : MR_OK;
    free(name);
    return status;
}

bool mr_output_is_same(const char *a, const char *b)
{
    struct stat one, other;
    if (!strcmp(a, b)) return true;
    return !stat(a, &one) && !stat(b, &other) && one.st_dev == other.st_dev && one.st_ino == other.st_ino;
}

mr_status mr_output_check(const char *what, const char *output, const char *input, struct mr_err *err)
{
    struct stat there;
    if (stat(output, &there)) return folder_check(what, output, err);
    if (S_ISDIR(there.st_mode)) return mr_fail(err, MR_EIO, "%s %s: it is a folder: name a file in it", what, output);
    if (!S_ISREG(there.st_mode))
        return mr_fail(err, MR_EIO, "%s %s: it is a device or a pipe, and a file would take its place: name a file",
                       what, output);
    if (input && strcmp(input, "-") != 0 && mr_output_is_same(input, output))
        return mr_fail(err, MR_EUSAGE, "%s %s: it is what is read, and would be lost: name another file", what, output);
    return MR_OK;
}
