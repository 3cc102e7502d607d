#include "modelfile/onnx/export_write.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "modelfile/onnx/wire_write.h"

/* Numbers of the fields and types of onnx.proto. */
enum { GRAPH_NODE = 1, GRAPH_CONSTANT = 5 };
enum { NODE_INPUT = 1, NODE_OUTPUT = 2, NODE_NAME = 3, NODE_OP = 4, NODE_ATTRIBUTE = 5 };
enum {
    ATTRIBUTE_NAME = 1,
    ATTRIBUTE_FLOAT = 2,
    ATTRIBUTE_INT = 3,
    ATTRIBUTE_STRING = 4,
    ATTRIBUTE_INTS = 8,
    ATTRIBUTE_TYPE = 20
};
enum { TYPE_FLOAT = 1, TYPE_INT = 2, TYPE_STRING = 3, TYPE_INTS = 7 };
enum { TENSOR_DIM = 1, TENSOR_TYPE = 2, TENSOR_TEXT = 6, TENSOR_NAME = 8, TENSOR_RAW = 9 };
enum { PORT_NAME = 1, PORT_TYPE = 2, TYPE_TENSOR = 1, ELEMENT = 1, SHAPE = 2, DIM = 1, DIM_VALUE = 1, DIM_NAME = 2 };

void mr_onnx_check(struct mr_onnx_writer *w, bool is_put)
{
    w->is_out_of_memory |= !is_put;
}

/* ---- nodes ---- */

static void attribute_put(struct mr_onnx_writer *w, struct mr_blob *node, const struct mr_onnx_attr *attribute)
{
    static const int types[] = {
        [WITH_FLOAT] = TYPE_FLOAT, [WITH_INT] = TYPE_INT, [WITH_INTS] = TYPE_INTS, [WITH_TEXT] = TYPE_STRING};
    struct mr_blob message = {0};
    mr_onnx_check(w, mr_onnx_wire_text(&message, ATTRIBUTE_NAME, attribute->name));
    if (attribute->kind == WITH_FLOAT)
        mr_onnx_check(w, mr_onnx_wire_float(&message, ATTRIBUTE_FLOAT, (float)attribute->number));
    else if (attribute->kind == WITH_TEXT)
        mr_onnx_check(w, mr_onnx_wire_text(&message, ATTRIBUTE_STRING, attribute->text));
    else
        mr_onnx_check(w, mr_onnx_wire_int(&message, attribute->kind == WITH_INT ? ATTRIBUTE_INT : ATTRIBUTE_INTS,
                                          (int64_t)attribute->number));
    mr_onnx_check(w, mr_onnx_wire_int(&message, ATTRIBUTE_TYPE, types[attribute->kind]));
    mr_onnx_check(w, mr_onnx_wire_message(node, NODE_ATTRIBUTE, &message));
}

void mr_onnx_node_put_two(struct mr_onnx_writer *w, const char *op, const char *const *input, const char *output,
                          const char *other, const struct mr_onnx_attr *attribute, size_t attribute_count)
{
    struct mr_blob node = {0};
    char name[32];
    snprintf(name, sizeof name, "%s_%u", op, w->nodes++);
    for (; *input; input++) mr_onnx_check(w, mr_onnx_wire_text(&node, NODE_INPUT, *input));
    mr_onnx_check(w, mr_onnx_wire_text(&node, NODE_OUTPUT, output));
    if (other) mr_onnx_check(w, mr_onnx_wire_text(&node, NODE_OUTPUT, other));
    mr_onnx_check(w, mr_onnx_wire_text(&node, NODE_NAME, name));
    mr_onnx_check(w, mr_onnx_wire_text(&node, NODE_OP, op));
    for (size_t i = 0; i < attribute_count; i++) attribute_put(w, &node, &attribute[i]);
    mr_onnx_check(w, mr_onnx_wire_message(&w->graph, GRAPH_NODE, &node));
}

void mr_onnx_node_put(struct mr_onnx_writer *w, const char *op, const char *const *input, const char *output,
                      const struct mr_onnx_attr *attribute, size_t attribute_count)
{
    mr_onnx_node_put_two(w, op, input, output, NULL, attribute, attribute_count);
}

/* The next node of a chain: of what the last one has made, and one or two constants. */
void mr_onnx_step_put(struct mr_onnx_writer *w, const char *op, const char *constant, const char *other,
                      const struct mr_onnx_attr *attribute, size_t attribute_count)
{
    char from[sizeof w->value];
    memcpy(from, w->value, sizeof from);
    const char *const input[] = {from, constant, other, NULL};
    snprintf(w->value, sizeof w->value, "value_%u", w->nodes);
    mr_onnx_node_put(w, op, input, w->value, attribute, attribute_count);
}

/* ---- constants ---- */

static void tensor_put(struct mr_onnx_writer *w, const char *name, const size_t *dim, size_t rank, int type,
                       struct mr_blob *tensor)
{
    for (size_t i = 0; i < rank; i++) mr_onnx_check(w, mr_onnx_wire_int(tensor, TENSOR_DIM, (int64_t)dim[i]));
    mr_onnx_check(w, mr_onnx_wire_int(tensor, TENSOR_TYPE, type));
    mr_onnx_check(w, mr_onnx_wire_text(tensor, TENSOR_NAME, name));
    mr_onnx_check(w, mr_onnx_wire_message(&w->graph, GRAPH_CONSTANT, tensor));
}

