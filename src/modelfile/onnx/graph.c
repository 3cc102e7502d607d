#include "modelfile/onnx/graph.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "modelfile/onnx/names.h"

enum {
    MODEL_PRODUCER = 2,
    MODEL_PRODUCER_VERSION = 3,
    MODEL_GRAPH = 7,
    MODEL_OPSET = 8,
    MODEL_PROPS = 14,
    MODEL_FUNCTIONS = 25
};
enum { GRAPH_NODE = 1, GRAPH_NAME = 2, GRAPH_CONSTANT = 5, GRAPH_INPUT = 11, GRAPH_OUTPUT = 12, GRAPH_SPARSE = 15 };
enum { NODE_INPUT = 1, NODE_OUTPUT = 2, NODE_NAME = 3, NODE_OP = 4, NODE_ATTRIBUTE = 5, NODE_DOMAIN = 7 };

/* A model while it is read. */
struct reading {
    struct mr_onnx_model *model;
    struct mr_onnx_arena *arena;
    struct mr_onnx_names names;
    const struct mr_onnx_tensor **constant;
    unsigned char *is_made; /* [cap of names]: an input, a constant or a node makes it */
    struct mr_err *err;
};

static mr_status no_memory(const struct reading *at)
{
    return mr_fail(at->err, MR_ENOMEM, "model \"%s\": out of memory, or more than its size explains",
                   at->model->place.name);
}

static mr_status broken(const struct reading *at, const char *what)
{
    return mr_fail(at->err, MR_EDATA, "model \"%s\": not a whole ONNX file: %s is cut off or broken",
                   at->model->place.name, what);
}

bool mr_onnx_is(const void *bytes, size_t byte_count)
{
    /* ir_version, then the tag of another field. Where these three stand, safetensors has the size of its header, and
     * the third is at most 0x10. */
    const unsigned char *const at = bytes;
    return byte_count > 2 && at[0] == 0x08 && at[1] > 0 && at[1] < 0x80 && at[2] > 0x10;
}

/* How many fields of a number there are, all length-delimited. */
static bool fields_count(struct mr_onnx_span message, uint32_t number, size_t *count_out)
{
    struct mr_onnx_cursor cursor = {.left = message};
    struct mr_onnx_field field;
    *count_out = 0;
    while (mr_onnx_next(&cursor, &field)) {
        if (field.number != number) continue;
        if (field.kind != MR_WIRE_BYTES) return false;
        ++*count_out;
    }
    return !cursor.is_broken;
}

static mr_status opset_read(struct reading *at, struct mr_onnx_span bytes)
{
    struct mr_onnx_cursor cursor = {.left = bytes};
    struct mr_onnx_field field;
    struct mr_onnx_span domain = {0};
    uint64_t version = 0;
    while (mr_onnx_next(&cursor, &field)) {
        if (field.number == 1 && field.kind == MR_WIRE_BYTES) domain = field.bytes;
        if (field.number == 2 && field.kind == MR_WIRE_VARINT) version = field.value;
    }
    if (cursor.is_broken) return broken(at, "an opset");
    if (!domain.bytes || mr_onnx_span_is(domain, "ai.onnx"))
        at->model->opset = version > INT32_MAX ? INT32_MAX : (int64_t)version;
    if (mr_onnx_span_is(domain, "ai.onnx.ml")) at->model->opset_ml = version > INT32_MAX ? INT32_MAX : (int64_t)version;
    return MR_OK;
}

/* What millrace itself has put beside a graph; of others' metadata nothing is taken. */
static void prop_read(struct mr_onnx_model *model, struct mr_onnx_span bytes)
{
    struct mr_onnx_cursor cursor = {.left = bytes};
    struct mr_onnx_field field;
    struct mr_onnx_span key = {0}, value = {0};
    while (mr_onnx_next(&cursor, &field)) {
        if (field.number == 1 && field.kind == MR_WIRE_BYTES) key = field.bytes;
        if (field.number == 2 && field.kind == MR_WIRE_BYTES) value = field.bytes;
    }
    if (mr_onnx_span_is(key, "millrace.version")) model->version = value;
    if (mr_onnx_span_is(key, "millrace.features")) model->features = value;
}

