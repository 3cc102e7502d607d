#include "sink/remote/spill.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/log.h"

#define MAGIC             0x4c4c5053u /* "SPLL" */
#define SEGMENT_BYTES_MAX (8u << 20)
#define SEGMENT_BYTES_MIN (64u << 10)
#define WRITE_BYTES       (256u << 10)
#define CHUNK_BYTES       (256u << 10)
#define ARENA_BYTES       (8u << 20) /* records that are read and not done with */
#define FRAME_BYTES_MAX   (1u << 30)
#define TOPIC_BYTES_MAX   255
#define NUMBER_FIRST      10000000u /* of a first segment: there is room before it */

/* A record in a file: this, the topic, the value. In the byte order of the machine: nobody else reads it. */
struct frame {
    uint32_t magic;
    uint32_t bytes; /* of all */
    uint64_t check; /* XXH3 of what follows this member */
    int64_t offset, event_ms;
    uint32_t row, value_bytes;
    int32_t partition;
    uint16_t topic_bytes;
    uint16_t is_null;
};
#define CHECKED_FROM offsetof(struct frame, offset)

struct segment {
    unsigned lane, number;
    uint64_t bytes;
};

struct place {
    size_t segment;
    uint64_t byte;
};

struct mr_spill {
    char *folder, *name;
    const char *what;
    unsigned lane;
    uint64_t bytes_max, segment_bytes_max;
    int lock_fd;
    struct segment *segment; /* [count], oldest first */
    size_t count, cap;
    int write_fd; /* of segment write_at; -1: none is being written */
    size_t write_at;
    char *out; /* [out_used], not written yet; counted in the segment's bytes */
    size_t out_used;
    size_t lost;             /* records that were added and could not be written; nobody was told yet */
    uint64_t done_bytes;     /* of the oldest segment: delivered */
    struct place next, last; /* what is read next; what was read last */
    int read_fd;             /* of segment next.segment, read_of */
    size_t read_of;
    char *chunk; /* [chunk_bytes] of it, from chunk_first on */
    uint64_t chunk_first;
    size_t chunk_bytes, chunk_cap;
    char *arena;
    size_t arena_used, arena_last;
};

static void path_of(const struct mr_spill *spill, const struct segment *segment, char path[PATH_MAX])
{
    snprintf(path, PATH_MAX, "%s/%s-%u-%08u.spill", spill->folder, spill->name, segment->lane, segment->number);
}

static mr_status spill_fail(const struct mr_spill *spill, const char *step, int error, struct mr_err *err)
{
    return mr_fail(err, MR_EIO, "%s: %s in folder \"%s\" for overflow: %s%s", spill->what, step, spill->folder,
                   strerror(error),
                   error == EACCES || error == EPERM    ? "; give this user the right to write there"
                   : error == ENOSPC || error == EDQUOT ? "; make room there, or name another folder"
                                                        : "");
}

/* ---- opening ---- */

static bool segment_add(struct mr_spill *spill, const struct segment *segment)
{
    if (spill->count == spill->cap) {
        const size_t cap = spill->cap * 2 + 16;
        struct segment *const grown = realloc(spill->segment, cap * sizeof *grown);
        if (!grown) return false;
        spill->segment = grown;
        spill->cap = cap;
    }
    spill->segment[spill->count++] = *segment;
    return true;
}

static int segment_compare(const void *left, const void *right)
{
    const struct segment *const a = left, *const b = right;
    if (a->number != b->number) return a->number < b->number ? -1 : 1;
    return a->lane < b->lane ? -1 : a->lane > b->lane;
}

