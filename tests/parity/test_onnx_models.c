/*
 * ONNX models, with the answers of ONNX Runtime: what they are imported as, and on every variant of the CPU kernels
 * scores within 2e-6 of the row's largest logit. Made by tests/golden/onnx/make.py.
 */
#include <dirent.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/kernels.h"
#include "modelfile/model_file.h"
#include "registry.h"

#define FOLDER    MR_SOURCE_DIR "/tests/golden/onnx/"
#define TOLERANCE 2e-6 /* of the row's largest logit */

struct golden {
    const char *name;
    struct mr_safetensors *answers;
    const struct mr_tensor *x, *y, *classes, *logit;
    const struct mr_model_ops *ops;
    struct mr_model *model;
    const struct mr_model_info *info;
    double worst; /* the largest share of the tolerance that a score used */
};

static void labels_check(const struct golden *golden)
{
    const char *const want = mr_safetensors_metadata(golden->answers, "labels");
    char found[512] = "[", *at = found + 1;
    if (!golden->info->label) return; /* the indices themselves */
    for (size_t i = 0; i < golden->info->class_count; i++)
        at += sprintf(at, "%s\"%s\"", i ? ", " : "", golden->info->label[i]);
    strcpy(at, "]");
    if (strcmp(found, want) != 0) fail_msg("%s: labels are %s, expected %s", golden->name, found, want);
}

static void golden_open(struct golden *golden, const char *name)
{
    char path[1024];
    struct mr_err err = {0};
    struct mr_safetensors *file;
    *golden = (struct golden){.name = name};
    snprintf(path, sizeof path, FOLDER "%s.answers.safetensors", name);
    if (mr_safetensors_open(path, &golden->answers, &err)) fail_msg("%s", err.text);
    golden->x = mr_safetensors_find(golden->answers, "x");
    golden->y = mr_safetensors_find(golden->answers, "y");
    golden->classes = mr_safetensors_find(golden->answers, "class");
    golden->logit = mr_safetensors_find(golden->answers, "logit");
    snprintf(path, sizeof path, FOLDER "%s.onnx", name);
    if (mr_model_file_load(path, NULL, 0, &file, &err)) fail_msg("%s", err.text);
    assert_string_equal(mr_safetensors_metadata(file, "millrace.type"),
                        mr_safetensors_metadata(golden->answers, "type"));
    golden->ops = mr_model_find(mr_safetensors_metadata(file, "millrace.type"));
    mr_safetensors_close(file);
    if (golden->ops->open(&(struct mr_model_open){.file = path}, &golden->model, &err)) fail_msg("%s", err.text);
    golden->info = golden->ops->info(golden->model);
    assert_int_equal(golden->info->feature_count, golden->x->shape[1]);
    assert_int_equal(golden->info->width, golden->y->shape[1]);
    labels_check(golden);
}

/* Another class than ONNX Runtime's is right where the two are as good as equal. */
static bool is_near_tie(const struct golden *golden, const float *y, size_t row, size_t a, size_t b)
{
    const size_t width = golden->info->width;
    if (golden->info->has_no_probability) return false;
    if (width == 1) return fabs((double)y[mr_tile_at(row, 0, 1)] - 0.5) < 1e-5;
    return fabs((double)y[mr_tile_at(row, a, width)] - (double)y[mr_tile_at(row, b, width)]) < 1e-5;
}

static void row_check(struct golden *golden, const char *variant, size_t row, const struct mr_scores *scores)
{
    const size_t width = golden->info->width;
    const double bound = TOLERANCE * mr_tensor_value(golden->logit, row);
    for (size_t o = 0; o < width; o++) {
        const double got = (double)scores->y[mr_tile_at(row, o, width)],
                     want = mr_tensor_value(golden->y, row * width + o);
        golden->worst = fmax(golden->worst, fabs(got - want) / bound);
        if (!(fabs(got - want) <= bound))
            fail_msg("%s cpu:%s row %zu output %zu: got %.9g, ONNX Runtime %.9g, bound %.3g", golden->name, variant,
                     row, o, got, want, bound);
    }
    const int32_t got = golden->info->is_classifier ? scores->class_index[row] : 0,
                  want = (int32_t)mr_tensor_value(golden->classes, row);
    if (golden->info->is_classifier && got != want && !is_near_tie(golden, scores->y, row, (size_t)got, (size_t)want))
        fail_msg("%s cpu:%s row %zu: class %d, ONNX Runtime %d", golden->name, variant, row, got, want);
}

static void variant_check(struct golden *golden, const char *variant)
{
    const struct mr_backend_ops *const cpu = mr_backend_find("cpu");
    const size_t in = golden->info->feature_count, width = golden->info->width, rows = (size_t)golden->x->shape[0],
                 tiles = mr_tile_count(rows);
    const unsigned want = MR_WANT_Y | (golden->info->is_classifier ? MR_WANT_CLASS : 0);
    struct mr_backend *backend;
    struct mr_plan *plan;
    struct mr_queue *queue;
    struct mr_err err = {0};
    assert_int_equal(cpu->open(variant, &backend, &err), MR_OK);
    assert_int_equal(mr_plan_model(cpu, backend, golden->ops, golden->model, rows, want, &plan, &err), MR_OK);
    assert_int_equal(cpu->queue_open(backend, &queue, &err), MR_OK);
    struct mr_scores scores = {.width = width, .row_cap = rows};
    float *const x = cpu->slab_acquire(backend, tiles * in * 64 * sizeof(float));
    scores.y = cpu->slab_acquire(backend, tiles * width * 64 * sizeof(float));
    scores.class_index = cpu->slab_acquire(backend, tiles * 64 * sizeof(int32_t));
    memset(x, 0, tiles * in * 64 * sizeof(float));
    for (size_t i = 0; i < rows * in; i++) x[mr_tile_at(i / in, i % in, in)] = (float)mr_tensor_value(golden->x, i);
    assert_int_equal(cpu->score(queue, plan, x, rows, &scores, &err), MR_OK);
    assert_int_equal(cpu->wait(queue, &err), MR_OK);
    for (size_t row = 0; row < rows; row++) row_check(golden, variant, row, &scores);
    cpu->slab_release(backend, x, tiles * in * 64 * sizeof(float));
    cpu->slab_release(backend, scores.y, tiles * width * 64 * sizeof(float));
    cpu->slab_release(backend, scores.class_index, tiles * 64 * sizeof(int32_t));
    cpu->queue_close(queue);
    cpu->plan_destroy(plan);
    cpu->close(backend);
}

static void golden_check(const char *name)
{
    struct golden golden;
    const void *params;
    size_t variants = 0;
    golden_open(&golden, name);
    const mr_op op = golden.ops->op(golden.model, &params);
    for (size_t k = 0; k < mr_kernel_count; k++) {
        if (mr_kernels[k].op != op || !mr_kernel_is_available(&mr_kernels[k], NULL)) continue;
        variant_check(&golden, mr_kernels[k].variant);
        variants++;
    }
    assert_true(variants > 0);
    printf("%s (%s): %llu rows on %zu variants, at most %.2g of the tolerance\n", name, golden.info->type,
           (unsigned long long)golden.x->shape[0], variants, golden.worst);
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
        char *const ending = strstr(name, ".onnx");
        if (!ending || ending[5]) continue;
        *ending = '\0';
        golden_check(name);
        count++;
    }
    closedir(folder);
    assert_true(count >= 16);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_model_agrees)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
