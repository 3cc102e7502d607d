/* Whether a state topic's commits form a chain, and how to come to one of them. */
#include <stdio.h>
#include <string.h>

#include "state/log_inside.h"

static unsigned long long number(uint64_t value)
{
    return value;
}

/* The partition's position in a commit; NULL: it has none. `hint`: where it stood in the one before. */
static const struct mr_state_position *position_find(const struct mr_state_commit *commit,
                                                     const struct mr_state_position *of, size_t hint)
{
    for (size_t i = 0; i < commit->position_count; i++) {
        const struct mr_state_position *const at = &commit->position[(hint + i) % commit->position_count];
        if (at->partition == of->partition && !strcmp(at->topic, of->topic)) return at;
    }
    return NULL;
}

/* Whether an entry follows the one before it. */
static mr_status link_check(const struct mr_state_log *log, const struct mr_state_entry *before,
                            const struct mr_state_entry *entry, struct mr_err *err)
{
    const struct mr_state_commit *const a = before->commit, *const b = entry->commit;
    /* One that was rolled back stands behind everything that there was, also behind what is broken. */
    const bool is_back = b->kind == MR_STATE_ROLLED_BACK;
    const bool is_snapshot = !b->index && (is_back ? b->snapshot > a->snapshot : b->snapshot == a->snapshot + 1);
    if (b->seq_before != a->seq || !(is_snapshot || (b->snapshot == a->snapshot && b->index == a->index + 1)))
        return mr_fail(
            err, MR_EINVARIANT,
            "state topic \"%s\" of \"%s\", offset %lld: commit %llu follows commit %llu, but the one before it is "
            "commit %llu at offset %lld: what is between them is missing: " MR_STATE_BACK,
            log->topic, log->model, (long long)entry->offset, number(b->seq), number(b->seq_before), number(a->seq),
            (long long)before->offset);
    if (b->version_before != a->version_after)
        return mr_fail(
            err, MR_EINVARIANT,
            "state topic \"%s\" of \"%s\", offset %lld: commit %llu goes on from version %llu, the one before it "
            "ended at version %llu: " MR_STATE_BACK,
            log->topic, log->model, (long long)entry->offset, number(b->seq), number(b->version_before),
            number(a->version_after));
    for (size_t i = 0; i < a->position_count; i++) {
        const struct mr_state_position *const from = &a->position[i], *const to = position_find(b, from, i);
        if (to && to->next_offset >= from->next_offset) continue;
        return mr_fail(
            err, MR_EINVARIANT,
            "state topic \"%s\" of \"%s\", offset %lld: commit %llu has %s %d at offset %lld, the one before it at "
            "%lld: " MR_STATE_BACK,
            log->topic, log->model, (long long)entry->offset, number(b->seq), from->topic, from->partition,
            (long long)(to ? to->next_offset : -1), (long long)from->next_offset);
    }
    return MR_OK;
}

/* What is wrong with the newest snapshot. */
static mr_status snapshot_refuse(const struct mr_state_log *log, const struct mr_state_entry *last, struct mr_err *err)
{
    const struct mr_state_part *const part = &log->part;
    const uint64_t snapshot = last ? last->commit->snapshot : part->number;
    const long long offset = last ? (long long)last->offset : -1;
    if (last && part->number == snapshot && part->count)
        return mr_fail(
            err, MR_EINVARIANT,
            "state topic \"%s\" of \"%s\", offset %lld: commit %llu builds upon snapshot %llu, of which chunk %u "
            "of %u is missing: " MR_STATE_BACK,
            log->topic, log->model, part->has_hole ? (long long)part->hole_offset : offset, number(last->commit->seq),
            number(snapshot), part->seen, part->count);
    return mr_fail(
        err, MR_EINVARIANT,
        "state topic \"%s\" of \"%s\", offset %lld: commit %llu builds upon snapshot %llu, which is not there: "
        "compaction, retention or a hand has taken it: " MR_STATE_BACK,
        log->topic, log->model, offset, number(last ? last->commit->seq : part->seq), number(snapshot));
}

/* The topic holds nothing of this model. */
static mr_status stranger_refuse(const struct mr_state_log *log, struct mr_err *err)
{
    if (*log->stranger)
        return mr_fail(err, MR_EDATA,
                       "state topic \"%s\" is of model \"%s\", the job calls it \"%s\": put the name back, or name "
                       "another topic in models[].topic",
                       log->topic, log->stranger, log->model);
    return mr_fail(err, MR_EDATA,
                   "topic \"%s\" holds other records than states of \"%s\": name another topic in models[].topic",
                   log->topic, log->model);
}

