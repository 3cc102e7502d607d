/** A model that learns, with its plans on the CPU: what the tests of learning share. It learns as scoring/models.c lets
 * it. */
#ifndef MR_TESTS_LEARNER_RIG_H
#define MR_TESTS_LEARNER_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/pack.h"
#include "registry.h"

struct learner {
    const struct mr_model_ops *ops;
    const struct mr_backend_ops *cpu;
    void *options;
    struct mr_model *model;
    struct mr_backend *backend;
    struct mr_queue *queue;
    struct mr_plan *plan, *sum_plan; /* sum_plan NULL: the model reads the rows itself */
    struct mr_scores scores;
    double *sums;
    bool must_begin;
};

/** options: names and values, NULL at the end. */
static inline void learner_options(struct learner *l, const char *type, const char *const *options)
{
    struct mr_err err;
    *l = (struct learner){.ops = mr_model_find(type), .cpu = mr_backend_find("cpu"), .must_begin = true};
    assert_non_null(l->ops);
    l->options = calloc(1, l->ops->options_size);
    assert_int_equal(mr_options_init(l->ops->options, l->options, &err), MR_OK);
    for (; *options; options += 2) {
        if (mr_options_set(l->ops->options, l->options, options[0], options[1], &err)) fail_msg("%s", err.text);
    }
}

static inline void learner_options_free(struct learner *l)
{
    mr_options_deinit(l->ops->options, l->options);
    free(l->options);
    l->options = NULL;
}

/** Opens the model alone; from's options are the learner's. After an error only learner_options_free is left to do. */
static inline mr_status learner_model(struct learner *l, const struct mr_model_open *from, struct mr_err *err)
{
    struct mr_model_open open = *from;
    open.options = l->options;
    return l->ops->open(&open, &l->model, err);
}

/** The plans of an opened model, for batches of up to row_cap rows. variant: of the kernels; NULL: the best. */
static inline void learner_plans(struct learner *l, size_t row_cap, const char *variant)
{
    const struct mr_model_info *const info = l->ops->info(l->model);
    const unsigned want = MR_WANT_Y | (info->is_classifier ? MR_WANT_CLASS : 0);
    struct mr_err err;
    const void *params;
    assert_int_equal(l->cpu->open(variant, &l->backend, &err), MR_OK);
    assert_int_equal(l->cpu->queue_open(l->backend, &l->queue, &err), MR_OK);
    assert_int_equal(mr_plan_model(l->cpu, l->backend, l->ops, l->model, row_cap, want, &l->plan, &err), MR_OK);
    const mr_op op = l->ops->learn(l->model)->sum(l->model, &params);
    if (op != MR_OP_COUNT) {
        assert_int_equal(l->cpu->plan_create(l->backend, op, params, row_cap, 0, &l->sum_plan, &err), MR_OK);
        l->sums = calloc(mr_sum_count(op, params), sizeof *l->sums);
    }
    l->scores = (struct mr_scores){.y = aligned_alloc(MR_ALIGN, row_cap * info->width * sizeof(float)),
                                   .class_index = aligned_alloc(MR_ALIGN, row_cap * sizeof(int32_t)),
                                   .width = info->width,
                                   .row_cap = row_cap};
}

/** All of it, from nothing or from a file; fails the test when the model does not open. */
static inline void learner_open(struct learner *l, const char *type, const char *const *options,
                                const struct mr_model_open *from, size_t row_cap, const char *variant)
{
    struct mr_err err;
    learner_options(l, type, options);
    if (learner_model(l, from, &err)) fail_msg("%s: %s", type, err.text);
    learner_plans(l, row_cap, variant);
}

static inline void learner_close(struct learner *l)
{
    if (l->sum_plan) l->cpu->plan_destroy(l->sum_plan);
    l->cpu->plan_destroy(l->plan);
    l->cpu->queue_close(l->queue);
    l->cpu->close(l->backend);
    l->ops->close(l->model);
    learner_options_free(l);
    free(l->sums);
    free(l->scores.y);
    free(l->scores.class_index);
}

static inline void learner_update_plans(struct learner *l)
{
    struct mr_err err;
    assert_int_equal(l->cpu->plan_update(l->plan, &err), MR_OK);
    if (l->sum_plan) assert_int_equal(l->cpu->plan_update(l->sum_plan, &err), MR_OK);
}

/** Scores rows; the first ones, or the first after an update that was undone, are those that a model may begin with. */
static inline void learner_score(struct learner *l, const float *x, size_t rows)
{
    const struct mr_learn_ops *const learn = l->ops->learn(l->model);
    struct mr_err err;
    if (l->must_begin && learn->begin) {
        assert_int_equal(learn->begin(l->model, x, rows, &err), MR_OK);
        learner_update_plans(l);
    }
    l->must_begin = false;
    if (l->cpu->score(l->queue, l->plan, x, rows, &l->scores, &err)) fail_msg("%s", err.text);
    assert_int_equal(l->cpu->wait(l->queue, &err), MR_OK);
}

/** Learns from the rows that were scored last. */
static inline struct mr_learn_report learner_learn(struct learner *l, const float *x, const double *label, size_t rows)
{
    const struct mr_sum_target target = {.label = label, .y = l->scores.y, .class_index = l->scores.class_index};
    const struct mr_learn_batch batch = {.x = x, .label = label, .scores = &l->scores, .rows = rows, .sums = l->sums};
    struct mr_learn_report report;
    struct mr_err err;
    if (l->sum_plan) {
        assert_int_equal(l->cpu->sum(l->queue, l->sum_plan, x, rows, &target, l->sums, &err), MR_OK);
        assert_int_equal(l->cpu->wait(l->queue, &err), MR_OK);
    }
    l->ops->learn(l->model)->update(l->model, &batch, &report);
    l->must_begin = report.must_begin;
    learner_update_plans(l);
    return report;
}

#endif
