/* What all state records share: header, checksum, keys; and the chunks of a snapshot. */
#include "state/record.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "state/header.h"
#include "state/wire.h"

uint64_t mr_state_checksum(const void *bytes, size_t count)
{
    const uint64_t sum = XXH3_64bits(bytes, count);
    return sum ? sum : 1;
}

/* Hashes go through a chain: each is the seed of the next. NULL is another text than "". */
static uint64_t hash_text(uint64_t hash, const char *text)
{
    return XXH3_64bits_withSeed(text ? text : "", text ? strlen(text) + 1 : 0, hash);
}

static uint64_t hash_number(uint64_t hash, uint64_t number)
{
    unsigned char bytes[8];
    for (int i = 0; i < 8; i++) bytes[i] = (unsigned char)(number >> (8 * i));
    return XXH3_64bits_withSeed(bytes, sizeof bytes, hash);
}

uint64_t mr_state_schema_hash(const struct mr_model_info *info)
{
    uint64_t hash = hash_text(0, info->type);
    hash = hash_number(hash, info->feature_count);
    for (size_t i = 0; i < info->feature_count; i++) hash = hash_text(hash, info->feature ? info->feature[i] : NULL);
    hash = hash_number(hash, info->width);
    hash = hash_number(hash, info->class_count);
    for (size_t i = 0; i < info->class_count; i++) hash = hash_text(hash, info->label ? info->label[i] : NULL);
    return hash ? hash : 1;
}

/* ---- header ---- */

void mr_state_header_begin(struct mr_blob *out, mr_state_record kind)
{
    out->bytes = 0;
    mr_wire_put_fixed(out, MR_STATE_MAGIC, 4);
    mr_wire_put_fixed(out, MR_STATE_FORMAT, 1);
    mr_wire_put_fixed(out, kind, 1);
    mr_wire_put_fixed(out, 0, 2);
    mr_wire_put_fixed(out, 0, 8); /* the checksum's place */
}

/* Over everything but its own place. */
static uint64_t record_checksum(const unsigned char *record, size_t count)
{
    const uint64_t head = XXH3_64bits(record, 8);
    return XXH3_64bits_withSeed(record + MR_STATE_HEADER_BYTES, count - MR_STATE_HEADER_BYTES, head);
}

void mr_state_header_end(struct mr_blob *out)
{
    const uint64_t sum = record_checksum((const unsigned char *)out->data, out->bytes);
    struct mr_blob place = {out->data, 8, MR_STATE_HEADER_BYTES};
    mr_wire_put_fixed(&place, sum, 8);
}

mr_status mr_state_record_check(const void *bytes, size_t count, mr_state_record *kind_out, struct mr_err *err)
{
    struct mr_wire in = {.at = bytes, .end = (const unsigned char *)bytes + count};
    const uint64_t magic = mr_wire_fixed(&in, 4);
    const uint64_t format = mr_wire_fixed(&in, 1);
    const uint64_t kind = mr_wire_fixed(&in, 1);
    const uint64_t zero = mr_wire_fixed(&in, 2);
    const uint64_t sum = mr_wire_fixed(&in, 8);
    *kind_out = (mr_state_record)kind;
    if (in.is_bad || magic != MR_STATE_MAGIC)
        return mr_fail(err, MR_EDATA, "no state record: it does not begin with MRST");
    if (format != MR_STATE_FORMAT)
        return mr_fail(err, MR_EDATA, "a state record of format %u, %s than this program's, which is %u",
                       (unsigned)format, format > MR_STATE_FORMAT ? "newer" : "older", MR_STATE_FORMAT);
    if (sum != record_checksum(bytes, count))
        return mr_fail(err, MR_EDATA, "the record's checksum is wrong: it is cut off, or was changed");
    if ((kind != MR_STATE_MANIFEST && kind != MR_STATE_CHUNK) || zero)
        return mr_fail(err, MR_EDATA, "a state record of unknown kind %u", (unsigned)kind);
    return MR_OK;
}

mr_status mr_state_header_open(const void *bytes, size_t count, mr_state_record wanted, struct mr_wire *in_out,
                               struct mr_err *err)
{
    mr_state_record kind;
    const mr_status status = mr_state_record_check(bytes, count, &kind, err);
    if (status) return status;
    if (kind != wanted)
        return mr_fail(err, MR_EDATA, "the record is a %s where a %s is expected",
                       kind == MR_STATE_CHUNK ? "chunk" : "manifest", wanted == MR_STATE_CHUNK ? "chunk" : "manifest");
    *in_out = (struct mr_wire){.at = (const unsigned char *)bytes + MR_STATE_HEADER_BYTES,
                               .end = (const unsigned char *)bytes + count};
    return MR_OK;
}

/* ---- keys ---- */

void mr_state_key_print(char out[MR_STATE_KEY_BYTES], const char *model, uint64_t snapshot, mr_state_record kind,
                        uint32_t index)
{
    _Static_assert(MR_STATE_NAME_BYTES_MAX + 3 + 2 * 20 < MR_STATE_KEY_BYTES, "a key fits");
    snprintf(out, MR_STATE_KEY_BYTES, "%s/%u/%c%u", model, (unsigned)(snapshot % MR_STATE_GENERATIONS),
             kind == MR_STATE_CHUNK ? 'c' : 'm', index);
}

