/**
 * A simulated world: one clock, one queue of events, one source of chance, the network between instances and Kafka, and
 * fibres in which instances run as if they were alone. Everything that happens follows from the seed, so a schedule
 * that broke a promise can be seen again, step by step. One thread.
 */
#ifndef MR_SIM_WORLD_H
#define MR_SIM_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SIM_PARTITIONS_MAX 3  /* of the input */
#define SIM_RECORDS_MAX    20 /* of a partition of the input */
#define SIM_INSTANCES_MAX  3
#define SIM_BATCH_MAX      8  /* records of a produce request */
#define SIM_RANGES_MAX     10 /* batches of a transaction */
#define SIM_FAULTS_MAX     8

/* Logs that transactions write: an output partition for each of the input, then these. */
enum { SIM_LOG_DEAD = SIM_PARTITIONS_MAX, SIM_LOG_STATE, SIM_LOG_OFFSETS, SIM_LOGS };

typedef enum {
    SIM_INIT,
    SIM_ADD_PARTITIONS,
    SIM_PRODUCE,
    SIM_ADD_OFFSETS,
    SIM_TXN_OFFSETS,
    SIM_END_TXN,
    SIM_FETCH_OFFSETS,
    SIM_COMMIT_OFFSETS,
    SIM_JOIN,
    SIM_HEARTBEAT,
    SIM_APIS
} sim_api;

typedef enum {
    SIM_OK,
    SIM_CONCURRENT,      /* CONCURRENT_TRANSACTIONS: markers of the last one are being written */
    SIM_NOT_COORDINATOR, /* the coordinator moves */
    SIM_UNSTABLE,        /* UNSTABLE_OFFSET_COMMIT: offsets of an undecided transaction */
    SIM_FENCED,          /* PRODUCER_FENCED */
    SIM_INVALID_EPOCH,   /* INVALID_PRODUCER_EPOCH */
    SIM_INVALID_STATE,   /* INVALID_TXN_STATE */
    SIM_OUT_OF_ORDER,    /* OUT_OF_ORDER_SEQUENCE_NUMBER */
    SIM_ILLEGAL_GENERATION,
    SIM_UNKNOWN_MEMBER,
    SIM_REBALANCING,     /* REBALANCE_IN_PROGRESS */
    SIM_FENCED_INSTANCE, /* another member has taken the group.instance.id */
    SIM_MEMBER_ID_REQUIRED,
    SIM_TIMED_OUT,      /* the client gave up waiting */
    SIM_FAILED_LOCALLY, /* the client never sent it */
    SIM_ERRORS
} sim_error;

/* Records [from, to) of an input partition, learned from or scored as one batch. */
struct sim_range {
    int16_t partition, from, to;
};

typedef enum { SIM_OUTPUT, SIM_DEAD, SIM_CHUNK, SIM_MANIFEST, SIM_OFFSETS } sim_record_kind;

struct sim_record {
    sim_record_kind kind;
    uint32_t handle, txn;      /* which producer made it, in which of its transactions: only the oracle looks */
    int16_t partition, offset; /* of the input: output, dead */
    uint32_t version;          /* output: of the model that scored it. State: after this commit */
    /* State. A snapshot has two chunks; manifest 0 goes with it, and the others follow. */
    uint32_t seq, predecessor;        /* of commits */
    uint32_t snapshot, index;         /* number of the snapshot; of the chunk or the manifest */
    uint64_t hash;                    /* the model */
    int16_t next[SIM_PARTITIONS_MAX]; /* state, offsets: where reading goes on; -1: nothing said */
    uint32_t range_count;
    struct sim_range range[SIM_RANGES_MAX];
};

