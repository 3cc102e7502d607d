/* What the job has written: outputs and dead letters, tied to what must have been. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <xxhash.h>

#include "base/clock.h"
#include "base/options.h"
#include "config/followed.h"
#include "kafka/client.h"
#include "verify/inside.h"

#define CHUNK         4096 /* offsets read at once */
#define MARKER_WAIT_S 40   /* for transactions that are not decided: longer than one may last */

/* ---- faults ---- */

static void shown(char *out, size_t cap, const struct mr_match_place *place)
{
    const size_t bytes = place->value_bytes < 120 ? place->value_bytes : 120;
    snprintf(out, cap, "%.*s%s", (int)(place->value ? bytes : 4), place->value ? place->value : "null",
             bytes < place->value_bytes ? "..." : "");
}

static void fault_tell(void *context, mr_match_fault fault, const struct mr_match_place *expected,
                       const struct mr_match_place *actual)
{
    struct mr_verify_output *const output = context;
    struct mr_verify *const verify = output->verify;
    struct mr_proof *const proof = verify->proof;
    const struct mr_verify_input *const input = expected ? &verify->input[expected->source] : NULL;
    const char *const what = output->is_dead ? "dead letter" : "output";
    char want[160], got[160];
    assert(expected || fault == MR_MATCH_DUPLICATED || fault == MR_MATCH_FOREIGN);
    assert(actual || fault == MR_MATCH_MISSING);
    if (expected) shown(want, sizeof want, expected);
    if (actual) shown(got, sizeof got, actual);
    switch (fault) {
    case MR_MATCH_MISSING:
        mr_proof_found(proof, MR_FOUND_MISSING, input->name, input->partition, expected->offset,
                       "its %s is not in topic \"%s\": %s", what, output->topic, want);
        return;
    case MR_MATCH_DUPLICATED:
        mr_proof_found(proof, MR_FOUND_DUPLICATED, output->topic, actual->partition, actual->offset,
                       "the same %s stood there before: %s", what, got);
        return;
    case MR_MATCH_FOREIGN:
        mr_proof_found(proof, MR_FOUND_FOREIGN, output->topic, actual->partition, actual->offset,
                       "no record of the input makes this %s: %s", what, got);
        return;
    case MR_MATCH_REORDERED:
        if (output->is_dead) return; /* their order is not promised */
        mr_proof_found(proof, MR_FOUND_REORDERED, output->topic, actual->partition, actual->offset,
                       "the %s of %s[%d] offset %lld stands behind that of a later record", what, input->name,
                       (int)input->partition, (long long)expected->offset);
        return;
    case MR_MATCH_DIFFERENT:
        mr_proof_found(proof, MR_FOUND_DIFFERENT, output->topic, actual->partition, actual->offset,
                       "%s[%d] offset %lld makes %s, there stands %s", input->name, (int)input->partition,
                       (long long)expected->offset, want, got);
    }
}

/* ---- dead letters that stand for outputs ---- */

static int special_compare(const void *left, const void *right)
{
    const struct mr_verify_special *const a = left, *const b = right;
    if (a->source != b->source) return a->source < b->source ? -1 : 1;
    return a->source_offset < b->source_offset ? -1 : a->source_offset > b->source_offset;
}

