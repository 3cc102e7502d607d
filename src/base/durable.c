#include "base/durable.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool bytes_write(int fd, const char *bytes, size_t count)
{
    while (count) {
        const ssize_t written = write(fd, bytes, count);
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) return false;
        bytes += written;
        count -= (size_t)written;
    }
    return true;
}

/* Writes and syncs a new file. False: errno says why. */
static bool parts_write(const char *path, const struct iovec *part, size_t part_count)
{
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0666);
    bool is_done = fd >= 0;
    if (!is_done) return false;
    for (size_t i = 0; i < part_count && is_done; i++) is_done = bytes_write(fd, part[i].iov_base, part[i].iov_len);
    is_done = is_done && !fsync(fd);
    const int error = errno;
    const bool is_closed = !close(fd);
    if (!is_done) errno = error;
    return is_done && is_closed;
}

bool mr_durable_folder(const char *path)
{
    const char *const slash = strrchr(path, '/');
    char *const folder = slash ? strndup(path, slash == path ? 1 : (size_t)(slash - path)) : strdup(".");
    const int fd = folder ? open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    free(folder);
    if (fd < 0) return false;
    const bool is_done = !fsync(fd) || errno == EINVAL; /* a file system that knows no such thing */
    const int error = errno;
    close(fd);
    errno = error;
    return is_done;
}

/* Where a path leads: a new file takes the place of what a link names, not of the link. NULL, with an error: it leads
 * to nothing, or to what is no file. To be freed. */
static char *target_of(const char *path, struct mr_err *err)
{
    struct stat there;
    char *const target = lstat(path, &there) || !S_ISLNK(there.st_mode) ? strdup(path) : realpath(path, NULL);
    if (!target) {
        mr_fail(err, errno == ENOMEM ? MR_ENOMEM : MR_EIO, "file \"%s\" cannot be written: %s", path, strerror(errno));
    } else if (!stat(target, &there) && !S_ISREG(there.st_mode)) {
        mr_fail(err, MR_EIO, "file \"%s\" cannot be written: it is a folder, a device or a pipe", path);
        free(target);
        return NULL;
    }
    return target;
}

mr_status mr_durable_write(const char *name, const struct iovec *part, size_t part_count, struct mr_err *err)
{
    mr_status status = MR_OK;
    char *temporary = NULL, *const path = target_of(name, err);
    if (!path) return err ? err->status : MR_EIO;
    if (asprintf(&temporary, "%s.tmp", path) < 0) {
        free(path);
        return mr_fail(err, MR_ENOMEM, "file \"%s\": out of memory", name);
    }
    if (!parts_write(temporary, part, part_count) || rename(temporary, path)) {
        const int error = errno;
        status = mr_fail(err, MR_EIO, "file \"%s\" cannot be written: %s%s%s", path, strerror(error),
                         error == ENOENT ? ": make its folder, or name another" : "",
                         access(path, F_OK) ? "" : "; it is as it was");
        unlink(temporary);
    } else if (!mr_durable_folder(path)) {
        status = mr_fail(err, MR_EIO,
                         "file \"%s\" is written, but may not survive a loss of power: its folder cannot be synced: %s",
                         path, strerror(errno));
    }
    free(temporary);
    free(path);
    return status;
}
