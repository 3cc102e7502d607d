/*
 * "MRSF", format, 3 bytes of zero, bytes of the file, checksum of all the rest; then the job's name, the number of
 * models, and of each model its manifest (as in a state topic, with its length before it) and its bytes.
 */
#include "state/snapshot_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/durable.h"
#include "state/wire.h"

#define MAGIC           0x4653524du /* "MRSF" */
#define FORMAT          1
#define HEADER_BYTES    24
#define JOB_BYTES_MAX   1024
#define MODEL_COUNT_MAX 4096

struct mr_state_file {
    char *path, *bytes;
    size_t byte_count;
    struct mr_state_model *model; /* [model_count], their commits this file's */
    size_t model_count;
};

/* ---- writing ---- */

static bool positions_same(const struct mr_state_commit *a, const struct mr_state_commit *b)
{
    if (a->position_count != b->position_count) return false;
    for (size_t i = 0; i < a->position_count; i++) {
        const struct mr_state_position *const x = &a->position[i], *const y = &b->position[i];
        if (x->partition != y->partition || x->next_offset != y->next_offset || strcmp(x->topic, y->topic))
            return false;
    }
    return true;
}

/* The manifests, each with its length before it, behind the room for the header; part: where each one ends. */
static mr_status manifests_put(const char *path, const char *job, const struct mr_state_model *model,
                               size_t model_count, struct mr_blob *out, size_t *end, struct mr_err *err)
{
    struct mr_blob record = {0};
    mr_status status = MR_OK;
    out->bytes = 0;
    if (!mr_blob_reserve(out, HEADER_BYTES + 2 * MR_WIRE_VARINT_BYTES_MAX + strlen(job))) goto no_memory;
    out->bytes = HEADER_BYTES;
    mr_wire_put_text(out, job, strlen(job));
    mr_wire_put(out, model_count);
    for (size_t i = 0; i < model_count && !status; i++) {
        const struct mr_state_commit *const commit = model[i].commit;
        if (commit->index || !positions_same(commit, model[0].commit))
            status = mr_fail(err, MR_EINVARIANT, "state file \"%s\": \"%s\" %s", path, commit->model,
                             commit->index ? "has no snapshot" : "has other positions than the models before it");
        if (!status) status = mr_state_commit_encode(commit, &record, err);
        if (status) break;
        if (!mr_blob_reserve(out, MR_WIRE_VARINT_BYTES_MAX + record.bytes)) goto no_memory;
        mr_wire_put_text(out, record.data, record.bytes);
        end[i] = out->bytes;
    }
    mr_blob_deinit(&record);
    return status;
no_memory:
    mr_blob_deinit(&record);
    return mr_fail(err, MR_ENOMEM, "state file \"%s\": out of memory", path);
}

/* Fills in the header, over the parts behind it. False: no memory. */
static bool header_put(struct mr_blob *blob, const struct iovec *part, size_t part_count)
{
    XXH3_state_t *const hash = XXH3_createState();
    struct mr_blob header = {blob->data, 0, HEADER_BYTES};
    uint64_t bytes = 0;
    if (!hash) return false;
    for (size_t i = 0; i < part_count; i++) bytes += part[i].iov_len;
    mr_wire_put_fixed(&header, MAGIC, 4);
    mr_wire_put_fixed(&header, FORMAT, 4);
    mr_wire_put_fixed(&header, bytes, 8);
    XXH3_64bits_reset_withSeed(hash, bytes);
    for (size_t i = 0; i < part_count; i++) {
        const size_t skip = i ? 0 : HEADER_BYTES;
        XXH3_64bits_update(hash, (const char *)part[i].iov_base + skip, part[i].iov_len - skip);
    }
    mr_wire_put_fixed(&header, XXH3_64bits_digest(hash), 8);
    XXH3_freeState(hash);
    return true;
}

