/** An ONNX file as a graph: nodes in their order, constants, inputs and outputs. */
#ifndef MR_ONNX_GRAPH_H
#define MR_ONNX_GRAPH_H

#include "modelfile/onnx/tensor.h"

#define MR_ONNX_NODES_MAX   65536
#define MR_ONNX_NAMES_MAX   262144
#define MR_ONNX_OPSET_LEAST 9
#define MR_ONNX_OPSET_MAX   25
#define MR_ONNX_ML_MAX      5

/** Index of a value of the graph (its inputs, constants and what nodes make). */
typedef uint32_t mr_onnx_value;
#define MR_ONNX_NO_VALUE UINT32_MAX /* an input or output that is left out */

struct mr_onnx_attribute {
    struct mr_onnx_span name;
    struct mr_onnx_span proto; /* the whole AttributeProto, read when it is asked for */
};

struct mr_onnx_node {
    struct mr_onnx_span name, op;
    bool is_ml; /* domain ai.onnx.ml */
    mr_onnx_value *input, *output;
    size_t input_count, output_count;
    const struct mr_onnx_attribute *attribute;
    size_t attribute_count;
};

/** A graph input or output. */
struct mr_onnx_port {
    struct mr_onnx_span name;
    mr_onnx_value value;
    mr_onnx_type type; /* MR_ONNX_NONE: not a tensor, or not said */
    bool has_shape;
    size_t rank;
    int64_t dim[MR_ONNX_RANK_MAX]; /* -1: any */
};

struct mr_onnx_model {
    struct mr_onnx_place place;
    struct mr_onnx_span producer, producer_version, graph_name;
    struct mr_onnx_span version, features; /* metadata_props of millrace: the model's version, its features as JSON */
    int64_t opset, opset_ml;               /* 0: the model imports none */
    const struct mr_onnx_node *node;
    size_t node_count;
    const struct mr_onnx_port *input, *output; /* inputs without those that are constants */
    size_t input_count, output_count;
    const struct mr_onnx_span *value_name;        /* [value_count] */
    const struct mr_onnx_tensor *const *constant; /* [value_count], NULL: no constant */
    size_t value_count;
};

/**
 * Reads a ModelProto. Refused, with MR_EDATA: a file that is cut off or broken, opsets outside 9 to 25 (ai.onnx) or
 * over 5 (ai.onnx.ml), more nodes or names than the limits above, nodes that read what no node before them makes (a
 * cycle, or a name that nobody has), a name that two make, functions, sparse constants. `bytes` must outlive the model,
 * which is in the arena.
 */
mr_status mr_onnx_model_read(const struct mr_onnx_place *place, struct mr_onnx_span bytes, struct mr_onnx_arena *arena,
                             struct mr_onnx_model *model, struct mr_err *err);

/** Whether bytes begin as an ONNX file does: nothing that safetensors begins with. */
bool mr_onnx_is(const void *bytes, size_t byte_count);

/** Whether an attribute that is read here has the type that the operator wants. MR_EDATA. */
mr_status mr_onnx_attribute_check(const struct mr_onnx_model *model, const struct mr_onnx_node *node,
                                  const struct mr_onnx_attribute *attribute, struct mr_err *err);

/** Attributes of a node, checked as above, by name. */
int64_t mr_onnx_attribute_int(const struct mr_onnx_node *node, const char *name, int64_t fallback);
float mr_onnx_attribute_float(const struct mr_onnx_node *node, const char *name, float fallback);
struct mr_onnx_span mr_onnx_attribute_text(const struct mr_onnx_node *node, const char *name, const char *fallback);
bool mr_onnx_attribute_has(const struct mr_onnx_node *node, const char *name);

/** A list, as a tensor of rank 1 (float, int64 or string); or a tensor attribute. NULL without an error: absent. */
mr_status mr_onnx_attribute_list(const struct mr_onnx_model *model, const struct mr_onnx_node *node, const char *name,
                                 struct mr_onnx_arena *arena, struct mr_onnx_tensor **list_out, struct mr_err *err);

/** Fails with the node's name, its operator and opset in front of what is wrong. */
mr_status mr_onnx_node_fail(const struct mr_onnx_model *model, const struct mr_onnx_node *node, struct mr_err *err,
                            mr_status status, const char *format, ...) __attribute__((format(printf, 5, 6)));

#ifdef __clang_analyzer__ /* as with mr_fail: what it returns is not MR_OK */
#define mr_onnx_node_fail(model, node, err, status, ...)                                                               \
    ((mr_onnx_node_fail)(model, node, err, status, __VA_ARGS__), (status))
#endif

/** Printf arguments of "%.*s" for a span, cut at 80 bytes. */
#define MR_ONNX_TEXT(span) (int)((span).bytes > 80 ? 80 : (span).bytes), (span).bytes ? (const char *)(span).data : ""

#endif
