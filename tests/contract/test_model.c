/* Every model type: it opens what it should, states the facts, refuses what is not its own, and scores through the cpu
 * backend. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "millrace/batch.h"
#include "modelfile/safetensors.h"
#include "registry.h"

static char path[64];

/* A file with one row of weights per output; what is not given is left out. */
struct file {
    const char *type, *activations, *features, *labels;
    struct mr_tensor_out tensor[6];
    const char *graph;
};

static void file_write(const struct file *file)
{
    const struct mr_metadata_out all[] = {{"millrace.type", file->type},
                                          {"millrace.version", "7"},
                                          {"millrace.activations", file->activations},
                                          {"millrace.features", file->features},
                                          {"millrace.labels", file->labels},
                                          {"millrace.graph", file->graph}};
    struct mr_metadata_out metadata[6];
    size_t metadata_count = 0, tensor_count = 0;
    struct mr_err err;
    for (size_t i = 0; i < 6; i++) {
        if (all[i].value) metadata[metadata_count++] = all[i];
    }
    while (tensor_count < 6 && file->tensor[tensor_count].name) tensor_count++;
    assert_int_equal(mr_safetensors_write(path, file->tensor, tensor_count, metadata, metadata_count, &err), MR_OK);
}

static const float w23[] = {1, 2, 3, 4, 5, 6}, b2[] = {0.5f, -0.5f}, w12[] = {1, -1}, b1[] = {0.25f};

static struct mr_model *open_ok(const struct mr_model_ops *ops)
{
    struct mr_model *model;
    struct mr_err err = {0};
    if (ops->open(&(struct mr_model_open){.file = path}, &model, &err)) fail_msg("%s", err.text);
    return model;
}

static void open_fails(const struct mr_model_ops *ops, const struct file *file, const char *reason)
{
    struct mr_model *model = (struct mr_model *)(uintptr_t)path;
    struct mr_err err = {0};
    file_write(file);
    assert_int_equal(ops->open(&(struct mr_model_open){.file = path}, &model, &err), MR_EDATA);
    assert_null(model);
    if (!strstr(err.text, reason) || !strstr(err.text, path))
        fail_msg("\"%s\" does not name \"%s\" and the file", err.text, reason);
}

/* Scores one row through the cpu backend; returns the class, y in y_out. */
static int32_t score_one(const struct mr_model_ops *ops, const struct mr_model *model, const float *x, float *y_out)
{
    const struct mr_backend_ops *const cpu = mr_backend_find("cpu");
    const struct mr_model_info *const info = ops->info(model);
    struct mr_backend *backend;
    struct mr_plan *plan;
    struct mr_queue *queue;
    struct mr_err err;
    assert_int_equal(cpu->open(NULL, &backend, &err), MR_OK);
    assert_int_equal(mr_plan_model(cpu, backend, ops, model, 1, MR_WANT_Y | MR_WANT_CLASS, &plan, &err), MR_OK);
    assert_int_equal(cpu->queue_open(backend, &queue, &err), MR_OK);
    struct mr_rows rows = {.row_count = 1, .row_cap = 1, .feature_count = info->feature_count};
    struct mr_scores scores = {.width = info->width, .row_cap = 1};
    rows.x = cpu->slab_acquire(backend, info->feature_count * 64 * sizeof(float));
    scores.y = cpu->slab_acquire(backend, info->width * 64 * sizeof(float));
    scores.class_index = cpu->slab_acquire(backend, 64 * sizeof(int32_t));
    for (size_t c = 0; c < info->feature_count; c++) rows.x[c * 64] = x[c];
    assert_int_equal(cpu->score(queue, plan, rows.x, rows.row_count, &scores, &err), MR_OK);
    assert_int_equal(cpu->wait(queue, &err), MR_OK);
    for (size_t o = 0; o < info->width; o++) y_out[o] = scores.y[o * 64];
    const int32_t class_index = scores.class_index[0];
    cpu->slab_release(backend, rows.x, info->feature_count * 64 * sizeof(float));
    cpu->slab_release(backend, scores.y, info->width * 64 * sizeof(float));
    cpu->slab_release(backend, scores.class_index, 64 * sizeof(int32_t));
    cpu->queue_close(queue);
    cpu->plan_destroy(plan);
    cpu->close(backend);
    return class_index;
}

static const struct file mlp_file = {.type = "mlp",
                                     .activations = "[\"relu\",\"sigmoid\"]",
                                     .features = "[\"a\",\"b\",\"c\"]",
                                     .labels = "[\"no\",\"yes\"]",
                                     .tensor = {{.name = "layer.0.weight", .rank = 2, .shape = {2, 3}, .f32 = w23},
                                                {.name = "layer.0.bias", .rank = 1, .shape = {2}, .f32 = b2},
                                                {.name = "layer.1.weight", .rank = 2, .shape = {1, 2}, .f32 = w12},
                                                {.name = "layer.1.bias", .rank = 1, .shape = {1}, .f32 = b1}}};