/* A request, and then its answer. */
struct sim_request {
    sim_api api;
    sim_error error;
    int instance; /* who waits for the answer: which life of it, which call, which try */
    uint32_t life, slot, ticket;
    uint32_t id, handle, txn; /* id: index of the transactional.id, which is also the producer id */
    int epoch;
    unsigned logs; /* bits */
    int log, base; /* produce: sequence number of the first record */
    unsigned count;
    bool commits;
    int static_id; /* -1: a dynamic member */
    uint32_t member;
    int generation;
    unsigned assigned; /* bits: partitions of the input */
    int16_t next[SIM_PARTITIONS_MAX];
    struct sim_record record[SIM_BATCH_MAX]; /* last: requests without records are copied up to here */
};

typedef enum {
    SIM_EV_WAKE,    /* instance: its fibre goes on. a: ticket of the wait */
    SIM_EV_ANSWER,  /* instance: a: request */
    SIM_EV_TIMEOUT, /* instance: a: slot, b: ticket */
    SIM_EV_RETRY,   /* instance: a: slot, b: ticket */
    SIM_EV_BEAT,    /* instance: a: number of the consumer, b: generation */
    SIM_EV_ARRIVAL, /* broker: a: request */
    SIM_EV_MARKER,  /* broker: a: id, b: log */
    SIM_EV_TICK,    /* broker: timeouts, compaction */
    SIM_EV_JOINED,  /* broker: every member knows its share. a: generation */
    SIM_EV_FAULT,   /* schedule: a: number of the fault */
    SIM_EV_START,   /* schedule: a: instance */
} sim_event_kind;

struct sim_event {
    int64_t at_ms;
    uint64_t order;
    sim_event_kind kind;
    int instance; /* -1: not in an instance */
    uint32_t life, a, b;
};

typedef enum {
    SIM_KILL,      /* kill -9; started again later */
    SIM_PAUSE,     /* SIGSTOP, and SIGCONT after length_ms */
    SIM_STOP,      /* SIGTERM; started again later */
    SIM_REBALANCE, /* the group is told to join again */
    SIM_DOWN,      /* the broker hears nothing for length_ms */
    SIM_MOVE,      /* coordinators move: NOT_COORDINATOR for length_ms */
    SIM_MEDDLE,    /* the trainer is killed, and somebody moves the group's offsets */
} sim_fault_kind;

struct sim_fault {
    sim_fault_kind kind;
    int64_t at_ms, length_ms;
    int instance;
    bool is_at_request; /* after the instance has sent `count` requests of this kind, not at at_ms */
    sim_api api;
    unsigned count;
};

/* Faults in the protocol, planted to prove that the simulator finds them. */
struct sim_planted {
    bool keeps_dirty;      /* producers are not recycled */
    bool offsets_outside;  /* offsets are committed after the transaction, not in it */
    bool compares_nothing; /* the state's offsets are not compared with the group's */
    bool meddles;          /* not in the protocol: the group's offsets are moved while the trainer is down */
    bool ignores_acks;     /* commits although messages were not acknowledged */
    bool ignores_revoke;   /* partitions leave, and their records are committed later */
    bool restores_to_lso;  /* the state is read up to the last stable offset only */
    bool restores_early;   /* the state is read before joining, and not again */
    bool caches_group;     /* the group's generation is asked for once in the life of a process */
    bool no_generation;    /* offsets are sent without generation and member */
    bool no_verification;  /* a broker that does not verify (before 3.6) */
    bool keeps_model;      /* a trainer with a new producer goes on with the model that it has */
    bool fetches_own;      /* stable offsets of its own partitions only, where the state speaks of all */
    bool ignores_break;    /* partitions leave while offsets are sent, and they are sent again */
    bool data_only;        /* no fault: judges what readers see in the end, not how it came about */
};

