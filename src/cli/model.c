/* millrace model: the versions that a job's models have in their topics. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/json_text.h"
#include "base/log.h"
#include "base/options.h"
#include "cli/override.h"
#include "cli/past_flags.h"
#include "cli/shared_flags.h"
#include "verify/back.h"
#include "verify/past.h"

#define RANGES_SHOWN 20

struct model_options {
    struct mr_past_words where;
    bool json;
    struct mr_map properties;
};

static unsigned long long number(uint64_t value)
{
    return value;
}

static void text_put(const char *text)
{
    char quoted[MR_JSON_ESCAPE_MAX * MR_STATE_TOPIC_BYTES_MAX + MR_JSON_QUOTES];
    fwrite(quoted, 1, mr_json_quote(text, strnlen(text, MR_STATE_TOPIC_BYTES_MAX), quoted), stdout);
}

static void time_print(int64_t time_ms, char out[32])
{
    const time_t seconds = (time_t)(time_ms / 1000);
    struct tm parts;
    gmtime_r(&seconds, &parts);
    strftime(out, 32, "%Y-%m-%dT%H:%M:%SZ", &parts);
}

/* is_there: there is a way to it. */
static const char *kind_of(const struct mr_state_entry *entry, bool is_there)
{
    if (!is_there) return "broken";
    return entry->commit->kind == MR_STATE_ROLLED_BACK ? "roll-back" : entry->has_snapshot ? "snapshot" : "manifest";
}

static void entry_json(const struct mr_state_entry *entry, bool is_there, bool is_whole)
{
    const struct mr_state_commit *const c = entry->commit;
    printf("{\"model\":");
    text_put(c->model);
    printf(",\"commit\":%llu,\"version\":%llu,\"version_before\":%llu,\"kind\":\"%s\",\"has_snapshot\":%s,"
           "\"snapshot\":%llu,\"time_ms\":%lld,\"updates\":%zu,\"in\":%llu,\"out\":%llu,\"dead\":%llu,"
           "\"filtered\":%llu,\"model_bytes\":%llu,\"checksum\":\"%016llx\",\"offset\":%lld,\"positions\":[",
           number(c->seq), number(c->version_after), number(c->version_before), kind_of(entry, is_there),
           entry->has_snapshot ? "true" : "false", number(c->snapshot), (long long)c->time_ms, c->update_count,
           number(c->in), number(c->out), number(c->dead), number(c->filtered), number(c->model_bytes),
           number(c->model_checksum), (long long)entry->offset);
    for (size_t i = 0; i < c->position_count; i++) {
        printf("%s{\"topic\":", i ? "," : "");
        text_put(c->position[i].topic);
        printf(",\"partition\":%d,\"next_offset\":%lld}", (int)c->position[i].partition,
               (long long)c->position[i].next_offset);
    }
    putchar(']');
    if (is_whole) {
        printf(",\"unit\":");
        text_put(c->unit);
        printf(",\"run\":\"%016llx\",\"pending_ranges\":%zu,\"ranges\":[", number(c->run_id),
               mr_state_pending_count(c));
        for (size_t i = 0; i < c->range_count; i++)
            printf("%s[%u,%lld,%u,%lld,%u]", i ? "," : "", (unsigned)c->range[i].position,
                   (long long)c->range[i].first_offset, (unsigned)c->range[i].first_record,
                   (long long)c->range[i].end_offset, (unsigned)c->range[i].end_record);
        printf("],\"update_ranges\":[");
        for (size_t i = 0; i < c->update_count; i++) printf("%s%u", i ? "," : "", (unsigned)c->update[i].range_count);
        printf("],\"update_rows\":[");
        for (size_t i = 0; i < c->update_count; i++) printf("%s%u", i ? "," : "", (unsigned)c->update[i].rows);
        putchar(']');
    }
    puts("}");
}

/* The sum of all next offsets, and of how many partitions: enough to see it grow. */
static void entry_line(const struct mr_state_entry *entry, bool is_there)
{
    const struct mr_state_commit *const c = entry->commit;
    char when[32], where[64] = "-";
    time_print(c->time_ms, when);
    if (c->position_count == 1)
        snprintf(where, sizeof where, "%.30s/%d=%lld", c->position->topic, (int)c->position->partition,
                 (long long)c->position->next_offset);
    else if (c->position_count)
        snprintf(where, sizeof where, "%zu partitions", c->position_count);
    printf("%8llu %10llu  %s %8zu %12llu  %-9s %10llu  %s\n", number(c->seq), number(c->version_after), when,
           c->update_count, number(c->in), kind_of(entry, is_there), number(c->model_bytes), where);
}

