/*
 * A file that is followed: appended to, rotated (renamed, and another one made in its place), cut off and written anew.
 * Each of these is told, and nothing of it is read twice or passed over in silence.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "source/file/file.h"

#define QUIET_US                                                                                                       \
    1000000 /* a file that was renamed is left when nothing has come to it for so long: its writer may not             \
               know yet */

static bool is_same(const struct mr_file *file, const struct stat *info)
{
    return file->id.device == info->st_dev && file->id.inode == info->st_ino;
}

/* Whether the first bytes are those that were read. */
static bool has_head(const struct mr_file *file, int fd)
{
    struct mr_file_id now = {0};
    if (!file->id.head_bytes) return true;
    return mr_file_head_read(fd, &now, file->id.head_bytes) && now.head_bytes == file->id.head_bytes &&
           now.head == file->id.head;
}

mr_status mr_appended_find(struct mr_source *source, int fd, const struct stat *info, struct mr_file **file_out,
                           struct mr_err *err)
{
    struct mr_reading *const reading = &source->reading;
    struct mr_file_id id;
    mr_file_id_of(info, &id);
    const struct mr_file *const known = mr_ledger_find(reading->ledger, &id);
    *file_out = NULL;
    if (!known || known->first < 0 || !has_head(known, fd) || id.size < known->byte) return MR_OK;
    struct mr_file *const file = mr_ledger_add(reading->ledger, &id, source->opt->path);
    if (!file) return mr_fail(err, MR_ENOMEM, "file source: out of memory");
    file->begin_byte = known->byte;
    file->begin_line = known->line;
    *file_out = file;
    return MR_OK;
}

/* A file that cannot be read any further is left where the ledger is. */
static void file_leave(struct mr_reading *reading, struct mr_file *file)
{
    if (reading->next < reading->skip_to) reading->next = reading->skip_to;
    mr_ledger_end(reading->ledger, file, reading->next, file->byte, file->line, NULL);
    reading->resume.file = NULL;
}

static mr_status named_begin(struct mr_source *source, struct mr_err *err)
{
    struct stat info;
    int fd;
    const mr_status status = mr_file_named(source, true, &fd, &info, err);
    return status || fd < 0 ? status : mr_file_begin(source, NULL, fd, &info, err);
}

/* The file of this device and inode in the folder of the path, under whatever name. -1: it is not there. */
static int renamed_open(const char *path, const struct mr_file *file, char **name_out)
{
    const char *const slash = strrchr(path, '/');
    const int folder_bytes = slash ? (int)(slash - path) + 1 : 0;
    char *const folder = folder_bytes ? strndup(path, (size_t)folder_bytes) : strdup(".");
    DIR *const entries = folder ? opendir(folder) : NULL;
    int fd = -1;
    for (struct dirent *entry; entries && fd < 0 && (entry = readdir(entries));) {
        struct stat info;
        if (fstatat(dirfd(entries), entry->d_name, &info, AT_SYMLINK_NOFOLLOW) || !S_ISREG(info.st_mode) ||
            !is_same(file, &info))
            continue;
        fd = openat(dirfd(entries), entry->d_name, O_RDONLY | O_CLOEXEC);
        if (fd >= 0 && (!has_head(file, fd) || asprintf(name_out, "%.*s%s", folder_bytes, path, entry->d_name) < 0)) {
            close(fd);
            fd = -1;
        }
    }
    if (entries) closedir(entries);
    free(folder);
    return fd;
}

/* The file was renamed while the job was away: its rest comes first, then what has the name now. */
static mr_status renamed_begin(struct mr_source *source, struct mr_file *file, struct mr_err *err)
{
    struct mr_reading *const reading = &source->reading;
    char *name = NULL;
    const int fd = renamed_open(source->opt->path, file, &name);
    if (fd < 0) {
        mr_log(
            MR_LOG_WARN, "file",
            "%s: the file that was read up to byte %llu is not in its folder any more: what it had behind that is lost "
            "to this job; going on with the one that has its name",
            source->opt->path, (unsigned long long)reading->resume.byte);
        file_leave(reading, file);
        return named_begin(source, err);
    }
    mr_log(MR_LOG_INFO, "file", "%s was renamed to %s: its rest is read first", source->opt->path, name);
    const mr_status status = mr_reading_file_begin(reading, file, fd, name, err);
    if (!status) reading->stream.takes_rest = false;
    free(name);
    return status;
}

