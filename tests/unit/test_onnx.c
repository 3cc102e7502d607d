/* The import of ONNX: what graphs become, and each way in which a file can lie or be none of our models. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "modelfile/model_file.h"
#include "modelfile/onnx/import.h"

/* A message while it is written. */
struct message {
    unsigned char bytes[8192];
    size_t count;
};

static void varint_put(struct message *to, uint64_t value)
{
    for (; value >= 0x80; value >>= 7) to->bytes[to->count++] = (unsigned char)(value | 0x80);
    to->bytes[to->count++] = (unsigned char)value;
}

static void number_put(struct message *to, unsigned field, uint64_t value)
{
    varint_put(to, field << 3);
    varint_put(to, value);
}

static void bytes_put(struct message *to, unsigned field, const void *bytes, size_t count)
{
    varint_put(to, field << 3 | 2);
    varint_put(to, count);
    assert_true(to->count + count <= sizeof to->bytes);
    memcpy(to->bytes + to->count, bytes, count);
    to->count += count;
}

static void text_put(struct message *to, unsigned field, const char *text)
{
    bytes_put(to, field, text, strlen(text));
}

static void message_put(struct message *to, unsigned field, const struct message *part)
{
    bytes_put(to, field, part->bytes, part->count);
}

#define LEFT_OUT INT64_MIN /* a whole-number attribute without its value: a 0 of writers that know proto3 */

/* A node: "Op in,in > out,out", with an optional whole-number attribute. An empty name is an input left out. */
static void node_put(struct message *graph, const char *text, const char *attribute, int64_t value)
{
    struct message node = {.count = 0}, part = {.count = 0};
    char copy[128], *save, *arrow;
    snprintf(copy, sizeof copy, "%s", text);
    char *const op = strtok_r(copy, " ", &save), *const rest = save;
    arrow = strstr(rest, " > ");
    *arrow = '\0';
    for (char *at = rest; at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL)
        bytes_put(&node, 1, at, strcspn(at, ","));
    for (char *at = arrow + 3; at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL)
        bytes_put(&node, 2, at, strcspn(at, ","));
    text_put(&node, 3, "here");
    text_put(&node, 4, op);
    if (attribute) {
        text_put(&part, 1, attribute);
        if (value != LEFT_OUT) number_put(&part, 3, (uint64_t)value);
        number_put(&part, 20, 2);
        message_put(&node, 5, &part);
    }
    message_put(graph, 1, &node);
}

static void port_put(struct message *graph, unsigned field, const char *name, int type, const int *dim, size_t rank)
{
    struct message port = {.count = 0}, kind = {.count = 0}, tensor = {.count = 0}, shape = {.count = 0};
    for (size_t i = 0; i < rank; i++) {
        struct message size = {.count = 0};
        if (dim[i] >= 0) number_put(&size, 1, (uint64_t)dim[i]);
        message_put(&shape, 1, &size);
    }
    number_put(&tensor, 1, (uint64_t)type);
    message_put(&tensor, 2, &shape);
    message_put(&kind, 1, &tensor);
    text_put(&port, 1, name);
    message_put(&port, 2, &kind);
    message_put(graph, field, &port);
}

/* A float tensor whose values count up from 1, in raw data. */
#define VALUES_MAX 256
static float put_instead = 0; /* of value 130, if it is not 0 */

static void tensor_put(struct message *graph, const char *name, uint64_t rows, uint64_t cols, size_t value_count)
{
    struct message tensor = {.count = 0};
    float value[VALUES_MAX];
    for (size_t i = 0; i < VALUES_MAX; i++) value[i] = (float)i + 1;
    if (put_instead != 0) value[130] = put_instead;
    number_put(&tensor, 1, rows);
    if (cols) number_put(&tensor, 1, cols);
    number_put(&tensor, 2, 1);
    text_put(&tensor, 8, name);
    bytes_put(&tensor, 9, value, value_count * sizeof *value);
    message_put(graph, 5, &tensor);
}

