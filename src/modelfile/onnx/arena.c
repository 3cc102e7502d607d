#include "modelfile/onnx/arena.h"

#include <stdlib.h>

#define BLOCK_BYTES ((size_t)64 << 10)

struct mr_onnx_block {
    _Alignas(16) struct mr_onnx_block *before;
};

/* A block of its own for what is large, fresh from the system where that is zeroed already. */
static void *block_add(struct mr_onnx_arena *arena, size_t bytes)
{
    struct mr_onnx_block *const block = calloc(1, sizeof *block + bytes);
    if (!block) return NULL;
    if (bytes > BLOCK_BYTES / 2 && arena->block) { /* the one at hand stays it */
        block->before = arena->block->before;
        arena->block->before = block;
        return block + 1;
    }
    block->before = arena->block;
    arena->block = block;
    arena->used = arena->cap = bytes;
    return block + 1;
}

void *mr_onnx_take(struct mr_onnx_arena *arena, size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes) || bytes > arena->bytes_max - arena->taken) return NULL;
    bytes = (bytes + 15) & ~(size_t)15;
    if (!bytes) bytes = 16;
    if (bytes > arena->bytes_max - arena->taken) return NULL;
    if (bytes > arena->cap - arena->used) {
        const size_t block_bytes = bytes > BLOCK_BYTES / 2 ? bytes : BLOCK_BYTES;
        char *const fresh = block_add(arena, block_bytes);
        if (!fresh) return NULL;
        arena->taken += bytes;
        if (bytes <= BLOCK_BYTES / 2) arena->used = bytes;
        return fresh;
    }
    char *const at = (char *)(arena->block + 1) + arena->used;
    arena->used += bytes;
    arena->taken += bytes;
    return at;
}

void mr_onnx_arena_deinit(struct mr_onnx_arena *arena)
{
    while (arena->block) {
        struct mr_onnx_block *const block = arena->block;
        arena->block = block->before;
        free(block);
    }
    *arena = (struct mr_onnx_arena){.bytes_max = arena->bytes_max};
}
