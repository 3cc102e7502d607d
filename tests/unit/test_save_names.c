/* The names of a job's features: models that learn from nothing take them, and save them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "layout_fixture.h"
#include "model_save.h"
#include "modelfile/safetensors.h"
#include "registry.h"
#include "scoring/models.h"

static const char *const types[] = {"linear", "logistic", "mlp", "kmeans", "scaler"};

struct opened {
    struct fixture job;
    const struct mr_model_ops *ops;
    struct mr_model *model;
    void *options;
};

/* A model that learns from nothing, of a job with these two features. */
static void opened_make(struct opened *o, const char *type, const char *first, const char *second)
{
    struct mr_err err = {0};
    size_t input;
    memset(o, 0, sizeof *o);
    o->ops = mr_model_find(type);
    o->options = calloc(1, o->ops->options_size);
    assert_int_equal(mr_options_init(o->ops->options, o->options, &err), MR_OK);
    assert_int_equal(mr_options_set(o->ops->options, o->options, "learn", "true", &err), MR_OK);
    if (!strcmp(type, "kmeans")) assert_int_equal(mr_options_set(o->ops->options, o->options, "k", "2", &err), MR_OK);
    fixture_init(&o->job, &fixture_json);
    fixture_feature(&o->job, first);
    fixture_feature(&o->job, second);
    fixture_model(&o->job, "m", NULL);
    o->job.job.record.label = fixture_text("label");
    o->job.models[0].file = NULL;
    o->job.models[0].ops = o->ops;
    o->job.models[0].options = o->options;
    if (mr_job_model_open(&o->job.job, 0, o->job.info, NULL, &o->model, &input, &err))
        fail_msg("%s: %s", type, err.text);
}

static void opened_free(struct opened *o)
{
    o->ops->close(o->model);
    mr_options_deinit(o->ops->options, o->options);
    free(o->options);
}

static void names_are_saved(void **state)
{
    char path[64];
    (void)state;
    snprintf(path, sizeof path, "/tmp/millrace_names_%ld.safetensors", (long)getpid());
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        struct opened o;
        struct mr_safetensors *file;
        struct mr_err err = {0};
        opened_make(&o, types[i], "speed", "\"a.b\"");
        const struct mr_model_info *info = o.ops->info(o.model);
        assert_non_null(info->feature);
        assert_string_equal(info->feature[0], "speed");
        assert_string_equal(info->feature[1], "a.b");
        if (model_save(o.ops, o.model, path, &err)) fail_msg("%s: %s", types[i], err.text);
        if (mr_safetensors_open(path, &file, &err)) fail_msg("%s: %s", types[i], err.text);
        const char *const features = mr_safetensors_metadata(file, "millrace.features");
        assert_non_null(features);
        assert_string_equal(features, "[\"speed\",\"a.b\"]");
        mr_safetensors_close(file);
        opened_free(&o);
    }
    unlink(path);
}

/* A name stands for a field of the record itself: what lies deeper, or is no field, has none. */
static void paths_are_no_names(void **state)
{
    static const char *const paths[] = {"x[0..3]", "a.b", "@timestamp", "\"a\".b"};
    (void)state;
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        struct opened o;
        opened_make(&o, types[i], "speed", paths[i]);
        assert_null(o.ops->info(o.model)->feature);
        assert_int_equal(o.ops->info(o.model)->feature_count, i ? 2 : 5);
        opened_free(&o);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(names_are_saved), cmocka_unit_test(paths_are_no_names)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
