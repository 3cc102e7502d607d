/* The transactional producer: partitions are added and batches sent behind the user's back, the rest when asked. */
#include <string.h>

#include "sim/client.h"
#include "sim/instance.h"

static struct sim_queue *queue_of(struct sim_client *client, uint32_t slot)
{
    return &client->queue[slot];
}

void sim_producer_fill(struct sim_client *client, uint32_t slot, struct sim_request *request)
{
    switch (request->api) {
    case SIM_ADD_PARTITIONS:
        for (int l = 0; l < SIM_LOGS; l++)
            if (client->queue[l].count) request->logs |= 1u << l;
        request->logs &= ~client->added;
        break;
    case SIM_ADD_OFFSETS:
        request->logs = 1u << SIM_LOG_OFFSETS;
        break;
    case SIM_END_TXN:
        request->commits = true;
        break;
    case SIM_PRODUCE: {
        const struct sim_queue *const queue = queue_of(client, slot);
        request->log = (int)slot;
        request->base = queue->sequence;
        request->count = queue->in_flight;
        memcpy(request->record, queue->record, queue->in_flight * sizeof queue->record[0]);
        break;
    }
    default:
        break;
    }
}

/* Sends what can be sent. */
static void producer_pump(struct sim_client *client)
{
    bool must_add = false;
    for (uint32_t l = 0; l < SIM_LOGS; l++) {
        struct sim_queue *const queue = &client->queue[l];
        if (!queue->count || client->call[l].is_active) continue;
        if (!(client->added >> l & 1)) {
            must_add = true;
            continue;
        }
        queue->in_flight = queue->count < SIM_BATCH_MAX ? queue->count : SIM_BATCH_MAX;
        sim_call_start(client, l, SIM_PRODUCE, SIM_MESSAGE_MS);
    }
    if (must_add && !client->call[SIM_CALL_ADD].is_active)
        sim_call_start(client, SIM_CALL_ADD, SIM_ADD_PARTITIONS, SIM_MESSAGE_MS);
}

static void queue_fail(struct sim_client *client, struct sim_queue *queue)
{
    client->failed += queue->count;
    queue->count = queue->in_flight = 0;
}

static void produce_done(struct sim_client *client, struct sim_queue *queue, sim_error error)
{
    if (error) {
        /* Whether the batch arrived is not known, or it never will: the transaction is lost. */
        if (!client->broken) client->broken = error;
        if (error == SIM_OUT_OF_ORDER) client->is_fatal = true;
        queue_fail(client, queue);
        return;
    }
    client->acknowledged += queue->in_flight;
    queue->count -= queue->in_flight;
    queue->sequence += (int)queue->in_flight;
    memmove(queue->record, queue->record + queue->in_flight, queue->count * sizeof queue->record[0]);
    queue->in_flight = 0;
}

void sim_producer_done(struct sim_client *client, uint32_t slot, const struct sim_request *answer)
{
    const struct sim_call *const call = &client->call[slot];
    if (slot < SIM_LOGS) {
        produce_done(client, &client->queue[slot], call->error);
    } else if (slot == SIM_CALL_ADD) {
        if (call->error) {
            client->broken = call->error;
            for (int l = 0; l < SIM_LOGS; l++) queue_fail(client, &client->queue[l]);
            return;
        }
        client->added |= answer->logs;
    } else {
        if (call->api == SIM_INIT && !call->error) client->epoch = answer->epoch;
        return;
    }
    if (!client->broken) producer_pump(client);
}

bool sim_client_produce(struct sim_client *client, int log, const struct sim_record *record)
{
    struct sim_world *const world = client->world;
    struct sim_queue *const queue = &client->queue[log];
    const bool fails = world->now_ms < world->plan.calm_ms && sim_chance(world, world->plan.fail_locally);
    if (client->broken || client->is_fatal || fails || queue->count == SIM_QUEUE_MAX) {
        sim_say(world, "i%d    a message is refused", client->instance);
        client->failed++; /* a transaction goes on without it, and would be committed */
        return false;
    }
    queue->record[queue->count] = *record;
    queue->record[queue->count].handle = client->handle;
    queue->record[queue->count++].txn = client->txn;
    producer_pump(client);
    return true;
}

/* As kafka/transaction.c does it: fenced before all else, then what is of no use, then what is worth another try. */
static mr_txn_outcome outcome_of(struct sim_client *client, sim_error error, struct mr_err *err)
{
    if (!error) return MR_TXN_OK;
    mr_fail(err, MR_EKAFKA, "%s", sim_error_name(error));
    if (error == SIM_FENCED || (error == SIM_INVALID_EPOCH && client->world->plan.epoch_fences)) return MR_TXN_FENCED;
    switch (error) {
    case SIM_TIMED_OUT:
        return MR_TXN_AGAIN;
    case SIM_INVALID_STATE:
    case SIM_OUT_OF_ORDER:
        return MR_TXN_FATAL;
    default:
        return MR_TXN_ABORT;
    }
}

/* Of a transaction that lost a message: time that is up is not a reason to try again. */
static mr_txn_outcome broken_outcome(struct sim_client *client, struct mr_err *err)
{
    const mr_txn_outcome outcome = outcome_of(client, client->broken, err);
    return outcome == MR_TXN_AGAIN ? MR_TXN_ABORT : outcome;
}

