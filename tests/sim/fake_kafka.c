#include "sim/fake_kafka.h"

#include <string.h>

#include "sim/instance.h"

static const char *const log_name[SIM_LOGS] = {"out-0", "out-1", "out-2", "dead", "state", "offsets"};

void sim_kafka_reset(struct sim_world *world)
{
    struct sim_kafka *const kafka = world->kafka;
    for (int l = 0; l < SIM_LOGS; l++) {
        kafka->log[l].count = 0;
        for (int i = 0; i < SIM_INSTANCES_MAX; i++)
            kafka->log[l].producer[i] = (struct sim_producer_state){.epoch = -1, .next_sequence = -1, .open_from = -1};
    }
    for (int i = 0; i < SIM_INSTANCES_MAX; i++) {
        kafka->txn[i] = (struct sim_txn){.epoch = -1};
        kafka->pending[i].is_there = false;
    }
    kafka->group = SIM_GROUP_EMPTY;
    kafka->generation = 0;
    kafka->last_member = 0;
    memset(kafka->member, 0, sizeof kafka->member);
    for (int p = 0; p < SIM_PARTITIONS_MAX; p++) kafka->committed[p] = -1, kafka->committed_by[p] = -1;
    kafka->down_until_ms = kafka->moving_until_ms = 0;
}

int sim_kafka_stable(const struct sim_kafka *kafka, int log)
{
    int stable = kafka->log[log].count;
    for (int i = 0; i < SIM_INSTANCES_MAX; i++) {
        const int from = kafka->log[log].producer[i].open_from;
        if (from >= 0 && from < stable) stable = from;
    }
    return stable;
}

bool sim_kafka_is_busy(const struct sim_kafka *kafka)
{
    for (int i = 0; i < SIM_INSTANCES_MAX; i++)
        if (kafka->txn[i].state >= SIM_TXN_ONGOING && kafka->txn[i].state <= SIM_TXN_PREPARE_ABORT) return true;
    return false;
}

bool sim_txn_holds(const struct sim_kafka *kafka, uint32_t id, int epoch, int log)
{
    const struct sim_txn *const txn = &kafka->txn[id];
    return txn->state == SIM_TXN_ONGOING && txn->epoch == epoch && (txn->logs >> log & 1);
}

static struct sim_entry *entry_add(struct sim_world *world, int log)
{
    struct sim_log *const to = &world->kafka->log[log];
    if (to->count == SIM_ENTRIES_MAX) {
        sim_violate(world, "stuck: the log %s is full of what came to nothing", log_name[log]);
        to->count--;
    }
    struct sim_entry *const entry = &to->entry[to->count++];
    entry->is_marker = entry->is_gone = false;
    entry->decision = SIM_PENDING;
    return entry;
}

/* Whether a batch is new, and may be appended. */
static sim_error batch_check(const struct sim_producer_state *state, const struct sim_request *request,
                             bool *is_duplicate_out)
{
    *is_duplicate_out = false;
    if (request->epoch < state->epoch) return SIM_INVALID_EPOCH;
    if (request->api != SIM_PRODUCE) return SIM_OK; /* offsets have no sequence numbers */
    if (request->epoch > state->epoch) return state->epoch >= 0 && request->base ? SIM_OUT_OF_ORDER : SIM_OK;
    for (unsigned b = 0; b < SIM_DUPLICATES && b < state->batches; b++)
        *is_duplicate_out |= state->batch[b].epoch == request->epoch && state->batch[b].base == request->base &&
                             state->batch[b].count == request->count;
    if (*is_duplicate_out || state->next_sequence < 0 || state->next_sequence == request->base) return SIM_OK;
    return SIM_OUT_OF_ORDER;
}

/* Appends what a transaction writes; also the offsets of the group, which are a log like any other. */
static sim_error append(struct sim_world *world, int log, const struct sim_request *request)
{
    struct sim_producer_state *const state = &world->kafka->log[log].producer[request->id];
    bool is_duplicate;
    const sim_error error = batch_check(state, request, &is_duplicate);
    if (error || is_duplicate) return error;
    if (state->open_from < 0 && !world->planted.no_verification &&
        !sim_txn_holds(world->kafka, request->id, request->epoch, log))
        return SIM_INVALID_STATE;
    if (state->open_from < 0) state->open_from = world->kafka->log[log].count;
    state->epoch = request->epoch;
    if (request->api == SIM_PRODUCE) {
        state->next_sequence = request->base + (int)request->count;
        const unsigned b = state->batches++ % SIM_DUPLICATES;
        state->batch[b].epoch = request->epoch;
        state->batch[b].base = request->base;
        state->batch[b].count = request->count;
    }
    for (unsigned r = 0; r < request->count; r++) {
        struct sim_entry *const entry = entry_add(world, log);
        entry->id = request->id;
        entry->record = request->record[r];
    }
    return SIM_OK;
}

