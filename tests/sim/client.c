/* Calls: a request that is sent until it is answered, or until time is up. */
#include "sim/client.h"

#include "sim/instance.h"

static bool is_transactional(sim_api api)
{
    return api >= SIM_ADD_PARTITIONS && api <= SIM_END_TXN;
}

static void call_send(struct sim_client *client, uint32_t slot)
{
    static struct sim_request request;
    struct sim_world *const world = client->world;
    struct sim_call *const call = &client->call[slot];
    call->ticket = ++world->last_ticket;
    if (call->tries++ && call->api == SIM_END_TXN) client->is_dirty = true;
    request = (struct sim_request){.api = call->api,
                                   .instance = client->instance,
                                   .life = world->instance[client->instance].life,
                                   .slot = slot,
                                   .ticket = call->ticket,
                                   .id = client->id,
                                   .handle = client->handle,
                                   .txn = client->txn,
                                   .epoch = client->epoch};
    if (slot < SIM_CALL_GROUP) sim_producer_fill(client, slot, &request);
    sim_consumer_fill(client, slot, &request);
    sim_send(world, &request);
    sim_event_add(world, world->now_ms + (call->api == SIM_JOIN ? SIM_REBALANCE_MS + 3000 : SIM_SOCKET_MS),
                  SIM_EV_TIMEOUT, client->instance, slot, call->ticket);
}

void sim_call_start(struct sim_client *client, uint32_t slot, sim_api api, int64_t give_up_ms)
{
    client->call[slot] =
        (struct sim_call){.api = api, .is_active = true, .give_up_ms = client->world->now_ms + give_up_ms};
    call_send(client, slot);
}

static void call_done(struct sim_client *client, uint32_t slot, sim_error error, const struct sim_request *answer)
{
    struct sim_call *const call = &client->call[slot];
    call->is_active = false;
    call->error = error;
    if (slot < SIM_CALL_GROUP)
        sim_producer_done(client, slot, answer);
    else
        sim_consumer_done(client, slot, answer);
    sim_instance_wake(client->world, client->instance);
}

bool sim_call_wait(struct sim_client *client, uint32_t slot, int64_t longest_ms)
{
    const int64_t until = client->world->now_ms + longest_ms;
    while (client->call[slot].is_active) {
        if (client->world->now_ms >= until) return false;
        sim_instance_wait(client->world, client->instance, until);
    }
    return true;
}

/* The same request again, a little later; unless it is too late. */
static void call_again(struct sim_client *client, uint32_t slot, const struct sim_request *answer)
{
    struct sim_world *const world = client->world;
    struct sim_call *const call = &client->call[slot];
    if (world->now_ms >= call->give_up_ms) {
        call_done(client, slot, SIM_TIMED_OUT, answer);
        return;
    }
    sim_event_add(world, world->now_ms + sim_between(world, 10, 100), SIM_EV_RETRY, client->instance, slot,
                  call->ticket);
}

void sim_client_answer(struct sim_client *client, const struct sim_request *answer)
{
    struct sim_call *const call = &client->call[answer->slot];
    if (!call->is_active || call->ticket != answer->ticket) return; /* nobody waits for it any more */
    switch (answer->error) {
    case SIM_CONCURRENT:
    case SIM_NOT_COORDINATOR:
    case SIM_UNSTABLE: /* answered: no copy of it can come late, so that the epoch stays clean */
        call_again(client, answer->slot, answer);
        return;
    default:
        call_done(client, answer->slot, answer->error, answer);
    }
}

void sim_client_timeout(struct sim_client *client, uint32_t slot, uint32_t ticket)
{
    struct sim_call *const call = &client->call[slot];
    if (!call->is_active || call->ticket != ticket) return;
    call->ticket = ++client->world->last_ticket; /* an answer that comes now finds a closed connection */
    sim_say(client->world, "i%d    %s #%u: no answer in time", client->instance, sim_api_name(call->api), ticket);
    if (is_transactional(call->api)) client->is_dirty = true;
    call_again(client, slot, NULL);
}

void sim_client_retry(struct sim_client *client, uint32_t slot, uint32_t ticket)
{
    const struct sim_call *const call = &client->call[slot];
    if (call->is_active && call->ticket == ticket) call_send(client, slot);
}
