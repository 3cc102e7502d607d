/* A job that learns in transactions: its state topics, and all that they say was learned, learned again. */
#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "modelfile/safetensors.h"
#include "pipeline/recall.h"
#include "verify/inside.h"

#define READS_MAX 5

static struct mr_model_at_work *model_of(const struct mr_verify *verify, size_t i)
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
        mr_proof_found(verify->proof, MR_FOUND_STATE, model_of(verify, i)->job->topic, -1, -1, "%s", err->text);
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
        const char *const topic = model_of(verify, i)->job->topic;
        const size_t both = count < other ? count : other;
        for (size_t at = 1; at <= both; at++) { /* from the end: one may hold more of the past */
            const struct mr_state_commit *const a = entry[count - at].commit, *const b = twin[other - at].commit;
            if (a->seq == b->seq && a->run_id == b->run_id && a->update_count == b->update_count &&
                a->range_count == b->range_count)
                continue;
            mr_proof_found(proof, MR_FOUND_STATE, topic, 0, twin[other - at].offset,
                           "commit %llu is not what commit %llu in topic \"%s\" is: models of one job are committed "
                           "together",
                           (unsigned long long)b->seq, (unsigned long long)a->seq, model_of(verify, 0)->job->topic);
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
        const struct mr_job_model *const job = model_of(verify, i)->job;
        if (job->file && job->save && !strcmp(job->file, job->save)) return false;
    }
    return true;
}

/* The index of the entry that the models are taken from; SIZE_MAX: they begin as the job says. */
static size_t base_find(const struct mr_verify *verify, const struct mr_state_entry *entry, size_t count)
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
    const size_t base = base_find(verify, entry, count);
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

/* ---- learning again ---- */

/* Puts the bytes of a commit's snapshot in the place of all models. */
static mr_status snapshot_take(struct mr_verify *verify, uint64_t snapshot, struct mr_err *err)
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

static bool is_before(int64_t a, uint32_t a_byte, int64_t b, uint32_t b_byte)
{
    return a < b || (a == b && a_byte < b_byte);
}

/* Scores the rows of the slot and expects their outputs. */
static mr_status slot_tell(struct mr_verify *verify, struct mr_err *err)
{
    const mr_status status = mr_offline_score(verify->offline, err);
    return status ? status : mr_offline_encode(verify->offline, verify->read.message, err);
}

/* Appends the messages of an input up to an offset and a byte of the message there; cursor_out: its first record. */
static mr_status input_read(struct mr_verify *verify, struct mr_verify_input *input, int64_t end, uint32_t end_byte,
                            struct mr_cursor *cursor_out, struct mr_err *err)
{
    struct mr_message_list *const list = &verify->read;
    const size_t first = list->count;
    const mr_status status =
        mr_range_read(verify->reader, input->name, input->partition, input->next, end_byte ? end + 1 : end, list, err);
    verify->offline->cut = NULL;
    *cursor_out = (struct mr_cursor){.message = first, .byte = input->byte};
    if (status) return status;
    for (size_t i = first; i < list->count; i++) list->message[i].topic = input->topic;
    verify->proof->messages += list->count - first - (end_byte && list->count > first);
    struct mr_message *const last = list->count > first ? &list->message[list->count - 1] : NULL;
    if (last && end_byte && last->offset == end && last->value && end_byte < last->value_bytes) {
        last->value_bytes = end_byte;
        verify->offline->cut = last->value + end_byte;
    }
    if (last && list->message[first].offset != input->next) cursor_out->byte = 0;
    input->next = end;
    input->byte = end_byte;
    return MR_OK;
}

/* Decodes what was read into the slot, behind the rows that are in it, as far as they fit. */
static mr_status list_decode(struct mr_verify *verify, struct mr_cursor *cursor, struct mr_err *err)
{
    const struct mr_message_list *const list = &verify->read;
    bool has_moved = true;
    mr_status status = MR_OK;
    while (!status && has_moved && cursor->message < list->count) {
        const struct mr_cursor before = *cursor;
        status = mr_offline_decode(verify->offline, list->message, cursor, list->count, err);
        has_moved = cursor->message != before.message || cursor->byte != before.byte;
    }
    return status;
}

