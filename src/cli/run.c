/* millrace run: the service. What its command line says; run_job.c runs it, the work is in src/pipeline/. */
#include <string.h>

#include "base/log.h"
#include "base/term.h"
#include "cli/command.h"
#include "cli/override.h"
#include "cli/run_job.h"
#include "cli/run_roles.h"
#include "cli/run_until.h"
#include "config/roles.h"
#include "http/server.h"

struct run_options {
    char *until;
    struct mr_map properties;
    int64_t lanes;
    char *backend;
    char *feed;
    char *http;
    double rate;
    bool json, quiet;
    int role; /* mr_job_role */
};

/* Scorers wait for the first version as long as it may come. */
static mr_patience scorers_patience(void)
{
    return mr_run_job_is_ended() ? MR_PATIENCE_OVER : mr_roles_trainer_has_ended() ? MR_PATIENCE_LAST : MR_PATIENCE_ON;
}

static mr_status job_run(struct mr_job *job, const struct run_options *opt, const sigset_t *set, struct mr_err *err)
{
    const struct mr_strings *const topics = mr_job_topics(job);
    const struct mr_run_feed_from feed = {.path = opt->feed,
                                          .topic = topics && topics->count ? topics->item[0] : NULL,
                                          .records_per_s = opt->rate,
                                          .repeat = 1};
    const struct mr_watch_options watched = {
        .json = opt->json, .quiet = opt->quiet, .feed = &feed, .feed_count = opt->feed ? 1 : 0};
    struct mr_until until;
    mr_status status = mr_until_parse(opt->until, &until, err);

    if (!status && opt->feed && !feed.topic)
        status =
            mr_fail(err, MR_EUSAGE,
                    "--feed %s sends lines to the job's first topic, and its source (%s) reads none: give the file "
                    "to the source itself",
                    opt->feed, job->source->name);
    if (!status) status = mr_until_bound(&until, opt->feed, err);
    if (!status && job->role == MR_ROLE_SCORERS) until.patience = scorers_patience;
    return status ? status : mr_run_job("run", job, &until, &watched, set, err);
}

/* One of the two processes of a job with scorers. */
static mr_status role_run(struct mr_job *job, mr_job_role role, const struct run_options *opt, const sigset_t *set,
                          struct mr_err *err)
{
    struct mr_err why = {0};
    mr_log_role_set(mr_job_role_name(role));
    mr_status status = mr_job_role_apply(job, role, &why);
    if (!status) status = job_run(job, opt, set, &why);
    return status ? mr_fail(err, status, "%s: %.700s", mr_job_role_name(role), why.text) : MR_OK;
}

/* A job with scorers: both processes, or the one that --role names. */
static mr_status roles_run(struct mr_job *job, const struct run_options *opt, const sigset_t *set, struct mr_err *err)
{
    struct mr_until until;
    mr_job_role role = (mr_job_role)opt->role;
    const bool is_live = mr_term_is_live(STDERR_FILENO) && !opt->json && !opt->quiet;
    if (opt->feed)
        return mr_fail(err, MR_EUSAGE,
                       "--feed: a job with scorers is fed from outside: `millrace replay %s --topic "
                       "...`",
                       opt->feed);
    mr_status status = mr_until_parse(opt->until, &until, err);
    if (status || role) return status ? status : role_run(job, role, opt, set, err);
    status = mr_roles_fork(&role, err);
    if (!status && role) return role_run(job, role, opt, set, err);
    return status ? status : mr_roles_watch(set, mr_until_is_limited(&until), is_live, err);
}

static mr_status run_run(const void *options, const struct mr_words *words, struct mr_err *err)
{
    const struct run_options *opt = options;
    struct mr_job *job;
    sigset_t set;

    mr_status status = mr_job_load(words->item[0], stderr, &job, err); /* may wait for a pipe: a signal ends it there */
    if (status) return status;
    mr_run_job_signals(&set);
    status = mr_override_properties(job, &opt->properties, err);
    if (!status && opt->lanes) *(job->scorers ? &job->scorers : &job->lanes) = opt->lanes;
    if (!status && opt->backend) status = mr_override_string(&job->backend, opt->backend, err);
    if (!status && opt->http) status = mr_override_string(&job->http.listen, opt->http, err);
    if (!status && opt->http && mr_http_check(opt->http, job->http.token_file, err)) status = err->status = MR_EUSAGE;
    if (!status && (job->scorers || opt->role))
        status = roles_run(job, opt, &set, err);
    else if (!status)
        status = job_run(job, opt, &set, err);
    mr_job_destroy(job);
    return status;
}

