#include "sim/schedule.h"

#include <string.h>

#include "sim/fake_kafka.h"
#include "sim/instance.h"
#include "sim/plan.h"

#define SETTLE_MS 14000  /* after the last fault: until every request that was held has come */
#define STUCK_MS  120000 /* after the last fault: by then all must be done */

static bool twin_is_alive(const struct sim_world *world, int index)
{
    for (int i = 0; i < world->plan.instances; i++)
        if (i != index && world->instance[i].is_alive && world->plan.id[i] == world->plan.id[index]) return true;
    return false;
}

/* Who ended is started again, as a supervisor does: unless it stopped because a promise does not hold, or was fenced by
 * one that lives. */
static void supervise(struct sim_world *world, int index, bool was_killed)
{
    struct sim_instance *const instance = &world->instance[index];
    int64_t ms = sim_between(world, 50, 4000);
    sim_say(world, "i%d  is gone: %s", index, was_killed ? "killed" : mr_status_name(instance->exit));
    if (!was_killed && instance->exit == MR_EINVARIANT) {
        if (!world->planted.meddles) sim_violate(world, "i%d stopped for no reason: %s", index, instance->err.text);
        return;
    }
    if (!was_killed && instance->exit == MR_EFENCED) {
        ms += 3000;
        if (twin_is_alive(world, index)) {
            instance->is_retired = true;
            return;
        }
    }
    if (!was_killed && instance->exit == MR_EKAFKA) sim_violate(world, "i%d was refused", index);
    sim_event_add(world, world->now_ms + ms, SIM_EV_START, -1, (uint32_t)index, 0);
}

static void kill_instance(struct sim_world *world, int index)
{
    if (!world->instance[index].is_alive) return;
    sim_instance_end(world, index);
    world->counts.killed++;
    supervise(world, index, true);
}

static void meddle(struct sim_world *world)
{
    struct sim_kafka *const kafka = world->kafka;
    kill_instance(world, 0);
    for (int p = 0; p < world->plan.partitions; p++) {
        if (kafka->committed[p] <= 0) continue;
        kafka->committed[p] = (int16_t)(kafka->committed[p] - 1);
        sim_say(world, "somebody sets the group's offset of partition %d back to %d", p, kafka->committed[p]);
        return;
    }
    world->planted.meddles = false; /* there was nothing to move */
}

static void fault_strike(struct sim_world *world, const struct sim_fault *fault)
{
    struct sim_instance *const instance = &world->instance[fault->instance];
    switch (fault->kind) {
    case SIM_KILL:
        kill_instance(world, fault->instance);
        return;
    case SIM_PAUSE:
        if (!instance->is_alive) return;
        sim_say(world, "i%d  is stopped for %lld ms", fault->instance, (long long)fault->length_ms);
        instance->paused_until_ms = world->now_ms + fault->length_ms;
        world->counts.paused++;
        return;
    case SIM_STOP:
        if (!instance->is_alive) return;
        sim_say(world, "i%d  is asked to stop", fault->instance);
        instance->must_stop = true;
        return;
    case SIM_REBALANCE:
        sim_group_rebalance(world, "somebody wants it");
        return;
    case SIM_DOWN:
        world->kafka->down_until_ms = world->now_ms + fault->length_ms;
        sim_say(world, "kafka goes down");
        return;
    case SIM_MOVE:
        world->kafka->moving_until_ms = world->now_ms + fault->length_ms;
        sim_say(world, "coordinators move");
        return;
    case SIM_MEDDLE:
        meddle(world);
    }
}

static void instance_event(struct sim_world *world, const struct sim_event *event)
{
    struct sim_instance *const instance = &world->instance[event->instance];
    switch (event->kind) {
    case SIM_EV_WAKE:
        if (event->a != instance->wait) return;
        sim_instance_run(world, event->instance);
        if (!instance->is_alive) supervise(world, event->instance, false);
        return;
    case SIM_EV_ANSWER:
        sim_client_answer(&instance->client, &world->request[event->a]);
        sim_request_free(world, event->a);
        return;
    case SIM_EV_TIMEOUT:
        sim_client_timeout(&instance->client, event->a, event->b);
        return;
    case SIM_EV_RETRY:
        sim_client_retry(&instance->client, event->a, event->b);
        return;
    case SIM_EV_BEAT:
        sim_client_beat(&instance->client, event->a, event->b);
        return;
    default:
        return;
    }
}