static mr_status opsets_check(const struct reading *at)
{
    const struct mr_onnx_model *const model = at->model;
    if (model->opset && (model->opset < MR_ONNX_OPSET_LEAST || model->opset > MR_ONNX_OPSET_MAX))
        return mr_fail(at->err, MR_EDATA,
                       "model \"%s\": its opset is %lld, those read are %d to %d: export it with opset_version=17",
                       model->place.name, (long long)model->opset, MR_ONNX_OPSET_LEAST, MR_ONNX_OPSET_MAX);
    if (model->opset_ml > MR_ONNX_ML_MAX)
        return mr_fail(at->err, MR_EDATA,
                       "model \"%s\": its opset of ai.onnx.ml is %lld, those read are 1 to %d: export it with "
                       "target_opset {\"\": 17, \"ai.onnx.ml\": 3}",
                       model->place.name, (long long)model->opset_ml, MR_ONNX_ML_MAX);
    if (model->opset || model->opset_ml) return MR_OK;
    return mr_fail(at->err, MR_EDATA, "model \"%s\": it says no opset of ai.onnx", model->place.name);
}

/* The value of a name, which may be new. */
static mr_status value_of(struct reading *at, struct mr_onnx_span name, mr_onnx_value *value_out)
{
    if (mr_onnx_names_put(&at->names, name, value_out)) return MR_OK;
    if (at->names.count < at->names.cap) return no_memory(at);
    return mr_fail(at->err, MR_EDATA, "model \"%s\": more than %zu names of values", at->model->place.name,
                   at->names.cap);
}

/* What makes a value is there now; nothing else may make it, too. */
static mr_status make(struct reading *at, mr_onnx_value value, const char *what)
{
    const struct mr_onnx_span name = at->names.name[value];
    if (at->is_made[value])
        return mr_fail(at->err, MR_EDATA, "model \"%s\": %s \"%.*s\" is there twice", at->model->place.name, what,
                       MR_ONNX_TEXT(name));
    at->is_made[value] = 1;
    return MR_OK;
}

static mr_status constant_read(struct reading *at, struct mr_onnx_span proto)
{
    struct mr_onnx_tensor *tensor;
    struct mr_onnx_span name;
    mr_onnx_value value;
    mr_status status = mr_onnx_tensor_read(&at->model->place, proto, at->arena, &tensor, &name, at->err);
    if (!status) status = value_of(at, name, &value);
    if (!status) status = make(at, value, "the constant");
    if (!status) at->constant[value] = tensor;
    return status;
}

/* TypeProto.Tensor: element type and shape. */
static bool tensor_type_read(struct mr_onnx_port *port, struct mr_onnx_span bytes)
{
    struct mr_onnx_cursor cursor = {.left = bytes};
    struct mr_onnx_field field, dim, part;
    while (mr_onnx_next(&cursor, &field)) {
        if (field.number == 1 && field.kind == MR_WIRE_VARINT)
            port->type = field.value < 1000 ? (mr_onnx_type)field.value : MR_ONNX_NONE;
        if (field.number != 2 || field.kind != MR_WIRE_BYTES) continue;
        struct mr_onnx_cursor dims = {.left = field.bytes};
        port->has_shape = true;
        while (mr_onnx_next(&dims, &dim)) {
            struct mr_onnx_cursor parts = {.left = dim.bytes};
            if (dim.kind != MR_WIRE_BYTES || port->rank == MR_ONNX_RANK_MAX) return false;
            port->dim[port->rank] = -1;
            while (mr_onnx_next(&parts, &part)) {
                if (part.number == 1 && part.kind == MR_WIRE_VARINT && part.value > 0 && part.value <= INT32_MAX)
                    port->dim[port->rank] = (int64_t)part.value;
            }
            if (parts.is_broken) return false;
            port->rank++;
        }
        if (dims.is_broken) return false;
    }
    return !cursor.is_broken;
}

