/** Names of classes, numbered as they come. */
#ifndef MR_TABLE_CLASSES_H
#define MR_TABLE_CLASSES_H

#include <stddef.h>
#include <stdint.h>

#include "millrace/status.h"

struct mr_class_slot {
    uint64_t hash;
    const char *text; /* as it was written; NULL: free */
    uint32_t bytes, index;
};

struct mr_classes {
    char **name; /* [count] */
    size_t count, name_cap;
    struct mr_class_slot *slot; /* [slot_cap], a power of two: every way in which a name was written */
    size_t slot_cap, slot_count;
};

/**
 * The index of the class with this name; a new name gets the next one. Whole numbers are one class however they are
 * written ("1", "1.0"), other names by their bytes. MR_EDATA: more than MR_CLASS_MAX, a name that is longer than
 * MR_CLASS_NAME_MAX or holds a zero byte; MR_ENOMEM.
 */
mr_status mr_classes_index(struct mr_classes *classes, const char *text, size_t bytes, uint32_t *index_out,
                           struct mr_err *err);

/** Order of names: numbers by value, then text by bytes. */
int mr_class_compare(const char *a, const char *b);

/** Accepts a zeroed one. */
void mr_classes_deinit(struct mr_classes *classes);

#endif
