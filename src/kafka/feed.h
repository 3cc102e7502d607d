/** Writes the lines of a file to a topic at a rate: for replay, demos and tests. */
#ifndef MR_KAFKA_FEED_H
#define MR_KAFKA_FEED_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "millrace/option.h"

struct mr_feed {
    const struct mr_map *properties;
    const char *path; /* "-": standard input */
    const char *topic;
    double records_per_s;      /* 0: as fast as the broker takes them */
    int64_t lines_per_message; /* 1: one message a line; more: so many lines joined by \n */
    int64_t repeat;            /* how many times the file is sent */
    bool has_keys;             /* what stands before the first tab of a line is its message's key */
    /* Bytes of values that the reader has taken in, asked for where the broker keeps little: the feed stays less than
     * what it keeps ahead, as long as the reader moves. NULL: it does not wait. */
    uint64_t (*taken)(const void *reader);
    const void *reader;
    _Atomic bool stop;     /* set it to end early: what is not acknowledged then is given up */
    _Atomic uint64_t sent; /* lines handed over so far */
};

/**
 * Sends all lines and waits until they are acknowledged. Empty lines are skipped. MR_EINPUT: the file cannot be read;
 * MR_EKAFKA: the broker refuses or does not answer. Blocks; one call a feed at a time.
 */
mr_status mr_feed_run(struct mr_feed *feed, struct mr_err *err);

/** Lines in a file that mr_feed_run would send: all but the empty ones. */
mr_status mr_feed_count(const char *path, uint64_t *count_out, struct mr_err *err);

#endif
