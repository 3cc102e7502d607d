/*
 * What scikit-learn and river learn from the streams in tests/golden/online/streams.json (make_streams.py), batch by
 * batch, is learned here, too, through the backend's sums: to the tolerance that each stream names.
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

#include "learner_rig.h"
#include "model_save.h"
#include "modelfile/safetensors.h"

#define TENSORS_MAX 16
#define VALUES_MAX  512
#define ROW_CAP     128

static const cJSON *get(const cJSON *object, const char *key)
{
    const cJSON *const item = cJSON_GetObjectItem(object, key);
    if (!item) fail_msg("streams.json: no %s", key);
    return item;
}

static size_t numbers_read(const cJSON *array, double *out)
{
    size_t count = 0;
    for (const cJSON *item = array->child; item; item = item->next) {
        if (cJSON_IsArray(item))
            count += numbers_read(item, out + count);
        else
            out[count++] = item->valuedouble;
        assert_true(count <= VALUES_MAX);
    }
    return count;
}

/* The learner with the options of a stream. */
static void stream_options(struct learner *l, const cJSON *stream)
{
    static const char *const learns[] = {"learn", "true", NULL};
    struct mr_err err;
    learner_options(l, get(stream, "type")->valuestring, learns);
    for (const cJSON *item = get(stream, "options")->child; item; item = item->next) {
        char text[64];
        if (cJSON_IsString(item))
            snprintf(text, sizeof text, "%s", item->valuestring);
        else
            snprintf(text, sizeof text, "%.17g", item->valuedouble);
        if (mr_options_set(l->ops->options, l->options, item->string, text, &err)) fail_msg("%s", err.text);
    }
}

/* The stream's first weights as a model file. False: it starts from nothing. */
static bool start_write(const cJSON *stream, const char *path)
{
    static double value[TENSORS_MAX][VALUES_MAX];
    struct mr_tensor_out tensors[TENSORS_MAX];
    size_t count = 0;
    struct mr_err err;
    const cJSON *const start = get(stream, "start");
    if (cJSON_IsNull(start)) return false;
    for (const cJSON *item = start->child; item; item = item->next, count++) {
        assert_true(count < TENSORS_MAX);
        const bool is_matrix = cJSON_IsArray(item->child);
        const uint64_t rows = (uint64_t)cJSON_GetArraySize(item);
        numbers_read(item, value[count]);
        tensors[count] = (struct mr_tensor_out){
            .name = item->string, .rank = is_matrix ? 2 : 1, .shape = {rows}, .f64 = value[count]};
        if (is_matrix) tensors[count].shape[1] = (uint64_t)cJSON_GetArraySize(item->child);
    }
    char *const activations = cJSON_PrintUnformatted(get(stream, "activations"));
    const struct mr_metadata_out metadata[] = {{"millrace.type", get(stream, "type")->valuestring},
                                               {"millrace.activations", activations}};
    const size_t metadata_count = cJSON_IsArray(get(stream, "activations")) ? 2 : 1;
    if (mr_safetensors_write(path, tensors, count, metadata, metadata_count, &err)) fail_msg("%s", err.text);
    cJSON_free(activations);
    return true;
}

static void stream_open(struct learner *l, const cJSON *stream, const char *file, size_t cols)
{
    struct mr_err err;
    stream_options(l, stream);
    if (learner_model(l, &(struct mr_model_open){.file = file, .feature_count = cols}, &err))
        fail_msg("%s: %s", get(stream, "name")->valuestring, err.text);
    learner_plans(l, ROW_CAP, NULL);
}

