/** The file source from the inside: file.c, the plug-in; rotate.c, the end of a file that is followed. */
#ifndef MR_SOURCE_FILE_FILE_H
#define MR_SOURCE_FILE_FILE_H

#include "base/pace.h"
#include "source/reading.h"

enum { START_EARLIEST, START_LATEST };

struct file_options {
    char *path;
    bool follow;
    int start;
    double rate;
    char *positions;
};

struct mr_source {
    const struct file_options *opt;
    struct mr_reading reading;
    struct file_pace {
        struct mr_pace pace;
        int64_t first; /* record with which it began */
    } pace, pace_before;
    bool has_joined;
    bool is_paused;     /* followed: its end was reached; the schedule begins anew with what comes */
    bool is_over;       /* all was handed over */
    bool is_missing;    /* followed: nothing has the name now, and its user was told */
    bool was_dry;       /* followed: its end was reached; what comes now may have been written in its place */
    int64_t left_us;    /* followed: since when the name is another file's, and this one was quiet; 0: it is not */
    uint64_t left_byte; /* its end at that time */
};

mr_status mr_source_file_fail(const struct mr_source *source, int error, struct mr_err *err);

/** Opens what the path names now. *fd_out is -1 when nothing is there and that may be. */
mr_status mr_file_named(struct mr_source *source, bool may_miss, int *fd_out, struct stat *info_out,
                        struct mr_err *err);

/** Begins with it; file NULL: it was not read before. fd is taken over. */
mr_status mr_file_begin(struct mr_source *source, struct mr_file *file, int fd, const struct stat *info,
                        struct mr_err *err);

/** The file that has the name now, of which a run before has read all: what has been appended since. *file_out: the
 * part of it that is new; NULL: it is another file. */
mr_status mr_appended_find(struct mr_source *source, int fd, const struct stat *info, struct mr_file **file_out,
                           struct mr_err *err);

/** Followed: goes on in the file that was read last, whatever it is called now. */
mr_status mr_rotated_begin(struct mr_source *source, struct mr_file *file, struct mr_err *err);

/** Followed: before more of the file is read: it may have been cut off and written anew since. */
mr_status mr_rewritten_look(struct mr_source *source, struct mr_err *err);

/** Followed: the end of what is there. MR_OK: wait; MR_AGAIN: more is there now; MR_END: a bounded run ends here. */
mr_status mr_rotate(struct mr_source *source, struct mr_err *err);

#endif
