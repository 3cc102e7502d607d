/* Out of memory at every allocation of loading a model and making it ready: an error that says so, and nothing left
 * behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "failing_malloc.h" /* defines __wrap_malloc */
#include "registry.h"

/* Opens, plans, and closes again. MR_OK, or the status of what failed. */
static mr_status open_and_plan(const struct mr_model_ops *ops, const char *path, struct mr_err *err)
{
    const struct mr_backend_ops *const cpu = mr_backend_find("cpu");
    struct mr_model *model;
    struct mr_backend *backend = NULL;
    struct mr_plan *plan = NULL;
    struct mr_queue *queue = NULL;
    mr_status status = ops->open(&(struct mr_model_open){.file = path}, &model, err);
    assert_true((status == MR_OK) == (model != NULL));
    if (status) return status;
    status = cpu->open("base", &backend, err);
    if (!status) status = mr_plan_model(cpu, backend, ops, model, 100, MR_WANT_Y, &plan, err);
    if (!status) status = cpu->queue_open(backend, &queue, err);
    if (queue) cpu->queue_close(queue);
    if (plan) cpu->plan_destroy(plan);
    cpu->close(backend);
    ops->close(model);
    return status;
}

static void every_allocation_may_fail(void **state)
{
    static const char *const files[][2] = {
        {"mlp", MR_SOURCE_DIR "/tests/golden/models/mlp_standardised.safetensors"},
        {"logistic", MR_SOURCE_DIR "/tests/golden/models/logistic_standardised.safetensors"},
        {"linear", MR_SOURCE_DIR "/tests/golden/models/linear.safetensors"}};
    (void)state;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        size_t until = 0;
        for (bool has_failed = true; has_failed; until++) {
            struct mr_err err = {0};
            failing_start(until, false);
            const long live = failing.live;
            const mr_status status = open_and_plan(mr_model_find(files[i][0]), files[i][1], &err);
            has_failed = failing.failed;
            failing_stop();
            assert_int_equal(failing.live, live);
            /* cJSON does not say why it gave up: then the text names the header or the list that it was reading. */
            if (has_failed && status != MR_ENOMEM && status != MR_EDATA)
                fail_msg("until %zu: status %d", until, (int)status);
            if (!has_failed) assert_int_equal(status, MR_OK);
        }
        assert_true(until > 20);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_allocation_may_fail)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
