/*
 * compat "spark": every batch of the streams in tests/golden/spark/streams.json, which Spark's own streaming classes
 * learned from (make_streams.py), leaves the same weights and centres here: to 1e-9 of their size.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cjson/cJSON.h>
#include <cmocka.h>

#include "millrace/batch.h"
#include "model_save.h"
#include "modelfile/safetensors.h"
#include "registry.h"

#define TOLERANCE 1e-9

static cJSON *golden;

static void golden_read(void)
{
    FILE *const file = fopen(MR_SOURCE_DIR "/tests/golden/spark/streams.json", "r");
    char *const text = malloc(1 << 22);
    assert_non_null(file);
    assert_non_null(text);
    const size_t bytes = fread(text, 1, (1 << 22) - 1, file);
    text[bytes] = '\0';
    fclose(file);
    golden = cJSON_Parse(text);
    free(text);
    assert_non_null(golden);
}

static const cJSON *get(const cJSON *object, const char *key)
{
    const cJSON *const item = cJSON_GetObjectItem(object, key);
    if (!item) fail_msg("streams.json: no %s", key);
    return item;
}

/* The options of the golden file, as a job would give them. */
static void *options_make(const struct mr_model_ops *ops, const cJSON *stream)
{
    void *const options = calloc(1, ops->options_size);
    struct mr_err err;
    assert_int_equal(mr_options_init(ops->options, options, &err), MR_OK);
    assert_int_equal(mr_options_set(ops->options, options, "learn", "true", &err), MR_OK);
    assert_int_equal(mr_options_set(ops->options, options, "compat", "spark", &err), MR_OK);
    for (const cJSON *item = get(stream, "options")->child; item; item = item->next) {
        char text[64];
        if (cJSON_IsString(item))
            snprintf(text, sizeof text, "%s", item->valuestring);
        else if (cJSON_IsBool(item))
            snprintf(text, sizeof text, "%s", cJSON_IsTrue(item) ? "true" : "false");
        else
            snprintf(text, sizeof text, "%.17g", item->valuedouble);
        if (mr_options_set(ops->options, options, item->string, text, &err)) fail_msg("%s", err.text);
    }
    return options;
}

static void numbers_read(const cJSON *array, double *out)
{
    for (const cJSON *item = array->child; item; item = item->next) {
        if (cJSON_IsArray(item)) {
            numbers_read(item, out);
            out += cJSON_GetArraySize(item);
        } else {
            *out++ = item->valuedouble;
        }
    }
}

/* A k-means starts from the centres of the stream, through a file; the others from zero. */
static bool start_write(const cJSON *stream, size_t cols, const char *path)
{
    const cJSON *const centers = cJSON_GetObjectItem(stream, "centers");
    double center[64], weight[64];
    struct mr_err err;
    if (!centers) return false;
    const size_t k = (size_t)cJSON_GetArraySize(centers);
    numbers_read(centers, center);
    numbers_read(get(stream, "weights"), weight);
    const struct mr_tensor_out tensors[] = {{.name = "centers", .rank = 2, .shape = {k, cols}, .f64 = center},
                                            {.name = "weights", .rank = 1, .shape = {k}, .f64 = weight}};
    const struct mr_metadata_out metadata = {"millrace.type", "kmeans"};
    assert_int_equal(mr_safetensors_write(path, tensors, 2, &metadata, 1, &err), MR_OK);
    return true;
}

static void tensor_compare(const struct mr_safetensors *file, const char *name, const cJSON *want, const char *what)
{
    const struct mr_tensor *const tensor = mr_safetensors_find(file, name);
    double value[64];
    assert_non_null(tensor);
    assert_true(tensor->count <= 64);
    numbers_read(want, value);
    for (uint64_t i = 0; i < tensor->count; i++) {
        const double got = mr_tensor_value(tensor, i);
        if (!(fabs(got - value[i]) <= TOLERANCE * fmax(fabs(value[i]), 1)))
            fail_msg("%s: %s[%llu] is %.17g, Spark has %.17g", what, name, (unsigned long long)i, got, value[i]);
    }
}

