#include "verify/past.h"

#include <string.h>

#include "pipeline/recall.h"
#include "scoring/follow.h"
#include "source/kafka/options.h"
#include "state/topic.h"

mr_status mr_past_properties(const struct mr_job *job, const struct mr_map **properties_out, struct mr_err *err)
{
    if (strcmp(job->source->name, "kafka") != 0)
        return mr_fail(err, MR_ECONFIG, "source.type \"%s\": states are kept in Kafka", job->source->name);
    *properties_out = &((const struct mr_kafka_source_options *)job->source_options)->properties;
    return MR_OK;
}

mr_status mr_past_model(const struct mr_job *job, const char *name, size_t *model_out, struct mr_err *err)
{
    char names[256] = "";
    size_t found = 0, bytes = 0;
    for (size_t i = 0; i < job->model_count; i++) {
        const struct mr_job_model *const model = &job->model[i];
        if (!model->topic) continue;
        if (name && strcmp(name, model->name) != 0 && bytes < sizeof names)
            bytes += (size_t)snprintf(names + bytes, sizeof names - bytes, "%s%s", bytes ? ", " : "", model->name);
        if (name && strcmp(name, model->name) != 0) continue;
        if (!found++) *model_out = i;
        if (!name && bytes < sizeof names)
            bytes += (size_t)snprintf(names + bytes, sizeof names - bytes, "%s%s", bytes ? ", " : "", model->name);
    }
    if (found == 1) return MR_OK;
    if (found) return mr_fail(err, MR_EUSAGE, "the job has several models: name one with --model (%s)", names);
    return mr_fail(err, MR_EUSAGE, "the job has no model%s%s%s that is kept in a topic%s%s", name ? " \"" : "",
                   name ? name : "", name ? "\"" : "", *names ? ": " : " (models[].topic)", names);
}

mr_status mr_past_list(const struct mr_job *job, size_t model, struct mr_state_log **log_out, struct mr_err *err)
{
    const struct mr_job_model *const from = &job->model[model];
    struct mr_state_topic topic = {
        .log = {.topic = from->topic, .model = from->name, .type = from->ops->name, .is_listing = true},
        .timeout_ms = MR_STATE_READ_TIMEOUT_MS,
        .takes_broken = true};
    *log_out = NULL;
    const mr_status status = mr_past_properties(job, &topic.properties, err);
    return status ? status : mr_state_topic_read(&topic, log_out, err);
}

/* Puts the snapshot that is to be gone from into the place of a model. */
static mr_status snapshot_take(struct mr_run *run, size_t model, uint64_t snapshot, struct mr_err *err)
{
    struct mr_state_log *log;
    mr_status status = mr_recall_read(run, model, snapshot, &log, err);
    if (!status) status = mr_recall_take(run, model, log, snapshot, err);
    mr_state_log_destroy(log);
    return status;
}

static mr_status behind_learn(struct mr_past *past, const struct mr_state_point *point, struct mr_err *err)
{
    struct mr_replay replay;
    mr_status status = point->behind_count ? mr_replay_init(&replay, past->run, err) : MR_OK;
    if (status || !point->behind_count) return status;
    status = mr_recall_learn(&replay, point, err);
    mr_replay_deinit(&replay);
    return status;
}

/* The model that was sought must be what was committed; one within a commit has nothing to be held against. */
static mr_status model_check(const struct mr_past *past, size_t model, struct mr_err *err)
{
    struct mr_blob bytes = {0};
    if (past->updates != past->commit->update_count) return MR_OK;
    const mr_status status = mr_recall_check(past->run, model, past->commit, &bytes, err);
    mr_blob_deinit(&bytes);
    return status;
}

mr_status mr_past_open(struct mr_past *past, const struct mr_job *job, size_t model,
                       const struct mr_state_target *target, struct mr_err *err)
{
    const struct mr_until until = {0};
    struct mr_state_point point;
    *past = (struct mr_past){0};
    mr_status status = mr_run_create(job, &until, &past->run, err);
    if (!status && !past->run->models.item[model].learn)
        status = mr_fail(err, MR_EUSAGE, "models[%zu]: \"%s\" is learned by another job: name that one", model,
                         job->model[model].name);
    if (!status) status = mr_past_list(job, model, &past->log, err);
    if (!status) status = mr_state_log_seek(past->log, target, &point, err);
    for (size_t i = 0; i < job->model_count && !status; i++) {
        if (past->run->models.item[i].learn)
            status = snapshot_take(past->run, i, point.snapshot->commit->snapshot, err);
    }
    if (!status) {
        past->run->models.begins_late = past->run->learns_by_offsets && !point.snapshot->commit->version_after;
        past->commit = point.behind_count ? point.behind[point.behind_count - 1].commit : point.snapshot->commit;
        past->updates = point.behind_count ? point.last_update_count : past->commit->update_count;
        status = behind_learn(past, &point, err);
    }
    if (!status) status = model_check(past, model, err);
    if (status) mr_past_close(past);
    return status;
}

void mr_past_close(struct mr_past *past)
{
    mr_run_destroy(past->run);
    mr_state_log_destroy(past->log);
    *past = (struct mr_past){0};
}
