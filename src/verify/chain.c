/* What the state topics of a job that learns say: its commits, a chain, and where they begin and end in the inputs. */
#include <stdlib.h>
#include <string.h>

#include "pipeline/recall.h"
#include "verify/inside.h"

#define READS_MAX 5

struct mr_model_at_work *mr_verify_model(const struct mr_verify *verify, size_t i)
{
    return &verify->offline->run->models.item[verify->model[i]];
}

/* ---- reading ---- */

static void logs_close(struct mr_verify *verify)
{
    for (size_t i = 0; i < verify->log_count; i++) {
        mr_state_log_destroy(verify->log[i]);
        verify->log[i] = NULL;
    }
}

void mr_verify_state_close(struct mr_verify *verify)
{
    if (verify->log) logs_close(verify);
    free(verify->log);
    free(verify->model);
}

static mr_status logs_read(struct mr_verify *verify, struct mr_err *err)
{
    mr_status status = MR_OK;
    for (size_t i = 0; i < verify->log_count && !status; i++) {
        status = mr_recall_read(verify->offline->run, verify->model[i], 0, &verify->log[i], err);
        if (status != MR_EINVARIANT && status != MR_EDATA) continue;
        mr_proof_found(verify->proof, MR_FOUND_STATE, mr_verify_model(verify, i)->job->topic, -1, -1, "%s", err->text);
        mr_proof_note(verify->proof, "outputs and weights: without the state there is nothing to make them from");
        status = MR_END;
    }
    return status;
}

mr_status mr_verify_state_read(struct mr_verify *verify, struct mr_err *err)
{
    const struct mr_models *const models = &verify->offline->run->models;
    mr_status status = MR_OK;
    if (!models->learns) return MR_OK;
    verify->log = calloc(models->count, sizeof(*verify->log));
    verify->model = calloc(models->count, sizeof *verify->model);
    if (!verify->log || !verify->model) return mr_fail(err, MR_ENOMEM, "out of memory");
    for (size_t i = 0; i < models->count; i++) {
        if (!models->item[i].learn) continue;
        if (!models->item[i].job->topic)
            return mr_fail(err, MR_ECONFIG,
                           "models[%zu]: \"%s\" learns, and no topic tells from what: only delivery \"exactly-once\" "
                           "can be verified",
                           i, models->item[i].job->name);
        verify->model[verify->log_count++] = i;
    }
    /* The group's offsets and the logs of one moment. */
    verify->is_running = true;
    for (int turn = 0; turn < READS_MAX && verify->is_running && !status; turn++) {
        logs_close(verify);
        status = mr_look_committed(&verify->look, &verify->parts, err);
        if (!status) status = logs_read(verify, err);
        if (status) break;
        struct mr_look_parts before = verify->parts;
        before.part = malloc((verify->parts.count + 1) * sizeof *before.part);
        if (!before.part) return mr_fail(err, MR_ENOMEM, "out of memory");
        memcpy(before.part, verify->parts.part, verify->parts.count * sizeof *before.part);
        status = mr_look_committed(&verify->look, &verify->parts, err);
        verify->is_running = false;
        for (size_t i = 0; i < verify->parts.count; i++)
            verify->is_running |= before.part[i].committed != verify->parts.part[i].committed;
        free(before.part);
    }
    return status;
}

size_t mr_verify_state_rows(const struct mr_verify *verify)
{
    size_t count = 0, most = 0;
    const struct mr_state_entry *const entry = verify->log_count ? mr_state_log_entries(verify->log[0], &count) : NULL;
    for (size_t i = 0; i < count; i++) {
        for (size_t u = 0; u < entry[i].commit->update_count; u++)
            if (entry[i].commit->update[u].rows > most) most = entry[i].commit->update[u].rows;
    }
    return most;
}

/* ---- the chain, and the group's offsets ---- */

static mr_status chains_compare(struct mr_verify *verify)
{
    struct mr_proof *const proof = verify->proof;
    size_t count, other;
    const struct mr_state_entry *const entry = mr_state_log_entries(verify->log[0], &count);
    for (size_t i = 1; i < verify->log_count; i++) {
        const struct mr_state_entry *const twin = mr_state_log_entries(verify->log[i], &other);
        const char *const topic = mr_verify_model(verify, i)->job->topic;
        const size_t both = count < other ? count : other;
        for (size_t at = 1; at <= both; at++) { /* from the end: one may hold more of the past */
            const struct mr_state_commit *const a = entry[count - at].commit, *const b = twin[other - at].commit;
            if (a->seq == b->seq && a->run_id == b->run_id && a->update_count == b->update_count &&
                a->range_count == b->range_count)
                continue;
            mr_proof_found(proof, MR_FOUND_STATE, topic, 0, twin[other - at].offset,
                           "commit %llu is not what commit %llu in topic \"%s\" is: models of one job are committed "
                           "together",
                           (unsigned long long)b->seq, (unsigned long long)a->seq,
                           mr_verify_model(verify, 0)->job->topic);
            return MR_END;
        }
        if (!count != !other) {
            mr_proof_found(proof, MR_FOUND_STATE, topic, -1, -1, "only one of the job's state topics holds commits");
            return MR_END;
        }
    }
    return MR_OK;
}