/* What earlier runs left: of this lane, and of lanes that there are no more. */
static mr_status segments_find(struct mr_spill *spill, unsigned lane_count, struct mr_err *err)
{
    const size_t name_bytes = strlen(spill->name);
    DIR *const folder = opendir(spill->folder);
    mr_status status = folder ? MR_OK : spill_fail(spill, "looking", errno, err);
    for (const struct dirent *entry; folder && !status && (entry = readdir(folder));) {
        struct segment segment = {0};
        struct stat info;
        char path[PATH_MAX];
        int end = 0;
        if (strncmp(entry->d_name, spill->name, name_bytes) != 0) continue;
        if (sscanf(entry->d_name + name_bytes, "-%9u-%8u.spill%n", &segment.lane, &segment.number, &end) != 2 || !end)
            continue;
        if (entry->d_name[name_bytes + (size_t)end] || segment.lane % lane_count != spill->lane) continue;
        path_of(spill, &segment, path);
        if (stat(path, &info)) continue;
        segment.bytes = (uint64_t)info.st_size;
        if (!segment_add(spill, &segment)) status = mr_fail(err, MR_ENOMEM, "%s: out of memory", spill->what);
    }
    if (folder) closedir(folder);
    if (spill->count) qsort(spill->segment, spill->count, sizeof *spill->segment, segment_compare);
    return status;
}

/* One process for a name: lane 0, which each has, holds the lock. */
static mr_status name_lock(struct mr_spill *spill, struct mr_err *err)
{
    char path[PATH_MAX];
    if (spill->lane) return MR_OK;
    snprintf(path, sizeof path, "%s/%s.lock", spill->folder, spill->name);
    spill->lock_fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (spill->lock_fd < 0) return spill_fail(spill, "opening the lock", errno, err);
    if (!flock(spill->lock_fd, LOCK_EX | LOCK_NB)) return MR_OK;
    return mr_fail(err, MR_ESINK,
                   "%s: another process spills to \"%s/%s\": end that one, or give each a folder of its own",
                   spill->what, spill->folder, spill->name);
}

mr_status mr_spill_open(const struct mr_spill_open *open, struct mr_spill **spill_out, struct mr_err *err)
{
    struct mr_spill *const spill = calloc(1, sizeof *spill);
    *spill_out = NULL;
    if (!spill) return mr_fail(err, MR_ENOMEM, "%s: out of memory", open->what);
    spill->lock_fd = spill->write_fd = spill->read_fd = -1;
    spill->what = open->what;
    spill->lane = open->lane;
    spill->bytes_max = open->bytes_max;
    spill->segment_bytes_max = open->bytes_max / 4 < SEGMENT_BYTES_MAX ? open->bytes_max / 4 : SEGMENT_BYTES_MAX;
    if (spill->segment_bytes_max < SEGMENT_BYTES_MIN) spill->segment_bytes_max = SEGMENT_BYTES_MIN;
    spill->folder = strdup(open->folder);
    spill->name = strdup(open->name);
    spill->out = malloc(WRITE_BYTES);
    spill->chunk_cap = CHUNK_BYTES;
    spill->chunk = malloc(spill->chunk_cap);
    spill->arena = aligned_alloc(MR_ENTRY_ALIGN, ARENA_BYTES);
    mr_status status = spill->folder && spill->name && spill->out && spill->chunk && spill->arena
                           ? MR_OK
                           : mr_fail(err, MR_ENOMEM, "%s: out of memory", open->what);
    if (!status && mkdir(spill->folder, 0700) && errno != EEXIST) status = spill_fail(spill, "making it", errno, err);
    if (!status) status = name_lock(spill, err);
    if (!status) status = segments_find(spill, open->lane_count ? open->lane_count : 1, err);
    if (status) {
        mr_spill_close(spill);
        return status;
    }
    if (spill->count)
        mr_log(MR_LOG_INFO, "sink", "%s: %llu bytes of records of an earlier run wait in \"%s\": they are sent first",
               open->what, (unsigned long long)mr_spill_bytes(spill), open->folder);
    *spill_out = spill;
    return MR_OK;
}

void mr_spill_close(struct mr_spill *spill)
{
    struct mr_err err;
    if (!spill) return;
    if (spill->write_fd >= 0) {
        if (mr_spill_flush(spill, &err)) mr_log(MR_LOG_ERROR, "sink", "%s", err.text);
        if (fdatasync(spill->write_fd)) mr_log(MR_LOG_WARN, "sink", "%s: syncing the spill failed", spill->what);
        close(spill->write_fd);
    }
    if (spill->read_fd >= 0) close(spill->read_fd);
    if (spill->lock_fd >= 0) close(spill->lock_fd);
    free(spill->segment);
    free(spill->folder);
    free(spill->name);
    free(spill->out);
    free(spill->chunk);
    free(spill->arena);
    free(spill);
}