/* What is wrong with a topic, beside its commits: nothing else is kept from whom asks for them. */
static void fault_tell(const struct mr_job *job, size_t model, const struct mr_state_log *log, bool is_json)
{
    struct mr_err fault;
    if (!mr_state_log_check(log, &fault)) return;
    mr_log(MR_LOG_WARN, "state", "%s", fault.text);
    if (!is_json) return;
    char quoted[MR_JSON_ESCAPE_MAX * sizeof fault.text + MR_JSON_QUOTES];
    printf("{\"model\":");
    text_put(job->model[model].name);
    printf(",\"fault\":");
    fwrite(quoted, 1, mr_json_quote(fault.text, strlen(fault.text), quoted), stdout);
    puts("}");
}

static mr_status log_print(const struct mr_job *job, size_t model, const struct mr_state_log *log, bool is_json,
                           struct mr_err *err)
{
    size_t count;
    const struct mr_state_entry *const entry = mr_state_log_entries(log, &count);
    bool *const is_there = calloc(count + 1, sizeof *is_there);
    if (!is_there) return mr_fail(err, MR_ENOMEM, "out of memory");
    mr_state_log_reach(log, is_there);
    if (!is_json) {
        printf("%s, in topic \"%s\": %zu commits\n", job->model[model].name, job->model[model].topic, count);
        if (count)
            printf("%8s %10s  %-20s %8s %12s  %-9s %10s  %s\n", "commit", "version", "time", "updates", "records",
                   "kind", "bytes", "offsets");
    }
    for (size_t i = 0; i < count; i++) {
        if (is_json)
            entry_json(&entry[i], is_there[i], false);
        else
            entry_line(&entry[i], is_there[i]);
    }
    free(is_there);
    fault_tell(job, model, log, is_json);
    return MR_OK;
}

static mr_status list_run(const struct model_options *opt, const struct mr_job *job, struct mr_err *err)
{
    size_t only = SIZE_MAX, shown = 0;
    mr_status status = opt->where.model ? mr_past_model(job, opt->where.model, &only, err) : MR_OK;
    for (size_t i = 0; i < job->model_count && !status; i++) {
        struct mr_state_log *log;
        if (!job->model[i].topic || (only != SIZE_MAX && only != i)) continue;
        status = mr_past_list(job, i, &log, err);
        if (status) break;
        if (shown++ && !opt->json) putchar('\n');
        status = log_print(job, i, log, opt->json, err);
        mr_state_log_destroy(log);
    }
    if (!status && !shown)
        return mr_fail(err, MR_EUSAGE, "the job has no model that is kept in a topic (models[].topic)");
    return status;
}

static void entry_show(const struct mr_state_entry *entry, bool is_there)
{
    const struct mr_state_commit *const c = entry->commit;
    char when[32];
    time_print(c->time_ms, when);
    printf("model       %s (%s)\ncommit      %llu, after %llu, at offset %lld\nkind        %s\n", c->model, c->type,
           number(c->seq), number(c->seq_before), (long long)entry->offset, kind_of(entry, is_there));
    printf("version     %llu, from %llu: %zu updates\ntime        %s\ncomputed by %s\n", number(c->version_after),
           number(c->version_before), c->update_count, when, c->unit);
    printf("records     %llu in = %llu out + %llu dead + %llu filtered, since it began\n", number(c->in),
           number(c->out), number(c->dead), number(c->filtered));
    printf("model       %llu bytes, checksum %016llx, upon snapshot %llu\n", number(c->model_bytes),
           number(c->model_checksum), number(c->snapshot));
    for (size_t i = 0; i < c->position_count; i++)
        printf("offset      %s/%d=%lld\n", c->position[i].topic, (int)c->position[i].partition,
               (long long)c->position[i].next_offset);
    const size_t learned = c->range_count - mr_state_pending_count(c);
    for (size_t i = 0; i < c->range_count && i < RANGES_SHOWN; i++) {
        const struct mr_state_range *const range = &c->range[i];
        printf("%s     %s[%d] %lld.%u to %lld.%u\n", i < learned ? "learned" : "pending",
               c->position[range->position].topic, (int)c->position[range->position].partition,
               (long long)range->first_offset, (unsigned)range->first_record, (long long)range->end_offset,
               (unsigned)range->end_record);
    }
    if (c->range_count > RANGES_SHOWN) printf("            and %zu more ranges\n", c->range_count - RANGES_SHOWN);
}