/* The same with all of it: it was learned from at once. */
static mr_status input_decode(struct mr_verify *verify, struct mr_verify_input *input, int64_t end, uint32_t end_byte,
                              struct mr_err *err)
{
    const int64_t from = input->next;
    struct mr_cursor cursor;
    mr_status status = input_read(verify, input, end, end_byte, &cursor, err);
    if (!status) status = list_decode(verify, &cursor, err);
    if (!status && cursor.message < verify->read.count)
        status = mr_fail(err, MR_EINVARIANT, "%s[%d] from offset %lld: more records than a batch holds", input->name,
                         (int)input->partition, (long long)from);
    return status;
}

/* Tells what became of an input up to there, slot by slot; *rows: and so many rows. */
static mr_status input_tell(struct mr_verify *verify, struct mr_verify_input *input, int64_t end, uint32_t end_byte,
                            size_t *rows, struct mr_err *err)
{
    struct mr_offline *const offline = verify->offline;
    const int64_t chunk = (int64_t)offline->slot.row_cap;
    mr_status status = MR_OK;
    while (!status && is_before(input->next, input->byte, end, end_byte)) {
        const bool is_last = end - input->next <= chunk;
        struct mr_cursor cursor;
        mr_message_list_clear(&verify->read);
        status = input_read(verify, input, is_last ? end : input->next + chunk, is_last ? end_byte : 0, &cursor, err);
        while (!status && cursor.message < verify->read.count) {
            mr_offline_clear(offline);
            status = list_decode(verify, &cursor, err);
            if (!status) status = mr_offline_parts(offline, verify->read.message, err);
            *rows += offline->slot.rows.row_count;
            if (!status) status = slot_tell(verify, err);
        }
    }
    return status;
}

/* What no update has learned from: there must be no rows in it. */
static mr_status gap_work(struct mr_verify *verify, struct mr_verify_input *input, int64_t end, uint32_t end_byte,
                          struct mr_err *err)
{
    const int64_t from = input->next;
    size_t rows = 0;
    const mr_status status = input_tell(verify, input, end, end_byte, &rows, err);
    if (rows)
        mr_proof_found(verify->proof, MR_FOUND_NOT_LEARNED, input->name, input->partition, from,
                       "%zu records up to offset %lld were learned from by no update", rows, (long long)end);
    return status;
}

static struct mr_verify_input *input_of(const struct mr_verify *verify, const struct mr_state_commit *commit,
                                        const struct mr_state_range *range)
{
    const struct mr_state_position *const position = &commit->position[range->position];
    const uint32_t at = mr_verify_input_find(verify, position->topic, position->partition);
    return at == MR_PART_NONE ? NULL : &verify->input[at];
}

static mr_status learned_twice(struct mr_verify *verify, const struct mr_state_commit *commit,
                               const struct mr_verify_input *input, const struct mr_state_range *range)
{
    mr_proof_found(verify->proof, MR_FOUND_LEARNED_TWICE, input->name, input->partition, range->first_offset,
                   "commit %llu has learned from it, and up to offset %lld it was learned from before",
                   (unsigned long long)commit->seq, (long long)input->next);
    return MR_END;
}

/* What lies before the first range of each partition; first of all, because the slot is used for it. */
static mr_status gaps_work(struct mr_verify *verify, const struct mr_state_commit *commit,
                           const struct mr_state_range *range, size_t count, struct mr_err *err)
{
    mr_status status = MR_OK;
    for (size_t i = 0; i < count && !status; i++) {
        struct mr_verify_input *const input = input_of(verify, commit, &range[i]);
        size_t before = 0;
        if (!input)
            return mr_fail(err, MR_EINVARIANT, "commit %llu: a range of no input", (unsigned long long)commit->seq);
        while (range[before].position != range[i].position) before++;
        if (before < i) continue; /* it goes on where that one ends */
        if (is_before(range[i].first_offset, range[i].first_record, input->next, input->byte))
            return learned_twice(verify, commit, input, &range[i]);
        status = gap_work(verify, input, range[i].first_offset, range[i].first_record, err);
    }
    return status;
}

