/** What the operators share: their functions, their errors, walks over broadcast values. Inside of this folder only. */
#ifndef MR_ONNX_OPS_H
#define MR_ONNX_OPS_H

#include "modelfile/onnx/eval.h"

/** Computes a node whose number of inputs has been checked. */
typedef mr_status mr_onnx_op_fn(struct mr_onnx_call *call);

#define MR_ONNX_OP(name, is_ml, least, most, run) mr_onnx_op_fn run;
#include "modelfile/onnx/ops.def"
#undef MR_ONNX_OP

/** MR_EDATA, with the node in front of the reason. */
#define mr_onnx_refuse(call, ...) mr_onnx_node_fail((call)->model, (call)->node, (call)->err, MR_EDATA, __VA_ARGS__)

/** A fresh output; MR_ENOMEM. */
mr_status mr_onnx_out(struct mr_onnx_call *call, size_t index, mr_onnx_type type, size_t rank, const int64_t *dim,
                      struct mr_onnx_tensor **out);

/** An output that is another shape of an input. */
mr_status mr_onnx_out_view(struct mr_onnx_call *call, size_t index, const struct mr_onnx_tensor *of, size_t rank,
                           const int64_t *dim);

/** Input `index`, NULL where it is left out. */
const struct mr_onnx_tensor *mr_onnx_in(const struct mr_onnx_call *call, size_t index);

/** Refuses an input that is a text, where numbers are needed. */
mr_status mr_onnx_numbers(struct mr_onnx_call *call, size_t index);

/** Whether the node's operator is this one. */
bool mr_onnx_op_is(const struct mr_onnx_call *call, const char *name);

/** An axis, which may count from behind, within [0, rank). */
mr_status mr_onnx_axis(struct mr_onnx_call *call, int64_t axis, size_t rank, size_t *axis_out);

/** Whole numbers: of an input where that is given, else of an attribute; NULL: neither is there. */
mr_status mr_onnx_ints(struct mr_onnx_call *call, size_t input, const char *attribute,
                       const struct mr_onnx_tensor **ints_out);

/** Which axes a list names; NULL or empty: none. */
mr_status mr_onnx_axes(struct mr_onnx_call *call, const struct mr_onnx_tensor *list, size_t rank,
                       bool is_axis[static MR_ONNX_RANK_MAX]);

/** Product of dim[from .. to). */
size_t mr_onnx_extent(const struct mr_onnx_tensor *tensor, size_t from, size_t to);

/** A walk over a shape in row-major order, and where it is in each of up to three values broadcast to it. */
struct mr_onnx_walk {
    size_t rank, count;
    int64_t dim[MR_ONNX_RANK_MAX], at[MR_ONNX_RANK_MAX];
    size_t stride[3][MR_ONNX_RANK_MAX], offset[3];
};

/** Starts at the first element of the shape that the values are broadcast to. MR_EDATA: they do not fit together. */
mr_status mr_onnx_walk_init(struct mr_onnx_call *call, struct mr_onnx_walk *walk,
                            const struct mr_onnx_tensor *const *value, size_t value_count);
void mr_onnx_walk_next(struct mr_onnx_walk *walk);

#endif
