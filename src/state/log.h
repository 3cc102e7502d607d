/**
 * A model's state topic, read in its order: keeps the newest complete snapshot and the manifests behind it, as much as
 * compaction keeps (MR_STATE_GENERATIONS snapshots, their manifests). Knows no Kafka. One thread at a time.
 */
#ifndef MR_STATE_LOG_H
#define MR_STATE_LOG_H

#include "state/record.h"

/** What a log is to hold. Strings are copied. */
struct mr_state_log_open {
    const char *topic;    /* for messages */
    const char *model;    /* whose records these are to be */
    const char *type;     /* NULL: any */
    uint64_t schema_hash; /* 0: any */
    uint64_t snapshot;    /* the number of the one whose bytes are kept; 0: the newest */
    bool is_listing;      /* no model's bytes are kept */
};

struct mr_state_log;

mr_status mr_state_log_create(const struct mr_state_log_open *open, struct mr_state_log **log_out, struct mr_err *err);
void mr_state_log_destroy(struct mr_state_log *log); /* accepts NULL */

/**
 * Takes the next record of the topic; value NULL: a tombstone. Copies what it keeps. MR_EINVARIANT names the offset,
 * what is wrong and what to do: not a state record, another format, a wrong checksum, cut off, of another model, a
 * number that goes back; the record is left out, mr_state_log_check will say so, and more may be taken. MR_EDATA:
 * another type or schema than the job's; MR_ENOMEM: after these the log is only to be destroyed.
 */
mr_status mr_state_log_take(struct mr_state_log *log, const void *key, size_t key_bytes, const void *value,
                            size_t value_bytes, int64_t offset, struct mr_err *err);

/**
 * After the last record that there was: whether the state is whole. MR_EINVARIANT: the first record that was left out,
 * unless a roll-back behind it is whole; a snapshot that manifests build upon is not there, a chunk is missing, the
 * model's checksum is wrong, the chain of commits has a gap; it names the offset and what to do. MR_EDATA: nothing but
 * records of others: the topic is another model's. More records may be taken afterwards (a follower does). An empty log
 * is fine.
 */
mr_status mr_state_log_check(const struct mr_state_log *log, struct mr_err *err);

/** The highest numbers of a commit and of a snapshot in any record, also in one without its other half. */
void mr_state_log_numbers(const struct mr_state_log *log, uint64_t *seq_out, uint64_t *snapshot_out);

/** Which commits mr_state_log_seek finds a way to: is_there_out[entry_count]. */
void mr_state_log_reach(const struct mr_state_log *log, bool *is_there_out);

/** One commit in the log. */
struct mr_state_entry {
    const struct mr_state_commit *commit; /* the log's */
    int64_t offset;                       /* of its manifest */
    bool has_snapshot;                    /* its model's chunks are all there */
};

/** All commits that the log holds, oldest first; valid until the next take. */
const struct mr_state_entry *mr_state_log_entries(const struct mr_state_log *log, size_t *count_out);

/** The last commit; NULL: none. */
const struct mr_state_commit *mr_state_log_last(const struct mr_state_log *log);

/** A state that can be made: a snapshot, and what was learned behind it. */
struct mr_state_point {
    const struct mr_state_entry *snapshot; /* whose model's bytes it starts from */
    const struct mr_state_entry *behind;   /* [behind_count]: the commits to learn again, in order */
    size_t behind_count;
    size_t last_update_count; /* of the last one's updates so many are to be learned; all, unless a version is sought */
};

/** What to look for. */
typedef enum {
    MR_STATE_AT_LAST,    /* the last commit */
    MR_STATE_AT_SEQ,     /* commit number `number` */
    MR_STATE_AT_VERSION, /* the model with `number` updates, as it was last */
    MR_STATE_AT_OFFSETS, /* the commit with exactly these positions */
} mr_state_seek;

struct mr_state_target {
    mr_state_seek by;
    uint64_t number;
    const struct mr_state_position *position; /* [position_count], in any order */
    size_t position_count;
};

/**
 * How to come to a state. MR_EINPUT: it is not in the log, and which ones are; MR_EINVARIANT: the way there has a gap.
 * The bytes of its snapshot are those of mr_state_log_model if the numbers agree; otherwise read the topic once more
 * with that number in `open`.
 */
mr_status mr_state_log_seek(const struct mr_state_log *log, const struct mr_state_target *target,
                            struct mr_state_point *point_out, struct mr_err *err);

/** The bytes of the complete snapshot that is kept, and the commit that wrote it; NULL: there is none. Valid until the
 * next take. */
const struct mr_state_commit *mr_state_log_model(const struct mr_state_log *log, struct mr_span *bytes_out);

#endif