static void event_handle(struct sim_world *world, const struct sim_event *event)
{
    if (event->instance >= 0) {
        const struct sim_instance *const instance = &world->instance[event->instance];
        if (!instance->is_alive || instance->life != event->life) {
            if (event->kind == SIM_EV_ANSWER) sim_request_free(world, event->a);
        } else if (world->now_ms < instance->paused_until_ms) {
            sim_event_put_back(world, *event, instance->paused_until_ms + sim_between(world, 0, 3));
        } else {
            instance_event(world, event);
        }
        return;
    }
    switch (event->kind) {
    case SIM_EV_ARRIVAL:
        sim_kafka_arrival(world, event->a);
        return;
    case SIM_EV_MARKER:
        sim_kafka_marker(world, event->a, event->b);
        return;
    case SIM_EV_TICK:
        sim_kafka_tick(world);
        return;
    case SIM_EV_JOINED:
        sim_group_joined(world, (int)event->a);
        return;
    case SIM_EV_FAULT:
        fault_strike(world, &world->plan.fault[event->a]);
        return;
    case SIM_EV_START:
        if (!world->instance[event->a].is_alive) sim_instance_start(world, (int)event->a);
        return;
    default:
        return;
    }
}

static bool is_done(const struct sim_world *world)
{
    if (world->now_ms < world->plan.calm_ms + SETTLE_MS) return false;
    if (world->planted.meddles && !world->instance[0].is_alive && world->instance[0].exit == MR_EINVARIANT) return true;
    for (int p = 0; p < world->plan.partitions; p++)
        if (world->kafka->committed[p] != world->plan.records[p]) return false;
    for (int l = 0; l < SIM_LOGS; l++)
        if (sim_kafka_stable(world->kafka, l) != world->kafka->log[l].count) return false;
    return !sim_kafka_is_busy(world->kafka);
}

static void stuck(struct sim_world *world)
{
    const struct sim_kafka *const kafka = world->kafka;
    for (int l = 0; l < SIM_LOGS; l++)
        if (sim_kafka_stable(kafka, l) != kafka->log[l].count)
            sim_violate(world, "stuck: an open transaction that nobody ends holds up log %d", l);
    for (int p = 0; p < world->plan.partitions; p++)
        if (kafka->committed[p] != world->plan.records[p])
            sim_violate(world, "stuck: partition %d is committed to %d of %d", p, kafka->committed[p],
                        world->plan.records[p]);
    sim_violate(world, "stuck");
}

bool sim_schedule_run(struct sim_world *world, uint64_t seed, const struct sim_planted *planted)
{
    struct sim_event event;
    sim_world_reset(world, seed);
    if (planted) world->planted = *planted;
    sim_plan_make(world);
    sim_plan_say(world);
    for (int i = 0; i < world->plan.instances; i++)
        sim_event_add(world, i && sim_chance(world, 500) ? sim_between(world, 0, world->plan.calm_ms) : 0, SIM_EV_START,
                      -1, (uint32_t)i, 0);
    for (unsigned f = 0; f < world->plan.fault_count; f++)
        if (!world->plan.fault[f].is_at_request)
            sim_event_add(world, world->plan.fault[f].at_ms, SIM_EV_FAULT, -1, f, 0);
    sim_event_add(world, 300, SIM_EV_TICK, -1, 0, 0);
    while (!world->violation[0] && sim_event_take(world, &event)) {
        event_handle(world, &event);
        if (is_done(world)) break;
        if (world->now_ms > world->plan.calm_ms + STUCK_MS) stuck(world);
    }
    if (!world->violation[0]) sim_oracle(world);
    sim_say(world, "%s", world->violation[0] ? world->violation : "all promises were kept");
    return !world->violation[0];
}

bool *sim_planted_find(struct sim_planted *planted, const char *name)
{
    const struct {
        const char *name;
        bool *is_on;
    } row[] = {
        {"keeps-dirty", &planted->keeps_dirty},
        {"offsets-outside", &planted->offsets_outside},
        {"compares-nothing", &planted->compares_nothing},
        {"meddles", &planted->meddles},
        {"ignores-acks", &planted->ignores_acks},
        {"ignores-revoke", &planted->ignores_revoke},
        {"restores-to-lso", &planted->restores_to_lso},
        {"restores-early", &planted->restores_early},
        {"caches-group", &planted->caches_group},
        {"no-generation", &planted->no_generation},
        {"no-verification", &planted->no_verification},
        {"keeps-model", &planted->keeps_model},
        {"fetches-own", &planted->fetches_own},
        {"ignores-break", &planted->ignores_break},
        {"data-only", &planted->data_only},
    };
    for (size_t r = 0; r < sizeof row / sizeof row[0]; r++)
        if (strcmp(row[r].name, name) == 0) return row[r].is_on;
    return NULL;
}
