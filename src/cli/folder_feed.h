/** Lines of a file into files of a folder, at a rate: as a program does that hands over what it has, a file at a time.
 */
#ifndef MR_CLI_FOLDER_FEED_H
#define MR_CLI_FOLDER_FEED_H

#include "kafka/feed.h"

/**
 * Writes files of feed->lines_per_message lines into the folder, each under a name of its own and as a whole: it is
 * written under a hidden name and then renamed. Empty lines are skipped; the last file may be shorter. feed->topic and
 * what is about brokers does not count. MR_EINPUT: the file cannot be read; MR_EIO: the folder takes nothing. Blocks
 * until all is sent or feed->stop is set.
 */
mr_status mr_folder_feed_run(struct mr_feed *feed, const char *folder, struct mr_err *err);

#endif