mr_status mr_rotated_begin(struct mr_source *source, struct mr_file *file, struct mr_err *err)
{
    struct mr_reading *const reading = &source->reading;
    struct stat info;
    int fd;
    const mr_status status = mr_file_named(source, true, &fd, &info, err);
    if (status) return status;
    const bool is_named = fd >= 0 && is_same(file, &info);
    if (is_named && has_head(file, fd) && (uint64_t)info.st_size >= reading->resume.byte)
        return mr_file_begin(source, file, fd, &info, err);
    if (fd >= 0) close(fd);
    if (!is_named) return renamed_begin(source, file, err);
    mr_log(MR_LOG_WARN, "file",
           "%s was read up to byte %llu, and was written anew since (%lld bytes): it is read from its beginning; what "
           "the old "
           "one had behind that is lost to this job",
           source->opt->path, (unsigned long long)reading->resume.byte, (long long)info.st_size);
    file_leave(reading, file);
    return named_begin(source, err);
}

/* What is left of the file that is open is given up, and that is said. */
static void rest_tell(const struct mr_stream *stream)
{
    const size_t rest = mr_stream_rest(stream);
    if (rest)
        mr_log(MR_LOG_WARN, "file", "%s: its last %zu bytes were no whole record yet, and are dropped",
               stream->origin->name, rest);
}

/* A bounded run leaves what is no whole record to the next one. */
static void open_end_tell(const struct mr_stream *stream)
{
    const size_t rest = mr_stream_rest(stream);
    if (rest)
        mr_log(MR_LOG_INFO, "file", "%s: its last %zu bytes are no whole record yet: they are read when they are",
               stream->origin->name, rest);
}

mr_status mr_rewritten_look(struct mr_source *source, struct mr_err *err)
{
    struct mr_reading *const reading = &source->reading;
    struct mr_stream *const stream = &reading->stream;
    struct stat info;
    if (!reading->file) return MR_OK;
    if (fstat(stream->fd, &info)) return mr_source_file_fail(source, errno, err);
    const uint64_t read_bytes = stream->byte + mr_stream_rest(stream), bytes = (uint64_t)info.st_size;
    if (bytes == read_bytes) return MR_OK;
    source->was_dry = false;
    if (bytes > read_bytes && has_head(reading->file, stream->fd)) {
        if (reading->file->id.head_bytes < MR_FILE_HEAD_BYTES) mr_file_head_read(stream->fd, &reading->file->id, 0);
        return MR_OK;
    }
    mr_log(
        MR_LOG_WARN, "file",
        "%s was cut off and written anew: %llu bytes of it were read, it has %llu now; it is read from its beginning",
        stream->origin->name, (unsigned long long)read_bytes, (unsigned long long)bytes);
    rest_tell(stream);
    const int fd = dup(stream->fd); /* the name may be another file's by now */
    if (fd < 0 || lseek(fd, 0, SEEK_SET) < 0) {
        const int error = errno;
        if (fd >= 0) close(fd);
        return mr_source_file_fail(source, error, err);
    }
    mr_reading_file_end(reading, &info);
    return mr_file_begin(source, NULL, fd, &info, err);
}

/* The name is another file's, or nobody's. Its writer may not have seen that yet. Whether the old one may be left. */
static bool may_leave(struct mr_source *source)
{
    const struct mr_stream *const stream = &source->reading.stream;
    const uint64_t end = stream->byte + mr_stream_rest(stream);
    const int64_t now_us = mr_clock_us();
    if (source->reading.open.is_bounded) return true;
    if (!source->left_us || end != source->left_byte) {
        source->left_us = now_us;
        source->left_byte = end;
    }
    return now_us - source->left_us >= QUIET_US;
}

static mr_status missing_wait(struct mr_source *source)
{
    if (source->reading.open.is_bounded) return MR_END;
    if (!source->is_missing)
        mr_log(MR_LOG_WARN, "file", "%s is not there: waiting for it to come back", source->opt->path);
    source->is_missing = true;
    return MR_OK;
}

mr_status mr_rotate(struct mr_source *source, struct mr_err *err)
{
    struct mr_reading *const reading = &source->reading;
    struct stat info;
    const bool is_there = !stat(source->opt->path, &info);
    if (!is_there && errno != ENOENT) return mr_source_file_fail(source, errno, err);
    if (reading->file && is_there && is_same(reading->file, &info)) {
        source->left_us = 0;
        if (reading->open.is_bounded) open_end_tell(&reading->stream);
        return reading->open.is_bounded ? MR_END : MR_OK;
    }
    if (reading->file) {
        if (!may_leave(source)) return MR_OK;
        if (!reading->stream.takes_rest) { /* it is whole now: so is its last line */
            reading->stream.takes_rest = true;
            return MR_AGAIN;
        }
        mr_reading_file_end(reading, &info);
        mr_log(MR_LOG_INFO, "file", "%s was rotated: %lld records up to here", source->opt->path,
               (long long)reading->next);
    }
    source->left_us = 0;
    source->was_dry = false;
    const mr_status status = named_begin(source, err);
    if (status) return status;
    if (!reading->file) return missing_wait(source);
    source->is_missing = false;
    return MR_AGAIN;
}