static mr_status show_run(const struct model_options *opt, const struct mr_job *job, size_t model,
                          const struct mr_state_target *target, struct mr_err *err)
{
    struct mr_state_log *log;
    size_t count, at;
    mr_status status = mr_past_list(job, model, &log, err);
    if (status) return status;
    const struct mr_state_entry *const entry = mr_state_log_entries(log, &count);
    for (at = count; at > 0; at--) {
        const struct mr_state_commit *const c = entry[at - 1].commit;
        if (target->by == MR_STATE_AT_SEQ ? c->seq == target->number
                                          : c->version_after >= target->number && c->version_before < target->number)
            break;
    }
    struct mr_state_point point;
    if (!at) status = mr_state_log_seek(log, target, &point, err); /* says what there is */
    if (!status && !at) status = mr_fail(err, MR_EINPUT, "no commit has made version %llu", number(target->number));
    const struct mr_state_target by_seq = {.by = MR_STATE_AT_SEQ, .number = status ? 0 : entry[at - 1].commit->seq};
    struct mr_err why;
    const bool is_there = !status && !mr_state_log_seek(log, &by_seq, &point, &why);
    if (!status && opt->json)
        entry_json(&entry[at - 1], is_there, true);
    else if (!status)
        entry_show(&entry[at - 1], is_there);
    mr_state_log_destroy(log);
    return status;
}

static mr_status rollback_run(const struct mr_job *job, size_t model, const struct mr_state_target *target,
                              struct mr_err *err)
{
    struct mr_back_done done;
    const mr_status status = mr_back_write(job, model, target, &done, err);
    if (status) return status;
    printf("commit %llu: \"%s\" is version %llu again (of commit %llu), it was %llu; all models of the job go back "
           "with it\n",
           number(done.seq), job->model[model].name, number(done.version), number(done.from_seq),
           number(done.version_before));
    fprintf(stderr, "a trainer that ran has lost its place and ends with exit code 73: the next `millrace run` goes on "
                    "from this version\n");
    return MR_OK;
}

static mr_status model_run(const void *options, const struct mr_words *words, struct mr_err *err)
{
    const struct model_options *const opt = options;
    struct mr_past_target target = {0};
    struct mr_job *job = NULL;
    size_t model;
    const bool is_list = !strcmp(words->item[0], "list");
    mr_status status = MR_OK;
    if (words->count < 2) return mr_fail(err, MR_EUSAGE, "%s needs a job file", words->item[0]);
    if (!is_list) status = mr_past_target_read(&opt->where, &target, err);
    if (!status) status = mr_job_load(words->item[1], stderr, &job, err);
    if (!status) status = mr_override_properties(job, &opt->properties, err);
    if (!status && is_list) {
        status = list_run(opt, job, err);
    } else if (!status) {
        status = mr_past_model(job, opt->where.model, &model, err);
        if (!status)
            status = !strcmp(words->item[0], "show") ? show_run(opt, job, model, &target.state, err)
                                                     : rollback_run(job, model, &target.state, err);
    }
    mr_past_target_deinit(&target);
    mr_job_destroy(job);
    return status;
}

static const char *const model_words[] = {"list", "show", "rollback", NULL};

#define AT(field) offsetof(struct model_options, field)
static const struct mr_flag model_flags[] = {
    MR_FLAG_VERSION(AT(where.version)),
    MR_FLAG_COMMIT(AT(where.commit)),
    MR_FLAG_MODEL(AT(where.model)),
    {.row = {.key = "json",
             .type = MR_OPT_BOOL,
             .offset = AT(json),
             .doc = "One JSON object a commit; ranges as [position, first offset, byte, end offset, byte]. What is "
                    "broken in a topic is an object with \"fault\"."}},
    MR_FLAG_PROPERTY(AT(properties)),
    {0},
};
#undef AT

const struct mr_command mr_command_model = {
    .name = "model",
    .summary = "List, show and put back the versions of models that learn in a topic",
    .usage = "list|show|rollback JOB [flags]",
    .examples = "millrace model list job.json                     # every commit that the topic still holds\n"
                "millrace model show job.json --commit 17         # what it learned from, offsets, counts\n"
                "millrace model rollback job.json --version 1200  # go on from there",
    .notes =
        "rollback writes, for all models of the job, a commit with the model as it was and the offsets of now: what\n"
        "was read stays read. It takes the trainer's place: one that runs ends with exit code 73, and the next\n"
        "`millrace run`, and all that follow the topic, go on from that version. A version number may come twice\n"
        "then, with other weights: the commit number never does. `list` says \"broken\" where there is no way to a\n"
        "commit any more; rollback to one that is whole, which the last one often is, stands behind the damage.",
    .flags = model_flags,
    .options_size = sizeof(struct model_options),
    .word_min = 1,
    .word_max = 2,
    .choices = model_words,
    .completes_files = true,
    .run = model_run,
};
