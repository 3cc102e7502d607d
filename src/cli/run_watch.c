#include "cli/run_watch.h"

#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/term.h"
#include "cli/run_roles.h"
#include "cli/run_until.h"
#include "kafka/library_version.h"
#include "live/live.h"
#include "metrics/summary.h"
#include "pipeline/follower.h"
#include "pipeline/lane.h"

#define DRAIN_LIMIT_NS   (7 * 1000000000LL) /* SIGTERM: over within 10 s, what follows included */
#define ABORT_LIMIT_NS   (2 * 1000000000LL)
#define FOLLOW_LIMIT_NS  (6 * 1000000000LL) /* after a signal or an error, for followers; then two more steps */
#define FOLLOW_STILL_NS  (2 * 1000000000LL) /* likewise, while nothing moves */
#define FOLLOW_STEP_NS   (1 * 1000000000LL)
#define FOLLOW_QUIET_NS  (50 * 1000000000LL) /* without one: a follower ends by itself before that, unless it hangs */
#define START_TICK_NS    2000000
#define TICK_US          20000
#define LIVE_INTERVAL_NS 200000000

struct watch {
    struct mr_run *run;
    struct mr_watch_options opt;
    struct mr_summary before, now;
    int64_t progress_due_ns, stop_ns;
    uint64_t sequence;
    bool is_live, has_started;
    unsigned signal_count;
    bool is_cut; /* a signal came before the run was where --until ends it */
    struct mr_run_feed feed[MR_RUN_FEEDS_MAX];
    size_t feed_count; /* that were started */
};

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
    if (watch->opt.quiet || now_ns < watch->progress_due_ns) return;
    mr_summary_take(watch->run, &watch->now);
    mr_roles_print_begin();
    if (watch->is_live)
        live_print(watch);
    else
        mr_progress_print_json(watch->opt.json ? stdout : stderr, watch->run, &watch->before, &watch->now,
                               watch->sequence);
    mr_roles_print_end();
    watch->sequence++;
    /* The live line moves five times a second but shows the rate of about the last second. */
    if (!watch->is_live || watch->now.seconds - watch->before.seconds > 1) watch->before = watch->now;
    watch->progress_due_ns = now_ns + (watch->is_live ? LIVE_INTERVAL_NS : watch->run->job->progress_interval * 1000);
}

static bool is_time_over(const struct mr_run *run)
{
    return run->until.duration_us && mr_clock_ns() - run->started_ns >= run->until.duration_us * 1000;
}

static void feeds_stop(struct watch *watch)
{
    for (size_t i = 0; i < watch->feed_count; i++) mr_run_feed_stop(&watch->feed[i]);
}

static bool a_feed_has_failed(struct watch *watch)
{
    bool has_failed = false;
    for (size_t i = 0; i < watch->feed_count; i++) has_failed |= mr_run_feed_has_failed(&watch->feed[i]);
    return has_failed;
}

static mr_status feeds_start(struct watch *watch, struct mr_err *err)
{
    mr_status status = MR_OK;
    for (size_t i = 0; i < watch->opt.feed_count && !status; i++) {
        status = mr_run_feed_start(&watch->feed[i], watch->run, &watch->opt.feed[i], err);
        watch->feed_count += !status;
    }
    return status;
}

/* They are at their end, or asked for it. The first error of any. */
static mr_status feeds_join(struct watch *watch, struct mr_err *err)
{
    mr_status status = MR_OK;
    for (size_t i = 0; i < watch->feed_count; i++) {
        struct mr_err here = {0};
        const mr_status joined = mr_run_feed_join(&watch->feed[i], &here);
        if (!joined || status) continue;
        status = joined;
        if (err) *err = here;
    }
    return status;
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
        watch->is_cut =
            mr_until_is_limited(&watch->run->until) && !mr_run_wait(watch->run, 0) && !is_time_over(watch->run);
        mr_log(MR_LOG_INFO, "run", "%s: finishing what was taken in, then committing%s",
               number == SIGINT ? "Ctrl-C" : "SIGTERM", number == SIGINT ? "; once more to leave at once" : "");
        mr_run_stop(watch->run, MR_RUN_DRAIN);
    } else {
        mr_log(MR_LOG_WARN, "run", "leaving at once: what is not committed will be repeated");
        mr_run_stop(watch->run, MR_RUN_ABORT);
    }
    watch->stop_ns = mr_clock_ns();
    feeds_stop(watch);
}

