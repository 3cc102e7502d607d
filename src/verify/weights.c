/* The weights of a job that learns: at each commit, or where another unit has made them, at each snapshot. */
#include <math.h>
#include <stdio.h>

#include "modelfile/safetensors.h"
#include "pipeline/recall.h"
#include "verify/inside.h"

mr_status mr_verify_snapshot_take(struct mr_verify *verify, uint64_t snapshot, struct mr_err *err)
{
    struct mr_run *const run = verify->offline->run;
    mr_status status = MR_OK;
    verify->updates_alone = 0;
    for (size_t i = 0; i < verify->log_count && !status; i++) {
        struct mr_state_log *log;
        status = mr_recall_read(run, verify->model[i], snapshot, &log, err);
        if (!status) status = mr_recall_take(run, verify->model[i], log, snapshot, err);
        mr_state_log_destroy(log);
    }
    return status;
}

/* How far two tensors are apart, relative to the largest number in them: small ones are what is left of large ones. */
static double tensor_off(const struct mr_tensor *a, const struct mr_tensor *b)
{
    double most = 0, size = 0;
    if (!b || a->count != b->count) return INFINITY;
    for (uint64_t i = 0; i < a->count; i++) {
        const double x = mr_tensor_value(a, i), y = mr_tensor_value(b, i);
        if (x == y || (isnan(x) && isnan(y))) {
            if (isfinite(x)) size = fmax(size, fabs(x));
            continue;
        }
        if (!isfinite(x) || !isfinite(y)) return INFINITY;
        most = fmax(most, fabs(x - y));
        size = fmax(size, fmax(fabs(x), fabs(y)));
    }
    return most > 0 ? most / size : 0;
}

/* How far two stored models are apart, and the tensor that is farthest. */
static mr_status models_compare(const struct mr_blob *mine, const struct mr_span *theirs, double *off_out,
                                char name[64], struct mr_err *err)
{
    struct mr_safetensors *a = NULL, *b = NULL;
    mr_status status = mr_safetensors_parse("the model learned again", mine->data, mine->bytes, &a, err);
    if (!status) status = mr_safetensors_parse("the snapshot", theirs->data, theirs->bytes, &b, err);
    *name = '\0';
    *off_out = 0;
    for (size_t i = 0; !status && i < mr_safetensors_count(a); i++) {
        const struct mr_tensor *const tensor = mr_safetensors_at(a, i);
        const double off = tensor_off(tensor, mr_safetensors_find(b, tensor->name));
        if (off <= *off_out) continue;
        *off_out = off;
        snprintf(name, 64, "%s", tensor->name);
    }
    mr_safetensors_close(a);
    mr_safetensors_close(b);
    return status;
}

/*
 * Made by another unit: the numbers must be near those of the snapshot. An update may move each by as much again, so
 * up to that nothing is proved, and nothing contradicted.
 */
static mr_status snapshot_compare(struct mr_verify *verify, size_t i, const struct mr_state_entry *entry,
                                  const struct mr_blob *mine, bool *is_equal, struct mr_err *err)
{
    const struct mr_model_at_work *const model = mr_verify_model(verify, i);
    struct mr_state_log *log;
    struct mr_span span;
    double off = 0;
    char name[64] = "";
    mr_status status = mr_recall_read(verify->offline->run, verify->model[i], entry->commit->snapshot, &log, err);
    if (status) return status;
    if (mr_state_log_model(log, &span)) status = models_compare(mine, &span, &off, name, err);
    mr_state_log_destroy(log);
    if (status) return status;
    if (off <= MR_NEAR) {
        verify->models_near++;
    } else if (off <= MR_NEAR * (double)verify->updates_alone) {
        verify->models_far++;
        verify->models_off = fmax(verify->models_off, off);
    } else {
        *is_equal = false;
        mr_proof_found(verify->proof, MR_FOUND_WEIGHTS, model->job->topic, 0, entry->offset,
                       "commit %llu: \"%s\" of \"%s\", made by %s, is off by %.3g from what is learned here",
                       (unsigned long long)entry->commit->seq, name, model->job->name, entry->commit->unit, off);
    }
    return MR_OK;
}

/* One model at one commit. *is_far_out: made by another unit, and it has a snapshot to go on from. */
static mr_status model_check(struct mr_verify *verify, size_t i, const struct mr_state_entry *entry, bool *is_equal,
                             bool *is_far_out, struct mr_err *err)
{
    const struct mr_model_at_work *const model = mr_verify_model(verify, i);
    const struct mr_state_commit *const commit = entry->commit;
    struct mr_blob bytes = {0};
    if (model->version != commit->version_after) {
        mr_proof_found(verify->proof, MR_FOUND_WEIGHTS, model->job->topic, 0, entry->offset,
                       "commit %llu: its updates make version %llu of \"%s\", it says %llu",
                       (unsigned long long)commit->seq, (unsigned long long)model->version, model->job->name,
                       (unsigned long long)commit->version_after);
        *is_equal = false;
    }
    if (!commit->model_checksum || !*is_equal) return MR_OK;
    mr_status status = model->learn->store(model->model, &bytes, err);
    if (!status && mr_state_checksum(bytes.data, bytes.bytes) == commit->model_checksum) {
        verify->proof->models_equal++;
    } else if (!status && !mr_recall_is_own_unit(verify->offline->run, commit)) {
        *is_far_out = entry->has_snapshot;
        if (!entry->has_snapshot) verify->models_unseen++;
        if (entry->has_snapshot) status = snapshot_compare(verify, i, entry, &bytes, is_equal, err);
    } else if (!status) {
        *is_equal = false;
        mr_proof_found(verify->proof, MR_FOUND_WEIGHTS, model->job->topic, 0, entry->offset,
                       "commit %llu: what \"%s\" had learned does not come out again", (unsigned long long)commit->seq,
                       model->job->name);
    }
    mr_blob_deinit(&bytes);
    return status;
}

mr_status mr_verify_weights(struct mr_verify *verify, size_t at, bool *is_equal, struct mr_err *err)
{
    size_t count, first;
    const struct mr_state_entry *const own = mr_state_log_entries(verify->log[0], &first);
    const uint64_t equal = verify->proof->models_equal;
    bool is_far = false;
    mr_status status = MR_OK;
    for (size_t i = 0; i < verify->log_count && !status && *is_equal; i++) {
        const struct mr_state_entry *const entries = mr_state_log_entries(verify->log[i], &count);
        if (first - at > count) continue;
        status = model_check(verify, i, &entries[count - (first - at)], is_equal, &is_far, err);
    }
    if (verify->proof->models_equal == equal + verify->log_count) verify->updates_alone = 0;
    return !status && is_far && *is_equal ? mr_verify_snapshot_take(verify, own[at].commit->snapshot, err) : status;
}
