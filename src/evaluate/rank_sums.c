#include "evaluate/rank_sums.h"

#include <math.h>
#include <stdlib.h>

bool mr_rank_sums_add(struct mr_rank_sums *sums, uint32_t user, float estimate, float rating)
{
    if (sums->count == sums->cap) {
        const size_t cap = sums->cap ? 2 * sums->cap : 4096;
        struct mr_ranked *const ranked = realloc(sums->ranked, cap * sizeof *ranked);
        if (!ranked) return false;
        sums->ranked = ranked;
        sums->cap = cap;
    }
    sums->ranked[sums->count] = (struct mr_ranked){user, estimate, rating, (uint32_t)sums->count};
    sums->count++;
    return true;
}

/* By user, then the highest estimate first. */
static int ranked_compare(const void *a, const void *b)
{
    const struct mr_ranked *const left = a, *const right = b;
    if (left->user != right->user) return left->user < right->user ? -1 : 1;
    if (left->estimate != right->estimate) return left->estimate > right->estimate ? -1 : 1;
    return (left->order > right->order) - (left->order < right->order);
}

void mr_rank_sums_end(struct mr_rank_sums *sums, size_t top, double threshold, struct mr_rank_metrics *metrics)
{
    *metrics = (struct mr_rank_metrics){0};
    if (sums->count) qsort(sums->ranked, sums->count, sizeof *sums->ranked, ranked_compare);
    for (size_t i = 0; i < sums->count;) {
        const size_t first = i;
        size_t relevant = 0, recommended = 0, both = 0;
        for (; i < sums->count && sums->ranked[i].user == sums->ranked[first].user; i++) {
            const bool is_relevant = (double)sums->ranked[i].rating >= threshold;
            const bool is_recommended = i - first < top && (double)sums->ranked[i].estimate >= threshold;
            relevant += is_relevant;
            recommended += is_recommended;
            both += is_relevant && is_recommended;
        }
        metrics->users++;
        if (recommended) metrics->precision += (double)both / (double)recommended;
        if (relevant) metrics->recall += (double)both / (double)relevant;
    }
    const double users = metrics->users ? (double)metrics->users : NAN;
    metrics->precision /= users;
    metrics->recall /= users;
}

void mr_rank_sums_deinit(struct mr_rank_sums *sums)
{
    free(sums->ranked);
    *sums = (struct mr_rank_sums){0};
}
