/**
 * The records of a model's state topic: what a commit did (a manifest), and the model itself in chunks (a snapshot).
 *
 * Every commit writes one manifest; when due, also a snapshot of the model as it is after the commit, in the same
 * transaction. Keys: <model>/<generation>/c<chunk> and <model>/<generation>/m<index>, generation = snapshot number
 * modulo MR_STATE_GENERATIONS, index = commits since that snapshot, 0 for the one that wrote it: so that compaction
 * keeps the last snapshots and all manifests behind them. The first commit of a model writes a snapshot.
 *
 * A record: "MRST", format version, kind, 2 bytes of zero, checksum (XXH3, 64 bits) of all the rest, then its fields;
 * little endian, numbers as varints. Nothing in it is trusted: sizes are checked, counts bounded.
 */
#ifndef MR_STATE_RECORD_H
#define MR_STATE_RECORD_H

#include "millrace/model.h"

#define MR_STATE_FORMAT      1
#define MR_STATE_GENERATIONS 4
#define MR_STATE_RECORD_BYTES_MAX                                                                                      \
    (900u << 10) /* of a value: below the 1 MB that a topic takes unless told otherwise                                \
                  */
#define MR_STATE_MODEL_BYTES_MAX    (8ull << 30)
#define MR_STATE_CHUNK_BYTES_MIN    1024u
#define MR_STATE_TOPIC_COUNT_MAX    64
#define MR_STATE_POSITION_COUNT_MAX 4096
#define MR_STATE_RANGE_COUNT_MAX    16384 /* of a commit, pending ones included: commit before there are more */
#define MR_STATE_UPDATE_COUNT_MAX   16384
#define MR_STATE_TOPIC_BYTES_MAX    249 /* Kafka's limit */
#define MR_STATE_NAME_BYTES_MAX     200 /* of model, type, unit */
#define MR_STATE_KEY_BYTES          256

/** Everything before next_offset of a partition is in the state: learned from, pending, dead or filtered. */
struct mr_state_position {
    const char *topic;
    int32_t partition;
    int64_t next_offset;
};

/** Records of one partition, in their order: from the one at first_record of message first_offset up to, not including,
 * the one at end_record of message end_offset. A record's place is what its writer says it is: for a lane, the byte of
 * the value that it begins at. Whole messages: first_record and end_record are 0. */
struct mr_state_range {
    uint32_t position; /* index of the partition in the commit's positions */
    uint32_t first_record, end_record;
    int64_t first_offset, end_offset;
};

/** One update: the model learned from the records of these ranges as one batch, in this order. */
struct mr_state_update {
    uint32_t range_count; /* the next ones of the commit's ranges */
    uint32_t rows;        /* that were in them; 0: not counted */
};

typedef enum {
    MR_STATE_LEARNED = 1,
    MR_STATE_ROLLED_BACK, /* the model of an earlier version takes its place again: with a snapshot, without updates */
} mr_state_kind;

/** One commit of one model. Strings and arrays are borrowed, or lie in the commit's own allocation (decode). */
struct mr_state_commit {
    const char *model, *type; /* name in the job, "mlp" ... */
    const char *unit;         /* what computed: "cpu:avx2" */
    uint64_t schema_hash;     /* mr_state_schema_hash */
    uint64_t run_id;          /* of the process that committed */
    mr_state_kind kind;
    int64_t time_ms;          /* since 1970 */
    uint64_t seq, seq_before; /* number of the commit, from 1, and its predecessor's; 0: there is none */
    /* Updates that the model has made since it began. LEARNED: version_after - version_before = update_count. */
    uint64_t version_before, version_after;
    uint64_t snapshot;                        /* number of the snapshot that it builds upon, from 1 */
    uint32_t index;                           /* commits since that snapshot; 0: this commit wrote it */
    uint64_t in, out, dead, filtered;         /* records since the model began: in = out + dead + filtered */
    uint64_t model_bytes;                     /* of the model after this commit, as stored; 0: not stored */
    uint64_t model_checksum;                  /* mr_state_checksum of these bytes; 0: not made */
    const struct mr_state_position *position; /* [position_count]: the whole input */
    const struct mr_state_range *range;       /* [range_count]: those of the updates, then the pending ones */
    const struct mr_state_update *update;     /* [update_count] */
    size_t position_count, range_count, update_count;
};

/** A part of a snapshot. Everything is borrowed from the record. */
struct mr_state_chunk {
    struct mr_span model; /* its name */
    uint64_t seq, snapshot, model_bytes, model_checksum;
    uint32_t index, count;
    uint64_t at; /* where `data` stands in the model's bytes */
    struct mr_span data;
};

typedef enum { MR_STATE_MANIFEST = 1, MR_STATE_CHUNK } mr_state_record;

/** XXH3 of bytes; never 0. Pure. */
uint64_t mr_state_checksum(const void *bytes, size_t count);

/** A hash of what a model reads and gives: type, names of features and labels, width. Never 0. */
uint64_t mr_state_schema_hash(const struct mr_model_info *info);

/** How many ranges of a commit are pending: those behind the updates'. */
size_t mr_state_pending_count(const struct mr_state_commit *commit);

/** Prints a key: kind, chunk's index or the manifest's. The name must be one that encode takes. */
void mr_state_key_print(char out[MR_STATE_KEY_BYTES], const char *model, uint64_t snapshot, mr_state_record kind,
                        uint32_t index);

/** Reads a key; false: it is none. model_out: its first bytes. */
bool mr_state_key_read(const void *key, size_t bytes, struct mr_span *model_out, uint32_t *generation_out,
                       mr_state_record *kind_out, uint32_t *index_out);

/**
 * Writes a manifest in place of what the blob held, at most MR_STATE_RECORD_BYTES_MAX. MR_EINVARIANT says what does not
 * fit together (no seq, a range beyond its position, ...); MR_ENOMEM.
 */
mr_status mr_state_commit_encode(const struct mr_state_commit *commit, struct mr_blob *out, struct mr_err *err);

/** Reads a manifest; one allocation, the caller's to free(). MR_EDATA says what is wrong with the bytes; MR_ENOMEM. On
 * error *commit_out is NULL. */
mr_status mr_state_commit_decode(const void *bytes, size_t count, struct mr_state_commit **commit_out,
                                 struct mr_err *err);

/** Chunks of at most chunk_bytes that a model of so many bytes is cut into; 0: no bytes, or more than there may be. */
uint32_t mr_state_chunk_count(uint64_t model_bytes, size_t chunk_bytes);

/**
 * Writes chunk `index` of the snapshot of a commit (its index is 0, model_bytes and model_checksum are those of
 * `model`) in place of what the blob held. chunk_bytes: MR_STATE_CHUNK_BYTES_MIN to MR_STATE_RECORD_BYTES_MAX, of a
 * whole record.
 */
mr_status mr_state_chunk_encode(const struct mr_state_commit *commit, const void *model, size_t chunk_bytes,
                                uint32_t index, struct mr_blob *out, struct mr_err *err);

/** Reads a chunk, borrowed. MR_EDATA says what is wrong. */
mr_status mr_state_chunk_decode(const void *bytes, size_t count, struct mr_state_chunk *chunk_out, struct mr_err *err);

/** The kind of a record whose magic, format and checksum are right. MR_EDATA says what is wrong. */
mr_status mr_state_record_check(const void *bytes, size_t count, mr_state_record *kind_out, struct mr_err *err);

#endif
