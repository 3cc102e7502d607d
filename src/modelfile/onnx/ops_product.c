/* Matrix products, and normalisation by batch. Sums in double. */
#include <math.h>

#include "modelfile/onnx/ops.h"

/* Strides of a matrix as it lies: that of a row, and of a column. */
struct matrix {
    const struct mr_onnx_tensor *of;
    size_t offset, row, col;
};

static double product_at(const struct matrix *a, const struct matrix *b, size_t row, size_t col, size_t depth)
{
    double sum = 0;
    for (size_t k = 0; k < depth; k++)
        sum += mr_onnx_get(a->of, a->offset + row * a->row + k * a->col) *
               mr_onnx_get(b->of, b->offset + k * b->row + col * b->col);
    return sum;
}

static int64_t product_whole(const struct matrix *a, const struct matrix *b, size_t row, size_t col, size_t depth)
{
    uint64_t sum = 0;
    for (size_t k = 0; k < depth; k++)
        sum += (uint64_t)mr_onnx_get_int(a->of, a->offset + row * a->row + k * a->col) *
               (uint64_t)mr_onnx_get_int(b->of, b->offset + k * b->row + col * b->col);
    return (int64_t)sum;
}

/* Numbers of one type, of at least this rank. */
static mr_status operands_check(struct mr_onnx_call *call, size_t rank)
{
    const struct mr_onnx_tensor *const a = call->input[0], *const b = call->input[1];
    if (a->type == b->type && a->type != MR_ONNX_STRING && a->rank >= rank && b->rank >= rank) return MR_OK;
    return mr_onnx_refuse(call, "inputs of type %s and %s, with %zu and %zu dimensions, are not for it",
                          mr_onnx_type_name(a->type), mr_onnx_type_name(b->type), a->rank, b->rank);
}

/* As numpy's matmul: matrices in the last two dimensions, the others broadcast; a vector is a row, or a column. */
mr_status mr_onnx_matmul(struct mr_onnx_call *call)
{
    struct mr_onnx_tensor a = {0}, b = {0}, outer_a, outer_b, *out;
    struct mr_onnx_walk walk;
    int64_t dim[MR_ONNX_RANK_MAX + 2];
    mr_status status = operands_check(call, 1);
    if (status) return status;
    a = *call->input[0];
    b = *call->input[1];
    const bool is_row = a.rank == 1, is_col = b.rank == 1;
    const int64_t rows = is_row ? 1 : a.dim[a.rank - 2], depth = a.dim[a.rank - 1];
    const int64_t cols = is_col ? 1 : b.dim[b.rank - 1], depth_b = is_col ? b.dim[0] : b.dim[b.rank - 2];
    if (depth != depth_b)
        return mr_onnx_refuse(call, "its inputs do not fit: %lld columns by %lld rows", (long long)depth,
                              (long long)depth_b);
    outer_a = a;
    outer_b = b;
    outer_a.rank -= is_row ? 1 : 2;
    outer_b.rank -= is_col ? 1 : 2;
    status = mr_onnx_walk_init(call, &walk, (const struct mr_onnx_tensor *const[]){&outer_a, &outer_b}, 2);
    if (status) return status;
    size_t rank = walk.rank;
    for (size_t i = 0; i < rank; i++) dim[i] = walk.dim[i];
    if (!is_row) dim[rank++] = rows;
    if (!is_col) dim[rank++] = cols;
    status = mr_onnx_out(call, 0, a.type, rank, dim, &out);
    const size_t each = (size_t)rows * (size_t)cols;
    for (size_t i = 0; !status && i < out->count; i++) {
        if (i && i % each == 0) mr_onnx_walk_next(&walk);
        const struct matrix left = {&a, walk.offset[0] * (size_t)rows * (size_t)depth, (size_t)depth, 1};
        const struct matrix right = {&b, walk.offset[1] * (size_t)depth * (size_t)cols, (size_t)cols, 1};
        const size_t row = i % each / (size_t)cols, col = i % (size_t)cols;
        if (mr_onnx_is_float(a.type))
            mr_onnx_put(out, i, product_at(&left, &right, row, col, (size_t)depth));
        else
            mr_onnx_put_int(out, i, product_whole(&left, &right, row, col, (size_t)depth));
    }
    return status;
}

