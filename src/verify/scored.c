#include "verify/scored.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/json_text.h"
#include "pipeline/recall.h"
#include "scoring/follow.h"
#include "source/kafka/options.h"
#include "verify/inside.h"

#define PIECE_MAX 8192 /* outputs that are made again at once */

/* What became of one expected output. */
struct mr_scored_entry {
    int64_t source_offset, offset;
    uint64_t hash, version; /* MR_NO_VERSION: none was found */
    int32_t partition;
    bool is_equal; /* to what its version makes */
};

/* Outputs of a source that one version has made, one behind the other. */
struct piece {
    uint64_t version;
    uint32_t output, source;
    size_t first, count; /* count 0: compared */
    bool is_tried;       /* with the first making of the version; what did not fit is to be held against the next */
};

/* What the state topic says of a version: numbers come a second time after a roll-back, with other weights. */
struct making {
    bool comes_again; /* behind the commit at work */
    bool was_before;  /* it has been compared with one */
    bool is_unsure;   /* one of its makings is gone, or another unit's: what does not fit is not wrong */
};

struct mr_verify_scored {
    struct mr_verify *verify;
    size_t model;    /* whose versions are looked at */
    size_t followed; /* models that are */
    bool *is_made;   /* [model_count]: what it gives depends on one that is followed */
    char *masked;    /* [masked_cap] */
    size_t masked_cap;
    struct piece *piece; /* [piece_count], by version, once everything is paired */
    size_t piece_count, piece_cap;
    bool is_sorted, has_no_memory;
    uint64_t equal, unproved, versions;
    /* at work: */
    const struct piece *now;
    size_t seq, misses; /* of the next output; outputs of the piece that did not fit */
    struct making making;
};

static void *grown(void *list, size_t *cap, size_t least, size_t bytes)
{
    size_t next = *cap ? *cap : 1024;
    while (next < least) next *= 2;
    if (next == *cap) return list;
    void *const bigger = realloc(list, next * bytes);
    if (bigger) *cap = next;
    return bigger;
}

mr_status mr_verify_scored_create(struct mr_verify *verify, struct mr_verify_scored **scored_out, struct mr_err *err)
{
    const struct mr_models *const models = &verify->offline->run->models;
    struct mr_verify_scored *const scored = calloc(1, sizeof *scored);
    *scored_out = scored;
    if (!scored || !(scored->is_made = calloc(models->count + 1, sizeof *scored->is_made)))
        return mr_fail(err, MR_ENOMEM, "out of memory");
    scored->verify = verify;
    for (size_t i = 0; i < models->count; i++) {
        const struct mr_model_at_work *const model = &models->item[i];
        const bool follows = mr_job_model_follows(model->job);
        scored->is_made[i] = follows || (model->input != MR_NO_MODEL && scored->is_made[model->input]);
        if (follows && !scored->followed++) scored->model = i;
    }
    return MR_OK;
}

void mr_verify_scored_destroy(struct mr_verify_scored *scored)
{
    if (!scored) return;
    free(scored->is_made);
    free(scored->masked);
    free(scored->piece);
    free(scored);
}

/* ---- what does not depend on the models ---- */

static uint64_t number_of(const char *text, size_t bytes)
{
    uint64_t number = 0;
    if (!bytes || bytes > 18) return MR_NO_VERSION;
    for (size_t i = 0; i < bytes; i++) {
        if (text[i] < '0' || text[i] > '9') return MR_NO_VERSION;
        number = number * 10 + (uint64_t)(text[i] - '0');
    }
    return number;
}

/* Writes the masked output; its length, or 0 when it is not of the job's form. */
static size_t mask(const struct mr_verify_scored *scored, const char *at, const char *end, uint64_t *version)
{
    const struct mr_layout *const layout = scored->verify->offline->run->layout;
    char *out = scored->masked;
    for (size_t i = 0; i < layout->item_count; i++) {
        const struct mr_emit_item *const item = &layout->item[i];
        if ((size_t)(end - at) < item->literal_bytes || memcmp(at, item->literal, item->literal_bytes) != 0) return 0;
        memcpy(out, at, item->literal_bytes);
        at += item->literal_bytes;
        out += item->literal_bytes;
        const char *const stop = mr_json_value_end(at, end);
        if (stop == end) return 0;
        const size_t bytes = (size_t)(stop - at);
        if (item->kind == MR_EMIT_VERSION && item->model == scored->model) *version = number_of(at, bytes);
        if (item->kind >= MR_EMIT_CLASS && scored->is_made[item->model]) {
            *out++ = '_';
        } else {
            memcpy(out, at, bytes);
            out += bytes;
        }
        at = stop;
    }
    return at + 1 == end ? (size_t)(out - scored->masked) : 0;
}

