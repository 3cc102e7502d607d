#include "table/classes.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/json_text.h"
#include "base/number.h"
#include "table/table.h"

#define SLOTS_MIN 64

static bool number_read(const char *text, size_t bytes, double *value_out)
{
    return mr_json_is_number(text, bytes) && mr_parse_f64(text, text + bytes, value_out) == text + bytes;
}

/* The slot of this text, or the free one where it belongs. */
static struct mr_class_slot *slot_find(const struct mr_classes *classes, const char *text, size_t bytes, uint64_t hash)
{
    for (size_t at = hash & (classes->slot_cap - 1);; at = (at + 1) & (classes->slot_cap - 1)) {
        struct mr_class_slot *const slot = &classes->slot[at];
        if (!slot->text || (slot->hash == hash && slot->bytes == bytes && !memcmp(slot->text, text, bytes)))
            return slot;
    }
}

/* Room for one more, and for half of the slots to be free. */
static bool slots_grow(struct mr_classes *classes)
{
    if (classes->slot && classes->slot_count < classes->slot_cap / 2) return true;
    const struct mr_classes old = *classes;
    const size_t cap = old.slot ? 2 * old.slot_cap : SLOTS_MIN;
    struct mr_class_slot *const slot = calloc(cap, sizeof *slot);
    if (!slot) return false;
    classes->slot = slot;
    classes->slot_cap = cap;
    for (size_t i = 0; old.slot && i < old.slot_cap; i++) {
        const struct mr_class_slot *const from = &old.slot[i];
        if (from->text) *slot_find(classes, from->text, from->bytes, from->hash) = *from;
    }
    free(old.slot);
    return true;
}

static bool slot_add(struct mr_classes *classes, const char *text, size_t bytes, uint32_t index)
{
    if (!slots_grow(classes)) return false;
    char *const copy = malloc(bytes + 1);
    if (!copy) return false;
    memcpy(copy, text, bytes);
    copy[bytes] = '\0';
    const uint64_t hash = XXH3_64bits(text, bytes);
    *slot_find(classes, copy, bytes, hash) = (struct mr_class_slot){hash, copy, (uint32_t)bytes, index};
    classes->slot_count++;
    return true;
}

static bool name_add(struct mr_classes *classes, const char *text)
{
    if (classes->count == classes->name_cap) {
        const size_t cap = classes->name_cap ? 2 * classes->name_cap : 16;
        char **const name = realloc(classes->name, cap * sizeof *name);
        if (!name) return false;
        classes->name = name;
        classes->name_cap = cap;
    }
    classes->name[classes->count] = strdup(text);
    return classes->name[classes->count] && ++classes->count;
}

/* A text that was not seen before. */
static mr_status text_add(struct mr_classes *classes, const char *text, size_t bytes, uint32_t *index_out,
                          struct mr_err *err)
{
    char name[MR_CLASS_NAME_MAX + 1];
    double value;
    if (bytes > MR_CLASS_NAME_MAX || memchr(text, '\0', bytes))
        return mr_fail(err, MR_EDATA, "\"%.40s...\" names no class: at most %u bytes, none of them zero", text,
                       MR_CLASS_NAME_MAX);
    memcpy(name, text, bytes);
    name[bytes] = '\0';
    if (number_read(name, bytes, &value) && fabs(value) < 1e15 && value == floor(value))
        snprintf(name, sizeof name, "%lld", (long long)value);
    const size_t name_bytes = strlen(name);
    const struct mr_class_slot *const known =
        classes->slot ? slot_find(classes, name, name_bytes, XXH3_64bits(name, name_bytes)) : NULL;
    *index_out = known && known->text ? known->index : (uint32_t)classes->count;
    if (*index_out == classes->count) {
        if (classes->count == MR_CLASS_MAX)
            return mr_fail(err, MR_EDATA, "\"%s\" would be class number %u: is the label a number to be predicted?",
                           name, MR_CLASS_MAX + 1);
        if (!name_add(classes, name) || !slot_add(classes, name, name_bytes, *index_out))
            return mr_fail(err, MR_ENOMEM, "out of memory");
    }
    if (name_bytes == bytes && !memcmp(name, text, bytes)) return MR_OK;
    /* many spellings of one number are not all remembered */
    if (classes->slot_count < 2 * MR_CLASS_MAX && !slot_add(classes, text, bytes, *index_out))
        return mr_fail(err, MR_ENOMEM, "out of memory");
    return MR_OK;
}

mr_status mr_classes_index(struct mr_classes *classes, const char *text, size_t bytes, uint32_t *index_out,
                           struct mr_err *err)
{
    const struct mr_class_slot *const slot =
        classes->slot ? slot_find(classes, text, bytes, XXH3_64bits(text, bytes)) : NULL;
    if (!slot || !slot->text) return text_add(classes, text, bytes, index_out, err);
    *index_out = slot->index;
    return MR_OK;
}

int mr_class_compare(const char *a, const char *b)
{
    double left, right;
    const bool is_left = number_read(a, strlen(a), &left), is_right = number_read(b, strlen(b), &right);
    if (is_left != is_right) return is_left ? -1 : 1;
    if (is_left && left != right) return left < right ? -1 : 1;
    return strcmp(a, b);
}

void mr_classes_deinit(struct mr_classes *classes)
{
    for (size_t i = 0; i < classes->count; i++) free(classes->name[i]);
    for (size_t i = 0; i < classes->slot_cap; i++) free((char *)(uintptr_t)classes->slot[i].text);
    free(classes->name);
    free(classes->slot);
    *classes = (struct mr_classes){0};
}