static void txn_offsets(struct sim_world *world, struct sim_request *request)
{
    sim_group_txn_offsets(world, request);
    if (request->error) return;
    request->count = 1;
    request->record[0] = (struct sim_record){.kind = SIM_OFFSETS, .handle = request->handle, .txn = request->txn};
    memcpy(request->record[0].next, request->next, sizeof request->next);
    request->error = append(world, SIM_LOG_OFFSETS, request);
    request->count = 0;
    if (request->error) return;
    struct sim_pending_offsets *const pending = &world->kafka->pending[request->id];
    for (int p = 0; p < SIM_PARTITIONS_MAX; p++) {
        if (!pending->is_there) pending->next[p] = -1;
        if (request->next[p] < 0) continue;
        pending->next[p] = request->next[p];
        pending->entry[p] = world->kafka->log[SIM_LOG_OFFSETS].count - 1;
    }
    pending->is_there = true;
}

static void produce(struct sim_world *world, struct sim_request *request)
{
    request->error = append(world, request->log, request);
}

/* The decision is taken here; markers reach the partitions one by one. */
static void txn_decide(struct sim_world *world, uint32_t id, bool commits)
{
    struct sim_txn *const txn = &world->kafka->txn[id];
    txn->state = commits ? SIM_TXN_PREPARE_COMMIT : SIM_TXN_PREPARE_ABORT;
    sim_say(world, "kafka decides: transaction of id %u %s", id, commits ? "commits" : "aborts");
    world->counts.aborted += !commits;
    for (uint32_t l = 0; l < SIM_LOGS; l++) {
        if (!(txn->logs >> l & 1)) continue;
        const bool is_slow = world->now_ms < world->plan.calm_ms && sim_chance(world, world->plan.slow_markers);
        sim_event_add(world, world->now_ms + (is_slow ? sim_between(world, 20, 3000) : sim_between(world, 1, 8)),
                      SIM_EV_MARKER, -1, id, l);
    }
}

static void marker_append(struct sim_world *world, uint32_t id, int log, int epoch, bool commits)
{
    struct sim_log *const to = &world->kafka->log[log];
    struct sim_producer_state *const state = &to->producer[id];
    const struct sim_txn *const txn = &world->kafka->txn[id];
    for (int e = state->open_from; e >= 0 && e < to->count; e++) {
        struct sim_entry *const entry = &to->entry[e];
        if (entry->id != id || entry->is_marker) continue;
        entry->decision = commits ? SIM_COMMITTED : SIM_ABORTED;
        if (commits && (entry->record.handle != txn->handle || entry->record.txn != txn->txn))
            sim_suspect(world,
                        "torn: what transaction %u of producer %u wrote to %s was committed with transaction %u "
                        "of producer %u",
                        entry->record.txn, entry->record.handle, log_name[log], txn->txn, txn->handle);
    }
    if (epoch > state->epoch) state->next_sequence = -1;
    state->epoch = epoch;
    state->open_from = -1;
    struct sim_entry *const marker = entry_add(world, log);
    marker->id = id;
    marker->is_marker = true;
    marker->decision = commits ? SIM_COMMITTED : SIM_ABORTED;
    if (log == SIM_LOG_OFFSETS) sim_group_decide(world, id, commits);
}

void sim_kafka_marker(struct sim_world *world, uint32_t id, uint32_t log)
{
    struct sim_txn *const txn = &world->kafka->txn[id];
    const bool commits = txn->state == SIM_TXN_PREPARE_COMMIT;
    marker_append(world, id, (int)log, txn->epoch, commits);
    txn->logs &= ~(1u << log);
    if (txn->logs) return;
    txn->state = commits ? SIM_TXN_COMPLETE_COMMIT : SIM_TXN_COMPLETE_ABORT;
    sim_say(world, "kafka has written all markers of id %u", id);
}

static void txn_init(struct sim_world *world, struct sim_request *request)
{
    struct sim_txn *const txn = &world->kafka->txn[request->id];
    switch (txn->state) {
    case SIM_TXN_ONGOING:
        txn->epoch++;
        txn_decide(world, request->id, false);
        request->error = SIM_CONCURRENT;
        return;
    case SIM_TXN_PREPARE_COMMIT:
    case SIM_TXN_PREPARE_ABORT:
        request->error = SIM_CONCURRENT;
        return;
    default:
        txn->state = SIM_TXN_EMPTY;
        txn->epoch++;
        txn->owner = request->handle;
        request->epoch = txn->epoch;
    }
}

static void txn_add(struct sim_world *world, struct sim_request *request)
{
    struct sim_txn *const txn = &world->kafka->txn[request->id];
    if (request->epoch != txn->epoch) {
        request->error = SIM_FENCED;
    } else if (txn->state == SIM_TXN_PREPARE_COMMIT || txn->state == SIM_TXN_PREPARE_ABORT) {
        request->error = SIM_CONCURRENT;
    } else if (txn->state != SIM_TXN_ONGOING) {
        *txn = (struct sim_txn){.state = SIM_TXN_ONGOING,
                                .epoch = txn->epoch,
                                .logs = request->logs,
                                .since_ms = world->now_ms,
                                .owner = txn->owner,
                                .handle = request->handle,
                                .txn = request->txn};
    } else {
        txn->logs |= request->logs;
    }
}