/* What the seed decides before anything happens. */
struct sim_plan {
    bool learns, takes_over; /* takes_over: two trainers with ids of their own, of which one works */
    bool restores_early;     /* before joining: right where one id is all that ever writes the state */
    int partitions, instances;
    uint32_t id[SIM_INSTANCES_MAX]; /* transactional.id */
    int seat[SIM_INSTANCES_MAX];    /* group.instance.id */
    bool is_static, epoch_fences;   /* epoch_fences: INVALID_PRODUCER_EPOCH of a produce means fenced, not abort */
    bool rebalance_refuses;         /* offsets of a transaction are refused while the group rebalances */
    int16_t records[SIM_PARTITIONS_MAX];
    int64_t available_ms[SIM_PARTITIONS_MAX][SIM_RECORDS_MAX];
    int64_t calm_ms;                                      /* no more faults from then on */
    unsigned lose, hold, lose_answer, slow, fail_locally; /* of 1000 */
    unsigned apis;                                        /* bits: which requests they meet */
    unsigned slow_markers;                                /* of 1000 */
    int64_t hold_max_ms, interval_max_ms;
    unsigned snapshot_every;
    unsigned fault_count;
    struct sim_fault fault[SIM_FAULTS_MAX];
};

#define SIM_SOCKET_MS      1000
#define SIM_MESSAGE_MS     5000
#define SIM_TRANSACTION_MS 8000
#define SIM_SESSION_MS     3000
#define SIM_REBALANCE_MS   5000

struct sim_kafka;
struct sim_instance;

/* What the schedules met, all together: a simulator that meets nothing proves nothing. */
struct sim_counts {
    uint64_t commits, restarts, recycled, fenced, killed, paused, revoked, lost, in_the_middle, aborted, late;
};

struct sim_world {
    uint64_t seed, chance, events;
    int64_t now_ms;
    bool is_verbose;
    char violation[512]; /* the first promise that was broken; empty: none */
    struct sim_plan plan;
    struct sim_planted planted;
    struct sim_counts counts; /* since the world was made */
    struct sim_kafka *kafka;
    struct sim_instance *instance; /* [SIM_INSTANCES_MAX] */
    uint32_t last_handle, last_ticket;
    uint64_t event_order;
    unsigned heap_count, free_count;
    struct sim_event *heap;
    struct sim_request *request;
    uint16_t *free;
};

struct sim_world *sim_world_create(void);
void sim_world_destroy(struct sim_world *world);
void sim_world_reset(struct sim_world *world, uint64_t seed);

/** From lowest to highest, both included. */
int64_t sim_between(struct sim_world *world, int64_t lowest, int64_t highest);
bool sim_chance(struct sim_world *world, unsigned of_1000);

void sim_event_add(struct sim_world *world, int64_t at_ms, sim_event_kind kind, int instance, uint32_t a, uint32_t b);
bool sim_event_take(struct sim_world *world, struct sim_event *event_out);
void sim_event_put_back(struct sim_world *world, struct sim_event event, int64_t at_ms);

/** A line of the history, when it is wanted. */
#define sim_say(world, ...)                                                                                            \
    do {                                                                                                               \
        if ((world)->is_verbose) sim_say_line(world, __VA_ARGS__);                                                     \
    } while (0)
void sim_say_line(const struct sim_world *world, const char *format, ...) __attribute__((format(printf, 2, 3)));

/** A promise does not hold. The first one counts. sim_suspect: what has done no harm yet, but may. */
void sim_violate(struct sim_world *world, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define sim_suspect(world, ...)                                                                                        \
    do {                                                                                                               \
        if (!(world)->planted.data_only) sim_violate(world, __VA_ARGS__);                                              \
    } while (0)

const char *sim_api_name(sim_api api);
const char *sim_error_name(sim_error error);

/** A copy of a request goes to the broker, by way of what the network makes of it. */
void sim_send(struct sim_world *world, const struct sim_request *request);
/** The answer, which stands in request[index], goes back; the request is over. */
void sim_answer(struct sim_world *world, uint32_t index);
void sim_request_free(struct sim_world *world, uint32_t index);

/** What the model makes of a record, in order. */
uint64_t sim_learn(uint64_t hash, int partition, int offset);
/** What becomes of a record of the input: an output, a dead letter, or nothing. */
typedef enum { SIM_IS_OUTPUT, SIM_IS_DEAD, SIM_IS_FILTERED } sim_fate;
sim_fate sim_fate_of(int partition, int offset);

#endif
