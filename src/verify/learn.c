/* A job that learns in transactions: all that its state topics say was learned, learned again. */
#include <stdlib.h>
#include <string.h>

#include "pipeline/recall.h"
#include "verify/inside.h"

static mr_status update_work(struct mr_verify *verify, const struct mr_state_commit *commit,
                             const struct mr_state_range *range, const struct mr_state_update *update,
                             struct mr_err *err)
{
    struct mr_run *const run = verify->offline->run;
    struct mr_slot *const slot = &verify->offline->slot;
    struct mr_verify_input *input = NULL;
    mr_status status = mr_verify_ranges_decode(verify, commit, range, update->range_count, &input, err);
    if (status || !input) return status; /* an update has at least one range */
    if (update->rows && slot->rows.row_count != update->rows) {
        mr_proof_found(verify->proof, MR_FOUND_STATE, input->name, input->partition, range->first_offset,
                       "commit %llu has learned from %u records there, and there are %zu",
                       (unsigned long long)commit->seq, (unsigned)update->rows, slot->rows.row_count);
        return MR_END;
    }
    status = mr_verify_slot_tell(verify, err);
    if (!status && run->models.begins_late) { /* what waited for its first rows has them now */
        run->models.begins_late = false;
        status = mr_offline_score(verify->offline, err);
    }
    if (!status) status = mr_models_learn(&run->models, &slot->queues, &slot->rows, slot->scores, MR_LEARN_ALL, err);
    verify->proof->updates++;
    verify->updates_alone++;
    return status;
}

/* ---- what waits to be learned from ---- */

static const struct mr_state_range *pending_of(const struct mr_state_commit *commit, size_t *count_out)
{
    *count_out = mr_state_pending_count(commit);
    return commit->range + (commit->range_count - *count_out);
}

/* What waits ends with a message: its commit has the offset behind it. */
static void pending_mark(struct mr_verify *verify, const struct mr_state_commit *commit)
{
    size_t count;
    const struct mr_state_range *const range = pending_of(commit, &count);
    for (size_t i = 0; i < count; i++) {
        struct mr_verify_input *const input = mr_verify_range_input(verify, commit, &range[i]);
        if (input && input->told_end < range[i].end_offset) input->told_end = range[i].end_offset;
    }
}

/* It was answered already, with the models as they are, and comes again, to be learned from by models that are others
 * then: told now, and only now. *counts_out: of what was told; it is counted when it comes again. */
static mr_status pending_tell(struct mr_verify *verify, const struct mr_state_commit *commit,
                              struct mr_counts *counts_out, struct mr_err *err)
{
    struct mr_offline *const offline = verify->offline;
    const size_t bytes = verify->parts.count * sizeof *verify->input;
    size_t count;
    const struct mr_state_range *const range = pending_of(commit, &count);
    const struct mr_counts before = offline->count;
    const uint64_t messages = verify->proof->messages;
    struct mr_verify_input *const inputs = malloc(bytes + 1);
    if (!inputs) return mr_fail(err, MR_ENOMEM, "out of memory");
    memcpy(inputs, verify->input, bytes);
    const mr_status status = mr_verify_ranges_tell(verify, commit, range, count, err);
    memcpy(verify->input, inputs, bytes);
    free(inputs);
    pending_mark(verify, commit);
    *counts_out = (struct mr_counts){offline->count.in - before.in, offline->count.out - before.out,
                                     offline->count.dead - before.dead, offline->count.filtered - before.filtered};
    offline->count = before;
    verify->proof->messages = messages;
    return status;
}

/* Of the commit that the models are taken from: what waited was answered and counted before, and comes again. */
static mr_status pending_skip(struct mr_verify *verify, const struct mr_state_commit *commit, struct mr_err *err)
{
    struct mr_counts *const count = &verify->offline->count, again = {0};
    pending_mark(verify, commit);
    const mr_status status = pending_tell(verify, commit, &again, err);
    *count = (struct mr_counts){count->in - again.in, count->out - again.out, count->dead - again.dead,
                                count->filtered - again.filtered};
    return status;
}

/* Whether the first update of a commit learns from all that waited at the one before: as part of its block. If not,
 * "batch" is another one since, and it was learned from in pieces. */
