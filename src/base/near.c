#include "base/near.h"

#include <stdint.h>
#include <string.h>
#include <strings.h>

enum { PREFIX_MIN = 3, PREFIX_RANK = 3, TOO_FAR = 4 };

/* Not tolower(): names are ASCII, and the locale has no say. '-' and '_' count as one letter: both spellings are typed.
 */
static char fold(char c)
{
    if (c >= 'A' && c <= 'Z') return (char)(c - 'A' + 'a');
    return c == '-' ? '_' : c;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

size_t mr_near_distance(const char *a, const char *b)
{
    const size_t a_bytes = strlen(a), b_bytes = strlen(b);
    if (a_bytes > MR_NEAR_BYTES || b_bytes > MR_NEAR_BYTES) return SIZE_MAX;
    /* Rows i - 2, i - 1 and i of the table of distances between prefixes. */
    uint8_t rows[3][MR_NEAR_BYTES + 1];
    uint8_t *before = rows[0], *above = rows[1], *row = rows[2];
    for (size_t j = 0; j <= b_bytes; j++) above[j] = (uint8_t)j;
    for (size_t i = 1; i <= a_bytes; i++) {
        row[0] = (uint8_t)i;
        for (size_t j = 1; j <= b_bytes; j++) {
            const char x = fold(a[i - 1]), y = fold(b[j - 1]);
            size_t edits = least(above[j] + 1u, row[j - 1] + 1u);
            edits = least(edits, above[j - 1] + (x == y ? 0u : 1u));
            if (i > 1 && j > 1 && x == fold(b[j - 2]) && fold(a[i - 2]) == y) edits = least(edits, before[j - 2] + 1u);
            row[j] = (uint8_t)edits;
        }
        uint8_t *const spare = before;
        before = above;
        above = row;
        row = spare;
    }
    return above[b_bytes];
}

void mr_near_start(struct mr_near *near, const char *wanted)
{
    *near = (struct mr_near){.wanted = wanted, .distance = TOO_FAR};
}

void mr_near_offer(struct mr_near *near, const char *name)
{
    if (!name) return;
    const size_t wanted_bytes = strlen(near->wanted), name_bytes = strlen(name);
    const size_t shorter = least(wanted_bytes, name_bytes);
    size_t distance = mr_near_distance(near->wanted, name);
    /* Two edits turn any word of three letters into another one, one edit any single letter. */
    if (distance > 2 || (distance == 2 && shorter <= 3) || (distance && shorter <= 1)) distance = TOO_FAR;
    if (distance > PREFIX_RANK && shorter >= PREFIX_MIN && !strncasecmp(near->wanted, name, shorter))
        distance = PREFIX_RANK;
    if (distance < near->distance) {
        near->best = name;
        near->distance = distance;
    }
}

const char *mr_near_best(const struct mr_near *near)
{
    return near->distance < TOO_FAR ? near->best : NULL;
}
