/**
 * Labels that come on topics of their own: a lane's records wait in a join until their label is there, with their
 * features and the predictions that went out. Pairs are judged by those predictions, and gathered in the lane's block
 * for the models that learn from labels: until it is full, or batch.wait_max after its first pair.
 */
#ifndef MR_PIPELINE_LANE_LABELS_H
#define MR_PIPELINE_LANE_LABELS_H

#include "pipeline/join.h"
#include "pipeline/label_topic.h"
#include "pipeline/lane.h"

struct mr_lane_labels {
    struct mr_label_topic *topic;
    struct mr_join *join;
    struct mr_topic_clock clock; /* of the records */
    struct mr_scores *predicted; /* [model_count] of the block's rows, as they went out; of models that are judged */
    float *scratch;              /* [payload_floats] */
    size_t payload_floats;       /* a record's: features, and of each judged model the scores and the class */
    int64_t learn_due_ns;        /* of the pairs in the block */
    _Atomic uint64_t records_no_key; /* that cannot be found by a label */
};

/** Opens what the labels of a job need; memory_bytes: for prefetched messages. The lane's block must be there. On error
 * *labels_out is NULL. */
mr_status mr_lane_labels_create(struct mr_lane *lane, size_t memory_bytes, struct mr_lane_labels **labels_out,
                                struct mr_err *err);
/** Accepts NULL. */
void mr_lane_labels_destroy(struct mr_lane_labels *labels, const struct mr_run *run);

/** Bytes that they take beside the block and prefetched messages: for the memory budget. */
size_t mr_lane_labels_bytes(const struct mr_run *run);

/** Takes the records of a slot, whose scores are there: they wait, or are paired with a label that waited. */
mr_status mr_lane_labels_take(struct mr_lane *lane, struct mr_slot *slot, struct mr_err *err);

/** One turn: reads labels unless they are ahead of the records, learns from pairs that are due, commits. is_idle: no
 * records came. */
mr_status mr_lane_labels_turn(struct mr_lane *lane, bool is_idle, struct mr_err *err);

/** At the end of the run: learns from the pairs that are left, and commits what labels were read. */
mr_status mr_lane_labels_finish(struct mr_lane *lane, int64_t deadline_ns, struct mr_err *err);

#endif
