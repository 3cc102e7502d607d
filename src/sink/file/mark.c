#include "sink/file/mark.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/durable.h"

#define SUFFIX          ".offsets"
#define HEAD            "millrace-offsets "
#define FORMAT          1
#define CHECKSUM_BYTES  26 /* "checksum ", 16 digits, a line break */
#define BYTES_MAX       (256 << 20)
#define RANGE_COUNT_CAP 16

void mr_file_mark_deinit(struct mr_file_mark *mark)
{
    free(mark->range);
    mr_part_free(&mark->last);
    *mark = (struct mr_file_mark){0};
}

int64_t mr_file_mark_next(const struct mr_file_mark *mark, int32_t partition)
{
    const uint32_t at = mr_part_get(&mark->last, 0, partition);
    return at == MR_PART_NONE ? -1 : mark->range[at].next;
}

bool mr_file_mark_begin(struct mr_file_mark *mark, int32_t partition, int64_t first)
{
    if (mr_file_mark_next(mark, partition) == first) return true;
    if (mark->count == mark->cap) {
        const size_t cap = mark->cap ? 2 * mark->cap : RANGE_COUNT_CAP;
        struct mr_file_range *const grown = realloc(mark->range, cap * sizeof *grown);
        if (!grown) return false;
        mark->range = grown;
        mark->cap = cap;
    }
    if (!mr_part_set(&mark->last, 0, partition, (uint32_t)mark->count)) return false;
    mark->range[mark->count++] = (struct mr_file_range){partition, first, first};
    return true;
}

void mr_file_mark_advance(struct mr_file_mark *mark, int32_t partition, int64_t next)
{
    const uint32_t at = mr_part_get(&mark->last, 0, partition);
    assert(at != MR_PART_NONE);
    if (mark->range[at].next < next) mark->range[at].next = next;
}

void mr_file_mark_restart(struct mr_file_mark *mark)
{
    size_t kept = 0;
    for (size_t i = 0; i < mark->count; i++) {
        const struct mr_file_range range = mark->range[i];
        if (mr_part_get(&mark->last, 0, range.partition) != i) continue;
        mr_part_set(&mark->last, 0, range.partition, (uint32_t)kept); /* has its place: nothing can fail */
        mark->range[kept++] = (struct mr_file_range){range.partition, range.next, range.next};
    }
    mark->count = kept;
    mark->bytes = 0;
}

/* ---- writing ---- */

mr_status mr_file_mark_write(const char *path, const struct mr_file_mark *mark, struct mr_err *err)
{
    char *text = NULL, *name = NULL;
    size_t bytes = 0;
    FILE *const out = open_memstream(&text, &bytes);
    bool is_made = out;
    if (out) {
        fprintf(out, HEAD "%d\ntopic %s\nfile %016" PRIx64 "\nbytes %" PRId64 "\n", FORMAT, mark->topic, mark->file,
                mark->bytes);
        for (size_t i = 0; i < mark->count; i++)
            fprintf(out, "range %" PRId32 " %" PRId64 " %" PRId64 "\n", mark->range[i].partition, mark->range[i].first,
                    mark->range[i].next);
        fflush(out);
        if (text) fprintf(out, "checksum %016" PRIx64 "\n", (uint64_t)XXH3_64bits(text, bytes));
        is_made = !ferror(out);
        is_made = !fclose(out) && is_made && text;
    }
    mr_status status = is_made && asprintf(&name, "%s" SUFFIX, path) >= 0
                           ? MR_OK
                           : mr_fail(err, MR_ENOMEM, "file sink: \"%s\": out of memory", path);
    if (!status) status = mr_durable_write(name, &(struct iovec){text, bytes}, 1, err);
    free(name);
    free(text);
    return status;
}

/* ---- reading ---- */

static mr_status refuse(const char *path, const char *what, struct mr_err *err)
{
    return mr_fail(err, MR_EDATA,
                   "file sink: \"%s" SUFFIX "\": %s: nothing was changed; put back a copy of it and of the file that "
                   "belong together (what came since comes again), or move both away: then a new file begins where the "
                   "group was committed last",
                   path, what);
}

