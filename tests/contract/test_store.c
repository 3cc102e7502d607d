/* Every model that learns: stored, opened from the bytes and stored again, it is the same bytes; and it goes on
 * learning as one that was never stored, bit for bit, wherever the cut lies. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "learner_rig.h"
#include "model_save.h"
#include "modelfile/safetensors.h"

#define ROWS    128
#define COLS    3
#define BATCHES 24
#define MODELS  MR_SOURCE_DIR "/tests/golden/models/"

/* What a model is opened with, beside "learn": true. */
struct kind {
    const char *type, *file; /* file NULL: from nothing */
    const char *option[13];  /* NULL at the end */
    bool is_undone;          /* some updates of the stream are undone */
    size_t cols;             /* of one that does not take any number of features; 0: COLS */
    float arms;              /* the first feature is the number of an arm below that */
};

static const struct kind kinds[] = {
    {.type = "linear", .option = {"step", "0.05"}},
    {.type = "linear", .option = {"step", "0.05", "schedule", "ftrl", "l1", "0.01"}},
    {.type = "linear", .option = {"step", "0.2", "loss", "huber", "delta", "5"}, .is_undone = true},
    {.type = "linear", .option = {"step", "1.5", "standardise", "true", "l2", "0.1"}, .is_undone = true},
    {.type = "linear", .option = {"step", "0.02", "compat", "spark", "iterations", "5"}},
    {.type = "linear", .option = {"step", "0.4", "schedule", "sqrt"}},
    {.type = "logistic", .option = {"step", "0.3", "schedule", "adagrad"}},
    {.type = "logistic", .option = {"step", "0.3", "classes", "4", "standardise", "true"}},
    {.type = "logistic", .file = MODELS "logistic_standardised.safetensors", .option = {"step", "0.1"}},
    {.type = "linear", .file = MODELS "linear.safetensors", .option = {"step", "1e-4", "standardise", "true"}},
    {.type = "mlp", .option = {"step", "0.01", "hidden", "6-5", "schedule", "adam"}},
    {.type = "mlp", .option = {"step", "0.12", "hidden", "none", "schedule", "constant"}, .is_undone = true},
    {.type = "mlp", .file = MODELS "mlp_standardised.safetensors", .option = {"step", "1e-5"}},
    {.type = "kmeans", .option = {"k", "3", "half_life", "5"}},
    {.type = "kmeans", .option = {"k", "4", "compat", "spark", "decay", "0.7", "unit", "points"}},
    {.type = "scaler", .option = {"center", "true"}},
    {.type = "scaler", .option = {"scale", "false"}},
    {.type = "abtest", .option = {"window", "0"}, .cols = 2, .arms = 2},
    {.type = "abtest", .option = {"window", "5", "arm_count", "3", "peace_period", "2"}, .cols = 2, .arms = 4},
    {.type = "abtest", .option = {"ratio", "1:5", "method", "student"}, .cols = 1, .arms = 2},
};

static void kind_open(struct learner *l, const struct kind *kind, const struct mr_model_open *from)
{
    const char *options[2 + sizeof kind->option / sizeof *kind->option] = {"learn", "true"};
    memcpy(options + 2, kind->option, sizeof kind->option);
    learner_open(l, kind->type, options, from, ROWS, "base");
}

/* A stream that drifts, with a batch at the start and later ones that no model can take. */
static void rows_make(float *x, double *label, size_t cols, unsigned number)
{
    uint32_t seed = 977 * number + 5;
    const double far = number == 0 || number == 13 ? 1e30 : 1;
    for (size_t row = 0; row < ROWS; row++) {
        double sum = 0;
        for (size_t c = 0; c < cols; c++) {
            seed = seed * 1664525 + 1013904223;
            const double value = (double)(int32_t)seed / 2147483648.0 + 0.1 * number + (double)c;
            x[mr_tile_at(row, c, cols)] = (float)(value * (c == 1 ? far : 1));
            sum += value * (double)(c + 1);
        }
        label[row] = (double)((unsigned)(sum + 100) % 2) + (number > 15 ? 0.25 * (number % 3) : 0);
        if (row % 7 == 3) label[row] = (double)NAN;
    }
}

static void same(const struct mr_blob *a, const struct mr_blob *b, const struct kind *kind, unsigned at)
{
    if (a->bytes != b->bytes || memcmp(a->data, b->data, a->bytes))
        fail_msg("%s %s %s: batch %u: the stored bytes differ", kind->type, kind->option[0], kind->option[1], at);
}

static void store(const struct learner *l, struct mr_blob *out)
{
    struct mr_err err;
    if (l->ops->learn(l->model)->store(l->model, out, &err)) fail_msg("%s", err.text);
}

