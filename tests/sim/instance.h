/**
 * An instance: what the lane of a process does under exactly-once, with the real commit protocol (pipeline/commit.h) in
 * it. It scores, or it scores and learns: then each of its transactions holds a record of the model's state.
 * instance.c is the loop, state.c what a trainer writes and restores.
 */
#ifndef MR_SIM_INSTANCE_H
#define MR_SIM_INSTANCE_H

#include "sim/client.h"

/* The model: a hash in which the order of the records counts, and what goes with it into the state records. */
struct sim_model {
    uint64_t hash;
    uint32_t version, seq;
    uint32_t snapshot, index; /* of the last manifest */
    int16_t next[SIM_PARTITIONS_MAX];
};

/* What is in the open transaction. */
struct sim_flight {
    uint64_t in, out, dead, filtered, sent;
    int64_t commit_at_ms;
    int16_t next[SIM_PARTITIONS_MAX]; /* -1: untouched */
    unsigned range_count;
    struct sim_range range[SIM_RANGES_MAX];
};

struct sim_instance {
    struct sim_world *world;
    int index;
    struct fibre *fibre;
    uint32_t life;
    bool is_alive, is_waiting, must_stop;
    bool is_retired; /* fenced, while another has its id: not started again */
    uint32_t wait;   /* ticket */
    int64_t paused_until_ms;
    mr_status exit;
    unsigned sent_requests[SIM_APIS]; /* in all its lives */
    struct sim_client client;
    struct mr_commit commit;
    struct mr_err err;
    int16_t position[SIM_PARTITIONS_MAX];
    int16_t sent[SIM_PARTITIONS_MAX]; /* offsets that go with the transaction */
    bool must_restart;                /* partitions left while a transaction was being committed */
    bool is_placed;                   /* has positions for its share */
    struct sim_flight flight;
    struct sim_model model;
};

void sim_instance_reset(struct sim_world *world, int index);
void sim_instance_start(struct sim_world *world, int index);
/** kill -9, or the end of what it did. */
void sim_instance_end(struct sim_world *world, int index);
/** Runs it until it waits again. */
void sim_instance_run(struct sim_world *world, int index);

/** From inside: until something has happened to it, or until then. */
void sim_instance_wait(struct sim_world *world, int index, int64_t until_ms);
void sim_instance_wake(struct sim_world *world, int index);
/** A request is sent: faults may wait for it. */
void sim_instance_count(struct sim_world *world, const struct sim_request *request);

/** Whether nobody waits for the answer any more: a later try does, or another life, or none. */
bool sim_instance_is_over(const struct sim_world *world, const struct sim_request *request);

/** From inside a call that takes long: the group is heard, and partitions may leave. */
void sim_instance_idle(struct sim_world *world, int index);

/** Reads the state from the topic. MR_ERESTART: not now; MR_EINVARIANT: it is not what was written. */
mr_status sim_state_restore(struct sim_instance *instance);
/** The state as it stands in the topic up to an entry, without waiting. */
mr_status sim_state_read(struct sim_world *world, int until, struct sim_model *model_out, struct mr_err *err);
/** Sends the records that go with this transaction. */
void sim_state_write(struct sim_instance *instance);
/** Sends one message of the transaction. */
void sim_instance_send(struct sim_instance *instance, int log, const struct sim_record *record);

#endif