/* All bytes, with a 0 behind them. */
static mr_status text_read(const char *path, char **text_out, size_t *bytes_out, struct mr_err *err)
{
    struct stat info = {0};
    char *name = NULL;
    *text_out = NULL;
    *bytes_out = 0;
    if (asprintf(&name, "%s" SUFFIX, path) < 0)
        return mr_fail(err, MR_ENOMEM, "file sink: \"%s\": out of memory", path);
    const int fd = open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    int error = fd < 0 || fstat(fd, &info) ? errno : 0;
    if (!error && (!S_ISREG(info.st_mode) || info.st_size > BYTES_MAX)) error = EINVAL;
    if (!error && !(*text_out = malloc((size_t)info.st_size + 1))) error = ENOMEM;
    while (!error && *bytes_out < (size_t)info.st_size) {
        const ssize_t got = read(fd, *text_out + *bytes_out, (size_t)info.st_size - *bytes_out);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) error = errno;
        if (got <= 0) break; /* shorter than it was: its checksum is not there */
        *bytes_out += (size_t)got;
    }
    if (fd >= 0) close(fd);
    free(name);
    if (!error) {
        (*text_out)[*bytes_out] = 0;
        return MR_OK;
    }
    free(*text_out);
    *text_out = NULL;
    return error == EINVAL ? refuse(path, "no file, or far too large", err)
                           : mr_fail(err,
                                     error == ENOENT   ? MR_EINPUT
                                     : error == ENOMEM ? MR_ENOMEM
                                                       : MR_EIO,
                                     "file sink: \"%s" SUFFIX "\": %s", path, strerror(error));
}

/* Takes a decimal that ends with `stop`. False for anything else. */
static bool number_take(const char **at, char stop, int64_t max, int64_t *out)
{
    char *end;
    if (**at < '0' || **at > '9') return false;
    errno = 0;
    *out = strtoll(*at, &end, 10);
    if (errno || *out > max || *end != stop) return false;
    *at = end + 1;
    return true;
}

/* Takes 16 digits and the line break behind them. */
static bool hex_take(const char **at, uint64_t *out)
{
    if (strspn(*at, "0123456789abcdef") != 16 || (*at)[16] != '\n') return false;
    *out = strtoull(*at, NULL, 16);
    *at += 17;
    return true;
}

static bool word_take(const char **at, const char *word)
{
    const size_t bytes = strlen(word);
    if (strncmp(*at, word, bytes) != 0) return false;
    *at += bytes;
    return true;
}

/* What is wrong with the lines of a text whose checksum is right; NULL: nothing. */
static const char *lines_parse(const char *text, struct mr_file_mark *mark)
{
    const char *at = text;
    int64_t format, partition, first, next;
    if (!word_take(&at, HEAD)) return "it is no mark of a file";
    if (!number_take(&at, '\n', INT32_MAX, &format)) return "its first line is not understood";
    if (format != FORMAT) return format > FORMAT ? "its format is newer than this program" : "its format is unknown";
    if (!word_take(&at, "topic ")) return "it names no topic";
    const size_t bytes = strcspn(at, "\n");
    if (!bytes || bytes >= sizeof mark->topic) return "it names no topic";
    memcpy(mark->topic, at, bytes);
    at += bytes + 1;
    if (!word_take(&at, "file ") || !hex_take(&at, &mark->file)) return "it has no name of the file";
    if (!word_take(&at, "bytes ") || !number_take(&at, '\n', INT64_MAX, &mark->bytes)) return "it has no length";
    while (word_take(&at, "range ")) {
        if (!number_take(&at, ' ', INT32_MAX, &partition) || !number_take(&at, ' ', INT64_MAX, &first) ||
            !number_take(&at, '\n', INT64_MAX, &next) || next < first ||
            first < mr_file_mark_next(mark, (int32_t)partition))
            return "a range is out of bounds";
        if (!mr_file_mark_begin(mark, (int32_t)partition, first)) return "";
        mr_file_mark_advance(mark, (int32_t)partition, next);
    }
    return *at ? "a line is not understood" : NULL;
}

mr_status mr_file_mark_read(const char *path, struct mr_file_mark *mark_out, struct mr_err *err)
{
    char *text, sum[CHECKSUM_BYTES + 1];
    size_t bytes;
    *mark_out = (struct mr_file_mark){0};
    mr_status status = text_read(path, &text, &bytes, err);
    if (status) return status;
    if (bytes < CHECKSUM_BYTES || strlen(text) != bytes) {
        status = refuse(path, "it is cut off", err);
    } else {
        char *const end = text + bytes - CHECKSUM_BYTES;
        snprintf(sum, sizeof sum, "checksum %016" PRIx64 "\n", (uint64_t)XXH3_64bits(text, (size_t)(end - text)));
        if (strcmp(end, sum) != 0) {
            status = refuse(path, "its checksum is wrong: it was changed, or is cut off", err);
        } else {
            *end = 0;
            const char *const what = lines_parse(text, mark_out);
            if (what)
                status = *what ? refuse(path, what, err)
                               : mr_fail(err, MR_ENOMEM, "file sink: \"%s" SUFFIX "\": out of memory", path);
        }
    }
    if (status) mr_file_mark_deinit(mark_out);
    free(text);
    return status;
}