mr_status mr_verify_scored_mask(struct mr_verify_scored *scored, struct mr_match_record *record, struct mr_err *err)
{
    if (!record->value) return MR_OK;
    record->hash = XXH3_64bits(record->value, record->value_bytes);
    char *const room = grown(scored->masked, &scored->masked_cap, 2 * record->value_bytes + 64, 1);
    if (!room) return mr_fail(err, MR_ENOMEM, "out of memory");
    scored->masked = room;
    const size_t bytes = mask(scored, record->value, record->value + record->value_bytes, &record->version);
    if (!bytes) return MR_OK;
    record->value = scored->masked;
    record->value_bytes = bytes;
    return MR_OK;
}

uint64_t mr_verify_scored_version(const struct mr_verify_scored *scored, const char *text, size_t bytes)
{
    const char *const name = scored->verify->job->model[scored->model].name;
    const size_t name_bytes = strlen(name);
    if (bytes <= name_bytes + 1 || memcmp(text, name, name_bytes) != 0 || text[name_bytes] != '@') return MR_NO_VERSION;
    return number_of(text + name_bytes + 1, bytes - name_bytes - 1);
}

void mr_verify_scored_pair(struct mr_verify_output *output, const struct mr_match_pair *pair)
{
    struct mr_verify_scored *const scored = output->verify->scored;
    struct mr_scored_list *const list = &output->list[pair->source];
    struct mr_scored_entry *const entry = grown(list->entry, &list->cap, pair->seq + 1, sizeof *entry);
    if (!entry) {
        scored->has_no_memory = true;
        return;
    }
    list->entry = entry;
    for (; list->count <= pair->seq; list->count++) entry[list->count].version = MR_NO_VERSION;
    entry[pair->seq] =
        (struct mr_scored_entry){pair->source_offset, pair->offset, pair->hash, pair->version, pair->partition, false};
}

/* ---- runs of outputs by version ---- */

static int piece_compare(const void *left, const void *right)
{
    const struct piece *const a = left, *const b = right;
    if (a->version != b->version) return a->version < b->version ? -1 : 1;
    if (a->output != b->output) return a->output < b->output ? -1 : 1;
    if (a->source != b->source) return a->source < b->source ? -1 : 1;
    return a->first < b->first ? -1 : a->first > b->first;
}

static mr_status list_cut(struct mr_verify_scored *scored, uint32_t output, uint32_t source, struct mr_err *err)
{
    const struct mr_scored_list *const list = &scored->verify->output[output].list[source];
    for (size_t at = 0; at < list->count;) {
        const uint64_t version = list->entry[at].version;
        const size_t first = at;
        while (at < list->count && list->entry[at].version == version && at - first < PIECE_MAX) at++;
        if (version == MR_NO_VERSION) {
            scored->unproved += at - first;
            continue;
        }
        struct piece *const piece = grown(scored->piece, &scored->piece_cap, scored->piece_count + 1, sizeof *piece);
        if (!piece) return mr_fail(err, MR_ENOMEM, "out of memory");
        scored->piece = piece;
        piece[scored->piece_count++] = (struct piece){version, output, source, first, at - first, false};
    }
    return MR_OK;
}

/*
 * Outputs that are older than all that the state topic holds may name a version that it holds, and that was made before
 * with other weights: a roll-back that compaction has taken.
 */
static mr_status early_find(const struct mr_verify *trainer, struct mr_verify_output *output, struct mr_err *err)
{
    struct mr_verify *const verify = output->verify;
    size_t count;
    const struct mr_state_entry *const entry = mr_state_log_entries(trainer->log[0], &count);
    const size_t base = count ? mr_verify_base(trainer, entry, count) : SIZE_MAX;
    mr_status status = MR_OK;
    output->early = calloc(output->parts.count + 1, sizeof *output->early);
    if (!output->early) return mr_fail(err, MR_ENOMEM, "out of memory");
    if (base == SIZE_MAX || base == count || !entry[0].commit->seq_before) return MR_OK;
    for (size_t p = 0; p < output->parts.count && !status; p++) {
        const struct mr_look_part *const part = &output->parts.part[p];
        int64_t offset = -1; /* times of inputs say nothing of when it was written */
        if (!verify->job->emit.timestamp)
            status = mr_look_time(&verify->look, part, entry[base].commit->time_ms, &offset, err);
        output->early[part->partition] = offset >= 0 ? offset : INT64_MAX;
    }
    return status;
}

