/* What lives, and how it is used. */
#include <stdarg.h>
#include <stdio.h>

#include "fake_cuda/fake.h"

struct fake_state fake = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

void fake_misuse(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("fake_cuda: MISUSE: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    fake.misuse++;
}

void fake_object_add(struct fake_object *object, enum fake_kind kind)
{
    object->kind = kind;
    object->next = fake.first;
    fake.first = object;
}

void fake_object_remove(struct fake_object *object)
{
    struct fake_object **at = &fake.first;
    while (*at && *at != object) at = &(*at)->next;
    if (*at) *at = object->next;
}

void *fake_object_find(const void *handle, enum fake_kind kind, const char *call)
{
    for (struct fake_object *object = fake.first; object; object = object->next) {
        if (object == handle && object->kind == kind) return object;
    }
    fake_misuse("%s: %p was never made, is destroyed, or is of another kind", call, handle);
    return NULL;
}

struct fake_memory *fake_memory_at(const void *at, size_t bytes, enum fake_kind kind)
{
    const uintptr_t first = (uintptr_t)at;
    if (!bytes) bytes = 1; /* the end of one memory may be the start of the next */
    for (struct fake_object *object = fake.first; object; object = object->next) {
        if (object->kind != kind) continue;
        struct fake_memory *const memory = (struct fake_memory *)object;
        const uintptr_t start = (uintptr_t)memory->data;
        if (first >= start && first - start <= memory->bytes && bytes <= memory->bytes - (first - start)) return memory;
    }
    return NULL;
}
