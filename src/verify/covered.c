/* What of the topic a file's mark leaves out: between its ranges, before them, behind them, and whole partitions. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "config/followed.h"
#include "sink/file/holders.h"
#include "verify/inside.h"

#define CHUNK 4096 /* offsets read at once */
#define COUNTED_MAX                                                                                                    \
    (4 * CHUNK) /* behind the mark so many are looked at: transactions end with an offset of their own */

/* What was left out of some partitions for one reason. */
struct left_out {
    uint64_t count;
    unsigned parts;
    int32_t partition; /* the first one, */
    int64_t from, to;  /* and where in it */
};

struct covered {
    struct mr_verify *verify;
    size_t sink;
    const char *path;
    const struct mr_file_mark *mark;
    const struct mr_look_parts *parts;
    char **note; /* [parts->count], by partition: what the follower's group keeps; NULL: not asked for yet */
    struct left_out gone, elsewhere, before, absent, behind;
};

static void left_add(struct left_out *left, int32_t partition, uint64_t count, int64_t from, int64_t to)
{
    if (!count) return;
    if (!left->parts++) *left = (struct left_out){.parts = 1, .partition = partition, .from = from, .to = to};
    left->count += count;
}

/* Records of [from, to); *first_out: the first one's offset. */
static mr_status records_count(struct covered *covered, int32_t partition, int64_t from, int64_t to,
                               uint64_t *count_out, int64_t *first_out, struct mr_err *err)
{
    struct mr_verify *const verify = covered->verify;
    mr_status status = MR_OK;
    *count_out = 0;
    for (int64_t at = from; at < to && !status; at += CHUNK) {
        const int64_t end = at + CHUNK < to ? at + CHUNK : to;
        status = mr_range_read(verify->writer, covered->mark->topic, partition, at, end, &verify->written, err);
        if (verify->written.count && !*count_out) *first_out = verify->written.message[0].offset;
        *count_out += verify->written.count;
        mr_message_list_clear(&verify->written);
    }
    return status;
}

static mr_status notes_ask(struct covered *covered, struct mr_err *err)
{
    const struct mr_job *const job = covered->verify->job;
    struct mr_look look = {0};
    char group[MR_GROUP_BYTES];
    if (covered->note) return MR_OK;
    covered->note = calloc(covered->parts->count + 1, sizeof *covered->note);
    if (!covered->note) return mr_fail(err, MR_ENOMEM, "out of memory");
    mr_job_followed_group(job, covered->sink, group);
    mr_status status = mr_look_open_group(&look, job, group, err);
    if (!status) status = mr_look_notes(&look, covered->parts, covered->note, err);
    mr_look_close(&look);
    return status;
}

/* Whether another file may have a record: not where the group says that this one had it, or knows of no other. */
static bool is_perhaps_elsewhere(const struct covered *covered, int32_t partition, int64_t offset)
{
    const uint64_t file = covered->mark->file;
    const char *const note = covered->note[partition];
    struct mr_holders holders;
    bool has_other = false;
    mr_holders_parse(note ? note : "", &holders);
    for (size_t i = 0; i < holders.count; i++) has_other |= holders.holder[i].file != file;
    const mr_held held = mr_holders_of(&holders, file, offset);
    return held == MR_HELD_ELSEWHERE || (held == MR_HELD_UNKNOWN && (has_other || !holders.count));
}

/* Between two ranges of a partition. */
static mr_status hole_judge(struct covered *covered, const struct mr_look_part *part, int64_t from, int64_t to,
                            struct mr_err *err)
{
    const char *const topic = covered->mark->topic;
    const int64_t there = part->low > from ? part->low : from;
    uint64_t count;
    int64_t first = -1;
    if (there >= to) {
        left_add(&covered->gone, part->partition, (uint64_t)(to - from), from, to);
        return MR_OK;
    }
    left_add(&covered->gone, part->partition, (uint64_t)(there - from), from, there);
    mr_status status = records_count(covered, part->partition, there, to, &count, &first, err);
    if (!status && count) status = notes_ask(covered, err);
    if (status || !count) return status;
    if (is_perhaps_elsewhere(covered, part->partition, there))
        left_add(&covered->elsewhere, part->partition, count, there, to);
    else
        mr_proof_found(covered->verify->proof, MR_FOUND_MISSING, topic, part->partition, first,
                       "it is not in file \"%s\": its .offsets leave out %llu records from here to offset %lld, and "
                       "the group knows of no other file that has them",
                       covered->path, (unsigned long long)count, (long long)to);
    return MR_OK;
}

static mr_status part_judge(struct covered *covered, const struct mr_look_part *part, struct mr_err *err)
{
    const struct mr_file_mark *const mark = covered->mark;
    int64_t next = -1, ignored;
    mr_status status = MR_OK;
    for (size_t i = 0; i < mark->count && !status; i++) {
        const struct mr_file_range *const range = &mark->range[i];
        if (range->partition != part->partition) continue;
        if (next < 0 && range->first > part->low)
            left_add(&covered->before, part->partition, (uint64_t)(range->first - part->low), part->low, range->first);
        else if (next >= 0 && range->first > next)
            status = hole_judge(covered, part, next, range->first, err);
        next = range->next;
    }
    if (status) return status;
    const int64_t from = next > part->low ? next : part->low;
    uint64_t count = part->end > from ? (uint64_t)(part->end - from) : 0;
    if (count && count <= COUNTED_MAX)
        status = records_count(covered, part->partition, from, part->end, &count, &ignored, err);
    left_add(next < 0 ? &covered->absent : &covered->behind, part->partition, count, from, part->end);
    return status;
}

static void left_tell(const struct covered *covered, const struct left_out *left, const char *what)
{
    char where[64] = "";
    if (!left->count) return;
    if (left->parts > 1) snprintf(where, sizeof where, ", and more in %u other partitions", left->parts - 1);
    mr_proof_note(covered->verify->proof,
                  "file \"%s\": %llu offsets of topic \"%s\" are not in it (partition %d, %lld to %lld%s): %s",
                  covered->path, (unsigned long long)left->count, covered->mark->topic, (int)left->partition,
                  (long long)left->from, (long long)left->to - 1, where, what);
}

mr_status mr_verify_covered(struct mr_verify *verify, size_t sink, const char *path, const struct mr_file_mark *mark,
                            const struct mr_look_parts *parts, struct mr_err *err)
{
    struct covered covered = {.verify = verify, .sink = sink, .path = path, .mark = mark, .parts = parts};
    mr_status status = MR_OK;
    for (size_t i = 0; i < parts->count && !status; i++) status = part_judge(&covered, &parts->part[i], err);
    left_tell(&covered, &covered.gone, "its ranges leave them out, and the topic does not have them any more");
    left_tell(&covered, &covered.elsewhere, "its ranges leave them out; the file of another process may have them");
    left_tell(&covered, &covered.before, "its first range begins behind them (it was begun anew, or another has them)");
    left_tell(&covered, &covered.absent, "it has no range of the partition (another file may have it)");
    left_tell(&covered, &covered.behind, "its mark is that far behind the end of the topic");
    for (size_t i = 0; i < parts->count && covered.note; i++) free(covered.note[i]);
    free(covered.note);
    return status;
}
