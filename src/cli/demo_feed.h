/** What a demo is fed with, as its demo.feed says. */
#ifndef MR_CLI_DEMO_FEED_H
#define MR_CLI_DEMO_FEED_H

#include "cli/run_feed.h"

struct mr_demo_feeds {
    struct mr_run_feed_from item[MR_RUN_FEEDS_MAX];
    size_t count;
};

/**
 * Reads demo.feed of a demo's work folder, if there is one: a line a feed, of blanks between a file, where its lines go
 * to (a topic; what ends with / is a folder, which is made), lines a second, and for a folder the lines of a file. A
 * file.tsv has keys; of a file.gz that without .gz is read. # begins a comment. MR_EDATA names the line. The caller
 * frees them, also after an error.
 */
mr_status mr_demo_feeds_read(const char *work, struct mr_demo_feeds *feeds, struct mr_err *err);
void mr_demo_feeds_free(struct mr_demo_feeds *feeds);

/** So many lines a second, all together, in the shares that they had. */
void mr_demo_feeds_pace(struct mr_demo_feeds *feeds, double records_per_s);

#endif
