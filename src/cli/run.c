/* millrace run: the service. Signals, progress and the report; the work itself is in src/pipeline/. */
#include <ctype.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/options.h"
#include "base/term.h"
#include "cli/command.h"
#include "cli/override.h"
#include "cli/run_roles.h"
#include "config/job.h"
#include "config/roles.h"
#include "kafka/client.h"
#include "kafka/embedded.h"
#include "kafka/feed.h"
#include "kafka/library_version.h"
#include "metrics/summary.h"
#include "pipeline/follower.h"
#include "pipeline/lane.h"

#define DRAIN_LIMIT_NS       (7 * 1000000000LL) /* SIGTERM: over within 10 s, what follows included */
#define ABORT_LIMIT_NS       (2 * 1000000000LL)
#define FOLLOW_LIMIT_NS      (6 * 1000000000LL) /* after a signal or an error, for followers; then two more steps */
#define FOLLOW_STILL_NS      (2 * 1000000000LL) /* likewise, while nothing moves */
#define FOLLOW_STEP_NS       (1 * 1000000000LL)
#define FOLLOW_QUIET_NS      (50 * 1000000000LL) /* without one: a follower ends by itself before that, unless it hangs */
#define CLOSE_LIMIT_S        2
#define CLOSE_LIMIT_FAILED_S 1 /* after an error the clients may have nobody left to say goodbye to */
#define UNTIL_US_MAX         (365 * 86400 * 1e6)
#define UNTIL_COUNT_MAX      1e15
#define START_TICK_NS        2000000
#define FEED_WAKE_NS         50000000
#define TICK_US              20000
#define LIVE_INTERVAL_NS     200000000

struct run_options {
    char *until;
    struct mr_map properties;
    int64_t lanes;
    char *backend;
    char *feed;
    double rate;
    bool json, quiet;
    int role; /* mr_job_role */
};

/* What the main thread keeps while the lanes work. */
struct watch {
    struct mr_run *run;
    const struct run_options *opt;
    struct mr_summary before, now;
    int64_t progress_due_ns, stop_ns;
    uint64_t sequence;
    bool is_live, has_started;
    unsigned signal_count;
    bool is_cut; /* a signal came before the run was where --until ends it */
    struct mr_feed feed;
    pthread_t feeder;
    struct mr_err feed_err;
    _Atomic bool is_fed;
};

static mr_status until_parse(const char *text, struct mr_until *until, struct mr_err *err)
{
    char *end;
    double value;
    *until = (struct mr_until){0};
    if (!text) return MR_OK;
    if (!strcmp(text, "end")) {
        until->end = true;
        return MR_OK;
    }
    value = strtod(text, &end);
    const double unit = !strcmp(end, "s")    ? 1e6
                        : !strcmp(end, "ms") ? 1e3
                        : !strcmp(end, "m")  ? 60e6
                        : !strcmp(end, "h")  ? 3600e6
                                             : 0;
    const bool is_decimal =
        isdigit((unsigned char)*text) && !strpbrk(text, "xX"); /* strtod takes inf, nan and 0x10 too */
    if (is_decimal && unit > 0 && value * unit >= 1 && value * unit <= UNTIL_US_MAX)
        until->duration_us = (int64_t)(value * unit);
    else if (is_decimal && !*end && value >= 1 && value <= UNTIL_COUNT_MAX && value == (double)(int64_t)value)
        until->records = (int64_t)value;
    else
        return mr_fail(err, MR_EUSAGE,
                       "--until \"%s\": give end, a duration (30s, 5m, 1h; at most 8760h) or a whole number of "
                       "messages (at most 1e15)",
                       text);
    return MR_OK;
}

static void signals_block(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGTERM);
    sigaddset(set, MR_ROLES_LEAVE);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);              /* a file at its size limit is the sink's error, which says so */
    pthread_sigmask(SIG_BLOCK, set, NULL); /* before any thread starts: all inherit it, and only this one takes them */
}

static void live_clear(void)
{
    if (write(STDERR_FILENO, "\r\033[K", 4) < 0) return;
}

