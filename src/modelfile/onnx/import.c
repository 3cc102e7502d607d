#include "modelfile/onnx/import.h"

#include "modelfile/onnx/emit.h"

/* What an import may take: the values of the file several times over, and the graph. */
#define ARENA_BYTES_LEAST ((size_t)4 << 20)
#define ARENA_FACTOR      48

mr_status mr_onnx_import(const struct mr_onnx_place *place, const void *bytes, size_t byte_count, struct mr_blob *out,
                         struct mr_err *err)
{
    struct mr_onnx_arena arena = {.bytes_max = ARENA_BYTES_LEAST};
    struct mr_onnx_model model;
    struct mr_onnx_program program;
    size_t more;
    if (!__builtin_mul_overflow(byte_count, ARENA_FACTOR, &more)) arena.bytes_max += more;
    mr_status status = mr_onnx_model_read(place, (struct mr_onnx_span){bytes, byte_count}, &arena, &model, err);
    if (!status) status = mr_onnx_compile(&model, &arena, &program, err);
    if (!status) status = mr_onnx_emit(&model, &program, &arena, out, err);
    mr_onnx_arena_deinit(&arena);
    return status;
}