mr_status mr_state_file_write(const char *path, const char *job, const struct mr_state_model *model, size_t model_count,
                              struct mr_blob *scratch, struct mr_err *err)
{
    struct iovec *const part = calloc(2 * model_count + 1, sizeof *part);
    size_t *const end = calloc(model_count + 1, sizeof *end), begin = 0;
    mr_status status = MR_OK;
    if (!part || !end) status = mr_fail(err, MR_ENOMEM, "state file \"%s\": out of memory", path);
    if (!status && (!model_count || model_count > MODEL_COUNT_MAX || strlen(job) > JOB_BYTES_MAX))
        status = mr_fail(err, MR_EINVARIANT, "state file \"%s\": %zu models of job \"%.80s\" cannot be held", path,
                         model_count, job);
    if (!status) status = manifests_put(path, job, model, model_count, scratch, end, err);
    for (size_t i = 0; i < model_count && !status; i++) {
        part[2 * i] = (struct iovec){scratch->data + begin, end[i] - begin};
        part[2 * i + 1] = (struct iovec){(void *)(uintptr_t)model[i].bytes, (size_t)model[i].commit->model_bytes};
        begin = end[i];
    }
    if (!status && !header_put(scratch, part, 2 * model_count))
        status = mr_fail(err, MR_ENOMEM, "state file \"%s\": out of memory", path);
    if (!status) status = mr_durable_write(path, part, 2 * model_count, err);
    free(part);
    free(end);
    return status;
}

/* ---- reading ---- */

void mr_state_file_close(struct mr_state_file *file)
{
    if (!file) return;
    for (size_t i = 0; i < file->model_count; i++) free((void *)(uintptr_t)file->model[i].commit);
    free(file->model);
    free(file->bytes);
    free(file->path);
    free(file);
}

/* All bytes of the file. */
static mr_status bytes_read(struct mr_state_file *file, bool *is_missing, struct mr_err *err)
{
    struct stat info = {0};
    const int fd = open(file->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    int error = fd < 0 || fstat(fd, &info) ? errno : 0;
    *is_missing = fd < 0 && error == ENOENT;
    if (!error && !S_ISREG(info.st_mode)) error = EINVAL;
    if (!error) file->bytes = malloc((size_t)info.st_size + 1);
    if (!error && !file->bytes) error = ENOMEM;
    while (!error && file->byte_count < (size_t)info.st_size) {
        const ssize_t got = read(fd, file->bytes + file->byte_count, (size_t)info.st_size - file->byte_count);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) error = errno;
        if (got <= 0) break; /* shorter than it was: its header says so */
        file->byte_count += (size_t)got;
    }
    if (fd >= 0) close(fd);
    if (!error) return MR_OK;
    return mr_fail(err, error == ENOMEM ? MR_ENOMEM : MR_EINPUT, "state file \"%s\": %s", file->path,
                   error == EINVAL ? "a folder or a device: name a file in state.file" : strerror(error));
}

static mr_status refuse(const struct mr_state_file *file, const char *what, struct mr_err *err)
{
    return mr_fail(
        err, MR_EDATA,
        "state file \"%s\": %s: put back a copy that is whole, or remove it, and the job begins anew from its "
        "model files and the group's offsets",
        file->path, what);
}

static mr_status header_check(const struct mr_state_file *file, struct mr_wire *in, struct mr_err *err)
{
    *in = (struct mr_wire){.at = (const unsigned char *)file->bytes,
                           .end = (const unsigned char *)file->bytes + file->byte_count};
    const uint64_t magic = mr_wire_fixed(in, 4);
    const uint64_t format = mr_wire_fixed(in, 4);
    const uint64_t bytes = mr_wire_fixed(in, 8);
    const uint64_t sum = mr_wire_fixed(in, 8);
    if (in->is_bad || magic != MAGIC) return refuse(file, "it is no state file, or its beginning is cut off", err);
    if (format != FORMAT)
        return refuse(file,
                      format > FORMAT ? "its format is newer than this program"
                                      : "its format is older than this "
                                        "program",
                      err);
    if (bytes != file->byte_count) return refuse(file, "it is cut off, or something stands behind it", err);
    if (sum != XXH3_64bits_withSeed(in->at, (size_t)(in->end - in->at), bytes))
        return refuse(file, "its checksum is wrong: it was changed, or only partly written", err);
    return MR_OK;
}

