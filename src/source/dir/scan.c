/* Which files are to be read, and in which order: those that were not read before, in the order of their arrival. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "source/dir/dir.h"

mr_status mr_dir_enqueue(struct mr_source *source, struct mr_file *file, struct mr_err *err)
{
    if (file->is_queued) return MR_OK;
    if (source->queue_count == source->queue_cap) {
        const size_t cap = source->queue_cap ? 2 * source->queue_cap : 64;
        struct mr_file **const grown = malloc(cap * sizeof *grown);
        if (!grown) return mr_fail(err, MR_ENOMEM, "dir source: no memory for %zu files that wait", cap);
        for (size_t i = 0; i < source->queue_count; i++)
            grown[i] = source->queue[(source->queue_first + i) % source->queue_cap];
        free(source->queue);
        source->queue = grown;
        source->queue_first = 0;
        source->queue_cap = cap;
    }
    source->queue[(source->queue_first + source->queue_count++) % source->queue_cap] = file;
    file->is_queued = true;
    return MR_OK;
}

struct mr_file *mr_dir_dequeue(struct mr_source *source)
{
    if (!source->queue_count) return NULL;
    struct mr_file *const file = source->queue[source->queue_first];
    source->queue_first = (source->queue_first + 1) % source->queue_cap;
    source->queue_count--;
    file->is_queued = false;
    return file;
}

static bool ends_with(const char *name, const char *suffix)
{
    const size_t bytes = strlen(name), suffix_bytes = strlen(suffix);
    return bytes >= suffix_bytes && !strcmp(name + bytes - suffix_bytes, suffix);
}

/* Names under which files are written before they are renamed, and what the job does not want. */
static bool is_ignored(const struct dir_options *opt, const char *name)
{
    if (*name == '.' || *name == '_' || ends_with(name, ".tmp") || ends_with(name, ".part") || ends_with(name, "~"))
        return true;
    return opt->pattern && *opt->pattern && fnmatch(opt->pattern, name, 0) != 0;
}

/* Whether it has other first bytes than what was read; what was not looked at is taken for the same. */
static bool is_other_head(const struct mr_source *source, const struct mr_file *known, const char *name)
{
    struct mr_file_id now = {0};
    const int fd =
        known->id.head_bytes ? openat(source->folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC) : -1;
    if (fd < 0) return false;
    const bool is_other = mr_file_head_read(fd, &now, known->id.head_bytes) &&
                          (now.head_bytes != known->id.head_bytes || now.head != known->id.head);
    close(fd);
    return is_other;
}

/* An inode that is known: is it still that file? False: another one has got its inode. */
static bool known_see(const struct mr_source *source, struct mr_file *known, const struct mr_file_id *id,
                      const char *name)
{
    const bool is_reborn = id->born_ns && known->id.born_ns && id->born_ns != known->id.born_ns;
    const bool is_changed = id->size != known->id.size || id->mtime_ns != known->id.mtime_ns;
    const bool was_read = known->state >= MR_FILE_READ;
    if (is_reborn || (was_read && is_changed && is_other_head(source, known, name))) return false;
    if (was_read && is_changed) {
        mr_log(
            MR_LOG_WARN, "dir",
            "%s/%s was changed after it was read (%llu bytes, %llu when it was read): that is not read; files must be "
            "whole when they come: write them elsewhere, or under a name that begins with a dot, and rename them",
            source->opt->path, name, (unsigned long long)id->size, (unsigned long long)known->id.size);
        known->id.size = id->size;
        known->id.mtime_ns = id->mtime_ns;
    }
    known->id.born_ns = id->born_ns;
    known->is_there = true;
    if (strcmp(known->name, name) != 0) {
        char *const renamed = strdup(name);
        if (renamed) free(known->name);
        if (renamed) known->name = renamed;
    }
    return true;
}