/* ---- writing ---- */

/* Bytes of the whole frames among the first `done` of the buffer; the others are counted as lost. */
static size_t whole_keep(struct mr_spill *spill, size_t done)
{
    size_t kept = 0;
    for (size_t at = 0; at < spill->out_used;) {
        struct frame frame;
        memcpy(&frame, spill->out + at, sizeof frame);
        at += frame.bytes;
        if (at <= done)
            kept = at;
        else
            spill->lost++;
    }
    return kept;
}

mr_status mr_spill_flush(struct mr_spill *spill, struct mr_err *err)
{
    size_t done = 0;
    int error = 0;
    while (done < spill->out_used && !error) {
        const ssize_t count = write(spill->write_fd, spill->out + done, spill->out_used - done);
        if (count > 0) done += (size_t)count;
        if (count < 0 && errno != EINTR) error = errno;
        if (count == 0) error = EIO;
    }
    if (error) spill->segment[spill->write_at].bytes -= spill->out_used - whole_keep(spill, done);
    spill->out_used = 0;
    if (!error) return MR_OK;
    /* The file goes on behind its last whole record, once there is room: a new one for each try would be one too many.
     * Where it cannot be cut off, a reader finds a record that is cut short, and goes on with the next file. */
    if (ftruncate(spill->write_fd, (off_t)spill->segment[spill->write_at].bytes)) {
        close(spill->write_fd);
        spill->write_fd = -1;
    }
    return spill_fail(spill, "writing", error, err);
}

size_t mr_spill_lost(struct mr_spill *spill)
{
    const size_t lost = spill->lost;
    spill->lost = 0;
    return lost;
}

/* Opens the file of a new segment for writing. */
static mr_status segment_open(struct mr_spill *spill, const struct segment *segment, struct mr_err *err)
{
    char path[PATH_MAX];
    mr_status status = spill->write_fd >= 0 ? mr_spill_flush(spill, err) : MR_OK;
    if (status) return status;
    if (spill->write_fd >= 0) close(spill->write_fd);
    path_of(spill, segment, path);
    spill->write_fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0600);
    if (spill->write_fd < 0) return spill_fail(spill, "making a file", errno, err);
    if (segment_add(spill, segment)) return MR_OK;
    close(spill->write_fd);
    spill->write_fd = -1;
    return mr_fail(err, MR_ENOMEM, "%s: out of memory", spill->what);
}

static mr_status segment_begin(struct mr_spill *spill, struct mr_err *err)
{
    const struct segment segment = {
        .lane = spill->lane, .number = spill->count ? spill->segment[spill->count - 1].number + 1 : NUMBER_FIRST};
    const mr_status status = segment_open(spill, &segment, err);
    if (!status) spill->write_at = spill->count - 1;
    return status;
}

mr_status mr_spill_front(struct mr_spill *spill, struct mr_err *err)
{
    if (!spill->count) return MR_OK;
    const struct segment segment = {.lane = spill->lane, .number = spill->segment[0].number - 1};
    const mr_status status = segment_open(spill, &segment, err);
    if (status) return status;
    memmove(spill->segment + 1, spill->segment, (spill->count - 1) * sizeof *spill->segment);
    spill->segment[0] = segment;
    spill->write_at = 0;
    spill->segment_bytes_max = UINT64_MAX; /* all of it goes there */
    return MR_OK;
}

static char *out_put(char *out, const void *data, size_t bytes)
{
    if (bytes) memcpy(out, data, bytes);
    return out + bytes;
}

/* Where a frame of so many bytes is made; a large one makes the buffer's bytes go first. */
static mr_status out_room(struct mr_spill *spill, size_t bytes, struct mr_err *err)
{
    mr_status status = MR_OK;
    const bool is_new = spill->write_fd < 0 || spill->segment[spill->write_at].bytes + bytes > spill->segment_bytes_max;
    if (is_new) status = segment_begin(spill, err);
    if (!status && spill->out_used + bytes > WRITE_BYTES) status = mr_spill_flush(spill, err);
    return status;
}

