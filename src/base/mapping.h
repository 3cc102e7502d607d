/**
 * Memory for much data that grows where it lies, or is moved by the kernel without a copy: of the process, or of a file
 * without a name, whose pages the kernel may take away and read again, so that there may be more of it than memory.
 */
#ifndef MR_BASE_MAPPING_H
#define MR_BASE_MAPPING_H

#include <stdbool.h>
#include <stddef.h>

#include "millrace/status.h"

/** Zeroed it is empty. Page-aligned; what was never written is zero, and takes no memory. */
struct mr_mapping {
    void *at;
    size_t bytes;
    int file; /* descriptor + 1 of the file; 0: there is none */
};

/**
 * Makes it at least so large; contents stay, the address may change. folder: where the file is made at the first call,
 * on a disk with room; NULL: memory. MR_ENOMEM; MR_EIO names the folder. On an error it is as it was.
 */
mr_status mr_mapping_grow(struct mr_mapping *mapping, size_t bytes, const char *folder, struct mr_err *err);

void mr_mapping_free(struct mr_mapping *mapping);

#endif
