#include "cli/run_job.h"

#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/options.h"
#include "cli/run_roles.h"
#include "cli/run_until.h"
#include "kafka/client.h"
#include "kafka/embedded.h"
#include "pipeline/follower.h"

#define CLOSE_LIMIT_S        2
#define CLOSE_LIMIT_FAILED_S 1 /* after an error the clients may have nobody left to say goodbye to */

void mr_run_job_signals(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGTERM);
    sigaddset(set, MR_ROLES_LEAVE);
    signal(SIGPIPE, SIG_IGN);
    pthread_sigmask(SIG_BLOCK, set, NULL); /* before any thread starts: all inherit it, and only this one takes them */
}

bool mr_run_job_is_ended(void)
{
    sigset_t here;
    return !sigpending(&here) && (sigismember(&here, SIGINT) || sigismember(&here, SIGTERM));
}

/* What a job learns depends on the order of its records: on a broker of its own its topics get one partition, not four,
 * so that they come as they were fed. */
static void order_keep(const struct mr_job *job, const struct mr_run *run)
{
    const struct mr_strings *const topics = mr_job_topics(job);
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
static void run_close(const char *command, struct mr_run *run, const struct mr_err *err, mr_status status)
{
    if (status && err) snprintf(closing.text, sizeof closing.text, "millrace %s: %s\n", command, err->text);
    closing.text_bytes = strlen(closing.text);
    closing.exit_code = mr_status_exit(status);
    signal(SIGALRM, close_late);
    if (mr_followers_lost(run)) close_late(0);
    alarm(status ? CLOSE_LIMIT_FAILED_S : CLOSE_LIMIT_S);
    mr_run_destroy(run);
    alarm(0);
}

/* There is no version: a signal came first, or the trainer has ended without any record. */
static mr_status start_end(const struct mr_until *until, struct mr_err *err)
{
    if (!mr_run_job_is_ended()) {
        mr_log(MR_LOG_INFO, "run", "nothing was learned, so there is nothing to score with, nor to score");
        return MR_OK;
    }
    mr_log(MR_LOG_INFO, "run", "stopped while starting: nothing was taken in");
    return mr_until_is_limited(until) ? mr_until_cut(err) : MR_OK;
}

mr_status mr_run_job(const char *command, struct mr_job *job, const struct mr_until *until,
                     const struct mr_watch_options *watched, const sigset_t *set, struct mr_err *err)
{
    struct mr_run *run = NULL;
    mr_status status = mr_run_create(job, until, &run, err);
    if (status == MR_END) return start_end(until, err);
    if (status) return status;
    order_keep(job, run);
    status = mr_run_watch(run, watched, set, err);
    run_close(command, run, err, status);
    return status;
}
