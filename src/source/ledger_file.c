/* The lines of a ledger: one for a file each time that a commit has moved on in it, the last of them counts. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/durable.h"
#include "base/json_text.h"
#include "base/log.h"
#include "source/ledger_inside.h"

#define TITLE         "millrace positions 1"
#define NUMBERS_BYTES 320 /* of the numbers of a line */
#define CHECK_BYTES   18  /* "\t" and 16 digits and "\n" */
/* first, next, done; begin: byte, line; mark: record, byte, line; device, inode, size, mtime, born; head: bytes, hash
 */
#define LINE_FORMAT                                                                                                    \
    "%" PRId64 "\t%" PRId64 "\t%d\t%" PRIu64 "\t%" PRIu64 "\t%" PRId64 "\t%" PRIu64 "\t%" PRIu64 "\t%" PRIu64          \
    "\t%" PRIu64 "\t%" PRIu64 "\t%" PRId64 "\t%" PRId64 "\t%" PRIu64 "\t%016" PRIx64 "\t"
#define SCAN_FORMAT                                                                                                    \
    "%" SCNd64 "\t%" SCNd64 "\t%d\t%" SCNu64 "\t%" SCNu64 "\t%" SCNd64 "\t%" SCNu64 "\t%" SCNu64 "\t%" SCNu64          \
    "\t%" SCNu64 "\t%" SCNu64 "\t%" SCNd64 "\t%" SCNd64 "\t%" SCNu64 "\t%" SCNx64 "\t%n"

static mr_status file_fail(const struct mr_ledger *ledger, const char *step, struct mr_err *err)
{
    const int error = errno;
    return mr_fail(err, MR_EIO,
                   "%s source: %s its positions, \"%s\": %s; name another file with source.positions, or \"none\"",
                   ledger->type, step, ledger->path, strerror(error));
}

/* ---- writing ---- */

static bool text_reserve(struct mr_ledger *ledger, size_t more)
{
    if (ledger->text_cap - ledger->text_bytes >= more) return true;
    const size_t cap = 2 * ledger->text_cap + more;
    char *const grown = realloc(ledger->text, cap);
    if (!grown) return false;
    ledger->text = grown;
    ledger->text_cap = cap;
    return true;
}

/* Ends the line that begins at `first` with the hash of its bytes. */
static void line_end(struct mr_ledger *ledger, size_t first)
{
    const uint64_t check = XXH3_64bits(ledger->text + first, ledger->text_bytes - first);
    ledger->text_bytes += (size_t)sprintf(ledger->text + ledger->text_bytes, "\t%016" PRIx64 "\n", check);
}

mr_status mr_ledger_line_put(struct mr_ledger *ledger, const struct mr_file *file, struct mr_err *err)
{
    const size_t first = ledger->text_bytes, name_bytes = strlen(file->name);
    const struct mr_file_id *const id = &file->id;
    if (!text_reserve(ledger, NUMBERS_BYTES + MR_JSON_ESCAPE_MAX * name_bytes + MR_JSON_QUOTES + CHECK_BYTES + 1))
        return mr_fail(err, MR_ENOMEM, "%s source: no memory for its positions", ledger->type);
    char *const out = ledger->text + first;
    size_t used = (size_t)sprintf(out, LINE_FORMAT, file->first, file->next, file->state == MR_FILE_DONE,
                                  file->begin_byte, file->begin_line, file->mark, file->byte, file->line, id->device,
                                  id->inode, id->size, id->mtime_ns, id->born_ns, id->head_bytes, id->head);
    used += mr_json_quote(file->name, name_bytes, out + used);
    ledger->text_bytes += used;
    line_end(ledger, first);
    ledger->line_count++;
    return MR_OK;
}

mr_status mr_ledger_sync(struct mr_ledger *ledger, struct mr_err *err)
{
    size_t done = 0;
    while (done < ledger->text_bytes) {
        const ssize_t count = write(ledger->fd, ledger->text + done, ledger->text_bytes - done);
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) return file_fail(ledger, "writing", err);
        done += (size_t)count;
    }
    ledger->text_bytes = 0;
    return fdatasync(ledger->fd) ? file_fail(ledger, "syncing", err) : MR_OK;
}

/* One writer: two runs of a job would read everything twice. */
static mr_status file_own(struct mr_ledger *ledger, struct mr_err *err)
{
    if (!flock(ledger->fd, LOCK_EX | LOCK_NB)) return MR_OK;
    if (errno != EWOULDBLOCK) return file_fail(ledger, "locking", err);
    return mr_fail(
        err, MR_EINPUT,
        "%s source: its positions, \"%s\", are used by another run of job \"%s\": end that one, or give this "
        "one another source.positions",
        ledger->type, ledger->path, ledger->job);
}

static mr_status file_attach(struct mr_ledger *ledger, struct mr_err *err)
{
    if (ledger->fd >= 0) close(ledger->fd);
    ledger->fd = open(ledger->path, O_RDWR | O_APPEND | O_CLOEXEC);
    if (ledger->fd < 0) return file_fail(ledger, "opening", err);
    return file_own(ledger, err);
}

