/* What a record is compared by: one that must be there, and one that is. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/json_text.h"
#include "verify/inside.h"

bool mr_verify_has_rest(const struct mr_job *job)
{
    return job->emit.framing == MR_EMIT_SINGLE && (job->emit.headers.count || job->emit.provenance);
}

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
    if (mr_verify_has_rest(job)) {
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
    return mr_verify_special_add(output, &special) ? MR_OK : mr_fail(err, MR_ENOMEM, "out of memory");
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
        const char *stop = is_array ? mr_json_value_end(at, end) : memchr(at, '\n', (size_t)(end - at));
        if (!stop) stop = end;
        got->value = at;
        got->value_bytes = (size_t)(stop - at);
        status = actual_take(output, got, err);
        at = stop + 1;
    }
    return status;
}

mr_status mr_verify_message_take(struct mr_verify_output *output, const struct mr_message *message, struct mr_err *err)
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
    if ((mr_verify_has_rest(job) || output->verify->scored) && !rd_kafka_message_headers(raw, &headers)) {
        const char *name;
        const void *value;
        size_t bytes;
        for (size_t i = 0; !rd_kafka_header_get_all(headers, i, &name, &value, &bytes); i++) {
            if (!is_version(output->verify, name))
                got.rest = mr_verify_has_rest(job) ? header_hash(got.rest, name, value, bytes) : 0;
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
