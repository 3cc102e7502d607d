#include "pipeline/ends.h"

#include <stdlib.h>
#include <string.h>

#define ENDS_CAP 64

void mr_ends_init(struct mr_ends *ends)
{
    *ends = (struct mr_ends){.lock = PTHREAD_MUTEX_INITIALIZER};
}

void mr_ends_deinit(struct mr_ends *ends)
{
    for (uint32_t i = 0; i < ends->topic_count; i++) free(ends->topic[i]);
    free(ends->topic);
    free(ends->end);
    mr_part_free(&ends->index);
    *ends = (struct mr_ends){0};
}

/* Index of a topic, adding it; MR_PART_NONE: no memory. */
static uint32_t topic_index(struct mr_ends *ends, const char *name)
{
    for (uint32_t i = 0; i < ends->topic_count; i++) {
        if (!strcmp(ends->topic[i], name)) return i;
    }
    char **grown = realloc(ends->topic, (ends->topic_count + 1) * sizeof *grown);
    if (!grown) return MR_PART_NONE;
    ends->topic = grown;
    grown[ends->topic_count] = strdup(name);
    return grown[ends->topic_count] ? ends->topic_count++ : MR_PART_NONE;
}

static int64_t note(struct mr_ends *ends, const char *name, int32_t partition, int64_t end)
{
    const uint32_t topic = topic_index(ends, name);
    const uint32_t known = mr_part_get(&ends->index, topic, partition);
    if (known != MR_PART_NONE) return ends->end[known].offset;
    if (end < 0) return -1;
    if (ends->end_count == ends->end_cap) {
        const uint32_t cap = ends->end_cap ? ends->end_cap * 2 : ENDS_CAP;
        struct mr_end *grown = realloc(ends->end, cap * sizeof *grown);
        if (!grown) return -1;
        ends->end = grown;
        ends->end_cap = cap;
    }
    if (!mr_part_set(&ends->index, topic, partition, ends->end_count)) return -1;
    ends->end[ends->end_count++] = (struct mr_end){.offset = end};
    return end;
}

int64_t mr_ends_note(struct mr_ends *ends, const char *topic, int32_t partition, int64_t end)
{
    pthread_mutex_lock(&ends->lock);
    const int64_t first = note(ends, topic, partition, end);
    pthread_mutex_unlock(&ends->lock);
    return first;
}

/* The entry of a partition that was noted, else NULL. */
static struct mr_end *find(struct mr_ends *ends, const char *name, int32_t partition)
{
    for (uint32_t i = 0; i < ends->topic_count; i++) {
        if (strcmp(ends->topic[i], name)) continue;
        const uint32_t known = mr_part_get(&ends->index, i, partition);
        return known == MR_PART_NONE ? NULL : &ends->end[known];
    }
    return NULL;
}

void mr_ends_lower(struct mr_ends *ends, const char *topic, int32_t partition, int64_t offset)
{
    pthread_mutex_lock(&ends->lock);
    struct mr_end *end = find(ends, topic, partition);
    if (end && offset < end->offset) end->offset = offset;
    pthread_mutex_unlock(&ends->lock);
}

void mr_ends_mark(struct mr_ends *ends, const char *topic, int32_t partition, mr_end_state state)
{
    pthread_mutex_lock(&ends->lock);
    struct mr_end *end = find(ends, topic, partition);
    if (end) end->state = state;
    pthread_mutex_unlock(&ends->lock);
}

mr_end_state mr_ends_state(struct mr_ends *ends, const char *topic, int32_t partition)
{
    pthread_mutex_lock(&ends->lock);
    const struct mr_end *end = find(ends, topic, partition);
    const mr_end_state state = end ? end->state : MR_END_ELSEWHERE;
    pthread_mutex_unlock(&ends->lock);
    return state;
}

static int64_t end_note(void *context, const char *topic, int32_t partition, int64_t end)
{
    return mr_ends_note(context, topic, partition, end);
}

static void end_lower(void *context, const char *topic, int32_t partition, int64_t offset)
{
    mr_ends_lower(context, topic, partition, offset);
}

static void end_mark(void *context, const char *topic, int32_t partition, mr_end_state state)
{
    mr_ends_mark(context, topic, partition, state);
}

static mr_end_state end_state(void *context, const char *topic, int32_t partition)
{
    return mr_ends_state(context, topic, partition);
}

struct mr_source_ends mr_ends_of(struct mr_ends *ends)
{
    return (struct mr_source_ends){
        .context = ends, .note = end_note, .lower = end_lower, .mark = end_mark, .state = end_state};
}
