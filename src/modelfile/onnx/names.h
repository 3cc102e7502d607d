/** Names of values and the indices they stand for. */
#ifndef MR_ONNX_NAMES_H
#define MR_ONNX_NAMES_H

#include "modelfile/onnx/arena.h"
#include "modelfile/onnx/wire.h"

struct mr_onnx_names {
    struct mr_onnx_span *name; /* [count] */
    size_t count, cap;
    uint32_t *slot; /* [slot_count]: index + 1, 0 is free */
    size_t slot_count;
    struct mr_onnx_arena *arena;
};

/** Room for cap names, in the arena; false: no memory. Small tables grow as they are filled. */
bool mr_onnx_names_init(struct mr_onnx_names *names, size_t cap, struct mr_onnx_arena *arena);

/** The index of a name; a new one where it is not known. False: cap names are there, or no memory. */
bool mr_onnx_names_put(struct mr_onnx_names *names, struct mr_onnx_span name, uint32_t *index_out);

#endif
