/** How many cores this process may use. */
#ifndef MR_BASE_CORES_H
#define MR_BASE_CORES_H

/**
 * Cores that the process may run on (its affinity mask), and no more than its control group grants it time for (cgroup
 * v2, cpu.max): what a container has, not what its host has. At least 1. Any thread.
 */
unsigned mr_core_count(void);

/** Cores that the text of a cpu.max file grants ("150000 100000" is 1.5, which counts as 2); 0: no limit, or not such a
 * text. */
unsigned mr_cores_of_cpu_max(const char *text);

#endif
