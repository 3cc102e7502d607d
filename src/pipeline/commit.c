#include "pipeline/commit.h"

#include "base/log.h"

void mr_commit_init(struct mr_commit *commit, const struct mr_commit_ops *ops, void *kafka)
{
    *commit = (struct mr_commit){.ops = ops, .kafka = kafka, .phase = MR_COMMIT_CLOSED};
}

/* The status that an outcome ends in. A transaction that was open is broken by all but success. */
static mr_status outcome_take(struct mr_commit *commit, mr_txn_outcome outcome, struct mr_err *err)
{
    mr_status status = MR_OK;
    switch (outcome) {
    case MR_TXN_OK:
        return MR_OK;
    case MR_TXN_AGAIN:
    case MR_TXN_ABORT:
    case MR_TXN_FATAL:
        status = MR_ERESTART;
        break;
    case MR_TXN_FENCED:
        status = MR_EFENCED;
        break;
    case MR_TXN_REFUSED:
        status = err && (err->status == MR_EINPUT || err->status == MR_ECONFIG) ? err->status : MR_EKAFKA;
        break;
    }
    commit->phase = MR_COMMIT_BROKEN;
    if (err) err->status = status;
    return status;
}

mr_status mr_commit_open(struct mr_commit *commit, struct mr_err *err)
{
    mr_txn_outcome outcome;
    unsigned tries = 0;
    mr_commit_close(commit);
    while ((outcome = commit->ops->init(commit->kafka, err)) == MR_TXN_AGAIN &&
           commit->ops->go_on(commit->kafka, tries))
        tries++;
    const mr_status status = outcome_take(commit, outcome, err);
    if (status)
        mr_commit_close(commit);
    else
        commit->phase = MR_COMMIT_READY;
    return status;
}

static mr_status broken_fail(struct mr_err *err)
{
    return mr_fail(err, MR_ERESTART, "the transaction was given up");
}

mr_status mr_commit_begin(struct mr_commit *commit, struct mr_err *err)
{
    if (commit->phase == MR_COMMIT_OPEN) return MR_OK;
    if (commit->phase != MR_COMMIT_READY) return broken_fail(err);
    const mr_status status = outcome_take(commit, commit->ops->begin(commit->kafka, err), err);
    if (!status) commit->phase = MR_COMMIT_OPEN;
    return status;
}

/* What must hold before anything is asked of Kafka. */
static mr_status batch_check(const struct mr_commit_batch *batch, struct mr_err *err)
{
    if (batch->in != batch->out + batch->dead + batch->filtered)
        return mr_fail(err, MR_EINVARIANT,
                       "%llu records in, but %llu out, %llu dead and %llu filtered: nothing of it was committed",
                       (unsigned long long)batch->in, (unsigned long long)batch->out, (unsigned long long)batch->dead,
                       (unsigned long long)batch->filtered);
    if (!batch->count)
        return mr_fail(err, MR_EINVARIANT,
                       "%llu messages were sent, but no input offset goes with them: nothing was committed",
                       (unsigned long long)batch->sent);
    if (batch->acknowledged > batch->sent)
        return mr_fail(err, MR_EINVARIANT, "%llu messages were sent, but %llu acknowledged: nothing was committed",
                       (unsigned long long)batch->sent, (unsigned long long)batch->acknowledged);
    if (batch->acknowledged < batch->sent)
        return mr_fail(err, MR_ERESTART, "%llu of %llu messages were not acknowledged",
                       (unsigned long long)(batch->sent - batch->acknowledged), (unsigned long long)batch->sent);
    return MR_OK;
}

static mr_status offsets_send(struct mr_commit *commit, const struct mr_commit_batch *batch, struct mr_err *err)
{
    mr_txn_outcome outcome;
    unsigned tries = 0;
    while ((outcome = commit->ops->offsets(commit->kafka, batch->position, batch->count, err)) == MR_TXN_AGAIN &&
           commit->ops->go_on(commit->kafka, tries) && commit->phase == MR_COMMIT_OPEN)
        tries++;
    return outcome_take(commit, outcome, err);
}

static mr_status commit_send(struct mr_commit *commit, struct mr_err *err)
{
    mr_txn_outcome outcome;
    unsigned tries = 0;
    while ((outcome = commit->ops->commit(commit->kafka, err)) == MR_TXN_AGAIN &&
           commit->ops->go_on(commit->kafka, tries))
        tries++;
    return outcome_take(commit, outcome, err);
}

mr_status mr_commit_end(struct mr_commit *commit, const struct mr_commit_batch *batch, struct mr_err *err)
{
    if (commit->phase != MR_COMMIT_READY && commit->phase != MR_COMMIT_OPEN) return broken_fail(err);
    if (!batch->count && !batch->sent && !batch->in) return MR_OK; /* a transaction that holds nothing stays open */
    mr_status status = batch_check(batch, err);
    if (status) {
        commit->phase = MR_COMMIT_BROKEN;
        return status;
    }
    status = mr_commit_begin(commit, err); /* what is all filtered has sent nothing, but its offsets are committed */
    if (!status) status = offsets_send(commit, batch, err);
    if (!status) status = commit_send(commit, err);
    if (status) return status;
    commit->committed++;
    commit->phase = MR_COMMIT_READY;
    if (commit->keeps_dirty || !commit->ops->is_dirty(commit->kafka)) return MR_OK;
    mr_log(MR_LOG_INFO, "commit",
           "a request of the last transaction was answered late or twice: the transaction is committed, and the next "
           "one gets %s",
           commit->has_state ? "a new producer, and the model as it is committed" : "a new producer");
    commit->recycled++;
    if (!commit->has_state) return mr_commit_open(commit, err);
    commit->phase = MR_COMMIT_BROKEN;
    return MR_OK;
}

int64_t mr_commit_due(int64_t last_due_ns, int64_t now_ns, int64_t interval_ns)
{
    const int64_t steady_ns = last_due_ns + interval_ns, soonest_ns = now_ns + interval_ns / 2;
    if (steady_ns <= now_ns || steady_ns > now_ns + interval_ns) return now_ns + interval_ns;
    return steady_ns > soonest_ns ? steady_ns : soonest_ns;
}

void mr_commit_break(struct mr_commit *commit)
{
    if (commit->phase != MR_COMMIT_CLOSED) commit->phase = MR_COMMIT_BROKEN;
}

void mr_commit_close(struct mr_commit *commit)
{
    commit->ops->drop(commit->kafka);
    commit->phase = MR_COMMIT_CLOSED;
}