/* Numbers in the graph's own precision. */
void mr_onnx_numbers_put(struct mr_onnx_writer *w, const char *name, const double *value, const size_t *dim,
                         size_t rank)
{
    struct mr_blob tensor = {0};
    size_t count = 1;
    for (size_t i = 0; i < rank; i++) count *= dim[i];
    float *const rounded = w->is_double ? NULL : calloc(count + 1, sizeof *rounded);
    for (size_t i = 0; rounded && i < count; i++) rounded[i] = (float)value[i];
    mr_onnx_check(w, w->is_double || rounded);
    if (w->is_double || rounded)
        mr_onnx_check(w, mr_onnx_wire_bytes(&tensor, TENSOR_RAW, rounded ? (const void *)rounded : value,
                                            count * (rounded ? sizeof *rounded : sizeof *value)));
    tensor_put(w, name, dim, rank, w->is_double ? MR_ONNX_DOUBLE : MR_ONNX_FLOAT, &tensor);
    free(rounded);
}

void mr_onnx_integers_put(struct mr_onnx_writer *w, const char *name, const int64_t *value, size_t count)
{
    struct mr_blob tensor = {0};
    mr_onnx_check(w, mr_onnx_wire_bytes(&tensor, TENSOR_RAW, value, count * sizeof *value));
    tensor_put(w, name, &count, 1, MR_ONNX_INT64, &tensor);
}

/* A tensor's values; NULL: no memory, which is noted. The caller frees them. */
double *mr_onnx_values_take(struct mr_onnx_writer *w, const struct mr_tensor *tensor)
{
    double *const value = calloc((size_t)tensor->count + 1, sizeof *value);
    mr_onnx_check(w, value != NULL);
    for (uint64_t i = 0; value && i < tensor->count; i++) value[i] = mr_tensor_value(tensor, i);
    return value;
}

/* A tensor of the model as a constant of the same name. */
void mr_onnx_constant_put(struct mr_onnx_writer *w, const struct mr_tensor *tensor)
{
    size_t dim[MR_TENSOR_RANK_MAX] = {0};
    for (size_t i = 0; i < tensor->rank; i++) dim[i] = (size_t)tensor->shape[i];
    double *const value = mr_onnx_values_take(w, tensor);
    if (value) mr_onnx_numbers_put(w, tensor->name, value, dim, tensor->rank);
    free(value);
}

static void texts_put(struct mr_onnx_writer *w, const char *name, const struct mr_names *texts)
{
    struct mr_blob tensor = {0};
    for (size_t i = 0; i < texts->count; i++) mr_onnx_check(w, mr_onnx_wire_text(&tensor, TENSOR_TEXT, texts->item[i]));
    tensor_put(w, name, &texts->count, 1, MR_ONNX_STRING, &tensor);
}

/* ---- what goes in, and comes out ---- */

/* width 0: one value a row. */
void mr_onnx_port_put(struct mr_onnx_writer *w, uint32_t field, const char *name, int type, size_t width)
{
    struct mr_blob port = {0}, kind = {0}, tensor = {0}, shape = {0}, dim = {0};
    mr_onnx_check(w, mr_onnx_wire_text(&dim, DIM_NAME, "rows") && mr_onnx_wire_message(&shape, DIM, &dim));
    if (width)
        mr_onnx_check(w, mr_onnx_wire_int(&dim, DIM_VALUE, (int64_t)width) && mr_onnx_wire_message(&shape, DIM, &dim));
    mr_onnx_check(w, mr_onnx_wire_int(&tensor, ELEMENT, type) && mr_onnx_wire_message(&tensor, SHAPE, &shape) &&
                         mr_onnx_wire_message(&kind, TYPE_TENSOR, &tensor) &&
                         mr_onnx_wire_text(&port, PORT_NAME, name) && mr_onnx_wire_message(&port, PORT_TYPE, &kind));
    mr_onnx_check(w, mr_onnx_wire_message(&w->graph, field, &port));
    mr_blob_deinit(&dim);
    mr_blob_deinit(&shape);
    mr_blob_deinit(&tensor);
    mr_blob_deinit(&kind);
}

void mr_onnx_features_begin(struct mr_onnx_writer *w, size_t in)
{
    w->in = in;
    mr_onnx_port_put(w, MR_ONNX_GRAPH_INPUT, "features", MR_ONNX_FLOAT, in);
    snprintf(w->value, sizeof w->value, "features");
    if (w->is_double)
        mr_onnx_step_put(w, "Cast", NULL, NULL,
                         &(struct mr_onnx_attr){.name = "to", .kind = WITH_INT, .number = MR_ONNX_DOUBLE}, 1);
}

/* The last value becomes an output of the graph: in float32. */
void mr_onnx_output_put(struct mr_onnx_writer *w, const char *name, size_t width)
{
    const char *const input[] = {w->value, NULL};
    mr_onnx_node_put(w, "Cast", input, name,
                     &(struct mr_onnx_attr){.name = "to", .kind = WITH_INT, .number = MR_ONNX_FLOAT}, 1);
    mr_onnx_port_put(w, MR_ONNX_GRAPH_OUTPUT, name, MR_ONNX_FLOAT, width);
}

/* "label": the index of the largest (or least) column of the last value, or what it is called. */
void mr_onnx_label_put(struct mr_onnx_writer *w, const char *op)
{
    static const struct mr_onnx_attr columns[] = {{.name = "axis", .kind = WITH_INT, .number = 1},
                                                  {.name = "keepdims", .kind = WITH_INT, .number = 0}};
    const bool has_names = w->meta.labels.item != NULL;
    const char *const value[] = {w->value, NULL}, *const pick[] = {"labels", "index", NULL};
    if (has_names) texts_put(w, "labels", &w->meta.labels);
    mr_onnx_node_put(w, op, value, has_names ? "index" : "label", columns, 2);
    if (has_names) mr_onnx_node_put(w, "Gather", pick, "label", NULL, 0);
    mr_onnx_port_put(w, MR_ONNX_GRAPH_OUTPUT, "label", has_names ? MR_ONNX_STRING : MR_ONNX_INT64, 0);
}