static mr_status title_put(struct mr_ledger *ledger, struct mr_err *err)
{
    const size_t job_bytes = strlen(ledger->job);
    if (!text_reserve(ledger, NUMBERS_BYTES + strlen(ledger->type) + MR_JSON_ESCAPE_MAX * job_bytes + CHECK_BYTES))
        return mr_fail(err, MR_ENOMEM, "%s source: no memory for its positions", ledger->type);
    char *const out = ledger->text;
    size_t used = (size_t)sprintf(out, TITLE "\t%s\t%" PRId64 "\t", ledger->type, ledger->next);
    used += mr_json_quote(ledger->job, job_bytes, out + used);
    ledger->text_bytes = used;
    line_end(ledger, 0);
    ledger->line_count = 1;
    return MR_OK;
}

/* Files that are done and gone are forgotten. */
static void gone_forget(struct mr_ledger *ledger)
{
    struct mr_file **at = &ledger->first;
    ledger->last = NULL;
    while (*at) {
        struct mr_file *const file = *at;
        if (file->state == MR_FILE_DONE && !file->is_there) {
            *at = file->by_order;
            mr_ledger_remove(ledger, file);
            continue;
        }
        ledger->last = file;
        at = &file->by_order;
    }
}

mr_status mr_ledger_rewrite(struct mr_ledger *ledger, struct mr_err *err)
{
    if (ledger->is_looked) gone_forget(ledger);
    mr_status status = title_put(ledger, err);
    for (const struct mr_file *file = ledger->first; file && !status; file = file->by_order) {
        const bool has_line = file->state == MR_FILE_DONE || (file->first < ledger->next && file == ledger->open);
        /* One that is read and not done goes on where it is committed. */
        const struct mr_file kept = file->state == MR_FILE_READ ? mr_ledger_part(ledger, file, ledger->next) : *file;
        if (has_line) status = mr_ledger_line_put(ledger, &kept, err);
    }
    if (status) return status;
    const struct iovec part = {ledger->text, ledger->text_bytes};
    status = mr_durable_write(ledger->path, &part, 1, err);
    ledger->text_bytes = 0;
    ledger->line_kept = ledger->line_count;
    return status ? status : file_attach(ledger, err);
}

/* ---- reading ---- */

static mr_status damage_fail(const struct mr_ledger *ledger, size_t line, const char *why, struct mr_err *err)
{
    return mr_fail(err, MR_EDATA,
                   "%s source: its positions, \"%s\", line %zu: %s: put back a whole one, or remove it: then "
                   "everything is read from the beginning",
                   ledger->type, ledger->path, line, why);
}

/* Whether a line, which ends before `end`, is as it was written; *body_end_out: where its hash begins. */
static bool line_is_whole(char *line, char *end, char **body_end_out)
{
    char check[CHECK_BYTES];
    if (end - line < CHECK_BYTES - 1) return false;
    char *const body_end = end - (CHECK_BYTES - 1);
    snprintf(check, sizeof check, "\t%016" PRIx64, (uint64_t)XXH3_64bits(line, (size_t)(body_end - line)));
    *body_end_out = body_end;
    return !memcmp(body_end, check, CHECK_BYTES - 1);
}

static mr_status title_read(struct mr_ledger *ledger, const char *line, const char *end, struct mr_err *err)
{
    char *const quoted = malloc(MR_JSON_ESCAPE_MAX * strlen(ledger->job) + MR_JSON_QUOTES + 1);
    char type[16];
    int64_t next;
    int at = 0;
    if (!quoted) return mr_fail(err, MR_ENOMEM, "out of memory");
    const size_t bytes = mr_json_quote(ledger->job, strlen(ledger->job), quoted);
    const bool is_title = sscanf(line, TITLE "\t%15[a-z]\t%" SCNd64 "\t%n", type, &next, &at) == 2 && at;
    const bool is_own = is_title && !strcmp(type, ledger->type) && (size_t)(end - line - at) == bytes &&
                        !memcmp(line + at, quoted, bytes);
    free(quoted);
    if (!is_title) return damage_fail(ledger, 1, "it is no file of positions", err);
    if (!is_own)
        return mr_fail(err, MR_EDATA,
                       "%s source: \"%s\" holds the positions of another job or source (%.*s): give this one its own "
                       "with source.positions",
                       ledger->type, ledger->path, (int)(end - line - at > 200 ? 200 : end - line - at), line + at);
    ledger->next = next;
    return MR_OK;
}

/* The file that the line is about: as the line before said, or another one that has its inode since. */
static struct mr_file *file_of(struct mr_ledger *ledger, const struct mr_file *read, const char *name, size_t bytes)
{
    struct mr_file *file = mr_ledger_find(ledger, &read->id);
    if (file && file->first == read->first) return file;
    char *const text = malloc(bytes + 1);
    if (!text) return NULL;
    text[mr_json_decode(name, name + bytes, text)] = '\0';
    file = mr_ledger_add(ledger, &read->id, text);
    free(text);
    if (!file) return NULL;
    file->is_there = false; /* until the source sees it */
    file->first = read->first;
    file->state = read->state;
    mr_ledger_order(ledger, file);
    return file;
}