static mr_txn_outcome client_init(void *kafka, struct mr_err *err)
{
    struct sim_client *const client = kafka;
    struct sim_call *const call = &client->call[SIM_CALL_SYNC];
    if (!client->handle) {
        client->handle = ++client->world->last_handle;
        client->txn = 0;
        client->is_dirty = client->is_fatal = client->is_committing = false;
        client->broken = SIM_OK;
        memset(client->queue, 0, sizeof client->queue);
        sim_say(client->world, "i%d  producer %u of id %u", client->instance, client->handle, client->id);
        sim_call_start(client, SIM_CALL_SYNC, SIM_INIT, 2 * SIM_TRANSACTION_MS);
    } else if (!call->is_active) {
        sim_call_start(client, SIM_CALL_SYNC, SIM_INIT, 2 * SIM_TRANSACTION_MS);
    }
    if (!sim_call_wait(client, SIM_CALL_SYNC, 4000)) return outcome_of(client, SIM_TIMED_OUT, err);
    return outcome_of(client, call->error, err);
}

static mr_txn_outcome client_begin(void *kafka, struct mr_err *err)
{
    struct sim_client *const client = kafka;
    if (client->is_fatal) {
        mr_fail(err, MR_EKAFKA, "the producer is broken");
        return MR_TXN_FATAL;
    }
    client->txn++;
    client->added = 0;
    client->has_offsets = client->is_committing = false;
    client->acknowledged = client->failed = 0;
    sim_say(client->world, "i%d  begins transaction %u of producer %u, epoch %d", client->instance, client->txn,
            client->handle, client->epoch);
    return MR_TXN_OK;
}

static mr_txn_outcome client_offsets(void *kafka, const struct mr_position *positions, size_t count, struct mr_err *err)
{
    struct sim_client *const client = kafka;
    struct sim_instance *const instance = &client->world->instance[client->instance];
    struct sim_call *const call = &client->call[SIM_CALL_SYNC];
    for (int p = 0; p < SIM_PARTITIONS_MAX; p++) instance->sent[p] = -1;
    for (size_t i = 0; i < count; i++) instance->sent[positions[i].partition] = (int16_t)positions[i].next_offset;
    for (size_t i = 0; i < count && !client->world->planted.ignores_revoke; i++) {
        if (client->assigned >> positions[i].partition & 1) continue;
        mr_fail(err, MR_ERESTART, "partition %d has gone to another member", (int)positions[i].partition);
        return MR_TXN_ABORT;
    }
    if (client->world->planted.offsets_outside) return MR_TXN_OK;
    if (client->broken) return broken_outcome(client, err);
    if (!client->has_offsets) {
        sim_call_start(client, SIM_CALL_SYNC, SIM_ADD_OFFSETS, 3000);
        sim_call_wait(client, SIM_CALL_SYNC, INT32_MAX);
        if (call->error) return outcome_of(client, call->error, err);
        client->has_offsets = true;
    }
    sim_call_start(client, SIM_CALL_SYNC, SIM_TXN_OFFSETS, 3000);
    sim_call_wait(client, SIM_CALL_SYNC, INT32_MAX);
    return outcome_of(client, call->error, err);
}

static bool is_flushed(const struct sim_client *client)
{
    for (int l = 0; l < SIM_LOGS; l++)
        if (client->queue[l].count) return false;
    return true;
}

static mr_txn_outcome client_end(void *kafka, struct mr_err *err)
{
    struct sim_client *const client = kafka;
    struct sim_world *const world = client->world;
    struct sim_call *const call = &client->call[SIM_CALL_SYNC];
    while (!is_flushed(client)) sim_instance_wait(world, client->instance, world->now_ms + 1000);
    if (client->is_fatal) return outcome_of(client, SIM_OUT_OF_ORDER, err);
    if (client->broken) return broken_outcome(client, err);
    if (!client->added && !client->has_offsets) return MR_TXN_OK; /* nothing was sent: nothing is asked */
    if (!client->is_committing || !call->is_active) sim_call_start(client, SIM_CALL_SYNC, SIM_END_TXN, 6000);
    client->is_committing = true; /* the next call waits on */
    if (!sim_call_wait(client, SIM_CALL_SYNC, 4000)) return outcome_of(client, SIM_TIMED_OUT, err);
    return outcome_of(client, call->error, err);
}

static bool client_is_dirty(void *kafka)
{
    const struct sim_client *const client = kafka;
    return client->is_dirty;
}

static void client_drop(void *kafka)
{
    struct sim_client *const client = kafka;
    if (!client->handle) return;
    sim_say(client->world, "i%d  drops producer %u", client->instance, client->handle);
    for (uint32_t c = 0; c < SIM_CALL_GROUP; c++) client->call[c] = (struct sim_call){.api = SIM_INIT};
    client->handle = 0;
}

static bool client_go_on(void *kafka, unsigned tries)
{
    struct sim_client *const client = kafka;
    sim_instance_idle(client->world, client->instance);
    sim_instance_wait(client->world, client->instance, client->world->now_ms + 100);
    return tries < 4;
}

const struct mr_commit_ops sim_client_ops = {
    .init = client_init,
    .begin = client_begin,
    .offsets = client_offsets,
    .commit = client_end,
    .is_dirty = client_is_dirty,
    .drop = client_drop,
    .go_on = client_go_on,
};
