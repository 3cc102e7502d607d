#include "sim/instance.h"

#include <string.h>

#include "fibre/fibre.h"
#include "sim/fake_kafka.h"

void sim_instance_reset(struct sim_world *world, int index)
{
    struct sim_instance *const instance = &world->instance[index];
    struct fibre *const fibre = instance->fibre;
    memset(instance, 0, offsetof(struct sim_instance, client));
    instance->world = world;
    instance->index = index;
    instance->fibre = fibre;
}

void sim_instance_wait(struct sim_world *world, int index, int64_t until_ms)
{
    struct sim_instance *const instance = &world->instance[index];
    instance->is_waiting = true;
    sim_event_add(world, until_ms, SIM_EV_WAKE, index, ++instance->wait, 0);
    fibre_yield(instance->fibre);
}

void sim_instance_wake(struct sim_world *world, int index)
{
    struct sim_instance *const instance = &world->instance[index];
    if (instance->is_waiting) sim_event_add(world, world->now_ms, SIM_EV_WAKE, index, instance->wait, 0);
    instance->is_waiting = false; /* once is enough */
}

void sim_instance_count(struct sim_world *world, const struct sim_request *request)
{
    const unsigned count = ++world->instance[request->instance].sent_requests[request->api];
    for (unsigned f = 0; f < world->plan.fault_count; f++) {
        const struct sim_fault *const fault = &world->plan.fault[f];
        if (fault->is_at_request && fault->instance == request->instance && fault->api == request->api &&
            fault->count == count && world->now_ms < world->plan.calm_ms)
            sim_event_add(world, world->now_ms + sim_between(world, 0, 8), SIM_EV_FAULT, -1, f, 0);
    }
}

bool sim_instance_is_over(const struct sim_world *world, const struct sim_request *request)
{
    const struct sim_instance *const instance = &world->instance[request->instance];
    const struct sim_call *const call = &instance->client.call[request->slot];
    return !instance->is_alive || instance->life != request->life || !call->is_active ||
           call->ticket != request->ticket;
}

void sim_instance_send(struct sim_instance *instance, int log, const struct sim_record *record)
{
    instance->flight.sent++;
    sim_client_produce(&instance->client, log, record);
}

static bool flight_is_empty(const struct sim_instance *instance)
{
    return instance->flight.in == 0;
}

static void flight_reset(struct sim_instance *instance)
{
    instance->flight = (struct sim_flight){.commit_at_ms = INT64_MAX};
    for (int p = 0; p < SIM_PARTITIONS_MAX; p++) instance->flight.next[p] = -1;
}

/* Waits for the acknowledgements, and commits. */
static mr_status flight_end(struct sim_instance *instance)
{
    struct sim_world *const world = instance->world;
    struct sim_flight *const flight = &instance->flight;
    const struct sim_client *const client = &instance->client;
    const int64_t give_up_ms = world->now_ms + SIM_MESSAGE_MS + 2000;
    struct mr_position position[SIM_PARTITIONS_MAX];
    struct mr_commit_batch batch = {.position = position};
    if (world->plan.learns && !flight_is_empty(instance)) sim_state_write(instance);
    while (client->acknowledged + client->failed < flight->sent && world->now_ms < give_up_ms)
        sim_instance_wait(world, instance->index, give_up_ms);
    for (int p = 0; p < world->plan.partitions; p++)
        if (flight->next[p] >= 0)
            position[batch.count++] = (struct mr_position){.partition = p, .next_offset = flight->next[p]};
    batch.in = flight->in;
    batch.out = flight->out;
    batch.dead = flight->dead;
    batch.filtered = flight->filtered;
    batch.sent = flight->sent;
    batch.acknowledged = world->planted.ignores_acks || !flight->sent ? flight->sent : client->acknowledged;
    const struct mr_commit before = instance->commit;
    const mr_status status = mr_commit_end(&instance->commit, &batch, &instance->err);
    world->counts.commits += instance->commit.committed - before.committed;
    world->counts.recycled += instance->commit.recycled - before.recycled;
    sim_say(world, "i%d  commit of %llu records: %s%s%s", instance->index, (unsigned long long)flight->in,
            mr_status_name(status), status ? ": " : "", status ? instance->err.text : "");
    if (!status && world->planted.offsets_outside && batch.count) sim_client_commit(&instance->client);
    if (!status) flight_reset(instance);
    return status;
}

static void record_send(struct sim_instance *instance, int partition, int offset)
{
    struct sim_record record = {
        .partition = (int16_t)partition, .offset = (int16_t)offset, .version = instance->model.version};
    instance->flight.in++;
    switch (sim_fate_of(partition, offset)) {
    case SIM_IS_FILTERED:
        instance->flight.filtered++;
        return;
    case SIM_IS_DEAD:
        record.kind = SIM_DEAD;
        instance->flight.dead++;
        sim_instance_send(instance, SIM_LOG_DEAD, &record);
        return;
    case SIM_IS_OUTPUT:
        record.kind = SIM_OUTPUT;
        instance->flight.out++;
        sim_instance_send(instance, partition, &record);
    }
}

