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

#define WAITS_MAX 8

/* Whether this is the N-th time of the moment that the text names, NAME:N or NAME:N:PATH; path_out: PATH up to the next
 * comma, or NULL. */
static bool is_it(const char *wanted, _Atomic long *times, const char *name, const char **path_out)
{
    const size_t bytes = strlen(name);
    char *end;
    if (strncmp(wanted, name, bytes) != 0 || wanted[bytes] != ':') return false;
    const long number = strtol(wanted + bytes + 1, &end, 10);
    *path_out = *end == ':' ? end + 1 : NULL;
    return atomic_fetch_add(times, 1) + 1 == number;
}

static void hold(const char *text)
{
    const struct timespec step = {.tv_nsec = 2000000};
    char path[4000], reached[4096];
    snprintf(path, sizeof path, "%.*s", (int)strcspn(text, ","), text);
    snprintf(reached, sizeof reached, "%s.reached", path);
    const int file = open(reached, O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
    if (file >= 0) close(file);
    while (access(path, F_OK)) nanosleep(&step, NULL); /* the test ends it */
}

void mr_test_hook(const char *name)
{
    static _Atomic long crash_times, wait_times[WAITS_MAX];
    const char *const crash = getenv("MILLRACE_CRASH_AT"), *wait = getenv("MILLRACE_WAIT_AT"), *path;
    if (crash && is_it(crash, &crash_times, name, &path)) {
        fprintf(stderr, "crash point %s\n", name);
        kill(getpid(), SIGKILL);
    }
    for (size_t i = 0; wait && i < WAITS_MAX; i++) {
        if (is_it(wait, &wait_times[i], name, &path) && path) hold(path);
        wait = strchr(wait, ',');
        if (wait) wait++;
    }
}

bool mr_test_keeps_dirty(void)
{
    return getenv("MILLRACE_KEEP_DIRTY") != NULL;
}
