#include "http/open_files.h"

#include <sys/resource.h>

#define OTHERS 256 /* brokers, models, logs: what a run has open beside them */

size_t mr_open_files_allow(size_t connections)
{
    struct rlimit limit;
    const rlim_t wanted = (rlim_t)connections + OTHERS;
    if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur == RLIM_INFINITY || limit.rlim_cur >= wanted)
        return connections;
    const struct rlimit raised = {.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted,
                                  .rlim_max = limit.rlim_max};
    if (raised.rlim_cur > limit.rlim_cur && !setrlimit(RLIMIT_NOFILE, &raised)) limit = raised;
    if (limit.rlim_cur >= wanted) return connections;
    return limit.rlim_cur > OTHERS ? (size_t)(limit.rlim_cur - OTHERS) : 0;
}
