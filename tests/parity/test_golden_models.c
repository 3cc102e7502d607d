/*
 * Models that scikit-learn fitted, with the answers of scikit-learn (float64) and of ONNX Runtime (float32): every
 * kernel variant, the reference too, must agree with both within the error of float32 (ONNX Runtime, whose sigmoid
 * keeps absolute digits only, has one EPS more), computed for each answer (error_bound.h). Made by
 * tests/golden/make_models.py.
 */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "error_bound.h"
#include "kernels/kernels.h"
#include "modelfile/safetensors.h"
#include "registry.h"

#define FOLDER MR_SOURCE_DIR "/tests/golden/models/"
#define ENDING ".answers.safetensors"
#define WIDEST 64

struct golden {
    const char *name;
    struct mr_safetensors *answers;
    const struct mr_tensor *x, *y, *y_onnx, *classes;
    const struct mr_model_ops *ops;
    struct mr_model *model;
    const struct mr_model_info *info;
    const struct mr_mlp_layer *layer;
    const float *shift;
    struct mr_mlp_layer single;
    size_t layer_count, row_count;
    double worst; /* largest share of its bound that an answer used */
};

static void golden_open(struct golden *golden, const char *name)
{
    char path[1024];
    struct mr_err err = {0};
    struct mr_safetensors *file;
    const void *params;
    *golden = (struct golden){0};
    golden->name = name;
    snprintf(path, sizeof path, FOLDER "%s" ENDING, name);
    if (mr_safetensors_open(path, &golden->answers, &err)) fail_msg("%s", err.text);
    golden->x = mr_safetensors_find(golden->answers, "x");
    golden->y = mr_safetensors_find(golden->answers, "y");
    golden->y_onnx = mr_safetensors_find(golden->answers, "y_onnx");
    golden->classes = mr_safetensors_find(golden->answers, "class");
    golden->row_count = (size_t)golden->x->shape[0];
    snprintf(path, sizeof path, FOLDER "%s.safetensors", name);
    if (mr_safetensors_open(path, &file, &err)) fail_msg("%s", err.text);
    golden->ops = mr_model_find(mr_safetensors_metadata(file, "millrace.type"));
    mr_safetensors_close(file);
    if (golden->ops->open(&(struct mr_model_open){.file = path}, &golden->model, &err)) fail_msg("%s", err.text);
    golden->info = golden->ops->info(golden->model);
    if (golden->ops->op(golden->model, &params) == MR_OP_MLP_FORWARD) {
        const struct mr_mlp_params *const mlp = params;
        golden->layer = mlp->layer;
        golden->layer_count = mlp->layer_count;
        golden->shift = mlp->shift;
    } else {
        const struct mr_linear_params *const linear = params;
        golden->single = (struct mr_mlp_layer){linear->cols, linear->out, linear->w, linear->b, linear->activation};
        golden->layer = &golden->single;
        golden->layer_count = 1;
    }
}

static void row_check(struct golden *golden, const char *variant, size_t row, const float *y, int32_t class_index)
{
    double value[WIDEST], error[WIDEST], z[WIDEST], z_error[WIDEST];
    struct error_bound bound = {value, error, z, z_error};
    const size_t in = golden->info->feature_count, width = golden->info->width;
    for (size_t c = 0; c < in; c++) value[c] = mr_tensor_value(golden->x, row * in + c);
    bound_forward(&bound, golden->shift, golden->layer, golden->layer_count);
    for (size_t o = 0; o < width; o++) {
        const double got = (double)y[mr_tile_at(row, o, width)];
        const double want = mr_tensor_value(golden->y, row * width + o),
                     onnx = mr_tensor_value(golden->y_onnx, row * width + o);
        golden->worst = fmax(golden->worst, fabs(got - want) / error[o]);
        if (fabs(got - want) > error[o] || fabs(got - onnx) > 2 * error[o] + EPS) {
            fail_msg("%s cpu:%s row %zu output %zu: got %.9g, scikit-learn %.9g, ONNX Runtime %.9g, bound %.3g",
                     golden->name, variant, row, o, got, want, onnx, error[o]);
        }
    }
    const int32_t want = (int32_t)mr_tensor_value(golden->classes, row);
    if (golden->info->is_classifier && class_index != want && !bound_is_near_tie(&bound, width, want, class_index)) {
        fail_msg("%s cpu:%s row %zu: class %d, scikit-learn %d", golden->name, variant, row, class_index, want);
    }
}

