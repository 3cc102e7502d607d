#include "base/intern.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#define COUNT_MAX ((size_t)1 << 31)
#define SLOTS_MIN 64

/* The slot of a text, or the free one where it belongs. */
static size_t slot_of(const struct mr_intern *intern, const char *text, size_t bytes)
{
    for (size_t at = XXH3_64bits(text, bytes) & intern->mask;; at = (at + 1) & intern->mask) {
        const uint32_t number = intern->slot[at];
        if (number == MR_INTERN_NONE) return at;
        const size_t first = intern->first[number];
        if (intern->first[number + 1] - first == bytes && !memcmp(intern->text + first, text, bytes)) return at;
    }
}

uint32_t mr_intern_find(const struct mr_intern *intern, const char *text, size_t bytes)
{
    return intern->slot ? intern->slot[slot_of(intern, text, bytes)] : MR_INTERN_NONE;
}

/* Half of the slots stay free. */
static bool slots_grow(struct mr_intern *intern)
{
    const size_t slots = intern->slot ? 2 * (intern->mask + 1) : SLOTS_MIN;
    if (intern->slot && intern->count < slots / 4) return true;
    uint32_t *const slot = malloc(slots * sizeof *slot);
    if (!slot) return false;
    memset(slot, 0xff, slots * sizeof *slot);
    free(intern->slot);
    intern->slot = slot;
    intern->mask = slots - 1;
    for (size_t i = 0; i < intern->count; i++) {
        const size_t first = intern->first[i];
        slot[slot_of(intern, intern->text + first, intern->first[i + 1] - first)] = (uint32_t)i;
    }
    return true;
}

/* *at: `bytes` long, grows by doubling. */
static bool grow(void **at, size_t *cap, size_t needed)
{
    size_t more = *cap ? *cap : 256;
    if (needed <= *cap) return true;
    while (more < needed) more *= 2;
    void *const grown = realloc(*at, more);
    if (!grown) return false;
    *at = grown;
    *cap = more;
    return true;
}

static bool room_make(struct mr_intern *intern, size_t bytes)
{
    void *text = intern->text, *first = intern->first;
    const size_t used = intern->count ? intern->first[intern->count] : 0;
    bool has_room = grow(&text, &intern->text_cap, used + bytes + 1);
    intern->text = text;
    has_room = has_room && grow(&first, &intern->first_cap, (intern->count + 2) * sizeof *intern->first);
    intern->first = first;
    return has_room && slots_grow(intern);
}

bool mr_intern_add(struct mr_intern *intern, const char *text, size_t bytes, uint32_t *number_out)
{
    *number_out = mr_intern_find(intern, text, bytes);
    if (*number_out != MR_INTERN_NONE) return true;
    if (intern->count == COUNT_MAX || !room_make(intern, bytes)) return false;
    if (!intern->count) intern->first[0] = 0;
    const size_t first = intern->first[intern->count];
    if (bytes) memcpy(intern->text + first, text, bytes);
    *number_out = (uint32_t)intern->count;
    intern->slot[slot_of(intern, text, bytes)] = *number_out;
    intern->first[++intern->count] = first + bytes;
    return true;
}

void mr_intern_deinit(struct mr_intern *intern)
{
    free(intern->text);
    free(intern->first);
    free(intern->slot);
    *intern = (struct mr_intern){0};
}