/* One range into the slot, behind what is in it; before it what lies between it and the one before: no rows. */
static mr_status range_decode(struct mr_verify *verify, const struct mr_state_commit *commit,
                              struct mr_verify_input *input, const struct mr_state_range *range, struct mr_err *err)
{
    const size_t rows = verify->offline->slot.rows.row_count;
    mr_status status = MR_OK;
    if (is_before(range->first_offset, range->first_record, input->next, input->byte))
        return learned_twice(verify, commit, input, range);
    const int64_t from = input->next;
    if (is_before(input->next, input->byte, range->first_offset, range->first_record))
        status = input_decode(verify, input, range->first_offset, range->first_record, err);
    if (!status && verify->offline->slot.rows.row_count > rows) {
        mr_proof_found(verify->proof, MR_FOUND_NOT_LEARNED, input->name, input->partition, from,
                       "%zu records up to offset %lld were learned from by no update",
                       verify->offline->slot.rows.row_count - rows, (long long)range->first_offset);
        return MR_END;
    }
    return status ? status : input_decode(verify, input, range->end_offset, range->end_record, err);
}

/* Ranges of an update into the slot, several of one partition among them. MR_END: they contradict what was before. */
static mr_status ranges_decode(struct mr_verify *verify, const struct mr_state_commit *commit,
                               const struct mr_state_range *range, size_t count, struct mr_verify_input **input_out,
                               struct mr_err *err)
{
    mr_status status = gaps_work(verify, commit, range, count, err);
    *input_out = NULL;
    mr_message_list_clear(&verify->read);
    mr_offline_clear(verify->offline);
    for (size_t i = 0; i < count && !status; i++) {
        *input_out = input_of(verify, commit, &range[i]);
        assert(*input_out); /* as gaps_work has seen */
        status = range_decode(verify, commit, *input_out, &range[i], err);
    }
    return status ? status : mr_offline_parts(verify->offline, verify->read.message, err);
}