bool mr_state_key_read(const void *key, size_t bytes, struct mr_span *model_out, uint32_t *generation_out,
                       mr_state_record *kind_out, uint32_t *index_out)
{
    const char *const text = key;
    size_t at = bytes;
    uint64_t index = 0, digits = 1;
    if (!key) return false;
    while (at && text[at - 1] >= '0' && text[at - 1] <= '9' && bytes - at < 10) {
        index += (uint64_t)(text[--at] - '0') * digits;
        digits *= 10;
    }
    /* Before the digits: /G/c or /G/m, behind at least one byte of a name. */
    if (at == bytes || at < 5 || index > UINT32_MAX || (text[at] == '0' && bytes - at > 1)) return false;
    const char kind = text[at - 1], generation = text[at - 3];
    if (text[at - 2] != '/' || text[at - 4] != '/' || (kind != 'c' && kind != 'm')) return false;
    if (generation < '0' || generation >= '0' + MR_STATE_GENERATIONS) return false;
    *model_out = (struct mr_span){text, at - 4};
    *generation_out = (uint32_t)(generation - '0');
    *kind_out = kind == 'c' ? MR_STATE_CHUNK : MR_STATE_MANIFEST;
    *index_out = (uint32_t)index;
    return true;
}

/* ---- chunks ---- */

/* Of a chunk beside its data and the model's name: header, seven varints, the checksum. */
#define CHUNK_EXTRA_BYTES (MR_STATE_HEADER_BYTES + 7 * MR_WIRE_VARINT_BYTES_MAX + 8 + MR_STATE_NAME_BYTES_MAX)

static size_t data_bytes(size_t chunk_bytes)
{
    return chunk_bytes - CHUNK_EXTRA_BYTES;
}

uint32_t mr_state_chunk_count(uint64_t model_bytes, size_t chunk_bytes)
{
    _Static_assert(CHUNK_EXTRA_BYTES < MR_STATE_CHUNK_BYTES_MIN, "a chunk has data");
    if (!model_bytes || model_bytes > MR_STATE_MODEL_BYTES_MAX || chunk_bytes < MR_STATE_CHUNK_BYTES_MIN ||
        chunk_bytes > MR_STATE_RECORD_BYTES_MAX)
        return 0;
    return (uint32_t)((model_bytes - 1) / data_bytes(chunk_bytes) + 1);
}

mr_status mr_state_chunk_encode(const struct mr_state_commit *commit, const void *model, size_t chunk_bytes,
                                uint32_t index, struct mr_blob *out, struct mr_err *err)
{
    const size_t name_bytes = strlen(commit->model);
    const uint32_t count = mr_state_chunk_count(commit->model_bytes, chunk_bytes);
    if (commit->index || !commit->model_checksum || index >= count || !name_bytes ||
        name_bytes > MR_STATE_NAME_BYTES_MAX)
        return mr_fail(
            err, MR_EINVARIANT,
            "state of \"%.200s\": no chunk %u of %llu bytes in records of %zu: the commit has no snapshot, or "
            "the sizes are out of bounds",
            commit->model, index, (unsigned long long)commit->model_bytes, chunk_bytes);
    const uint64_t at = (uint64_t)index * data_bytes(chunk_bytes), left = commit->model_bytes - at;
    const size_t bytes = left < data_bytes(chunk_bytes) ? (size_t)left : data_bytes(chunk_bytes);
    out->bytes = 0;
    if (!mr_blob_reserve(out, CHUNK_EXTRA_BYTES + bytes))
        return mr_fail(err, MR_ENOMEM, "state of \"%s\": no memory for a chunk of %zu bytes", commit->model, bytes);
    mr_state_header_begin(out, MR_STATE_CHUNK);
    mr_wire_put_text(out, commit->model, name_bytes);
    mr_wire_put(out, commit->seq);
    mr_wire_put(out, commit->snapshot);
    mr_wire_put(out, commit->model_bytes);
    mr_wire_put_fixed(out, commit->model_checksum, 8);
    mr_wire_put(out, index);
    mr_wire_put(out, count);
    mr_wire_put(out, at);
    memcpy(out->data + out->bytes, (const char *)model + at, bytes);
    out->bytes += bytes;
    mr_state_header_end(out);
    return MR_OK;
}

mr_status mr_state_chunk_decode(const void *bytes, size_t count, struct mr_state_chunk *chunk, struct mr_err *err)
{
    struct mr_wire in;
    const mr_status status = mr_state_header_open(bytes, count, MR_STATE_CHUNK, &in, err);
    if (status) return status;
    chunk->model.data = mr_wire_text(&in, MR_STATE_NAME_BYTES_MAX, &chunk->model.bytes);
    chunk->seq = mr_wire_get(&in);
    chunk->snapshot = mr_wire_get(&in);
    chunk->model_bytes = mr_wire_get_max(&in, MR_STATE_MODEL_BYTES_MAX);
    chunk->model_checksum = mr_wire_fixed(&in, 8);
    chunk->index = (uint32_t)mr_wire_get_max(&in, UINT32_MAX);
    chunk->count = (uint32_t)mr_wire_get_max(&in, UINT32_MAX);
    chunk->at = mr_wire_get_max(&in, MR_STATE_MODEL_BYTES_MAX);
    if (in.is_bad) return mr_fail(err, MR_EDATA, "a chunk whose fields end too early, or are out of bounds");
    chunk->data = (struct mr_span){(const char *)in.at, (size_t)(in.end - in.at)};
    const bool is_last = chunk->at + chunk->data.bytes == chunk->model_bytes;
    if (!chunk->model.bytes || !chunk->seq || !chunk->snapshot || !chunk->data.bytes || chunk->index >= chunk->count ||
        chunk->at + chunk->data.bytes > chunk->model_bytes || is_last != (chunk->index + 1 == chunk->count))
        return mr_fail(err, MR_EDATA, "chunk %u of %u: %zu bytes at %llu of %llu do not fit together", chunk->index,
                       chunk->count, chunk->data.bytes, (unsigned long long)chunk->at,
                       (unsigned long long)chunk->model_bytes);
    return MR_OK;
}