static const char *const role_names[] = {"both", "trainer", "scorers", NULL}; /* as mr_job_role */

#define AT(field) offsetof(struct run_options, field)
static const struct mr_flag run_flags[] = {
    {.argument = "LIMIT",
     .row = {.key = "until",
             .type = MR_OPT_STRING,
             .offset = AT(until),
             .doc = "Stop at end (of what was there at start), after a duration (30s, 5m) or after so many messages "
                    "(one may hold many records); then report."}},
    {.letter = 'X',
     .argument = "KEY=VALUE",
     .row = {.key = "property",
             .type = MR_OPT_MAP,
             .offset = AT(properties),
             .doc = "Set a librdkafka property of source and sinks, over the job file; repeatable."}},
    {.argument = "N",
     .row = {.key = "lanes",
             .type = MR_OPT_INT,
             .offset = AT(lanes),
             .min = 0,
             .max = MR_LANES_MAX,
             .doc = "Lanes (threads that poll, score and emit); by default one a core, at most one a partition."}},
    {.argument = "NAME",
     .row = {.key = "backend",
             .type = MR_OPT_STRING,
             .offset = AT(backend),
             .doc = "Backend over the job file: auto, cpu, cpu:avx2; see `millrace backends`."}},
    {.argument = "FILE",
     .row = {.key = "feed",
             .type = MR_OPT_STRING,
             .offset = AT(feed),
             .doc = "Send the lines of a file to the job's first topic while it runs: for demos. With --until end it "
                    "ends after as many messages as the "
                    "file has lines: the topic should be empty, for unread messages that it holds count too."}},
    {.argument = "N",
     .row = {.key = "rate",
             .type = MR_OPT_DOUBLE,
             .offset = AT(rate),
             .min = 0,
             .max = 1e9,
             .doc = "Records a second that --feed sends; 0: as fast as the broker takes them."}},
    {.argument = "ADDRESS",
     .row = {.key = "http",
             .type = MR_OPT_STRING,
             .offset = AT(http),
             .doc =
                 "Serve the job's page and metrics there, over the job file: 127.0.0.1:8420; port 0 takes one that is "
                 "free, and the log says which."}},
    {.argument = "ROLE",
     .row = {.key = "role",
             .type = MR_OPT_ENUM,
             .offset = AT(role),
             .fallback = "both",
             .choices = role_names,
             .doc = "Of a job with scorers: this process is its trainer or its scorers alone, for two machines; by "
                    "default both are started and watched."}},
    {.row = {.key = "json",
             .type = MR_OPT_BOOL,
             .offset = AT(json),
             .doc = "Progress and report as JSON lines on stdout."}},
    {.letter = 'q',
     .row = {.key = "quiet", .type = MR_OPT_BOOL, .offset = AT(quiet), .doc = "No progress, only the report."}},
    {0},
};
#undef AT

const struct mr_command mr_command_run = {
    .name = "run",
    .summary = "Score a topic: the service that a job file describes",
    .usage = "JOB [flags]",
    .examples = "millrace run job.json                                   # until Ctrl-C or SIGTERM\n"
                "millrace run job.json --until end                       # what is there now, then a report\n"
                "millrace run job.json -X bootstrap.servers=kafka:9092   # the same job on another cluster\n"
                "millrace run job.json --http 127.0.0.1:8420             # with a page to watch it by\n"
                "millrace run datasets/temperature/job.json --feed datasets/temperature/readings.jsonl --until end",
    .notes =
        "SIGTERM and the first Ctrl-C finish and commit what was taken in, within 10 s; the second leaves at once.\n"
        "That is a normal end (0), unless --until asked for more: then the exit code is 75. Of a job with scorers, a\n"
        "process that hangs is killed: 12 s after the first, 3 s after the second.\n"
        "Offsets are committed only when every output of a batch is acknowledged: a restart repeats, it never skips.",
    .flags = run_flags,
    .options_size = sizeof(struct run_options),
    .word_min = 1,
    .word_max = 1,
    .completes_files = true,
    .run = run_run,
};
