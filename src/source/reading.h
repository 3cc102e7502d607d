/**
 * What sources that read files share: one file after the other, cut into messages that are numbered through, with a
 * ledger of what was committed. One partition, 0.
 */
#ifndef MR_SOURCE_READING_H
#define MR_SOURCE_READING_H

#include "source/ledger.h"
#include "source/stream.h"

struct mr_reading {
    const char *type;  /* of the source */
    const char *topic; /* the input as a whole, for offsets */
    struct mr_source_open open;
    struct mr_pool pool;
    struct mr_ledger *ledger;
    struct mr_stream stream; /* of `file` */
    struct mr_file *file;    /* NULL: none is open */
    int64_t next;            /* number of the next record */
    int64_t skip_to;         /* records before this one are not handed over: a restart goes on there */
    struct {
        struct mr_file *file; /* reading goes on in it, at this byte; NULL: it does not, or has done so */
        int64_t mark;
        uint64_t byte, line;
    } resume;
    struct mr_err failure; /* of what comes after the messages that were handed over */
};

/** positions: path of the ledger; NULL: none is kept. topic is borrowed. */
mr_status mr_reading_open(struct mr_reading *reading, const struct mr_source_open *open, const char *type,
                          const char *topic, const char *positions, struct mr_err *err);
void mr_reading_close(struct mr_reading *reading);

/** The file of positions that an option names; fallback: where it is not said. NULL: "none". */
const char *mr_reading_positions(const char *said, const char *fallback);

/**
 * Where to go on, by the ledger and by the lane. Files of the ledger that must be read, or read again, wait then, from
 * reading->resume.file on in the order of their records. MR_EDATA: no file holds that record.
 */
mr_status mr_reading_start(struct mr_reading *reading, struct mr_err *err);

/**
 * Begins with a file, or goes on in it; fd is taken over, also on an error. name: its path. MR_EDATA: it is not the
 * one that was read before.
 */
mr_status mr_reading_file_begin(struct mr_reading *reading, struct mr_file *file, int fd, const char *name,
                                struct mr_err *err);

/** As mr_stream_take, with offsets; records that are behind the start already are dropped. */
mr_status mr_reading_take(struct mr_reading *reading, struct mr_message *messages, size_t cap, size_t *count,
                          struct mr_err *err);

/** The file is read: closes it. info: as it is now; false: errno says why that is not known. */
bool mr_reading_file_end(struct mr_reading *reading, struct stat *info);

/** Notes the place of the next record: after each batch. */
void mr_reading_mark(struct mr_reading *reading);

mr_status mr_reading_commit(struct mr_reading *reading, const struct mr_position *positions, size_t count,
                            void (*done)(void *context, struct mr_file *file), void *context, struct mr_err *err);

/** Where a source that cannot read again begins to count: behind what was learned before, else at 0. */
mr_status mr_new_start(const struct mr_source_open *open, const char *topic, int64_t *offset_out, struct mr_err *err);

/** A source that reads from one place, by one lane, messages with pieces: what is the same in all of their ops. */
mr_status mr_single_lane_check(const struct mr_source_open *open, const char *type, struct mr_err *err);
mr_status mr_single_lane_count_max(const void *options, unsigned *count_out, struct mr_err *err);
mr_status mr_single_partition_range(struct mr_source *source, int32_t *min_out, int32_t *max_out, struct mr_err *err);
mr_status mr_single_commit_nothing(struct mr_source *source, const struct mr_position *positions, size_t count,
                                   bool wait, struct mr_err *err); /* there is nothing to go on from */
int64_t mr_single_timestamp_ms(const struct mr_source *source, const struct mr_message *message);
bool mr_single_header(const struct mr_source *source, const struct mr_message *message, const char *name,
                      struct mr_span *value_out);
bool mr_single_place(const struct mr_source *source, const struct mr_message *message, size_t byte, char *text,
                     size_t bytes);

/** How a batch is filled from what comes by itself. */
struct mr_fill {
    void *context;
    /* Appends what is there: MR_OK: nothing more now; MR_AGAIN: no buffer; MR_END: nothing more comes. */
    mr_status (*take)(void *context, struct mr_message *messages, size_t cap, size_t *count, struct mr_err *err);
    void (*wait)(void *context, int64_t wait_us); /* until something may be there; may return early */
    struct mr_err *failure;                       /* kept until the messages before it are handed over */
};

/** Messages that a poll of a stream hands over at most: blocks are large, and stay in the processor's cache if they are
 * few. */
static inline size_t mr_stream_cap(const struct mr_cut *cut, size_t cap)
{
    const size_t most = MR_CHUNK_BYTES / MR_STREAM_BLOCK_BYTES;
    return cut->is_block && cap > most ? most : cap;
}

/** poll() of the ops, by such a fill. */
mr_status mr_fill_poll(const struct mr_fill *fill, struct mr_message *messages, size_t cap, int64_t wait_us,
                       int64_t fill_us, size_t *count_out, struct mr_err *err);

#endif
