#include "metrics/by_offset.h"

#include <math.h>
#include <string.h>

/* The same sums in stretches twice as long, of which each begins at a multiple of its length. */
static void bins_double(struct mr_by_offset *all)
{
    const int64_t step = 2 * all->step, first = all->first / step * step;
    const size_t shift = (size_t)((all->first - first) / all->step); /* 0 or 1 */
    struct mr_by_offset wide = {.first = first, .step = step, .sum = all->sum, .rows = all->rows};
    for (size_t i = 0; i < MR_BY_OFFSET_BINS; i++) {
        const size_t to = (i + shift) / 2; /* at most half of them are in use */
        wide.bin[to].sum += all->bin[i].sum;
        wide.bin[to].rows += all->bin[i].rows;
    }
    *all = wide;
}

static size_t bins_used(const struct mr_by_offset *all)
{
    size_t used = MR_BY_OFFSET_BINS;
    while (used && !all->bin[used - 1].rows) used--;
    return used;
}

/* An offset before the first bin: what is there moves up, if there is room. */
static void bins_shift(struct mr_by_offset *all, int64_t offset)
{
    while (offset < all->first) {
        const int64_t first = offset / all->step * all->step;
        const int64_t more = (all->first - first) / all->step;
        const size_t used = bins_used(all);
        if (more > (int64_t)(MR_BY_OFFSET_BINS - used)) {
            bins_double(all);
            continue;
        }
        memmove(all->bin + more, all->bin, used * sizeof *all->bin);
        memset(all->bin, 0, (size_t)more * sizeof *all->bin);
        all->first = first;
    }
}

void mr_by_offset_add(struct mr_by_offset *all, int64_t offset, double value)
{
    if (offset < 0 || offset >> 60 || !isfinite(value)) return;
    if (!all->step) *all = (struct mr_by_offset){.first = offset, .step = 1};
    bins_shift(all, offset);
    while ((offset - all->first) / all->step >= MR_BY_OFFSET_BINS) bins_double(all);
    const size_t at = (size_t)((offset - all->first) / all->step);
    all->bin[at].sum += value;
    all->bin[at].rows++;
    all->sum += value;
    all->rows++;
}