/* One batch of one partition: scored, and then learned from. */
static mr_status batch_take(struct sim_instance *instance, int p, int count)
{
    struct sim_world *const world = instance->world;
    struct sim_flight *const flight = &instance->flight;
    const int16_t from = instance->position[p], to = (int16_t)(from + count);
    const mr_status status = mr_commit_begin(&instance->commit, &instance->err);
    if (status) return status;
    if (flight_is_empty(instance))
        flight->commit_at_ms = world->now_ms + sim_between(world, 20, world->plan.interval_max_ms);
    sim_say(world, "i%d  takes partition %d, %d to %d", instance->index, p, from, to - 1);
    for (int o = from; o < to; o++) {
        record_send(instance, p, o);
        if (world->plan.learns) instance->model.hash = sim_learn(instance->model.hash, p, o);
    }
    instance->model.version++;
    flight->range[flight->range_count++] = (struct sim_range){.partition = (int16_t)p, .from = from, .to = to};
    instance->position[p] = flight->next[p] = instance->model.next[p] = to;
    sim_instance_wait(world, instance->index, world->now_ms + sim_between(world, 0, 15)); /* the work itself */
    return MR_OK;
}

/* Records that are there to be taken, from any of its partitions; 0: none. */
static int poll_records(struct sim_instance *instance, int *partition_out)
{
    struct sim_world *const world = instance->world;
    const struct sim_plan *const plan = &world->plan;
    const int start = (int)sim_between(world, 0, plan->partitions - 1);
    if (!instance->is_placed || instance->flight.range_count == SIM_RANGES_MAX) return 0;
    /* Trainers of which only one may write, and that do not fence each other: who has all of the input. */
    if (plan->takes_over && instance->client.assigned != (1u << plan->partitions) - 1) return 0;
    for (int i = 0; i < plan->partitions; i++) {
        const int p = (start + i) % plan->partitions, from = instance->position[p];
        const int most = (int)sim_between(world, 1, 4);
        int count = 0;
        if (!(instance->client.assigned >> p & 1)) continue;
        while (count < most && from + count < plan->records[p] && plan->available_ms[p][from + count] <= world->now_ms)
            count++;
        *partition_out = p;
        if (count) return count;
    }
    return 0;
}

static mr_status state_compare(struct sim_instance *instance)
{
    const struct sim_world *const world = instance->world;
    if (world->planted.compares_nothing) return MR_OK;
    for (int p = 0; p < world->plan.partitions; p++) {
        const int group = instance->client.fetched[p] < 0 ? 0 : instance->client.fetched[p];
        if (instance->model.next[p] != group)
            return mr_fail(&instance->err, MR_EINVARIANT, "partition %d: the state stands at %d, the group at %d", p,
                           instance->model.next[p], group);
    }
    return MR_OK;
}

/*
 * The state and the group's offsets are read one after the other, and another trainer may commit in between: one that
 * has taken this one's place, which does not know it yet, or one that was there before. So a difference is one only if
 * it is the same when both are read again.
 */
static mr_status state_settle(struct sim_instance *instance, bool is_restored)
{
    const bool gives_up = instance->world->planted.restores_early;
    int16_t group[SIM_PARTITIONS_MAX], state[SIM_PARTITIONS_MAX];
    for (bool is_first = true;; is_first = false) {
        mr_status status = is_restored ? MR_OK : sim_state_restore(instance);
        if (!status) status = state_compare(instance);
        if (status != MR_EINVARIANT || gives_up) return status;
        if (!is_first && memcmp(group, instance->client.fetched, sizeof group) == 0 &&
            memcmp(state, instance->model.next, sizeof state) == 0)
            return status;
        memcpy(group, instance->client.fetched, sizeof group);
        memcpy(state, instance->model.next, sizeof state);
        is_restored = false;
        if (!sim_client_fetch(&instance->client)) return MR_AGAIN;
    }
}

/* A share has come: where to read on, and with which model. */
static mr_status share_take(struct sim_instance *instance)
{
    const struct sim_world *const world = instance->world;
    struct sim_client *const client = &instance->client;
    mr_status status = MR_OK;
    client->has_news = false;
    if (!sim_client_fetch(client)) return MR_OK; /* it leaves already */
    if (world->plan.learns && (client->assigned == (1u << world->plan.partitions) - 1 || !world->plan.takes_over))
        status = state_settle(instance, world->plan.restores_early || world->planted.restores_early);
    if (status == MR_AGAIN) return MR_OK;
    for (int p = 0; p < SIM_PARTITIONS_MAX; p++)
        instance->position[p] = client->fetched[p] < 0 ? 0 : client->fetched[p];
    instance->is_placed = !status;
    return status;
}

