/** The dir source from the inside: dir.c, the plug-in; scan.c, which files are to be read; watch.c, what the system
 * tells of the folder; done.c, what becomes of files that are done. */
#ifndef MR_SOURCE_DIR_DIR_H
#define MR_SOURCE_DIR_DIR_H

#include "source/reading.h"

enum { TAKE_CLOSED, TAKE_MOVED };
enum { BATCH_ANY, BATCH_FILE };
enum { DONE_KEEP, DONE_MOVE, DONE_DELETE };
enum { DIR_START_EARLIEST, DIR_START_LATEST };

struct dir_options {
    char *path, *pattern;
    int take, batch, done, start;
    char *done_path, *positions;
};

struct mr_source {
    const struct dir_options *opt;
    struct mr_reading reading;
    int folder;             /* -1: it is not there */
    int notices;            /* inotify; -1: a bounded run reads what is there */
    int done_folder;        /* of DONE_MOVE; -1: none */
    char *done_path;        /* its name */
    int64_t look_us;        /* when to look for a folder that has gone */
    struct mr_file **queue; /* a ring of files that wait for their turn */
    size_t queue_first, queue_count, queue_cap;
    size_t batch_rows; /* of the file at hand, so far handed over */
    bool has_joined, told_large, told_link;
};

/** Adds a file at the end of the queue, unless it is there. */
mr_status mr_dir_enqueue(struct mr_source *source, struct mr_file *file, struct mr_err *err);
/** The next one; NULL: none waits. */
struct mr_file *mr_dir_dequeue(struct mr_source *source);

/** All names of the folder: what is known is marked as there, what is new waits, by time and name. */
mr_status mr_dir_scan(struct mr_source *source, struct mr_err *err);
/** One name, of which the system has told. is_closed: after writing; else it was moved in. */
mr_status mr_dir_look(struct mr_source *source, const char *name, bool is_arrival, struct mr_err *err);

/** Opens the folder and begins to watch it; before any scan. */
mr_status mr_dir_watch(struct mr_source *source, struct mr_err *err);
/** Takes what the system has told since. */
mr_status mr_dir_notices(struct mr_source *source, struct mr_err *err);
/** Until something may have come. */
void mr_dir_wait(void *context, int64_t wait_us);

/** Makes the folder for files that are done, and moves those that a crash has left. */
mr_status mr_dir_done_open(struct mr_source *source, struct mr_err *err);
/** Until the next file is done, which opens it again. */
void mr_dir_done_close(struct mr_source *source);
/** All records of the file are committed. context: the source. */
void mr_dir_done(void *context, struct mr_file *file);

#endif