/* Whether a record that is missing was told of in a dead letter of another kind. */
static bool is_excused(void *context, const struct mr_match_place *expected)
{
    struct mr_verify_output *const output = context, *const dead =
                                                         &output->verify->output[output->verify->output_count - 1];
    const struct mr_verify_special wanted = {.source = expected->source, .source_offset = expected->offset};
    size_t low = 0, high = dead->is_dead ? dead->special_count : 0;
    if (!dead->is_sorted && high) qsort(dead->special, high, sizeof *dead->special, special_compare);
    dead->is_sorted = true;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (special_compare(&dead->special[middle], &wanted) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    for (; low < dead->special_count && !special_compare(&dead->special[low], &wanted); low++) {
        if (dead->special[low].is_used) continue;
        dead->special[low].is_used = true;
        if (!output->is_dead) {
            output->verify->proof->out--;
            output->verify->proof->dead++;
        }
        return true;
    }
    return false;
}

static bool special_add(struct mr_verify_output *output, const struct mr_verify_special *special)
{
    if (output->special_count == output->special_cap) {
        const size_t cap = output->special_cap ? 2 * output->special_cap : 64;
        struct mr_verify_special *const grown = realloc(output->special, cap * sizeof *grown);
        if (!grown) return false;
        output->special = grown;
        output->special_cap = cap;
    }
    output->special[output->special_count++] = *special;
    return true;
}

/* ---- opening ---- */

/* Headers and times are compared where each record is a message of its own. */
static bool has_rest(const struct mr_job *job)
{
    return job->emit.framing == MR_EMIT_SINGLE && (job->emit.headers.count || job->emit.provenance);
}

/* Whether outputs hold nothing that is of their record alone. */
static bool is_bare(const struct mr_verify *verify)
{
    return !verify->job->emit.key && !has_rest(verify->job) && mr_near_is_bare(verify->near);
}

static mr_verify_place place_of(const struct mr_verify *verify, const struct mr_verify_output *output)
{
    const struct mr_job *const job = verify->job;
    const struct mr_map *const properties =
        mr_option_value(job->source->options, job->source_options, "properties", MR_OPT_MAP);
    const bool is_known = !properties || !mr_kafka_property(properties, "partitioner");
    const mr_verify_place by_key = is_known ? MR_PLACE_KEY : MR_PLACE_ANY;
    if (output->is_dead || job->emit.partition == MR_PARTITION_KEY) return by_key;
    if (job->emit.partition == MR_PARTITION_STICKY) return MR_PLACE_ANY;
    if (job->emit.partition == MR_PARTITION_SAME) return MR_PLACE_SAME;
    for (size_t i = 0; i < verify->parts.topic_count; i++) {
        size_t count = 0;
        for (size_t p = 0; p < verify->parts.count; p++) count += verify->parts.part[p].topic == verify->parts.topic[i];
        if (count != output->parts.count) return by_key;
    }
    return MR_PLACE_SAME;
}

static void pair_note(void *context, const struct mr_match_pair *pair)
{
    mr_verify_scored_pair(context, pair);
}

static mr_status output_open(struct mr_verify *verify, struct mr_verify_output *output, const char *topic, bool is_dead,
                             struct mr_err *err)
{
    *output = (struct mr_verify_output){.verify = verify, .topic = topic, .is_dead = is_dead};
    mr_status status = mr_look_topic(&verify->look, topic, &output->parts, err);
    if (!status) status = mr_look_bounds(&verify->look, &output->parts, err);
    if (status) return status;
    output->place = place_of(verify, output);
    const struct mr_match_open open = {.source_count = (uint32_t)verify->parts.count,
                                       .partition_count = (int32_t)output->parts.count,
                                       .split = !is_dead && verify->near ? mr_near_split : NULL,
                                       .split_context = verify->near,
                                       .may_move = output->is_dead || verify->job->emit.partition != MR_PARTITION_SAME,
                                       .is_bare = verify->near && is_bare(verify),
                                       .fault = fault_tell,
                                       .is_excused = is_excused,
                                       .paired = verify->scored && !is_dead ? pair_note : NULL,
                                       .context = output};
    status = mr_match_create(&open, &output->match, err);
    output->next = calloc(output->parts.count + 1, sizeof *output->next);
    output->list = calloc(verify->parts.count + 1, sizeof *output->list);
    if (!status && (!output->next || !output->list)) status = mr_fail(err, MR_ENOMEM, "out of memory");
    for (size_t p = 0; p < output->parts.count && !status; p++) {
        const struct mr_look_part *const part = &output->parts.part[p];
        bool leads = part->low > 0 || verify->outputs_from_ms >= 0;
        for (size_t i = 0; i < verify->parts.count; i++) {
            if (output->place != MR_PLACE_SAME || verify->input[i].partition == part->partition)
                leads |= verify->input[i].start > 0;
        }
        output->next[p] = part->low;
        if (verify->outputs_from_ms >= 0) {
            int64_t offset;
            status = mr_look_time(&verify->look, part, verify->outputs_from_ms, &offset, err);
            if (!status) output->next[p] = offset >= 0 ? offset : part->end;
        }
        if (leads && !status) mr_match_lead(output->match, (int32_t)p);
    }
    return status;
}

mr_status mr_verify_outputs_open(struct mr_verify *verify, struct mr_err *err)
{
    struct mr_job *const job = verify->job;
    mr_status status = MR_OK;
    verify->output = calloc(job->sink_count + 1, sizeof *verify->output);
    if (!verify->output) return mr_fail(err, MR_ENOMEM, "out of memory");
    if (!verify->scored && (!verify->log_count || mr_verify_units_differ(verify))) { /* no topic says what has scored */
        const struct mr_run *const run = verify->offline->run;
        status = mr_near_create(run->layout, &run->models, &verify->near, err);
    }
    for (size_t i = 0; i < job->sink_count && !status; i++) {
        char *const *const topic =
            mr_option_value(job->sink[i].ops->options, job->sink[i].options, "topic", MR_OPT_STRING);
        const struct mr_map *const own =
            mr_option_value(job->sink[i].ops->options, job->sink[i].options, "properties", MR_OPT_MAP);
        if (mr_job_sink_is_followed(job, i)) continue;
        if (strcmp(job->sink[i].ops->name, "kafka") != 0 || !topic)
            mr_proof_note(verify->proof, "sinks[%zu]: what went to \"%s\" can not be read again", i,
                          job->sink[i].ops->name);
        else if (own && own->count)
            mr_proof_note(verify->proof, "sinks[%zu]: topic \"%s\" is reached by properties of its own", i, *topic);
        else
            status = output_open(verify, &verify->output[verify->output_count++], *topic, false, err);
    }
    if (!status && job->bad_records.topic)
        status = output_open(verify, &verify->output[verify->output_count++], job->bad_records.topic, true, err);
    else if (!status && job->bad_records.file)
        mr_proof_note(verify->proof, "bad_records.file: dead letters in a file are counted, not compared");
    return status;
}

void mr_verify_outputs_close(struct mr_verify *verify)
{
    for (size_t i = 0; i < verify->output_count; i++) {
        struct mr_verify_output *const output = &verify->output[i];
        mr_match_destroy(output->match);
        for (size_t s = 0; output->list && s < verify->parts.count; s++) free(output->list[s].entry);
        free(output->list);
        mr_look_parts_deinit(&output->parts);
        free(output->next);
        free(output->special);
    }
    free(verify->output);
    mr_near_destroy(verify->near);
}

/* ---- what is expected ---- */

static uint64_t header_hash(uint64_t hash, const char *name, const void *value, size_t bytes)
{
    hash = XXH3_64bits_withSeed(name, strlen(name) + 1, hash);
    return XXH3_64bits_withSeed(value ? value : "", value ? bytes : 0, hash + (value ? bytes + 1 : 0));
}

/* A header that changes with what is followed. */
static bool is_version(const struct mr_verify *verify, const char *name)
{
    return verify->scored && !strcmp(name, "millrace-model");
}

static int32_t key_partition(const struct mr_verify_output *output, const char *key, size_t bytes)
{
    return output->place == MR_PLACE_KEY && key
               ? rd_kafka_msg_partitioner_murmur2(NULL, key, bytes, (int32_t)output->parts.count, NULL, NULL)
               : MR_MATCH_ANY;
}

/* The numbers of a row that another unit may have made a little different. */
static void numbers_fill(struct mr_verify *verify, size_t row, struct mr_match_record *want)
{
    const struct mr_slot *const slot = &verify->offline->slot;
    const double slack = 1 + (double)verify->updates_alone;
    if (verify->near)
        want->number_count =
            (uint32_t)mr_near_numbers(verify->near, &slot->rows, slot->scores, row, slack, &want->number);
}

mr_status mr_verify_expect_output(void *context, const struct mr_record *record, size_t row, struct mr_err *err)
{
    struct mr_verify *const verify = context;
    const struct mr_job *const job = verify->job;
    struct mr_match_record want = {.value = record->value,
                                   .value_bytes = record->value_bytes,
                                   .key = record->key,
                                   .key_bytes = record->key_bytes,
                                   .source = mr_part_get(&verify->index, record->topic, record->source_partition),
                                   .offset = record->offset};
    mr_status status = MR_OK;
    if (record->offset < verify->input[want.source].told_end) return MR_OK;
    numbers_fill(verify, row, &want);
    if (job->emit.framing == MR_EMIT_ARRAY) { /* its brackets */
        want.value++;
        want.value_bytes -= 2;
    }
    if (has_rest(job)) {
        for (uint32_t i = 0; i < record->header_count; i++)
            if (!is_version(verify, record->header[i].name))
                want.rest = header_hash(want.rest, record->header[i].name, record->header[i].value,
                                        record->header[i].value_bytes);
    }
    if (job->emit.framing == MR_EMIT_SINGLE && job->emit.timestamp) want.rest ^= (uint64_t)record->timestamp_ms * 2 + 1;
    if (verify->scored) status = mr_verify_scored_mask(verify->scored, &want, err);
    for (size_t i = 0; i < verify->output_count && !status; i++) {
        const struct mr_verify_output *const output = &verify->output[i];
        if (output->is_dead) continue;
        want.partition = output->place == MR_PLACE_SAME ? record->source_partition
                                                        : key_partition(output, record->key, record->key_bytes);
        if (want.partition >= (int32_t)output->parts.count) want.partition = MR_MATCH_ANY;
        status = mr_match_expect(output->match, &want, err);
    }
    return status;
}

static uint64_t dead_hash(const char *reason, const char *field, const char *topic, int64_t partition, int64_t offset)
{
    const int64_t place[2] = {partition, offset};
    uint64_t hash = XXH3_64bits_withSeed(place, sizeof place, XXH3_64bits(reason, strlen(reason)));
    if (field) hash = XXH3_64bits_withSeed(field, strlen(field), hash);
    return XXH3_64bits_withSeed(topic, strlen(topic), hash);
}

mr_status mr_verify_expect_dead(void *context, const struct mr_offline_dead *dead, struct mr_err *err)
{
    struct mr_verify *const verify = context;
    const struct mr_message *const message = dead->message;
    const struct mr_verify_output *const output = &verify->output[verify->output_count - 1];
    const uint32_t source = mr_part_get(&verify->index, message->topic, message->partition);
    const struct mr_verify_input *const input = &verify->input[source];
    if (!verify->output_count || !output->is_dead || message->offset < input->told_end) return MR_OK;
    const struct mr_match_record want = {
        .value = dead->value,
        .value_bytes = dead->value_bytes,
        .key = message->key,
        .key_bytes = message->key_bytes,
        .rest = dead_hash(mr_reason_name(dead->reason), dead->field, input->name, message->partition, message->offset),
        .source = source,
        .partition = key_partition(output, message->key, message->key_bytes),
        .offset = message->offset};
    return mr_match_expect(output->match, &want, err);
}

/* ---- what is there ---- */

static bool header_text(const rd_kafka_message_t *raw, const char *name, char *out, size_t cap)
{
    rd_kafka_headers_t *headers;
    const void *value;
    size_t bytes;
    if (rd_kafka_message_headers(raw, &headers) || rd_kafka_header_get_last(headers, name, &value, &bytes) || !value)
        return false;
    snprintf(out, cap, "%.*s", (int)bytes, (const char *)value);
    return true;
}

/* A dead letter: what it is compared by. False: it is put aside, or no dead letter at all. */
static mr_status dead_take(struct mr_verify_output *output, const struct mr_message *message,
                           struct mr_match_record *got, struct mr_err *err)
{
    const rd_kafka_message_t *const raw = message->handle;
    char reason[64] = "", stage[32] = "", field[512], topic[256] = "", partition[32] = "-1", offset[32] = "-1", cut[32];
    header_text(raw, "millrace-error", reason, sizeof reason);
    header_text(raw, "millrace-error-stage", stage, sizeof stage);
    header_text(raw, "millrace-source-topic", topic, sizeof topic);
    header_text(raw, "millrace-source-partition", partition, sizeof partition);
    header_text(raw, "millrace-source-offset", offset, sizeof offset);
    const bool has_field = header_text(raw, "millrace-error-field", field, sizeof field);
    got->rest = dead_hash(reason, has_field ? field : NULL, topic, atoll(partition), atoll(offset));
    if (strcmp(stage, "output") != 0 && !header_text(raw, "millrace-truncated-from", cut, sizeof cut))
        return mr_match_actual(output->match, got, err);
    const struct mr_verify_special special = {
        .source = mr_verify_input_find(output->verify, topic, (int32_t)atoll(partition)),
        .partition = message->partition,
        .offset = message->offset,
        .source_offset = atoll(offset)};
    return special_add(output, &special) ? MR_OK : mr_fail(err, MR_ENOMEM, "out of memory");
}

/* The end of the element of a JSON array that begins at `at`: its comma, or `end`. */
static const char *element_end(const char *at, const char *end)
{
    size_t depth = 0;
    bool is_text = false;
    for (; at < end; at++) {
        if (is_text) {
            if (*at == '\\')
                at++;
            else if (*at == '"')
                is_text = false;
        } else if (*at == '"') {
            is_text = true;
        } else if (*at == '{' || *at == '[') {
            depth++;
        } else if (*at == '}' || *at == ']') {
            depth--;
        } else if (*at == ',' && !depth) {
            return at;
        }
    }
    return end;
}

/* An output as it stands there, or what of it does not depend on the models. */
static mr_status actual_take(struct mr_verify_output *output, const struct mr_match_record *got, struct mr_err *err)
{
    struct mr_match_record record = *got;
    const mr_status status =
        output->verify->scored ? mr_verify_scored_mask(output->verify->scored, &record, err) : MR_OK;
    return status ? status : mr_match_actual(output->match, &record, err);
}

/* Joined records, one by one. */
static mr_status joined_take(struct mr_verify_output *output, struct mr_match_record *got, struct mr_err *err)
{
    const bool is_array = output->verify->job->emit.framing == MR_EMIT_ARRAY;
    const char *at = got->value, *end = at ? at + got->value_bytes : NULL;
    mr_status status = MR_OK;
    if (at && is_array && got->value_bytes >= 2 && *at == '[' && end[-1] == ']') at++, end--;
    while (at && at <= end && !status) {
        const char *stop = is_array ? element_end(at, end) : memchr(at, '\n', (size_t)(end - at));
        if (!stop) stop = end;
        got->value = at;
        got->value_bytes = (size_t)(stop - at);
        status = actual_take(output, got, err);
        at = stop + 1;
    }
    return status;
}

static mr_status message_take(struct mr_verify_output *output, const struct mr_message *message, struct mr_err *err)
{
    const struct mr_job *const job = output->verify->job;
    const rd_kafka_message_t *const raw = message->handle;
    struct mr_match_record got = {.value = message->value,
                                  .value_bytes = message->value_bytes,
                                  .key = message->key,
                                  .key_bytes = message->key_bytes,
                                  .partition = message->partition,
                                  .offset = message->offset,
                                  .is_placed = output->place == MR_PLACE_SAME ||
                                               (output->place == MR_PLACE_KEY && message->key)};
    rd_kafka_headers_t *headers;
    if (output->is_dead) return dead_take(output, message, &got, err);
    got.version = MR_NO_VERSION;
    if ((has_rest(job) || output->verify->scored) && !rd_kafka_message_headers(raw, &headers)) {
        const char *name;
        const void *value;
        size_t bytes;
        for (size_t i = 0; !rd_kafka_header_get_all(headers, i, &name, &value, &bytes); i++) {
            if (!is_version(output->verify, name))
                got.rest = has_rest(job) ? header_hash(got.rest, name, value, bytes) : 0;
            else if (value && got.version == MR_NO_VERSION)
                got.version = mr_verify_scored_version(output->verify->scored, value, bytes);
        }
    }
    if (job->emit.framing != MR_EMIT_SINGLE) return joined_take(output, &got, err);
    if (job->emit.timestamp) {
        rd_kafka_timestamp_type_t type;
        got.rest ^= (uint64_t)rd_kafka_message_timestamp(raw, &type) * 2 + 1;
    }
    return actual_take(output, &got, err);
}

static mr_status part_pump(struct mr_verify *verify, struct mr_verify_output *output, size_t p, bool is_all,
                           bool *has_read_out, struct mr_err *err)
{
    const struct mr_look_part *const part = &output->parts.part[p];
    mr_status status = MR_OK;
    while (!status && output->next[p] < part->end) {
        if (!is_all && (!mr_match_wanted(output->match, part->partition) ||
                        mr_match_waiting(output->match, part->partition) >= verify->window))
            break;
        const int64_t end = output->next[p] + CHUNK < part->end ? output->next[p] + CHUNK : part->end;
        status =
            mr_range_read(verify->writer, part->topic, part->partition, output->next[p], end, &verify->written, err);
        for (size_t i = 0; i < verify->written.count && !status; i++)
            status = message_take(output, &verify->written.message[i], err);
        mr_message_list_clear(&verify->written);
        output->next[p] = end;
        *has_read_out = true;
        mr_match_settle(output->match, false);
    }
    return status;
}

mr_status mr_verify_pump(struct mr_verify *verify, bool is_all, bool *has_read_out, struct mr_err *err)
{
    mr_status status = MR_OK;
    for (size_t i = 0; i < verify->output_count; i++) {
        for (size_t p = 0; p < verify->output[i].parts.count && !status; p++)
            status = part_pump(verify, &verify->output[i], p, is_all, has_read_out, err);
    }
    return status;
}

bool mr_verify_settle(struct mr_verify *verify)
{
    bool has_tied = false;
    for (size_t i = 0; i < verify->output_count; i++) has_tied |= mr_match_settle(verify->output[i].match, true);
    return has_tied;
}

/* ---- the end ---- */

static bool is_any_wanted(const struct mr_verify *verify)
{
    for (size_t i = 0; i < verify->output_count; i++) {
        for (size_t s = 0; s < verify->parts.count; s++)
            if (mr_match_open_count(verify->output[i].match, (uint32_t)s)) return true;
    }
    return false;
}

/* Whether something is written that no transaction has decided yet. */
static mr_status undecided_look(struct mr_verify *verify, struct mr_look *all, bool *is_any_out, struct mr_err *err)
{
    mr_status status = MR_OK;
    *is_any_out = false;
    for (size_t i = 0; i < verify->output_count && !status; i++) {
        struct mr_look_parts *const parts = &verify->output[i].parts;
        status = mr_look_bounds(all, parts, err);
        for (size_t p = 0; p < parts->count && !status; p++)
            *is_any_out |= parts->part[p].end > verify->output[i].next[p];
        if (!status) status = mr_look_bounds(&verify->look, parts, err);
    }
    return status;
}

/* What is expected may be committed, and its marker not yet be written there. */
static mr_status markers_wait(struct mr_verify *verify, struct mr_err *err)
{
    const struct timespec pause = {.tv_nsec = 50000000};
    const int64_t deadline_ns = mr_clock_ns() + MARKER_WAIT_S * 1000000000LL;
    struct mr_look all = {0};
    bool is_undecided = true, has_read = false;
    mr_status status = mr_look_open(&all, verify->job, true, err);
    while (!status && is_undecided && is_any_wanted(verify) && mr_clock_ns() < deadline_ns) {
        status = undecided_look(verify, &all, &is_undecided, err);
        if (!status) status = mr_verify_pump(verify, true, &has_read, err);
        if (is_undecided && is_any_wanted(verify)) nanosleep(&pause, NULL);
    }
    mr_look_close(&all);
    return status;
}

/* Whether the job has committed more meanwhile. */
static mr_status running_look(struct mr_verify *verify, struct mr_err *err)
{
    int64_t *const before = calloc(verify->parts.count + 1, sizeof *before);
    if (!before) return mr_fail(err, MR_ENOMEM, "out of memory");
    for (size_t i = 0; i < verify->parts.count; i++) before[i] = verify->parts.part[i].committed;
    const mr_status status = mr_look_committed(&verify->look, &verify->parts, err);
    for (size_t i = 0; i < verify->parts.count && !status; i++)
        verify->is_running |= verify->parts.part[i].committed != before[i];
    free(before);
    return status;
}

static void specials_tell(struct mr_verify *verify, const struct mr_verify_output *output)
{
    for (size_t i = 0; i < output->special_count; i++) {
        const struct mr_verify_special *const special = &output->special[i];
        if (special->is_used) continue;
        if (special->source != MR_PART_NONE && (special->source_offset < verify->input[special->source].start ||
                                                special->source_offset >= verify->input[special->source].end))
            continue; /* of before or behind */
        mr_proof_found(verify->proof, MR_FOUND_FOREIGN, output->topic, special->partition, special->offset,
                       "this dead letter stands for a record that was answered");
    }
}

/* What is proved of a topic in which nothing is wrong. */
static void output_fact(struct mr_proof *proof, const struct mr_verify_output *output)
{
    const unsigned long long count = mr_match_count(output->match), near = mr_match_near_count(output->match),
                             far = mr_match_far_count(output->match);
    char how[128];
    snprintf(how, sizeof how, "byte for byte%s",
             output->verify->scored && !output->is_dead ? " but for what models say" : "");
    if (near)
        snprintf(how, sizeof how,
                 "%llu byte for byte, of the others all but a model's numbers, these within 1e-6 of their terms",
                 count - near);
    mr_proof_fact(proof, "topic \"%s\": %llu %s, each once%s, %s%s", output->topic, count,
                  output->is_dead ? "dead letters" : "outputs",
                  output->is_dead || output->place == MR_PLACE_ANY ? "" : ", in order", how,
                  output->verify->job->emit.framing != MR_EMIT_SINGLE && !output->is_dead ? ", record by record" : "");
    if (mr_match_repeated_count(output->match))
        mr_proof_note(proof,
                      "topic \"%s\": %llu outputs of another unit have the bytes of others: they answer a record with "
                      "nearly the same numbers, or stand twice in the place of one that is lost (emit a field that "
                      "tells them apart)",
                      output->topic, (unsigned long long)mr_match_repeated_count(output->match));
    if (far)
        mr_proof_note(proof,
                      "topic \"%s\": numbers of %llu outputs: another unit has scored them, and they are off by more "
                      "than 1e-6 of their terms, not by more than learning or a kernel without a bound may make of it",
                      output->topic, far);
}

mr_status mr_verify_outputs_end(struct mr_verify *verify, struct mr_err *err)
{
    struct mr_proof *const proof = verify->proof;
    bool has_read;
    mr_status status = mr_verify_pump(verify, true, &has_read, err);
    mr_verify_settle(verify);
    if (!status && is_any_wanted(verify)) status = markers_wait(verify, err);
    if (!status) status = running_look(verify, err);
    if (status) return status;
    proof->in = verify->offline->count.in;
    proof->out = verify->offline->count.out;
    proof->dead = verify->offline->count.dead;
    proof->filtered = verify->offline->count.filtered;
    if (verify->is_running)
        mr_proof_note(proof, "the job went on meanwhile: what it wrote behind these offsets is not looked at");
    for (size_t i = 0; i < verify->output_count; i++) {
        struct mr_verify_output *const output = &verify->output[i];
        const uint64_t wrong = proof->total;
        if (verify->is_running) mr_match_trail(output->match);
        mr_match_end(output->match);
        if (output->is_dead) specials_tell(verify, output);
        const unsigned long long before = mr_match_before_count(output->match);
        if (mr_match_is_ambiguous(output->match) && !output->is_dead)
            mr_proof_note(proof,
                          "topic \"%s\": records are alike, so their order is not judged "
                          "(emit a field or emit.provenance that tells them apart)",
                          output->topic);
        if (before)
            mr_proof_note(proof, "topic \"%s\": %llu records are of before the range that was looked at", output->topic,
                          before);
        if (mr_match_moved_count(output->match))
            mr_proof_note(
                proof,
                "topic \"%s\": %llu %s stand in another partition than the topics' numbers of partitions give them "
                "today: these have changed while the job ran, or something else has put them there",
                output->topic, (unsigned long long)mr_match_moved_count(output->match),
                output->is_dead ? "dead letters" : "outputs");
        if (proof->total != wrong && verify->near && is_bare(verify) && !output->is_dead)
            mr_proof_note(proof,
                          "topic \"%s\": outputs that hold nothing of their records and that another unit has scored: "
                          "those that are nearly equal are taken for each other (emit a field that tells them apart)",
                          output->topic);
        if (proof->total != wrong) continue;
        output_fact(proof, output);
    }
    if (verify->job->emit.framing != MR_EMIT_SINGLE && verify->job->emit.provenance)
        mr_proof_note(proof, "headers of joined records are not compared");
    return MR_OK;
}
