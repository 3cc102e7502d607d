#include "base/file_map.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

mr_status mr_file_map(const char *path, struct mr_file_map *map_out, struct mr_err *err)
{
    struct stat info;
    *map_out = (struct mr_file_map){0};
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO must not keep us */
    if (fd < 0 || fstat(fd, &info)) {
        const int error = errno;
        if (fd >= 0) close(fd);
        return mr_fail(err, MR_EINPUT, "model \"%s\": %s", path, strerror(error));
    }
    if (!S_ISREG(info.st_mode) || info.st_size <= 0) {
        close(fd);
        return mr_fail(err, MR_EDATA, "model \"%s\": %s", path,
                       S_ISREG(info.st_mode) ? "the file is empty" : "not a file");
    }
    void *const mapping = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    const int error = errno;
    close(fd);
    if (mapping == MAP_FAILED) return mr_fail(err, MR_EINPUT, "model \"%s\": %s", path, strerror(error));
    *map_out = (struct mr_file_map){mapping, (size_t)info.st_size};
    return MR_OK;
}

void mr_file_unmap(struct mr_file_map *map)
{
    if (map->bytes) munmap((void *)(uintptr_t)map->bytes, map->byte_count);
    *map = (struct mr_file_map){0};
}
