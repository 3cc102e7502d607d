/* The group: members, generations, offsets. The broker assigns: partition p to the p-th member, round. */
#include <string.h>

#include "sim/fake_kafka.h"

static struct sim_member *member_find(struct sim_kafka *kafka, uint32_t member)
{
    for (int m = 0; m < SIM_MEMBERS_MAX; m++)
        if (member && kafka->member[m].member == member) return &kafka->member[m];
    return NULL;
}

static struct sim_member *static_find(struct sim_kafka *kafka, int static_id)
{
    for (int m = 0; m < SIM_MEMBERS_MAX; m++)
        if (static_id >= 0 && kafka->member[m].member && kafka->member[m].static_id == static_id)
            return &kafka->member[m];
    return NULL;
}

static sim_error member_check(struct sim_kafka *kafka, const struct sim_request *request)
{
    const struct sim_member *const holder = static_find(kafka, request->static_id);
    if (holder && holder->member != request->member) return SIM_FENCED_INSTANCE;
    if (!member_find(kafka, request->member)) return SIM_UNKNOWN_MEMBER;
    return request->generation == kafka->generation ? SIM_OK : SIM_ILLEGAL_GENERATION;
}

/* A request that waits for the group is answered. */
static void parked_answer(struct sim_world *world, struct sim_member *member, sim_error error)
{
    if (!member->parked) return;
    struct sim_request *const request = &world->request[member->parked - 1];
    request->error = error;
    request->member = member->member;
    request->generation = world->kafka->generation;
    request->assigned = member->assigned;
    sim_answer(world, member->parked - 1);
    member->parked = 0;
}

void sim_group_rebalance(struct sim_world *world, const char *why)
{
    struct sim_kafka *const kafka = world->kafka;
    if (kafka->group == SIM_GROUP_EMPTY || kafka->group == SIM_GROUP_JOINING) return;
    sim_say(world, "group rebalances: %s", why);
    for (int m = 0; m < SIM_MEMBERS_MAX; m++) {
        parked_answer(world, &kafka->member[m], SIM_REBALANCING);
        kafka->member[m].has_joined = false;
    }
    kafka->group = SIM_GROUP_JOINING;
    kafka->joining_until_ms = world->now_ms + SIM_REBALANCE_MS;
}

/* Everybody who is still expected has come: a new generation. */
static void joining_end(struct sim_world *world)
{
    struct sim_kafka *const kafka = world->kafka;
    int count = 0, next = 0;
    for (int m = 0; m < SIM_MEMBERS_MAX; m++) count += kafka->member[m].member != 0;
    kafka->generation++;
    kafka->group = count ? SIM_GROUP_SYNCING : SIM_GROUP_EMPTY;
    for (int m = 0; m < SIM_MEMBERS_MAX; m++) {
        struct sim_member *const member = &kafka->member[m];
        if (!member->member) continue;
        member->assigned = 0;
        for (int p = 0; p < world->plan.partitions; p++)
            if (p % count == next) member->assigned |= 1u << p;
        next++;
        sim_say(world, "group generation %d: member %u (static %d) gets partitions 0x%x", kafka->generation,
                member->member, member->static_id, member->assigned);
    }
    if (count)
        sim_event_add(world, world->now_ms + sim_between(world, 0, 30), SIM_EV_JOINED, -1, (uint32_t)kafka->generation,
                      0);
}

static void joining_check(struct sim_world *world)
{
    struct sim_kafka *const kafka = world->kafka;
    if (kafka->group != SIM_GROUP_JOINING) return;
    bool is_due = world->now_ms >= kafka->joining_until_ms, is_complete = true;
    for (int m = 0; m < SIM_MEMBERS_MAX; m++) {
        struct sim_member *const member = &kafka->member[m];
        if (!member->member || member->has_joined) continue;
        if (is_due)
            *member = (struct sim_member){0};
        else
            is_complete = false;
    }
    if (is_complete) joining_end(world);
}

void sim_group_joined(struct sim_world *world, int generation)
{
    struct sim_kafka *const kafka = world->kafka;
    if (kafka->group != SIM_GROUP_SYNCING || kafka->generation != generation) return;
    kafka->group = SIM_GROUP_STABLE;
    for (int m = 0; m < SIM_MEMBERS_MAX; m++) {
        kafka->member[m].seen_ms = world->now_ms;
        parked_answer(world, &kafka->member[m], SIM_OK);
    }
}

static struct sim_member *member_add(struct sim_world *world, int static_id)
{
    struct sim_kafka *const kafka = world->kafka;
    for (int m = 0; m < SIM_MEMBERS_MAX; m++) {
        struct sim_member *const member = &kafka->member[m];
        if (member->member) continue;
        *member = (struct sim_member){.member = ++kafka->last_member, .static_id = static_id, .seen_ms = world->now_ms};
        return member;
    }
    return NULL;
}

