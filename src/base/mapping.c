#include "base/mapping.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define BYTES_MIN ((size_t)1 << 20)
#define STEP_MAX  ((size_t)1 << 30) /* that a file grows by at once: its blocks are taken from the disk then */

/* How large it becomes: memory is not taken before it is written, so it doubles. */
static size_t size_choose(const struct mr_mapping *mapping, size_t bytes, bool has_file)
{
    size_t size = mapping->bytes ? mapping->bytes : BYTES_MIN;
    while (size < bytes) size += has_file && size > STEP_MAX ? STEP_MAX : size;
    return size;
}

/* The file grown to this size, with room on the disk: a page that has none would end the process. */
static mr_status file_grow(struct mr_mapping *mapping, size_t bytes, const char *folder, struct mr_err *err)
{
    if (!mapping->file) mapping->file = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600) + 1;
    if (!mapping->file) return mr_fail(err, MR_EIO, "%s: no file can be made there: %s", folder, strerror(errno));
    const int reason = posix_fallocate(mapping->file - 1, 0, (off_t)bytes);
    return reason ? mr_fail(err, MR_EIO, "%s: no room for %zu bytes: %s", folder, bytes, strerror(reason)) : MR_OK;
}

mr_status mr_mapping_grow(struct mr_mapping *mapping, size_t bytes, const char *folder, struct mr_err *err)
{
    const size_t size = size_choose(mapping, bytes, folder != NULL);
    if (bytes <= mapping->bytes && mapping->at) return MR_OK;
    const mr_status status = folder ? file_grow(mapping, size, folder, err) : MR_OK;
    if (status) return status;
    const int kind = folder ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    void *const at = mapping->at ? mremap(mapping->at, mapping->bytes, size, MREMAP_MAYMOVE)
                                 : mmap(NULL, size, PROT_READ | PROT_WRITE, kind, mapping->file - 1, 0);
    if (at == MAP_FAILED) return mr_fail(err, MR_ENOMEM, "out of memory for %zu bytes", size);
    if (!folder) (void)madvise(at, size, MADV_HUGEPAGE); /* a hint: the faults of small pages took 0.2 s of 640 MB */
    mapping->at = at;
    mapping->bytes = size;
    return MR_OK;
}

void mr_mapping_free(struct mr_mapping *mapping)
{
    if (mapping->at) munmap(mapping->at, mapping->bytes);
    if (mapping->file) close(mapping->file - 1);
    *mapping = (struct mr_mapping){0};
}