/* What the parent shows: all of the scorers, of the trainer how far it is. */
static void role_line(const struct watch *watch, const char *line)
{
    const struct mr_models *const models = &watch->run->models;
    uint64_t version = 0;
    char text[80];
    for (size_t i = 0; i < models->count && !version; i++)
        if (models->item[i].learn) version = atomic_load(&models->item[i].version);
    snprintf(text, sizeof text, "trainer: %llu in, version %llu", (unsigned long long)watch->now.records_in,
             (unsigned long long)version);
    mr_roles_line(watch->run->job->role == MR_ROLE_TRAINER ? text : line);
}

static void live_print(struct watch *watch)
{
    char line[512], text[600];
    mr_progress_line(line, sizeof line, &watch->before, &watch->now, mr_term_width(STDERR_FILENO));
    if (mr_roles_is_child()) {
        role_line(watch, line);
        return;
    }
    const int bytes = snprintf(text, sizeof text, "\r\033[K%s", line);
    if (bytes > 0 && write(STDERR_FILENO, text, (size_t)bytes) < 0) watch->is_live = false;
}

static void progress(struct watch *watch)
{
    const int64_t now_ns = mr_clock_ns();
    if (watch->opt->quiet || now_ns < watch->progress_due_ns) return;
    mr_summary_take(watch->run, &watch->now);
    mr_roles_print_begin();
    if (watch->is_live)
        live_print(watch);
    else
        mr_progress_print_json(watch->opt->json ? stdout : stderr, watch->run, &watch->before, &watch->now,
                               watch->sequence);
    mr_roles_print_end();
    watch->sequence++;
    /* The live line moves five times a second but shows the rate of about the last second. */
    if (!watch->is_live || watch->now.seconds - watch->before.seconds > 1) watch->before = watch->now;
    watch->progress_due_ns = now_ns + (watch->is_live ? LIVE_INTERVAL_NS : watch->run->job->progress_interval * 1000);
}

static void *feed_main(void *argument)
{
    struct watch *watch = argument;
    mr_feed_run(&watch->feed, &watch->feed_err);
    atomic_store(&watch->is_fed, true);
    return NULL;
}

static void feed_wake(int number)
{
    (void)number;
}

/* The stopped feeder may sit in a read of a terminal or a pipe: a signal interrupts it, again until it has seen the
 * stop. */
static void feed_join(struct watch *watch)
{
    const struct sigaction wake = {.sa_handler = feed_wake}; /* without SA_RESTART */
    sigaction(SIGUSR1, &wake, NULL);
    for (;;) {
        struct timespec due;
        clock_gettime(CLOCK_REALTIME, &due);
        due.tv_sec += (due.tv_nsec + FEED_WAKE_NS) / 1000000000;
        due.tv_nsec = (due.tv_nsec + FEED_WAKE_NS) % 1000000000;
        if (pthread_timedjoin_np(watch->feeder, NULL, &due) != ETIMEDOUT) return;
        pthread_kill(watch->feeder, SIGUSR1);
    }
}

static uint64_t bytes_taken(const void *reader)
{
    const struct mr_run *const run = reader;
    uint64_t bytes = 0;
    for (unsigned i = 0; i < run->lane_count; i++) bytes += mr_stats_get(&run->lane[i]->stats.bytes_in);
    return bytes;
}

/* --feed FILE: the lines of a file go into the job's first topic while it runs. */
static mr_status feed_start(struct watch *watch, const char *topic, struct mr_err *err)
{
    watch->feed = (struct mr_feed){.properties = watch->run->properties,
                                   .path = watch->opt->feed,
                                   .topic = topic,
                                   .records_per_s = watch->opt->rate,
                                   .lines_per_message = 1,
                                   .repeat = 1};
    if (mr_kafka_is_embedded(watch->run->properties)) {
        watch->feed.taken = bytes_taken;
        watch->feed.reader = watch->run;
    }
    if (pthread_create(&watch->feeder, NULL, feed_main, watch))
        return mr_fail(err, MR_ENOMEM, "could not start the feeder");
    return MR_OK;
}