static mr_status model_read(struct mr_state_file *file, struct mr_wire *in, struct mr_err *err)
{
    struct mr_state_model *const model = &file->model[file->model_count];
    struct mr_state_commit *commit;
    struct mr_err why;
    size_t bytes;
    const char *const record = mr_wire_text(in, MR_STATE_RECORD_BYTES_MAX, &bytes);
    if (!record) return refuse(file, "a model's manifest is out of bounds", err);
    const mr_status status = mr_state_commit_decode(record, bytes, &commit, &why);
    if (status == MR_ENOMEM) return mr_fail(err, status, "state file \"%s\": %s", file->path, why.text);
    if (status) return refuse(file, why.text, err);
    *model = (struct mr_state_model){.commit = commit, .bytes = in->at};
    file->model_count++;
    if (commit->index || commit->model_bytes > (uint64_t)(in->end - in->at))
        return refuse(file, "a model's bytes are not there", err);
    in->at += commit->model_bytes;
    if (mr_state_checksum(model->bytes, (size_t)commit->model_bytes) != commit->model_checksum)
        return refuse(file, "a model's checksum is wrong", err);
    if (!positions_same(commit, file->model[0].commit)) return refuse(file, "its models have other positions", err);
    return MR_OK;
}

static mr_status file_parse(struct mr_state_file *file, const char *job, struct mr_err *err)
{
    struct mr_wire in;
    size_t job_bytes;
    mr_status status = header_check(file, &in, err);
    if (status) return status;
    const char *const found = mr_wire_text(&in, JOB_BYTES_MAX, &job_bytes);
    const uint64_t count = mr_wire_get_max(&in, MODEL_COUNT_MAX);
    if (in.is_bad || !count) return refuse(file, "its fields are out of bounds", err);
    if (job_bytes != strlen(job) || memcmp(found, job, job_bytes))
        return mr_fail(err, MR_EDATA,
                       "state file \"%s\" is of job \"%.*s\", this is job \"%.80s\": name another in state.file",
                       file->path, (int)(job_bytes < 80 ? job_bytes : 80), found, job);
    file->model = calloc((size_t)count, sizeof *file->model);
    if (!file->model) return mr_fail(err, MR_ENOMEM, "state file \"%s\": out of memory", file->path);
    for (uint64_t i = 0; i < count && !status; i++) status = model_read(file, &in, err);
    if (!status && in.at != in.end) status = refuse(file, "it has bytes behind its models", err);
    return status;
}

mr_status mr_state_file_read(const char *path, const char *job, bool *is_missing_out, struct mr_state_file **file_out,
                             struct mr_err *err)
{
    struct mr_state_file *const file = calloc(1, sizeof *file);
    bool is_missing = false;
    *file_out = NULL;
    if (file) file->path = strdup(path);
    mr_status status = file && file->path ? bytes_read(file, &is_missing, err)
                                          : mr_fail(err, MR_ENOMEM, "state file \"%s\": out of memory", path);
    if (!status) status = file_parse(file, job, err);
    if (is_missing_out) *is_missing_out = is_missing;
    if (status) {
        mr_state_file_close(file);
        return status;
    }
    *file_out = file;
    return MR_OK;
}

const struct mr_state_model *mr_state_file_models(const struct mr_state_file *file, size_t *count_out)
{
    *count_out = file->model_count;
    return file->model;
}

mr_status mr_state_file_find(const struct mr_state_file *file, const char *name, const char *type, uint64_t schema_hash,
                             const struct mr_state_model **model_out, struct mr_err *err)
{
    *model_out = NULL;
    for (size_t i = 0; i < file->model_count; i++) {
        const struct mr_state_commit *const commit = file->model[i].commit;
        if (strcmp(commit->model, name)) continue;
        if (strcmp(commit->type, type))
            return mr_fail(err, MR_EDATA,
                           "state file \"%s\": \"%s\" is a %.60s there, the job says %s: put the type back, or "
                           "name another in state.file",
                           file->path, name, commit->type, type);
        if (schema_hash && schema_hash != commit->schema_hash)
            return mr_fail(
                err, MR_EDATA,
                "state file \"%s\": \"%s\" has other features, labels or outputs there than in the job: put the "
                "job's record section back, or name another in state.file",
                file->path, name);
        *model_out = &file->model[i];
        return MR_OK;
    }
    return mr_fail(err, MR_EDATA, "state file \"%s\": there is no model \"%s\" in it: name another in state.file",
                   file->path, name);
}
