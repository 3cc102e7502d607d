#include "base/log_kept.h"

#include <pthread.h>
#include <stdio.h>

#include "base/clock.h"

static struct {
    pthread_mutex_t lock;
    uint64_t count; /* kept so far: number n stands at n modulo the size */
    struct mr_log_line line[MR_LOG_KEPT];
} kept = {.lock = PTHREAD_MUTEX_INITIALIZER};

void mr_log_keep(mr_log_level level, const char *component, const char *text)
{
    if (level < MR_LOG_WARN) return;
    pthread_mutex_lock(&kept.lock);
    struct mr_log_line *const line = &kept.line[kept.count++ % MR_LOG_KEPT];
    line->time_ms = mr_clock_epoch_ms();
    line->level = level;
    line->component = component;
    snprintf(line->text, sizeof line->text, "%s", text);
    pthread_mutex_unlock(&kept.lock);
}

size_t mr_log_kept(uint64_t *next_io, struct mr_log_line *out, size_t cap)
{
    pthread_mutex_lock(&kept.lock);
    const uint64_t oldest = kept.count > MR_LOG_KEPT ? kept.count - MR_LOG_KEPT : 0;
    if (*next_io < oldest) *next_io = oldest;
    size_t count = 0;
    for (; count < cap && *next_io < kept.count; count++) out[count] = kept.line[(*next_io)++ % MR_LOG_KEPT];
    pthread_mutex_unlock(&kept.lock);
    return count;
}

void mr_log_kept_skip(uint64_t *next_out)
{
    pthread_mutex_lock(&kept.lock);
    *next_out = kept.count;
    pthread_mutex_unlock(&kept.lock);
}
