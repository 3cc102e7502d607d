/** The inside of a verification; for the files of src/verify alone. */
#ifndef MR_VERIFY_INSIDE_H
#define MR_VERIFY_INSIDE_H

#include "base/part_index.h"
#include "sink/file/mark.h"
#include "state/log.h"
#include "verify/look.h"
#include "verify/match.h"
#include "verify/near.h"
#include "verify/offline.h"
#include "verify/scored.h"
#include "verify/verify.h"

/** A partition that the job reads: a source of the matches. */
struct mr_verify_input {
    uint32_t topic;
    int32_t partition;
    const char *name;
    int64_t start, end; /* of what is looked at */
    int64_t next;       /* what comes next, */
    uint32_t byte;      /* and so much of it is done */
    int64_t told_end;   /* what came of messages before it is told, though they come again to be learned from */
};

typedef enum { MR_PLACE_SAME, MR_PLACE_KEY, MR_PLACE_ANY } mr_verify_place;

/** A dead letter that is not simply a record that was rejected: it may stand for an output, or be cut. */
struct mr_verify_special {
    uint32_t source;
    int32_t partition; /* its own place */
    int64_t offset, source_offset;
    bool is_used;
};

/** A topic that the job writes records to. */
struct mr_verify_output {
    struct mr_verify *verify;
    const char *topic;
    bool is_dead;
    mr_verify_place place;
    struct mr_match *match;
    struct mr_look_parts parts;
    int64_t *next;                     /* [parts.count] */
    struct mr_scored_list *list;       /* [parts.count of the inputs], of scorers: which version made what */
    int64_t *early;                    /* [parts.count], of scorers: what is before it is older than the state */
    struct mr_verify_special *special; /* dead letters: [special_count] */
    size_t special_count, special_cap;
    bool is_sorted;
};

struct mr_verify {
    struct mr_job *job;
    struct mr_proof *proof;
    struct mr_look look;
    struct mr_look_parts parts;      /* of the inputs */
    struct mr_verify_input *input;   /* [parts.count] */
    struct mr_part_index index;      /* of inputs, by topic and partition */
    struct mr_verify_output *output; /* [output_count]: of the sinks, then of dead letters */
    size_t output_count;
    struct mr_range_reader *reader, *writer; /* of inputs; of what was written */
    struct mr_message_list read, written;    /* messages of inputs; of outputs */
    struct mr_offline *offline;
    struct mr_near *near; /* NULL: what computes here has computed the outputs, too */
    size_t window;
    int64_t outputs_from_ms; /* outputs before that time are of before; -1: look at all */
    bool is_running;         /* the group's offsets moved meanwhile */
    /* learning: */
    struct mr_state_log **log; /* [log_count] */
    size_t *model;             /* [log_count]: their index */
    size_t log_count;
    size_t block_rows;               /* the job's batch.records_max, as it is now */
    struct mr_verify_scored *scored; /* models are followed: what they say is compared apart; NULL: none is */
    struct mr_verify *scorers;       /* of a trainer: the verification of its scorers, open until this one is done */
    /* made by another unit: */
    uint64_t models_near, models_far, models_unseen; /* snapshots that are near, that may be right; commits without */
    uint64_t updates_alone;                          /* since the models were those of a commit */
    double models_off;                               /* the most that any of models_far is off */
};

/** output.c: the outputs and dead letters of the job. */
mr_status mr_verify_outputs_open(struct mr_verify *verify, struct mr_err *err);
void mr_verify_outputs_close(struct mr_verify *verify);
/** Reads what was written, as far as something is expected; is_all: to the end. *has_read_out: whether there was any.
 */
mr_status mr_verify_pump(struct mr_verify *verify, bool is_all, bool *has_read_out, struct mr_err *err);
/** Ties what waits on both sides and is near. Whether there was any. */
bool mr_verify_settle(struct mr_verify *verify);
/** Reads the rest, and tells of what is left. */
mr_status mr_verify_outputs_end(struct mr_verify *verify, struct mr_err *err);

/** records.c: receivers of mr_offline; context: the verify. */
mr_status mr_verify_expect_output(void *context, const struct mr_record *record, size_t row, struct mr_err *err);
mr_status mr_verify_expect_dead(void *context, const struct mr_offline_dead *dead, struct mr_err *err);
/** Hands a message that was read to the match, as one record or as those that are joined in it. */
mr_status mr_verify_message_take(struct mr_verify_output *output, const struct mr_message *message, struct mr_err *err);
/** Whether headers are compared: where each record is a message of its own. */
bool mr_verify_has_rest(const struct mr_job *job);

