/* millrace check: everything about a job that can be known without a network. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/term.h"
#include "cli/command.h"
#include "config/followed.h"
#include "config/job.h"

struct check_options {
    bool json;
};

/* Sinks that lanes do not write to. */
static void print_followed(const struct mr_job *job)
{
    char group[MR_GROUP_BYTES];
    for (size_t i = 0; i < job->sink_count; i++) {
        if (!mr_job_sink_is_followed(job, i)) continue;
        mr_job_followed_group(job, i, group);
        printf("    %s is fed from topic \"%s\" by group \"%s\", committed records only: %s\n", job->sink[i].ops->name,
               mr_job_followed_topic(job), group,
               job->sink[i].ops->mark ? "each once where it can keep a mark, as in a file"
                                      : "at least once after a crash");
    }
}

/* "ok  job.json: regimes: kafka -> json -> mlp -> kafka, 1 feature, 2 fields" */
static void print_good(const char *path, const struct mr_job *job)
{
    const size_t features = job->record.features.count, fields = job->emit.fields.count;
    printf("%sok%s %s: %s: %s -> %s ->", mr_term_style(STDOUT_FILENO, MR_STYLE_GREEN),
           mr_term_style(STDOUT_FILENO, MR_STYLE_PLAIN), path, job->name, job->source->name, job->codec->name);
    for (size_t i = 0; i < job->model_count; i++) printf("%s %s", i ? " +" : "", job->model[i].ops->name);
    printf(" ->");
    for (size_t i = 0; i < job->sink_count; i++) printf("%s %s", i ? " +" : "", job->sink[i].ops->name);
    printf(", %zu feature%s in, %zu field%s out\n", features, features == 1 ? "" : "s", fields, fields == 1 ? "" : "s");
    if (job->scorers)
        printf("    in two processes: a trainer, which learns from all records, and %lld lane%s of scorers\n",
               (long long)job->scorers, job->scorers == 1 ? "" : "s");
    print_followed(job);
}

static mr_status check_file(const char *path, bool is_json, struct mr_err *err)
{
    struct mr_job *job = NULL;
    char *text;
    size_t bytes;
    mr_status status = mr_job_read(path, &text, &bytes, err);
    if (status != MR_OK) return status;
    const char *const name = strcmp(path, "-") != 0 ? path : "<stdin>";
    status = mr_job_parse_as(name, text, bytes, is_json ? stdout : stderr, MR_JOB_MODELS | (is_json ? MR_JOB_JSON : 0),
                             &job, err);
    if (status == MR_OK && !is_json) print_good(name, job);
    mr_job_destroy(job);
    free(text);
    return status;
}

static mr_status check_run(const void *options, const struct mr_words *words, struct mr_err *err)
{
    const struct check_options *const check = options;
    return check_file(words->item[0], check->json, err);
}

static const struct mr_flag check_flags[] = {
    {.row = {.key = "json",
             .type = MR_OPT_BOOL,
             .offset = offsetof(struct check_options, json),
             .doc = "Findings as one JSON object on stdout: severity, line, column, path, message, hint, note."}},
    {0},
};

const struct mr_command mr_command_check = {
    .name = "check",
    .summary = "Say everything that is wrong with a job file, without a network",
    .usage = "JOB [--json]",
    .examples = "millrace check job.json          # one line when it is right, every error when not\n"
                "millrace check --json job.json   # for editors and scripts\n"
                "millrace check - < job.json      # from stdin",
    .notes = "Exit codes: 0 the job file is right, 78 it is not, 66 it cannot be read.",
    .flags = check_flags,
    .options_size = sizeof(struct check_options),
    .word_min = 1,
    .word_max = 1,
    .completes_files = true,
    .run = check_run,
};
