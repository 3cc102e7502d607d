/* millrace demo: the shipped jobs, each with what it is fed with and its page. Nothing else needs to run. */
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "base/options.h"
#include "cli/command.h"
#include "cli/demo_feed.h"
#include "cli/demo_sets.h"
#include "cli/demo_work.h"
#include "cli/override.h"
#include "cli/run_job.h"
#include "cli/run_until.h"
#include "http/server.h"

#define PORT 8420

struct demo_options {
    char *http, *until;
    double rate;
    bool open, quiet;
};

static mr_status sets_print(const struct mr_demo_sets *sets)
{
    printf("Jobs to look at; nothing else needs to run:\n\n");
    for (size_t i = 0; i < sets->count; i++) printf("  %-12s %s\n", sets->item[i].name, sets->item[i].title);
    printf("\nmillrace demo %s   # its page is http://127.0.0.1:%d/, until Ctrl-C\n"
           "They are in %s, each with a README.md\n",
           sets->item[0].name, PORT, sets->folder);
    return MR_OK;
}

/* Whether somebody listens at the usual port of this machine. */
static bool is_port_taken(void)
{
    const struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(PORT), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const int link = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    setsockopt(link, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on); /* connections that have ended do not count */
    const bool is_taken =
        link >= 0 && bind(link, (const struct sockaddr *)&address, sizeof address) && errno == EADDRINUSE;
    if (link >= 0) close(link);
    return is_taken;
}

static mr_status listen_choose(const struct demo_options *opt, struct mr_job *job, struct mr_err *err)
{
    char usual[32];
    mr_status status;
    if (opt->http) {
        status = mr_http_check(opt->http, job->http.token_file, err);
        return status ? (err->status = MR_EUSAGE) : mr_override_string(&job->http.listen, opt->http, err);
    }
    const bool is_taken = is_port_taken();
    if (is_taken) mr_log(MR_LOG_INFO, "demo", "port %d is taken: the page takes a free one", PORT);
    snprintf(usual, sizeof usual, "127.0.0.1:%d", is_taken ? 0 : PORT);
    return mr_override_string(&job->http.listen, usual, err);
}

/* --rate: of what the demo is fed with, or else of a source that makes its records itself. */
static mr_status rate_set(const struct demo_options *opt, struct mr_job *job, struct mr_demo_feeds *feeds,
                          struct mr_err *err)
{
    char text[32];
    if (opt->rate <= 0) return MR_OK;
    if (feeds->count) {
        mr_demo_feeds_pace(feeds, opt->rate);
        return MR_OK;
    }
    if (!mr_option_value(job->source->options, job->source_options, "rate", MR_OPT_DOUBLE))
        return mr_fail(err, MR_EUSAGE, "--rate: the source of this demo (%s) knows no rate: leave it out",
                       job->source->name);
    snprintf(text, sizeof text, "%.17g", opt->rate);
    return mr_options_set(job->source->options, job->source_options, "rate", text, err);
}

/* Shows the page in the user's browser, as far as there is one. */
static void browser_open(const char *address)
{
    static const char missing[] = "millrace demo: --open: there is no xdg-open here: open the address yourself\n";
    const pid_t child = fork();
    sigset_t none;
    if (!child && !fork()) { /* twice: nobody has to wait for it */
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        execlp("xdg-open", "xdg-open", address, (char *)NULL);
        const ssize_t written = write(STDERR_FILENO, missing, sizeof missing - 1);
        (void)written;
        _exit(0);
    }
    if (!child) _exit(0);
    if (child > 0) waitpid(child, NULL, 0);
}

static void page_is_there(void *context, const char *address)
{
    const struct demo_options *const opt = context;
    printf("%s\n", address);
    fflush(stdout);
    fprintf(stderr, "%s: open it in a browser; Ctrl-C ends the demo and leaves nothing behind.\n", address);
    if (opt->open) browser_open(address);
}

