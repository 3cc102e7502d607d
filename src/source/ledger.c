#include "source/ledger.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/test_hook.h"
#include "source/ledger_inside.h"

#define COMPACT_LINES_MIN 4096 /* fewer are not worth writing anew */

void mr_file_id_of(const struct stat *info, struct mr_file_id *id_out)
{
    *id_out = (struct mr_file_id){.device = info->st_dev,
                                  .inode = info->st_ino,
                                  .size = (uint64_t)info->st_size,
                                  .mtime_ns = (int64_t)info->st_mtim.tv_sec * 1000000000 + info->st_mtim.tv_nsec};
}

bool mr_file_id_at(int folder, const char *name, struct mr_file_id *id_out, unsigned *mode_out)
{
    struct statx info;
    const unsigned wanted = STATX_BASIC_STATS | STATX_BTIME;
    if (statx(folder, name, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, wanted, &info)) return false;
    *id_out = (struct mr_file_id){.device = makedev(info.stx_dev_major, info.stx_dev_minor),
                                  .inode = info.stx_ino,
                                  .size = info.stx_size,
                                  .mtime_ns = info.stx_mtime.tv_sec * 1000000000 + info.stx_mtime.tv_nsec};
    if (info.stx_mask & STATX_BTIME) id_out->born_ns = info.stx_btime.tv_sec * 1000000000 + info.stx_btime.tv_nsec;
    *mode_out = info.stx_mode;
    return true;
}

bool mr_file_head_read(int fd, struct mr_file_id *id, uint64_t head_bytes)
{
    char head[MR_FILE_HEAD_BYTES];
    const size_t bytes = head_bytes && head_bytes < sizeof head ? (size_t)head_bytes : sizeof head;
    ssize_t count;
    do count = pread(fd, head, bytes, 0);
    while (count < 0 && errno == EINTR);
    if (count < 0) return false;
    id->head_bytes = (uint64_t)count;
    id->head = XXH3_64bits(head, (size_t)count);
    return true;
}

/* ---- files by device and inode ---- */

static size_t slot_of(const struct mr_ledger *ledger, const struct mr_file_id *id)
{
    const uint64_t key[2] = {id->device, id->inode};
    return XXH3_64bits(key, sizeof key) & (ledger->slot_count - 1);
}

static bool slots_grow(struct mr_ledger *ledger)
{
    const size_t old_count = ledger->slot_count;
    struct mr_file **const old = ledger->slot;
    ledger->slot_count = old_count ? 2 * old_count : 64;
    ledger->slot = calloc(ledger->slot_count, sizeof *ledger->slot);
    if (!ledger->slot) {
        ledger->slot = old;
        ledger->slot_count = old_count;
        return false;
    }
    for (size_t i = 0; i < old_count; i++) {
        for (struct mr_file *file = old[i], *next; file; file = next) {
            struct mr_file **at = &ledger->slot[slot_of(ledger, &file->id)];
            while (*at) at = &(*at)->by_id; /* the newest of an inode stays the first */
            next = file->by_id;
            file->by_id = NULL;
            *at = file;
        }
    }
    free(old);
    return true;
}

bool mr_ledger_insert(struct mr_ledger *ledger, struct mr_file *file)
{
    if (ledger->file_count >= ledger->slot_count && !slots_grow(ledger)) return false;
    const size_t slot = slot_of(ledger, &file->id);
    file->by_id = ledger->slot[slot];
    ledger->slot[slot] = file;
    ledger->file_count++;
    return true;
}

void mr_ledger_remove(struct mr_ledger *ledger, struct mr_file *file)
{
    struct mr_file **at = &ledger->slot[slot_of(ledger, &file->id)];
    while (*at != file) at = &(*at)->by_id;
    *at = file->by_id;
    ledger->file_count--;
    for (size_t i = 0; i < MR_LEDGER_MARKS; i++)
        if (ledger->mark[i].file == file) ledger->mark[i] = (struct mr_ledger_mark){0};
    free(file->name);
    free(file);
}

struct mr_file *mr_ledger_find(const struct mr_ledger *ledger, const struct mr_file_id *id)
{
    struct mr_file *file = ledger->slot_count ? ledger->slot[slot_of(ledger, id)] : NULL;
    while (file && (file->id.device != id->device || file->id.inode != id->inode)) file = file->by_id;
    return file; /* the newest of them stands first */
}

struct mr_file *mr_ledger_add(struct mr_ledger *ledger, const struct mr_file_id *id, const char *name)
{
    struct mr_file *const file = calloc(1, sizeof *file);
    if (file) file->name = strdup(name);
    if (file && file->name) {
        file->id = *id;
        file->first = file->next = -1;
        file->is_there = true;
        if (mr_ledger_insert(ledger, file)) return file;
    }
    if (file) free(file->name);
    free(file);
    return NULL;
}

