#include "modelfile/onnx/names.h"

#include <string.h>
#include <xxhash.h>

/* At most half of the slots are used. */
static bool slots_make(struct mr_onnx_names *names, size_t slot_count)
{
    uint32_t *const slot = mr_onnx_take(names->arena, slot_count, sizeof *slot);
    if (!slot) return false;
    names->slot = slot;
    names->slot_count = slot_count;
    for (size_t i = 0; i < names->count; i++) {
        size_t at = XXH3_64bits(names->name[i].data, names->name[i].bytes) & (slot_count - 1);
        while (slot[at]) at = (at + 1) & (slot_count - 1);
        slot[at] = (uint32_t)i + 1;
    }
    return true;
}

bool mr_onnx_names_init(struct mr_onnx_names *names, size_t cap, struct mr_onnx_arena *arena)
{
    *names = (struct mr_onnx_names){.cap = cap, .arena = arena};
    names->name = mr_onnx_take(arena, cap, sizeof *names->name);
    return names->name && slots_make(names, 64);
}

bool mr_onnx_names_put(struct mr_onnx_names *names, struct mr_onnx_span name, uint32_t *index_out)
{
    if (!name.data) name.data = (const unsigned char *)"";
    size_t at = XXH3_64bits(name.data, name.bytes) & (names->slot_count - 1);
    for (; names->slot[at]; at = (at + 1) & (names->slot_count - 1)) {
        *index_out = names->slot[at] - 1;
        if (mr_onnx_span_same(names->name[*index_out], name)) return true;
    }
    if (names->count == names->cap) return false;
    names->name[names->count] = name;
    *index_out = (uint32_t)names->count++;
    names->slot[at] = *index_out + 1;
    return 2 * names->count <= names->slot_count || slots_make(names, 2 * names->slot_count);
}
