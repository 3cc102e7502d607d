/* Files that followers write: what the output topic holds up to their mark, each record once, in the order of its
 * partition. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/options.h"
#include "config/followed.h"
#include "sink/file/mark.h"
#include "sink/file/rotated.h"
#include "verify/inside.h"

#define CHUNK  4096  /* offsets, or lines, read at once */
#define WINDOW 16384 /* records that topic and file may be apart, to begin with */

/* A line that stands behind a later record of its partition. */
struct late {
    long long line;
    int32_t partition;
    int64_t offset;
};

/* A file that is being compared. */
struct compared {
    struct mr_verify *verify;
    size_t sink;
    const char *path;
    bool is_csv;
    const struct mr_file_mark *all; /* what all files of the sink hold, for what they leave out; NULL: not asked here */
    uint64_t wrong;                 /* findings before it was looked at */
    struct mr_file_mark mark;
    FILE *file;
    char *line; /* as getline() wants it */
    size_t line_cap;
    int64_t bytes, line_number; /* read so far */
    size_t *range;              /* [part_count]: the one that is being read; count of the mark: none is left */
    int64_t *next;              /* [part_count] */
    uint32_t part_count;
    size_t window;
    struct mr_match *match;
    struct late late[MR_FINDINGS_SHOWN]; /* the first of them: told at the end, unless records turn out to be alike */
    uint64_t late_count;
};

static void fault_tell(void *context, mr_match_fault fault, const struct mr_match_place *expected,
                       const struct mr_match_place *actual)
{
    struct compared *const file = context;
    struct mr_proof *const proof = file->verify->proof;
    const char *const topic = file->mark.topic;
    const struct mr_match_place *const shown = actual ? actual : expected;
    const int bytes = shown->value_bytes < 120 ? (int)shown->value_bytes : 120;
    const char *const value = shown->value ? shown->value : "";
    const long long line = actual ? (long long)actual->offset : 0;
    assert(expected || fault == MR_MATCH_DUPLICATED || fault == MR_MATCH_FOREIGN);
    switch (fault) {
    case MR_MATCH_MISSING:
        mr_proof_found(proof, MR_FOUND_MISSING, topic, (int32_t)expected->source, expected->offset,
                       "it is not in file \"%s\": %.*s", file->path, bytes, value);
        return;
    case MR_MATCH_DUPLICATED:
        mr_proof_found(proof, MR_FOUND_DUPLICATED, file->path, -1, -1, "line %lld stands there before: %.*s", line,
                       bytes, value);
        return;
    case MR_MATCH_FOREIGN:
        mr_proof_found(proof, MR_FOUND_FOREIGN, file->path, -1, -1, "line %lld is not in topic \"%s\": %.*s", line,
                       topic, bytes, value);
        return;
    case MR_MATCH_REORDERED:
        if (file->late_count < MR_FINDINGS_SHOWN)
            file->late[file->late_count] = (struct late){line, (int32_t)expected->source, expected->offset};
        file->late_count++;
        return;
    case MR_MATCH_DIFFERENT:
        mr_proof_found(proof, MR_FOUND_DIFFERENT, file->path, -1, -1,
                       "line %lld stands in the place of %s[%d] offset %lld: %.*s", line, topic, (int)expected->source,
                       (long long)expected->offset, bytes, value);
    }
}

static void late_tell(const struct compared *file)
{
    for (uint64_t i = 0; i < file->late_count; i++) {
        const struct late *const late = &file->late[i < MR_FINDINGS_SHOWN ? i : MR_FINDINGS_SHOWN - 1];
        mr_proof_found(file->verify->proof, MR_FOUND_REORDERED, file->path, -1, -1,
                       "line %lld, of %s[%d] offset %lld, stands behind a later record of its partition", late->line,
                       file->mark.topic, (int)late->partition, (long long)late->offset);
    }
}

/* The next range of a partition, behind the one at `from`. */
static void range_next(struct compared *file, uint32_t partition, size_t from)
{
    while (from < file->mark.count && file->mark.range[from].partition != (int32_t)partition) from++;
    file->range[partition] = from;
    if (from < file->mark.count) file->next[partition] = file->mark.range[from].first;
}

