#include "metrics/by_offset.h"

#include <math.h>
#include <string.h>

/* The same sums in stretches twice as long, of which each begins at a multiple of its length. */
static void bins_double(struct mr_by_offset *all)
{
    const unsigned shift = all->shift + 1;
    const size_t odd = (size_t)(all->first >> all->shift & 1); /* the first one is the second half of a longer one */
    struct mr_by_offset wide = {
        .first = all->first >> shift << shift, .shift = shift, .sum = all->sum, .rows = all->rows};
    for (size_t i = 0; i < MR_BY_OFFSET_BINS; i++) {
        const size_t to = (i + odd) / 2;
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

/* An offset before the first bin: what is there moves up, once there is room. */
static void bins_move(struct mr_by_offset *all, int64_t offset)
{
    while (offset < all->first) {
        const size_t used = bins_used(all);
        const int64_t more = (all->first >> all->shift) - (offset >> all->shift);
        if (more > (int64_t)(MR_BY_OFFSET_BINS - used)) {
            bins_double(all);
            continue;
        }
        memmove(all->bin + more, all->bin, used * sizeof *all->bin);
        memset(all->bin, 0, (size_t)more * sizeof *all->bin);
        all->first = offset >> all->shift << all->shift;
    }
}

void mr_by_offset_add(struct mr_by_offset *all, int64_t offset, double value)
{
    if (offset < 0 || offset >> 60 || !isfinite(value)) return;
    if (!all->rows) *all = (struct mr_by_offset){.first = offset};
    bins_move(all, offset);
    while ((offset - all->first) >> all->shift >= MR_BY_OFFSET_BINS) bins_double(all);
    const size_t at = (size_t)((offset - all->first) >> all->shift);
    all->bin[at].sum += value;
    all->bin[at].rows++;
    all->sum += value;
    all->rows++;
}