static bool has_limit(const struct mr_until *until)
{
    return until->end || until->duration_us || until->records;
}

static bool is_time_over(const struct mr_run *run)
{
    return run->until.duration_us && mr_clock_ns() - run->started_ns >= run->until.duration_us * 1000;
}

static mr_status cut_fail(struct mr_err *err)
{
    return mr_fail(err, MR_ERETRY, "stopped before it was where --until ends it: start again to go on");
}

/* The first one asks for an end, if none is under way; the second one leaves at once. */
static void signal_take(struct watch *watch, int number)
{
    const mr_run_state state = (mr_run_state)atomic_load(&watch->run->state);
    const bool is_child = mr_roles_is_child(), is_leave = number == MR_ROLES_LEAVE;
    if (is_leave ? !is_child : is_child && state != MR_RUN_ON) return; /* a child is asked by all, more than once */
    if (!watch->signal_count++ && state != MR_RUN_ON && !is_leave) {
        mr_log(MR_LOG_INFO, "run", "%s: the run is ending already; once more to leave at once",
               number == SIGINT ? "Ctrl-C" : "SIGTERM");
        return;
    }
    if (state == MR_RUN_ON && !is_leave) {
        watch->is_cut = has_limit(&watch->run->until) && !mr_run_wait(watch->run, 0) && !is_time_over(watch->run);
        mr_log(MR_LOG_INFO, "run", "%s: finishing what was taken in, then committing%s",
               number == SIGINT ? "Ctrl-C" : "SIGTERM", number == SIGINT ? "; once more to leave at once" : "");
        mr_run_stop(watch->run, MR_RUN_DRAIN);
    } else {
        mr_log(MR_LOG_WARN, "run", "leaving at once: what is not committed will be repeated");
        mr_run_stop(watch->run, MR_RUN_ABORT);
    }
    watch->stop_ns = mr_clock_ns();
    watch->feed.stop = true;
}

static void report(struct watch *watch, mr_status status)
{
    mr_summary_take(watch->run, &watch->now);
    mr_roles_print_begin();
    if (watch->opt->json)
        mr_summary_print_json(stdout, watch->run, &watch->now, status);
    else if (watch->has_started)
        mr_summary_print(stdout, watch->run, &watch->now);
    fflush(stdout);
    mr_roles_print_end();
}

/* A lane that does not come back in time (a client call that hangs) must not keep the process. */
static void stop_enforce(struct watch *watch)
{
    const int state = atomic_load(&watch->run->state);
    const int64_t now_ns = mr_clock_ns();
    if (state == MR_RUN_DRAIN && now_ns - watch->stop_ns > DRAIN_LIMIT_NS) {
        mr_run_stop(watch->run, MR_RUN_ABORT);
        watch->stop_ns = now_ns;
    } else if (state == MR_RUN_ABORT && now_ns - watch->stop_ns > ABORT_LIMIT_NS) {
        mr_log(MR_LOG_ERROR, "run", "a lane did not end in time: leaving; what is not committed will be repeated");
        if (watch->run->models.learns)
            mr_log(MR_LOG_ERROR, "learn", "what was learned is not saved: the lane may be at work on it");
        report(watch, MR_ERETRY);
        _exit(mr_status_exit(MR_ERETRY));
    }
}

/* A follower's sink hangs in a system call: nothing can be freed, and nobody waited for. */
static void follower_leave(struct watch *watch)
{
    struct mr_err err = {0};
    mr_followers_join(watch->run, 0, &err);
    mr_log(MR_LOG_ERROR, "run", "%s", err.text);
    report(watch, MR_ERETRY);
    _exit(mr_status_exit(MR_ERETRY));
}

/*
 * The lanes have ended: followers write what is committed. A run that has come to its end by itself gives them the time
 * that they need, as long as something moves; after a signal or an error they have a few seconds, and less while
 * nothing moves.
 */
