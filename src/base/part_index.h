/** Numbers by topic and partition, found in one step: a row for each topic, in it a cell for each partition. */
#ifndef MR_BASE_PART_INDEX_H
#define MR_BASE_PART_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MR_PART_NONE UINT32_MAX /* what stands in a cell that was not set */
#define MR_PART_MAX  (1 << 20)  /* topics, and partitions of a topic: more than any cluster holds */

struct mr_part_row {
    uint32_t *cell; /* [cap] */
    uint32_t cap;
};

/** Zeroed it is empty. One thread at a time. */
struct mr_part_index {
    struct mr_part_row *row; /* [cap], by topic */
    uint32_t cap;
};

/** The number of a partition, or MR_PART_NONE. Any topic and partition may be asked for. */
static inline uint32_t mr_part_get(const struct mr_part_index *index, uint32_t topic, int32_t partition)
{
    if (topic >= index->cap || partition < 0 || (uint32_t)partition >= index->row[topic].cap) return MR_PART_NONE;
    return index->row[topic].cell[partition];
}

/** Sets the number of a partition; allocates when it has no cell yet. False: no memory, or beyond MR_PART_MAX. */
bool mr_part_set(struct mr_part_index *index, uint32_t topic, int32_t partition, uint32_t number);

/** Empties the index and frees its memory. */
void mr_part_free(struct mr_part_index *index);

#endif
