/* A start at which the models and their group do not agree on what was read: why, and what to do. */
#include <stdio.h>
#include <string.h>

#include "base/options.h"
#include "config/followed.h"
#include "config/roles.h"
#include "kafka/client.h"
#include "kafka/group_offsets.h"
#include "pipeline/lane.h"
#include "pipeline/lane_state_inside.h"

#define ASK_MS 5000

/* "offset 12", or a word for none. */
static const char *offset_print(int64_t offset, const char *none, char out[32])
{
    if (offset < 0)
        snprintf(out, 32, "%s", none);
    else
        snprintf(out, 32, "offset %lld", (long long)offset);
    return out;
}

mr_status mr_mismatch_again(const struct mr_mismatch *mismatch, struct mr_err *err)
{
    char at[32], group[32];
    return mr_fail(err, MR_ERESTART,
                   "the models have learned from %s[%d] up to %s, the group has %s: another process may have committed "
                   "since the models were read",
                   mismatch->topic, (int)mismatch->partition, offset_print(mismatch->learned, "no offset", at),
                   offset_print(mismatch->committed, "none", group));
}

/* The models begin, and their group does not: there is no state to set its offsets to. */
static mr_status new_state_refuse(const struct mr_lane *lane, const struct mr_mismatch *mismatch, const char *group,
                                  struct mr_err *err)
{
    const char *const servers = mr_kafka_property(lane->run->properties, "bootstrap.servers");
    return mr_fail(err, MR_EINVARIANT,
                   "the models' topics hold no commit: they begin from nothing; but group \"%s\" has read %s[%d] up to "
                   "offset %lld, and what is before that would never be learned. Name a new group in source.group, or "
                   "delete this one (kafka-consumer-groups --bootstrap-server %s --delete --group %s): then all that "
                   "the topics hold is read, and answered again",
                   group, mismatch->topic, (int)mismatch->partition, (long long)mismatch->committed,
                   servers ? servers : "HOST:PORT", group);
}

/* The trainer's group is not where the models are: it answers nothing, so its offsets may be set to theirs. */
static mr_status trainer_refuse(const struct mr_lane *lane, const struct mr_mismatch *mismatch, const char *group,
                                struct mr_err *err)
{
    char at[32], has[32];
    return mr_fail(err, MR_EINVARIANT,
                   "the models have learned from %s[%d] up to %s (commit %llu), but the trainer's group \"%s\" has %s: "
                   "\"scorers\" was added to a job that has learned, or the group was changed from outside. `millrace "
                   "repair %s --to-state` sets the group to where the models are; nothing is left unanswered by that, "
                   "a trainer answers nothing",
                   mismatch->topic, (int)mismatch->partition, offset_print(mismatch->learned, "no offset", at),
                   (unsigned long long)lane->state->seq, group, offset_print(mismatch->committed, "no offset", has),
                   lane->run->job->path);
}

/* Whether the models are where the group of a trainer is: then this job had scorers, and they have another offset. */
static bool had_scorers(const struct mr_lane *lane, const struct mr_mismatch *mismatch, const char *group)
{
    struct mr_err err;
    if (mismatch->learned < 0) return false;
    rd_kafka_topic_partition_list_t *const list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, mismatch->topic, mismatch->partition);
    const mr_status status = mr_kafka_group_offsets(lane->run->properties, group, list, ASK_MS, &err);
    const bool is_there = !status && list->elems[0].offset == mismatch->learned;
    rd_kafka_topic_partition_list_destroy(list);
    return is_there;
}

static mr_status whole_refuse(const struct mr_lane *lane, const struct mr_mismatch *mismatch, const char *group,
                              struct mr_err *err)
{
    const unsigned long long seq = lane->state->seq;
    char at[32], has[32], trainer[2 * MR_GROUP_BYTES];
    offset_print(mismatch->learned, "no offset", at);
    mr_job_trainer_group(group, trainer, sizeof trainer);
    if (had_scorers(lane, mismatch, trainer))
        return mr_fail(err, MR_EINVARIANT,
                       "the models have learned from %s[%d] up to %s (commit %llu), and so has group \"%s\": "
                       "\"scorers\" was taken out of this job while its scorers, group \"%s\", had %s: going on would "
                       "skip records or answer them twice. Put it back, and let both read to the end while nothing is "
                       "written (`millrace run %s --until end`): then it can be taken out",
                       mismatch->topic, (int)mismatch->partition, at, seq, trainer, group,
                       offset_print(mismatch->committed, "none", has), lane->run->job->path);
    return mr_fail(err, MR_EINVARIANT,
                   "the models have learned from %s[%d] up to %s (commit %llu), but the group's offset is %s: one of "
                   "them was changed from outside, and going on would skip records or learn them twice. `millrace "
                   "repair %s --to-state` sets the group's offsets to those of the models; a new group and new state "
                   "topics begin from nothing",
                   mismatch->topic, (int)mismatch->partition, at, seq,
                   offset_print(mismatch->committed, "none", has) + (mismatch->committed < 0 ? 0 : strlen("offset ")),
                   lane->run->job->path);
}

mr_status mr_mismatch_refuse(const struct mr_lane *lane, const struct mr_mismatch *mismatch, struct mr_err *err)
{
    const struct mr_job *const job = lane->run->job;
    char *const *const given = mr_option_value(job->source->options, job->source_options, "group", MR_OPT_STRING);
    char group[MR_GROUP_BYTES];
    mr_kafka_group(given ? *given : NULL, job->name, group, sizeof group);
    if (!lane->state->seq) return new_state_refuse(lane, mismatch, group, err);
    return job->role == MR_ROLE_TRAINER ? trainer_refuse(lane, mismatch, group, err)
                                        : whole_refuse(lane, mismatch, group, err);
}
