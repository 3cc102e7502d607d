#include "base/part_index.h"

#include <stdlib.h>
#include <string.h>

#define CAP_MIN 16u

/* The next capacity that holds `at`: doubled, so that growing costs little. */
static uint32_t cap_for(uint32_t at)
{
    uint32_t cap = CAP_MIN;
    while (cap <= at) cap *= 2;
    return cap;
}

static bool rows_grow(struct mr_part_index *index, uint32_t topic)
{
    const uint32_t cap = cap_for(topic);
    struct mr_part_row *grown = realloc(index->row, cap * sizeof *grown);
    if (!grown) return false;
    memset(grown + index->cap, 0, (cap - index->cap) * sizeof *grown);
    index->row = grown;
    index->cap = cap;
    return true;
}

static bool cells_grow(struct mr_part_row *row, uint32_t partition)
{
    const uint32_t cap = cap_for(partition);
    uint32_t *grown = realloc(row->cell, cap * sizeof *grown);
    if (!grown) return false;
    for (uint32_t i = row->cap; i < cap; i++) grown[i] = MR_PART_NONE;
    row->cell = grown;
    row->cap = cap;
    return true;
}

bool mr_part_set(struct mr_part_index *index, uint32_t topic, int32_t partition, uint32_t number)
{
    if (topic >= MR_PART_MAX || partition < 0 || partition >= MR_PART_MAX) return false;
    if (topic >= index->cap && !rows_grow(index, topic)) return false;
    struct mr_part_row *row = &index->row[topic];
    if ((uint32_t)partition >= row->cap && !cells_grow(row, (uint32_t)partition)) return false;
    row->cell[partition] = number;
    return true;
}

void mr_part_free(struct mr_part_index *index)
{
    for (uint32_t i = 0; i < index->cap; i++) free(index->row[i].cell);
    free(index->row);
    *index = (struct mr_part_index){0};
}