static void state_compare(const struct mr_model_ops *ops, const struct mr_model *model, const cJSON *after,
                          const char *path, const char *what)
{
    struct mr_safetensors *file;
    struct mr_err err;
    const bool is_kmeans = !strcmp(ops->name, "kmeans");
    assert_int_equal(model_save(ops, model, path, &err), MR_OK);
    assert_int_equal(mr_safetensors_open(path, &file, &err), MR_OK);
    if (is_kmeans) tensor_compare(file, "centers", get(after, "centers"), what);
    tensor_compare(file, is_kmeans ? "weights" : "weight", get(after, "weights"), what);
    const cJSON *const intercept = cJSON_GetObjectItem(after, "intercept");
    if (intercept) {
        const double got = mr_tensor_value(mr_safetensors_find(file, "bias"), 0);
        if (!(fabs(got - intercept->valuedouble) <= TOLERANCE)) fail_msg("%s: intercept %.17g", what, got);
    }
    mr_safetensors_close(file);
}

static void batch_learn(const struct mr_model_ops *ops, struct mr_model *model, const cJSON *batch, size_t cols)
{
    const cJSON *const xs = get(batch, "x"), *const ys = cJSON_GetObjectItem(batch, "y");
    const size_t rows = (size_t)cJSON_GetArraySize(xs);
    float *const x = aligned_alloc(MR_ALIGN, mr_tile_count(rows) * MR_TILE_ROWS * cols * sizeof *x);
    double label[128], value[8];
    struct mr_learn_report report;
    size_t row = 0;
    assert_true(rows <= 128 && cols <= 8);
    assert_non_null(x);
    for (const cJSON *item = xs->child; item; item = item->next, row++) {
        numbers_read(item, value);
        for (size_t c = 0; c < cols; c++) x[mr_tile_at(row, c, cols)] = (float)value[c];
    }
    if (ys) numbers_read(ys, label);
    const struct mr_learn_batch learn = {.x = x, .label = label, .rows = rows};
    ops->learn(model)->update(model, &learn, &report);
    assert_false(report.is_undone);
    assert_int_equal(report.rows, rows);
    free(x);
}

static void stream_check(const cJSON *stream)
{
    const struct mr_model_ops *const ops = mr_model_find(get(stream, "type")->valuestring);
    const char *const name = get(stream, "name")->valuestring;
    const cJSON *batch = get(stream, "batches")->child, *after = get(stream, "after")->child;
    const size_t cols = (size_t)cJSON_GetArraySize(get(batch, "x")->child);
    char path[] = "/tmp/millrace-spark-XXXXXX", what[128];
    struct mr_model *model;
    struct mr_err err;
    assert_non_null(ops);
    const int descriptor = mkstemp(path);
    assert_true(descriptor >= 0);
    close(descriptor);
    void *const options = options_make(ops, stream);
    const struct mr_model_open open = {
        .options = options, .file = start_write(stream, cols, path) ? path : NULL, .feature_count = cols};
    if (ops->open(&open, &model, &err)) fail_msg("%s: %s", name, err.text);
    size_t number = 0;
    for (; batch; batch = batch->next, after = after->next, number++) {
        snprintf(what, sizeof what, "%s, batch %zu", name, number);
        batch_learn(ops, model, batch, cols);
        state_compare(ops, model, after, path, what);
    }
    printf("%s: %zu batches as in %s\n", name, number, get(golden, "made_by")->valuestring);
    ops->close(model);
    mr_options_deinit(ops->options, options);
    free(options);
    unlink(path);
}

static void test_streams(void **state)
{
    (void)state;
    golden_read();
    for (const cJSON *stream = get(golden, "streams")->child; stream; stream = stream->next) stream_check(stream);
    cJSON_Delete(golden);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_streams)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