mr_status mr_spill_add(struct mr_spill *spill, const struct mr_remote_entry *entry, const char *value,
                       const struct mr_span *topic, struct mr_err *err)
{
    const size_t topic_bytes = topic->bytes < TOPIC_BYTES_MAX ? topic->bytes : TOPIC_BYTES_MAX;
    const size_t bytes = sizeof(struct frame) + topic_bytes + entry->value_bytes;
    struct frame frame = {.magic = MAGIC,
                          .bytes = (uint32_t)bytes,
                          .offset = entry->offset,
                          .event_ms = entry->event_ms,
                          .row = entry->row,
                          .value_bytes = entry->value_bytes,
                          .partition = entry->partition,
                          .topic_bytes = (uint16_t)topic_bytes,
                          .is_null = entry->is_null};
    if (mr_spill_bytes(spill) + bytes > spill->bytes_max || bytes > WRITE_BYTES)
        return mr_fail(err, MR_AGAIN, "%s: \"%s\" has no more room", spill->what, spill->folder);
    const mr_status status = out_room(spill, bytes, err);
    if (status) return status;
    char *const first = spill->out + spill->out_used;
    char *const end =
        out_put(out_put(out_put(first, &frame, sizeof frame), topic->data, topic_bytes), value, entry->value_bytes);
    frame.check = XXH3_64bits(first + CHECKED_FROM, (size_t)(end - first) - CHECKED_FROM);
    memcpy(first, &frame, sizeof frame);
    spill->out_used += bytes;
    spill->segment[spill->write_at].bytes += bytes;
    return MR_OK;
}

/* ---- reading ---- */

/* Bytes of the segment that is read now that are in its file. */
static uint64_t readable(const struct mr_spill *spill)
{
    const bool is_written = spill->next.segment == spill->write_at && spill->write_fd >= 0;
    return spill->segment[spill->next.segment].bytes - (is_written ? spill->out_used : 0);
}

static bool read_open(struct mr_spill *spill)
{
    char path[PATH_MAX];
    if (spill->read_fd >= 0 && spill->read_of == spill->next.segment) return true;
    if (spill->read_fd >= 0) close(spill->read_fd);
    path_of(spill, &spill->segment[spill->next.segment], path);
    spill->read_fd = open(path, O_RDONLY | O_CLOEXEC);
    spill->read_of = spill->next.segment;
    spill->chunk_bytes = 0;
    return spill->read_fd >= 0;
}

/* Bytes [next.byte, + bytes) of the segment, or NULL. */
static const char *bytes_read(struct mr_spill *spill, size_t bytes)
{
    const uint64_t first = spill->next.byte;
    if (first >= spill->chunk_first && first + bytes <= spill->chunk_first + spill->chunk_bytes)
        return spill->chunk + (first - spill->chunk_first);
    if (bytes > spill->chunk_cap) {
        char *const grown = realloc(spill->chunk, bytes);
        if (!grown) return NULL;
        spill->chunk = grown;
        spill->chunk_cap = bytes;
    }
    const ssize_t count = pread(spill->read_fd, spill->chunk, spill->chunk_cap, (off_t)first);
    spill->chunk_first = first;
    spill->chunk_bytes = count > 0 ? (size_t)count : 0;
    return bytes <= spill->chunk_bytes ? spill->chunk : NULL;
}

/* The whole frame at the cursor; NULL: what stands there is none. */
static const char *frame_read(struct mr_spill *spill, struct frame *frame)
{
    const char *at = read_open(spill) ? bytes_read(spill, sizeof *frame) : NULL;
    if (!at) return NULL;
    memcpy(frame, at, sizeof *frame);
    if (frame->magic != MAGIC || frame->bytes > FRAME_BYTES_MAX || frame->topic_bytes > TOPIC_BYTES_MAX ||
        frame->bytes != sizeof *frame + frame->topic_bytes + (uint64_t)frame->value_bytes)
        return NULL;
    at = bytes_read(spill, frame->bytes);
    return at && XXH3_64bits(at + CHECKED_FROM, frame->bytes - CHECKED_FROM) == frame->check ? at : NULL;
}

