/* millrace repair: the group's offsets are those of the state again. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/options.h"
#include "cli/override.h"
#include "cli/shared_flags.h"
#include "config/followed.h"
#include "config/roles.h"
#include "kafka/group_offsets.h"
#include "kafka/timeouts.h"
#include "source/kafka/options.h"
#include "verify/look.h"
#include "verify/past.h"

#define ASK_MS 15000

struct repair_options {
    bool to_state, yes, leave_unanswered;
    struct mr_map properties;
};

/* The state's offset of a partition; -1: it has none. */
static int64_t state_offset(const struct mr_state_commit *last, const struct mr_look_part *part)
{
    for (size_t i = 0; i < last->position_count; i++) {
        if (last->position[i].partition == part->partition && !strcmp(last->position[i].topic, part->topic))
            return last->position[i].next_offset;
    }
    return -1;
}

/* Says what is to be changed, and notes it in the parts; before[parts->count]: what they were. */
static mr_status changes_list(const struct mr_look *look, struct mr_look_parts *parts,
                              const struct mr_state_commit *last, int64_t *before, size_t *count_out,
                              struct mr_err *err)
{
    size_t kept = 0;
    for (size_t i = 0; i < parts->count; i++) {
        struct mr_look_part part = parts->part[i];
        const int64_t offset = state_offset(last, &part);
        if (offset == part.committed) continue;
        if (offset < 0)
            return mr_fail(err, MR_EINVARIANT,
                           "group \"%s\" has offset %lld of %s[%d], and the state has none: delete it first "
                           "(kafka-consumer-groups --bootstrap-server %s --delete-offsets --group %s --topic %s:%d)",
                           look->group, (long long)part.committed, part.topic, (int)part.partition, look->servers,
                           look->group, part.topic, (int)part.partition);
        printf("%s[%d]: %lld -> %lld\n", part.topic, (int)part.partition, (long long)part.committed, (long long)offset);
        before[kept] = part.committed;
        part.committed = offset;
        parts->part[kept++] = part;
    }
    *count_out = parts->count = kept;
    return MR_OK;
}

/*
 * Records that a trainer has read, and the scorers of the same job have not: up to so many were learned from, and never
 * answered. Where a job has no trainer, what was learned from was answered in the same transaction.
 */
static mr_status unanswered_count(const struct mr_look *look, const struct mr_job *job,
                                  const struct mr_look_parts *parts, const int64_t *before, int64_t *count_out,
                                  struct mr_err *err)
{
    const struct mr_kafka_source_options *const opt = job->source_options;
    char group[2 * MR_GROUP_BYTES];
    *count_out = 0;
    if (job->role == MR_ROLE_TRAINER) return MR_OK;
    rd_kafka_topic_partition_list_t *const list = rd_kafka_topic_partition_list_new((int)parts->count + 1);
    for (size_t i = 0; i < parts->count; i++)
        rd_kafka_topic_partition_list_add(list, parts->part[i].topic, parts->part[i].partition);
    mr_job_trainer_group(look->group, group, sizeof group);
    const mr_status status = mr_kafka_group_offsets(&opt->properties, group, list, ASK_MS, err);
    for (size_t i = 0; i < parts->count && !status; i++) {
        const struct mr_look_part *const part = &parts->part[i];
        const int64_t read = list->elems[i].offset, from = before[i] < 0 ? 0 : before[i];
        const int64_t end = read < part->committed ? read : part->committed;
        if (end <= from) continue;
        printf("%lld records of %s[%d], offset %lld to %lld, would never be answered\n", (long long)(end - from),
               part->topic, (int)part->partition, (long long)from, (long long)end - 1);
        *count_out += end - from;
    }
    rd_kafka_topic_partition_list_destroy(list);
    return status;
}

static mr_status unanswered_refuse(const struct mr_look *look, const struct mr_job *job, int64_t count,
                                   struct mr_err *err)
{
    return mr_fail(
        err, MR_EUSAGE,
        "nothing was changed: %lld records would never be answered. The job had \"scorers\", and its trainer, "
        "group \"%s.trainer\", was ahead of them: put \"scorers\" back, and let both read to the end while "
        "nothing is written (`millrace run %s --until end`), then take it out. --leave-unanswered goes on "
        "without these answers",
        (long long)count, look->group, job->path);
}

static mr_status agreement_get(bool is_given, struct mr_err *err)
{
    char line[16] = "";
    if (is_given) return MR_OK;
    if (!isatty(STDIN_FILENO)) return mr_fail(err, MR_EUSAGE, "nothing was changed: say --yes to do it");
    fputs("Set these offsets? [y/N] ", stderr);
    if (fgets(line, sizeof line, stdin) && (*line == 'y' || *line == 'Y')) return MR_OK;
    return mr_fail(err, MR_EUSAGE, "nothing was changed");
}

static mr_status members_refuse(const struct mr_look *look, const struct mr_job *job, int members, const char *names,
                                struct mr_err *err)
{
    const struct mr_kafka_source_options *const opt = job->source_options;
    return mr_fail(
        err, MR_ERETRY,
        "group \"%s\" has %d member%s (%s): stop the job first. One that %s stays a member until its session "
        "ends: wait %g s from then (session.timeout.ms)",
        look->group, members, members == 1 ? "" : "s", names,
        opt->membership == MR_MEMBER_STATIC
            ? "was killed, and with membership \"static\" also one that has ended in order,"
            : "was killed",
        (double)mr_timeouts_session_ms(&opt->properties) / 1e3);
}