/* ---- reading ---- */

bool mr_ledger_is_new(const struct mr_ledger *ledger)
{
    return ledger->is_new;
}

int64_t mr_ledger_next(const struct mr_ledger *ledger)
{
    return ledger->next;
}

struct mr_file *mr_ledger_first(const struct mr_ledger *ledger)
{
    return ledger->first;
}

void mr_ledger_mark_put(struct mr_ledger *ledger, const struct mr_ledger_mark *mark)
{
    ledger->mark[ledger->mark_end++ % MR_LEDGER_MARKS] = *mark;
}

void mr_ledger_order(struct mr_ledger *ledger, struct mr_file *file)
{
    file->by_order = NULL;
    if (ledger->last)
        ledger->last->by_order = file;
    else
        ledger->first = file;
    ledger->last = file;
    if (!ledger->open && file->state != MR_FILE_DONE) ledger->open = file;
}

void mr_ledger_begin(struct mr_ledger *ledger, struct mr_file *file, int64_t offset)
{
    const bool is_known = file->first >= 0;
    file->state = MR_FILE_READING;
    if (is_known) return;
    file->first = file->next = file->mark = offset;
    file->byte = file->begin_byte;
    file->line = file->begin_line;
    mr_ledger_order(ledger, file);
}

void mr_ledger_mark(struct mr_ledger *ledger, struct mr_file *file, int64_t offset, uint64_t byte, uint64_t line)
{
    const struct mr_ledger_mark *const last =
        ledger->mark_end ? &ledger->mark[(ledger->mark_end - 1) % MR_LEDGER_MARKS] : NULL;
    if (last && last->file == file && last->offset == offset) return;
    mr_ledger_mark_put(ledger, &(struct mr_ledger_mark){file, offset, byte, line});
}

void mr_ledger_end(struct mr_ledger *ledger, struct mr_file *file, int64_t offset, uint64_t byte, uint64_t line,
                   const struct stat *info)
{
    struct mr_file_id now;
    mr_ledger_mark(ledger, file, offset, byte, line);
    file->state = MR_FILE_READ;
    file->next = file->mark = offset;
    file->byte = byte;
    file->line = line;
    if (!info) return;
    mr_file_id_of(info, &now); /* device and inode are what they were: it is found as before */
    file->id.size = now.size;
    file->id.mtime_ns = now.mtime_ns;
}

void mr_ledger_pass(struct mr_ledger *ledger, struct mr_file *file)
{
    mr_ledger_begin(ledger, file, ledger->next);
    file->state = MR_FILE_READ;
}

bool mr_ledger_locate(const struct mr_ledger *ledger, int64_t offset, struct mr_file **file_out, int64_t *mark_out,
                      uint64_t *byte_out, uint64_t *line_out)
{
    struct mr_file *const open = ledger->open, *file = open && open->first <= offset ? open : ledger->first;
    /* An empty one at that place does not hold it, unless it is the last and may grow. */
    while (file && (file->first > offset || (file->state >= MR_FILE_READ && file->next <= offset)))
        file = file->by_order;
    if (!file) return false;
    *file_out = file;
    *mark_out = file->first;
    *byte_out = file->begin_byte;
    *line_out = file->begin_line;
    if (file->mark <= offset && file->mark > *mark_out) {
        *mark_out = file->mark;
        *byte_out = file->byte;
        *line_out = file->line;
    }
    const size_t count = ledger->mark_end < MR_LEDGER_MARKS ? ledger->mark_end : MR_LEDGER_MARKS;
    for (size_t i = 0; i < count; i++) {
        const struct mr_ledger_mark *const mark = &ledger->mark[i];
        if (mark->file != file || mark->offset > offset || mark->offset < *mark_out) continue;
        *mark_out = mark->offset;
        *byte_out = mark->byte;
        *line_out = mark->line;
    }
    return true;
}

void mr_ledger_rewind(struct mr_ledger *ledger, int64_t offset)
{
    struct mr_file *open = NULL;
    for (struct mr_file *file = ledger->first; file; file = file->by_order) {
        const bool is_behind = file->state < MR_FILE_READ || file->next > offset;
        if (!is_behind) continue;
        if (!open) open = file;
        file->state = MR_FILE_WAITING;
    }
    ledger->open = open;
    ledger->next = offset;
    ledger->mark_end = 0;
}

/* ---- committing ---- */