static void report(struct watch *watch, mr_status status)
{
    mr_summary_take(watch->run, &watch->now);
    mr_roles_print_begin();
    if (watch->opt.json)
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
            watch->is_cut |= mr_until_is_limited(&run->until);
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
                      a_feed_has_failed(watch) || is_time_over(watch->run);
            if (is_over) {
                is_limited = atomic_load(&watch->run->state) != MR_RUN_ON; /* a signal; errors are seen below */
                if (is_time_over(watch->run))
                    mr_log(MR_LOG_INFO, "run", "the time of --until is over: finishing what was taken in");
                mr_run_stop(watch->run, MR_RUN_DRAIN);
                feeds_stop(watch);
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
    int late = 0; /* a signal that came when lanes were at work already, though not all of them */

    if (pthread_create(&starter, NULL, start_main, &starting))
        return mr_fail(err, MR_ENOMEM, "could not start a thread");
    while (!atomic_load(&starting.is_over)) {
        const int number = sigtimedwait(set, NULL, &tick);
        if (number < 0) continue;
        late = number;
        if (atomic_load(&run->has_begun) || atomic_load(&starting.is_over)) break;
        mr_log(MR_LOG_INFO, "run", "%s while starting: nothing was taken in", number == SIGINT ? "Ctrl-C" : "SIGTERM");
        _exit(mr_until_is_limited(&run->until) ? mr_status_exit(MR_ERETRY) : 0);
    }
    pthread_join(starter, NULL);
    if (late) kill(getpid(), late); /* for the loop that watches them: it waits there until then */
    return starting.status;
}

/* Lanes and feed until both have ended. */
static mr_status watched_run(struct watch *watch, const sigset_t *set, struct mr_err *err)
{
    struct mr_err feed_err = {0};
    mr_status status = feeds_start(watch, err);
    if (status) mr_run_stop(watch->run, MR_RUN_ABORT);
    watch_loop(watch, set);
    const mr_status fed = feeds_join(watch, &feed_err);
    if (fed && !status) {
        status = fed;
        if (err) *err = feed_err;
    }
    struct mr_err lane_err = {0};
    const mr_status lane_status = mr_run_finish(watch->run, &lane_err);
    if (lane_status) {
        status = lane_status;
        if (err) *err = lane_err;
    }
    return !status && watch->is_cut ? mr_until_cut(err) : status;
}

mr_status mr_run_watch(struct mr_run *run, const struct mr_watch_options *opt, const sigset_t *set, struct mr_err *err)
{
    struct watch watch = {.run = run, .opt = *opt};
    struct mr_live *live;
    if (run->job->source->offsets_send) mr_library_log(); /* a source that is Kafka's */
    mr_status status = mr_live_open(run, &live, err);
    if (!status && live && opt->page) opt->page(opt->page_context, mr_live_address(live));
    if (!status) status = lanes_start(run, set, err);
    if (!status) {
        const bool is_live = mr_term_is_live(STDERR_FILENO) && !opt->json;
        watch.has_started = true;
        watch.is_live = is_live;
        watch.progress_due_ns = mr_clock_ns() + (is_live ? LIVE_INTERVAL_NS : run->job->progress_interval * 1000);
        if (is_live && !opt->quiet) mr_log_clear_line_set(live_clear);
        status = watched_run(&watch, set, err);
        if (is_live && !opt->quiet) live_clear();
        mr_log_clear_line_set(NULL);
    }
    report(&watch, status);
    mr_live_close(live, status);
    return status;
}