/* What the sink makes of a value: a line, or several where records were joined so. */
static mr_status record_expect(struct compared *file, struct mr_match_record *want, char *value, size_t bytes,
                               struct mr_err *err)
{
    const bool is_lines = file->verify->job->emit.framing == MR_EMIT_LINES && bytes && *value != '[';
    char *at = value, *const end = value + bytes;
    mr_status status = MR_OK;
    while (!is_lines && (at = memchr(at, '\n', (size_t)(end - at)))) *at = ' ';
    for (at = value; !status; at += want->value_bytes + 1) {
        const char *const stop = is_lines ? memchr(at, '\n', (size_t)(end - at)) : NULL;
        want->value = at;
        want->value_bytes = (size_t)((stop ? stop : end) - at);
        status = mr_match_expect(file->match, want, err);
        if (!stop) break;
    }
    return status;
}

static mr_status message_expect(struct compared *file, const struct mr_message *message, struct mr_err *err)
{
    struct mr_match_record want = {
        .source = (uint32_t)message->partition, .partition = 0, .offset = message->offset, .is_placed = true};
    const char *const value = message->value ? message->value : "null";
    const size_t bytes = message->value ? message->value_bytes : strlen("null");
    char *const copy = malloc(bytes + 1);
    if (!copy) return mr_fail(err, MR_ENOMEM, "out of memory");
    memcpy(copy, value, bytes);
    const mr_status status = record_expect(file, &want, copy, bytes, err);
    free(copy);
    return status;
}

/* Reads on in a partition of the topic, unless the file is behind with it. */
static mr_status topic_read(struct compared *file, uint32_t partition, bool *has_read, struct mr_err *err)
{
    struct mr_verify *const verify = file->verify;
    if (file->range[partition] == file->mark.count || mr_match_open_count(file->match, partition) >= file->window)
        return MR_OK;
    const struct mr_file_range *const range = &file->mark.range[file->range[partition]];
    const int64_t first = file->next[partition], end = first + CHUNK < range->next ? first + CHUNK : range->next;
    mr_status status =
        mr_range_read(verify->writer, file->mark.topic, (int32_t)partition, first, end, &verify->written, err);
    for (size_t i = 0; i < verify->written.count && !status; i++)
        status = message_expect(file, &verify->written.message[i], err);
    mr_message_list_clear(&verify->written);
    file->next[partition] = end;
    if (end == range->next) range_next(file, partition, file->range[partition] + 1);
    *has_read = true;
    return status;
}

static mr_status lines_read(struct compared *file, bool is_all, bool *has_read, struct mr_err *err)
{
    mr_status status = MR_OK;
    for (size_t i = 0; i < CHUNK && !status && file->bytes < file->mark.bytes; i++) {
        if (!is_all && (!mr_match_wanted(file->match, 0) || mr_match_waiting(file->match, 0) >= file->window)) break;
        ssize_t count = getline(&file->line, &file->line_cap, file->file);
        if (count <= 0) break; /* shorter than its mark: told */
        file->bytes += count;
        if (file->line[count - 1] == '\n') count--;
        const struct mr_match_record got = {.value = file->line,
                                            .value_bytes = (size_t)count,
                                            .partition = 0,
                                            .offset = ++file->line_number,
                                            .is_placed = true};
        status = mr_match_actual(file->match, &got, err);
        *has_read = true;
    }
    return status;
}