bool sim_group_join(struct sim_world *world, uint32_t index)
{
    struct sim_kafka *const kafka = world->kafka;
    struct sim_request *const request = &world->request[index];
    struct sim_member *const holder = static_find(kafka, request->static_id);
    struct sim_member *member = member_find(kafka, request->member);
    if (request->member && holder && holder != member) {
        request->error = SIM_FENCED_INSTANCE;
        return true;
    }
    if (request->member && !member) {
        if (request->generation != SIM_FIRST_JOIN || !(member = member_add(world, -1))) {
            request->error = SIM_UNKNOWN_MEMBER;
            return true;
        }
        member->member = request->member;
    }
    if (!member && holder) { /* a static member comes back: who had its place is fenced, its share stays */
        parked_answer(world, holder, SIM_FENCED_INSTANCE);
        holder->member = ++kafka->last_member;
        holder->seen_ms = world->now_ms;
        member = holder;
        sim_say(world, "group: static member %d is now member %u", request->static_id, member->member);
        if (kafka->group == SIM_GROUP_STABLE) {
            member->parked = index + 1;
            parked_answer(world, member, SIM_OK);
            return false;
        }
    } else if (!member && request->static_id < 0) { /* no member before it comes back with an id */
        request->member = ++kafka->last_member;
        request->error = SIM_MEMBER_ID_REQUIRED;
        return true;
    } else if (!member && !(member = member_add(world, request->static_id))) {
        request->error = SIM_NOT_COORDINATOR;
        return true;
    }
    if (kafka->group != SIM_GROUP_JOINING) sim_group_rebalance(world, "a member joins");
    kafka->group = SIM_GROUP_JOINING;
    if (member->parked) sim_request_free(world, member->parked - 1); /* the client has asked again */
    member->parked = index + 1;
    member->has_joined = true;
    member->seen_ms = world->now_ms;
    joining_check(world);
    return false;
}

void sim_group_heartbeat(struct sim_world *world, struct sim_request *request)
{
    struct sim_kafka *const kafka = world->kafka;
    request->error = member_check(kafka, request);
    if (request->error) return;
    member_find(kafka, request->member)->seen_ms = world->now_ms;
    if (kafka->group == SIM_GROUP_JOINING) request->error = SIM_REBALANCING;
}

void sim_group_fetch(struct sim_world *world, struct sim_request *request)
{
    struct sim_kafka *const kafka = world->kafka;
    for (int i = 0; i < SIM_INSTANCES_MAX; i++)
        for (int p = 0; p < world->plan.partitions; p++)
            if ((request->assigned >> p & 1) && kafka->pending[i].is_there && kafka->pending[i].next[p] >= 0)
                request->error = SIM_UNSTABLE;
    memcpy(request->next, kafka->committed, sizeof request->next);
}

/* Offsets that are committed outside of transactions: only a planted fault does. */
void sim_group_commit(struct sim_world *world, struct sim_request *request)
{
    struct sim_kafka *const kafka = world->kafka;
    request->error = member_check(kafka, request);
    for (int p = 0; p < SIM_PARTITIONS_MAX && !request->error; p++)
        if (request->next[p] >= 0) kafka->committed[p] = request->next[p];
}

void sim_group_txn_offsets(struct sim_world *world, struct sim_request *request)
{
    struct sim_kafka *const kafka = world->kafka;
    /* Who says nothing about itself is an old client, and is let through. */
    if (request->generation < 0 && !request->member && request->static_id < 0) return;
    request->error = member_check(kafka, request);
    if (!request->error && world->plan.rebalance_refuses &&
        (kafka->group == SIM_GROUP_JOINING || kafka->group == SIM_GROUP_SYNCING))
        request->error = SIM_REBALANCING;
}

void sim_group_decide(struct sim_world *world, uint32_t id, bool commits)
{
    struct sim_kafka *const kafka = world->kafka;
    struct sim_pending_offsets *const pending = &kafka->pending[id];
    for (int p = 0; p < SIM_PARTITIONS_MAX && pending->is_there && commits; p++) {
        if (pending->next[p] < 0 || pending->entry[p] < kafka->committed_by[p]) continue;
        sim_say(world, "group offset of partition %d: %d -> %d", p, kafka->committed[p], pending->next[p]);
        kafka->committed[p] = pending->next[p];
        kafka->committed_by[p] = pending->entry[p];
    }
    pending->is_there = false;
}

void sim_group_tick(struct sim_world *world)
{
    struct sim_kafka *const kafka = world->kafka;
    for (int m = 0; m < SIM_MEMBERS_MAX; m++) {
        struct sim_member *const member = &kafka->member[m];
        if (!member->member || member->parked || world->now_ms - member->seen_ms < SIM_SESSION_MS) continue;
        sim_say(world, "group: nothing heard of member %u", member->member);
        *member = (struct sim_member){0};
        if (kafka->group != SIM_GROUP_JOINING) sim_group_rebalance(world, "a member is gone");
    }
    joining_check(world);
}
