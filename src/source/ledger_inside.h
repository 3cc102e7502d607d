/** The ledger from the inside: ledger.c, files and records; ledger_file.c, its lines. */
#ifndef MR_SOURCE_LEDGER_INSIDE_H
#define MR_SOURCE_LEDGER_INSIDE_H

#include <stdio.h>

#include "source/ledger.h"

struct mr_ledger_mark {
    struct mr_file *file;
    int64_t offset;
    uint64_t byte, line;
};

struct mr_ledger {
    char *path; /* NULL: nothing is kept */
    char *type, *job;
    int fd;
    struct mr_file **slot; /* [slot_count] by device and inode, a power of two */
    size_t slot_count, file_count;
    struct mr_file *first, *last;                /* with records, in their order */
    struct mr_file *open;                        /* the first that is not done; NULL: all are */
    struct mr_ledger_mark mark[MR_LEDGER_MARKS]; /* a ring: those before mark_end */
    size_t mark_end;
    int64_t next; /* committed */
    bool is_new;
    bool is_looked;    /* all files were looked for: is_there says what is gone */
    size_t line_count; /* in its file */
    size_t line_kept;  /* when it was written anew, or read */
    char *text;        /* lines that are not written yet */
    size_t text_bytes, text_cap;
};

/** Room in the table, by device and inode; the file must not be in it. */
bool mr_ledger_insert(struct mr_ledger *ledger, struct mr_file *file);
/** Forgets a file, which must not be in the order of records any more, with its marks. */
void mr_ledger_remove(struct mr_ledger *ledger, struct mr_file *file);
/** A file as it is when it is done up to a record: it goes on at the last mark that is not behind it. */
struct mr_file mr_ledger_part(const struct mr_ledger *ledger, const struct mr_file *file, int64_t offset);
void mr_ledger_mark_put(struct mr_ledger *ledger, const struct mr_ledger_mark *mark);
/** Behind all others in the order of records. */
void mr_ledger_order(struct mr_ledger *ledger, struct mr_file *file);

mr_status mr_ledger_read(struct mr_ledger *ledger, struct mr_err *err);
/** Adds the line of a file. */
mr_status mr_ledger_line_put(struct mr_ledger *ledger, const struct mr_file *file, struct mr_err *err);
/** Makes what was added last. */
mr_status mr_ledger_sync(struct mr_ledger *ledger, struct mr_err *err);
mr_status mr_ledger_rewrite(struct mr_ledger *ledger, struct mr_err *err);

#endif
