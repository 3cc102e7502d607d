/** Texts numbered as they come, and found again by what they are. */
#ifndef MR_BASE_INTERN_H
#define MR_BASE_INTERN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MR_INTERN_NONE UINT32_MAX

/** Zeroed it is empty. One thread at a time; while nothing is added any number may look up. */
struct mr_intern {
    char *text;    /* all of them, one behind the other */
    size_t *first; /* [count + 1]: text i is text[first[i]] up to first[i + 1]; NULL while count is 0 */
    size_t count, text_cap, first_cap;
    uint32_t *slot; /* [mask + 1] */
    size_t mask;
};

/** The number of a text; MR_INTERN_NONE: it is not there. */
uint32_t mr_intern_find(const struct mr_intern *intern, const char *text, size_t bytes);

/** The number of a text, a new one if it was not there. False: no memory, or 2^31 texts; all is as before. */
bool mr_intern_add(struct mr_intern *intern, const char *text, size_t bytes, uint32_t *number_out);

void mr_intern_deinit(struct mr_intern *intern);

#endif