static bool is_learned_at_once(const struct mr_verify *verify, const struct mr_state_commit *before,
                               const struct mr_state_commit *commit)
{
    size_t count;
    const struct mr_state_range *const range = pending_of(before, &count);
    for (size_t i = 0; i < count; i++) {
        const struct mr_verify_input *const input = mr_verify_range_input(verify, before, &range[i]);
        bool has_it = false;
        for (size_t r = 0; r < commit->update[0].range_count; r++) {
            const struct mr_state_range *const learned = &commit->range[r];
            has_it |= mr_verify_range_input(verify, commit, learned) == input &&
                      (learned->end_offset > range[i].end_offset ||
                       (learned->end_offset == range[i].end_offset && learned->end_record >= range[i].end_record));
        }
        if (!has_it) return false;
    }
    return true;
}

/*
 * Whether what the commits from `at` on answered first was answered before the models began. They learn in blocks then,
 * whatever the job says now: only blocks leave something that waits, but for one that ends with its commit.
 */
static bool begins_late(const struct mr_verify *verify, const struct mr_state_entry *entry, size_t count, size_t at)
{
    const struct mr_state_commit *commit = NULL;
    for (; at < count && !(commit && commit->update_count); at++) {
        commit = entry[at].commit;
        if (mr_state_pending_count(commit)) return true;
    }
    if (!commit || !commit->update_count || !verify->offline->run->learns_by_offsets)
        return verify->offline->run->learns_by_offsets;
    const struct mr_state_range *const last = &commit->range[commit->range_count - 1];
    return commit->update[commit->update_count - 1].rows == verify->block_rows ||
           (!last->end_record && last->end_offset % (int64_t)verify->block_rows == 0);
}

/* ---- commits ---- */

/* A commit that has put an earlier model back. */
static mr_status back_take(struct mr_verify *verify, const struct mr_state_entry *entry, size_t count, size_t at,
                           struct mr_err *err)
{
    const struct mr_state_commit *const commit = entry[at].commit;
    struct mr_counts counts;
    mr_status status = at ? pending_tell(verify, entry[at - 1].commit, &counts, err) : MR_OK;
    if (!status) status = mr_verify_snapshot_take(verify, commit->snapshot, err);
    verify->offline->run->models.begins_late = !commit->version_after && begins_late(verify, entry, count, at);
    if (!status)
        mr_proof_note(verify->proof, "commit %llu has put version %llu back: taken as it stands there",
                      (unsigned long long)commit->seq, (unsigned long long)commit->version_after);
    return status;
}

static void counts_check(struct mr_verify *verify, const struct mr_state_commit *base,
                         const struct mr_state_commit *last)
{
    const struct mr_counts *const mine = &verify->offline->count;
    const uint64_t in = last->in - (base ? base->in : 0), out = last->out - (base ? base->out : 0);
    const uint64_t dead = last->dead - (base ? base->dead : 0), filtered = last->filtered - (base ? base->filtered : 0);
    if (in != out + dead + filtered)
        mr_proof_found(verify->proof, MR_FOUND_COUNTS, mr_verify_model(verify, 0)->job->topic, -1, -1,
                       "the state counts %llu in, and %llu out + %llu dead + %llu filtered", (unsigned long long)in,
                       (unsigned long long)out, (unsigned long long)dead, (unsigned long long)filtered);
    else if (in != mine->in || filtered != mine->filtered || out + dead != mine->out + mine->dead)
        mr_proof_found(verify->proof, MR_FOUND_COUNTS, mr_verify_model(verify, 0)->job->topic, -1, -1,
                       "the state counts %llu in, %llu out, %llu dead, %llu filtered; the input holds %llu, %llu, "
                       "%llu, %llu",
                       (unsigned long long)in, (unsigned long long)out, (unsigned long long)dead,
                       (unsigned long long)filtered, (unsigned long long)mine->in, (unsigned long long)mine->out,
                       (unsigned long long)mine->dead, (unsigned long long)mine->filtered);
    else
        mr_proof_fact(verify->proof, "%llu in = %llu out + %llu dead + %llu filtered, and so the state counts",
                      (unsigned long long)in, (unsigned long long)out, (unsigned long long)dead,
                      (unsigned long long)filtered);
}