/* A tensor of floats [4, 2] in another file. */
static void external_put(struct message *graph, const char *location)
{
    struct message tensor = {.count = 0}, pair = {.count = 0};
    number_put(&tensor, 1, 4);
    number_put(&tensor, 1, 2);
    number_put(&tensor, 2, 1);
    text_put(&tensor, 8, "w");
    text_put(&pair, 1, "location");
    text_put(&pair, 2, location);
    message_put(&tensor, 13, &pair);
    number_put(&tensor, 14, 1);
    message_put(graph, 5, &tensor);
}

static const int two_dims[] = {-1, 4};

/* A graph with the input x [rows, 4], whose nodes come afterwards. */
static struct message graph_make(void)
{
    struct message graph = {.count = 0};
    text_put(&graph, 2, "g");
    port_put(&graph, 11, "x", 1, two_dims, 2);
    return graph;
}

static struct message model_make(struct message *graph, uint64_t opset, const char *output)
{
    struct message model = {.count = 0}, imports = {.count = 0};
    if (output) port_put(graph, 12, output, 1, NULL, 0);
    number_put(&model, 1, 8);
    text_put(&model, 2, "test");
    message_put(&model, 7, graph);
    text_put(&imports, 1, "");
    number_put(&imports, 2, opset);
    message_put(&model, 8, &imports);
    return model;
}

/* From memory of exactly its size, so that the address sanitizer sees any read past the end. */
static mr_status import(const struct message *model, size_t bytes, struct mr_blob *out, struct mr_err *err)
{
    const struct mr_onnx_place place = {.name = "m.onnx", .folder = "/tmp/"};
    unsigned char *const copy = malloc(bytes ? bytes : 1);
    memcpy(copy, model->bytes, bytes);
    const mr_status status = mr_onnx_import(&place, copy, bytes, out, err);
    free(copy);
    return status;
}

static void refuse(const struct message *model, mr_status status, const char *reason)
{
    struct mr_blob blob = {0};
    struct mr_err err = {0};
    const mr_status got = import(model, model->count, &blob, &err);
    mr_blob_deinit(&blob);
    if (got != status || !strstr(err.text, reason) || !strstr(err.text, "m.onnx"))
        fail_msg("status %d, \"%s\" does not say \"%s\"", (int)got, err.text, reason);
}

static struct mr_safetensors *accept(const struct message *model, const char *type)
{
    struct mr_blob blob = {0};
    struct mr_err err = {0};
    struct mr_safetensors *file;
    if (import(model, model->count, &blob, &err)) fail_msg("%s", err.text);
    assert_int_equal(mr_safetensors_take("m.onnx", &blob, &file, &err), MR_OK);
    assert_string_equal(mr_safetensors_metadata(file, "millrace.type"), type);
    return file;
}

static struct message perceptron(void)
{
    struct message graph = graph_make();
    tensor_put(&graph, "w", 4, 3, 12);
    tensor_put(&graph, "b", 3, 0, 3);
    node_put(&graph, "MatMul x,w > a", NULL, 0);
    node_put(&graph, "Add a,b > c", NULL, 0);
    node_put(&graph, "Softmax c > p", "axis", 1);
    node_put(&graph, "ArgMax p > label", "axis", 1);
    port_put(&graph, 12, "label", 7, NULL, 0);
    return model_make(&graph, 13, "p");
}

static void a_perceptron_is_read(void **state)
{
    const struct message model = perceptron();
    struct mr_safetensors *const file = accept(&model, "logistic");
    const struct mr_tensor *const weight = mr_safetensors_find(file, "weight"), *const bias =
                                                                                    mr_safetensors_find(file, "bias");
    (void)state;
    assert_int_equal(weight->shape[0], 3);
    for (uint64_t i = 0; i < 12; i++) /* [out][in] of what was [in][out] */
        assert_true(mr_tensor_value(weight, i) == (double)(i % 4 * 3 + i / 4 + 1));
    assert_true(mr_tensor_value(bias, 2) == 3);
    assert_non_null(strstr(mr_safetensors_metadata(file, "millrace.origin"), "opset 13, 4 nodes: MatMul, Add"));
    mr_safetensors_close(file);
}