/* One that goes through, and one that is stored and opened before batch `cut`, scored or not. */
static unsigned go_through(const struct kind *kind, unsigned cut, bool is_scored)
{
    const struct mr_model_open first = {.file = kind->file, .feature_count = kind->cols ? kind->cols : COLS};
    struct learner whole, part;
    struct mr_blob a = {0}, b = {0};
    unsigned undone = 0;
    kind_open(&whole, kind, &first);
    const size_t cols = whole.ops->info(whole.model)->feature_count;
    float *const x = aligned_alloc(MR_ALIGN, ROWS * cols * sizeof *x);
    double *const label = calloc(ROWS, sizeof *label);
    bool has_part = false;
    for (unsigned i = 0; i < BATCHES; i++) {
        rows_make(x, label, cols, i);
        for (size_t row = 0; kind->arms > 0 && row < ROWS; row++)
            x[mr_tile_at(row, 0, cols)] = (float)((row * row + i) % (size_t)kind->arms);
        if (i == cut) {
            if (is_scored) learner_score(&whole, x, ROWS);
            store(&whole, &a);
            kind_open(
                &part, kind,
                &(struct mr_model_open){
                    .file = "memory", .bytes = a.data, .byte_count = a.bytes, .feature_count = first.feature_count});
            store(&part, &b);
            same(&a, &b, kind, i);
            has_part = true;
        }
        learner_score(&whole, x, ROWS);
        if (has_part) {
            learner_score(&part, x, ROWS);
            assert_memory_equal(whole.scores.y, part.scores.y, ROWS * whole.scores.width * sizeof(float));
            learner_learn(&part, x, label, ROWS);
        }
        undone += learner_learn(&whole, x, label, ROWS).is_undone;
        if (!has_part) continue;
        store(&whole, &a);
        store(&part, &b);
        same(&a, &b, kind, i);
    }
    learner_close(&whole);
    learner_close(&part);
    mr_blob_deinit(&a);
    mr_blob_deinit(&b);
    free(x);
    free(label);
    return undone;
}

static void a_cut_changes_no_bit(void **state)
{
    (void)state;
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        unsigned undone = 0;
        for (unsigned cut = 0; cut < BATCHES; cut++) {
            undone = go_through(&kinds[k], cut, false);
            go_through(&kinds[k], cut, true);
        }
        if (kinds[k].is_undone && !(undone > 2 && undone < BATCHES))
            fail_msg("%s %s: %u updates were undone: the case is to undo some", kinds[k].type, kinds[k].option[1],
                     undone);
    }
}

/* Each type that learns is among the cases. */
static void all_types_are_tried(void **state)
{
    (void)state;
    for (size_t i = 0; mr_models[i]; i++) {
        const struct mr_model_ops *const ops = mr_models[i];
        bool is_tried = !ops->learn;
        for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) is_tried |= !strcmp(kinds[k].type, ops->name);
        if (!is_tried) fail_msg("%s learns, and is not stored here", ops->name);
    }
}

/* The file and its bytes give the same; wrong bytes are refused under the name that was given. */
static void bytes_are_as_the_file(void **state)
{
    const struct kind *const kind = &kinds[6];
    char path[] = "/tmp/millrace-store-XXXXXX";
    struct learner l, from_file;
    struct mr_blob a = {0}, b = {0};
    struct mr_err err = {0};
    (void)state;
    const int descriptor = mkstemp(path);
    assert_true(descriptor >= 0);
    close(descriptor);
    kind_open(&l, kind, &(struct mr_model_open){.feature_count = COLS});
    assert_int_equal(model_save(l.ops, l.model, path, &err), MR_OK);
    kind_open(&from_file, kind, &(struct mr_model_open){.file = path});
    store(&l, &a);
    store(&from_file, &b);
    same(&a, &b, kind, 0);
    const char *const data = b.data;
    for (unsigned i = 0; i < 3; i++) store(&from_file, &b);
    assert_ptr_equal(b.data, data); /* no other allocation */
    struct mr_model *model = l.model;
    const struct mr_model_open cut = {.file = "topic m, version 7", .bytes = a.data, .byte_count = a.bytes - 1};
    assert_int_equal(l.ops->open(&cut, &model, &err), MR_EDATA);
    assert_null(model);
    assert_non_null(strstr(err.text, "topic m, version 7"));
    learner_close(&l);
    learner_close(&from_file);
    mr_blob_deinit(&a);
    mr_blob_deinit(&b);
    unlink(path);
}

/* Which models may take each other's place. */
static void places_are_compared(void **state)
{
    static const char *const names[] = {"a", "b"}, *const others[] = {"a", "c"};
    const struct mr_model_info base = {.type = "mlp",
                                       .version = "1",
                                       .feature_count = 2,
                                       .feature = names,
                                       .width = 2,
                                       .is_classifier = true,
                                       .class_count = 2,
                                       .label = names,
                                       .parameter_count = 9};
    struct mr_model_info other[8];
    (void)state;
    for (size_t i = 0; i < 8; i++) other[i] = base;
    other[0].version = "2", other[0].parameter_count = 10;
    other[1].type = "linear";
    other[2].feature_count = 1;
    other[3].feature = others;
    other[4].feature = NULL;
    other[5].width = 1;
    other[6].label = others;
    other[7].class_count = 1;
    assert_true(mr_model_info_same(&base, &other[0]));
    for (size_t i = 1; i < 8; i++) {
        assert_false(mr_model_info_same(&base, &other[i]));
        assert_false(mr_model_info_same(&other[i], &base));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_cut_changes_no_bit), cmocka_unit_test(all_types_are_tried),
                                       cmocka_unit_test(bytes_are_as_the_file), cmocka_unit_test(places_are_compared)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