/* The group's offsets must be those of the last commit. */
static void offsets_compare(struct mr_verify *verify, const struct mr_state_commit *last)
{
    const uint64_t wrong = verify->proof->total;
    for (size_t i = 0; i < verify->parts.count && !verify->is_running; i++) {
        const struct mr_look_part *const part = &verify->parts.part[i];
        int64_t offset = -1;
        for (size_t p = 0; last && p < last->position_count; p++) {
            if (last->position[p].partition == part->partition && !strcmp(last->position[p].topic, part->topic))
                offset = last->position[p].next_offset;
        }
        if (offset == part->committed) continue;
        const mr_found kind = part->committed > offset ? MR_FOUND_AHEAD : MR_FOUND_BEHIND;
        if (!last) {
            mr_proof_found(verify->proof, kind, part->topic, part->partition, part->committed,
                           "the group's offset is %lld, and the models' topics hold no commit: name a new group in "
                           "source.group, or delete this one (kafka-consumer-groups --bootstrap-server %s --delete "
                           "--group %s)",
                           (long long)part->committed, verify->look.servers, verify->look.group);
            continue;
        }
        mr_proof_found(verify->proof, kind, part->topic, part->partition, part->committed,
                       "the group's offset is %lld, that of the state (commit %llu) is %lld: `millrace repair %s "
                       "--to-state` sets the group's",
                       (long long)part->committed, (unsigned long long)last->seq, (long long)offset, verify->job->path);
    }
    if (verify->is_running)
        mr_proof_note(verify->proof, "offsets: the job is at work, the group's offsets are not held against the state");
    else if (verify->proof->total == wrong)
        mr_proof_fact(verify->proof, "offsets of the state = offsets of group \"%s\", %zu partitions",
                      verify->look.group, verify->parts.count);
}

/* A model whose file is also where it is saved to is not there as it began. */
static bool begins_known(const struct mr_verify *verify)
{
    for (size_t i = 0; i < verify->log_count; i++) {
        const struct mr_job_model *const job = mr_verify_model(verify, i)->job;
        if (job->file && job->save && !strcmp(job->file, job->save)) return false;
    }
    return true;
}

size_t mr_verify_base(const struct mr_verify *verify, const struct mr_state_entry *entry, size_t count)
{
    size_t at = 0;
    if (!entry[0].commit->seq_before && begins_known(verify)) return SIZE_MAX;
    while (at < count && !entry[at].has_snapshot) at++;
    return at;
}

mr_status mr_verify_state_bounds(struct mr_verify *verify, struct mr_err *err)
{
    size_t count;
    const struct mr_state_entry *const entry = mr_state_log_entries(verify->log[0], &count);
    const struct mr_state_commit *const last = mr_state_log_last(verify->log[0]);
    mr_status status = chains_compare(verify);
    (void)err;
    if (status) return status;
    offsets_compare(verify, last);
    for (size_t i = 0; i < verify->parts.count; i++) verify->input[i].end = verify->input[i].start;
    if (!last) return MR_OK;
    const size_t base = mr_verify_base(verify, entry, count);
    for (size_t p = 0; p < last->position_count; p++) {
        const struct mr_state_position *const position = &last->position[p];
        const uint32_t at = mr_verify_input_find(verify, position->topic, position->partition);
        if (at == MR_PART_NONE) {
            mr_proof_found(verify->proof, MR_FOUND_STATE, position->topic, position->partition, position->next_offset,
                           "the state has a position of a partition that the job does not read");
            return MR_END;
        }
        verify->input[at].end = position->next_offset;
    }
    if (base == SIZE_MAX) return MR_OK;
    const struct mr_state_commit *const from = entry[base].commit;
    const size_t pending = mr_state_pending_count(from);
    for (size_t p = 0; p < from->position_count; p++) {
        const uint32_t at = mr_verify_input_find(verify, from->position[p].topic, from->position[p].partition);
        if (at != MR_PART_NONE) verify->input[at].start = from->position[p].next_offset;
    }
    for (size_t r = from->range_count - pending; r < from->range_count; r++) { /* learned from later */
        const struct mr_state_position *const position = &from->position[from->range[r].position];
        const uint32_t at = mr_verify_input_find(verify, position->topic, position->partition);
        if (at == MR_PART_NONE || from->range[r].first_offset >= verify->input[at].start) continue;
        verify->input[at].start = from->range[r].first_offset;
        verify->input[at].byte =
            from->range[r].first_record; /* of the records before it in the same message: learned */
    }
    if (!verify->job->emit.timestamp) verify->outputs_from_ms = from->time_ms;
    mr_proof_note(verify->proof,
                  "commits before %llu (version %llu): compaction has taken them, or the model's file is no longer "
                  "the one that it began from",
                  (unsigned long long)from->seq, (unsigned long long)from->version_after);
    return MR_OK;
}

bool mr_verify_units_differ(const struct mr_verify *verify)
{
    size_t count = 0;
    const struct mr_state_entry *const entry = verify->log_count ? mr_state_log_entries(verify->log[0], &count) : NULL;
    for (size_t i = 0; i < count; i++)
        if (!mr_recall_is_own_unit(verify->offline->run, entry[i].commit)) return true;
    return false;
}
