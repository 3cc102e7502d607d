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
};

/* Outputs of a source that one version has made, one behind the other. */
struct piece {
    uint64_t version;
    uint32_t output, source;
    size_t first, count;
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
    bool is_sorted, has_gone_back, has_no_memory;
    uint64_t equal, unproved, versions;
    /* at work: */
    const struct piece *now;
    size_t seq; /* of the next output */
    bool is_own_unit;
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
        (struct mr_scored_entry){pair->source_offset, pair->offset, pair->hash, pair->version, pair->partition};
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
        piece[scored->piece_count++] = (struct piece){version, output, source, first, at - first};
    }
    return MR_OK;
}

static mr_status pieces_make(struct mr_verify_scored *scored, struct mr_err *err)
{
    const struct mr_verify *const verify = scored->verify;
    mr_status status = scored->has_no_memory ? mr_fail(err, MR_ENOMEM, "no memory for what outputs name") : MR_OK;
    for (size_t o = 0; o < verify->output_count; o++) {
        for (size_t s = 0; verify->output[o].list && s < verify->parts.count && !status; s++)
            status = list_cut(scored, (uint32_t)o, (uint32_t)s, err);
    }
    if (scored->piece_count) qsort(scored->piece, scored->piece_count, sizeof *scored->piece, piece_compare);
    scored->is_sorted = true;
    return status;
}

/* ---- the same, made again ---- */

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
    const struct mr_scored_entry *const entry = &output->list[piece->source].entry[seq];
    if (entry->source_offset == record->offset && XXH3_64bits(value, bytes) == entry->hash) {
        scored->equal++;
        return MR_OK;
    }
    if (!scored->is_own_unit || scored->has_gone_back) {
        scored->unproved++;
        return MR_OK;
    }
    mr_proof_found(verify->proof, MR_FOUND_DIFFERENT, output->topic, entry->partition, entry->offset,
                   "it names version %llu, which makes %.*s%s of %s[%d] offset %lld; something else stands there",
                   (unsigned long long)piece->version, bytes < 120 ? (int)bytes : 120, value, bytes < 120 ? "" : "...",
                   verify->input[piece->source].name, (int)verify->input[piece->source].partition,
                   (long long)entry->source_offset);
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

mr_status mr_verify_scored_commit(struct mr_verify *trainer, const struct mr_state_commit *commit, struct mr_err *err)
{
    struct mr_verify_scored *const scored = trainer->scorers ? trainer->scorers->scored : NULL;
    const uint64_t version = commit ? commit->version_after : 0;
    bool has_models = false;
    if (!scored || scored->followed != 1) return MR_OK;
    if (commit && commit->kind == MR_STATE_ROLLED_BACK) scored->has_gone_back = true;
    mr_status status = scored->is_sorted ? MR_OK : pieces_make(scored, err);
    scored->is_own_unit = !commit || mr_recall_is_own_unit(scored->verify->offline->run, commit);
    scored->verify->offline->to =
        (struct mr_offline_to){.context = scored->verify, .output = output_compare, .dead = nothing_dead};
    size_t low = 0, high = scored->piece_count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (scored->piece[middle].version < version)
            low = middle + 1;
        else
            high = middle;
    }
    for (; low < scored->piece_count && scored->piece[low].version == version && !status; low++) {
        struct piece *const piece = &scored->piece[low];
        if (!piece->count) continue; /* compared at an earlier commit of this version */
        if (!has_models) status = models_take(scored, trainer, err);
        if (!has_models) scored->versions++;
        has_models = true;
        if (!status) status = piece_work(scored, piece, err);
        piece->count = 0;
    }
    return status;
}

void mr_verify_scored_end(const struct mr_verify_scored *scored, struct mr_proof *proof)
{
    uint64_t gone = 0;
    for (size_t i = 0; i < scored->piece_count; i++) gone += scored->piece[i].count;
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
    if (scored->unproved)
        mr_proof_note(
            proof,
            "the predictions of %llu outputs: they name no version, another unit made it, or it was made twice "
            "(a roll-back)",
            (unsigned long long)scored->unproved);
}
