#include "model/mf/ids.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json_text.h"
#include "base/number.h"

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

/* One id: its JSON text at `to`, its characters into the set. Returns the end; NULL: no memory. */
static char *id_put(const struct from *from, size_t i, struct mr_ids *ids, char *to, uint32_t *number_out)
{
    struct mr_span *const json = &ids->json[i];
    struct mr_span name;
    if (from->text) {
        const int64_t begin = mr_tensor_integer(from->offset, i), end = mr_tensor_integer(from->offset, i + 1);
        name = (struct mr_span){(const char *)from->text->data + begin, (size_t)(end - begin)};
        *json = (struct mr_span){to, mr_json_quote(name.data, name.bytes, to)};
    } else {
        name = (struct mr_span){to, mr_print_i64(from->integer ? mr_tensor_integer(from->integer, i) : (int64_t)i, to)};
        *json = name;
    }
    if (json->bytes > ids->json_bytes_max) ids->json_bytes_max = json->bytes;
    return mr_intern_add(&ids->set, name.data, name.bytes, number_out) ? to + json->bytes : NULL;
}

mr_status mr_ids_read(const struct mr_safetensors *file, const char *name, size_t count, struct mr_ids *ids,
                      struct mr_err *err)
{
    struct from from;
    mr_status status = from_find(file, name, count, &from, err);
    if (status) return status;
    const size_t bytes =
        from.text ? (size_t)from.text->count * MR_JSON_ESCAPE_MAX + count * MR_JSON_QUOTES : count * 20;
    ids->count = count;
    ids->json = calloc(count + 1, sizeof *ids->json);
    ids->text = malloc(bytes + MR_NUMBER_BYTES);
    char *to = ids->json ? ids->text : NULL;
    for (size_t i = 0; i < count && to; i++) {
        uint32_t number;
        to = id_put(&from, i, ids, to, &number);
        if (to && number != i)
            return mr_fail(err, MR_EDATA, "model \"%s\": tensor \"%s\": id %.*s is there twice", from.path, name,
                           (int)(ids->json[i].bytes < 40 ? ids->json[i].bytes : 40), ids->json[i].data);
    }
    return to ? MR_OK : mr_fail(err, MR_ENOMEM, "model \"%s\": no memory for %zu ids", from.path, count);
}

void mr_ids_deinit(struct mr_ids *ids)
{
    free(ids->json);
    free(ids->text);
    mr_intern_deinit(&ids->set);
    *ids = (struct mr_ids){0};
}