/* Cut off anywhere, a file is refused. */
static void cut_files_are_refused(void **state)
{
    const struct message model = perceptron();
    struct mr_blob blob = {0};
    struct mr_err err;
    (void)state;
    assert_int_equal(import(&model, model.count, &blob, &err), MR_OK);
    for (size_t bytes = 0; bytes < model.count; bytes++) assert_int_equal(import(&model, bytes, &blob, &err), MR_EDATA);
    mr_blob_deinit(&blob);
}

/* Constants are computed, and folded: (x - 1) / 2 in front, a batch norm behind, all in the weights. */
static void constants_are_folded(void **state)
{
    struct message graph = graph_make();
    (void)state;
    tensor_put(&graph, "one", 1, 0, 1);
    tensor_put(&graph, "v", 4, 0, 4);
    tensor_put(&graph, "w", 4, 1, 4);
    node_put(&graph, "Add one,one > two", NULL, 0);
    node_put(&graph, "Sub x,one > a", NULL, 0);
    node_put(&graph, "Div a,two > b", NULL, 0);
    node_put(&graph, "Identity b > c", NULL, 0);
    node_put(&graph, "MatMul c,w > d", NULL, 0);
    node_put(&graph, "Mul d,two > e", NULL, 0);
    const struct message model = model_make(&graph, 17, "e");
    struct mr_safetensors *const file = accept(&model, "linear");
    assert_true(mr_tensor_value(mr_safetensors_find(file, "input.mean"), 3) == 1);
    assert_true(mr_tensor_value(mr_safetensors_find(file, "input.scale"), 3) == 2);
    for (uint64_t i = 0; i < 4; i++)
        assert_true(mr_tensor_value(mr_safetensors_find(file, "weight"), i) == 2 * (double)(i + 1));
    mr_safetensors_close(file);
}

/* One input a column: their names are the features'. */
static void inputs_name_features(void **state)
{
    struct message graph = {.count = 0};
    const int one_dim[] = {-1, 1};
    (void)state;
    tensor_put(&graph, "w", 2, 1, 2);
    port_put(&graph, 11, "speed", 1, one_dim, 2);
    port_put(&graph, 11, "load", 1, one_dim, 2);
    node_put(&graph, "Concat load,speed > x", "axis", 1);
    node_put(&graph, "MatMul x,w > y", NULL, 0);
    const struct message model = model_make(&graph, 17, "y");
    struct mr_safetensors *const file = accept(&model, "linear");
    assert_string_equal(mr_safetensors_metadata(file, "millrace.features"), "[\"speed\",\"load\"]");
    assert_true(mr_tensor_value(mr_safetensors_find(file, "weight"), 0) == 2);
    mr_safetensors_close(file);
}

