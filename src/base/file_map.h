/** A whole file in memory, as the system maps it. */
#ifndef MR_BASE_FILE_MAP_H
#define MR_BASE_FILE_MAP_H

#include <stddef.h>

#include "millrace/status.h"

/** Zeroed: nothing is mapped. The file must not change while it is. */
struct mr_file_map {
    const void *bytes;
    size_t byte_count;
};

/** Maps a model file. MR_EINPUT when it cannot be opened, MR_EDATA when it is no file or empty; nothing is mapped then.
 */
mr_status mr_file_map(const char *path, struct mr_file_map *map_out, struct mr_err *err);
void mr_file_unmap(struct mr_file_map *map);

#endif
