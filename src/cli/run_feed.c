#include "cli/run_feed.h"

#include <errno.h>
#include <signal.h>
#include <time.h>

#include "cli/folder_feed.h"
#include "kafka/client.h"
#include "pipeline/lane.h"

#define WAKE_NS 50000000

static void *feed_main(void *argument)
{
    struct mr_run_feed *const feed = argument;
    if (feed->folder)
        mr_folder_feed_run(&feed->feed, feed->folder, &feed->err);
    else
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

mr_status mr_run_feed_start(struct mr_run_feed *feed, struct mr_run *run, const struct mr_run_feed_from *from,
                            struct mr_err *err)
{
    feed->folder = from->topic ? NULL : from->folder;
    feed->feed = (struct mr_feed){.properties = run->properties,
                                  .path = from->path,
                                  .topic = from->topic,
                                  .records_per_s = from->records_per_s,
                                  .lines_per_message = from->lines ? from->lines : 1,
                                  .repeat = from->repeat,
                                  .has_keys = from->has_keys};
    if (from->topic && mr_kafka_is_embedded(run->properties)) {
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
