/**
 * What was read of which file, so that a restart goes on there: records of a source are numbered from 0 in the order in
 * which they came, and each file holds a range of these numbers. Kept in a file of lines, to which a commit appends a
 * line for each file that it moved on in; a line that was cut off by a crash does not count. It is written anew
 * (base/durable.h) when most of its lines are old, without files that are not there any more where that is known, and
 * the memory of these is given back. One thread at a time.
 */
#ifndef MR_SOURCE_LEDGER_H
#define MR_SOURCE_LEDGER_H

#include <sys/stat.h>

#include "millrace/source.h"

#define MR_FILE_HEAD_BYTES 1024

/** A file, told from another one that has its name, and from another one that has its inode. */
struct mr_file_id {
    uint64_t device, inode, size;
    int64_t mtime_ns;
    int64_t born_ns;           /* 0: the file system does not say */
    uint64_t head_bytes, head; /* hash of so many first bytes; 0: was not looked at */
};

typedef enum {
    MR_FILE_WAITING, /* is to be read */
    MR_FILE_READING,
    MR_FILE_READ, /* not all of it is committed */
    MR_FILE_DONE,
} mr_file_state;

struct mr_file {
    struct mr_file_id id;
    char *name;
    int64_t first, next;             /* records [first, next) are its; of one that is being read: are committed */
    uint64_t begin_byte, begin_line; /* where record `first` stands: what is before it was another run's */
    int64_t mark;                    /* this record stands at that byte and line */
    uint64_t byte, line;
    mr_file_state state;
    bool is_there;            /* seen by the source: else it is forgotten when the ledger is written anew */
    bool is_refused;          /* could not be read, and its user was told */
    bool is_queued, is_found; /* the source's own: waits for its turn; was there before anything was watched */
    struct mr_file *by_id, *by_order;
};

struct mr_ledger;

/** How many of the last marks are remembered for going back. */
#define MR_LEDGER_MARKS 64

/**
 * Opens it, reading what is there. path NULL: nothing is kept. type: of the source; it and the job must be those that
 * wrote it. MR_EDATA: it is damaged before its end, or another's; MR_EINPUT: another process uses it; MR_EIO.
 */
mr_status mr_ledger_open(const char *path, const char *type, const char *job, struct mr_ledger **ledger_out,
                         struct mr_err *err);
/** Accepts NULL. */
void mr_ledger_close(struct mr_ledger *ledger);

/** Whether something was committed before; and the first record that was not. */
bool mr_ledger_is_new(const struct mr_ledger *ledger);
int64_t mr_ledger_next(const struct mr_ledger *ledger);

/** Fills in what stat says. */
void mr_file_id_of(const struct stat *info, struct mr_file_id *id_out);
/** Looks at a name of a folder, links not followed. mode_out: of the file. False: errno says why. */
bool mr_file_id_at(int folder, const char *name, struct mr_file_id *id_out, unsigned *mode_out);
/** Reads the first bytes, at most head_bytes of them unless that is 0. False: errno says why. */
bool mr_file_head_read(int fd, struct mr_file_id *id, uint64_t head_bytes);

/** The file that has this device and inode, as it was seen last; NULL: none. */
struct mr_file *mr_ledger_find(const struct mr_ledger *ledger, const struct mr_file_id *id);
/** A file that waits; it is found by its id from then on. NULL: no memory. */
struct mr_file *mr_ledger_add(struct mr_ledger *ledger, const struct mr_file_id *id, const char *name);
/** The files of the ledger in the order of their records, the oldest first; NULL: there are none. */
struct mr_file *mr_ledger_first(const struct mr_ledger *ledger);

/** Reading of a file begins, with this record; or goes on, when it has records already. */
void mr_ledger_begin(struct mr_ledger *ledger, struct mr_file *file, int64_t offset);
/** Record `offset` of the file that is being read stands at this byte and line. */
void mr_ledger_mark(struct mr_ledger *ledger, struct mr_file *file, int64_t offset, uint64_t byte, uint64_t line);
/** It has no record from `offset` on, where it ends, at this byte and line. info: as it is now; NULL: not known. */
void mr_ledger_end(struct mr_ledger *ledger, struct mr_file *file, int64_t offset, uint64_t byte, uint64_t line,
                   const struct stat *info);
/** It is not to be read: nothing of it is, or was. */
void mr_ledger_pass(struct mr_ledger *ledger, struct mr_file *file);

/** The last mark at or before this record, in a file that holds it. False: the ledger knows of no such file. */
bool mr_ledger_locate(const struct mr_ledger *ledger, int64_t offset, struct mr_file **file_out, int64_t *mark_out,
                      uint64_t *byte_out, uint64_t *line_out);

/** What is behind this record is forgotten: files that begin there, or later, wait again; reading goes on there. */
void mr_ledger_rewind(struct mr_ledger *ledger, int64_t offset);

/**
 * Everything before `offset` is done. Files that are done may be forgotten. done: called for each file that is, when
 * that is safe; may be NULL. MR_EIO names the ledger and the reason.
 */
mr_status mr_ledger_commit(struct mr_ledger *ledger, int64_t offset, void (*done)(void *context, struct mr_file *file),
                           void *context, struct mr_err *err);

/** Where its own file has gone, with the folder that it was in: writes it anew. */
mr_status mr_ledger_keep(struct mr_ledger *ledger, struct mr_err *err);

/** After all files were looked for: those that are not there are forgotten when that is worth it, from now on. */
mr_status mr_ledger_compact(struct mr_ledger *ledger, struct mr_err *err);

#endif
