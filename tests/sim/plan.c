#include "sim/plan.h"

static void plan_roles(struct sim_world *world)
{
    struct sim_plan *const plan = &world->plan;
    const bool meddles = world->planted.meddles;
    plan->learns = meddles || sim_chance(world, 500);
    plan->takes_over = plan->learns && !meddles && sim_chance(world, 350);
    plan->partitions = plan->takes_over ? 1 : (int)sim_between(world, 1, SIM_PARTITIONS_MAX);
    plan->instances = plan->takes_over ? 2 : plan->learns ? 1 : (int)sim_between(world, 1, SIM_INSTANCES_MAX);
    for (int i = 0; i < SIM_INSTANCES_MAX; i++) plan->seat[i] = (int)(plan->id[i] = (uint32_t)i);
    if (!meddles && plan->instances < SIM_INSTANCES_MAX && sim_chance(world, 300)) {
        /* A second one with the id of the first; with its seat in the group, too, or one of its own. */
        plan->id[plan->instances] = 0;
        if (sim_chance(world, 500)) plan->seat[plan->instances] = 0;
        plan->instances++;
    }
    plan->is_static = plan->learns || sim_chance(world, 700);
    plan->restores_early = plan->learns && !plan->takes_over && sim_chance(world, 500);
    plan->epoch_fences = sim_chance(world, 500);
    plan->rebalance_refuses = sim_chance(world, 500);
    plan->snapshot_every = (unsigned)sim_between(world, 1, 6);
}

static void plan_input(struct sim_world *world)
{
    struct sim_plan *const plan = &world->plan;
    for (int p = 0; p < plan->partitions; p++) {
        int64_t at_ms = sim_between(world, 0, 1000);
        plan->records[p] = (int16_t)sim_between(world, 6, SIM_RECORDS_MAX);
        for (int o = 0; o < plan->records[p]; o++) {
            plan->available_ms[p][o] = at_ms;
            if (sim_chance(world, 500)) at_ms += sim_between(world, 0, 2 * plan->calm_ms / plan->records[p]);
        }
    }
}

static void plan_network(struct sim_world *world)
{
    static const unsigned often[] = {0, 0, 3, 10, 30, 80};
    struct sim_plan *const plan = &world->plan;
    plan->lose = often[sim_between(world, 0, 4)];
    plan->hold = often[sim_between(world, 0, 5)];
    plan->lose_answer = often[sim_between(world, 0, 4)];
    plan->slow = often[sim_between(world, 0, 5)];
    plan->fail_locally = sim_chance(world, 200) ? 5 : 0;
    plan->slow_markers = sim_chance(world, 500) ? 200 : 0;
    plan->hold_max_ms = sim_between(world, 1500, 12000);
    plan->interval_max_ms = sim_between(world, 30, 600);
    plan->apis = (1u << SIM_APIS) - 1;
    if (sim_chance(world, 30) || world->planted.ignores_break) { /* offsets hardly get through */
        plan->apis = 1u << SIM_ADD_OFFSETS | 1u << SIM_TXN_OFFSETS;
        plan->lose = 700;
    } else if (sim_chance(world, 600)) { /* few kinds of requests, but those often */
        plan->apis = 1u << sim_between(world, 0, SIM_APIS - 1) | 1u << sim_between(world, 0, SIM_APIS - 1);
        plan->hold = (unsigned)sim_between(world, 0, 300);
        plan->lose_answer = (unsigned)sim_between(world, 0, 300);
    }
}

static void plan_faults(struct sim_world *world)
{
    struct sim_plan *const plan = &world->plan;
    plan->fault_count = (unsigned)sim_between(world, 0, 6);
    for (unsigned f = 0; f < plan->fault_count; f++) {
        struct sim_fault *const fault = &plan->fault[f];
        *fault = (struct sim_fault){.kind = (sim_fault_kind)sim_between(world, SIM_KILL, SIM_MOVE),
                                    .at_ms = sim_between(world, 100, plan->calm_ms),
                                    .instance = (int)sim_between(world, 0, plan->instances - 1)};
        if (sim_chance(world, 300)) fault->kind = SIM_KILL;
        switch (fault->kind) {
        case SIM_PAUSE:
            fault->length_ms = sim_between(world, 500, 12000);
            break;
        case SIM_DOWN:
        case SIM_MOVE:
            fault->length_ms = sim_between(world, 100, 2500);
            break;
        default:
            break;
        }
        fault->is_at_request = fault->kind <= SIM_REBALANCE && sim_chance(world, 600);
        fault->api = (sim_api)sim_between(world, SIM_INIT, SIM_FETCH_OFFSETS);
        fault->count = (unsigned)sim_between(world, 1, 12);
    }
    if (world->planted.meddles)
        plan->fault[plan->fault_count++] = (struct sim_fault){.kind = SIM_MEDDLE, .at_ms = plan->calm_ms};
}

void sim_plan_make(struct sim_world *world)
{
    world->plan = (struct sim_plan){.calm_ms = sim_between(world, 3000, 12000)};
    plan_roles(world);
    plan_input(world);
    plan_network(world);
    plan_faults(world);
}

void sim_plan_say(const struct sim_world *world)
{
    static const char *const name[] = {
        "kill", "pause", "stop", "rebalance", "broker down", "coordinators move", "offsets of the group are moved"};
    const struct sim_plan *const plan = &world->plan;
    if (!world->is_verbose) return;
    sim_say_line(world, "seed %llu: %d %s, %d partitions, %s members%s%s", (unsigned long long)world->seed,
                 plan->instances, plan->learns ? "trainers" : "scorers", plan->partitions,
                 plan->is_static ? "static" : "dynamic", plan->takes_over ? ", one takes over from the other" : "",
                 plan->restores_early ? ", state restored before joining" : "");
    for (int i = 0; i < plan->instances; i++)
        sim_say_line(world, "i%d has id %u, seat %d", i, plan->id[i], plan->seat[i]);
    for (int p = 0; p < plan->partitions; p++) sim_say_line(world, "partition %d has %d records", p, plan->records[p]);
    sim_say_line(world, "of 1000 requests (kinds 0x%x) lost %u, held %u, answer lost %u, slow %u; calm from %.3f on",
                 plan->apis, plan->lose, plan->hold, plan->lose_answer, plan->slow, (double)plan->calm_ms / 1000);
    for (unsigned f = 0; f < plan->fault_count; f++) {
        const struct sim_fault *const fault = &plan->fault[f];
        if (fault->is_at_request)
            sim_say_line(world, "fault %u: %s of i%d for %lld ms at its %s number %u", f, name[fault->kind],
                         fault->instance, (long long)fault->length_ms, sim_api_name(fault->api), fault->count);
        else
            sim_say_line(world, "fault %u: %s of i%d for %lld ms at %.3f", f, name[fault->kind], fault->instance,
                         (long long)fault->length_ms, (double)fault->at_ms / 1000);
    }
}
