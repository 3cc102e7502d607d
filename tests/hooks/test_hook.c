/* The hooks of base/test_hook.h: in the program for tests alone. */
#include "base/test_hook.h"

#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Whether this is the N-th time of the moment that the variable names; path_out: what stands behind N, or NULL. */
static bool is_it(const char *variable, _Atomic long *times, const char *name, const char **path_out)
{
    const char *const wanted = getenv(variable);
    const size_t bytes = strlen(name);
    char *end;
    if (!wanted || strncmp(wanted, name, bytes) != 0 || wanted[bytes] != ':') return false;
    const long number = strtol(wanted + bytes + 1, &end, 10);
    *path_out = *end == ':' ? end + 1 : NULL;
    return atomic_fetch_add(times, 1) + 1 == number;
}

static void hold(const char *path)
{
    const struct timespec step = {.tv_nsec = 2000000};
    char reached[4096];
    snprintf(reached, sizeof reached, "%s.reached", path);
    const int file = open(reached, O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
    if (file >= 0) close(file);
    while (access(path, F_OK)) nanosleep(&step, NULL); /* the test ends it */
}

void mr_test_hook(const char *name)
{
    static _Atomic long crash_times, wait_times;
    const char *path;
    if (is_it("MILLRACE_CRASH_AT", &crash_times, name, &path)) {
        fprintf(stderr, "crash point %s\n", name);
        kill(getpid(), SIGKILL);
    }
    if (is_it("MILLRACE_WAIT_AT", &wait_times, name, &path) && path) hold(path);
}

bool mr_test_keeps_dirty(void)
{
    return getenv("MILLRACE_KEEP_DIRTY") != NULL;
}