static void mlp_opens_and_scores(void **state)
{
    const struct mr_model_ops *const ops = mr_model_find("mlp");
    const float x[] = {1, -1,
                       0.5f}; /* layer 0: 1 - 2 + 1.5 + 0.5 = 1; 4 - 5 + 3 - 0.5 = 1.5; layer 1: 1 - 1.5 + 0.25 */
    float y;
    (void)state;
    file_write(&mlp_file);
    struct mr_model *const model = open_ok(ops);
    const struct mr_model_info *const info = ops->info(model);
    assert_string_equal(info->type, "mlp");
    assert_string_equal(info->version, "7");
    assert_int_equal(info->feature_count, 3);
    assert_string_equal(info->feature[2], "c");
    assert_int_equal(info->width, 1);
    assert_true(info->is_classifier);
    assert_int_equal(info->class_count, 2);
    assert_string_equal(info->label[1], "yes");
    assert_int_equal(info->parameter_count, 11);
    assert_true(info->flops_per_row == 16);
    assert_int_equal(score_one(ops, model, x, &y), 0);
    assert_true(fabs((double)y - 1 / (1 + exp(0.25))) < 1e-6);
    ops->close(model);
    ops->close(NULL);
}

static const char graph_text[] =
    "{\"features\":3,\"steps\":[{\"op\":\"dense\",\"of\":[0]},{\"op\":\"leaky_relu\",\"of\":[1],\"a\":0.5},"
    "{\"op\":\"columns\",\"of\":[2]},{\"op\":\"add\",\"of\":[2,3]}],\"y\":4,\"class\":4}";
static const int32_t last_columns[] = {1, 0}, past_columns[] = {1, 2};
static const float one2[] = {1, 1}, none2[] = {0, 0};

static struct file graph_file(const char *text)
{
    return (struct file){.type = "graph",
                         .labels = "[\"left\",\"right\"]",
                         .tensor = {{.name = "step.0.weight", .rank = 2, .shape = {2, 3}, .f32 = w23},
                                    {.name = "step.0.bias", .rank = 1, .shape = {2}, .f32 = b2},
                                    {.name = "step.2.column", .rank = 1, .shape = {2}, .i32 = last_columns},
                                    {.name = "step.2.weight", .rank = 1, .shape = {2}, .f32 = one2},
                                    {.name = "step.2.bias", .rank = 1, .shape = {2}, .f32 = b2},
                                    {.name = "step.2.shift", .rank = 1, .shape = {2}, .f32 = none2}},
                         .graph = text};
}

static void graph_opens_and_scores(void **state)
{
    const struct mr_model_ops *const ops = mr_model_find("graph");
    const struct file file = graph_file(graph_text);
    const float x[] = {1, -1, 0.5f}; /* dense: 1, 1.5; behind it 1 + (1.5 + 0.5), 1.5 + (1 - 0.5) */
    float y[2];
    (void)state;
    file_write(&file);
    struct mr_model *const model = open_ok(ops);
    assert_int_equal(ops->info(model)->class_count, 2);
    assert_int_equal(ops->info(model)->feature_count, 3);
    assert_string_equal(ops->info(model)->label[0], "left");
    assert_int_equal(score_one(ops, model, x, y), 0);
    assert_true(y[0] == 3 && y[1] == 2);
    ops->close(model);
    ops->close(NULL);
}

static void graph_refuses_what_does_not_fit(void **state)
{
#define ONE(step) "{\"features\":3,\"steps\":[" step "],\"y\":1}"
    static const struct {
        const char *text, *reason;
    } wrong[] = {
        {NULL, "no object in JSON"},
        {"[]", "no object in JSON"},
        {"{\"features\":0,\"steps\":[],\"y\":0}", "\"features\" must be"},
        {"{\"features\":3,\"steps\":[],\"y\":0}", "\"steps\" must list"},
        {ONE("{\"op\":\"sing\",\"of\":[0]}"), "step 0: there is no operation \"sing\""},
        {ONE("{\"op\":\"relu\",\"of\":[1]}"), "names no value before it"},
        {ONE("{\"op\":\"relu\",\"of\":[0.5]}"), "names no value before it"},
        {ONE("{\"op\":\"relu\",\"of\":[0,0]}"), "must list 1 value"},
        {ONE("{\"op\":\"add\",\"of\":[0]}"), "must list 2 values"},
        {ONE("{\"op\":\"elu\",\"of\":[0],\"a\":1e300}"), "\"a\" is no number"},
        {ONE("{\"op\":\"top\",\"of\":[0],\"count\":4}"), "\"count\" must be 1 to 3"},
        {ONE("{\"op\":\"columns\",\"of\":[0]}"), "tensor \"step.0.column\""},
        {"{\"features\":2,\"steps\":[{\"op\":\"dense\",\"of\":[0]}],\"y\":1}", "has 3 inputs, its value 2 columns"},
        {"{\"features\":3,\"steps\":[{\"op\":\"dense\",\"of\":[0]},{\"op\":\"add\",\"of\":[0,1]}],\"y\":1}",
         "3 and 2 columns"},
        {"{\"features\":3,\"steps\":[{\"op\":\"relu\",\"of\":[0]}],\"y\":2}", "\"y\" names no value"},
        {"{\"features\":3,\"steps\":[{\"op\":\"relu\",\"of\":[0]}],\"y\":1,\"class\":-1}", "\"class\" names no value"},
        {"{\"features\":3,\"steps\":[{\"op\":\"relu\",\"of\":[0]}],\"y\":1,\"class\":1}", "2 names in millrace.labels"},
    };
#undef ONE
    const struct mr_model_ops *const ops = mr_model_find("graph");
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        const struct file file = graph_file(wrong[i].text);
        open_fails(ops, &file, wrong[i].reason);
    }
    struct file past = graph_file(graph_text);
    past.tensor[2].i32 = past_columns;
    open_fails(ops, &past, "is no column of its value, which has 2");
}