mr_status mr_onnx_gemm(struct mr_onnx_call *call)
{
    const struct mr_onnx_tensor *const a = call->input[0], *const b = call->input[1], *const c = mr_onnx_in(call, 2);
    const bool ta = mr_onnx_attribute_int(call->node, "transA", 0) != 0,
               tb = mr_onnx_attribute_int(call->node, "transB", 0) != 0;
    const double alpha = (double)mr_onnx_attribute_float(call->node, "alpha", 1),
                 beta = (double)mr_onnx_attribute_float(call->node, "beta", 1);
    struct mr_onnx_walk walk;
    struct mr_onnx_tensor *out;
    mr_status status = operands_check(call, 2);
    if (!status) status = mr_onnx_numbers(call, 2);
    if (status) return status;
    if (a->rank != 2 || b->rank != 2) return mr_onnx_refuse(call, "its inputs are no matrices");
    const size_t rows = (size_t)a->dim[ta], depth = (size_t)a->dim[!ta], cols = (size_t)b->dim[!tb];
    if (depth != (size_t)b->dim[tb])
        return mr_onnx_refuse(call, "its inputs do not fit: %zu columns by %lld rows", depth, (long long)b->dim[tb]);
    status = mr_onnx_out(call, 0, a->type, 2, (const int64_t[]){(int64_t)rows, (int64_t)cols}, &out);
    if (!status && c) status = mr_onnx_walk_init(call, &walk, (const struct mr_onnx_tensor *const[]){out, c}, 2);
    if (status) return status;
    if (c && walk.count != out->count) return mr_onnx_refuse(call, "its input 2 does not fit its result");
    const struct matrix left = {a, 0, ta ? 1 : depth, ta ? rows : 1}, right = {b, 0, tb ? 1 : cols, tb ? depth : 1};
    for (size_t i = 0; i < out->count; i++) {
        const double product = product_at(&left, &right, i / cols, i % cols, depth);
        mr_onnx_put(out, i, alpha * product + (c ? beta * mr_onnx_get(c, walk.offset[1]) : 0));
        if (c) mr_onnx_walk_next(&walk);
    }
    return MR_OK;
}

mr_status mr_onnx_batchnorm(struct mr_onnx_call *call)
{
    const struct mr_onnx_tensor *const in = call->input[0];
    const double epsilon = (double)mr_onnx_attribute_float(call->node, "epsilon", 1e-5f);
    struct mr_onnx_tensor *out;
    mr_status status = mr_onnx_numbers(call, 0);
    if (status) return status;
    const size_t channels = in->rank > 1 ? (size_t)in->dim[1] : 1;
    if (mr_onnx_attribute_int(call->node, "training_mode", 0) || call->output_count > 1)
        return mr_onnx_refuse(call, "it is in training mode: call model.eval() before the export");
    for (size_t i = 1; i < 5; i++) {
        if (call->input[i]->count != channels || call->input[i]->type == MR_ONNX_STRING)
            return mr_onnx_refuse(call, "its input %zu has %zu values for %zu channels", i, call->input[i]->count,
                                  channels);
    }
    status = mr_onnx_out(call, 0, in->type, in->rank, in->dim, &out);
    const size_t inner = in->rank > 1 ? mr_onnx_extent(in, 2, in->rank) : 1;
    for (size_t i = 0; !status && i < in->count; i++) {
        const size_t k = i / inner % channels;
        const double scale = mr_onnx_get(call->input[1], k) / sqrt(mr_onnx_get(call->input[4], k) + epsilon);
        mr_onnx_put(out, i,
                    (mr_onnx_get(in, i) - mr_onnx_get(call->input[3], k)) * scale + mr_onnx_get(call->input[2], k));
    }
    return status;
}