/* The job of a work folder, with all that it is fed with. */
static mr_status work_run(const struct demo_options *opt, const char *work, struct mr_until *until, struct mr_err *err)
{
    struct mr_demo_feeds feeds = {0};
    struct mr_job *job = NULL;
    char *path = NULL;
    sigset_t set;

    if (asprintf(&path, "%s/demo.json", work) < 0) return mr_fail(err, MR_ENOMEM, "out of memory");
    mr_run_job_signals(&set);
    mr_status status = mr_demo_feeds_read(work, &feeds, err);
    if (!status && feeds.count && until->end)
        status =
            mr_fail(err, MR_EUSAGE, "--until end: what this demo is fed with has no end: give a duration or a count");
    if (!status) status = mr_job_load(path, stderr, &job, err);
    if (!status) status = listen_choose(opt, job, err);
    if (!status) status = rate_set(opt, job, &feeds, err);
    const struct mr_watch_options watched = {.quiet = opt->quiet,
                                             .feed = feeds.item,
                                             .feed_count = feeds.count,
                                             .page = page_is_there,
                                             .page_context = (void *)(uintptr_t)opt};
    if (!status) status = mr_run_job("demo", job, until, &watched, &set, err);
    mr_job_destroy(job);
    mr_demo_feeds_free(&feeds);
    free(path);
    return status;
}

static mr_status set_run(const struct demo_options *opt, const char *folder, const char *name, struct mr_err *err)
{
    struct mr_demo_work work = {0};
    struct mr_until until;
    char *data_set = NULL;
    if (asprintf(&data_set, "%s/%s", folder, name) < 0) return mr_fail(err, MR_ENOMEM, "out of memory");
    mr_status status = mr_until_parse(opt->until, &until, err);
    if (!status) status = mr_demo_work_begin(&work, data_set, err);
    if (!status) status = work_run(opt, work.path, &until, err);
    mr_demo_work_end(&work);
    free(data_set);
    return status;
}

static mr_status demo_run(const void *options, const struct mr_words *words, struct mr_err *err)
{
    const struct demo_options *const opt = options;
    const struct mr_demo_set *set = NULL;
    struct mr_demo_sets sets;
    mr_status status = mr_demo_sets_find(&sets, err);
    if (!status && !words->count)
        status = sets_print(&sets);
    else if (!status) {
        status = mr_demo_sets_choose(&sets, words->item[0], &set, err);
        if (!status) status = set_run(opt, sets.folder, set->name, err);
    }
    mr_demo_sets_free(&sets);
    return status;
}

#define AT(field) offsetof(struct demo_options, field)
static const struct mr_flag demo_flags[] = {
    {.argument = "ADDRESS",
     .row = {.key = "http",
             .type = MR_OPT_STRING,
             .offset = AT(http),
             .doc = "Serve the page there; without it at 127.0.0.1:8420, or at a free port where that is taken."}},
    {.row = {.key = "open",
             .type = MR_OPT_BOOL,
             .offset = AT(open),
             .doc = "Open the page in the browser that the desktop knows (xdg-open)."}},
    {.letter = 'r',
     .argument = "N",
     .row = {.key = "rate",
             .type = MR_OPT_DOUBLE,
             .offset = AT(rate),
             .min = 0,
             .max = 1e6,
             .doc = "Records a second in all, instead of what the demo is made for; 0: that."}},
    {.argument = "LIMIT",
     .row = {.key = "until",
             .type = MR_OPT_STRING,
             .offset = AT(until),
             .doc = "Stop after a duration (30s, 5m) or after so many messages; then report."}},
    {.letter = 'q',
     .row = {.key = "quiet", .type = MR_OPT_BOOL, .offset = AT(quiet), .doc = "No progress, only the report."}},
    {0},
};
#undef AT

const struct mr_command mr_command_demo = {
    .name = "demo",
    .summary = "Show a shipped job at work, with its page; without a name, list them",
    .usage = "[NAME] [flags]",
    .examples = "millrace demo                    # what there is\n"
                "millrace demo plane --open       # a regression that finds a plane, in the browser\n"
                "millrace demo plane --rate 600   # five times as fast",
    .notes = "A demo is a folder of data sets with a demo.json, a job as `millrace run` takes it; demo.feed says what\n"
             "it is fed with. It works on a copy in a temporary folder, which is removed however it ends.\n"
             "The data sets are those that were installed with the program, or where MILLRACE_DATASETS says.",
    .flags = demo_flags,
    .options_size = sizeof(struct demo_options),
    .word_max = 1,
    .run = demo_run,
};