static mr_status line_read(struct mr_ledger *ledger, const char *line, const char *end, size_t number,
                           struct mr_err *err)
{
    struct mr_file read = {0};
    int is_done = 0, at = 0;
    struct mr_file_id *const id = &read.id;
    if (sscanf(line, SCAN_FORMAT, &read.first, &read.next, &is_done, &read.begin_byte, &read.begin_line, &read.mark,
               &read.byte, &read.line, &id->device, &id->inode, &id->size, &id->mtime_ns, &id->born_ns, &id->head_bytes,
               &id->head, &at) != 15 ||
        end - line - at < MR_JSON_QUOTES)
        return damage_fail(ledger, number, "it cannot be read", err);
    read.state = is_done ? MR_FILE_DONE : MR_FILE_READING;
    struct mr_file *const file = file_of(ledger, &read, line + at + 1, (size_t)(end - line - at) - MR_JSON_QUOTES);
    if (!file) return mr_fail(err, MR_ENOMEM, "%s source: no memory for its positions", ledger->type);
    file->id = read.id;
    file->begin_byte = read.begin_byte;
    file->begin_line = read.begin_line;
    file->next = read.next;
    file->mark = read.mark;
    file->byte = read.byte;
    file->line = read.line;
    file->state = read.state;
    mr_ledger_mark_put(ledger, &(struct mr_ledger_mark){file, read.mark, read.byte, read.line});
    if (file->state == MR_FILE_DONE && ledger->open == file) ledger->open = NULL;
    if (file->state != MR_FILE_DONE) ledger->open = file;
    if (read.next > ledger->next) ledger->next = read.next;
    return MR_OK;
}

/* A line that is not whole may only be the last: what a crash has left of a commit that never was. */
static mr_status lines_read(struct mr_ledger *ledger, char *text, size_t bytes, size_t *whole_out, struct mr_err *err)
{
    char *const end = text + bytes;
    mr_status status = MR_OK;
    *whole_out = 0;
    for (char *line = text; line < end && !status;) {
        char *const newline = memchr(line, '\n', (size_t)(end - line)), *body_end;
        if (!newline) break;
        if (!line_is_whole(line, newline, &body_end)) {
            if (newline + 1 == end && ledger->line_count) break;
            return damage_fail(ledger, ledger->line_count + 1, "it is damaged", err);
        }
        *body_end = '\0'; /* the numbers are scanned */
        status = ledger->line_count ? line_read(ledger, line, body_end, ledger->line_count + 1, err)
                                    : title_read(ledger, line, body_end, err);
        ledger->line_count++;
        line = newline + 1;
        *whole_out = (size_t)(line - text);
    }
    return status;
}

static mr_status text_read(struct mr_ledger *ledger, char **text_out, size_t *bytes_out, struct mr_err *err)
{
    struct stat info;
    size_t used = 0;
    ssize_t count = 1;
    if (fstat(ledger->fd, &info)) return file_fail(ledger, "reading", err);
    char *const text = malloc((size_t)info.st_size + 1);
    if (!text) return mr_fail(err, MR_ENOMEM, "%s source: no memory for its positions", ledger->type);
    while (used < (size_t)info.st_size && count > 0) {
        count = pread(ledger->fd, text + used, (size_t)info.st_size - used, (off_t)used);
        if (count > 0) used += (size_t)count;
    }
    text[used] = '\0';
    *text_out = text;
    *bytes_out = used;
    return count < 0 ? file_fail(ledger, "reading", err) : MR_OK;
}

mr_status mr_ledger_read(struct mr_ledger *ledger, struct mr_err *err)
{
    char *text = NULL;
    size_t bytes = 0, whole = 0;
    ledger->fd = open(ledger->path, O_RDWR | O_APPEND | O_CLOEXEC);
    if (ledger->fd < 0 && errno == ENOENT) return mr_ledger_rewrite(ledger, err);
    if (ledger->fd < 0) return file_fail(ledger, "opening", err);
    mr_status status = file_own(ledger, err);
    if (!status) status = text_read(ledger, &text, &bytes, err);
    if (!status && !bytes) status = mr_ledger_rewrite(ledger, err);
    if (!status && bytes) status = lines_read(ledger, text, bytes, &whole, err);
    if (!status && whole < bytes) {
        mr_log(MR_LOG_WARN, ledger->type, "%s: its last line was cut off: what it would have said comes again",
               ledger->path);
        if (ftruncate(ledger->fd, (off_t)whole)) status = file_fail(ledger, "cutting off", err);
    }
    ledger->line_kept = ledger->file_count;
    ledger->is_new = ledger->line_count <= 1 && !ledger->next;
    free(text);
    return status;
}