/* Whether the topic still has what the file is to be held against. */
static mr_status topic_check(struct compared *file, bool *is_there, struct mr_err *err)
{
    struct mr_verify *const verify = file->verify;
    struct mr_look_parts parts = {0};
    mr_status status = mr_look_topic(&verify->look, file->mark.topic, &parts, err);
    if (!status) status = mr_look_bounds(&verify->look, &parts, err);
    *is_there = !status;
    for (size_t i = 0; i < file->mark.count && !status; i++) {
        const struct mr_file_range *const range = &file->mark.range[i];
        const struct mr_look_part *const part =
            (size_t)range->partition < parts.count ? &parts.part[range->partition] : NULL;
        if (range->first == range->next) continue;
        if (!part || part->end < range->next) {
            mr_proof_found(verify->proof, MR_FOUND_AHEAD, file->mark.topic, range->partition, range->next,
                           "file \"%s\" has records before that offset, the topic has not", file->path);
            *is_there = false;
        } else if (part->low > range->first) {
            verify->proof->missing = MR_EINPUT;
            mr_proof_note(verify->proof, "file \"%s\": records of %s[%d] before offset %lld are no longer in the topic",
                          file->path, file->mark.topic, (int)range->partition, (long long)part->low);
            *is_there = false;
        }
    }
    if (!status && *is_there && file->all)
        status = mr_verify_covered(verify, file->sink, file->path, file->all, &parts, err);
    mr_look_parts_deinit(&parts);
    return status;
}

/* Opens the file, which must be as long as its mark says. */
static mr_status length_check(struct compared *file, struct mr_err *err)
{
    struct mr_proof *const proof = file->verify->proof;
    struct stat info;
    file->file = fopen(file->path, "rbe");
    if (!file->file || fstat(fileno(file->file), &info))
        return mr_fail(err, MR_EIO, "file \"%s\": %s", file->path, strerror(errno));
    if (info.st_size < file->mark.bytes)
        mr_proof_found(proof, MR_FOUND_MISSING, file->path, -1, -1,
                       "it has %lld bytes, and had %lld when it was marked", (long long)info.st_size,
                       (long long)file->mark.bytes);
    if (file->is_csv)
        mr_proof_note(
            proof,
            "file \"%s\": its rows are not held against topic \"%s\", because it is CSV: its length and which "
            "records it has, by its .offsets, are all that is checked",
            file->path, file->mark.topic);
    return MR_OK;
}

static mr_status compare(struct compared *file, struct mr_err *err)
{
    struct mr_proof *const proof = file->verify->proof;
    bool has_read = true, is_left = true;
    mr_status status = MR_OK;
    while (is_left && !status) {
        has_read = is_left = false;
        for (uint32_t p = 0; p < file->part_count && !status; p++) {
            status = topic_read(file, p, &has_read, err);
            is_left |= file->range[p] < file->mark.count;
        }
        if (!status) status = lines_read(file, false, &has_read, err);
        if (!has_read) file->window *= 2; /* partitions were answered far apart */
    }
    for (has_read = true; has_read && !status;) {
        has_read = false;
        status = lines_read(file, true, &has_read, err);
    }
    if (status) return status;
    mr_match_end(file->match);
    const bool is_ambiguous = mr_match_is_ambiguous(file->match);
    if (is_ambiguous)
        mr_proof_note(proof, "file \"%s\": records of several partitions are alike, so their order is not judged",
                      file->path);
    else
        late_tell(file);
    if (proof->total == file->wrong)
        mr_proof_fact(proof, "file \"%s\": %llu lines, each once, %s topic \"%s\"", file->path,
                      (unsigned long long)mr_match_count(file->match),
                      is_ambiguous ? "as they are in" : "in the order of", file->mark.topic);
    return MR_OK;
}

static mr_status file_prove(struct compared *file, struct mr_err *err)
{
    bool is_there;
    for (size_t i = 0; i < file->mark.count; i++)
        if ((uint32_t)file->mark.range[i].partition >= file->part_count)
            file->part_count = (uint32_t)file->mark.range[i].partition + 1;
    const struct mr_match_open open = {
        .source_count = file->part_count, .partition_count = 1, .fault = fault_tell, .context = file};
    mr_status status = topic_check(file, &is_there, err);
    if (status || !is_there) return status;
    status = length_check(file, err);
    if (status || file->is_csv) return status;
    file->range = calloc(file->part_count + 1, sizeof *file->range);
    file->next = calloc(file->part_count + 1, sizeof *file->next);
    if (!file->range || !file->next) return mr_fail(err, MR_ENOMEM, "out of memory");
    for (uint32_t p = 0; p < file->part_count; p++) range_next(file, p, 0);
    status = mr_match_create(&open, &file->match, err);
    return status ? status : compare(file, err);
}

