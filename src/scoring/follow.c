#include "scoring/follow.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "config/roles.h"
#include "state/topic.h"

#define POLL_MS 100

/* A model that is followed. */
struct followed {
    size_t model; /* index */
    struct mr_state_follower *follower;
    uint64_t
        seq; /* of the commit whose model is at work; 0: the file's. Version numbers come again after a roll-back */
    bool is_unreadable;  /* its log can take nothing more */
    struct mr_err still; /* why it stands still, under the lock; status 0: it does not */
};

struct mr_follow {
    const struct mr_job *job;
    const struct mr_map *properties;
    struct mr_models *models;
    struct followed *followed; /* [count] */
    size_t count;
    struct mr_model_bytes *first; /* [model_count] */
    pthread_mutex_t lock;         /* of what is told to others */
    pthread_t thread;
    bool has_thread;
    _Atomic bool is_over;
};

bool mr_job_model_follows(const struct mr_job_model *model)
{
    return model->topic && !mr_job_model_learns(model);
}

static mr_status follower_open(struct mr_follow *follow, const struct mr_map *properties, struct followed *followed,
                               struct mr_err *err)
{
    const struct mr_job_model *const model = &follow->job->model[followed->model];
    const struct mr_state_topic topic = {.properties = properties,
                                         .log = {.topic = model->topic, .model = model->name, .type = model->ops->name},
                                         .timeout_ms = MR_STATE_READ_TIMEOUT_MS};
    return mr_state_follow_open(&topic, &followed->follower, err);
}

/* How long the first versions are waited for. */
struct wait {
    int64_t deadline_ns;
    mr_patience_fn *patience; /* NULL: the deadline */
};

static mr_status none_yet(const struct mr_follow *follow, const struct followed *followed, mr_status status,
                          struct mr_err *err)
{
    const struct mr_job_model *const model = &follow->job->model[followed->model];
    return mr_fail(err, status,
                   "model \"%s\": topic \"%s\" holds no version yet: start the job that learns it, or name a file to "
                   "begin with (models[%zu].file)",
                   model->name, model->topic, followed->model);
}

/* One more turn of waiting: MR_OK or MR_AGAIN, or why not. */
static mr_status version_wait(struct mr_follow *follow, struct followed *followed, const struct wait *wait,
                              bool *is_last, struct mr_err *err)
{
    const mr_patience patience = wait->patience                       ? wait->patience()
                                 : mr_clock_ns() >= wait->deadline_ns ? MR_PATIENCE_OVER
                                                                      : MR_PATIENCE_ON;
    if (*is_last && mr_state_log_last(mr_state_follow_log(followed->follower)))
        return mr_fail(err, MR_ERETRY,
                       "model \"%s\" has learned nothing yet, too few records have come for its first block: outputs "
                       "come with its first version",
                       follow->job->model[followed->model].name);
    if (*is_last || patience == MR_PATIENCE_OVER)
        return none_yet(follow, followed, wait->patience ? MR_END : MR_EINPUT, err);
    *is_last = patience == MR_PATIENCE_LAST;
    if (!*is_last) return mr_state_follow_poll(followed->follower, POLL_MS, err);
    mr_state_follow_close(followed->follower); /* a new one reads all that is committed, to the end */
    followed->follower = NULL;
    return follower_open(follow, follow->properties, followed, err);
}

/* The version that the model is opened with; waits for the first one where there is no file. */
static mr_status first_take(struct mr_follow *follow, struct followed *followed, const struct wait *wait,
                            struct mr_err *err)
{
    const struct mr_job_model *const model = &follow->job->model[followed->model];
    const struct mr_state_commit *commit;
    struct mr_span span;
    bool has_told = false, is_last = false;
    /* Before its first batch a model that begins from nothing may have nothing to score with. */
    while ((!(commit = mr_state_log_model(mr_state_follow_log(followed->follower), &span)) || !commit->version_after) &&
           !model->file) {
        if (!has_told)
            mr_log(MR_LOG_INFO, "follow", "%s: waiting for the first version in topic \"%s\"", model->name,
                   model->topic);
        has_told = true;
        const mr_status status = version_wait(follow, followed, wait, &is_last, err);
        if (status && status != MR_AGAIN) return status;
    }
    followed->seq = commit ? commit->seq : 0;
    if (commit)
        follow->first[followed->model] = (struct mr_model_bytes){
            .name = model->topic, .data = span.data, .count = span.bytes, .version = commit->version_after};
    return MR_OK;
}

mr_status mr_follow_open(const struct mr_job *job, const struct mr_map *properties, int64_t wait_us,
                         mr_patience_fn *patience, struct mr_follow **follow_out, struct mr_err *err)
{
    const struct wait wait = {.deadline_ns = mr_clock_ns() + wait_us * 1000, .patience = patience};
    size_t count = 0;
    *follow_out = NULL;
    for (size_t i = 0; i < job->model_count; i++) count += mr_job_model_follows(&job->model[i]);
    if (!count) return MR_OK;
    struct mr_follow *const follow = calloc(1, sizeof *follow);
    if (follow) follow->followed = calloc(count, sizeof *follow->followed);
    if (follow) follow->first = calloc(job->model_count, sizeof *follow->first);
    if (!follow || !follow->followed || !follow->first) {
        mr_follow_close(follow);
        return mr_fail(err, MR_ENOMEM, "out of memory");
    }
    mr_status status = MR_OK;
    pthread_mutex_init(&follow->lock, NULL);
    follow->job = job;
    follow->properties = properties;
    for (size_t i = 0; i < job->model_count && !status; i++) {
        if (!mr_job_model_follows(&job->model[i])) continue;
        struct followed *const followed = &follow->followed[follow->count++];
        followed->model = i;
        status = follower_open(follow, properties, followed, err);
        if (!status) status = first_take(follow, followed, &wait, err);
    }
    if (status)
        mr_follow_close(follow);
    else
        *follow_out = follow;
    return status;
}

