/* What the system tells of the folder: files that arrive, notices that were lost, the folder itself that goes and comes
 * back. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "source/dir/dir.h"

#define LOOK_US       200000 /* between two looks for a folder that has gone */
#define NOTICES_BYTES (64u << 10)
#define ARRIVALS      (IN_CLOSE_WRITE | IN_MOVED_TO | IN_ATTRIB)
#define LEAVES        (IN_DELETE_SELF | IN_MOVE_SELF | IN_UNMOUNT | IN_IGNORED)

static void watch_close(struct mr_source *source)
{
    if (source->folder >= 0) close(source->folder);
    if (source->notices >= 0) close(source->notices);
    source->folder = source->notices = -1;
}

mr_status mr_dir_watch(struct mr_source *source, struct mr_err *err)
{
    const char *const path = source->opt->path;
    watch_close(source);
    source->folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (source->folder < 0) {
        const int error = errno;
        return mr_fail(err, MR_EINPUT, "dir source: \"%s\": %s%s", path, strerror(error),
                       error == ENOENT    ? "; make the folder, or name another"
                       : error == ENOTDIR ? "; a file is read by source.type file"
                                          : "");
    }
    if (source->reading.open.is_bounded) return MR_OK;
    source->notices = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (source->notices >= 0 &&
        inotify_add_watch(source->notices, path, ARRIVALS | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR) >= 0)
        return MR_OK;
    const int error = errno;
    watch_close(source);
    return mr_fail(err, MR_EINPUT, "dir source: \"%s\" cannot be watched: %s%s", path, strerror(error),
                   error == EMFILE   ? "; raise fs.inotify.max_user_instances"
                   : error == ENOSPC ? "; raise fs.inotify.max_user_watches"
                                     : "");
}

/* What waits in it is looked for again when it comes back. */
static void folder_leave(struct mr_source *source)
{
    mr_log(MR_LOG_WARN, "dir", "%s is gone: waiting for it to come back", source->opt->path);
    watch_close(source);
    mr_dir_done_close(source); /* it may have been in there */
    while (mr_dir_dequeue(source)) {
    }
    source->look_us = mr_clock_us() + LOOK_US;
}

static mr_status folder_return(struct mr_source *source, struct mr_err *err)
{
    struct mr_err not_yet;
    if (mr_clock_us() < source->look_us) return MR_OK;
    source->look_us = mr_clock_us() + LOOK_US;
    if (mr_dir_watch(source, &not_yet)) return MR_OK;
    mr_log(MR_LOG_INFO, "dir", "%s is back: going on with the files that are in it", source->opt->path);
    const mr_status status = mr_ledger_keep(source->reading.ledger, err);
    return status ? status : mr_dir_scan(source, err);
}

static mr_status notice_take(struct mr_source *source, const struct inotify_event *event, struct mr_err *err)
{
    if (event->mask & IN_Q_OVERFLOW) {
        mr_log(MR_LOG_INFO, "dir", "%s: more files came than the system tells of: looking at all of them",
               source->opt->path);
        return mr_dir_scan(source, err);
    }
    if (!event->len || event->mask & IN_ISDIR) return MR_OK;
    const bool is_arrival =
        event->mask & IN_MOVED_TO || (event->mask & IN_CLOSE_WRITE && source->opt->take == TAKE_CLOSED);
    return mr_dir_look(source, event->name, is_arrival, err);
}

mr_status mr_dir_notices(struct mr_source *source, struct mr_err *err)
{
    _Alignas(struct inotify_event) char notices[NOTICES_BYTES];
    struct stat info;
    if (source->folder < 0) return folder_return(source, err);
    if (source->notices < 0) return MR_OK;
    if (!fstat(source->folder, &info) && !info.st_nlink) { /* no notice tells: it is still open here */
        folder_leave(source);
        return MR_OK;
    }
    for (;;) {
        const ssize_t bytes = read(source->notices, notices, sizeof notices);
        if (bytes < 0 && errno == EINTR) continue;
        if (bytes <= 0) return MR_OK;
        for (const char *at = notices; at < notices + bytes;) {
            const struct inotify_event *const event = (const struct inotify_event *)(const void *)at;
            if (event->mask & LEAVES) {
                folder_leave(source);
                return MR_OK;
            }
            const mr_status status = notice_take(source, event, err);
            if (status) return status;
            at += sizeof *event + event->len;
        }
    }
}

void mr_dir_wait(void *context, int64_t wait_us)
{
    const struct mr_source *const source = context;
    struct pollfd ask = {.fd = source->notices, .events = POLLIN}; /* without one it only waits */
    const int64_t most_us = source->folder < 0 && wait_us > LOOK_US ? LOOK_US : wait_us;
    poll(&ask, 1, (int)((most_us + 999) / 1000));
}
