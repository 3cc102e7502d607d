#include "base/cores.h"

#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PATH_BYTES 4096

unsigned mr_cores_of_cpu_max(const char *text)
{
    unsigned long long quota, period;
    if (sscanf(text, "%llu %llu", &quota, &period) != 2 || !quota || !period) return 0;
    const unsigned long long cores = (quota - 1) / period + 1;
    return cores > 1u << 20 ? 0 : (unsigned)cores;
}

static unsigned file_cores(const char *path)
{
    char text[64];
    FILE *const file = fopen(path, "re");
    if (!file) return 0;
    const unsigned cores = fgets(text, sizeof text, file) ? mr_cores_of_cpu_max(text) : 0;
    fclose(file);
    return cores;
}

/* The least of the limits of our control group and those above it; 0: none. */
static unsigned group_cores(void)
{
    char line[PATH_BYTES], path[PATH_BYTES + 64];
    unsigned least = 0;
    FILE *const file = fopen("/proc/self/cgroup", "re");
    if (!file) return 0;
    while (fgets(line, sizeof line, file)) {
        if (strncmp(line, "0::/", 4) != 0) continue; /* version 2 has one line */
        line[strcspn(line, "\n")] = '\0';
        for (char *end = line + strlen(line); end && end >= line + 3; end = strrchr(line + 3, '/')) {
            *end = '\0';
            snprintf(path, sizeof path, "/sys/fs/cgroup%s/cpu.max", line + 3);
            const unsigned cores = file_cores(path);
            if (cores && (!least || cores < least)) least = cores;
        }
    }
    fclose(file);
    return least;
}

unsigned mr_core_count(void)
{
    cpu_set_t set;
    const long online = sysconf(_SC_NPROCESSORS_ONLN);
    unsigned cores = online > 0 ? (unsigned)online : 1;
    /* More cores than the set has room for: the call fails, and the count of the machine stands. */
    if (!sched_getaffinity(0, sizeof set, &set) && CPU_COUNT(&set) > 0) cores = (unsigned)CPU_COUNT(&set);
    const unsigned granted = group_cores();
    return granted && granted < cores ? granted : cores;
}
