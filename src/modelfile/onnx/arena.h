/** Memory that is given back all at once, with a bound: what is read from a file never takes more than that. */
#ifndef MR_ONNX_ARENA_H
#define MR_ONNX_ARENA_H

#include <stddef.h>

/** Starts zeroed but for bytes_max. */
struct mr_onnx_arena {
    struct mr_onnx_block *block; /* the newest first */
    size_t used, cap;            /* of the newest block */
    size_t taken, bytes_max;     /* of all of them */
};

/** count values of size bytes, zeroed, 16-byte aligned; NULL: past the bound, or no
 * memory. Never NULL for 0. */
void *mr_onnx_take(struct mr_onnx_arena *arena, size_t count, size_t size);

void mr_onnx_arena_deinit(struct mr_onnx_arena *arena);

#endif
