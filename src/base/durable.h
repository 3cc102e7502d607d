/** Files that are there as a whole or not at all, after a crash or a loss of power, too. */
#ifndef MR_BASE_DURABLE_H
#define MR_BASE_DURABLE_H

#include <stdbool.h>
#include <sys/uio.h>

#include "millrace/status.h"

/**
 * Writes a file from parts, one behind the other: to `path`.tmp, fsync, rename, fsync of the folder. A reader sees the
 * old file or the new one. One writer a path at a time. MR_EIO names path and reason: the old file is as it was, but
 * for an error of the last step, of which the text says that the new file stands there and may not survive a loss of
 * power. Nothing is tried twice: after fsync has failed once, its success would mean nothing.
 */
mr_status mr_durable_write(const char *path, const struct iovec *part, size_t part_count, struct mr_err *err);

/** Makes the names in the folder of a path last: that of a new file, a rename. False: errno says why. */
bool mr_durable_folder(const char *path);

#endif