mr_status mr_state_log_check(const struct mr_state_log *log, struct mr_err *err)
{
    const struct mr_state_entry *const last = log->entry_count ? &log->entry[log->entry_count - 1] : NULL;
    if (log->has_strangers && !log->seq_max) return stranger_refuse(log, err);
    if (log->fault.status) {
        *err = log->fault;
        return err->status;
    }
    if (!last && !log->part.number) return MR_OK;
    if (!last || log->part.number > last->commit->snapshot)
        return mr_fail(
            err, MR_EINVARIANT,
            "state topic \"%s\" of \"%s\": there are chunks of snapshot %llu, but not the manifest that goes with "
            "them: " MR_STATE_BACK,
            log->topic, log->model, number(log->part.number));
    const size_t at = mr_state_log_find(log, last->commit->snapshot);
    if (at == log->entry_count || !log->entry[at].has_snapshot) return snapshot_refuse(log, last, err);
    /* From the end of the snapshot before it: that may have lost its beginning, but not its end. */
    for (size_t i = at ? at : 1; i < log->entry_count; i++) {
        const mr_status status = link_check(log, &log->entry[i - 1], &log->entry[i], err);
        if (status) return status;
    }
    return MR_OK;
}

/* ---- how to come to a state ---- */

static bool has_positions(const struct mr_state_commit *commit, const struct mr_state_target *target)
{
    if (commit->position_count != target->position_count) return false;
    for (size_t i = 0; i < target->position_count; i++) {
        const struct mr_state_position *const at = position_find(commit, &target->position[i], i);
        if (!at || at->next_offset != target->position[i].next_offset) return false;
    }
    return true;
}

static bool is_target(const struct mr_state_commit *commit, const struct mr_state_target *target)
{
    switch (target->by) {
    case MR_STATE_AT_LAST:
        return true;
    case MR_STATE_AT_SEQ:
        return commit->seq == target->number;
    case MR_STATE_AT_VERSION:
        return commit->version_after == target->number ||
               (commit->kind == MR_STATE_LEARNED && commit->version_before < target->number &&
                target->number < commit->version_after);
    case MR_STATE_AT_OFFSETS:
        return has_positions(commit, target);
    }
    return false;
}

void mr_state_log_reach(const struct mr_state_log *log, bool *is_there_out)
{
    for (size_t i = 0; i < log->entry_count; i++) {
        const struct mr_state_entry *const entry = &log->entry[i];
        struct mr_err err;
        is_there_out[i] =
            entry->has_snapshot || (i && is_there_out[i - 1] && entry->commit->kind != MR_STATE_ROLLED_BACK &&
                                    !link_check(log, entry - 1, entry, &err));
    }
}

/* The versions that the log has had; they go back with the model. */
static void versions_span(const struct mr_state_log *log, uint64_t *low_out, uint64_t *high_out)
{
    *low_out = UINT64_MAX;
    *high_out = 0;
    for (size_t i = 0; i < log->entry_count; i++) {
        const uint64_t version = log->entry[i].commit->version_after;
        if (version < *low_out) *low_out = version;
        if (version > *high_out) *high_out = version;
    }
}

static mr_status not_there(const struct mr_state_log *log, const struct mr_state_target *target, struct mr_err *err)
{
    static const char *const kinds[] = {"commit", "commit", "version"};
    char what[64];
    if (target->by == MR_STATE_AT_OFFSETS)
        snprintf(what, sizeof what, "no commit at these offsets");
    else
        snprintf(what, sizeof what, "no %s %llu", kinds[target->by], number(target->number));
    if (!log->entry_count)
        return mr_fail(err, MR_EINPUT, "state topic \"%s\" of \"%s\": it is empty", log->topic, log->model);
    const struct mr_state_entry *const first = log->entry, *const last = first + log->entry_count - 1;
    uint64_t low, high;
    versions_span(log, &low, &high);
    return mr_fail(err, MR_EINPUT,
                   "state topic \"%s\" of \"%s\": %s: it holds commits %llu to %llu, versions %llu to %llu", log->topic,
                   log->model, what, number(first->commit->seq), number(last->commit->seq), number(low), number(high));
}

mr_status mr_state_log_seek(const struct mr_state_log *log, const struct mr_state_target *target,
                            struct mr_state_point *point_out, struct mr_err *err)
{
    size_t at = log->entry_count;
    while (at && !is_target(log->entry[at - 1].commit, target)) at--;
    if (!at) return not_there(log, target, err);
    const struct mr_state_entry *const end = &log->entry[--at];
    const bool is_within = target->by == MR_STATE_AT_VERSION && end->commit->version_after != target->number;
    if (is_within && !at) return not_there(log, target, err); /* between nothing and the first commit */
    /* Back to a snapshot; one that was made after the version does not do. */
    size_t from = at;
    for (bool is_after = is_within; is_after || !log->entry[from].has_snapshot; is_after = false) {
        if (!from || log->entry[from].commit->kind == MR_STATE_ROLLED_BACK)
            return snapshot_refuse(log, &log->entry[from], err);
        const mr_status status = link_check(log, &log->entry[from - 1], &log->entry[from], err);
        if (status) return status;
        from--;
    }
    *point_out = (struct mr_state_point){
        .snapshot = &log->entry[from], .behind = &log->entry[from + 1], .behind_count = at - from};
    if (at > from)
        point_out->last_update_count =
            is_within ? (size_t)(target->number - end->commit->version_before) : end->commit->update_count;
    return MR_OK;
}
