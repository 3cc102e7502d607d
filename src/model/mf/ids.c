#include "model/mf/ids.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json_text.h"
#include "base/number.h"

static uint64_t text_hash(const char *text, size_t bytes)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < bytes; i++) hash = (hash ^ (unsigned char)text[i]) * 0x100000001b3u;
    return hash ^ hash >> 32;
}

/* The slot of an id, or the empty one where it belongs. */
static size_t slot_of(const struct mr_ids *ids, const char *text, size_t bytes)
{
    size_t at = text_hash(text, bytes) & ids->mask;
    for (; ids->slot[at] != MR_ID_NONE; at = (at + 1) & ids->mask) {
        const struct mr_span *const name = &ids->name[ids->slot[at]];
        if (name->bytes == bytes && (!bytes || !memcmp(name->data, text, bytes))) break;
    }
    return at;
}

uint32_t mr_ids_find(const struct mr_ids *ids, const char *text, size_t bytes)
{
    return ids->slot[slot_of(ids, text, bytes)];
}

/* Where ids come from: one of integer, text; neither: an id is its index. */
struct from {
    const char *path, *name;
    const struct mr_tensor *integer, *text, *offset;
};

static mr_status from_find(const struct mr_safetensors *file, const char *name, size_t count, struct from *from,
                           struct mr_err *err)
{
    char text[MR_TENSOR_NAME_BYTES_MAX], offsets[MR_TENSOR_NAME_BYTES_MAX];
    snprintf(text, sizeof text, "%s.text", name);
    snprintf(offsets, sizeof offsets, "%s.offsets", name);
    *from = (struct from){mr_safetensors_name(file), name, mr_safetensors_find(file, name),
                          mr_safetensors_find(file, text), mr_safetensors_find(file, offsets)};
    if (from->integer && (from->integer->dtype != MR_DTYPE_I64 || from->integer->count != count))
        return mr_fail(err, MR_EDATA, "model \"%s\": tensor \"%s\" must be I64 with %zu ids", from->path, name, count);
    if (!from->text) return MR_OK;
    if (from->text->dtype != MR_DTYPE_U8 || !from->offset || from->offset->dtype != MR_DTYPE_I64 ||
        from->offset->count != count + 1)
        return mr_fail(err, MR_EDATA, "model \"%s\": tensor \"%s\" must be U8, with \"%s\", I64, %zu positions in it",
                       from->path, text, offsets, count + 1);
    int64_t last = 0;
    for (uint64_t i = 0; i <= count; i++) {
        const int64_t at = mr_tensor_integer(from->offset, i);
        if (at < last || at > (int64_t)from->text->count || (i == 0 && at))
            return mr_fail(err, MR_EDATA, "model \"%s\": tensor \"%s\": value %llu does not ascend within the text",
                           from->path, offsets, (unsigned long long)i);
        last = at;
    }
    return MR_OK;
}

/* One id: its characters and its JSON text, at `to`; returns the end. */
static char *id_put(const struct from *from, size_t i, struct mr_ids *ids, char *to)
{
    struct mr_span *const name = &ids->name[i], *const json = &ids->json[i];
    if (from->text) {
        const int64_t begin = mr_tensor_integer(from->offset, i), end = mr_tensor_integer(from->offset, i + 1);
        *json = (struct mr_span){to, 0};
        json->bytes = mr_json_quote((const char *)from->text->data + begin, (size_t)(end - begin), to);
        to += json->bytes;
        memcpy(to, from->text->data + begin, (size_t)(end - begin));
        *name = (struct mr_span){to, (size_t)(end - begin)};
    } else {
        *name =
            (struct mr_span){to, mr_print_i64(from->integer ? mr_tensor_integer(from->integer, i) : (int64_t)i, to)};
        *json = *name;
    }
    if (json->bytes > ids->json_bytes_max) ids->json_bytes_max = json->bytes;
    return to + name->bytes;
}

mr_status mr_ids_read(const struct mr_safetensors *file, const char *name, size_t count, struct mr_ids *ids,
                      struct mr_err *err)
{
    struct from from;
    mr_status status = from_find(file, name, count, &from, err);
    if (status) return status;
    const size_t bytes =
        from.text ? (size_t)from.text->count * (MR_JSON_ESCAPE_MAX + 1) + count * MR_JSON_QUOTES : count * 20;
    size_t slots = 16;
    while (slots < 2 * count) slots *= 2;
    ids->count = count;
    ids->mask = slots - 1;
    ids->json = calloc(count + 1, sizeof *ids->json);
    ids->name = calloc(count + 1, sizeof *ids->name);
    ids->slot = malloc(slots * sizeof *ids->slot);
    ids->text = malloc(bytes + MR_NUMBER_BYTES);
    if (!ids->json || !ids->name || !ids->slot || !ids->text)
        return mr_fail(err, MR_ENOMEM, "model \"%s\": no memory for %zu ids", from.path, count);
    memset(ids->slot, 0xff, slots * sizeof *ids->slot);
    char *to = ids->text;
    for (size_t i = 0; i < count; i++) {
        to = id_put(&from, i, ids, to);
        uint32_t *const slot = &ids->slot[slot_of(ids, ids->name[i].data, ids->name[i].bytes)];
        if (*slot != MR_ID_NONE)
            return mr_fail(err, MR_EDATA, "model \"%s\": tensor \"%s\": id %.*s is there twice", from.path, name,
                           (int)(ids->json[i].bytes < 40 ? ids->json[i].bytes : 40), ids->json[i].data);
        *slot = (uint32_t)i;
    }
    return MR_OK;
}

void mr_ids_deinit(struct mr_ids *ids)
{
    free(ids->json);
    free(ids->name);
    free(ids->slot);
    free(ids->text);
    *ids = (struct mr_ids){0};
}
