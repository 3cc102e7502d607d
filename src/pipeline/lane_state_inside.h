/** Inside what a lane keeps of what it learns: lane_state.c (what both have), _topic.c (transactions), _file.c,
 * _refuse.c (models and group that do not agree). */
#ifndef MR_PIPELINE_LANE_STATE_INSIDE_H
#define MR_PIPELINE_LANE_STATE_INSIDE_H

#include "pipeline/lane_state.h"
#include "pipeline/replay.h"
#include "state/write.h"

/* How far the input is read and committed, of one partition. */
struct known {
    char *topic;
    int32_t partition;
    int64_t offset; /* -1: nothing is committed, and none of it was taken */
    int64_t staged; /* when the transaction that is open is committed; of a file: up to where it is settled */
    int64_t began;  /* of a file: the group's offset when reading began; INT64_MIN: it did not */
};

/* The state of one model that learns. */
struct kept {
    struct mr_state_writer writer; /* of its topic, if there is one */
    size_t model;                  /* index */
    uint64_t schema_hash;
    uint64_t version; /* at the last commit */
    struct mr_blob bytes;
};

struct mr_lane_state {
    struct mr_lane *lane;
    struct kept *kept; /* [kept_count] */
    size_t kept_count;
    struct known *known; /* [known_count] */
    size_t known_count, known_cap;
    struct mr_state_position *position; /* [known_cap], for a manifest */
    struct mr_state_range *range;
    struct mr_state_update *update;
    size_t range_cap, update_cap;
    struct mr_taken taken;
    struct mr_blob record;
    uint64_t run_id, seq, snapshot;
    uint32_t index;          /* of the next commit behind the snapshot; 0: the next one writes one */
    struct mr_counts counts; /* since the models began, at the last commit */
    struct mr_counts base;   /* of the lane's stats then */
    uint64_t messages;       /* that the lane had taken in then */
    int64_t snapshot_due_ns;
    bool was_restored;
    struct known mismatch; /* the last start's: staged is the group's offset; topic NULL: none */
    bool is_file;          /* kept in a file, not in topics */
    int64_t file_due_ns;
    struct mr_err failure;
};

/** The entry of a partition; NULL: there is none. */
struct known *mr_known_find(struct mr_lane_state *state, const char *topic, int32_t partition);

/** Forgets all positions, and what was taken; the commit's numbers begin anew. */
void mr_lane_state_reset(struct mr_lane *lane);

/** Takes positions, numbers and counts over from the last commit. MR_ENOMEM. */
mr_status mr_lane_state_take(struct mr_lane_state *state, const struct mr_state_commit *last, struct mr_err *err);

/** Puts a stored model into the place of the one at work. name: where it comes from. */
mr_status mr_kept_replace(struct mr_lane *lane, struct kept *kept, const char *name, struct mr_span bytes,
                          uint64_t version, struct mr_err *err);

/** Opens the models anew, as the job says, if they may have learned meanwhile. */
mr_status mr_kept_begin(struct mr_lane *lane, struct mr_err *err);

/** Takes what waits to be learned from into the lane's block. */
mr_status mr_lane_state_pending(struct mr_lane *lane, struct mr_replay *replay, const struct mr_state_commit *last,
                                struct mr_err *err);

/**
 * What a commit made now would say, but for the model: positions, ranges and updates are the state's and valid until
 * the next call; unit: [MR_STATE_NAME_BYTES_MAX].
 */
mr_status mr_lane_state_commit(struct mr_lane *lane, bool is_snapshot, char *unit, struct mr_state_commit *commit_out,
                               struct mr_err *err);

/** Stores a model into kept->bytes, and fills in what the commit says of it; stores nothing unless asked to. */
mr_status mr_kept_store(struct mr_lane *lane, struct kept *kept, bool is_stored, struct mr_state_commit *commit,
                        struct mr_err *err);

/** The commit is made: the next one follows it. */
void mr_lane_state_follow(struct mr_lane_state *state, const struct mr_state_commit *commit);

/** A partition of which the models and the group say two different things; -1: no offset. */
struct mr_mismatch {
    const char *topic;
    int32_t partition;
    int64_t learned, committed;
};

/** MR_ERESTART: somebody may just be committing. */
mr_status mr_mismatch_again(const struct mr_mismatch *mismatch, struct mr_err *err);

/** MR_EINVARIANT: what it comes from as far as that can be seen, and what to do. Asks the broker of other groups. */
mr_status mr_mismatch_refuse(const struct mr_lane *lane, const struct mr_mismatch *mismatch, struct mr_err *err);

/** The two ways of restoring. */
mr_status mr_lane_state_topics_restore(struct mr_lane *lane, struct mr_err *err);
mr_status mr_lane_state_file_restore(struct mr_lane *lane, struct mr_err *err);

#endif
