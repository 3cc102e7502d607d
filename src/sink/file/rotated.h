/**
 * Files that a file sink has left because they were full: PATH.000001, PATH.000002 ..., the newest with the highest
 * number, and beside each of a follower's its mark, PATH.000001.offsets.
 */
#ifndef MR_SINK_FILE_ROTATED_H
#define MR_SINK_FILE_ROTATED_H

#include <stddef.h>
#include <stdint.h>

#include "millrace/status.h"

/** Numbers of the files that are there, ascending; the caller frees them. MR_EIO; MR_ENOMEM. */
mr_status mr_file_rotated(const char *path, uint64_t **numbers_out, size_t *count_out, struct mr_err *err);

/** Bytes that hold PATH.N and a 0. */
#define MR_FILE_ROTATED_BYTES(path_bytes) ((path_bytes) + 24)

/** PATH.N into out. */
void mr_file_rotated_name(const char *path, uint64_t number, char *out);

#endif