struct mr_file mr_ledger_part(const struct mr_ledger *ledger, const struct mr_file *file, int64_t offset)
{
    struct mr_file part = *file, *at;
    part.next = offset;
    if (!mr_ledger_locate(ledger, offset, &at, &part.mark, &part.byte, &part.line) || at != file) {
        part.mark = part.first;
        part.byte = part.begin_byte;
        part.line = part.begin_line;
    }
    return part;
}

static mr_status file_part_done(struct mr_ledger *ledger, struct mr_file *file, int64_t offset, struct mr_err *err)
{
    const struct mr_file part = mr_ledger_part(ledger, file, offset);
    if (file->state == MR_FILE_READING) *file = part; /* of one that is read to its end, the end is known */
    return ledger->path ? mr_ledger_line_put(ledger, &part, err) : MR_OK;
}

/* A file of which all is done. */
static mr_status file_done(struct mr_ledger *ledger, struct mr_file *file, struct mr_err *err)
{
    file->state = MR_FILE_DONE;
    ledger->open = file->by_order;
    return ledger->path ? mr_ledger_line_put(ledger, file, err) : MR_OK;
}

/* Whether most lines are old, where so many would do. */
static bool is_mostly_old(const struct mr_ledger *ledger, size_t wanted)
{
    return ledger->path && ledger->line_count >= COMPACT_LINES_MIN &&
           ledger->line_count > 2 * wanted + COMPACT_LINES_MIN / 2;
}

mr_status mr_ledger_commit(struct mr_ledger *ledger, int64_t offset, void (*done)(void *context, struct mr_file *file),
                           void *context, struct mr_err *err)
{
    struct mr_file *const first = ledger->open;
    mr_status status = MR_OK;
    while (!status && ledger->open && ledger->open->state == MR_FILE_READ && ledger->open->next <= offset)
        status = file_done(ledger, ledger->open, err);
    struct mr_file *const file = ledger->open;
    if (!status && file && file->state >= MR_FILE_READING && file->first < offset && ledger->next < offset)
        status = file_part_done(ledger, file, offset, err);
    if (offset > ledger->next) ledger->next = offset;
    if (ledger->text_bytes) ledger->is_new = false;
    if (!status && ledger->text_bytes) {
        MR_TEST_HOOK("positions.begin");
        status = mr_ledger_sync(ledger, err);
        MR_TEST_HOOK("positions.written");
    }
    for (struct mr_file *at = first; !status && done && at && at != ledger->open; at = at->by_order) done(context, at);
    return !status && is_mostly_old(ledger, ledger->line_kept) ? mr_ledger_rewrite(ledger, err) : status;
}

mr_status mr_ledger_keep(struct mr_ledger *ledger, struct mr_err *err)
{
    struct stat ours, named;
    if (!ledger->path || (!fstat(ledger->fd, &ours) && !stat(ledger->path, &named) && ours.st_ino == named.st_ino &&
                          ours.st_dev == named.st_dev))
        return MR_OK;
    return mr_ledger_rewrite(ledger, err);
}

mr_status mr_ledger_compact(struct mr_ledger *ledger, struct mr_err *err)
{
    size_t there = 0;
    ledger->is_looked = true;
    for (const struct mr_file *file = ledger->first; file; file = file->by_order) there += file->is_there;
    return is_mostly_old(ledger, there) ? mr_ledger_rewrite(ledger, err) : MR_OK;
}

mr_status mr_ledger_open(const char *path, const char *type, const char *job, struct mr_ledger **ledger_out,
                         struct mr_err *err)
{
    struct mr_ledger *const ledger = calloc(1, sizeof *ledger);
    *ledger_out = NULL;
    if (!ledger) return mr_fail(err, MR_ENOMEM, "out of memory");
    ledger->fd = -1;
    ledger->is_new = true;
    ledger->type = strdup(type);
    ledger->job = strdup(job);
    ledger->path = path ? strdup(path) : NULL;
    mr_status status = ledger->type && ledger->job && (!path || ledger->path) && slots_grow(ledger)
                           ? MR_OK
                           : mr_fail(err, MR_ENOMEM, "out of memory");
    if (!status && path) status = mr_ledger_read(ledger, err);
    if (status)
        mr_ledger_close(ledger);
    else
        *ledger_out = ledger;
    return status;
}

void mr_ledger_close(struct mr_ledger *ledger)
{
    if (!ledger) return;
    if (ledger->fd >= 0) close(ledger->fd);
    for (size_t i = 0; i < ledger->slot_count; i++) {
        for (struct mr_file *file = ledger->slot[i], *next; file; file = next) {
            next = file->by_id;
            free(file->name);
            free(file);
        }
    }
    free(ledger->slot);
    free(ledger->text);
    free(ledger->path);
    free(ledger->type);
    free(ledger->job);
    free(ledger);
}
