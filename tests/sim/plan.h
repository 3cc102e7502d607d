/** What a seed decides before anything happens. */
#ifndef MR_SIM_PLAN_H
#define MR_SIM_PLAN_H

#include "sim/world.h"

void sim_plan_make(struct sim_world *world);
void sim_plan_say(const struct sim_world *world);

#endif
