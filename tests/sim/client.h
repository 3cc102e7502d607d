/**
 * The client library of one instance, as librdkafka 2.0.2 behaves (timeouts, retries that its user never hears of,
 * error classes), with a producer and a consumer; and the detector of dirty epochs
 * (kafka/epoch_watch.h): a request without an answer, or an EndTxn that was sent twice.
 */
#ifndef MR_SIM_CLIENT_H
#define MR_SIM_CLIENT_H

#include "pipeline/commit.h"
#include "sim/world.h"

#define SIM_QUEUE_MAX 64

/* Calls that may be under way at once: a produce for each log, and these. */
enum { SIM_CALL_ADD = SIM_LOGS, SIM_CALL_SYNC, SIM_CALL_GROUP, SIM_CALL_BEAT, SIM_CALLS };

struct sim_call {
    sim_api api;
    bool is_active; /* the library is at it */
    sim_error error;
    uint32_t ticket; /* of the try that counts */
    unsigned tries;
    int64_t give_up_ms;
};

struct sim_queue {
    unsigned count, in_flight; /* the first in_flight of them are sent */
    int sequence;              /* of the first */
    struct sim_record record[SIM_QUEUE_MAX];
};

typedef enum { SIM_STAYS, SIM_MUST_REVOKE, SIM_IS_LOST } sim_leave;

struct sim_client {
    struct sim_world *world;
    int instance;
    struct sim_call call[SIM_CALLS];
    /* Producer. */
    uint32_t id, handle, txn; /* handle 0: no producer */
    int epoch;
    bool is_dirty;
    sim_error broken; /* the transaction, or the producer, cannot go on */
    bool is_fatal;
    unsigned added; /* logs that the transaction holds */
    bool has_offsets, is_committing;
    struct sim_queue queue[SIM_LOGS];
    unsigned acknowledged, failed; /* messages of this transaction */
    /* Consumer. */
    uint32_t consumer; /* 0: none */
    int static_id, generation;
    uint32_t member;
    bool is_member, is_fenced, has_news; /* news: a share that was not taken up yet */
    sim_leave leave;
    unsigned assigned;
    int64_t heard_ms;
    int16_t fetched[SIM_PARTITIONS_MAX];
    uint32_t cached_member; /* planted fault */
    int cached_generation;
};

extern const struct mr_commit_ops sim_client_ops; /* kafka: a struct sim_client */

/** Hands a message to the producer. False: it was refused. */
bool sim_client_produce(struct sim_client *client, int log, const struct sim_record *record);

void sim_client_join(struct sim_client *client);
/** Fetches the group's offsets, stable; false when that came to nothing. */
bool sim_client_fetch(struct sim_client *client);
/** Outside of a transaction: a planted fault. */
void sim_client_commit(struct sim_client *client);
void sim_client_leave(struct sim_client *client);

/** Events. */
void sim_client_answer(struct sim_client *client, const struct sim_request *request);
void sim_client_timeout(struct sim_client *client, uint32_t slot, uint32_t ticket);
void sim_client_retry(struct sim_client *client, uint32_t slot, uint32_t ticket);
void sim_client_beat(struct sim_client *client, uint32_t consumer, uint32_t generation);

/* Between client.c, producer.c and consumer.c. */
void sim_call_start(struct sim_client *client, uint32_t slot, sim_api api, int64_t give_up_ms);
/** Waits until it is done. False: it is not, after so long. */
bool sim_call_wait(struct sim_client *client, uint32_t slot, int64_t longest_ms);
void sim_producer_fill(struct sim_client *client, uint32_t slot, struct sim_request *request);
void sim_producer_done(struct sim_client *client, uint32_t slot, const struct sim_request *answer);
void sim_consumer_fill(struct sim_client *client, uint32_t slot, struct sim_request *request);
void sim_consumer_done(struct sim_client *client, uint32_t slot, const struct sim_request *answer);

#endif
