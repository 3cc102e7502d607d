#include "pipeline/recall.h"

#include <string.h>

#include "base/log.h"
#include "pipeline/run.h"
#include "state/topic.h"

mr_status mr_recall_read(const struct mr_run *run, size_t model, uint64_t snapshot, struct mr_state_log **log_out,
                         struct mr_err *err)
{
    const struct mr_model_at_work *const at_work = &run->models.item[model];
    const struct mr_state_topic topic = {.properties = run->properties,
                                         .log = {.topic = at_work->job->topic,
                                                 .model = at_work->job->name,
                                                 .type = at_work->info->type,
                                                 .schema_hash = mr_state_schema_hash(at_work->info),
                                                 .snapshot = snapshot},
                                         .timeout_ms = MR_STATE_READ_TIMEOUT_MS,
                                         .takes_broken = snapshot != 0};
    return mr_state_topic_read(&topic, log_out, err);
}

mr_status mr_recall_take(struct mr_run *run, size_t model, const struct mr_state_log *log, uint64_t snapshot,
                         struct mr_err *err)
{
    const char *const topic = run->models.item[model].job->topic;
    struct mr_span span;
    const struct mr_state_commit *const commit = mr_state_log_model(log, &span);
    if (!commit) return mr_fail(err, MR_EINVARIANT, "state topic \"%s\" holds no whole model", topic);
    if (snapshot && commit->snapshot != snapshot)
        return mr_fail(err, MR_EINVARIANT, "state topic \"%s\": snapshot %llu is not whole", topic,
                       (unsigned long long)snapshot);
    const struct mr_model_bytes bytes = {topic, span.data, span.bytes, commit->version_after};
    mr_models_lock(&run->models); /* other models may be followed meanwhile */
    const mr_status status = mr_models_replace(&run->models, model, &bytes, err);
    mr_models_unlock(&run->models);
    return status;
}

mr_status mr_recall_learn(struct mr_replay *replay, const struct mr_state_point *point, struct mr_err *err)
{
    mr_status status = MR_OK;
    for (size_t i = 0; i < point->behind_count && !status; i++) {
        const struct mr_state_commit *const commit = point->behind[i].commit;
        const bool is_last = i + 1 == point->behind_count;
        status = mr_replay_commit(replay, commit, is_last ? point->last_update_count : commit->update_count, err);
    }
    return status;
}

bool mr_recall_is_own_unit(const struct mr_run *run, const struct mr_state_commit *commit)
{
    char unit[MR_STATE_NAME_BYTES_MAX];
    mr_units_kind(&run->units, unit, sizeof unit);
    return !strcmp(unit, commit->unit);
}

mr_status mr_recall_check(const struct mr_run *run, size_t model, const struct mr_state_commit *commit,
                          struct mr_blob *scratch, struct mr_err *err)
{
    const struct mr_model_at_work *const at_work = &run->models.item[model];
    const char *const name = at_work->job->name, *const topic = at_work->job->topic;
    if (at_work->version != commit->version_after)
        return mr_fail(err, MR_EINVARIANT, "topic \"%s\": %llu updates make version %llu of \"%s\", not %llu", topic,
                       (unsigned long long)commit->update_count, (unsigned long long)at_work->version, name,
                       (unsigned long long)commit->version_after);
    if (!commit->model_checksum) return MR_OK;
    const mr_status status = at_work->learn->store(at_work->model, scratch, err);
    if (status || mr_state_checksum(scratch->data, scratch->bytes) == commit->model_checksum) return status;
    if (!mr_recall_is_own_unit(run, commit)) {
        mr_log(MR_LOG_WARN, "state",
               "%s: learned again on another unit than %s, the weights differ in their last bits; going on with these",
               name, commit->unit);
        return MR_OK;
    }
    return mr_fail(err, MR_EINVARIANT,
                   "topic \"%s\": what \"%s\" had learned at commit %llu does not come out again: the input or the "
                   "program is not what it was",
                   topic, name, (unsigned long long)commit->seq);
}