static mr_status pieces_make(struct mr_verify_scored *scored, const struct mr_verify *trainer, struct mr_err *err)
{
    const struct mr_verify *const verify = scored->verify;
    mr_status status = scored->has_no_memory ? mr_fail(err, MR_ENOMEM, "no memory for what outputs name") : MR_OK;
    for (size_t o = 0; o < verify->output_count; o++) {
        if (!status) status = early_find(trainer, &verify->output[o], err);
        for (size_t s = 0; verify->output[o].list && s < verify->parts.count && !status; s++)
            status = list_cut(scored, (uint32_t)o, (uint32_t)s, err);
    }
    if (scored->piece_count) qsort(scored->piece, scored->piece_count, sizeof *scored->piece, piece_compare);
    scored->is_sorted = true;
    return status;
}

/* ---- the same, made again ---- */

/* Of a version that the commit `at` has made. SIZE_MAX: the beginning. */
static struct making making_find(const struct mr_verify *trainer, size_t at, uint64_t version)
{
    struct making making = {0};
    size_t count;
    const struct mr_state_entry *const entry = mr_state_log_entries(trainer->log[0], &count);
    const size_t base = count ? mr_verify_base(trainer, entry, count) : SIZE_MAX;
    bool has_gone_back = false;
    for (size_t i = 0; i < count; i++) {
        const struct mr_state_commit *const commit = entry[i].commit;
        const bool is_back = commit->kind == MR_STATE_ROLLED_BACK, is_it = commit->version_after == version;
        const bool is_gone = base != SIZE_MAX && i < base; /* it is not made again */
        if (at == SIZE_MAX || i > at) has_gone_back |= is_back;
        making.comes_again |= is_it && has_gone_back;
        making.is_unsure |= is_it && (is_gone || !mr_recall_is_own_unit(trainer->offline->run, commit));
        making.is_unsure |= is_back && base != SIZE_MAX && i <= base && version > commit->version_after &&
                            version <= commit->version_before;
    }
    return making;
}

/* One output of the piece at work. For mr_offline_to. */
static mr_status output_compare(void *context, const struct mr_record *record, size_t row, struct mr_err *err)
{
    const struct mr_verify *const verify = context;
    struct mr_verify_scored *const scored = verify->scored;
    const struct piece *const piece = scored->now;
    const struct mr_verify_output *const output = &verify->output[piece->output];
    const bool is_array = verify->job->emit.framing == MR_EMIT_ARRAY; /* its brackets */
    const char *const value = record->value ? record->value + is_array : NULL;
    const size_t bytes = record->value_bytes - (is_array ? 2 : 0), seq = scored->seq++;
    (void)row, (void)err;
    if (seq < piece->first || seq >= piece->first + piece->count || !value) return MR_OK;
    struct mr_scored_entry *const entry = &output->list[piece->source].entry[seq];
    if (entry->is_equal) return MR_OK; /* the making before this one has made it */
    if (entry->source_offset == record->offset && XXH3_64bits(value, bytes) == entry->hash) {
        entry->is_equal = true;
        scored->equal++;
        return MR_OK;
    }
    scored->misses++;
    if (scored->making.comes_again) return MR_OK;
    if (scored->making.is_unsure || entry->offset < output->early[entry->partition]) {
        scored->unproved++;
        return MR_OK;
    }
    mr_proof_found(verify->proof, MR_FOUND_DIFFERENT, output->topic, entry->partition, entry->offset,
                   "it names version %llu, which makes %.*s%s of %s[%d] offset %lld; something else stands there%s",
                   (unsigned long long)piece->version, bytes < 120 ? (int)bytes : 120, value, bytes < 120 ? "" : "...",
                   verify->input[piece->source].name, (int)verify->input[piece->source].partition,
                   (long long)entry->source_offset,
                   scored->making.was_before ? ", which was not made before the roll-back either" : "");
    return MR_OK;
}

static mr_status nothing_dead(void *context, const struct mr_offline_dead *dead, struct mr_err *err)
{
    (void)context, (void)dead, (void)err;
    return MR_OK;
}