/* Adds what a file holds; false: no memory. */
static bool all_add(struct mr_file_mark *all, const struct compared *file)
{
    snprintf(all->topic, sizeof all->topic, "%s", file->mark.topic);
    all->file = file->mark.file;
    for (size_t i = 0; i < file->mark.count; i++) {
        const struct mr_file_range *const range = &file->mark.range[i];
        const int64_t next = mr_file_mark_next(all, range->partition);
        if (range->first < next && range->first < range->next)
            mr_proof_found(
                file->verify->proof, MR_FOUND_DUPLICATED, file->path, -1, -1,
                "by its .offsets it has records of %s[%d] from offset %lld on, and an earlier file those before "
                "%lld",
                file->mark.topic, (int)range->partition, (long long)range->first, (long long)next);
        if (!mr_file_mark_begin(all, range->partition, range->first > next ? range->first : next)) return false;
        mr_file_mark_advance(all, range->partition, range->next);
    }
    return true;
}

/* A file, if it has a mark, behind those that the sink has left before it. */
static mr_status one_prove(struct mr_verify *verify, size_t sink, const char *path, bool is_last,
                           struct mr_file_mark *all, struct mr_err *err)
{
    const struct mr_job_sink *const of = &verify->job->sink[sink];
    const char *const topic = mr_job_followed_topic(verify->job);
    const int *const format = mr_option_value(of->ops->options, of->options, "format", MR_OPT_ENUM);
    struct compared file = {.verify = verify,
                            .sink = sink,
                            .path = path,
                            .is_csv = format && *format != 0,
                            .all = is_last ? all : NULL,
                            .wrong = verify->proof->total,
                            .window = WINDOW};
    mr_status status = mr_file_mark_read(path, &file.mark, err);
    if (status == MR_EINPUT) {
        mr_proof_note(verify->proof, "sinks[%zu]: \"%s\" has no .offsets: what it holds is not known", sink, path);
        return MR_OK;
    }
    if (!status && strcmp(file.mark.topic, topic) != 0)
        status = mr_fail(err, MR_EDATA, "sinks[%zu]: \"%s\" holds records of topic \"%s\", not of \"%s\"", sink, path,
                         file.mark.topic, topic);
    if (!status && !all_add(all, &file)) status = mr_fail(err, MR_ENOMEM, "out of memory");
    if (!status) status = file_prove(&file, err);
    mr_match_destroy(file.match);
    mr_file_mark_deinit(&file.mark);
    if (file.file) fclose(file.file);
    free(file.line);
    free(file.range);
    free(file.next);
    return status;
}

/* The files of a sink: those that it has rotated, the oldest first, then the one that it writes. */
static mr_status sink_prove(struct mr_verify *verify, size_t sink, const char *path, struct mr_err *err)
{
    struct mr_file_mark all = {0};
    uint64_t *numbers;
    size_t count;
    mr_status status = mr_file_rotated(path, &numbers, &count, err);
    char *const name = malloc(MR_FILE_ROTATED_BYTES(strlen(path)));
    if (!status && !name) status = mr_fail(err, MR_ENOMEM, "out of memory");
    for (size_t i = 0; i < count && !status; i++) {
        mr_file_rotated_name(path, numbers[i], name);
        status = one_prove(verify, sink, name, false, &all, err);
    }
    if (!status) status = one_prove(verify, sink, path, true, &all, err);
    mr_file_mark_deinit(&all);
    free(numbers);
    free(name);
    return status;
}

mr_status mr_verify_followed(struct mr_verify *verify, struct mr_err *err)
{
    const struct mr_job *const job = verify->job;
    mr_status status = MR_OK;
    for (size_t i = 0; i < job->sink_count && !status; i++) {
        if (!mr_job_sink_is_followed(job, i)) continue;
        char *const *const path =
            mr_option_value(job->sink[i].ops->options, job->sink[i].options, "path", MR_OPT_STRING);
        if (job->sink[i].ops->mark && path && *path)
            status = sink_prove(verify, i, *path, err);
        else
            mr_proof_note(verify->proof, "sinks[%zu]: what went to \"%s\" can not be read again", i,
                          job->sink[i].ops->name);
    }
    return status;
}
