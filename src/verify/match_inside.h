/** The inside of a match; for match.c, match_wait.c and match_near.c alone. */
#ifndef MR_VERIFY_MATCH_INSIDE_H
#define MR_VERIFY_MATCH_INSIDE_H

#include "verify/match.h"

/* One record that waits, or that stands behind one that does. */
struct item {
    struct item *next_alike;       /* in its group */
    struct item *before, *next;    /* expected: of its source. Actual (next alone): of its partition */
    uint64_t hash;                 /* of the content, and the partition where that is determined */
    uint64_t seq;                  /* expected: number in its source. Actual: its match's */
    int64_t offset, source_offset; /* own; actual: its match's */
    uint32_t source;               /* actual: its match's */
    int32_t partition;
    bool is_matched, is_repeated; /* actual: the same was matched before it came */
    uint64_t content, version;    /* actual: as given */
    size_t value_bytes;
    char *value; /* NULL: a null, or no longer kept */
    /* where numbers or partitions may differ, see match_near.c: */
    uint64_t rest, alike;     /* hash of key and headers; of all that must be equal */
    bool is_split, has_alike; /* alike was sought; and found */
    struct item *next_near;
    struct mr_match_number *number; /* [number_count] */
    uint32_t number_count;
};

/* Records of one side with the same content, in their order. */
struct group {
    struct group *next; /* in its bucket */
    uint64_t hash;
    struct item *first, *last;
    bool is_actual;
};

struct list {
    struct item *first, *last;
    size_t count, unmatched;
};

/* An output partition. */
struct lane {
    struct list actual;
    size_t wanted;
    int64_t matched_last; /* offset; -1: none yet */
    bool leads;
};

/* The content of an actual record that was matched, and what it was matched with: the same, or something near. */
struct seen {
    uint64_t hash, partner;
    uint32_t source; /* and one; 0: none */
};

/* A pair out of order, told at the end: by then it may be known that records are alike. */
struct unordered {
    uint32_t source;
    int32_t partition;
    int64_t source_offset, offset;
};

struct mr_match {
    struct mr_match_open open;
    struct group **bucket; /* [mask + 1] */
    size_t mask, group_count;
    struct group *spare;
    struct list *expected; /* [source_count] */
    struct lane *lane;     /* [partition_count] */
    uint64_t *seq;         /* [source_count]: of the next */
    uint64_t *reached;     /* [source_count][partition_count]: seq of the last matched, and one */
    struct seen *seen;     /* [sets][ways], see match.c */
    size_t wanted_any, expected_count;
    uint64_t matched, near, far, repeated, moved, before, behind;
    unsigned pairs;
    struct unordered *unordered; /* [unordered_count], NULL until there is one */
    size_t unordered_count;
    bool is_ambiguous, trails;
};

/** Hash of all that must be equal: of the record, and of the partition where that is determined. */
uint64_t mr_match_content(const struct mr_match_record *record, int32_t partition);

/** A record that waits, with a copy of its bytes; NULL: no memory. free accepts NULL. */
struct item *mr_match_item_make(const struct mr_match_record *record, uint64_t hash);
void mr_match_item_free(struct item *item);

/** Where the group of a content hangs; what hangs there is NULL when there is none. */
struct group **mr_match_group_find(struct mr_match *match, uint64_t hash, bool is_actual);
/** Adds an item to its group as the last one. False: no memory. */
bool mr_match_group_add(struct mr_match *match, struct item *item, bool is_actual);
/** Takes an item out of its group: the first one, or (after a near match) any. */
void mr_match_group_remove(struct mr_match *match, const struct item *item, bool is_actual);

/** What the record with this content was matched with; NULL: it was not, or not lately. */
const struct seen *mr_match_seen(const struct mr_match *match, uint64_t hash);

/** Ties two records that wait to each other, and lets go of both. What is behind `actual` without a match stays. */
void mr_match_tie(struct mr_match *match, struct item *actual, struct item *expected);

/** At the end, where numbers were near, so that another unit has made them: ties what is near, though its bytes were
 * tied to something else before. */
void mr_match_settle_repeated(struct mr_match *match);

/** At the end: ties records that are alike and stand in another partition than they are expected in; not such whose
 * bytes were tied to something else there before, which are duplicates. */
void mr_match_settle_moved(struct mr_match *match);

#endif
