#include "metrics/sink_stats.h"

#include <sched.h>
#include <stdio.h>
#include <string.h>

/* Held for the copy of a text. */
static void text_lock(struct mr_sink_stats *stats)
{
    while (atomic_exchange_explicit(&stats->lock, 1, memory_order_acquire)) sched_yield();
}

static void text_unlock(struct mr_sink_stats *stats)
{
    atomic_store_explicit(&stats->lock, 0, memory_order_release);
}

void mr_sink_stats_error(struct mr_sink_stats *stats, char out[MR_SINK_ERROR_BYTES])
{
    text_lock(stats);
    memcpy(out, stats->error, MR_SINK_ERROR_BYTES);
    text_unlock(stats);
}

void mr_sink_stats_error_set(struct mr_sink_stats *stats, const char *text)
{
    if (text) {
        text_lock(stats);
        snprintf(stats->error, sizeof stats->error, "%s", text);
        text_unlock(stats);
    }
    atomic_store(&stats->is_failing, text != NULL);
}

void mr_sink_stats_merge(struct mr_sink_stats *sum, struct mr_sink_stats *stats)
{
    const struct {
        _Atomic uint64_t *to, *from;
    } counters[] = {
        {&sum->taken, &stats->taken},
        {&sum->delivered, &stats->delivered},
        {&sum->dropped, &stats->dropped},
        {&sum->refused, &stats->refused},
        {&sum->spilled, &stats->spilled},
        {&sum->retried, &stats->retried},
        {&sum->requests, &stats->requests},
        {&sum->bytes_sent, &stats->bytes_sent},
        {&sum->fields_skipped, &stats->fields_skipped},
        {&sum->queued_records, &stats->queued_records},
        {&sum->queued_bytes, &stats->queued_bytes},
        {&sum->spill_bytes, &stats->spill_bytes},
    };
    char text[MR_SINK_ERROR_BYTES];
    for (size_t i = 0; i < sizeof counters / sizeof *counters; i++)
        atomic_fetch_add(counters[i].to, atomic_load(counters[i].from));
    if (atomic_load(&stats->counts)) atomic_store(&sum->counts, true);
    mr_sink_stats_error(stats, text);
    const bool is_failing = atomic_load(&stats->is_failing), was_failing = atomic_load(&sum->is_failing);
    if (!*text || (*sum->error && !is_failing)) return;
    mr_sink_stats_error_set(sum, text);
    atomic_store(&sum->is_failing, is_failing || was_failing);
}