/* has_begun: what the model begins with was in an earlier batch. */
static void batch_learn(struct learner *l, const cJSON *batch, bool has_begun)
{
    static _Alignas(64) float x[ROW_CAP * VALUES_MAX];
    const cJSON *const xs = get(batch, "x"), *const ys = get(batch, "y");
    const size_t rows = (size_t)cJSON_GetArraySize(xs), cols = l->ops->info(l->model)->feature_count;
    double label[ROW_CAP], value[VALUES_MAX];
    size_t row = 0;
    assert_true(rows <= ROW_CAP && cols <= VALUES_MAX);
    memset(x, 0, ROW_CAP * cols * sizeof *x);
    for (const cJSON *item = xs->child; item; item = item->next, row++) {
        assert_int_equal(numbers_read(item, value), cols);
        for (size_t c = 0; c < cols; c++) x[mr_tile_at(row, c, cols)] = (float)value[c];
    }
    if (cJSON_IsArray(ys)) numbers_read(ys, label);
    l->must_begin = !has_begun;
    learner_score(l, x, rows);
    const struct mr_learn_report report = learner_learn(l, x, label, rows);
    assert_false(report.is_undone);
    assert_int_equal(report.rows, rows);
}

static void state_compare(const struct learner *l, const cJSON *stream, const char *path)
{
    struct mr_safetensors *file;
    struct mr_err err;
    const char *const name = get(stream, "name")->valuestring;
    const double tolerance = get(stream, "tolerance")->valuedouble;
    double worst = 0;
    assert_int_equal(model_save(l->ops, l->model, path, &err), MR_OK);
    assert_int_equal(mr_safetensors_open(path, &file, &err), MR_OK);
    for (const cJSON *item = get(stream, "after")->child; item; item = item->next) {
        const struct mr_tensor *const tensor = mr_safetensors_find(file, item->string);
        double want[VALUES_MAX];
        if (!tensor) fail_msg("%s: no tensor %s", name, item->string);
        assert_int_equal(numbers_read(item, want), tensor->count);
        for (uint64_t i = 0; i < tensor->count; i++) {
            const double got = mr_tensor_value(tensor, i), off = fabs(got - want[i]) / fmax(fabs(want[i]), 1);
            worst = fmax(worst, off);
            if (!(off <= tolerance))
                fail_msg("%s: %s[%llu] is %.9g, %s has %.9g", name, item->string, (unsigned long long)i, got,
                         get(stream, "made_by")->valuestring, want[i]);
        }
    }
    mr_safetensors_close(file);
    printf("%s: as %s, %.1e off at most, %.0e allowed\n", name, get(stream, "made_by")->valuestring, worst, tolerance);
}

/* The model goes on from the file that it was saved to. */
static void learner_reopen(struct learner *l, const cJSON *stream, const char *path)
{
    struct mr_err err;
    const size_t cols = l->ops->info(l->model)->feature_count;
    if (model_save(l->ops, l->model, path, &err)) fail_msg("%s", err.text);
    learner_close(l);
    stream_open(l, stream, path, cols);
}

/* reopens: in the middle of the stream. */
static void stream_check(const cJSON *stream, bool reopens)
{
    const cJSON *batch = get(stream, "batches")->child;
    const int half = cJSON_GetArraySize(get(stream, "batches")) / 2;
    const size_t cols = (size_t)cJSON_GetArraySize(get(batch, "x")->child);
    char path[] = "/tmp/millrace-online-XXXXXX";
    struct learner l;
    const int descriptor = mkstemp(path);
    assert_true(descriptor >= 0);
    close(descriptor);
    stream_open(&l, stream, start_write(stream, path) ? path : NULL, cols);
    for (int i = 0; batch; batch = batch->next, i++) {
        const bool is_again = reopens && i == half;
        if (is_again) learner_reopen(&l, stream, path);
        batch_learn(&l, batch, i && !is_again);
    }
    state_compare(&l, stream, path);
    learner_close(&l);
    unlink(path);
}

static void test_streams(void **state)
{
    FILE *const file = fopen(MR_SOURCE_DIR "/tests/golden/online/streams.json", "r");
    char *const text = malloc(1 << 22);
    (void)state;
    assert_non_null(file);
    assert_non_null(text);
    text[fread(text, 1, (1 << 22) - 1, file)] = '\0';
    fclose(file);
    cJSON *const golden = cJSON_Parse(text);
    free(text);
    assert_non_null(golden);
    for (const cJSON *stream = get(golden, "streams")->child; stream; stream = stream->next) {
        stream_check(stream, false);
        stream_check(stream, true);
    }
    cJSON_Delete(golden);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_streams)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
