/** What --until asks for: when a run ends by itself. */
#ifndef MR_CLI_RUN_UNTIL_H
#define MR_CLI_RUN_UNTIL_H

#include "pipeline/run.h"

/** text: "end", a duration ("30s"), a count of messages, or NULL: without a limit. MR_EUSAGE: it is none of these. */
mr_status mr_until_parse(const char *text, struct mr_until *until_out, struct mr_err *err);

/** Whether the run ends by itself. */
bool mr_until_is_limited(const struct mr_until *until);

/**
 * With a feed, "to the end" means: until every fed line has been taken in. Makes a count of it where both are wanted;
 * reads the file. feed: its path, or NULL. MR_EUSAGE: the lines of a stream cannot be counted; MR_EINPUT.
 */
mr_status mr_until_bound(struct mr_until *until, const char *feed, struct mr_err *err);

/** MR_ERETRY: a signal came before the run was where --until ends it. */
mr_status mr_until_cut(struct mr_err *err);

#endif
