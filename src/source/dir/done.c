#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "source/dir/dir.h"

#define NAMES_MAX 10000 /* files of one name that may be done */

mr_status mr_dir_done_open(struct mr_source *source, struct mr_err *err)
{
    const struct dir_options *const opt = source->opt;
    struct stat ours, theirs;
    if (opt->done != DONE_MOVE) return MR_OK;
    if (opt->done_path)
        source->done_path = strdup(opt->done_path);
    else if (asprintf(&source->done_path, "%s/done", opt->path) < 0)
        source->done_path = NULL;
    if (!source->done_path) return mr_fail(err, MR_ENOMEM, "dir source: out of memory");
    if (mkdir(source->done_path, 0777) && errno != EEXIST)
        return mr_fail(err, MR_EIO, "dir source: done_path \"%s\" cannot be made: %s", source->done_path,
                       strerror(errno));
    source->done_folder = open(source->done_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (source->done_folder < 0 || fstat(source->done_folder, &theirs) || fstat(source->folder, &ours))
        return mr_fail(err, MR_EIO, "dir source: done_path \"%s\": %s", source->done_path, strerror(errno));
    if (ours.st_dev == theirs.st_dev && ours.st_ino != theirs.st_ino) return MR_OK;
    return mr_fail(
        err, MR_ECONFIG,
        "dir source: done_path \"%s\" must be another folder of the same file system as \"%s\": files are renamed "
        "into it",
        source->done_path, opt->path);
}

void mr_dir_done_close(struct mr_source *source)
{
    if (source->done_folder >= 0) close(source->done_folder);
    free(source->done_path);
    source->done_folder = -1;
    source->done_path = NULL;
}

/* Under its name, or with a number behind it where that is taken. */
static bool file_move(const struct mr_source *source, const char *name)
{
    if (!renameat2(source->folder, name, source->done_folder, name, RENAME_NOREPLACE)) return true;
    for (unsigned i = 1; errno == EEXIST && i < NAMES_MAX; i++) {
        char *other;
        if (asprintf(&other, "%s.%u", name, i) < 0) return false;
        const bool is_moved = !renameat2(source->folder, name, source->done_folder, other, RENAME_NOREPLACE);
        free(other);
        if (is_moved) return true;
    }
    return false;
}

void mr_dir_done(void *context, struct mr_file *file)
{
    struct mr_source *const source = context;
    struct mr_file_id now;
    unsigned mode;
    if (source->opt->done == DONE_KEEP || source->folder < 0 || !file->is_there) return;
    /* Another file may have the name by now: that one is not done. */
    if (!mr_file_id_at(source->folder, file->name, &now, &mode) || now.inode != file->id.inode ||
        now.device != file->id.device)
        return;
    const bool is_moved = source->opt->done == DONE_MOVE;
    struct mr_err err;
    if (is_moved && source->done_folder < 0 && mr_dir_done_open(source, &err)) {
        mr_log(MR_LOG_WARN, "dir", "%s; %s stays, and is not read again", err.text, file->name);
        mr_dir_done_close(source);
        return;
    }
    if (is_moved ? file_move(source, file->name) : !unlinkat(source->folder, file->name, 0)) {
        file->is_there = false;
        return;
    }
    mr_log(MR_LOG_WARN, "dir", "%s/%s is done, and cannot be %s: %s; it stays, and is not read again",
           source->opt->path, file->name, is_moved ? "moved" : "deleted", strerror(errno));
}
