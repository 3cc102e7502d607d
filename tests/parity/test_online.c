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

#include "kernels/pack.h"
#include "model_save.h"
#include "modelfile/safetensors.h"
#include "registry.h"

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

static void *options_make(const struct mr_model_ops *ops, const cJSON *stream)
{
    void *const options = calloc(1, ops->options_size);
    struct mr_err err;
    assert_int_equal(mr_options_init(ops->options, options, &err), MR_OK);
    assert_int_equal(mr_options_set(ops->options, options, "learn", "true", &err), MR_OK);
    for (const cJSON *item = get(stream, "options")->child; item; item = item->next) {
        char text[64];
        if (cJSON_IsString(item))
            snprintf(text, sizeof text, "%s", item->valuestring);
        else
            snprintf(text, sizeof text, "%.17g", item->valuedouble);
        if (mr_options_set(ops->options, options, item->string, text, &err)) fail_msg("%s", err.text);
    }
    return options;
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

/* A model with its plans on the CPU. */
struct learner {
    const struct mr_model_ops *ops;
    const struct mr_backend_ops *cpu;
    struct mr_model *model;
    struct mr_backend *backend;
    struct mr_queue *queue;
    struct mr_plan *plan, *sum_plan;
    struct mr_scores scores;
    float *x;
    double *sums;
    bool has_begun;
};

static void learner_open(struct learner *l, const cJSON *stream, const struct mr_model_open *open)
{
    struct mr_err err;
    const void *params;
    l->cpu = mr_backend_find("cpu");
    if (l->ops->open(open, &l->model, &err)) fail_msg("%s: %s", get(stream, "name")->valuestring, err.text);
    const struct mr_model_info *const info = l->ops->info(l->model);
    assert_int_equal(l->cpu->open(NULL, &l->backend, &err), MR_OK);
    assert_int_equal(l->cpu->queue_open(l->backend, &l->queue, &err), MR_OK);
    const unsigned want = MR_WANT_Y | (info->is_classifier ? MR_WANT_CLASS : 0);
    assert_int_equal(mr_plan_model(l->cpu, l->backend, l->ops, l->model, ROW_CAP, want, &l->plan, &err), MR_OK);
    const mr_op sum = l->ops->learn(l->model)->sum(l->model, &params);
    assert_int_equal(l->cpu->plan_create(l->backend, sum, params, ROW_CAP, 0, &l->sum_plan, &err), MR_OK);
    l->sums = calloc(mr_sum_count(sum, params), sizeof *l->sums);
    l->x = aligned_alloc(MR_ALIGN, ROW_CAP * info->feature_count * sizeof *l->x);
    l->scores = (struct mr_scores){.y = aligned_alloc(MR_ALIGN, ROW_CAP * info->width * sizeof(float)),
                                   .class_index = aligned_alloc(MR_ALIGN, ROW_CAP * sizeof(int32_t)),
                                   .width = info->width,
                                   .row_cap = ROW_CAP};
    assert_true(l->sums && l->x && l->scores.y && l->scores.class_index);
}

static void learner_close(struct learner *l)
{
    l->cpu->plan_destroy(l->sum_plan);
    l->cpu->plan_destroy(l->plan);
    l->cpu->queue_close(l->queue);
    l->cpu->close(l->backend);
    l->ops->close(l->model);
    free(l->sums);
    free(l->x);
    free(l->scores.y);
    free(l->scores.class_index);
}

static void batch_learn(struct learner *l, const cJSON *batch)
{
    const cJSON *const xs = get(batch, "x"), *const ys = get(batch, "y");
    const size_t rows = (size_t)cJSON_GetArraySize(xs), cols = l->ops->info(l->model)->feature_count;
    double label[ROW_CAP], value[VALUES_MAX];
    struct mr_learn_report report;
    struct mr_err err;
    size_t row = 0;
    assert_true(rows <= ROW_CAP);
    memset(l->x, 0, ROW_CAP * cols * sizeof *l->x);
    for (const cJSON *item = xs->child; item; item = item->next, row++) {
        assert_int_equal(numbers_read(item, value), cols);
        for (size_t c = 0; c < cols; c++) l->x[mr_tile_at(row, c, cols)] = (float)value[c];
    }
    if (cJSON_IsArray(ys)) numbers_read(ys, label);
    const struct mr_sum_target target = {.label = label, .y = l->scores.y, .class_index = l->scores.class_index};
    const struct mr_learn_batch learn = {
        .x = l->x, .label = label, .scores = &l->scores, .rows = rows, .sums = l->sums};
    const struct mr_learn_ops *const ops = l->ops->learn(l->model);
    if (ops->begin && !l->has_begun) assert_int_equal(ops->begin(l->model, l->x, rows, &err), MR_OK);
    l->has_begun = true;
    assert_int_equal(l->cpu->score(l->queue, l->plan, l->x, rows, &l->scores, &err), MR_OK);
    assert_int_equal(l->cpu->sum(l->queue, l->sum_plan, l->x, rows, &target, l->sums, &err), MR_OK);
    ops->update(l->model, &learn, &report);
    assert_false(report.is_undone);
    assert_int_equal(report.rows, rows);
    assert_int_equal(l->cpu->plan_update(l->plan, &err), MR_OK);
    assert_int_equal(l->cpu->plan_update(l->sum_plan, &err), MR_OK);
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
static void learner_reopen(struct learner *l, const cJSON *stream, struct mr_model_open *open, const char *path)
{
    struct mr_err err;
    if (model_save(l->ops, l->model, path, &err)) fail_msg("%s", err.text);
    learner_close(l);
    *l = (struct learner){.ops = l->ops};
    open->file = path;
    learner_open(l, stream, open);
}

/* reopens: in the middle of the stream. */
static void stream_check(const cJSON *stream, bool reopens)
{
    struct learner l = {.ops = mr_model_find(get(stream, "type")->valuestring)};
    const cJSON *batch = get(stream, "batches")->child;
    char path[] = "/tmp/millrace-online-XXXXXX";
    assert_non_null(l.ops);
    const int descriptor = mkstemp(path);
    assert_true(descriptor >= 0);
    close(descriptor);
    void *const options = options_make(l.ops, stream);
    struct mr_model_open open = {.options = options,
                                 .file = start_write(stream, path) ? path : NULL,
                                 .feature_count = (size_t)cJSON_GetArraySize(get(batch, "x")->child)};
    learner_open(&l, stream, &open);
    const int half = cJSON_GetArraySize(get(stream, "batches")) / 2;
    for (int i = 0; batch; batch = batch->next, i++) {
        if (reopens && i == half) learner_reopen(&l, stream, &open, path);
        batch_learn(&l, batch);
    }
    state_compare(&l, stream, path);
    learner_close(&l);
    mr_options_deinit(l.ops->options, options);
    free(options);
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