static mr_status commit_work(struct mr_verify *verify, const struct mr_state_entry *entry, size_t count, size_t at,
                             struct mr_err *err)
{
    const struct mr_state_commit *const commit = entry[at].commit;
    const struct mr_state_range *range = commit->range;
    struct mr_counts counts;
    bool has_read = false;
    mr_status status = MR_OK;
    if (commit->kind == MR_STATE_ROLLED_BACK) return back_take(verify, entry, count, at, err);
    if (at && commit->update_count && !is_learned_at_once(verify, entry[at - 1].commit, commit))
        status = pending_tell(verify, entry[at - 1].commit, &counts, err);
    for (size_t u = 0; u < commit->update_count && !status; u++) {
        status = update_work(verify, commit, range, &commit->update[u], err);
        range += commit->update[u].range_count;
        if (!status) status = mr_verify_pump(verify, false, &has_read, err);
    }
    return status;
}

/* The rest of each input: what is pending, and what nothing was learned from. */
static mr_status rest_work(struct mr_verify *verify, const struct mr_state_commit *last, struct mr_err *err)
{
    size_t count;
    const struct mr_state_range *const range = pending_of(last, &count);
    mr_status status = mr_verify_ranges_tell(verify, last, range, count, err);
    for (size_t i = 0; i < verify->parts.count && !status; i++) {
        struct mr_verify_input *const input = &verify->input[i];
        status = mr_verify_gap_tell(verify, input, input->end, 0, err);
    }
    return status;
}

mr_status mr_verify_learned(struct mr_verify *verify, struct mr_err *err)
{
    struct mr_run *const run = verify->offline->run;
    size_t count;
    const struct mr_state_entry *const entry = mr_state_log_entries(verify->log[0], &count);
    bool is_equal = true;
    mr_status status = MR_OK;
    if (!count) {
        mr_proof_fact(verify->proof, "nothing is committed yet");
        return MR_OK;
    }
    const size_t base = mr_verify_base(verify, entry, count);
    run->models.begins_late = (base == SIZE_MAX || !entry[base].commit->version_after) &&
                              begins_late(verify, entry, count, base == SIZE_MAX ? 0 : base);
    if (base != SIZE_MAX) {
        status = mr_verify_snapshot_take(verify, entry[base].commit->snapshot, err);
        if (!status) status = pending_skip(verify, entry[base].commit, err);
    }
    if (!status) status = mr_verify_scored_commit(verify, base, err);
    for (size_t at = base == SIZE_MAX ? 0 : base + 1; at < count && !status; at++) {
        status = commit_work(verify, entry, count, at, err);
        if (!status && is_equal) status = mr_verify_weights(verify, at, &is_equal, err);
        if (!status && is_equal) status = mr_verify_scored_commit(verify, at, err);
        verify->proof->commits++;
    }
    if (!status) status = rest_work(verify, entry[count - 1].commit, err);
    if (status == MR_EINPUT) { /* retention was shorter */
        verify->proof->missing = MR_EINPUT;
        mr_proof_note(verify->proof, "%s", err->text);
        return MR_END;
    }
    if (status) return status;
    counts_check(verify, base == SIZE_MAX ? NULL : entry[base].commit, entry[count - 1].commit);
    mr_proof_fact(verify->proof, "the state's %zu commits are a chain without a gap", count);
    if (verify->models_unseen)
        mr_proof_note(verify->proof, "weights at %llu commits: they were made by another unit, and have no snapshot",
                      (unsigned long long)verify->models_unseen);
    if (verify->models_far)
        mr_proof_note(verify->proof,
                      "weights at %llu snapshots: another unit has made them, and they are off by up to %.3g of the "
                      "largest, not by more than 1e-6 an update",
                      (unsigned long long)verify->models_far, verify->models_off);
    if (is_equal && verify->models_far) return MR_OK;
    if (is_equal && verify->models_near)
        mr_proof_fact(verify->proof, "the weights come out again within 1e-6 at %llu snapshots, from each to the next",
                      (unsigned long long)verify->models_near);
    else if (is_equal)
        mr_proof_fact(verify->proof,
                      "the weights of %zu model%s come out again, bit for bit, at %llu commits (%llu updates)",
                      verify->log_count, verify->log_count == 1 ? "" : "s", (unsigned long long)verify->proof->commits,
                      (unsigned long long)verify->proof->updates);
    return MR_OK;
}