static void txn_end(struct sim_world *world, struct sim_request *request)
{
    struct sim_txn *const txn = &world->kafka->txn[request->id];
    if (request->epoch != txn->epoch) { /* KAFKA-9600: also a higher one */
        request->error = SIM_FENCED;
        return;
    }
    switch (txn->state) {
    case SIM_TXN_ONGOING:
        if (request->commits && (request->handle != txn->handle || request->txn != txn->txn))
            sim_suspect(world, "the end of transaction %u of producer %u came late, and ended transaction %u of %u",
                        request->txn, request->handle, txn->txn, txn->handle);
        if (request->commits && request->handle != txn->owner)
            sim_suspect(world, "producer %u, fenced by %u, has committed", request->handle, txn->owner);
        txn_decide(world, request->id, request->commits);
        return;
    case SIM_TXN_PREPARE_COMMIT:
    case SIM_TXN_PREPARE_ABORT:
        request->error =
            request->commits == (txn->state == SIM_TXN_PREPARE_COMMIT) ? SIM_CONCURRENT : SIM_INVALID_STATE;
        return;
    case SIM_TXN_COMPLETE_COMMIT:
    case SIM_TXN_COMPLETE_ABORT:
        if (request->commits != (txn->state == SIM_TXN_COMPLETE_COMMIT)) request->error = SIM_INVALID_STATE;
        return;
    case SIM_TXN_EMPTY:
        request->error = SIM_INVALID_STATE;
    }
}

void sim_kafka_arrival(struct sim_world *world, uint32_t index)
{
    struct sim_request *const request = &world->request[index];
    if (world->now_ms < world->kafka->down_until_ms) {
        sim_say(world, "kafka is down: %s #%u of i%d is lost", sim_api_name(request->api), request->ticket,
                request->instance);
        sim_request_free(world, index);
        return;
    }
    request->error = SIM_OK;
    world->counts.late += sim_instance_is_over(world, request);
    if (world->now_ms < world->kafka->moving_until_ms && request->api != SIM_PRODUCE) {
        request->error = SIM_NOT_COORDINATOR;
        sim_answer(world, index);
        return;
    }
    switch (request->api) {
    case SIM_INIT:
        txn_init(world, request);
        break;
    case SIM_ADD_PARTITIONS:
    case SIM_ADD_OFFSETS:
        txn_add(world, request);
        break;
    case SIM_PRODUCE:
        produce(world, request);
        break;
    case SIM_TXN_OFFSETS:
        txn_offsets(world, request);
        break;
    case SIM_END_TXN:
        txn_end(world, request);
        break;
    case SIM_FETCH_OFFSETS:
        sim_group_fetch(world, request);
        break;
    case SIM_COMMIT_OFFSETS:
        sim_group_commit(world, request);
        break;
    case SIM_HEARTBEAT:
        sim_group_heartbeat(world, request);
        break;
    case SIM_JOIN:
        if (!sim_group_join(world, index)) return;
        break;
    case SIM_APIS:
        break;
    }
    sim_answer(world, index);
}

/* Of the state topic, as the cleaner does: what is decided and has a later record of its key goes, and so does what was
 * aborted. Keys: generation of the snapshot, then the chunk or the manifest. */
static void compact(struct sim_kafka *kafka)
{
    struct sim_log *const log = &kafka->log[SIM_LOG_STATE];
    const int stable = sim_kafka_stable(kafka, SIM_LOG_STATE);
    bool is_seen[4][2][32] = {0};
    for (int e = stable - 1; e >= 0; e--) {
        struct sim_entry *const entry = &log->entry[e];
        if (entry->is_marker) continue;
        bool *const seen =
            &is_seen[entry->record.snapshot % 4][entry->record.kind == SIM_CHUNK][entry->record.index % 32];
        if (entry->decision == SIM_ABORTED || *seen) entry->is_gone = true;
        if (entry->decision == SIM_COMMITTED) *seen = true;
    }
}

void sim_kafka_tick(struct sim_world *world)
{
    struct sim_kafka *const kafka = world->kafka;
    for (uint32_t i = 0; i < SIM_INSTANCES_MAX; i++) {
        struct sim_txn *const txn = &kafka->txn[i];
        if (txn->state != SIM_TXN_ONGOING || world->now_ms - txn->since_ms < SIM_TRANSACTION_MS) continue;
        sim_say(world, "kafka: the transaction of id %u takes too long", i);
        txn->epoch++;
        txn_decide(world, i, false);
    }
    sim_group_tick(world);
    if (world->plan.learns && sim_chance(world, 100)) compact(kafka);
    sim_event_add(world, world->now_ms + sim_between(world, 200, 600), SIM_EV_TICK, -1, 0, 0);
}