static void followers_watch(struct watch *watch, const sigset_t *set, bool is_limited)
{
    const struct timespec tick = {.tv_nsec = TICK_US * 1000};
    struct mr_run *const run = watch->run;
    int64_t due_ns = is_limited ? watch->stop_ns + FOLLOW_LIMIT_NS : 0; /* of the next, harder step; 0: none */
    int64_t still_ns = mr_clock_ns();                                   /* since when nothing has moved, here */
    unsigned step = 0;
    mr_followers_ask(run, MR_FOLLOWER_FINISH);
    if (run->follower_count)
        mr_log(MR_LOG_INFO, "run", "the lanes have ended: sinks outside Kafka get what is committed");
    while (!mr_followers_ended(run)) {
        const int64_t now_ns = mr_clock_ns();
        const int number = sigtimedwait(set, NULL, &tick);
        if (number > 0) {
            signal_take(watch, number);
            if (!due_ns) due_ns = now_ns + FOLLOW_LIMIT_NS;
        }
        const int64_t progress_ns = mr_followers_progress_ns(run);
        if (progress_ns > still_ns) still_ns = progress_ns;
        if (step < 2 && atomic_load(&run->state) == MR_RUN_ABORT) {
            step = 2;
            due_ns = now_ns + FOLLOW_STEP_NS;
        } else if (due_ns && (now_ns >= due_ns || (!step && now_ns - still_ns > FOLLOW_STILL_NS))) {
            due_ns = now_ns + FOLLOW_STEP_NS;
            if (++step > 2) follower_leave(watch);
            mr_followers_ask(run, MR_FOLLOWER_LEAVE);
            watch->is_cut |= has_limit(&run->until);
            if (step == 2) mr_run_stop(run, MR_RUN_ABORT);
        } else if (!due_ns && now_ns - still_ns > FOLLOW_QUIET_NS) {
            follower_leave(watch);
        }
        progress(watch);
    }
}

/* Until the run is over: signals, limits, progress. */
static void watch_loop(struct watch *watch, const sigset_t *set)
{
    const struct timespec tick = {.tv_nsec = TICK_US * 1000};
    bool is_over = false, is_limited = false;

    while (!is_over || !mr_run_lanes_ended(watch->run)) {
        const int number = sigtimedwait(set, NULL, &tick);
        if (number > 0) signal_take(watch, number);
        if (!is_over) {
            is_over = mr_run_wait(watch->run, 0) || atomic_load(&watch->run->state) != MR_RUN_ON ||
                      (watch->is_fed && watch->feed_err.status) || is_time_over(watch->run);
            if (is_over) {
                is_limited = atomic_load(&watch->run->state) != MR_RUN_ON; /* a signal; errors are seen below */
                if (is_time_over(watch->run))
                    mr_log(MR_LOG_INFO, "run", "the time of --until is over: finishing what was taken in");
                mr_run_stop(watch->run, MR_RUN_DRAIN);
                watch->feed.stop = true;
                if (!watch->stop_ns) watch->stop_ns = mr_clock_ns();
            }
        } else {
            stop_enforce(watch);
        }
        progress(watch);
    }
    is_limited |= watch->signal_count || mr_run_has_failed(watch->run);
    followers_watch(watch, set, is_limited);
}

struct starting {
    struct mr_run *run;
    mr_status status;
    struct mr_err *err;
    _Atomic bool is_over;
};

static void *start_main(void *argument)
{
    struct starting *starting = argument;
    starting->status = mr_run_start(starting->run, starting->err);
    atomic_store(&starting->is_over, true);
    return NULL;
}

/* Starts the lanes. Brokers may take long to answer, or never do: a signal meanwhile ends the process, which has taken
 * nothing in yet. */