static mr_status piece_work(struct mr_verify_scored *scored, const struct piece *piece, struct mr_err *err)
{
    struct mr_verify *const verify = scored->verify;
    const struct mr_verify_input *const input = &verify->input[piece->source];
    const struct mr_scored_entry *const entry = verify->output[piece->output].list[piece->source].entry;
    struct mr_message_list *const list = &verify->read;
    struct mr_cursor cursor = {0};
    size_t first = piece->first;
    while (first && entry[first - 1].version != MR_NO_VERSION &&
           entry[first - 1].source_offset == entry[piece->first].source_offset)
        first--; /* of the same message */
    mr_status status = mr_range_read(verify->reader, input->name, input->partition, entry[piece->first].source_offset,
                                     entry[piece->first + piece->count - 1].source_offset + 1, list, err);
    for (size_t i = 0; i < list->count; i++) list->message[i].topic = input->topic;
    scored->now = piece;
    scored->seq = first;
    scored->misses = 0;
    while (!status && cursor.message < list->count) {
        mr_offline_clear(verify->offline);
        status = mr_offline_decode(verify->offline, list->message, &cursor, list->count, err);
        if (!status) status = mr_offline_parts(verify->offline, list->message, err);
        if (!status) status = mr_offline_score(verify->offline, err);
        if (!status) status = mr_offline_encode(verify->offline, list->message, err);
    }
    mr_message_list_clear(list);
    return status;
}

/* Puts what the trainer has now into the place of what the scorers had. */
static mr_status models_take(struct mr_verify_scored *scored, const struct mr_verify *trainer, struct mr_err *err)
{
    struct mr_models *const mine = &scored->verify->offline->run->models;
    const struct mr_model_at_work *const model = &trainer->offline->run->models.item[scored->model];
    struct mr_blob blob = {0};
    mr_status status = model->learn->store(model->model, &blob, err);
    const struct mr_model_bytes bytes = {
        .name = model->job->topic, .data = blob.data, .count = blob.bytes, .version = model->version};
    if (!status) status = mr_models_replace(mine, scored->model, &bytes, err);
    mr_blob_deinit(&blob);
    return status;
}

/* Index of the first piece of a version, or of a later one. */
static size_t piece_first(const struct mr_verify_scored *scored, uint64_t version)
{
    size_t low = 0, high = scored->piece_count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (scored->piece[middle].version < version)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

mr_status mr_verify_scored_commit(struct mr_verify *trainer, size_t at, struct mr_err *err)
{
    struct mr_verify_scored *const scored = trainer->scorers ? trainer->scorers->scored : NULL;
    size_t count;
    const struct mr_state_entry *const entry = mr_state_log_entries(trainer->log[0], &count);
    const uint64_t version = at == SIZE_MAX ? 0 : entry[at].commit->version_after;
    bool has_models = false;
    if (!scored || scored->followed != 1) return MR_OK;
    mr_status status = scored->is_sorted ? MR_OK : pieces_make(scored, trainer, err);
    scored->verify->offline->to =
        (struct mr_offline_to){.context = scored->verify, .output = output_compare, .dead = nothing_dead};
    for (size_t p = piece_first(scored, version);
         p < scored->piece_count && scored->piece[p].version == version && !status; p++) {
        struct piece *const piece = &scored->piece[p];
        if (!piece->count) continue; /* compared at an earlier commit of this version */
        if (!has_models) {
            status = models_take(scored, trainer, err);
            scored->making = making_find(trainer, at, version);
            scored->versions += !piece->is_tried;
            has_models = true;
        }
        scored->making.was_before = piece->is_tried;
        if (!status) status = piece_work(scored, piece, err);
        if (scored->making.comes_again && scored->misses)
            piece->is_tried = true;
        else
            piece->count = 0;
    }
    return status;
}

void mr_verify_scored_end(const struct mr_verify_scored *scored, struct mr_proof *proof)
{
    uint64_t gone = 0, unproved = scored->unproved;
    for (size_t i = 0; i < scored->piece_count; i++) {
        const struct piece *const piece = &scored->piece[i];
        if (!piece->is_tried) gone += piece->count;
        for (size_t e = piece->first; piece->is_tried && e < piece->first + piece->count; e++) /* not reached again */
            unproved += !scored->verify->output[piece->output].list[piece->source].entry[e].is_equal;
    }
    if (scored->followed != 1) {
        mr_proof_note(proof,
                      "predictions: with several models that learn, an output names no single commit of them all");
        return;
    }
    if (!proof->count[MR_FOUND_DIFFERENT] && scored->equal)
        mr_proof_fact(proof, "%llu outputs are, bit for bit, what the version that they name makes (%llu versions)",
                      (unsigned long long)scored->equal, (unsigned long long)scored->versions);
    if (gone)
        mr_proof_note(proof,
                      "the predictions of %llu outputs: the state topic does not hold the versions that they name",
                      (unsigned long long)gone);
    if (unproved)
        mr_proof_note(proof,
                      "the predictions of %llu outputs: they name no version, another unit made it, or it was made "
                      "twice (a roll-back) and the state topic no longer holds the first one",
                      (unsigned long long)unproved);
}
