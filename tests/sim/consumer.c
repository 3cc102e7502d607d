/* The consumer: joins, beats, and hears that its share leaves or is lost. */
#include <string.h>

#include "sim/client.h"
#include "sim/fake_kafka.h"
#include "sim/instance.h"

void sim_consumer_fill(struct sim_client *client, uint32_t slot, struct sim_request *request)
{
    const struct sim_planted *const planted = &client->world->planted;
    struct sim_instance *const instance = &client->world->instance[client->instance];
    request->member = client->member;
    request->generation = client->generation;
    request->static_id = client->static_id;
    request->assigned = client->assigned;
    /* The state speaks of all partitions: those of others must be as stable as its own. */
    if (client->world->plan.learns && !planted->fetches_own)
        request->assigned = (1u << client->world->plan.partitions) - 1;
    if (slot != SIM_CALL_SYNC) return;
    memcpy(request->next, instance->sent, sizeof request->next);
    if (planted->caches_group) {
        if (!client->cached_member) {
            client->cached_member = client->member;
            client->cached_generation = client->generation;
        }
        request->member = client->cached_member;
        request->generation = client->cached_generation;
    }
    if (planted->no_generation) {
        request->member = 0;
        request->generation = request->static_id = -1;
    }
}

void sim_client_join(struct sim_client *client)
{
    if (!client->consumer) {
        client->consumer = ++client->world->last_handle;
        client->member = 0;
        client->is_fenced = false;
        client->generation = SIM_FIRST_JOIN;
    }
    client->assigned = 0;
    client->is_member = client->has_news = false;
    client->leave = SIM_STAYS;
    client->call[SIM_CALL_BEAT].is_active = false;
    sim_call_start(client, SIM_CALL_GROUP, SIM_JOIN, INT32_MAX);
}

void sim_client_leave(struct sim_client *client)
{
    client->consumer = 0;
    client->is_member = client->has_news = client->is_fenced = false;
    client->leave = SIM_STAYS;
    client->assigned = 0;
    client->call[SIM_CALL_GROUP].is_active = client->call[SIM_CALL_BEAT].is_active = false;
}

static void joined(struct sim_client *client, const struct sim_request *answer)
{
    struct sim_world *const world = client->world;
    client->member = answer->member;
    client->generation = answer->generation;
    client->assigned = answer->assigned;
    client->is_member = client->has_news = true;
    client->heard_ms = world->now_ms;
    sim_say(world, "i%d  is member %u of generation %d, partitions 0x%x", client->instance, client->member,
            client->generation, client->assigned);
    sim_event_add(world, world->now_ms + sim_between(world, 300, 500), SIM_EV_BEAT, client->instance, client->consumer,
                  (uint32_t)client->generation);
}

static void join_done(struct sim_client *client, sim_error error, const struct sim_request *answer)
{
    switch (error) {
    case SIM_OK:
        joined(client, answer);
        return;
    case SIM_MEMBER_ID_REQUIRED:
        client->member = answer->member;
        client->generation = SIM_FIRST_JOIN;
        break;
    case SIM_FENCED_INSTANCE:
        client->is_fenced = true;
        return;
    case SIM_UNKNOWN_MEMBER:
        client->member = 0;
        break;
    default:
        break;
    }
    sim_call_start(client, SIM_CALL_GROUP, SIM_JOIN, INT32_MAX);
}

static void lose(struct sim_client *client)
{
    sim_say(client->world, "i%d  has lost its partitions", client->instance);
    client->leave = SIM_IS_LOST;
    client->member = 0;
}

static void beat_done(struct sim_client *client, sim_error error)
{
    if (!client->is_member) return;
    switch (error) {
    case SIM_OK:
        client->heard_ms = client->world->now_ms;
        return;
    case SIM_REBALANCING:
        client->heard_ms = client->world->now_ms;
        if (client->leave == SIM_STAYS) client->leave = SIM_MUST_REVOKE;
        return;
    case SIM_UNKNOWN_MEMBER:
    case SIM_ILLEGAL_GENERATION:
        lose(client);
        return;
    case SIM_FENCED_INSTANCE:
        client->is_fenced = true;
        return;
    default:
        return;
    }
}

void sim_consumer_done(struct sim_client *client, uint32_t slot, const struct sim_request *answer)
{
    const struct sim_call *const call = &client->call[slot];
    if (call->api == SIM_JOIN)
        join_done(client, call->error, answer);
    else if (call->api == SIM_HEARTBEAT)
        beat_done(client, call->error);
    else if (call->api == SIM_FETCH_OFFSETS && !call->error)
        memcpy(client->fetched, answer->next, sizeof client->fetched);
}

void sim_client_beat(struct sim_client *client, uint32_t consumer, uint32_t generation)
{
    struct sim_world *const world = client->world;
    if (client->consumer != consumer || !client->is_member || client->generation != (int)generation ||
        client->leave == SIM_IS_LOST)
        return;
    if (world->now_ms - client->heard_ms > SIM_SESSION_MS) {
        lose(client);
        sim_instance_wake(world, client->instance);
        return;
    }
    if (!client->call[SIM_CALL_BEAT].is_active) sim_call_start(client, SIM_CALL_BEAT, SIM_HEARTBEAT, 0);
    sim_event_add(world, world->now_ms + sim_between(world, 300, 500), SIM_EV_BEAT, client->instance, consumer,
                  generation);
}

bool sim_client_fetch(struct sim_client *client)
{
    sim_call_start(client, SIM_CALL_GROUP, SIM_FETCH_OFFSETS, INT32_MAX);
    while (client->call[SIM_CALL_GROUP].is_active) {
        if (client->leave != SIM_STAYS || client->is_fenced) return false;
        sim_instance_wait(client->world, client->instance, client->world->now_ms + 1000);
    }
    return client->call[SIM_CALL_GROUP].error == SIM_OK;
}

void sim_client_commit(struct sim_client *client)
{
    sim_call_start(client, SIM_CALL_SYNC, SIM_COMMIT_OFFSETS, 3000);
    sim_call_wait(client, SIM_CALL_SYNC, INT32_MAX);
}