/* One node behind the input, which no model of ours can be. */
static void other_graphs_are_refused(void **state)
{
    static const struct {
        const char *node, *attribute;
        int64_t value;
        const char *reason;
    } wrong[] = {
        {"LSTM x > y", NULL, 0, "node \"here\" (LSTM, opset 17): this operator is not known"},
        {"IsNaN x > y", NULL, 0, "(IsNaN, opset 17): no model of ours"},
        {"PRelu x,x > y", NULL, 0, "(PRelu, opset 17): no model of ours"},
        {"Clip x,b > y", NULL, 0, "bounds are not single numbers"},
        {"Max x,b > y", NULL, 0, "constant that is not one number"},
        {"ReduceSum x > y", "keepdims", 1, "over the columns of a row"},
        {"LogSoftmax x > y", "axis", 0, "over the columns of a row"},
        {"TopK x,b > y,z", NULL, 0, "its k is not constant"},
        {"Split x > y,z", "axis", 0, "not along the columns"},
        {"MatMul x,x > y", NULL, 0, "no constant where one must be"},
        {"MatMul x,b > y", NULL, 0, "does not fit the columns"},
        {"Gemm x,w > y", "transA", 1, "transA"},
        {"Gemm x,w > y", "transB", 1, "does not fit the columns"},
        {"Add x,b > y", NULL, 0, "nor one a column"},
        {"Softmax x > y", "axis", 0, "columns of a row"},
        {"Softmax x > y", "axis", LEFT_OUT, "columns of a row"},
        {"LeakyRelu x > y", "alpha", 1, "its attribute alpha is an integer, not a float"},
        {"Gemm x,w > y", "beta", LEFT_OUT, "its attribute beta is an integer, not a float"},
        {"ArgMax x > y", "axis", 0, "columns of a row"},
        {"Cast x > y", "to", 2, "rounds numbers"},
        {"Concat x,x > y", "axis", 0, "joins other things"},
        {"Flatten x > y", "axis", 0, "rows together"},
        {"Reshape x,b > y", NULL, 0, "mixes rows and columns"},
        {"Gather x,b > y", "axis", 1, "constant numbers of columns"},
        {"Identity z > y", NULL, 0, "nothing before it makes"},
        {"Identity x > x", NULL, 0, "is there twice"},
        {"Relu  > y", NULL, 0, "it has 0 inputs"},
        {"Identity b > y", NULL, 0, "does not depend on the input"},
        {"Div b,zero > y", NULL, 0, "do not fit"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct message graph = graph_make();
        tensor_put(&graph, "w", 4, 3, 12);
        tensor_put(&graph, "b", 3, 0, 3);
        tensor_put(&graph, "zero", 2, 0, 2);
        node_put(&graph, wrong[i].node, wrong[i].attribute, wrong[i].value);
        const struct message model = model_make(&graph, 17, "y");
        refuse(&model, MR_EDATA, wrong[i].reason);
    }
}

/* Two nodes: what the first one gives is not what the second one could be given elsewhere. */
static void wrong_pairs_are_refused(void **state)
{
    static const struct {
        const char *first, *attribute;
        int64_t value;
        const char *second, *reason;
    } wrong[] = {
        {"Cast x > i", "to", 7, "Div i,two > y", "computes with whole numbers and rounds"},
        {"TopK x,one > v,i", "axis", 1, "Mean i,i > y", "computes with whole numbers and rounds"},
        {"ReduceSum x > s", "keepdims", 0, "Relu s > y", "over the columns of a row"},
        {"MatMul x,two > r", NULL, 0, "Add r,square > y", "more dimensions than what it meets"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct message graph = graph_make();
        tensor_put(&graph, "one", 1, 0, 1);
        tensor_put(&graph, "two", 4, 0, 4);
        tensor_put(&graph, "square", 2, 2, 4);
        node_put(&graph, wrong[i].first, wrong[i].attribute, wrong[i].value);
        node_put(&graph, wrong[i].second, NULL, 0);
        const struct message model = model_make(&graph, 17, "y");
        refuse(&model, MR_EDATA, wrong[i].reason);
    }
}

/* The least column is the class: no perceptron, whose class is the largest, and no k-means, whose biases are squares.
 */
static void the_least_column_is_a_graph(void **state)
{
    struct message graph = graph_make();
    (void)state;
    tensor_put(&graph, "w", 4, 3, 12);
    tensor_put(&graph, "b", 3, 0, 3);
    node_put(&graph, "MatMul x,w > a", NULL, 0);
    node_put(&graph, "Add a,b > c", NULL, 0);
    node_put(&graph, "ArgMin c > label", "axis", 1);
    port_put(&graph, 12, "label", 7, NULL, 0);
    const struct message model = model_make(&graph, 13, "c");
    struct mr_safetensors *const file = accept(&model, "graph");
    assert_non_null(strstr(mr_safetensors_metadata(file, "millrace.graph"), "\"least\":true"));
    mr_safetensors_close(file);
}

static void wrong_tensors_are_refused(void **state)
{
    static const struct {
        uint64_t rows, cols;
        size_t value_count;
        const char *reason;
    } wrong[] = {
        {4, 3, 11, "another size than its shape"},
        {4, 3, 13, "another size than its shape"},
        {(uint64_t)1 << 40, (uint64_t)1 << 40, 1, "more values than there are"},
        {UINT64_MAX, 1, 1, "negative"},
        {100, 100, 1, "more values than there are"},
        {0, 0, 0, "columns"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct message graph = graph_make();
        tensor_put(&graph, "w", wrong[i].rows, wrong[i].cols, wrong[i].value_count);
        node_put(&graph, "MatMul x,w > y", NULL, 0);
        const struct message model = model_make(&graph, 17, "y");
        refuse(&model, MR_EDATA, wrong[i].rows ? wrong[i].reason : "matrix");
    }
}

static void opsets_and_ports_are_checked(void **state)
{
    static const uint64_t opsets[] = {8, 26, (uint64_t)1 << 60};
    static const int text_dims[] = {-1, 4}, open_dims[] = {-1, -1};
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct message graph = graph_make();
        node_put(&graph, "Identity x > y", NULL, 0);
        const struct message model = model_make(&graph, opsets[i], "y");
        refuse(&model, MR_EDATA, "its opset is");
    }
    struct message text = {.count = 0}, open = {.count = 0}, none = graph_make();
    port_put(&text, 11, "x", 8, text_dims, 2);
    node_put(&text, "Identity x > y", NULL, 0);
    struct message model = model_make(&text, 17, "y");
    refuse(&model, MR_EDATA, "is string");
    port_put(&open, 11, "x", 1, open_dims, 2);
    node_put(&open, "Identity x > y", NULL, 0);
    model = model_make(&open, 17, "y");
    refuse(&model, MR_EDATA, "unknown size in dimension 1");
    model = model_make(&none, 17, NULL);
    refuse(&model, MR_EDATA, "no output");
}

static void external_data_stays_below_the_folder(void **state)
{
    static const char *const outside[] = {"/etc/passwd", "../w", "a/../../w", "..", ""};
    (void)state;
    for (size_t i = 0; i < sizeof outside / sizeof *outside; i++) {
        struct message graph = graph_make();
        external_put(&graph, outside[i]);
        node_put(&graph, "MatMul x,w > y", NULL, 0);
        const struct message model = model_make(&graph, 17, "y");
        refuse(&model, MR_EDATA, "outside of the model's folder");
    }
    char name[64], path[80];
    snprintf(name, sizeof name, "millrace_onnx_%ld", (long)getpid());
    snprintf(path, sizeof path, "/tmp/%s", name);
    struct message graph = graph_make();
    external_put(&graph, name);
    node_put(&graph, "MatMul x,w > y", NULL, 0);
    const struct message model = model_make(&graph, 17, "y");
    refuse(&model, MR_EINPUT, path); /* the file is missing: it is named */
    FILE *const file = fopen(path, "wb");
    const float value[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    assert_int_equal(fwrite(value, 1, 31, file), 31);
    fflush(file);
    refuse(&model, MR_EDATA, "shorter");
    assert_int_equal(fwrite((const char *)value + 31, 1, 1, file), 1);
    fclose(file);
    mr_safetensors_close(accept(&model, "linear"));
    unlink(path);
}

/* A weight that is no number passes the import, and is named when the model is opened. */
static void weights_that_are_not_finite_are_named(void **state)
{
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        struct message graph = graph_make();
        const struct mr_tensor *weight;
        struct mr_err err = {0};
        put_instead = i < 3 ? bad[i] : 0;
        tensor_put(&graph, "w", 50, 4, 200);
        put_instead = 0;
        node_put(&graph, "Gemm x,w > y", "transB", 1);
        const struct message model = model_make(&graph, 17, "y");
        struct mr_safetensors *const file = accept(&model, "linear");
        assert_int_equal(mr_model_tensor(file, "weight", 2, 0, &weight, &err), i < 3 ? MR_EDATA : MR_OK);
        if (i < 3) assert_non_null(strstr(err.text, "value 130 is not finite"));
        mr_safetensors_close(file);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_perceptron_is_read),
        cmocka_unit_test(cut_files_are_refused),
        cmocka_unit_test(constants_are_folded),
        cmocka_unit_test(inputs_name_features),
        cmocka_unit_test(other_graphs_are_refused),
        cmocka_unit_test(wrong_pairs_are_refused),
        cmocka_unit_test(the_least_column_is_a_graph),
        cmocka_unit_test(wrong_tensors_are_refused),
        cmocka_unit_test(opsets_and_ports_are_checked),
        cmocka_unit_test(external_data_stays_below_the_folder),
        cmocka_unit_test(weights_that_are_not_finite_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
