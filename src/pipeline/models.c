#include "pipeline/models.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "kernels/pack.h"
#include "pipeline/layout.h"

/* The model of this name before index `before`. */
static size_t model_find(const struct mr_job *job, const char *name, size_t before)
{
    for (size_t i = 0; i < before; i++) {
        if (!strcmp(job->model[i].name, name)) return i;
    }
    return MR_NO_MODEL;
}

/* What a model that learns needs of the job. */
static mr_status learning_check(const struct mr_job *job, size_t i, const struct mr_learn_ops *learn,
                                struct mr_err *err)
{
    const struct mr_job_model *const from = &job->model[i];
    if (from->save && !learn)
        return mr_fail(err, MR_ECONFIG, "models[%zu].save: \"%s\" does not learn: set \"learn\": true, or drop save", i,
                       from->name);
    if (learn && learn->needs_label && !job->record.label)
        return mr_fail(err, MR_ECONFIG, "models[%zu]: \"%s\" learns from labels: name their field in record.label", i,
                       from->name);
    return MR_OK;
}

mr_status mr_job_model_open(const struct mr_job *job, size_t i, const struct mr_model_info *const *info,
                            struct mr_model **model_out, size_t *input_out, struct mr_err *err)
{
    const struct mr_job_model *const from = &job->model[i];
    struct mr_model_open open = {.options = from->options, .file = from->file};
    mr_status status = MR_OK;
    *model_out = NULL;
    *input_out = from->input ? model_find(job, from->input, i) : MR_NO_MODEL;
    if (from->input && *input_out == MR_NO_MODEL)
        return mr_fail(err, MR_ECONFIG,
                       "models[%zu].input: \"%s\" is no model before this one: name one that stands above it", i,
                       from->input);
    if (from->input)
        open.feature_count = info[*input_out]->width;
    else
        status = mr_layout_feature_count(job, &open.feature_count, err);
    if (!status) status = from->ops->open(&open, model_out, err);
    if (!status) status = learning_check(job, i, from->ops->learn ? from->ops->learn(*model_out) : NULL, err);
    if (status && *model_out) {
        from->ops->close(*model_out);
        *model_out = NULL;
    }
    return status;
}

mr_status mr_models_open(const struct mr_job *job, struct mr_models *models, struct mr_err *err)
{
    mr_status status = MR_OK;
    *models = (struct mr_models){0};
    models->item = calloc(job->model_count + 1, sizeof *models->item);
    models->info = calloc(job->model_count + 1, sizeof *models->info);
    if (!models->item || !models->info) status = mr_fail(err, MR_ENOMEM, "out of memory");
    for (size_t i = 0; i < job->model_count && !status; i++) {
        struct mr_model_at_work *const model = &models->item[i];
        model->job = &job->model[i];
        status = mr_job_model_open(job, i, models->info, &model->model, &model->input, err);
        if (status) break;
        models->count = i + 1;
        models->info[i] = model->info = model->job->ops->info(model->model);
        model->learn = model->job->ops->learn ? model->job->ops->learn(model->model) : NULL;
        model->must_begin = model->learn && model->learn->begin;
        models->learns |= model->learn != NULL;
    }
    if (status) mr_models_close(models);
    return status;
}

/* The second plan of a model that learns. */
static mr_status sum_plan(struct mr_models *models, struct mr_model_at_work *model, struct mr_backend *backend,
                          size_t row_cap, struct mr_err *err)
{
    const void *params;
    const mr_op op = model->learn->sum(model->model, &params);
    if (op == MR_OP_COUNT) return MR_OK;
    model->sums = calloc(mr_sum_count(op, params) + 1, sizeof *model->sums);
    if (!model->sums)
        return mr_fail(err, MR_ENOMEM, "no memory for the sums that \"%s\" learns from", model->job->name);
    return models->backend_ops->plan_create(backend, op, params, row_cap, 0, &model->sum_plan, err);
}

mr_status mr_models_plan(struct mr_models *models, const struct mr_backend_ops *ops, struct mr_backend *backend,
                         size_t row_cap, const unsigned *want, struct mr_err *err)
{
    mr_status status = MR_OK;
    models->backend_ops = ops;
    for (size_t i = models->count; i-- > 0;) {
        struct mr_model_at_work *const model = &models->item[i];
        model->want |= want[i];
        if (model->learn) model->want |= MR_WANT_Y | (model->info->is_classifier ? MR_WANT_CLASS : 0);
        if (model->input != MR_NO_MODEL && model->want) models->item[model->input].want |= MR_WANT_Y;
    }
    for (size_t i = 0; i < models->count && !status; i++) {
        struct mr_model_at_work *const model = &models->item[i];
        const void *params;
        const mr_op op = model->job->ops->op(model->model, &params);
        status = ops->plan_create(backend, op, params, row_cap, model->want, &model->plan, err);
        if (!status && model->learn) status = sum_plan(models, model, backend, row_cap, err);
    }
    return status;
}

static const float *features_of(const struct mr_model_at_work *model, const struct mr_rows *rows,
                                const struct mr_scores *scores)
{
    return model->input == MR_NO_MODEL ? rows->x : scores[model->input].y;
}

