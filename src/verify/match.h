/**
 * Ties the records of an output topic to those that must be there: a join by content of two streams, expected records
 * and actual ones, each in its order. Knows no Kafka. What waits for its other half is kept, nothing else: memory is
 * what one stream runs ahead of the other, and about 100 bytes for each actual record behind one that has not matched.
 *
 * Per input partition (source) and output partition the order must be the same on both sides. Records of several
 * sources with the same bytes cannot be told apart: then order is not judged, and mr_match_is_ambiguous tells.
 */
#ifndef MR_VERIFY_MATCH_H
#define MR_VERIFY_MATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "millrace/status.h"

#define MR_MATCH_ANY (-1) /* output partition: not determined by the record */

/** A number in a value that may differ. */
struct mr_match_number {
    double value;         /* NaN: null */
    double off, off_most; /* expected: near if it differs by at most that; up to the second nothing is proved */
};

/** A record, of either side. Bytes are copied as far as they are kept. */
struct mr_match_record {
    const char *value; /* NULL: a null */
    const char *key;   /* NULL: none */
    size_t value_bytes, key_bytes;
    uint64_t rest;                        /* hash of what else must be equal */
    uint32_t source;                      /* expected: its input partition */
    int32_t partition;                    /* expected: output partition or MR_MATCH_ANY. Actual: where it is */
    int64_t offset;                       /* expected: of its input. Actual: its own */
    const struct mr_match_number *number; /* expected: [number_count], as split finds them; where numbers may differ */
    uint32_t number_count;
    bool is_placed;         /* actual: an expected record with its key has its partition, not MR_MATCH_ANY */
    uint64_t hash, version; /* actual: handed to `paired` as they are */
};

/** An expected and an actual record that were found to be the same. */
struct mr_match_pair {
    uint32_t source;
    int32_t partition;
    uint64_t seq; /* of the expected one in its source, from 0 */
    int64_t source_offset, offset;
    uint64_t hash, version; /* of the actual one */
};

typedef enum {
    MR_MATCH_MISSING,    /* expected alone */
    MR_MATCH_DUPLICATED, /* actual alone: the same was there before */
    MR_MATCH_FOREIGN,    /* actual alone */
    MR_MATCH_REORDERED,  /* both: a later record of the source stands before it */
    MR_MATCH_DIFFERENT,  /* both: in each other's place, with other bytes */
} mr_match_fault;

/** One side of a fault. */
struct mr_match_place {
    uint32_t source;
    int32_t partition;
    int64_t offset;
    const char *value; /* NULL: no longer kept */
    size_t value_bytes;
};

struct mr_match_open {
    uint32_t source_count;
    int32_t partition_count;
    /*
     * Numbers in values may differ. Splits a value into them and a hash of all else; false: it has another form. What
     * it returns is valid until it is called again. NULL: all bytes must be equal.
     */
    bool (*split)(void *context, const char *value, size_t bytes, uint64_t *hash_out,
                  const struct mr_match_number **numbers_out, size_t *count_out);
    void *split_context;
    /* Records may stand in another partition than they are expected in, because there were more or fewer of them once:
     * such are tied at the end, in their order, and counted. */
    bool may_move;
    bool is_bare; /* all else is the same in all of them: the order is not judged once numbers differ */
    /* Called within mr_match_actual, mr_match_settle and mr_match_end; what is not part of the fault is NULL. */
    void (*fault)(void *context, mr_match_fault fault, const struct mr_match_place *expected,
                  const struct mr_match_place *actual);
    /* At the end, before an expected record is told as missing or different: whether it is accounted for elsewhere.
     * Optional. */
    bool (*is_excused)(void *context, const struct mr_match_place *expected);
    /* Each match, within mr_match_expect, mr_match_actual and mr_match_settle. Optional. */
    void (*paired)(void *context, const struct mr_match_pair *pair);
    void *context;
};

struct mr_match;

/** On error (MR_ENOMEM) *match_out is NULL. */
mr_status mr_match_create(const struct mr_match_open *open, struct mr_match **match_out, struct mr_err *err);
void mr_match_destroy(struct mr_match *match); /* accepts NULL */

/** Before the first actual record of a partition: those that come before its first match are of an earlier time, and
 * no fault. */
void mr_match_lead(struct mr_match *match, int32_t partition);

/** From now on, actual records behind the last match of their partition are no fault: the job goes on. */
void mr_match_trail(struct mr_match *match);

/** The next record of a source. The next one of a partition. MR_ENOMEM. */
mr_status mr_match_expect(struct mr_match *match, const struct mr_match_record *record, struct mr_err *err);
mr_status mr_match_actual(struct mr_match *match, const struct mr_match_record *record, struct mr_err *err);

/**
 * Where numbers may differ: ties records whose other bytes are equal and whose numbers are near, in their order, when
 * many wait or is_all. A record whose bytes were tied to something else before is a duplicate, and near nothing; but at
 * the end, when others were near: another unit has made them, and may make the same of two that are nearly equal.
 * Returns whether any were tied.
 */
bool mr_match_settle(struct mr_match *match, bool is_all);

/** Expected records that may still come in a partition; actual ones in it without a match, or behind one. */
size_t mr_match_wanted(const struct mr_match *match, int32_t partition);
size_t mr_match_waiting(const struct mr_match *match, int32_t partition);
/** Expected records of a source without a match. */
size_t mr_match_open_count(const struct mr_match *match, uint32_t source);

/** Nothing more comes: tells what is left. */
void mr_match_end(struct mr_match *match);

uint64_t mr_match_count(const struct mr_match *match);          /* records that were matched */
uint64_t mr_match_near_count(const struct mr_match *match);     /* of these not byte for byte */
uint64_t mr_match_far_count(const struct mr_match *match);      /* of these not near: not proved */
uint64_t mr_match_repeated_count(const struct mr_match *match); /* of these, duplicates of others or rightly so */
uint64_t mr_match_moved_count(const struct mr_match *match);    /* of these in another partition, see may_move */
uint64_t mr_match_before_count(const struct mr_match *match);   /* left out, see mr_match_lead */
uint64_t mr_match_behind_count(const struct mr_match *match);   /* left out, see mr_match_trail */
bool mr_match_is_ambiguous(const struct mr_match *match);

#endif
