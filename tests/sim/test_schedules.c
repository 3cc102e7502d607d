/**
 * The commit protocol under ten thousand schedules: kills, pauses, rebalances, twins, brokers and coordinators that go
 * away, requests that are lost, held and sent twice. A failing one is seen again with
 *
 *     test_schedules_sim --seed N --verbose
 *
 * Other arguments: --count N (schedules), --from N (the first seed), --plant FAULT (see sim_planted_find).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "sim/schedule.h"

#if defined(__SANITIZE_ADDRESS__)
#define COUNT 1500
#else
#define COUNT 10000
#endif

static int usage(void)
{
    fputs("Usage: test_schedules_sim [--seed N] [--verbose] [--count N] [--from N] [--plant FAULT]...\n", stderr);
    return 64;
}

int main(int argc, char **argv)
{
    uint64_t from = 1, count = COUNT, failures = 0, events = 0;
    bool is_verbose = false;
    struct sim_planted planted = {0};
    struct timespec started, ended;
    for (int a = 1; a < argc; a++) {
        if (strcmp(argv[a], "--verbose") == 0) {
            is_verbose = true;
            continue;
        }
        if (a + 1 == argc) return usage();
        const char *const key = argv[a++];
        if (strcmp(key, "--plant") == 0) {
            bool *const is_on = sim_planted_find(&planted, argv[a]);
            if (!is_on) return usage();
            *is_on = true;
        } else if (strcmp(key, "--seed") == 0) {
            from = strtoull(argv[a], NULL, 10);
            count = 1;
        } else if (strcmp(key, "--from") == 0) {
            from = strtoull(argv[a], NULL, 10);
        } else if (strcmp(key, "--count") == 0) {
            count = strtoull(argv[a], NULL, 10);
        } else {
            return usage();
        }
    }
    mr_log_level_set(MR_LOG_ERROR);
    struct sim_world *const world = sim_world_create();
    world->is_verbose = is_verbose;
    clock_gettime(CLOCK_MONOTONIC, &started);
    for (uint64_t seed = from; seed < from + count && failures < 10; seed++) {
        const bool holds = sim_schedule_run(world, seed, &planted);
        events += world->events;
        if (holds) continue;
        failures++;
        printf("seed %llu: %s\n  see it: %s --seed %llu --verbose\n", (unsigned long long)seed, world->violation,
               argv[0], (unsigned long long)seed);
    }
    clock_gettime(CLOCK_MONOTONIC, &ended);
    const double seconds = (double)(ended.tv_sec - started.tv_sec) + (double)(ended.tv_nsec - started.tv_nsec) / 1e9;
    printf("%llu schedules from seed %llu, %.0f events each, %.0f schedules/s, %llu failed\n",
           (unsigned long long)count, (unsigned long long)from, (double)events / (double)count, (double)count / seconds,
           (unsigned long long)failures);
    const struct sim_counts *const met = &world->counts;
    const uint64_t each[] = {met->commits, met->restarts, met->recycled, met->fenced,        met->killed, met->paused,
                             met->revoked, met->lost,     met->aborted,  met->in_the_middle, met->late};
    static const char *const name[] = {
        "commits",      "restarts",       "recycled producers", "fenced instances", "kills",
        "pauses",       "revoked shares", "lost shares",        "aborted by kafka", "shares that left within a commit",
        "late requests"};
    for (size_t i = 0; i < sizeof each / sizeof each[0]; i++) {
        printf("%s%llu %s", i ? ", " : "", (unsigned long long)each[i], name[i]);
        if (count >= 1000 && !each[i]) failures++; /* what is not met is not proved */
    }
    putchar('\n');
    sim_world_destroy(world);
    return failures != 0;
}
