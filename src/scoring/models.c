#include "scoring/models.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/durable.h"
#include "base/log.h"
#include "kernels/pack.h"

static void learning_take(struct mr_model_at_work *model)
{
    model->learn = model->job->ops->learn ? model->job->ops->learn(model->model) : NULL;
    model->must_begin = model->learn && model->learn->begin;
}

mr_status mr_models_open(const struct mr_job *job, struct mr_models *models, struct mr_err *err)
{
    return mr_models_open_from(job, NULL, models, err);
}

/* Who replaces a model goes first: lanes would else hold it for ever. */
static mr_status lock_make(struct mr_models *models, struct mr_err *err)
{
    pthread_rwlockattr_t how;
    pthread_rwlockattr_init(&how);
    pthread_rwlockattr_setkind_np(&how, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    models->has_lock = !pthread_rwlock_init(&models->lock, &how);
    pthread_rwlockattr_destroy(&how);
    return models->has_lock ? MR_OK : mr_fail(err, MR_ENOMEM, "out of memory");
}

void mr_models_hold(struct mr_models *models)
{
    pthread_rwlock_rdlock(&models->lock);
}

bool mr_models_try_hold(struct mr_models *models)
{
    return !pthread_rwlock_tryrdlock(&models->lock);
}

void mr_models_leave(struct mr_models *models)
{
    pthread_rwlock_unlock(&models->lock);
}

void mr_models_lock(struct mr_models *models)
{
    atomic_fetch_add(&models->waiting, 1);
    pthread_rwlock_wrlock(&models->lock);
    atomic_fetch_sub(&models->waiting, 1);
}

void mr_models_unlock(struct mr_models *models)
{
    pthread_rwlock_unlock(&models->lock);
}

mr_status mr_models_open_from(const struct mr_job *job, const struct mr_model_bytes *first, struct mr_models *models,
                              struct mr_err *err)
{
    *models = (struct mr_models){0};
    mr_status status = lock_make(models, err);
    models->job = job;
    models->item = calloc(job->model_count + 1, sizeof *models->item);
    models->info = calloc(job->model_count + 1, sizeof *models->info);
    if (!status && (!models->item || !models->info)) status = mr_fail(err, MR_ENOMEM, "out of memory");
    for (size_t i = 0; i < job->model_count && !status; i++) {
        struct mr_model_at_work *const model = &models->item[i];
        model->job = &job->model[i];
        const struct mr_model_bytes *const bytes = first && first[i].data ? &first[i] : NULL;
        status = mr_job_model_open(job, i, models->info, bytes, &model->model, &model->input, err);
        if (status) break;
        models->count = i + 1;
        model->first = model->model;
        if (bytes) model->version = bytes->version;
        models->info[i] = model->info = model->job->ops->info(model->model);
        if (model->job->ops->reduced) model->reduced = model->job->ops->reduced(model->model);
        learning_take(model);
        status = mr_found_make(model, err);
        models->learns |= model->learn != NULL;
        model->judged = mr_losses_kind(job, model->info);
        models->is_judged |= model->judged != MR_JUDGED_NOT;
        if (model->judged == MR_JUDGED_NOT && model->info->is_logit && mr_job_has_labels(job))
            mr_log(MR_LOG_WARN, "models",
                   "model \"%s\" is not held against the labels: its outputs are no probabilities", model->job->name);
    }
    if (status) mr_models_close(models);
    return status;
}

/* One plan on one unit: with fewer rows at once where memory is short. */
static mr_status plan_create(struct mr_unit *unit, mr_op op, const void *params, unsigned want,
                             struct mr_plan **plan_out, struct mr_err *err)
{
    size_t rows = atomic_load(&unit->chunk_rows);
    mr_status status;
    while ((status = unit->ops->plan_create(unit->backend, op, params, rows, want, plan_out, err)) == MR_ENOMEM &&
           rows > MR_TILE_ROWS) {
        rows = mr_tile_count(rows / 2) * MR_TILE_ROWS;
    }
    if (!status) atomic_store(&unit->chunk_rows, rows);
    return status;
}

/* The plan with fewer bits; the reference is there to be compared with. */
static mr_status reduced_plan(struct mr_models *models, struct mr_model_at_work *model, size_t at, const void *params,
                              struct mr_err *err)
{
    struct mr_err why = {0};
    if (!model->reduced.name || at == models->units->reference) return MR_OK;
    const mr_status status =
        plan_create(&models->units->unit[at], model->reduced.op, params, model->want, &model->plans.reduced[at], &why);
    if (status == MR_EBACKEND)
        return mr_fail(err, MR_ECONFIG, "models[%zu].precision: \"%s\": %s", (size_t)(model - models->item),
                       model->reduced.name, why.text);
    if (status && err) *err = why;
    return status;
}

/* The plans of one model on one unit. */
static mr_status unit_plan(struct mr_models *models, struct mr_model_at_work *model, size_t at, struct mr_err *err)
{
    struct mr_unit *const unit = &models->units->unit[at];
    const void *params;
    mr_op op = model->job->ops->op(model->model, &params);
    mr_status status = plan_create(unit, op, params, model->want, &model->plans.score[at], err);
    if (!status) status = reduced_plan(models, model, at, params, err);
    if (status || !model->learn) return status;
    op = model->learn->sum(model->model, &params);
    if (op == MR_OP_COUNT) return MR_OK;
    if (!model->sums) model->sums = calloc(mr_sum_count(op, params) + 1, sizeof *model->sums);
    if (!model->sums)
        return mr_fail(err, MR_ENOMEM, "no memory for the sums that \"%s\" learns from", model->job->name);
    /* A batch is summed at once, or not here: parts of it would add up to other bits. */
    status = unit->ops->plan_create(unit->backend, op, params, unit->row_cap, 0, &model->plans.sum[at], err);
    if ((status != MR_EBACKEND && status != MR_ENOMEM) || at + 1 == models->units->count) return status;
    mr_log(MR_LOG_INFO, "backend", "%s: what \"%s\" learns from is summed by the CPU: %s",
           unit->ops->describe(unit->backend), model->job->name, err->text);
    return MR_OK;
}

static void wants_add(struct mr_models *models, const unsigned *want)
{
    const bool is_checked = models->units->reference != MR_NO_UNIT;
    for (size_t i = models->count; i-- > 0;) {
        struct mr_model_at_work *const model = &models->item[i];
        model->want |= want[i] | mr_losses_want(model->judged);
        if (model->learn || ((is_checked || model->reduced.name) && model->want))
            model->want |= MR_WANT_Y | (model->info->is_classifier ? MR_WANT_CLASS : 0);
        if (model->input != MR_NO_MODEL && model->want) models->item[model->input].want |= MR_WANT_Y;
    }
}

static void plans_destroy(const struct mr_models *models, struct mr_plans *plans)
{
    for (size_t at = 0; models->units && at < models->units->count; at++) {
        const struct mr_backend_ops *const ops = models->units->unit[at].ops;
        if (plans->score[at]) ops->plan_destroy(plans->score[at]);
        if (plans->sum[at]) ops->plan_destroy(plans->sum[at]);
        if (plans->reduced[at]) ops->plan_destroy(plans->reduced[at]);
    }
    *plans = (struct mr_plans){0};
}

mr_status mr_models_plan(struct mr_models *models, struct mr_units *units, const unsigned *want, struct mr_err *err)
{
    models->units = units;
    wants_add(models, want);
    for (size_t at = 0; at < units->count; at++) {
        mr_status status = MR_OK;
        for (size_t i = 0; i < models->count && !status; i++) status = unit_plan(models, &models->item[i], at, err);
        if (status == MR_ENOMEM && at + 1 < units->count)
            mr_unit_leave(units, at, err->text);
        else if (status)
            return status;
    }
    return MR_OK;
}

static const float *features_of(const struct mr_model_at_work *model, const struct mr_rows *rows,
                                const struct mr_scores *scores)
{
    return model->input == MR_NO_MODEL ? rows->x : scores[model->input].y;
}

static size_t feature_count_of(const struct mr_model_at_work *model, const struct mr_rows *rows,
                               const struct mr_scores *scores)
{
    return model->input == MR_NO_MODEL ? rows->feature_count : scores[model->input].width;
}

/* Takes what was learned into the plans of a unit, which may have stood still meanwhile. */
static mr_status plan_refresh(struct mr_models *models, struct mr_model_at_work *model, size_t at, struct mr_err *err)
{
    const struct mr_backend_ops *const ops = models->units->unit[at].ops;
    const unsigned bit = 1u << at;
    if (!model->learn || !(model->stale & bit)) return MR_OK;
    mr_status status = ops->plan_update(model->plans.score[at], err);
    if (!status && model->plans.sum[at]) status = ops->plan_update(model->plans.sum[at], err);
    if (!status) model->stale &= ~bit;
    return status;
}

/* Before its first batch a model may take something from it. */
static mr_status model_begin(struct mr_model_at_work *model, const float *x, size_t rows, struct mr_err *err)
{
    model->must_begin = false;
    model->stale = ~0u;
    return model->learn->begin(model->model, x, rows, err);
}

/* Scores with one plan, at most the unit's chunk at once: then each is waited for. */
static mr_status plan_score(struct mr_unit *unit, struct mr_queue *queue, const struct mr_plan *plan, const float *x,
                            size_t cols, size_t rows, struct mr_scores *scores, struct mr_err *err)
{
    const size_t chunk = atomic_load_explicit(&unit->chunk_rows, memory_order_relaxed);
    mr_status status = MR_OK;
    if (rows <= chunk) return unit->ops->score(queue, plan, x, rows, scores, err);
    for (size_t first = 0; first < rows && !status; first += chunk) {
        struct mr_scores part = *scores;
        if (part.y) part.y += first * scores->width;
        if (part.class_index) part.class_index += first;
        if (part.item) part.item += first * scores->width;
        const size_t count = rows - first < chunk ? rows - first : chunk;
        status = unit->ops->score(queue, plan, x + first * cols, count, &part, err);
        if (!status) status = unit->ops->wait(queue, err);
    }
    return status;
}

static const struct mr_plan *plan_of(const struct mr_model_at_work *model, size_t at)
{
    return model->plans.reduced[at] && mr_model_is_reduced(model) ? model->plans.reduced[at] : model->plans.score[at];
}

/* Starts all models on one unit. */
static mr_status models_start(struct mr_models *models, struct mr_queues *queues, size_t at, const struct mr_rows *rows,
                              struct mr_scores *scores, struct mr_err *err)
{
    struct mr_unit *const unit = &models->units->unit[at];
    mr_status status = MR_OK;
    for (size_t i = 0; i < models->count && !status; i++) {
        struct mr_model_at_work *const model = &models->item[i];
        const float *const x = features_of(model, rows, scores);
        scores[i].version = atomic_load_explicit(&model->version, memory_order_relaxed);
        if (!model->want) continue; /* nobody asks for anything of it */
        if (model->must_begin && !models->begins_late) {
            status = unit->ops->wait(queues->queue[at], err);
            if (!status) status = model_begin(model, x, rows->row_count, err);
        }
        if (!status) status = plan_refresh(models, model, at, err);
        if (!status)
            status = plan_score(unit, queues->queue[at], plan_of(model, at), x, feature_count_of(model, rows, scores),
                                rows->row_count, &scores[i], err);
    }
    return status;
}

mr_status mr_model_score_row(struct mr_models *models, size_t i, const float *x, struct mr_scores *scores,
                             struct mr_err *err)
{
    size_t at = models->units->count - 1;
    struct mr_queue *queue;
    if (at && at == models->units->reference) at--;
    struct mr_unit *const cpu = &models->units->unit[at];
    mr_status status = cpu->ops->queue_open(cpu->backend, &queue, err);
    if (status) return status;
    status = cpu->ops->score(queue, plan_of(&models->item[i], at), x, 1, scores, err);
    if (!status) status = cpu->ops->wait(queue, err);
    cpu->ops->queue_close(queue);
    return status;
}

mr_status mr_models_score(struct mr_models *models, struct mr_queues *queues, const struct mr_rows *rows,
                          struct mr_scores *scores, struct mr_err *err)
{
    if (!rows->row_count) return MR_OK;
    for (;;) {
        queues->unit = mr_unit_pick(models->units, rows->row_count);
        queues->refused = atomic_load(&models->refused);
        const mr_status status = models_start(models, queues, queues->unit, rows, scores, err);
        if (!status || !mr_unit_recover(models->units, queues->unit, status, err)) return status;
    }
}

mr_status mr_models_wait(struct mr_models *models, struct mr_queues *queues, const struct mr_rows *rows,
                         struct mr_scores *scores, struct mr_err *err)
{
    mr_status status = MR_OK;
    if (!rows->row_count) return MR_OK;
    do {
        struct mr_unit *const unit = &models->units->unit[queues->unit];
        status = unit->ops->wait(queues->queue[queues->unit], err);
        if (!status) {
            atomic_fetch_add_explicit(&unit->batches, 1, memory_order_relaxed);
            return MR_OK;
        }
        if (!mr_unit_recover(models->units, queues->unit, status, err)) return status;
        status = mr_models_score(models, queues, rows, scores, err);
    } while (!status);
    return status;
}

mr_status mr_models_score_on(struct mr_models *models, struct mr_queues *queues, size_t unit,
                             const struct mr_rows *rows, struct mr_scores *scores, struct mr_err *err)
{
    mr_status status = models_start(models, queues, unit, rows, scores, err);
    if (!status) status = models->units->unit[unit].ops->wait(queues->queue[unit], err);
    return status;
}

void mr_models_judge(struct mr_models *models, const struct mr_rows *rows, const struct mr_scores *scores)
{
    for (size_t i = 0; models->is_judged && i < models->count; i++) {
        struct mr_model_at_work *const model = &models->item[i];
        mr_losses_take(&model->losses, model->judged, model->info, &scores[i], rows->label, rows->row_count);
    }
}

mr_status mr_model_score_exact(struct mr_models *models, struct mr_queues *queues, size_t i, const struct mr_rows *rows,
                               size_t count, const struct mr_scores *scores, struct mr_scores *exact_out,
                               struct mr_err *err)
{
    const struct mr_model_at_work *const model = &models->item[i];
    struct mr_unit *const unit = &models->units->unit[queues->unit];
    struct mr_queue *const queue = queues->queue[queues->unit];
    const mr_status status = plan_score(unit, queue, model->plans.score[queues->unit], features_of(model, rows, scores),
                                        feature_count_of(model, rows, scores), count, exact_out, err);
    return status ? status : unit->ops->wait(queue, err);
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

/* The unit that makes the sums of a model: the one that has scored the rows, or a later one where that has no such
 * operation. */
static size_t sum_unit(const struct mr_models *models, const struct mr_model_at_work *model, size_t unit)
{
    while (!model->plans.sum[unit] && unit + 1 < models->units->count) unit++;
    return unit;
}

/* The sums that an update needs; when a unit fails, on the next. */
static mr_status sums_make(struct mr_models *models, struct mr_model_at_work *model, struct mr_queues *queues,
                           const float *x, size_t rows, const struct mr_sum_target *target, struct mr_err *err)
{
    for (;;) {
        const size_t at = sum_unit(models, model, queues->unit);
        const struct mr_backend_ops *const ops = models->units->unit[at].ops;
        mr_status status = plan_refresh(models, model, at, err);
        if (!status) status = ops->sum(queues->queue[at], model->plans.sum[at], x, rows, target, model->sums, err);
        if (!status) status = ops->wait(queues->queue[at], err);
        if (!status || !mr_unit_recover(models->units, at, status, err)) return status;
        if (at == mr_unit_pick(models->units, rows))
            mr_unit_leave(models->units, at, err->text); /* sums have no chunks */
        queues->unit = mr_unit_pick(models->units, rows);
    }
}

static mr_status model_learn(struct mr_models *models, struct mr_model_at_work *model, struct mr_queues *queues,
                             const struct mr_rows *rows, const struct mr_scores *scores, size_t i, struct mr_err *err)
{
    struct mr_learn_batch batch = {
        .x = features_of(model, rows, scores), .label = rows->label, .scores = &scores[i], .rows = rows->row_count};
    struct mr_learn_report report;
    if (model->sums) {
        const struct mr_sum_target target = {
            .label = rows->label, .y = scores[i].y, .class_index = scores[i].class_index};
        const mr_status status = sums_make(models, model, queues, batch.x, rows->row_count, &target, err);
        if (status) return status;
        batch.sums = model->sums;
    }
    model->learn->update(model->model, &batch, &report);
    model->version++;
    mr_found_take(model);
    report_take(model, &report);
    model->must_begin |= report.must_begin;
    model->stale = ~0u;
    if (models->learned) models->learned(models->learned_context, model);
    return MR_OK;
}

mr_status mr_models_learn(struct mr_models *models, struct mr_queues *queues, const struct mr_rows *rows,
                          struct mr_scores *scores, unsigned which, struct mr_err *err)
{
    mr_status status = MR_OK;
    if (!models->learns || !rows->row_count) return MR_OK;
    for (size_t i = 0; i < models->count && !status; i++) {
        const struct mr_learn_ops *const learn = models->item[i].learn;
        if (learn && which & (learn->needs_label ? MR_LEARN_LABELLED : MR_LEARN_UNLABELLED))
            status = model_learn(models, &models->item[i], queues, rows, scores, i, err);
    }
    return status;
}

mr_status mr_models_save(const struct mr_models *models, struct mr_err *err)
{
    struct mr_blob blob = {0};
    mr_status first = MR_OK;
    for (size_t i = 0; i < models->count; i++) {
        const struct mr_model_at_work *const model = &models->item[i];
        struct mr_err here;
        if (!model->learn || !model->job->save) continue;
        if (!atomic_load(&model->stats.batches) && !model->version) {
            mr_log(MR_LOG_INFO, "learn", "%s: no batch was learned from, %s is left as it is", model->job->name,
                   model->job->save);
            continue;
        }
        mr_status status = model->learn->store(model->model, &blob, &here);
        const struct iovec part = {blob.data, blob.bytes};
        if (!status) status = mr_durable_write(model->job->save, &part, 1, &here);
        if (!status) {
            mr_log(MR_LOG_INFO, "learn", "%s: saved to %s", model->job->name, model->job->save);
        } else if (!first) {
            first = status;
            if (err) *err = here;
        }
    }
    mr_blob_deinit(&blob);
    return first;
}

mr_status mr_models_replace(struct mr_models *models, size_t i, const struct mr_model_bytes *bytes, struct mr_err *err)
{
    struct mr_model_at_work *const model = &models->item[i];
    struct mr_model *const before = model->model;
    struct mr_plans plans = model->plans;
    size_t input;
    mr_status status = mr_job_model_open(models->job, i, models->info, bytes, &model->model, &input, err);
    if (!status && !mr_model_info_same(model->info, model->job->ops->info(model->model)))
        status = mr_fail(err, MR_EDATA, "model \"%s\": %s has other features, classes or sizes than the model at work",
                         model->job->name, bytes ? bytes->name : "its file");
    model->plans = (struct mr_plans){0};
    for (size_t at = 0; at < models->units->count && !status; at++) {
        if (!atomic_load(&models->units->unit[at].is_left)) status = unit_plan(models, model, at, err);
    }
    if (status) {
        plans_destroy(models, &model->plans);
        if (model->model) model->job->ops->close(model->model);
        model->model = before;
        model->plans = plans;
        return status;
    }
    plans_destroy(models, &plans);
    if (before != model->first) model->job->ops->close(before);
    model->must_begin = model->learn && model->learn->begin;
    model->stale = 0;
    model->version = bytes ? bytes->version : 0;
    mr_found_take(model);
    return MR_OK;
}

void mr_models_close(struct mr_models *models)
{
    for (size_t i = 0; models->item && i < models->count; i++) {
        struct mr_model_at_work *const model = &models->item[i];
        plans_destroy(models, &model->plans);
        if (model->job && model->model != model->first) model->job->ops->close(model->model);
        if (model->job) model->job->ops->close(model->first);
        mr_found_free(&model->found);
        free(model->sums);
    }
    free(models->item);
    free(models->info);
    if (models->has_lock) pthread_rwlock_destroy(&models->lock);
    *models = (struct mr_models){0};
}