static mr_status group_repair(const struct repair_options *opt, const struct mr_job *job,
                              const struct mr_state_commit *last, struct mr_look *look, struct mr_look_parts *parts,
                              struct mr_err *err)
{
    char names[256];
    int members;
    size_t count = 0;
    int64_t unanswered = 0;
    mr_status status = mr_look_members(look, &members, names, sizeof names, err);
    if (!status && members) status = members_refuse(look, job, members, names, err);
    if (!status) status = mr_look_inputs(look, job, parts, err);
    if (!status) status = mr_look_committed(look, parts, err);
    int64_t *const before = status ? NULL : calloc(parts->count + 1, sizeof *before);
    if (!status && !before) status = mr_fail(err, MR_ENOMEM, "out of memory");
    if (!status) status = changes_list(look, parts, last, before, &count, err);
    if (!status && count) status = unanswered_count(look, job, parts, before, &unanswered, err);
    free(before);
    if (status) return status;
    if (!count) {
        printf("nothing to do: the offsets of group \"%s\" are those of commit %llu\n", look->group,
               (unsigned long long)last->seq);
        return MR_OK;
    }
    if (unanswered && !opt->leave_unanswered) return unanswered_refuse(look, job, unanswered, err);
    status = agreement_get(opt->yes, err);
    if (!status) status = mr_look_commit(look, parts, err);
    if (!status)
        printf("group \"%s\" goes on where the state of commit %llu ended\n", look->group,
               (unsigned long long)last->seq);
    return status;
}

/* The state of the first model that the job learns; what it only follows has its trainer's offsets. */
static mr_status state_find(const struct mr_job *job, struct mr_state_log **log_out, struct mr_err *err)
{
    *log_out = NULL;
    for (size_t i = 0; i < job->model_count; i++) {
        const struct mr_job_model *const model = &job->model[i];
        if (!model->topic || !mr_job_model_learns(model)) continue;
        const mr_status status = mr_past_list(job, i, log_out, err);
        return status ? status : mr_state_log_check(*log_out, err);
    }
    return mr_fail(err, MR_EUSAGE,
                   "this job learns nothing in a topic (models[].learn with models[].topic): its group's offsets are "
                   "its own");
}

static mr_status repair_run(const void *options, const struct mr_words *words, struct mr_err *err)
{
    const struct repair_options *const opt = options;
    struct mr_look look = {0};
    struct mr_look_parts parts = {0};
    struct mr_state_log *log = NULL;
    struct mr_job *job = NULL;
    mr_status status = opt->to_state ? MR_OK : mr_fail(err, MR_EUSAGE, "what? Say --to-state");
    if (!status) status = mr_job_load(words->item[0], stderr, &job, err);
    if (!status) status = mr_override_properties(job, &opt->properties, err);
    if (!status && job->scorers) status = mr_job_role_apply(job, MR_ROLE_TRAINER, err); /* whose group it is */
    if (!status) status = state_find(job, &log, err);
    const struct mr_state_commit *const last = status ? NULL : mr_state_log_last(log);
    if (!status && !last)
        status = mr_fail(err, MR_EINPUT,
                         "the state topic is empty: nothing was committed, and there are no offsets to go back to. "
                         "A job that begins needs a group without offsets: name a new one in source.group, or delete "
                         "the group's (kafka-consumer-groups --delete --group ...): all records are read again");
    if (!status) status = mr_look_open(&look, job, false, err);
    if (!status) status = group_repair(opt, job, last, &look, &parts, err);
    mr_look_parts_deinit(&parts);
    mr_look_close(&look);
    mr_state_log_destroy(log);
    mr_job_destroy(job);
    return status;
}

#define AT(field) offsetof(struct repair_options, field)
static const struct mr_flag repair_flags[] = {
    {.row = {.key = "to-state",
             .type = MR_OPT_BOOL,
             .offset = AT(to_state),
             .doc = "Set the offsets of the job's group to those of its last committed state."}},
    {.row = {.key = "leave-unanswered",
             .type = MR_OPT_BOOL,
             .offset = AT(leave_unanswered),
             .doc = "Also where records are passed over that were learned from and never answered: of a job that had "
                    "\"scorers\", which were behind its trainer."}},
    {.letter = 'y', .row = {.key = "yes", .type = MR_OPT_BOOL, .offset = AT(yes), .doc = "Do not ask."}},
    MR_FLAG_PROPERTY(AT(properties)),
    {0},
};
#undef AT

const struct mr_command mr_command_repair = {
    .name = "repair",
    .summary = "Make a group's offsets those of the learned state again",
    .usage = "JOB --to-state [flags]",
    .examples = "millrace repair job.json --to-state         # shows what it would change, and asks\n"
                "millrace repair job.json --to-state --yes",
    .notes = "For a job that learns exactly once and ended with exit code 70, because somebody has moved its group's\n"
             "offsets. The group must have no members: 75 while it has.",
    .flags = repair_flags,
    .options_size = sizeof(struct repair_options),
    .word_min = 1,
    .word_max = 1,
    .completes_files = true,
    .run = repair_run,
};