static void linear_folds_its_input(void **state)
{
    static const double mean[] = {10, 20, 30}, scale[] = {2, 4, 8};
    const struct file file = {.type = "linear",
                              .tensor = {{.name = "weight", .rank = 2, .shape = {2, 3}, .f32 = w23},
                                         {.name = "bias", .rank = 1, .shape = {2}, .f32 = b2},
                                         {.name = "input.mean", .rank = 1, .shape = {3}, .f64 = mean},
                                         {.name = "input.scale", .rank = 1, .shape = {3}, .f64 = scale}}};
    const struct mr_model_ops *const ops = mr_model_find("linear");
    const float x[] = {12, 24, 38}; /* standardised: 1, 1, 1 */
    float y[2];
    (void)state;
    file_write(&file);
    struct mr_model *const model = open_ok(ops);
    assert_false(ops->info(model)->is_classifier);
    assert_int_equal(ops->info(model)->class_count, 0);
    assert_null(ops->info(model)->feature);
    score_one(ops, model, x, y);
    assert_true(fabs((double)y[0] - 6.5) < 1e-5);
    assert_true(fabs((double)y[1] - 14.5) < 1e-5);
    ops->close(model);
}

/* A mean far larger than the spread around it: folded into the bias, the digits of the difference would be gone. */
static void mean_comes_off_first(const char *type, const char *activations, const char *weight, const char *bias)
{
    static const double mean[] = {1e6 + 0.03125}, scale[] = {0.5}, w[] = {3}, b[] = {0.25};
    const struct file file = {.type = type,
                              .activations = activations,
                              .tensor = {{.name = weight, .rank = 2, .shape = {1, 1}, .f64 = w},
                                         {.name = bias, .rank = 1, .shape = {1}, .f64 = b},
                                         {.name = "input.mean", .rank = 1, .shape = {1}, .f64 = mean},
                                         {.name = "input.scale", .rank = 1, .shape = {1}, .f64 = scale}}};
    const struct mr_model_ops *const ops = mr_model_find(type);
    const float x = 1e6f + 0.125f;
    float y;
    file_write(&file);
    struct mr_model *const model = open_ok(ops);
    score_one(ops, model, &x, &y);
    assert_true(fabs((double)y - (3 * (0.125 - 0.03125) / 0.5 + 0.25)) < 1e-6);
    ops->close(model);
}

static void mlp_takes_the_mean_off_first(void **state)
{
    (void)state;
    mean_comes_off_first("mlp", "[\"identity\"]", "layer.0.weight", "layer.0.bias");
}

/* One that no learner made. */
static void linear_takes_the_mean_off_first(void **state)
{
    (void)state;
    mean_comes_off_first("linear", NULL, "weight", "bias");
}

static void logistic_is_binary_or_softmax(void **state)
{
    const struct mr_model_ops *const ops = mr_model_find("logistic");
    const struct file binary = {.type = "logistic",
                                .tensor = {{.name = "weight", .rank = 2, .shape = {1, 2}, .f32 = w12},
                                           {.name = "bias", .rank = 1, .shape = {1}, .f32 = b1}}};
    const struct file several = {.type = "logistic",
                                 .tensor = {{.name = "weight", .rank = 2, .shape = {2, 3}, .f32 = w23},
                                            {.name = "bias", .rank = 1, .shape = {2}, .f32 = b2}}};
    const float x[] = {1, 0.5f, 0};
    float y[2];
    (void)state;
    file_write(&binary);
    struct mr_model *model = open_ok(ops);
    assert_int_equal(ops->info(model)->class_count, 2);
    assert_int_equal(ops->info(model)->width, 1);
    assert_int_equal(score_one(ops, model, x, y), 1);
    assert_true(fabs((double)y[0] - 1 / (1 + exp(-0.75))) < 1e-6);
    ops->close(model);
    file_write(&several);
    model = open_ok(ops);
    assert_int_equal(ops->info(model)->class_count, 2);
    assert_int_equal(ops->info(model)->width, 2);
    assert_int_equal(score_one(ops, model, x, y), 1);
    assert_true(fabs((double)(y[0] + y[1]) - 1) < 1e-6);
    ops->close(model);
}

