/* Options of models that do nothing beside others, or contradict the file, are refused by name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "registry.h"

#define MODELS MR_SOURCE_DIR "/tests/golden/models/"

static mr_status open_with(const char *type, const char *file, const char *const *options, struct mr_err *err)
{
    const struct mr_model_ops *const ops = mr_model_find(type);
    struct mr_model *model;
    void *const parsed = calloc(1, ops->options_size);
    assert_non_null(parsed);
    assert_int_equal(mr_options_init(ops->options, parsed, err), MR_OK);
    for (; *options; options += 2) {
        if (mr_options_set(ops->options, parsed, options[0], options[1], err)) fail_msg("%s", err->text);
    }
    const mr_status status =
        ops->open(&(struct mr_model_open){.options = parsed, .file = file, .feature_count = 3}, &model, err);
    ops->close(model);
    mr_options_deinit(ops->options, parsed);
    free(parsed);
    return status;
}

static void idle_options_are_refused(void **state)
{
    static const struct {
        const char *type, *file;
        const char *const options[9];
        const char *key, *other; /* of the error; NULL: there is none */
    } cases[] = {
        {"linear", NULL, {"learn", "true", "compat", "spark", "schedule", "sqrt", NULL}, "schedule: ", "compat"},
        {"linear", NULL, {"learn", "true", "compat", "spark", "l1", "0.1", NULL}, "l1: ", "compat"},
        {"linear", NULL, {"learn", "true", "compat", "spark", "loss", "huber", NULL}, "loss: ", "compat"},
        {"logistic", NULL, {"learn", "true", "compat", "spark", "l1", "0.1", NULL}, "l1: ", "compat"},
        {"linear", NULL, {"learn", "true", "compat", "spark", "l2", "0.1", "iterations", "9", NULL}, NULL, NULL},
        {"linear", NULL, {"learn", "true", "compat", "spark", "tolerance", "0", "intercept", "true", NULL}, NULL, NULL},
        {"linear", NULL, {"learn", "true", "iterations", "9", NULL}, "iterations: ", "compat"},
        {"logistic", NULL, {"learn", "true", "tolerance", "0.5", NULL}, "tolerance: ", "compat"},
        {"linear", NULL, {"learn", "true", "intercept", "true", NULL}, "intercept: ", "compat"},
        {"linear", NULL, {"learn", "true", "beta", "2", NULL}, "beta: ", "schedule"},
        {"linear", NULL, {"learn", "true", "beta", "2", "schedule", "ftrl", NULL}, NULL, NULL},
        {"linear", NULL, {"learn", "true", "loss", "huber", "l1", "0.1", NULL}, NULL, NULL},
        {"kmeans", NULL, {"learn", "true", "k", "2", "decay", "0.5", "half_life", "9", NULL}, "decay: ", "half_life"},
        {"kmeans", NULL, {"learn", "true", "k", "2", "half_life", "9", NULL}, NULL, NULL},
        {"kmeans", NULL, {"learn", "true", "k", "2", "decay", "0.5", NULL}, NULL, NULL},
        {"logistic", MODELS "logistic_binary.safetensors", {"classes", "7", NULL}, "classes: 7", "file"},
        {"logistic", MODELS "logistic_binary.safetensors", {"classes", "2", NULL}, NULL, NULL},
        {"mlp", MODELS "mlp_binary.safetensors", {"classes", "7", NULL}, "classes: 7", "file"},
        {"mlp", MODELS "mlp_regressor.safetensors", {"classes", "2", NULL}, "classes: 2", "file"},
        {"mlp", MODELS "mlp_binary.safetensors", {"classes", "2", NULL}, NULL, NULL},
        {"mlp",
         MODELS "mlp_binary.safetensors",
         {"precision_tolerance", "0.1", NULL},
         "precision_tolerance: ",
         "precision"},
        {"mlp", MODELS "mlp_binary.safetensors", {"precision_tolerance", "0.1", "precision", "int8", NULL}, NULL, NULL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct mr_err err = {0};
        const mr_status status = open_with(cases[i].type, cases[i].file, cases[i].options, &err);
        if (status != (cases[i].key ? MR_ECONFIG : MR_OK)) fail_msg("case %zu: status %d %s", i, (int)status, err.text);
        if (cases[i].key && (strncmp(err.text, cases[i].key, strlen(cases[i].key)) != 0 ||
                             !strstr(err.text + strlen(cases[i].key), cases[i].other)))
            fail_msg("case %zu: %s", i, err.text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(idle_options_are_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
