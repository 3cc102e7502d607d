/* Where a partition begins in the file of a follower: by its mark, by the group, and by who had it in between. */
#include <stdlib.h>

#include "base/log.h"
#include "sink/file/file.h"

static mr_status old_mark_fail(const struct mr_sink *sink, const struct mr_sink_place *place, int64_t own,
                               const char *why, struct mr_err *err)
{
    return mr_fail(
        err, MR_EDATA,
        "file sink: the .offsets of \"%s\" are old: records of %s[%d] from offset %lld on were written to it "
        "after that, and %s: nothing was changed; put back the .offsets and the file that were written "
        "last, or move both away: then a new file begins at the group's offset, %lld",
        sink->options->path, sink->followed, (int)place->partition, (long long)own, why,
        (long long)place->group_offset);
}

/* The group is further than the mark. Where another file has what is between, it is right. Where this one had it, an
 * old mark was put back: it wins, and what is between comes again. */
static mr_status behind_choose(const struct mr_sink *sink, const struct mr_sink_place *place,
                               const struct mr_holders *holders, int64_t own, int64_t *begin_out, struct mr_err *err)
{
    const char *const path = sink->options->path;
    const mr_held held = mr_holders_of(holders, sink->mark.file, own);
    const bool is_elsewhere = held == MR_HELD_ELSEWHERE || (held == MR_HELD_UNKNOWN && holders->count);
    if (held == MR_HELD_HERE_BEFORE)
        return old_mark_fail(sink, place, own, "another process has gone on with the partition since", err);
    if (held == MR_HELD_HERE && own < place->low)
        return old_mark_fail(sink, place, own, "the topic does not have all of them any more", err);
    *begin_out = is_elsewhere || own < place->low ? place->group_offset : own;
    if (is_elsewhere)
        mr_log(MR_LOG_INFO, "file",
               "%s: of %s[%d] it ends at offset %lld, the group is at %lld: what is between was given to another "
               "process%s",
               path, sink->followed, (int)place->partition, (long long)own, (long long)place->group_offset,
               held == MR_HELD_UNKNOWN ? ", as far as is known" : "");
    else if (own < place->low)
        mr_log(
            MR_LOG_WARN, "file",
            "%s: of %s[%d] it ends at offset %lld, the topic begins at %lld, and somebody has set the group to %lld: "
            "what is between is not in the file",
            path, sink->followed, (int)place->partition, (long long)own, (long long)place->low,
            (long long)place->group_offset);
    else
        mr_log(
            MR_LOG_WARN, "file",
            "%s: of %s[%d] its .offsets end at %lld, the group is at %lld, and no other file has what is between: it "
            "goes on at %lld",
            path, sink->followed, (int)place->partition, (long long)own, (long long)place->group_offset,
            (long long)own);
    return MR_OK;
}

static mr_status begin_choose(const struct mr_sink *sink, const struct mr_sink_place *place,
                              const struct mr_holders *holders, int64_t *begin_out, struct mr_err *err)
{
    const int64_t own = mr_file_mark_next(&sink->mark, place->partition);
    if (own > place->end)
        return mr_fail(
            err, MR_EDATA,
            "file sink: \"%s\" holds records of %s[%d] up to offset %lld, and the partition ends at %lld (the "
            "topic was made anew, or has lost its end): move the file and its .offsets away, or restore the "
            "topic; nothing was changed",
            sink->options->path, sink->followed, (int)place->partition, (long long)own, (long long)place->end);
    *begin_out = own > place->group_offset ? own : place->group_offset;
    return own >= 0 && own < place->group_offset ? behind_choose(sink, place, holders, own, begin_out, err) : MR_OK;
}

static bool holders_keep(struct mr_sink *sink, int32_t partition, const struct mr_holders *holders)
{
    if (partition >= sink->holders_cap) {
        const int32_t cap = partition + 16;
        struct mr_holders *const grown = realloc(sink->holders, (size_t)cap * sizeof *grown);
        if (!grown) return false;
        sink->holders = grown;
        while (sink->holders_cap < cap) grown[sink->holders_cap++] = (struct mr_holders){0};
    }
    sink->holders[partition] = *holders;
    return true;
}

mr_status mr_file_marked(struct mr_sink *sink, const struct mr_sink_place *place, int64_t *offset_out,
                         struct mr_err *err)
{
    const int64_t group = place->group_offset;
    struct mr_holders holders;
    int64_t begin = -1;
    *offset_out = -1;
    if (!mr_file_has_mark(sink)) return MR_OK;
    mr_holders_parse(place->note, &holders);
    const mr_status status = begin_choose(sink, place, &holders, &begin, err);
    if (status || begin < 0) return status;
    if (begin != group) *offset_out = begin;
    mr_holders_take(&holders, sink->mark.file, group < 0 || group > begin ? begin : group);
    return holders_keep(sink, place->partition, &holders) && mr_file_mark_begin(&sink->mark, place->partition, begin)
               ? MR_OK
               : mr_fail(err, MR_ENOMEM, "file sink: \"%s\": out of memory", sink->options->path);
}

const char *mr_file_note(struct mr_sink *sink, int32_t partition)
{
    if (partition >= sink->holders_cap || !sink->holders[partition].count) return NULL;
    mr_holders_print(&sink->holders[partition], sink->note);
    return sink->note;
}
