/** The lines of a file go to a topic, or into files of a folder, while a job runs: from a thread of their own. */
#ifndef MR_CLI_RUN_FEED_H
#define MR_CLI_RUN_FEED_H

#include <pthread.h>

#include "kafka/feed.h"
#include "pipeline/run.h"

#define MR_RUN_FEEDS_MAX 4 /* of a run */

/** What is sent, and where to. */
struct mr_run_feed_from {
    const char *path;     /* "-": standard input */
    const char *topic;    /* NULL: into the folder */
    const char *folder;   /* where files appear, each as a whole */
    double records_per_s; /* 0: as fast as the broker takes them */
    int64_t lines;        /* of a file of the folder; 0: 1 */
    int64_t repeat;       /* how many times the file is sent */
    bool has_keys;        /* of a topic: what stands before the first tab of a line is the record's key */
};

struct mr_run_feed {
    struct mr_feed feed;
    const char *folder;
    pthread_t thread;
    struct mr_err err;    /* of the feed: to be read once is_over */
    _Atomic bool is_over; /* the file's end, an error, or a stop */
};

/** Starts the thread. feed: zeroed; it, and what `from` points to, must live until mr_run_feed_join(). MR_ENOMEM. */
mr_status mr_run_feed_start(struct mr_run_feed *feed, struct mr_run *run, const struct mr_run_feed_from *from,
                            struct mr_err *err);

/** Asks for an end; from any thread. */
void mr_run_feed_stop(struct mr_run_feed *feed);

/** Whether it ended with an error. From any thread, before and after the join. */
bool mr_run_feed_has_failed(struct mr_run_feed *feed);

/** Waits for the thread, which must be at its end or asked for it. Status and text of the feed. */
mr_status mr_run_feed_join(struct mr_run_feed *feed, struct mr_err *err);

#endif
