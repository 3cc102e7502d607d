/**
 * Which files have taken a partition, one behind the other: what a follower's group keeps with its offset (the metadata
 * of a commit). Several processes may share a group, each with a file of its own, and partitions move between them. So
 * where the group is further than the mark of a file, this tells why: another file has what is between, or this one
 * had it, and its mark is an old one.
 *
 *     millrace 1 FILE:SINCE FILE:SINCE      FILE: 16 hex digits, of the mark (mark.h); the last one holds it now
 *
 * SINCE: the group's offset when it took the partition, from which it may have had records.
 */
#ifndef MR_SINK_FILE_HOLDERS_H
#define MR_SINK_FILE_HOLDERS_H

#include <stddef.h>
#include <stdint.h>

#define MR_HOLDERS_MAX      16
#define MR_HOLDERS_TEXT_MAX (16 + MR_HOLDERS_MAX * (1 + 16 + 1 + 20))

struct mr_holder {
    uint64_t file;
    int64_t since;
};

/** Zeroed: nobody. */
struct mr_holders {
    struct mr_holder holder[MR_HOLDERS_MAX]; /* [count], since ascends */
    size_t count;
};

typedef enum {
    MR_HELD_UNKNOWN,     /* nobody says so */
    MR_HELD_ELSEWHERE,   /* by another file */
    MR_HELD_HERE,        /* by this one, and by no other since */
    MR_HELD_HERE_BEFORE, /* by this one, and by others since */
} mr_held;

/** Reads a text; what is not one gives nobody. */
void mr_holders_parse(const char *text, struct mr_holders *holders_out);

/** Writes the text, with a 0 behind it. */
void mr_holders_print(const struct mr_holders *holders, char text[MR_HOLDERS_TEXT_MAX]);

/** A file takes the partition; the oldest one is forgotten when there are too many. */
void mr_holders_take(struct mr_holders *holders, uint64_t file, int64_t since);

/** Who was given the record at an offset that the group has passed. */
mr_held mr_holders_of(const struct mr_holders *holders, uint64_t file, int64_t offset);

#endif