static void variant_check(struct golden *golden, const char *variant)
{
    const struct mr_backend_ops *const cpu = mr_backend_find("cpu");
    const size_t in = golden->info->feature_count, width = golden->info->width,
                 tiles = mr_tile_count(golden->row_count);
    const unsigned want = MR_WANT_Y | (golden->info->is_classifier ? MR_WANT_CLASS : 0);
    struct mr_backend *backend;
    struct mr_plan *plan;
    struct mr_queue *queue;
    struct mr_err err = {0};
    assert_int_equal(cpu->open(variant, &backend, &err), MR_OK);
    assert_int_equal(mr_plan_model(cpu, backend, golden->ops, golden->model, golden->row_count, want, &plan, &err),
                     MR_OK);
    assert_int_equal(cpu->queue_open(backend, &queue, &err), MR_OK);
    struct mr_rows rows = {.row_count = golden->row_count, .row_cap = golden->row_count, .feature_count = in};
    struct mr_scores scores = {.width = width, .row_cap = golden->row_count};
    rows.x = cpu->slab_acquire(backend, tiles * in * 64 * sizeof(float));
    scores.y = cpu->slab_acquire(backend, tiles * width * 64 * sizeof(float));
    scores.class_index = cpu->slab_acquire(backend, tiles * 64 * sizeof(int32_t));
    for (size_t i = 0; i < golden->row_count * in; i++) {
        rows.x[mr_tile_at(i / in, i % in, in)] = (float)mr_tensor_value(golden->x, i);
    }
    assert_int_equal(cpu->score(queue, plan, rows.x, rows.row_count, &scores, &err), MR_OK);
    assert_int_equal(cpu->wait(queue, &err), MR_OK);
    for (size_t row = 0; row < golden->row_count; row++)
        row_check(golden, variant, row, scores.y, scores.class_index[row]);
    cpu->slab_release(backend, rows.x, tiles * in * 64 * sizeof(float));
    cpu->slab_release(backend, scores.y, tiles * width * 64 * sizeof(float));
    cpu->slab_release(backend, scores.class_index, tiles * 64 * sizeof(int32_t));
    cpu->queue_close(queue);
    cpu->plan_destroy(plan);
    cpu->close(backend);
}

static void golden_check(const char *name)
{
    struct golden golden;
    golden_open(&golden, name);
    assert_true(golden.row_count >= 100);
    for (size_t k = 0; k < mr_kernel_count && mr_kernels[k].op == mr_kernels[0].op; k++) {
        if (mr_kernel_is_available(&mr_kernels[k], NULL)) variant_check(&golden, mr_kernels[k].variant);
    }
    printf("%s (%s): %zu rows, at most %.2g of the bound\n", name, golden.info->type, golden.row_count, golden.worst);
    golden.ops->close(golden.model);
    mr_safetensors_close(golden.answers);
}

static void every_model_agrees(void **state)
{
    DIR *const folder = opendir(FOLDER);
    size_t count = 0;
    (void)state;
    assert_non_null(folder);
    for (const struct dirent *entry; (entry = readdir(folder));) {
        char name[256];
        snprintf(name, sizeof name, "%s", entry->d_name);
        char *const ending = strstr(name, ENDING);
        if (!ending) continue;
        *ending = '\0';
        golden_check(name);
        count++;
    }
    closedir(folder);
    assert_true(count >= 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_model_agrees)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
