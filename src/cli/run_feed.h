/** --feed FILE: the lines of a file go into the job's first topic while the job runs, from a thread of their own. */
#ifndef MR_CLI_RUN_FEED_H
#define MR_CLI_RUN_FEED_H

#include <pthread.h>

#include "kafka/feed.h"
#include "pipeline/run.h"

struct mr_run_feed {
    struct mr_feed feed;
    pthread_t thread;
    struct mr_err err;    /* of the feed: to be read once is_over */
    _Atomic bool is_over; /* the file's end, an error, or a stop */
};

/** Starts the thread. feed: zeroed; it, path and topic must live until mr_run_feed_join(). MR_ENOMEM. */
mr_status mr_run_feed_start(struct mr_run_feed *feed, struct mr_run *run, const char *path, const char *topic,
                            double records_per_s, struct mr_err *err);

/** Asks for an end; from any thread. */
void mr_run_feed_stop(struct mr_run_feed *feed);

/** Whether it ended with an error. From any thread, before and after the join. */
bool mr_run_feed_has_failed(struct mr_run_feed *feed);

/** Waits for the thread, which must be at its end or asked for it. Status and text of the feed. */
mr_status mr_run_feed_join(struct mr_run_feed *feed, struct mr_err *err);

#endif