/* Before its first batch a model may take something from it. */
static mr_status model_begin(struct mr_models *models, struct mr_model_at_work *model, struct mr_queue *queue,
                             const float *x, size_t rows, struct mr_err *err)
{
    model->must_begin = false;
    mr_status status = models->backend_ops->wait(queue, err);
    if (!status) status = model->learn->begin(model->model, x, rows, err);
    if (!status) status = models->backend_ops->plan_update(model->plan, err);
    return status;
}

mr_status mr_models_score(struct mr_models *models, struct mr_queue *queue, const struct mr_rows *rows,
                          struct mr_scores *scores, struct mr_err *err)
{
    mr_status status = MR_OK;
    if (!rows->row_count) return MR_OK;
    for (size_t i = 0; i < models->count && !status; i++) {
        struct mr_model_at_work *const model = &models->item[i];
        const float *const x = features_of(model, rows, scores);
        if (!model->want) continue; /* nobody asks for anything of it */
        if (model->must_begin) status = model_begin(models, model, queue, x, rows->row_count, err);
        if (!status) status = models->backend_ops->score(queue, model->plan, x, rows->row_count, &scores[i], err);
    }
    return status;
}

/* Counts what an update did; says so the first time, and ever more seldom. */
static void report_take(struct mr_model_at_work *model, const struct mr_learn_report *report)
{
    struct mr_learn_stats *const stats = &model->stats;
    atomic_fetch_add_explicit(&stats->batches, 1, memory_order_relaxed);
    if (report->rows && !report->is_undone) {
        const double loss = atomic_load_explicit(&stats->loss, memory_order_relaxed);
        atomic_store_explicit(&stats->loss, loss + report->loss, memory_order_relaxed);
        atomic_store_explicit(&stats->loss_batch, report->loss / (double)report->rows, memory_order_relaxed);
        atomic_fetch_add_explicit(&stats->rows, report->rows, memory_order_relaxed);
    }
    if (!report->is_undone) return;
    const uint64_t undone = 1 + atomic_fetch_add_explicit(&stats->undone, 1, memory_order_relaxed);
    if (undone & (undone - 1)) return;
    char remedy[96] = "";
    if (report->step_stable > 0)
        snprintf(remedy, sizeof remedy, ": a step of %.3g would be stable for it", report->step_stable);
    mr_log(MR_LOG_WARN, "learn",
           "%s: an update diverged and was undone, the model is as before this batch (%llu so far)%s", model->job->name,
           (unsigned long long)undone, remedy);
}

static mr_status model_learn(struct mr_models *models, struct mr_model_at_work *model, struct mr_queue *queue,
                             const struct mr_rows *rows, const struct mr_scores *scores, size_t i, struct mr_err *err)
{
    const struct mr_backend_ops *const ops = models->backend_ops;
    struct mr_learn_batch batch = {
        .x = features_of(model, rows, scores), .label = rows->label, .scores = &scores[i], .rows = rows->row_count};
    struct mr_learn_report report;
    mr_status status = MR_OK;
    if (model->sum_plan) {
        const struct mr_sum_target target = {
            .label = rows->label, .y = scores[i].y, .class_index = scores[i].class_index};
        status = ops->sum(queue, model->sum_plan, batch.x, rows->row_count, &target, model->sums, err);
        if (!status) status = ops->wait(queue, err);
        batch.sums = model->sums;
    }
    if (status) return status;
    model->learn->update(model->model, &batch, &report);
    report_take(model, &report);
    status = ops->plan_update(model->plan, err);
    if (!status && model->sum_plan) status = ops->plan_update(model->sum_plan, err);
    return status;
}

mr_status mr_models_learn(struct mr_models *models, struct mr_queue *queue, const struct mr_rows *rows,
                          struct mr_scores *scores, struct mr_err *err)
{
    if (!models->learns || !rows->row_count) return MR_OK;
    mr_status status = models->backend_ops->wait(queue, err);
    for (size_t i = 0; i < models->count && !status; i++) {
        if (models->item[i].learn) status = model_learn(models, &models->item[i], queue, rows, scores, i, err);
    }
    return status;
}

mr_status mr_models_save(const struct mr_models *models, struct mr_err *err)
{
    mr_status first = MR_OK;
    for (size_t i = 0; i < models->count; i++) {
        const struct mr_model_at_work *const model = &models->item[i];
        struct mr_err here;
        if (!model->learn || !model->job->save) continue;
        const mr_status status = model->learn->save(model->model, model->job->save, &here);
        if (!status) {
            mr_log(MR_LOG_INFO, "learn", "%s: saved to %s", model->job->name, model->job->save);
        } else if (!first) {
            first = status;
            if (err) *err = here;
        }
    }
    return first;
}

void mr_models_close(struct mr_models *models)
{
    for (size_t i = 0; models->item && i < models->count; i++) {
        struct mr_model_at_work *const model = &models->item[i];
        if (model->plan) models->backend_ops->plan_destroy(model->plan);
        if (model->sum_plan) models->backend_ops->plan_destroy(model->sum_plan);
        if (model->job) model->job->ops->close(model->model);
        free(model->sums);
    }
    free(models->item);
    free(models->info);
    *models = (struct mr_models){0};
}
