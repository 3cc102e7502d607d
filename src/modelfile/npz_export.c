/* A zip file (PKWARE's APPNOTE) of members that are stored as they are: each a header and its bytes, then the directory
 * of all of them, then where that is. An array is a header of text and its bytes (NumPy's NPY format 1.0). */
#include "modelfile/npz_export.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <zlib.h>

#include "base/json_text.h"

#define MEMBER_SIGNATURE    0x04034b50u
#define DIRECTORY_SIGNATURE 0x02014b50u
#define END_SIGNATURE       0x06054b50u
#define ZIP_VERSION         20
#define DAY_ONE             0x21 /* 1980-01-01: the same model, the same bytes */
#define NPY_ALIGN           64
#define MEMBERS_MAX         65535

/* A zip file that is being written: its bytes, and the directory that comes last. */
struct zip {
    struct mr_blob *out;
    struct mr_blob directory;
    size_t members;
    bool is_out_of_memory;
};

static void number_put(struct zip *zip, struct mr_blob *out, uint32_t value, size_t bytes)
{
    unsigned char text[4];
    for (size_t i = 0; i < bytes; i++) text[i] = (unsigned char)(value >> (8 * i));
    zip->is_out_of_memory |= !mr_blob_put(out, text, bytes);
}

/* What a member's own header and its entry in the directory have in common. */
static void facts_put(struct zip *zip, struct mr_blob *out, uint32_t crc, size_t bytes, size_t name_bytes)
{
    number_put(zip, out, ZIP_VERSION, 2);
    number_put(zip, out, 0, 2); /* flags */
    number_put(zip, out, 0, 2); /* stored */
    number_put(zip, out, 0, 2);
    number_put(zip, out, DAY_ONE, 2);
    number_put(zip, out, crc, 4);
    number_put(zip, out, (uint32_t)bytes, 4);
    number_put(zip, out, (uint32_t)bytes, 4);
    number_put(zip, out, (uint32_t)name_bytes, 2);
    number_put(zip, out, 0, 2); /* extra */
}

/* A member of two parts, one behind the other. */
static void member_put(struct zip *zip, const char *name, const void *head, size_t head_bytes, const void *bytes,
                       size_t byte_count)
{
    const size_t at = zip->out->bytes, name_bytes = strlen(name);
    uint32_t crc = (uint32_t)crc32_z(crc32_z(0, NULL, 0), head, head_bytes);
    if (byte_count) crc = (uint32_t)crc32_z(crc, bytes, byte_count);
    number_put(zip, zip->out, MEMBER_SIGNATURE, 4);
    facts_put(zip, zip->out, crc, head_bytes + byte_count, name_bytes);
    zip->is_out_of_memory |= !mr_blob_put(zip->out, name, name_bytes) || !mr_blob_put(zip->out, head, head_bytes) ||
                             !mr_blob_put(zip->out, bytes, byte_count);
    number_put(zip, &zip->directory, DIRECTORY_SIGNATURE, 4);
    number_put(zip, &zip->directory, ZIP_VERSION, 2); /* made by */
    facts_put(zip, &zip->directory, crc, head_bytes + byte_count, name_bytes);
    number_put(zip, &zip->directory, 0, 2); /* comment */
    number_put(zip, &zip->directory, 0, 2); /* disk */
    number_put(zip, &zip->directory, 0, 2);
    number_put(zip, &zip->directory, 0, 4); /* attributes */
    number_put(zip, &zip->directory, (uint32_t)at, 4);
    zip->is_out_of_memory |= !mr_blob_put(&zip->directory, name, name_bytes);
    zip->members++;
}

static void end_put(struct zip *zip)
{
    const size_t at = zip->out->bytes;
    zip->is_out_of_memory |= !mr_blob_put(zip->out, zip->directory.data, zip->directory.bytes);
    number_put(zip, zip->out, END_SIGNATURE, 4);
    number_put(zip, zip->out, 0, 4); /* disks */
    number_put(zip, zip->out, (uint32_t)zip->members, 2);
    number_put(zip, zip->out, (uint32_t)zip->members, 2);
    number_put(zip, zip->out, (uint32_t)zip->directory.bytes, 4);
    number_put(zip, zip->out, (uint32_t)at, 4);
    number_put(zip, zip->out, 0, 2); /* comment */
}

