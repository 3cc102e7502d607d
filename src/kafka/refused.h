/** The records of a lane whose outputs a broker has refused, for as long as they may be sent again. One thread. */
#ifndef MR_KAFKA_REFUSED_H
#define MR_KAFKA_REFUSED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MR_REFUSED_MAX    65536    /* older ones are forgotten: their transactions are committed long since */
#define MR_LIMIT_MAX      16       /* topics whose limits are remembered */
#define MR_LIMIT_HOLDS_US 60000000 /* so long: a topic's limit may be raised */

/** A record by where it came from and where it goes. */
struct mr_sent_record {
    const char *to; /* topic */
    uint32_t from;  /* topic, as its source numbers it */
    int32_t partition;
    int64_t offset;
    uint32_t bytes; /* of its value: a cut dead letter is another record than the whole one */
    size_t size;    /* grows with what it takes in a request; 0: not known, because it is compressed there */
};

/** Zeroed: empty. */
struct mr_refused {
    uint64_t *mark; /* ring [MR_REFUSED_MAX] of hashes */
    size_t first, count;
    struct {
        const char *to; /* borrowed */
        size_t size;    /* the smallest that was refused */
        int64_t until_us;
    } limit[MR_LIMIT_MAX];
    size_t limit_count;
};

/** Whether nothing is known to be refused: then no record needs to be looked up. */
static inline bool mr_refused_is_empty(const struct mr_refused *refused)
{
    return !refused->count && !refused->limit_count;
}

/** Remembers a record that was refused alone, and its size. The topic's name must outlive the list. False: no memory.
 */
bool mr_refused_add(struct mr_refused *refused, const struct mr_sent_record *record, int64_t now_us);

/** Whether this record was refused, or one for the same topic that was not larger, not long ago. */
bool mr_refused_has(const struct mr_refused *refused, const struct mr_sent_record *record, int64_t now_us);

/** The records that were refused are done with: their sizes alone are remembered. */
void mr_refused_clear(struct mr_refused *refused);
void mr_refused_deinit(struct mr_refused *refused);

#endif