/* The file that a name leads to, if it is to be read; NULL: it is not, or was. */
static mr_status name_see(struct mr_source *source, const char *name, struct mr_file **file_out, struct mr_err *err)
{
    struct mr_file_id id;
    unsigned mode;
    *file_out = NULL;
    if (is_ignored(source->opt, name) || !mr_file_id_at(source->folder, name, &id, &mode)) return MR_OK;
    if (S_ISLNK(mode) && !source->told_link) {
        mr_log(MR_LOG_WARN, "dir",
               "%s/%s is a link, and links are not read: move the file itself; further ones are not told",
               source->opt->path, name);
        source->told_link = true;
    }
    if (!S_ISREG(mode)) return MR_OK;
    struct mr_file *file = mr_ledger_find(source->reading.ledger, &id);
    if (file && known_see(source, file, &id, name)) {
        if (file->state == MR_FILE_WAITING && file->first < 0) *file_out = file;
        return MR_OK;
    }
    file = mr_ledger_add(source->reading.ledger, &id, name);
    *file_out = file;
    return file ? MR_OK : mr_fail(err, MR_ENOMEM, "dir source: no memory for the files of \"%s\"", source->opt->path);
}

mr_status mr_dir_look(struct mr_source *source, const char *name, bool is_arrival, struct mr_err *err)
{
    struct mr_file *file;
    if (source->folder < 0) return MR_OK;
    const mr_status status = name_see(source, name, &file, err);
    if (status || !file || (!is_arrival && !file->is_refused)) return status;
    file->is_refused = file->is_found = false;
    return mr_dir_enqueue(source, file, err);
}

static int by_arrival(const void *left, const void *right)
{
    const struct mr_file *const a = *(struct mr_file *const *)left, *const b = *(struct mr_file *const *)right;
    if (a->id.mtime_ns != b->id.mtime_ns) return a->id.mtime_ns < b->id.mtime_ns ? -1 : 1;
    return strcmp(a->name, b->name);
}

struct found {
    struct mr_file **file;
    size_t count, cap;
};

static mr_status found_add(struct found *found, struct mr_file *file, struct mr_err *err)
{
    if (found->count == found->cap) {
        const size_t cap = found->cap ? 2 * found->cap : 256;
        struct mr_file **const grown = realloc(found->file, cap * sizeof *grown);
        if (!grown) return mr_fail(err, MR_ENOMEM, "dir source: no memory for %zu files", cap);
        found->file = grown;
        found->cap = cap;
    }
    found->file[found->count++] = file;
    return MR_OK;
}

static mr_status names_read(struct mr_source *source, struct found *found, struct mr_err *err)
{
    const int fd = openat(source->folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *const entries = fd >= 0 ? fdopendir(fd) : NULL;
    mr_status status = MR_OK;
    if (!entries) {
        const int error = errno;
        if (fd >= 0) close(fd);
        return mr_fail(err, MR_EINPUT, "dir source: \"%s\" cannot be read: %s", source->opt->path, strerror(error));
    }
    for (struct dirent *entry; !status && (entry = readdir(entries));) {
        struct mr_file *file = NULL;
        if (entry->d_type != DT_REG && entry->d_type != DT_LNK && entry->d_type != DT_UNKNOWN) continue;
        status = name_see(source, entry->d_name, &file, err);
        if (!status && file && !file->is_queued) status = found_add(found, file, err);
    }
    closedir(entries);
    return status;
}

mr_status mr_dir_scan(struct mr_source *source, struct mr_err *err)
{
    struct found found = {0};
    mr_status status = names_read(source, &found, err);
    if (!status && found.count) qsort(found.file, found.count, sizeof(struct mr_file *), by_arrival);
    for (size_t i = 0; i < found.count && !status; i++) {
        found.file[i]->is_found = true;
        found.file[i]->is_refused = false;
        status = mr_dir_enqueue(source, found.file[i], err);
    }
    free(found.file);
    return status;
}