static bool port_read(struct mr_onnx_port *port, struct mr_onnx_span proto)
{
    struct mr_onnx_cursor cursor = {.left = proto};
    struct mr_onnx_field field, type;
    while (mr_onnx_next(&cursor, &field)) {
        if (field.number == 1 && field.kind == MR_WIRE_BYTES) port->name = field.bytes;
        if (field.number != 2 || field.kind != MR_WIRE_BYTES) continue;
        struct mr_onnx_cursor types = {.left = field.bytes};
        while (mr_onnx_next(&types, &type)) {
            if (type.number == 1 && type.kind == MR_WIRE_BYTES && !tensor_type_read(port, type.bytes)) return false;
        }
        if (types.is_broken) return false;
    }
    return !cursor.is_broken;
}

/* Ports of a kind; inputs that are constants are left out, as files before IR version 4 list these, too. */
static mr_status ports_read(struct reading *at, struct mr_onnx_span graph, uint32_t number, size_t count,
                            const struct mr_onnx_port **ports_out, size_t *count_out)
{
    struct mr_onnx_cursor cursor = {.left = graph};
    struct mr_onnx_field field;
    struct mr_onnx_port *const port = mr_onnx_take(at->arena, count, sizeof *port);
    size_t used = 0;
    if (!port) return no_memory(at);
    while (mr_onnx_next(&cursor, &field)) {
        if (field.number != number) continue;
        struct mr_onnx_port *const next = &port[used];
        *next = (struct mr_onnx_port){0};
        if (!port_read(next, field.bytes)) return broken(at, "an input or output");
        mr_status status = value_of(at, next->name, &next->value);
        if (!status && number == GRAPH_INPUT && at->constant[next->value]) continue;
        if (!status && number == GRAPH_INPUT) status = make(at, next->value, "the input");
        if (status) return status;
        used++;
    }
    *ports_out = port;
    *count_out = used;
    return MR_OK;
}

static mr_status attribute_read(struct reading *at, const struct mr_onnx_node *node, struct mr_onnx_span proto,
                                struct mr_onnx_attribute *attribute)
{
    struct mr_onnx_cursor cursor = {.left = proto};
    struct mr_onnx_field field;
    *attribute = (struct mr_onnx_attribute){.proto = proto};
    while (mr_onnx_next(&cursor, &field)) {
        if (field.number == 1 && field.kind == MR_WIRE_BYTES) attribute->name = field.bytes;
    }
    if (cursor.is_broken) return broken(at, "an attribute");
    return mr_onnx_attribute_check(at->model, node, attribute, at->err);
}

/* Room for what a node has, and its names. */
static mr_status node_head_read(struct reading *at, struct mr_onnx_span proto, struct mr_onnx_node *node,
                                struct mr_onnx_attribute **attribute_out)
{
    struct mr_onnx_cursor cursor = {.left = proto};
    struct mr_onnx_field field;
    struct mr_onnx_span domain = {0};
    while (mr_onnx_next(&cursor, &field)) {
        if (field.kind != MR_WIRE_BYTES) continue;
        if (field.number == NODE_INPUT) node->input_count++;
        if (field.number == NODE_OUTPUT) node->output_count++;
        if (field.number == NODE_ATTRIBUTE) node->attribute_count++;
        if (field.number == NODE_NAME) node->name = field.bytes;
        if (field.number == NODE_OP) node->op = field.bytes;
        if (field.number == NODE_DOMAIN) domain = field.bytes;
    }
    if (cursor.is_broken) return broken(at, "a node");
    node->input = mr_onnx_take(at->arena, node->input_count, sizeof *node->input);
    node->output = mr_onnx_take(at->arena, node->output_count, sizeof *node->output);
    *attribute_out = mr_onnx_take(at->arena, node->attribute_count, sizeof **attribute_out);
    node->attribute = *attribute_out;
    if (!node->input || !node->output || !*attribute_out) return no_memory(at);
    node->is_ml = mr_onnx_span_is(domain, "ai.onnx.ml");
    if (!domain.bytes || node->is_ml || mr_onnx_span_is(domain, "ai.onnx")) return MR_OK;
    return mr_onnx_node_fail(at->model, node, at->err, MR_EDATA,
                             "the domain \"%.*s\" is not known: export with standard operators (ai.onnx, ai.onnx.ml)",
                             MR_ONNX_TEXT(domain));
}

