#include "cli/run_feed.h"

#include <errno.h>
#include <signal.h>
#include <time.h>

#include "kafka/client.h"
#include "pipeline/lane.h"

#define WAKE_NS 50000000

static void *feed_main(void *argument)
{
    struct mr_run_feed *const feed = argument;
    mr_feed_run(&feed->feed, &feed->err);
    atomic_store(&feed->is_over, true);
    return NULL;
}

static uint64_t bytes_taken(const void *reader)
{
    const struct mr_run *const run = reader;
    uint64_t bytes = 0;
    for (unsigned i = 0; i < run->lane_count; i++) bytes += mr_stats_get(&run->lane[i]->stats.bytes_in);
    return bytes;
}

mr_status mr_run_feed_start(struct mr_run_feed *feed, struct mr_run *run, const char *path, const char *topic,
                            double records_per_s, struct mr_err *err)
{
    feed->feed = (struct mr_feed){.properties = run->properties,
                                  .path = path,
                                  .topic = topic,
                                  .records_per_s = records_per_s,
                                  .lines_per_message = 1,
                                  .repeat = 1};
    if (mr_kafka_is_embedded(run->properties)) {
        feed->feed.taken = bytes_taken;
        feed->feed.reader = run;
    }
    if (pthread_create(&feed->thread, NULL, feed_main, feed))
        return mr_fail(err, MR_ENOMEM, "could not start the feeder");
    return MR_OK;
}

void mr_run_feed_stop(struct mr_run_feed *feed)
{
    feed->feed.stop = true;
}

bool mr_run_feed_has_failed(struct mr_run_feed *feed)
{
    return atomic_load(&feed->is_over) && feed->err.status;
}

static void wake(int number)
{
    (void)number;
}

/* The stopped feeder may sit in a read of a terminal or a pipe: a signal interrupts it, again until it has seen the
 * stop. */
mr_status mr_run_feed_join(struct mr_run_feed *feed, struct mr_err *err)
{
    const struct sigaction action = {.sa_handler = wake}; /* without SA_RESTART */
    int code;
    sigaction(SIGUSR1, &action, NULL);
    for (;;) {
        struct timespec due;
        clock_gettime(CLOCK_REALTIME, &due);
        due.tv_sec += (due.tv_nsec + WAKE_NS) / 1000000000;
        due.tv_nsec = (due.tv_nsec + WAKE_NS) % 1000000000;
        code = pthread_timedjoin_np(feed->thread, NULL, &due);
        if (code != ETIMEDOUT) break;
        pthread_kill(feed->thread, SIGUSR1);
    }
    if (feed->err.status && err) *err = feed->err;
    return feed->err.status;
}
