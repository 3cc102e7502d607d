/** Finds the known name that a mistyped one most likely meant. */
#ifndef MR_BASE_NEAR_H
#define MR_BASE_NEAR_H

#include <stddef.h>

/** Names longer than this are never suggested. */
#define MR_NEAR_BYTES 64

/** A search: start it, offer every known name, ask for the best. Offered names are borrowed until then. */
struct mr_near {
    const char *wanted;
    const char *best;
    size_t distance;
};

/** wanted is borrowed. */
void mr_near_start(struct mr_near *near, const char *wanted);

/** name: one of the known ones; NULL is ignored. */
void mr_near_offer(struct mr_near *near, const char *name);

/**
 * The best name offered: at most 2 edits away (Damerau-Levenshtein, case ignored; 1 for names of up to 3 letters),
 * or one that begins with `wanted` or that `wanted` begins with (3 letters or more). NULL when none is near.
 */
const char *mr_near_best(const struct mr_near *near);

/** Edits (insert, delete, replace, swap of neighbours), case ignored; SIZE_MAX when either is longer than
 * MR_NEAR_BYTES. */
size_t mr_near_distance(const char *a, const char *b);

#endif