static mr_status node_input(struct reading *at, const struct mr_onnx_node *node, struct mr_onnx_span name,
                            mr_onnx_value *value_out)
{
    *value_out = MR_ONNX_NO_VALUE;
    if (!name.bytes) return MR_OK;
    const mr_status status = value_of(at, name, value_out);
    if (status || at->is_made[*value_out]) return status;
    return mr_onnx_node_fail(at->model, node, at->err, MR_EDATA,
                             "it reads \"%.*s\", which nothing before it makes: the graph has a cycle or is broken",
                             MR_ONNX_TEXT(name));
}

static mr_status node_read(struct reading *at, struct mr_onnx_span proto, struct mr_onnx_node *node)
{
    struct mr_onnx_cursor cursor = {.left = proto};
    struct mr_onnx_field field;
    struct mr_onnx_attribute *attribute = NULL;
    mr_onnx_value *input, *output;
    mr_status status = node_head_read(at, proto, node, &attribute);
    if (status) return status;
    input = node->input;
    output = node->output;
    while (!status && mr_onnx_next(&cursor, &field)) {
        if (field.kind != MR_WIRE_BYTES) continue;
        if (field.number == NODE_INPUT) status = node_input(at, node, field.bytes, input++);
        if (field.number == NODE_ATTRIBUTE) status = attribute_read(at, node, field.bytes, attribute++);
        if (field.number != NODE_OUTPUT) continue;
        *output = MR_ONNX_NO_VALUE;
        if (field.bytes.bytes) status = value_of(at, field.bytes, output);
        output++;
    }
    for (size_t i = 0; i < node->output_count && !status; i++) {
        if (node->output[i] != MR_ONNX_NO_VALUE) status = make(at, node->output[i], "the value");
    }
    return status;
}

static mr_status constants_read(struct reading *at, struct mr_onnx_span graph)
{
    struct mr_onnx_cursor cursor = {.left = graph};
    struct mr_onnx_field field;
    mr_status status = MR_OK;
    while (!status && mr_onnx_next(&cursor, &field)) {
        if (field.number == GRAPH_NAME && field.kind == MR_WIRE_BYTES) at->model->graph_name = field.bytes;
        if (field.number == GRAPH_SPARSE)
            return mr_fail(at->err, MR_EDATA, "model \"%s\": its sparse_initializer is not read: store weights dense",
                           at->model->place.name);
        if (field.number == GRAPH_CONSTANT) status = constant_read(at, field.bytes);
    }
    return status;
}

static mr_status nodes_read(struct reading *at, struct mr_onnx_span graph, size_t count)
{
    struct mr_onnx_cursor cursor = {.left = graph};
    struct mr_onnx_field field;
    struct mr_onnx_node *const node = mr_onnx_take(at->arena, count, sizeof *node);
    mr_status status = node ? MR_OK : no_memory(at);
    at->model->node = node;
    while (!status && mr_onnx_next(&cursor, &field)) {
        if (field.number == GRAPH_NODE) status = node_read(at, field.bytes, &node[at->model->node_count++]);
    }
    return status;
}

static mr_status outputs_check(struct reading *at)
{
    const struct mr_onnx_model *const model = at->model;
    for (size_t i = 0; i < model->output_count; i++) {
        if (at->is_made[model->output[i].value]) continue;
        return mr_fail(at->err, MR_EDATA, "model \"%s\": its output \"%.*s\" is made by nothing", model->place.name,
                       MR_ONNX_TEXT(model->output[i].name));
    }
    if (model->output_count) return MR_OK;
    return mr_fail(at->err, MR_EDATA, "model \"%s\": its graph has no output", model->place.name);
}

