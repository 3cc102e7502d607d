#include "modelfile/onnx/arena.h"

#include <stdlib.h>

#define BLOCK_BYTES ((size_t)64 << 10)

struct mr_onnx_block {
    _Alignas(16) struct mr_onnx_block *before;
};

/* Fresh from the system, which has zeroed what is large. */
static struct mr_onnx_block *block_make(size_t bytes)
{
    return calloc(1, sizeof(struct mr_onnx_block) + bytes);
}

/* A block of its own for what is large, behind the one at hand. */
static void *large_take(struct mr_onnx_arena *arena, size_t bytes)
{
    struct mr_onnx_block **const place = arena->block ? &arena->block->before : &arena->block;
    struct mr_onnx_block *const block = block_make(bytes);
    if (!block) return NULL;
    block->before = *place;
    *place = block;
    arena->taken += bytes;
    return block + 1;
}

void *mr_onnx_take(struct mr_onnx_arena *arena, size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes) || bytes > arena->bytes_max) return NULL;
    bytes = bytes ? (bytes + 15) & ~(size_t)15 : 16;
    if (bytes > arena->bytes_max - arena->taken) return NULL;
    if (bytes > BLOCK_BYTES / 2) return large_take(arena, bytes);
    if (bytes > arena->cap - arena->used) {
        struct mr_onnx_block *const block = block_make(BLOCK_BYTES);
        if (!block) return NULL;
        block->before = arena->block;
        arena->block = block;
        arena->used = 0;
        arena->cap = BLOCK_BYTES;
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