static struct mr_remote_entry *entry_make(struct mr_spill *spill, const struct frame *frame, const char *bytes)
{
    struct mr_remote_entry *const entry = (struct mr_remote_entry *)(void *)(spill->arena + spill->arena_used);
    char *const value = entry->value, *const topic = value + frame->value_bytes;
    *entry = (struct mr_remote_entry){.offset = frame->offset,
                                      .event_ms = frame->event_ms,
                                      .topic_name = topic,
                                      .row = frame->row,
                                      .value_bytes = frame->value_bytes,
                                      .partition = frame->partition,
                                      .is_null = frame->is_null};
    memcpy(value, bytes + sizeof *frame + frame->topic_bytes, frame->value_bytes);
    memcpy(topic, bytes + sizeof *frame, frame->topic_bytes);
    topic[frame->topic_bytes] = 0;
    spill->arena_last = spill->arena_used;
    spill->arena_used += mr_entry_bytes(frame->value_bytes + (size_t)frame->topic_bytes + 1);
    return entry;
}

struct mr_remote_entry *mr_spill_next(struct mr_spill *spill)
{
    struct mr_err err;
    while (spill->next.segment < spill->count) {
        struct segment *const segment = &spill->segment[spill->next.segment];
        const bool is_last = spill->next.segment + 1 == spill->count;
        struct frame frame;
        if (spill->next.byte < segment->bytes && readable(spill) <= spill->next.byte && mr_spill_flush(spill, &err))
            return NULL;
        if (spill->next.byte >= segment->bytes) {
            if (is_last) return NULL;
            spill->next = (struct place){spill->next.segment + 1, 0};
            continue;
        }
        const char *const bytes = frame_read(spill, &frame);
        if (!bytes) {
            mr_log(MR_LOG_WARN, "sink", "%s: %llu bytes at the end of a file in \"%s\" hold no whole record: skipped",
                   spill->what, (unsigned long long)(segment->bytes - spill->next.byte), spill->folder);
            spill->next.byte = segment->bytes;
            continue;
        }
        if (spill->arena_used + mr_entry_bytes(frame.value_bytes + (size_t)frame.topic_bytes + 1) > ARENA_BYTES)
            return NULL;
        spill->last = spill->next;
        spill->next.byte += frame.bytes;
        return entry_make(spill, &frame, bytes);
    }
    return NULL;
}

void mr_spill_unread(struct mr_spill *spill)
{
    spill->next = spill->last;
    spill->arena_used = spill->arena_last;
}

/* Takes the first `gone` files away. */
static void segments_remove(struct mr_spill *spill, size_t gone)
{
    char path[PATH_MAX];
    if (spill->read_fd >= 0) close(spill->read_fd);
    spill->read_fd = -1;
    for (size_t i = 0; i < gone; i++) {
        path_of(spill, &spill->segment[i], path);
        if (unlink(path)) mr_log(MR_LOG_WARN, "sink", "%s: removing \"%s\": %s", spill->what, path, strerror(errno));
    }
    memmove(spill->segment, spill->segment + gone, (spill->count - gone) * sizeof *spill->segment);
    spill->count -= gone;
    spill->write_at -= spill->write_fd >= 0 ? gone : spill->write_at;
}

void mr_spill_done(struct mr_spill *spill)
{
    const size_t at = spill->next.segment;
    const bool is_read = at < spill->count && spill->next.byte >= spill->segment[at].bytes;
    const size_t gone = is_read ? at + 1 : at;
    spill->arena_used = 0;
    if (is_read && gone == spill->count && spill->write_fd >= 0) { /* the next record begins another file */
        close(spill->write_fd);
        spill->write_fd = -1;
    }
    if (gone) segments_remove(spill, gone);
    spill->next = (struct place){0, is_read ? 0 : spill->next.byte};
    spill->done_bytes = spill->next.byte;
}

bool mr_spill_is_empty(const struct mr_spill *spill)
{
    return !mr_spill_bytes(spill);
}

uint64_t mr_spill_bytes(const struct mr_spill *spill)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < spill->count; i++) bytes += spill->segment[i].bytes;
    return bytes - spill->done_bytes;
}