/** fault.c: for mr_match_open.fault and .is_excused; context: the output. */
void mr_verify_fault(void *context, mr_match_fault fault, const struct mr_match_place *expected,
                     const struct mr_match_place *actual);
bool mr_verify_is_excused(void *context, const struct mr_match_place *expected);
/** Puts a dead letter aside that may stand for an output, or is cut. False: no memory. */
bool mr_verify_special_add(struct mr_verify_output *output, const struct mr_verify_special *special);
/** At the end: those that have excused nothing. */
void mr_verify_specials_tell(struct mr_verify *verify, const struct mr_verify_output *output);

/** followed.c: holds the files that followers write against the topic that they were fed from. */
mr_status mr_verify_followed(struct mr_verify *verify, struct mr_err *err);

/** covered.c: what of the topic (all its partitions, with bounds) the mark of a sink's file leaves out. */
mr_status mr_verify_covered(struct mr_verify *verify, size_t sink, const char *path, const struct mr_file_mark *mark,
                            const struct mr_look_parts *parts, struct mr_err *err);

/** chain.c: what a job that learns has in its state topics. */
mr_status mr_verify_state_read(struct mr_verify *verify, struct mr_err *err);
void mr_verify_state_close(struct mr_verify *verify);
/** The most records that one update learned from. */
size_t mr_verify_state_rows(const struct mr_verify *verify);
/** Sets where each input begins and ends, from the state. MR_END: the state does not allow to go on. */
mr_status mr_verify_state_bounds(struct mr_verify *verify, struct mr_err *err);
/** Model i of the log_count ones. */
struct mr_model_at_work *mr_verify_model(const struct mr_verify *verify, size_t i);
/** The index of the entry that the models are taken from; SIZE_MAX: they begin as the job says. */
size_t mr_verify_base(const struct mr_verify *verify, const struct mr_state_entry *entry, size_t count);
/** Whether some commit was computed by another unit than is at work here: then numbers are near, not equal. */
bool mr_verify_units_differ(const struct mr_verify *verify);

/** ranges.c: the input of a range of a commit; NULL: the job does not read it. */
struct mr_verify_input *mr_verify_range_input(const struct mr_verify *verify, const struct mr_state_commit *commit,
                                              const struct mr_state_range *range);
/** Ranges of an update into the slot, several of one partition among them; *input_out: of the last one. MR_END: they
 * contradict what was before. */
mr_status mr_verify_ranges_decode(struct mr_verify *verify, const struct mr_state_commit *commit,
                                  const struct mr_state_range *range, size_t count, struct mr_verify_input **input_out,
                                  struct mr_err *err);
/** Scores the rows of the slot and expects their outputs. */
mr_status mr_verify_slot_tell(struct mr_verify *verify, struct mr_err *err);
/** Expects what comes of ranges of any size, by the models as they are; dead letters before them with them. */
mr_status mr_verify_ranges_tell(struct mr_verify *verify, const struct mr_state_commit *commit,
                                const struct mr_state_range *range, size_t count, struct mr_err *err);
/** The same of what no update has learned from, up to there: there must be no rows in it. */
mr_status mr_verify_gap_tell(struct mr_verify *verify, struct mr_verify_input *input, int64_t end, uint32_t end_byte,
                             struct mr_err *err);

/** weights.c: puts the bytes of a commit's snapshot in the place of all models. */
mr_status mr_verify_snapshot_take(struct mr_verify *verify, uint64_t snapshot, struct mr_err *err);
/** The models must be, bit for bit, what entry `at` of the first log has committed; those of another unit near, from
 * snapshot to snapshot. */
mr_status mr_verify_weights(struct mr_verify *verify, size_t at, bool *is_equal, struct mr_err *err);

/** learn.c: learns all commits again, and expects their outputs. */
mr_status mr_verify_learned(struct mr_verify *verify, struct mr_err *err);

/** Index of the input of a partition; MR_PART_NONE: none. */
uint32_t mr_verify_input_find(const struct mr_verify *verify, const char *topic, int32_t partition);

#endif