/* What the group wants. */
static mr_status group_serve(struct sim_instance *instance)
{
    struct sim_client *const client = &instance->client;
    mr_status status = MR_OK;
    if (client->is_fenced)
        return mr_fail(&instance->err, MR_EFENCED, "another member has taken this one's place in the group");
    if (client->leave != SIM_STAYS) {
        const bool is_lost = client->leave == SIM_IS_LOST;
        sim_say(instance->world, "i%d  partitions %s", instance->index, is_lost ? "are lost" : "are revoked");
        instance->world->counts.lost += is_lost;
        instance->world->counts.revoked += !is_lost;
        if (!instance->world->planted.ignores_revoke && !flight_is_empty(instance)) {
            if (is_lost) mr_commit_break(&instance->commit);
            status = flight_end(instance);
        }
        if (status) return status;
        instance->is_placed = false;
        sim_client_join(client);
    }
    return client->has_news ? share_take(instance) : MR_OK;
}

void sim_instance_idle(struct sim_world *world, int index)
{
    struct sim_instance *const instance = &world->instance[index];
    if (instance->client.leave == SIM_STAYS) return;
    sim_say(world, "i%d  partitions leave in the middle", index);
    world->counts.in_the_middle++;
    instance->must_restart = true;
    if (!world->planted.ignores_break) mr_commit_break(&instance->commit);
    sim_client_join(&instance->client);
}

static mr_status lane_step(struct sim_instance *instance)
{
    struct sim_world *const world = instance->world;
    int partition = 0;
    if (instance->must_restart)
        return mr_fail(&instance->err, MR_ERESTART, "partitions left before their records were committed");
    mr_status status = group_serve(instance);
    if (status) return status;
    const int count = instance->must_stop ? 0 : poll_records(instance, &partition);
    if (count) status = batch_take(instance, partition, count);
    if (status) return status;
    if (instance->must_stop || world->now_ms >= instance->flight.commit_at_ms ||
        instance->flight.range_count == SIM_RANGES_MAX) {
        status = flight_end(instance);
        return !status && instance->must_stop ? MR_END : status;
    }
    if (count) return MR_OK;
    const int64_t idle_ms = flight_is_empty(instance) ? 200 : instance->flight.commit_at_ms - world->now_ms;
    sim_instance_wait(world, instance->index, world->now_ms + (idle_ms < 200 ? idle_ms : 200));
    return MR_OK;
}

/* From nothing to the first thing that goes wrong: every failure leads back here. */
static mr_status lane_run(struct sim_instance *instance)
{
    flight_reset(instance);
    instance->is_placed = instance->must_restart = false;
    instance->model = (struct sim_model){0};
    mr_status status = mr_commit_open(&instance->commit, &instance->err);
    const bool restores_early = instance->world->plan.restores_early || instance->world->planted.restores_early;
    if (!status && instance->world->plan.learns && restores_early) status = sim_state_restore(instance);
    if (!status) sim_client_join(&instance->client);
    while (!status) status = lane_step(instance);
    mr_commit_close(&instance->commit);
    sim_client_leave(&instance->client);
    return status;
}

static void instance_main(void *context)
{
    struct sim_instance *const instance = context;
    struct sim_world *const world = instance->world;
    mr_commit_init(&instance->commit, &sim_client_ops, &instance->client);
    instance->commit.keeps_dirty = world->planted.keeps_dirty;
    instance->commit.has_state = world->plan.learns && !world->planted.keeps_model;
    do {
        instance->exit = lane_run(instance);
        sim_say(world, "i%d  lane: %s", instance->index, instance->exit == MR_END ? "done" : instance->err.text);
        world->counts.restarts += instance->exit == MR_ERESTART;
        world->counts.fenced += instance->exit == MR_EFENCED;
        if (instance->exit == MR_ERESTART)
            sim_instance_wait(world, instance->index, world->now_ms + sim_between(world, 20, 300));
    } while (instance->exit == MR_ERESTART && !instance->must_stop);
}

void sim_instance_start(struct sim_world *world, int index)
{
    struct sim_instance *const instance = &world->instance[index];
    const uint32_t id = world->plan.id[index];
    instance->life++;
    instance->is_alive = true;
    instance->must_stop = instance->is_waiting = instance->is_retired = false;
    instance->paused_until_ms = 0;
    instance->exit = MR_OK;
    instance->client = (struct sim_client){
        .world = world, .instance = index, .id = id, .static_id = world->plan.is_static ? world->plan.seat[index] : -1};
    sim_say(world, "i%d  starts, id %u", index, id);
    fibre_start(instance->fibre, instance_main, instance);
    sim_instance_run(world, index);
}

void sim_instance_end(struct sim_world *world, int index)
{
    (void)world;
    world->instance[index].is_alive = false;
}

void sim_instance_run(struct sim_world *world, int index)
{
    struct sim_instance *const instance = &world->instance[index];
    instance->is_waiting = false;
    if (!fibre_run(instance->fibre)) instance->is_alive = false;
}
