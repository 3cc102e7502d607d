/** The inside of a log; for the files of src/state alone. */
#ifndef MR_STATE_LOG_INSIDE_H
#define MR_STATE_LOG_INSIDE_H

#include "state/log.h"

/* The snapshot whose chunks came last. */
struct mr_state_part {
    uint64_t number, seq, model_bytes, model_checksum;
    uint32_t count, seen; /* chunks: of the snapshot, and those that came, without a hole */
    bool has_hole;        /* chunk `seen` did not come, but a later one, at hole_offset */
    int64_t hole_offset;
};

struct mr_state_log {
    char *topic, *model, *type; /* type NULL: any */
    uint64_t schema_hash, wanted;
    bool is_listing;
    struct mr_state_entry *entry; /* [entry_count], by commit; of the last snapshots only */
    size_t entry_count, entry_cap;
    uint64_t seq_max, snapshot_max; /* seen in any record */
    struct mr_state_part part;      /* number 0: none yet */
    struct mr_blob part_bytes;      /* its chunks, one behind the other */
    uint64_t whole;                 /* number of the complete snapshot whose bytes are kept; 0: none */
    struct mr_err fault;            /* the first record that was left out; status 0: none since a roll-back */
    char stranger[MR_STATE_NAME_BYTES_MAX + 1]; /* the first other model whose key was found; "": none */
    bool has_strangers;                         /* keys that are not the model's */
    struct mr_blob whole_bytes;
};

#define MR_STATE_BACK                                                                                                  \
    "restore the topic, or go back to a commit that is whole: `millrace model list JOB` shows them, `millrace model "  \
    "rollback JOB --commit N` puts one behind the damage"

/** Index of the entry that wrote a snapshot; entry_count: it is not there. */
size_t mr_state_log_find(const struct mr_state_log *log, uint64_t snapshot);

#endif