static mr_status lanes_start(struct mr_run *run, const sigset_t *set, struct mr_err *err)
{
    const struct timespec tick = {.tv_nsec = START_TICK_NS};
    struct starting starting = {.run = run, .err = err};
    pthread_t starter;

    if (pthread_create(&starter, NULL, start_main, &starting))
        return mr_fail(err, MR_ENOMEM, "could not start a thread");
    while (!atomic_load(&starting.is_over)) {
        const int number = sigtimedwait(set, NULL, &tick);
        if (number < 0) continue;
        mr_log(MR_LOG_INFO, "run", "%s while starting: nothing was taken in", number == SIGINT ? "Ctrl-C" : "SIGTERM");
        _exit(has_limit(&run->until) ? mr_status_exit(MR_ERETRY) : 0);
    }
    pthread_join(starter, NULL);
    return starting.status;
}

static mr_status watch_run(struct watch *watch, const sigset_t *set, const char *feed_topic, struct mr_err *err)
{
    if (watch->run->job->source->offsets_send) mr_library_log(); /* a source that is Kafka's */
    mr_status status = lanes_start(watch->run, set, err);
    if (status) return status;
    watch->has_started = true;
    watch->is_live = mr_term_is_live(STDERR_FILENO) && !watch->opt->json;
    watch->progress_due_ns =
        mr_clock_ns() + (watch->is_live ? LIVE_INTERVAL_NS : watch->run->job->progress_interval * 1000);
    if (watch->is_live && !watch->opt->quiet) mr_log_clear_line_set(live_clear);
    if (feed_topic) status = feed_start(watch, feed_topic, err);
    if (status) mr_run_stop(watch->run, MR_RUN_ABORT);
    watch_loop(watch, set);
    if (feed_topic && !status) {
        feed_join(watch);
        if (watch->feed_err.status) status = watch->feed_err.status;
        if (status && err) *err = watch->feed_err;
    }
    struct mr_err lane_err = {0};
    const mr_status lane_status = mr_run_finish(watch->run, &lane_err);
    if (lane_status) {
        status = lane_status;
        if (err) *err = lane_err;
    }
    if (!status && watch->is_cut) status = cut_fail(err);
    if (watch->is_live && !watch->opt->quiet) live_clear();
    mr_log_clear_line_set(NULL);
    return status;
}

static const struct mr_strings *source_topics(const struct mr_job *job)
{
    return mr_option_value(job->source->options, job->source_options, "topics", MR_OPT_STRINGS);
}

static const char *first_topic(const struct mr_job *job)
{
    const struct mr_strings *const topics = source_topics(job);
    return topics && topics->count ? topics->item[0] : NULL;
}

/* What a job learns depends on the order of its records: on a broker of its own its topics get one partition, not four,
 * so that they come as they were fed. */
static void order_keep(const struct mr_job *job, const struct mr_run *run)
{
    const struct mr_strings *const topics = source_topics(job);
    struct mr_err err; /* a topic is there already: its user wants it so */
    if (!run->is_ordered || !run->properties || !mr_kafka_is_embedded(run->properties)) return;
    for (size_t i = 0; i < job->labels.topics.count; i++) mr_kafka_embedded_topic(job->labels.topics.item[i], 1, &err);
    for (size_t i = 0; topics && i < topics->count; i++) mr_kafka_embedded_topic(topics->item[i], 1, &err);
    for (size_t i = 0; i < job->sink_count; i++) {
        char *const *const topic =
            mr_option_value(job->sink[i].ops->options, job->sink[i].options, "topic", MR_OPT_STRING);
        if (topic && *topic) mr_kafka_embedded_topic(*topic, 1, &err);
    }
}

/* With a feed, "to the end" means: until every fed line has been taken in. */
static mr_status feed_bound(const struct run_options *opt, struct mr_until *until, struct mr_err *err)
{
    struct stat info;
    uint64_t count = 0;
    if (!opt->feed || !until->end) return MR_OK;
    if (!strcmp(opt->feed, "-") || (!stat(opt->feed, &info) && !S_ISREG(info.st_mode))) {
        return mr_fail(err, MR_EUSAGE,
                       "--feed %s --until end: the lines of a stream cannot be counted before they are sent: give a "
                       "file, or a duration or a count to --until",
                       opt->feed);
    }
    const mr_status status = mr_feed_count(opt->feed, &count, err);
    if (count) *until = (struct mr_until){.records = (int64_t)count}; /* 0 would be no limit */
    return status;
}

