/** The records of a lane whose outputs a broker has refused, for as long as they may be sent again. One thread. */
#ifndef MR_KAFKA_REFUSED_H
#define MR_KAFKA_REFUSED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MR_REFUSED_MAX 65536 /* older ones are forgotten: their transactions are committed long since */

/** A record by where it came from and where it goes. */
struct mr_sent_record {
    const char *to; /* topic */
    uint32_t from;  /* topic, as its source numbers it */
    int32_t partition;
    int64_t offset;
    uint32_t bytes; /* of its value: a cut dead letter is another record than the whole one */
};

/** Zeroed: empty. */
struct mr_refused {
    uint64_t *mark; /* ring [MR_REFUSED_MAX] of hashes */
    size_t first, count;
};

/** False: no memory. */
bool mr_refused_add(struct mr_refused *refused, const struct mr_sent_record *record);
bool mr_refused_has(const struct mr_refused *refused, const struct mr_sent_record *record);
void mr_refused_deinit(struct mr_refused *refused);

#endif
