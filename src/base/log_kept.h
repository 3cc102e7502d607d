/** The last warnings and errors that were logged, for who looks later: a ring of stated size, behind a lock that is
 * held for a copy of one line. Never allocates. */
#ifndef MR_BASE_LOG_KEPT_H
#define MR_BASE_LOG_KEPT_H

#include <stddef.h>
#include <stdint.h>

#include "base/log.h"

#define MR_LOG_KEPT       64
#define MR_LOG_KEPT_BYTES 512 /* of a line, its end included; longer ones are cut */

struct mr_log_line {
    int64_t time_ms; /* since 1970 */
    mr_log_level level;
    const char *component;
    char text[MR_LOG_KEPT_BYTES];
};

/** Keeps a line of MR_LOG_WARN or above; others are passed over. component: a string literal. Any thread. */
void mr_log_keep(mr_log_level level, const char *component, const char *text);

/** Copies the lines behind number *next_io (0: the oldest that there is), up to cap, oldest first; *next_io is where to
 * go on. Any thread. */
size_t mr_log_kept(uint64_t *next_io, struct mr_log_line *out, size_t cap);
void mr_log_kept_skip(uint64_t *next_out); /* to the end */

#endif