const struct mr_model_bytes *mr_follow_first(const struct mr_follow *follow)
{
    return follow ? follow->first : NULL;
}

/* Puts the newest version of a model to work. */
static mr_status version_take(struct mr_follow *follow, struct followed *followed, struct mr_err *err)
{
    struct mr_model_at_work *const model = &follow->models->item[followed->model];
    struct mr_span span;
    const struct mr_state_commit *const commit = mr_state_log_model(mr_state_follow_log(followed->follower), &span);
    if (!commit || commit->seq == followed->seq) return MR_OK;
    const struct mr_model_bytes bytes = {model->job->topic, span.data, span.bytes, commit->version_after};
    mr_models_lock(follow->models);
    const mr_status status = mr_models_replace(follow->models, followed->model, &bytes, err);
    mr_models_unlock(follow->models);
    if (status) return status;
    followed->seq = commit->seq;
    atomic_fetch_add(&model->swaps, 1);
    mr_log(MR_LOG_DEBUG, "follow", "%s: version %llu of commit %llu", model->job->name,
           (unsigned long long)commit->version_after, (unsigned long long)commit->seq);
    return MR_OK;
}

/* Notes, and says once, that a model stands still (err), or that it goes on (NULL). */
static void still_set(struct mr_follow *follow, struct followed *followed, const struct mr_err *err)
{
    const struct mr_model_at_work *const model = &follow->models->item[followed->model];
    const bool was_still = followed->still.status;
    const unsigned long long version = atomic_load(&model->version);
    if (was_still == (err != NULL)) return;
    pthread_mutex_lock(&follow->lock);
    followed->still = err ? *err : (struct mr_err){0};
    pthread_mutex_unlock(&follow->lock);
    if (err)
        mr_log(MR_LOG_ERROR, "follow", "%s stays at version %llu: %s", model->job->name, version, err->text);
    else
        mr_log(MR_LOG_INFO, "follow", "%s: its topic is whole again: it goes on with version %llu", model->job->name,
               version);
}

/*
 * Takes what has come. Behind a record that is wrong a model keeps its version: what follows may build upon it. Reading
 * goes on, and so does the model when a whole roll-back stands behind the damage.
 */
static void followed_step(struct mr_follow *follow, struct followed *followed, int timeout_ms)
{
    struct mr_err err = {0};
    mr_status status = mr_state_follow_poll(followed->follower, timeout_ms, &err);
    if (status == MR_AGAIN || status == MR_EKAFKA) return; /* brokers come back */
    followed->is_unreadable = status && status != MR_EINVARIANT;
    if (!status && followed->still.status) status = mr_state_log_check(mr_state_follow_log(followed->follower), &err);
    if (!status) status = version_take(follow, followed, &err);
    still_set(follow, followed, status ? &err : NULL);
}

static void *follow_main(void *argument)
{
    struct mr_follow *const follow = argument;
    const struct timespec pause = {.tv_nsec = POLL_MS * 1000000};
    pthread_setname_np(pthread_self(), "follow");
    while (!atomic_load(&follow->is_over)) {
        size_t read_count = 0;
        for (size_t i = 0; i < follow->count; i++) {
            if (follow->followed[i].is_unreadable) continue;
            read_count++;
            followed_step(follow, &follow->followed[i], POLL_MS / (int)follow->count + 1);
        }
        if (!read_count) nanosleep(&pause, NULL);
    }
    return NULL;
}

bool mr_follow_is_still(struct mr_follow *follow, size_t model, struct mr_err *why_out)
{
    *why_out = (struct mr_err){0};
    for (size_t i = 0; follow && i < follow->count; i++) {
        if (follow->followed[i].model != model) continue;
        pthread_mutex_lock(&follow->lock);
        *why_out = follow->followed[i].still;
        pthread_mutex_unlock(&follow->lock);
    }
    return why_out->status;
}

mr_status mr_follow_start(struct mr_follow *follow, struct mr_models *models, struct mr_err *err)
{
    if (!follow) return MR_OK;
    follow->models = models;
    if (pthread_create(&follow->thread, NULL, follow_main, follow))
        return mr_fail(err, MR_ENOMEM, "could not start a thread");
    follow->has_thread = true;
    return MR_OK;
}

void mr_follow_close(struct mr_follow *follow)
{
    if (!follow) return;
    atomic_store(&follow->is_over, true);
    if (follow->has_thread) pthread_join(follow->thread, NULL);
    for (size_t i = 0; follow->followed && i < follow->count; i++) mr_state_follow_close(follow->followed[i].follower);
    if (follow->job) pthread_mutex_destroy(&follow->lock);
    free(follow->followed);
    free(follow->first);
    free(follow);
}
