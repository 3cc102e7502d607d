/**
 * Proves that the simulator finds faults in the protocol: each is planted once, and must be found within so many
 * schedules; and what is no fault must not be found. See one again with
 *
 *     test_schedules_sim --plant FAULT --seed N --verbose
 */
#include <stdio.h>

#include "base/log.h"
#include "sim/schedule.h"

/* About ten times what each takes. */
static const struct {
    const char *fault, *with; /* with: a second switch, NULL: none */
    unsigned seeds;
} row[] = {
    {"keeps-dirty", NULL, 1000},          {"keeps-dirty", "data-only", 3000}, {"offsets-outside", NULL, 300},
    {"compares-nothing", "meddles", 300}, {"ignores-acks", NULL, 1000},       {"ignores-revoke", NULL, 1000},
    {"restores-to-lso", NULL, 3000},      {"restores-early", NULL, 500},      {"caches-group", NULL, 500},
    {"no-generation", NULL, 1000},        {"keeps-model", NULL, 10000},       {"fetches-own", NULL, 10000},
    {"ignores-break", NULL, 20000},       {"no-verification", NULL, 1000},
};

static bool is_found(struct sim_world *world, size_t r)
{
    struct sim_planted planted = {0};
    *sim_planted_find(&planted, row[r].fault) = true;
    if (row[r].with) *sim_planted_find(&planted, row[r].with) = true;
    for (unsigned seed = 1; seed <= row[r].seeds; seed++) {
        if (sim_schedule_run(world, seed, &planted)) continue;
        printf("%-17s%-10s seed %4u: %s\n", row[r].fault, row[r].with ? row[r].with : "", seed, world->violation);
        return true;
    }
    printf("%-17s%-10s NOT FOUND in %u schedules\n", row[r].fault, row[r].with ? row[r].with : "", row[r].seeds);
    return false;
}

int main(void)
{
    struct sim_world *const world = sim_world_create();
    struct sim_planted meddles = {.meddles = true};
    unsigned missed = 0;
    mr_log_level_set(MR_LOG_ERROR);
    for (size_t r = 0; r < sizeof row / sizeof row[0]; r++) missed += !is_found(world, r);
    /* Offsets that somebody moved are noticed: the trainer stops, and nothing is written twice. */
    for (unsigned seed = 1; seed <= 500; seed++) {
        if (sim_schedule_run(world, seed, &meddles)) continue;
        printf("meddles, seed %u: %s\n", seed, world->violation);
        missed++;
    }
    sim_world_destroy(world);
    return missed != 0;
}
