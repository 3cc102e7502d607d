/** A schedule: what a seed makes of instances, faults and time; and the oracle that judges how it ended. */
#ifndef MR_SIM_SCHEDULE_H
#define MR_SIM_SCHEDULE_H

#include "sim/world.h"

/** Runs the schedule of that seed. False: a promise was broken; which one stands in world->violation. */
bool sim_schedule_run(struct sim_world *world, uint64_t seed, const struct sim_planted *planted);

/** Judges a world that has come to rest. */
void sim_oracle(struct sim_world *world);

/** A switch of struct sim_planted by its name; NULL: there is none. */
bool *sim_planted_find(struct sim_planted *planted, const char *name);

#endif
