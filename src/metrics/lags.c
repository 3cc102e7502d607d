#include "metrics/lags.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void mr_lags_init(struct mr_lags *lags)
{
    *lags = (struct mr_lags){0};
    pthread_mutex_init(&lags->lock, NULL);
}

void mr_lags_deinit(struct mr_lags *lags)
{
    pthread_mutex_destroy(&lags->lock);
    free(lags->line);
    free(lags->part);
}

/* Under the lock. */
static void room_make(struct mr_lags *lags, size_t count)
{
    if (count <= lags->cap) return;
    struct mr_lag *const part = calloc(count, sizeof *part);
    struct mr_lag_line *const line = calloc(count, sizeof *line);
    if (!part || !line) {
        free(part);
        free(line);
        return;
    }
    free(lags->part);
    free(lags->line);
    lags->part = part;
    lags->line = line;
    lags->cap = count;
}

int64_t mr_lags_take(struct mr_lags *lags, const struct mr_source_ops *ops, struct mr_source *source)
{
    size_t count;
    pthread_mutex_lock(&lags->lock);
    int64_t sum = ops->lag(source, lags->part, lags->cap, &count);
    if (count > lags->cap) {
        room_make(lags, count);
        sum = ops->lag(source, lags->part, lags->cap, &count);
    }
    lags->count = count < lags->cap ? count : lags->cap;
    for (size_t i = 0; i < lags->count; i++) {
        lags->line[i].lag = lags->part[i];
        snprintf(lags->line[i].topic, sizeof lags->line[i].topic, "%s", ops->topic_name(source, lags->part[i].topic));
    }
    pthread_mutex_unlock(&lags->lock);
    return sum;
}

size_t mr_lags_copy(struct mr_lags *lags, struct mr_lag_line *out, size_t cap)
{
    pthread_mutex_lock(&lags->lock);
    const size_t count = lags->count, copied = count < cap ? count : cap;
    if (copied) memcpy(out, lags->line, copied * sizeof *out);
    pthread_mutex_unlock(&lags->lock);
    return count;
}
