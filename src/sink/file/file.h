/** What the parts of the file sink share. file.c is the plug-in, attach.c what is open, owned.c and begin.c the file of
 * a follower, rotate.c the files that are full. */
#ifndef MR_SINK_FILE_FILE_H
#define MR_SINK_FILE_FILE_H

#include <sys/types.h>

#include "sink/file/holders.h"
#include "sink/file/mark.h"
#include "sink/lines.h"

struct mr_file_options {
    char *path;
    int format; /* mr_file_format */
    char *fsync;
    int64_t rotate_bytes, rotate_interval, keep; /* 0: never, never, all; interval in us */
};

enum mr_file_format { MR_FILE_JSON, MR_FILE_CSV };

struct mr_sink {
    struct mr_lines lines;
    struct mr_csv csv; /* of format csv */
    const struct mr_file_options *options;
    int fd;
    bool is_first;              /* of the lanes */
    bool is_regular;            /* not a pipe or a device: may be locked, cut off and rotated */
    bool syncs;                 /* before it acknowledges */
    int64_t sync_us;            /* otherwise: how often, of what is acknowledged; 0: never */
    int64_t sync_due_us;        /* 0: nothing is to be synced */
    const char *followed;       /* the topic that a follower reads for it; NULL: lanes write */
    struct mr_file_mark mark;   /* of a regular file that is followed: as it was written last, begun ranges among it */
    int64_t written;            /* length of such a file, by what was written */
    int64_t excess;             /* bytes behind that, found at the start: cut off before anything is written */
    struct mr_holders *holders; /* [holders_cap], by partition: as the group keeps them with what is stored next */
    int32_t holders_cap;
    char note[MR_HOLDERS_TEXT_MAX];
};

/** The error of one step, with what to do about it. */
mr_status mr_file_fail(const struct mr_sink *sink, const char *step, int error, struct mr_err *err);

/* ---- attach.c: lanes ---- */

/** Alone with a regular file, among all who write to it so. */
mr_status mr_file_lock(const struct mr_sink *sink, struct mr_err *err);
void mr_file_unlock(const struct mr_sink *sink);

/** What stands in the open file, which has `end` bytes: the columns of CSV must be those of the job (MR_EDATA); a
 * lane's that was cut short within a line or row is made whole. */
mr_status mr_file_content_check(const struct mr_sink *sink, off_t end, struct mr_err *err);

/** Opens the path, creating the file. sink->fd is -1 before, and after an error. */
mr_status mr_file_attach(struct mr_sink *sink, struct mr_err *err);

/** Whether what is open is what the path names. */
bool mr_file_is_named(const struct mr_sink *sink);

/** Leaves a file that was moved or deleted, and begins a new one; not while lines of it wait to be settled. */
mr_status mr_file_follow(struct mr_sink *sink, struct mr_err *err);

/** Syncs what is written, if the policy wants that now. */
mr_status mr_file_sync(struct mr_sink *sink, bool is_last, struct mr_err *err);

/* ---- owned.c, begin.c: a follower ---- */

bool mr_file_has_mark(const struct mr_sink *sink);

/** A lane knows nothing of marks: what it appends would be cut off by the next follower. */
mr_status mr_file_unmarked_check(const char *path, struct mr_err *err);

/** Opens the path of a follower's file. A file without a mark must be empty; its mark is made before its first line. */
mr_status mr_file_owned_attach(struct mr_sink *sink, struct mr_err *err);

/** Whether the path no longer leads to the file that is open. MR_ERESTART: what is open has no name any more, so what
 * it was given since its mark is gone; MR_ESINK: somebody else's file is in its place. */
mr_status mr_file_moved_check(const struct mr_sink *sink, bool *is_moved_out, struct mr_err *err);

/** Cuts off what stands behind the mark; once. */
mr_status mr_file_excess_cut(struct mr_sink *sink, struct mr_err *err);

/** The file has `bytes`, which is not what was written. */
mr_status mr_file_stranger_fail(const struct mr_sink *sink, int64_t bytes, struct mr_err *err);

/** mr_sink_ops.marked, note, mark. */
mr_status mr_file_marked(struct mr_sink *sink, const struct mr_sink_place *place, int64_t *offset_out,
                         struct mr_err *err);
const char *mr_file_note(struct mr_sink *sink, int32_t partition);
mr_status mr_file_mark_sink(struct mr_sink *sink, const struct mr_position *positions, size_t count,
                            struct mr_err *err);

/* ---- rotate.c ---- */

/** Whether the open file is to be left before anything more is written: large enough, or of an interval that is over.
 */
bool mr_file_is_full(const struct mr_sink *sink);

/** Moves the file to the next PATH.N, and deletes what is over `keep`. A lane's: under its lock. The file stays open.
 */
mr_status mr_file_rotate(struct mr_sink *sink, struct mr_err *err);

#endif
