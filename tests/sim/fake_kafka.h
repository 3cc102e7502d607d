/**
 * A Kafka of before KIP-890, as far as exactly-once rests on it: logs with producer epochs, sequence numbers, control
 * markers and last stable offsets; a transaction coordinator; a group coordinator with generations and offsets that are
 * pending in a transaction. fake_kafka.c has the logs and the transactions, fake_group.c the group.
 */
#ifndef MR_SIM_FAKE_KAFKA_H
#define MR_SIM_FAKE_KAFKA_H

#include "sim/world.h"

#define SIM_ENTRIES_MAX 2048
#define SIM_MEMBERS_MAX 8
#define SIM_FIRST_JOIN  (-2) /* generation of who joins with an id that it was just given */
#define SIM_DUPLICATES  5    /* batches of a producer that a partition remembers */

typedef enum { SIM_PENDING, SIM_COMMITTED, SIM_ABORTED } sim_decision;

struct sim_entry {
    uint32_t id; /* of the producer */
    sim_decision decision;
    bool is_marker, is_gone; /* gone: compaction took it */
    struct sim_record record;
};

/* What a partition knows of a producer. */
struct sim_producer_state {
    int epoch, next_sequence; /* epoch -1: never seen; next_sequence -1: any will do */
    int open_from;            /* first entry of its open transaction, -1: none */
    struct {
        int epoch, base;
        unsigned count;
    } batch[SIM_DUPLICATES];
    unsigned batches;
};

struct sim_log {
    int count; /* also the high watermark */
    struct sim_producer_state producer[SIM_INSTANCES_MAX];
    struct sim_entry entry[SIM_ENTRIES_MAX];
};

typedef enum {
    SIM_TXN_EMPTY,
    SIM_TXN_ONGOING,
    SIM_TXN_PREPARE_COMMIT,
    SIM_TXN_PREPARE_ABORT,
    SIM_TXN_COMPLETE_COMMIT,
    SIM_TXN_COMPLETE_ABORT
} sim_txn_state;

struct sim_txn {
    sim_txn_state state;
    int epoch;
    unsigned logs; /* bits: what is in it, and then: which markers are still to be written */
    int64_t since_ms;
    uint32_t owner;       /* the producer that init was answered to last: the oracle's */
    uint32_t handle, txn; /* who began it */
};

struct sim_member {
    uint32_t member; /* 0: none */
    int static_id;
    bool has_joined;
    uint32_t parked; /* the request to join that waits, + 1 */
    unsigned assigned;
    int64_t seen_ms;
};

typedef enum { SIM_GROUP_EMPTY, SIM_GROUP_JOINING, SIM_GROUP_SYNCING, SIM_GROUP_STABLE } sim_group_state;

struct sim_pending_offsets {
    bool is_there;
    int16_t next[SIM_PARTITIONS_MAX];
    int entry[SIM_PARTITIONS_MAX]; /* in the log of offsets */
};

struct sim_kafka {
    struct sim_log log[SIM_LOGS];
    struct sim_txn txn[SIM_INSTANCES_MAX];
    sim_group_state group;
    int generation;
    uint32_t last_member;
    int64_t joining_until_ms;
    struct sim_member member[SIM_MEMBERS_MAX];
    int16_t committed[SIM_PARTITIONS_MAX]; /* -1: none */
    int committed_by[SIM_PARTITIONS_MAX];  /* entry in the log of offsets */
    struct sim_pending_offsets pending[SIM_INSTANCES_MAX];
    int64_t down_until_ms, moving_until_ms;
};

void sim_kafka_reset(struct sim_world *world);

/** Events of the broker. */
void sim_kafka_arrival(struct sim_world *world, uint32_t index);
void sim_kafka_marker(struct sim_world *world, uint32_t id, uint32_t log);
void sim_kafka_tick(struct sim_world *world);

/** All before it is decided. */
int sim_kafka_stable(const struct sim_kafka *kafka, int log);
/** Whether a transaction is open or being ended. */
bool sim_kafka_is_busy(const struct sim_kafka *kafka);

/** Whether a transaction of that id and epoch holds that log. */
bool sim_txn_holds(const struct sim_kafka *kafka, uint32_t id, int epoch, int log);

/** Group: each fills the answer in; false: the answer comes later. */
bool sim_group_join(struct sim_world *world, uint32_t index);
void sim_group_heartbeat(struct sim_world *world, struct sim_request *request);
void sim_group_fetch(struct sim_world *world, struct sim_request *request);
void sim_group_commit(struct sim_world *world, struct sim_request *request);
void sim_group_txn_offsets(struct sim_world *world, struct sim_request *request);
/** Offsets of a transaction that is decided: log entries from that one on. */
void sim_group_decide(struct sim_world *world, uint32_t id, bool commits);
void sim_group_joined(struct sim_world *world, int generation);
void sim_group_rebalance(struct sim_world *world, const char *why);
void sim_group_tick(struct sim_world *world);

#endif