static void wrong_files_are_refused(void **state)
{
    static const float not_finite[] = {1, (float)INFINITY};
    static const double too_large[] = {1, 1e39}, zero[] = {1, 0};
    const struct mr_model_ops *const mlp = mr_model_find("mlp"), *const linear = mr_model_find("linear");
    struct file file = mlp_file;
    (void)state;
    file.type = "linear";
    open_fails(mlp, &file, "millrace.type");
    file = mlp_file;
    file.activations = "[\"relu\"]";
    open_fails(mlp, &file, "layer.1.weight");
    file.activations = "[\"softmax\",\"sigmoid\"]";
    open_fails(mlp, &file, "softmax can only be the last");
    file.activations = "[\"swish\",\"sigmoid\"]";
    open_fails(mlp, &file, "swish");
    file.activations = "{}";
    open_fails(mlp, &file, "not a JSON array");
    file.activations = NULL;
    open_fails(mlp, &file, "millrace.activations");
    file = mlp_file;
    file.features = "[\"a\"]";
    open_fails(mlp, &file, "millrace.features");
    file = mlp_file;
    file.labels = "[\"a\",\"b\",\"c\"]";
    open_fails(mlp, &file, "millrace.labels");
    file = mlp_file;
    file.tensor[2] = (struct mr_tensor_out){.name = "layer.1.weight", .rank = 2, .shape = {2, 1}, .f32 = w12};
    open_fails(mlp, &file, "layer.1.bias");
    file.tensor[3] = (struct mr_tensor_out){.name = "layer.1.bias", .rank = 1, .shape = {2}, .f32 = b2};
    open_fails(mlp, &file, "layer.1.weight");
    file = (struct file){.type = "linear",
                         .tensor = {{.name = "weight", .rank = 2, .shape = {1, 2}, .f32 = not_finite},
                                    {.name = "bias", .rank = 1, .shape = {1}, .f32 = b1}}};
    open_fails(linear, &file, "not finite");
    file.tensor[0] = (struct mr_tensor_out){.name = "weight", .rank = 2, .shape = {1, 2}, .f64 = too_large};
    open_fails(linear, &file, "float32");
    file.tensor[0] = (struct mr_tensor_out){.name = "weight", .rank = 1, .shape = {2}, .f32 = w12};
    open_fails(linear, &file, "dimensions");
    file.tensor[0] = (struct mr_tensor_out){.name = "weight", .rank = 2, .shape = {1, 2}, .f32 = w12};
    file.tensor[2] = (struct mr_tensor_out){.name = "input.scale", .rank = 1, .shape = {2}, .f64 = zero};
    open_fails(linear, &file, "input.mean");
    file.tensor[3] = (struct mr_tensor_out){.name = "input.mean", .rank = 1, .shape = {2}, .f32 = w12};
    open_fails(linear, &file, "input.scale");
    file.tensor[2] = (struct mr_tensor_out){.name = "input.scale", .rank = 1, .shape = {1}, .f32 = b1};
    open_fails(linear, &file, "input.scale");
}

static void missing_file_is_input_error(void **state)
{
    (void)state;
    for (size_t i = 0; mr_models[i]; i++) {
        struct mr_model *model;
        struct mr_err err;
        assert_int_equal(mr_models[i]->open(&(struct mr_model_open){.file = "/nonexistent/model"}, &model, &err),
                         MR_EINPUT);
        assert_null(model);
        assert_non_null(strstr(err.text, "/nonexistent/model"));
        assert_non_null(mr_models[i]->summary);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mlp_opens_and_scores),
        cmocka_unit_test(graph_opens_and_scores),
        cmocka_unit_test(graph_refuses_what_does_not_fit),
        cmocka_unit_test(linear_folds_its_input),
        cmocka_unit_test(mlp_takes_the_mean_off_first),
        cmocka_unit_test(linear_takes_the_mean_off_first),
        cmocka_unit_test(logistic_is_binary_or_softmax),
        cmocka_unit_test(wrong_files_are_refused),
        cmocka_unit_test(missing_file_is_input_error),
    };
    snprintf(path, sizeof path, "/tmp/millrace_model_%ld.safetensors", (long)getpid());
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(path);
    return failed;
}