static struct {
    int exit_code;
    size_t text_bytes;
    char text[MR_ERR_TEXT_BYTES + 32];
} closing; /* what the end of the process says when it has to be cut short */

static void close_late(int number)
{
    (void)number;
    const ssize_t written = write(STDERR_FILENO, closing.text, closing.text_bytes);
    (void)written;
    _exit(closing.exit_code);
}

/* Everything is committed or will be repeated; a client that hangs while it closes changes neither, and must not keep
 * the process. */
static void run_close(struct mr_run *run, const struct mr_err *err, mr_status status)
{
    if (status && err) snprintf(closing.text, sizeof closing.text, "millrace run: %s\n", err->text);
    closing.text_bytes = strlen(closing.text);
    closing.exit_code = mr_status_exit(status);
    signal(SIGALRM, close_late);
    if (mr_followers_lost(run)) close_late(0);
    alarm(status ? CLOSE_LIMIT_FAILED_S : CLOSE_LIMIT_S);
    mr_run_destroy(run);
    alarm(0);
}

static bool is_signal_here(void)
{
    sigset_t here;
    return !sigpending(&here) && (sigismember(&here, SIGINT) || sigismember(&here, SIGTERM));
}

/* Scorers wait for the first version as long as it may come. */
static mr_patience scorers_patience(void)
{
    return is_signal_here() ? MR_PATIENCE_OVER : mr_roles_trainer_has_ended() ? MR_PATIENCE_LAST : MR_PATIENCE_ON;
}

/* There is no version: a signal came first, or the trainer has ended without any record. */
static mr_status start_end(const struct mr_until *until, struct mr_err *err)
{
    if (!is_signal_here()) {
        mr_log(MR_LOG_INFO, "run", "nothing was learned, so there is nothing to score with, nor to score");
        return MR_OK;
    }
    mr_log(MR_LOG_INFO, "run", "stopped while starting: nothing was taken in");
    return has_limit(until) ? cut_fail(err) : MR_OK;
}

static mr_status job_run(struct mr_job *job, const struct run_options *opt, const sigset_t *set, struct mr_err *err)
{
    struct watch *watch = calloc(1, sizeof *watch);
    struct mr_until until;
    mr_status status = watch ? until_parse(opt->until, &until, err) : mr_fail(err, MR_ENOMEM, "out of memory");

    if (!status) status = feed_bound(opt, &until, err);
    if (!status && job->role == MR_ROLE_SCORERS) until.patience = scorers_patience;
    if (!status) status = mr_run_create(job, &until, &watch->run, err);
    if (status == MR_END) {
        status = start_end(&until, err);
    } else if (!status) {
        watch->opt = opt;
        order_keep(job, watch->run);
        status = watch_run(watch, set, opt->feed ? first_topic(job) : NULL, err);
        report(watch, status);
        run_close(watch->run, err, status);
    }
    free(watch);
    return status;
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
    mr_status status = until_parse(opt->until, &until, err);
    if (status || role) return status ? status : role_run(job, role, opt, set, err);
    status = mr_roles_fork(&role, err);
    if (!status && role) return role_run(job, role, opt, set, err);
    return status ? status : mr_roles_watch(set, has_limit(&until), is_live, err);
}

static mr_status run_run(const void *options, const struct mr_words *words, struct mr_err *err)
{
    const struct run_options *opt = options;
    struct mr_job *job;
    sigset_t set;

    mr_status status = mr_job_load(words->item[0], stderr, &job, err); /* may wait for a pipe: a signal ends it there */
    if (status) return status;
    signals_block(&set);
    status = mr_override_properties(job, &opt->properties, err);
    if (!status && opt->lanes) *(job->scorers ? &job->scorers : &job->lanes) = opt->lanes;
    if (!status && opt->backend) status = mr_override_string(&job->backend, opt->backend, err);
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