static mr_status graph_read(struct reading *at, struct mr_onnx_span graph)
{
    struct mr_onnx_model *const model = at->model;
    size_t nodes, constants, inputs, outputs;
    if (!fields_count(graph, GRAPH_NODE, &nodes) || !fields_count(graph, GRAPH_CONSTANT, &constants) ||
        !fields_count(graph, GRAPH_INPUT, &inputs) || !fields_count(graph, GRAPH_OUTPUT, &outputs))
        return broken(at, "the graph");
    if (nodes > MR_ONNX_NODES_MAX)
        return mr_fail(at->err, MR_EDATA, "model \"%s\": %zu nodes, at most %d are read", model->place.name, nodes,
                       MR_ONNX_NODES_MAX);
    /* Every name stands in the file, with its tag and length. */
    size_t cap = graph.bytes / 2 + 1;
    if (cap > MR_ONNX_NAMES_MAX) cap = MR_ONNX_NAMES_MAX;
    at->constant = mr_onnx_take(at->arena, cap, sizeof *at->constant);
    at->is_made = mr_onnx_take(at->arena, cap, 1);
    if (!mr_onnx_names_init(&at->names, cap, at->arena) || !at->constant || !at->is_made) return no_memory(at);
    mr_status status = constants_read(at, graph);
    if (!status) status = ports_read(at, graph, GRAPH_INPUT, inputs, &model->input, &model->input_count);
    if (!status) status = nodes_read(at, graph, nodes);
    if (!status) status = ports_read(at, graph, GRAPH_OUTPUT, outputs, &model->output, &model->output_count);
    if (!status) status = outputs_check(at);
    model->constant = at->constant;
    model->value_name = at->names.name;
    model->value_count = at->names.count;
    return status;
}

mr_status mr_onnx_model_read(const struct mr_onnx_place *place, struct mr_onnx_span bytes, struct mr_onnx_arena *arena,
                             struct mr_onnx_model *model, struct mr_err *err)
{
    struct reading at = {.model = model, .arena = arena, .err = err};
    struct mr_onnx_cursor cursor = {.left = bytes};
    struct mr_onnx_field field;
    struct mr_onnx_span graph = {0};
    bool has_functions = false;
    mr_status status = MR_OK;
    *model = (struct mr_onnx_model){.place = *place};
    while (!status && mr_onnx_next(&cursor, &field)) {
        if (field.number == MODEL_FUNCTIONS) has_functions = true;
        if (field.kind != MR_WIRE_BYTES) continue;
        if (field.number == MODEL_PRODUCER) model->producer = field.bytes;
        if (field.number == MODEL_PRODUCER_VERSION) model->producer_version = field.bytes;
        if (field.number == MODEL_GRAPH) graph = field.bytes;
        if (field.number == MODEL_OPSET) status = opset_read(&at, field.bytes);
        if (field.number == MODEL_PROPS) prop_read(model, field.bytes);
    }
    if (!status && cursor.is_broken) status = broken(&at, "a field");
    if (!status && !graph.data) status = broken(&at, "its graph");
    if (!status) status = opsets_check(&at);
    if (!status && has_functions)
        status =
            mr_fail(err, MR_EDATA,
                    "model \"%s\": it defines functions of its own: inline them (onnx.inliner.inline_local_functions)",
                    place->name);
    return status ? status : graph_read(&at, graph);
}

mr_status(mr_onnx_node_fail)(const struct mr_onnx_model *model, const struct mr_onnx_node *node, struct mr_err *err,
                             mr_status status, const char *format, ...)
{
    char reason[MR_ERR_TEXT_BYTES];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(reason, sizeof reason, format, arguments);
    va_end(arguments);
    char name[100]; /* or, of a node without one, which it is, from 0 */
    if (node->name.bytes)
        snprintf(name, sizeof name, "\"%.*s\"", MR_ONNX_TEXT(node->name));
    else
        snprintf(name, sizeof name, "%td", node - model->node);
    return mr_fail(err, status, "model \"%s\": node %s (%s%.*s, opset %lld): %s", model->place.name, name,
                   node->is_ml ? "ai.onnx.ml." : "", MR_ONNX_TEXT(node->op),
                   (long long)(node->is_ml ? model->opset_ml : model->opset), reason);
}
