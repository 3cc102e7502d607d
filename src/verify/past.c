#include "verify/past.h"

#include <string.h>

#include "base/log.h"
#include "pipeline/replay.h"
#include "scoring/follow.h"
#include "source/kafka/options.h"
#include "state/topic.h"

#define READ_TIMEOUT_MS 60000

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

static mr_status log_read(const struct mr_job *job, size_t model, uint64_t schema_hash, uint64_t snapshot,
                          bool is_listing, struct mr_state_log **log_out, struct mr_err *err)
{
    const struct mr_job_model *const from = &job->model[model];
    struct mr_state_topic topic = {.log = {.topic = from->topic,
                                           .model = from->name,
                                           .type = from->ops->name,
                                           .schema_hash = schema_hash,
                                           .snapshot = snapshot,
                                           .is_listing = is_listing},
                                   .timeout_ms = READ_TIMEOUT_MS};
    *log_out = NULL;
    const mr_status status = mr_past_properties(job, &topic.properties, err);
    return status ? status : mr_state_topic_read(&topic, log_out, err);
}

mr_status mr_past_list(const struct mr_job *job, size_t model, struct mr_state_log **log_out, struct mr_err *err)
{
    return log_read(job, model, 0, 0, true, log_out, err);
}

/* Puts the snapshot that is to be gone from into the place of a model. */
static mr_status snapshot_take(struct mr_past *past, size_t i, uint64_t snapshot, struct mr_err *err)
{
    struct mr_models *const models = &past->run->models;
    const struct mr_model_at_work *const model = &models->item[i];
    struct mr_state_log *log;
    struct mr_span span;
    mr_status status = log_read(past->run->job, i, mr_state_schema_hash(model->info), snapshot, false, &log, err);
    if (status) return status;
    const struct mr_state_commit *const commit = mr_state_log_model(log, &span);
    const struct mr_model_bytes bytes = {.name = model->job->topic,
                                         .data = span.data,
                                         .count = span.bytes,
                                         .version = commit ? commit->version_after : 0};
    status = commit && commit->snapshot == snapshot
                 ? mr_models_replace(models, i, &bytes, err)
                 : mr_fail(err, MR_EINVARIANT, "state topic \"%s\": snapshot %llu is not whole", model->job->topic,
                           (unsigned long long)snapshot);
    mr_state_log_destroy(log);
    return status;
}

static mr_status behind_learn(struct mr_past *past, const struct mr_state_point *point, struct mr_err *err)
{
    struct mr_replay replay;
    mr_status status = point->behind_count ? mr_replay_init(&replay, past->run, err) : MR_OK;
    if (status || !point->behind_count) return status;
    for (size_t i = 0; i < point->behind_count && !status; i++) {
        const struct mr_state_commit *const commit = point->behind[i].commit;
        const bool is_last = i + 1 == point->behind_count;
        status = mr_replay_commit(&replay, commit, is_last ? point->last_update_count : commit->update_count, err);
    }
    mr_replay_deinit(&replay);
    return status;
}

/* The model that was sought must be what was committed. */
static mr_status checksum_check(struct mr_past *past, size_t i, struct mr_err *err)
{
    const struct mr_model_at_work *const model = &past->run->models.item[i];
    const struct mr_state_commit *const commit = past->commit;
    struct mr_blob bytes = {0};
    char unit[256];
    if (!commit->model_checksum || past->updates != commit->update_count) return MR_OK;
    mr_status status = model->learn->store(model->model, &bytes, err);
    const uint64_t sum = status ? 0 : mr_state_checksum(bytes.data, bytes.bytes);
    mr_blob_deinit(&bytes);
    if (status || sum == commit->model_checksum) return status;
    mr_units_describe(&past->run->units, unit, sizeof unit);
    if (strncmp(unit, commit->unit, strlen(commit->unit)) != 0) {
        mr_log(MR_LOG_WARN, "state", "%s: learned again on %s, the weights differ in their last bits from those of %s",
               model->job->name, unit, commit->unit);
        return MR_OK;
    }
    return mr_fail(err, MR_EINVARIANT,
                   "topic \"%s\": what \"%s\" had learned at commit %llu does not come out again: the input or the "
                   "program is not what it was",
                   model->job->topic, model->job->name, (unsigned long long)commit->seq);
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
        if (past->run->models.item[i].learn) status = snapshot_take(past, i, point.snapshot->commit->snapshot, err);
    }
    if (!status) {
        past->run->models.begins_late = past->run->learns_by_offsets && !point.snapshot->commit->version_after;
        past->commit = point.behind_count ? point.behind[point.behind_count - 1].commit : point.snapshot->commit;
        past->updates = point.behind_count ? point.last_update_count : past->commit->update_count;
        status = behind_learn(past, &point, err);
    }
    if (!status) status = checksum_check(past, model, err);
    if (status) mr_past_close(past);
    return status;
}

void mr_past_close(struct mr_past *past)
{
    mr_run_destroy(past->run);
    mr_state_log_destroy(past->log);
    *past = (struct mr_past){0};
}