static mr_status update_work(struct mr_verify *verify, const struct mr_state_commit *commit,
                             const struct mr_state_range *range, const struct mr_state_update *update,
                             struct mr_err *err)
{
    struct mr_run *const run = verify->offline->run;
    struct mr_slot *const slot = &verify->offline->slot;
    struct mr_verify_input *input = NULL;
    mr_status status = ranges_decode(verify, commit, range, update->range_count, &input, err);
    if (status || !input) return status; /* an update has at least one range */
    if (update->rows && slot->rows.row_count != update->rows) {
        mr_proof_found(verify->proof, MR_FOUND_STATE, input->name, input->partition, range->first_offset,
                       "commit %llu has learned from %u records there, and there are %zu",
                       (unsigned long long)commit->seq, (unsigned)update->rows, slot->rows.row_count);
        return MR_END;
    }
    status = slot_tell(verify, err);
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

/* It was answered already, with the models as they are; dead letters before it are told with it. */
static mr_status pending_work(struct mr_verify *verify, const struct mr_state_commit *commit, struct mr_err *err)
{
    size_t count, rows = 0;
    const struct mr_state_range *const range = pending_of(commit, &count);
    mr_status status = MR_OK;
    for (size_t i = 0; i < count && !status; i++) {
        struct mr_verify_input *const input = input_of(verify, commit, &range[i]);
        if (!input)
            return mr_fail(err, MR_EINVARIANT, "commit %llu: a range of no input", (unsigned long long)commit->seq);
        if (is_before(range[i].first_offset, range[i].first_record, input->next, input->byte))
            return learned_twice(verify, commit, input, &range[i]);
        status = gap_work(verify, input, range[i].first_offset, range[i].first_record, err);
        if (!status) status = input_tell(verify, input, range[i].end_offset, range[i].end_record, &rows, err);
    }
    return status;
}

/* What waits ends with a message: its commit has the offset behind it. */
static void pending_mark(struct mr_verify *verify, const struct mr_state_commit *commit)
{
    size_t count;
    const struct mr_state_range *const range = pending_of(commit, &count);
    for (size_t i = 0; i < count; i++) {
        struct mr_verify_input *const input = input_of(verify, commit, &range[i]);
        if (input && input->told_end < range[i].end_offset) input->told_end = range[i].end_offset;
    }
}

/* It comes again, to be learned from by models that are others then: told now, and only now. *counts_out: of what was
 * told; it is counted when it comes again. */
static mr_status pending_tell(struct mr_verify *verify, const struct mr_state_commit *commit,
                              struct mr_counts *counts_out, struct mr_err *err)
{
    struct mr_offline *const offline = verify->offline;
    const size_t bytes = verify->parts.count * sizeof *verify->input;
    const struct mr_counts before = offline->count;
    const uint64_t messages = verify->proof->messages;
    struct mr_verify_input *const inputs = malloc(bytes + 1);
    if (!inputs) return mr_fail(err, MR_ENOMEM, "out of memory");
    memcpy(inputs, verify->input, bytes);
    const mr_status status = pending_work(verify, commit, err);
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
    struct mr_counts *const count = &verify->offline->count, again;
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
        const struct mr_verify_input *const input = input_of(verify, before, &range[i]);
        bool has_it = false;
        for (size_t r = 0; r < commit->update[0].range_count; r++) {
            const struct mr_state_range *const learned = &commit->range[r];
            has_it |= input_of(verify, commit, learned) == input &&
                      !is_before(learned->end_offset, learned->end_record, range[i].end_offset, range[i].end_record);
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

bool mr_verify_units_differ(const struct mr_verify *verify)
{
    size_t count = 0;
    const struct mr_state_entry *const entry = verify->log_count ? mr_state_log_entries(verify->log[0], &count) : NULL;
    for (size_t i = 0; i < count; i++)
        if (!mr_recall_is_own_unit(verify->offline->run, entry[i].commit)) return true;
    return false;
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
    const struct mr_model_at_work *const model = model_of(verify, i);
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
    const struct mr_model_at_work *const model = model_of(verify, i);
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

/* The models must be, bit for bit, what was committed; those of another unit within 1e-6, from snapshot to snapshot. */
static mr_status weights_check(struct mr_verify *verify, size_t at, bool *is_equal, struct mr_err *err)
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
    return !status && is_far && *is_equal ? snapshot_take(verify, own[at].commit->snapshot, err) : status;
}

/* A commit that has put an earlier model back. */
static mr_status back_take(struct mr_verify *verify, const struct mr_state_entry *entry, size_t count, size_t at,
                           struct mr_err *err)
{
    const struct mr_state_commit *const commit = entry[at].commit;
    struct mr_counts counts;
    mr_status status = at ? pending_tell(verify, entry[at - 1].commit, &counts, err) : MR_OK;
    if (!status) status = snapshot_take(verify, commit->snapshot, err);
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
        mr_proof_found(verify->proof, MR_FOUND_COUNTS, model_of(verify, 0)->job->topic, -1, -1,
                       "the state counts %llu in, and %llu out + %llu dead + %llu filtered", (unsigned long long)in,
                       (unsigned long long)out, (unsigned long long)dead, (unsigned long long)filtered);
    else if (in != mine->in || filtered != mine->filtered || out + dead != mine->out + mine->dead)
        mr_proof_found(verify->proof, MR_FOUND_COUNTS, model_of(verify, 0)->job->topic, -1, -1,
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
    mr_status status = pending_work(verify, last, err);
    for (size_t i = 0; i < verify->parts.count && !status; i++) {
        struct mr_verify_input *const input = &verify->input[i];
        status = gap_work(verify, input, input->end, 0, err);
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
    const size_t base = base_find(verify, entry, count);
    run->models.begins_late = (base == SIZE_MAX || !entry[base].commit->version_after) &&
                              begins_late(verify, entry, count, base == SIZE_MAX ? 0 : base);
    if (base != SIZE_MAX) {
        status = snapshot_take(verify, entry[base].commit->snapshot, err);
        if (!status) status = pending_skip(verify, entry[base].commit, err);
    }
    if (!status) status = mr_verify_scored_commit(verify, base == SIZE_MAX ? NULL : entry[base].commit, err);
    for (size_t at = base == SIZE_MAX ? 0 : base + 1; at < count && !status; at++) {
        status = commit_work(verify, entry, count, at, err);
        if (!status && is_equal) status = weights_check(verify, at, &is_equal, err);
        if (!status && is_equal) status = mr_verify_scored_commit(verify, entry[at].commit, err);
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
