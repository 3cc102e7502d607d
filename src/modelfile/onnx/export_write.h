/** Writing a graph of ONNX: nodes, constants, what goes in and comes out. Inside of this folder. */
#ifndef MR_ONNX_EXPORT_WRITE_H
#define MR_ONNX_EXPORT_WRITE_H

#include <stdbool.h>
#include <stdint.h>

#include "millrace/blob.h"
#include "modelfile/model_file.h"
#include "modelfile/onnx/tensor.h"

/* Fields of a GraphProto. */
#define MR_ONNX_GRAPH_INPUT  11
#define MR_ONNX_GRAPH_OUTPUT 12

/** A graph that is being written. Starts zeroed but for file and is_double. */
struct mr_onnx_writer {
    const struct mr_safetensors *file;
    struct mr_model_meta meta;
    struct mr_blob graph;
    bool is_double; /* float64 inside */
    bool is_new;    /* operators of opset 20 */
    bool is_out_of_memory;
    unsigned nodes;
    size_t in, out;
    char value[32]; /* what the last node has made */
};

/** An attribute on its way into a node. */
struct mr_onnx_attr {
    const char *name;
    enum { WITH_FLOAT, WITH_INT, WITH_INTS, WITH_TEXT } kind;
    double number;
    const char *text;
};

/** Notes that memory is out when something could not be put. */
void mr_onnx_check(struct mr_onnx_writer *w, bool is_put);

/** Adds a node that makes `output`; inputs end with NULL. */
void mr_onnx_node_put(struct mr_onnx_writer *w, const char *op, const char *const *input, const char *output,
                      const struct mr_onnx_attr *attribute, size_t attribute_count);

/** The same with two outputs. */
void mr_onnx_node_put_two(struct mr_onnx_writer *w, const char *op, const char *const *input, const char *output,
                          const char *other, const struct mr_onnx_attr *attribute, size_t attribute_count);

/** The next node of a chain: of what the last one has made, and one or two constants, which may be NULL. */
void mr_onnx_step_put(struct mr_onnx_writer *w, const char *op, const char *constant, const char *other,
                      const struct mr_onnx_attr *attribute, size_t attribute_count);

/** A constant, in the graph's own precision. */
void mr_onnx_numbers_put(struct mr_onnx_writer *w, const char *name, const double *value, const size_t *dim,
                         size_t rank);

/** A constant of whole numbers, [count]. */
void mr_onnx_integers_put(struct mr_onnx_writer *w, const char *name, const int64_t *value, size_t count);

/** A tensor's values; NULL: no memory, which is noted. The caller frees them. */
double *mr_onnx_values_take(struct mr_onnx_writer *w, const struct mr_tensor *tensor);

/** A tensor of the model as a constant of the same name. */
void mr_onnx_constant_put(struct mr_onnx_writer *w, const struct mr_tensor *tensor);

/** A value that goes in or comes out; width 0: one value a row. */
void mr_onnx_port_put(struct mr_onnx_writer *w, uint32_t field, const char *name, int type, size_t width);

/** The input, "features"; w->value is then what the first node reads. */
void mr_onnx_features_begin(struct mr_onnx_writer *w, size_t in);

/** The last value becomes an output of the graph: in float32. */
void mr_onnx_output_put(struct mr_onnx_writer *w, const char *name, size_t width);

/** "label": the index of the largest (ArgMax; ArgMin: least) column of the last value, or what it is called. */
void mr_onnx_label_put(struct mr_onnx_writer *w, const char *op);

/** Nodes and outputs of a model of type graph. MR_EDATA: it is none. export_graph.c. */
mr_status mr_onnx_graph_put(struct mr_onnx_writer *w, struct mr_err *err);

#endif