static void array_put(struct zip *zip, const struct mr_tensor *tensor)
{
    static const struct {
        const char *descr;
        size_t bytes;
    } types[] = {[MR_DTYPE_F32] = {"<f4", 4},
                 [MR_DTYPE_F64] = {"<f8", 8},
                 [MR_DTYPE_I32] = {"<i4", 4},
                 [MR_DTYPE_I64] = {"<i8", 8},
                 [MR_DTYPE_U8] = {"|u1", 1}};
    static const char magic[] = "\x93NUMPY\x01";
    char head[512], name[MR_TENSOR_NAME_BYTES_MAX + 8];
    memset(head, ' ', sizeof head);
    memcpy(head, magic, sizeof magic); /* with the zero of version 1.0 */
    size_t at = sizeof magic + 2;
    at += (size_t)snprintf(head + at, sizeof head - at, "{'descr': '%s', 'fortran_order': False, 'shape': (",
                           types[tensor->dtype].descr);
    for (size_t i = 0; i < tensor->rank; i++)
        at += (size_t)snprintf(head + at, sizeof head - at, "%" PRIu64 ",", tensor->shape[i]);
    at += (size_t)snprintf(head + at, sizeof head - at, "), }");
    head[at] = ' ';
    const size_t bytes = (at + 1 + NPY_ALIGN - 1) / NPY_ALIGN * NPY_ALIGN, text = bytes - sizeof magic - 2;
    head[bytes - 1] = '\n';
    head[sizeof magic] = (char)(text & 0xff);
    head[sizeof magic + 1] = (char)(text >> 8);
    snprintf(name, sizeof name, "%s.npy", tensor->name);
    member_put(zip, name, head, bytes, tensor->data, (size_t)tensor->count * types[tensor->dtype].bytes);
}

static void text_put(struct zip *zip, struct mr_blob *out, const char *text)
{
    const size_t bytes = strlen(text);
    if (!mr_blob_reserve(out, bytes * MR_JSON_ESCAPE_MAX + MR_JSON_QUOTES))
        zip->is_out_of_memory = true;
    else
        out->bytes += mr_json_quote(text, bytes, out->data + out->bytes);
}

static void metadata_put(struct zip *zip, const struct mr_safetensors *file)
{
    struct mr_blob text = {0};
    const char *key, *value;
    zip->is_out_of_memory |= !mr_blob_put(&text, "{", 1);
    for (size_t i = 0; mr_safetensors_metadata_at(file, i, &key, &value); i++) {
        zip->is_out_of_memory |= i && !mr_blob_put(&text, ", ", 2);
        text_put(zip, &text, key);
        zip->is_out_of_memory |= !mr_blob_put(&text, ": ", 2);
        text_put(zip, &text, value);
    }
    zip->is_out_of_memory |= !mr_blob_put(&text, "}\n", 2);
    member_put(zip, "metadata.json", text.data, text.bytes, NULL, 0);
    mr_blob_deinit(&text);
}

mr_status mr_npz_export(const struct mr_safetensors *file, struct mr_blob *out, struct mr_err *err)
{
    const char *const path = mr_safetensors_name(file);
    struct zip zip = {.out = out};
    size_t bytes;
    out->bytes = 0;
    mr_safetensors_bytes(file, &bytes);
    if (bytes > UINT32_MAX / 2 || mr_safetensors_count(file) >= MEMBERS_MAX)
        return mr_fail(err, MR_EDATA, "model \"%s\": more than 2 GiB: use the safetensors file itself", path);
    for (size_t i = 0; i < mr_safetensors_count(file); i++) array_put(&zip, mr_safetensors_at(file, i));
    metadata_put(&zip, file);
    end_put(&zip);
    mr_blob_deinit(&zip.directory);
    return zip.is_out_of_memory ? mr_fail(err, MR_ENOMEM, "model \"%s\": out of memory", path) : MR_OK;
}
