#include "live/live.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/log_kept.h"
#include "base/secret.h"
#include "live/inside.h"

#define POINTS_PER_S 100
#define TICK_NS      100000000 /* between two events while somebody watches */
#define SAMPLE_TICKS 5         /* between two rows of the past */
#define SWEEP_TICKS  10
#define RECENT_ROWS  600  /* five minutes of them */
#define WHOLE_ROWS   1200 /* the whole run */
#define THREAD_NICE  10
#define TOKEN_LEAST  8
#define GOODBYE_MS   500 /* for viewers to hear how it ended */

static const struct mr_http_route routes[] = {
    {.path = "/livez", .handle = mr_live_answer_alive, .is_open = true},
    {.path = "/healthz", .handle = mr_live_answer_alive, .is_open = true},
    {.path = "/readyz", .handle = mr_live_answer_ready, .is_open = true},
    {.path = "/metrics", .handle = mr_live_answer_metrics},
    {.path = "/status", .handle = mr_live_answer_status},
    {.path = "/events", .handle = mr_live_answer_events},
    {.path = "/api/v1/job", .handle = mr_live_answer_job},
    {.path = "/api/v1/history", .handle = mr_live_answer_history},
    {.path = "/api/v1/points", .handle = mr_live_answer_points},
    {.path = "/api/v1/dead", .handle = mr_live_answer_dead},
    {.path = "/api/v1/log", .handle = mr_live_answer_log},
    {.path = "/api/v1/models", .handle = mr_live_answer_models},
    {.path = "/api/v1/offsets", .handle = mr_live_answer_offsets},
    {.path = "/api/v1/recommend", .handle = mr_live_answer_recommend},
};
#define ROUTES (sizeof routes / sizeof *routes)

/* ---- the thread ---- */

/* The numbers of now, and whether a row of the past is due. Under the lock. */
static void sample(struct mr_live *live, bool is_due)
{
    struct mr_tap_numbers numbers[MR_TAP_MODELS];
    mr_summary_counts(live->run, &live->now);
    if (live->now.records_in != live->moved_at) live->moved_ns = mr_clock_ns();
    live->moved_at = live->now.records_in;
    if (!is_due) return;
    mr_tap_numbers(live->tap, numbers);
    live->columns.value[0] = (double)mr_clock_epoch_ms();
    const struct mr_columns_now now = {.before = &live->before,
                                       .now = &live->now,
                                       .numbers = numbers,
                                       .offset = mr_tap_offset(live->tap),
                                       .lag = mr_live_lag(live)};
    mr_columns_take(&live->columns, live->run, &now);
    mr_series_add(&live->recent, live->columns.value);
    mr_series_add(&live->whole, live->columns.value);
    live->before = live->now;
}

/* A progress object, as often as the job prints one. Under the lock. */
static void status_keep(struct mr_live *live)
{
    const double every_s = (double)live->run->job->progress_interval / 1e6;
    size_t bytes;
    char *text = NULL;
    if (live->now.seconds - live->status_before.seconds < every_s) return;
    FILE *const out = open_memstream(&text, &bytes);
    if (!out) return;
    mr_progress_print_json(out, live->run, &live->status_before, &live->now, live->statuses);
    fclose(out);
    if (!text) return;
    char **const place = &live->status[live->statuses++ % MR_LIVE_STATUSES];
    free(*place);
    *place = text;
    live->status_before = live->now;
}

/* With few viewers each of them gets an event at each tick; with many, or none, fewer are made. */
static uint64_t ticks_between(size_t viewers)
{
    return viewers <= 8 ? 1 : viewers <= MR_HTTP_TURN ? 5 : 10;
}

static void tick(struct mr_live *live, uint64_t number)
{
    const size_t viewers = mr_http_stream_viewers(live->stream);
    const bool is_due = number % SAMPLE_TICKS == 0, is_event = viewers && number % ticks_between(viewers) == 0;
    struct mr_blob frame = {0};
    if (number % SWEEP_TICKS == 0) mr_http_sweep(live->http);
    if (!is_due && !is_event) return;
    pthread_mutex_lock(&live->lock);
    if (!live->has_begun && atomic_load(&live->run->has_begun)) {
        live->has_begun = true;
        live->moved_ns = mr_clock_ns();
    }
    if (live->has_begun) sample(live, is_due);
    if (live->has_begun && is_due) status_keep(live);
    if (!viewers) {
        mr_tap_skip(live->tap, &live->points_next, &live->dead_next);
        mr_log_kept_skip(&live->log_next);
    }
    const bool is_made = is_event && mr_live_frame(live, &frame);
    pthread_mutex_unlock(&live->lock);
    if (is_made) mr_http_stream_send(live->stream, "frame", frame.data, frame.bytes);
    mr_blob_deinit(&frame);
}

static void *live_main(void *argument)
{
    struct mr_live *const live = argument;
    struct timespec due;
    prctl(PR_SET_NAME, "live");
    setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), THREAD_NICE);
    clock_gettime(CLOCK_MONOTONIC, &due);
    for (uint64_t number = 0; !atomic_load(&live->must_end); number++) {
        tick(live, number);
        due.tv_nsec += TICK_NS;
        if (due.tv_nsec >= 1000000000) due.tv_nsec -= 1000000000, due.tv_sec++;
        if (mr_clock_ns() > (int64_t)due.tv_sec * 1000000000 + due.tv_nsec + TICK_NS) /* the process stood still */
            clock_gettime(CLOCK_MONOTONIC, &due);
        while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL) == EINTR) {
        }
    }
    return NULL;
}

/* ---- opening and closing ---- */

static mr_status token_read(struct mr_live *live, const char *path, struct mr_err *err)
{
    if (!path) return MR_OK;
    const mr_status status = mr_secret_read("http.token_file", path, &live->token, err);
    if (status || strlen(live->token) >= TOKEN_LEAST) return status;
    return mr_fail(err, MR_ECONFIG, "http.token_file \"%s\": its first line is no token of %d characters or more", path,
                   TOKEN_LEAST);
}

/* The two processes of a job with scorers: the trainer's is one port further. */
static void listen_find(const struct mr_job *job, char *out, size_t out_bytes)
{
    const char *const colon = strrchr(job->http.listen, ':');
    const int port = colon ? atoi(colon + 1) : 0;
    if (job->role == MR_ROLE_TRAINER && port)
        snprintf(out, out_bytes, "%.*s:%d", (int)(colon - job->http.listen), job->http.listen, port + 1);
    else
        snprintf(out, out_bytes, "%s", job->http.listen);
}

static mr_status server_open(struct mr_live *live, struct mr_err *err)
{
    const struct mr_http_options *const job = &live->run->job->http;
    char listen_on[288];
    listen_find(live->run->job, listen_on, sizeof listen_on);
    struct mr_http_route *const all = calloc(ROUTES + mr_live_page_count, sizeof *all);
    if (!all) return mr_fail(err, MR_ENOMEM, "out of memory");
    memcpy(all, routes, sizeof routes);
    memcpy(all + ROUTES, mr_live_page, mr_live_page_count * sizeof *all);
    live->route = all;
    const struct mr_http_open open = {.listen = listen_on,
                                      .token = live->token,
                                      .hosts = &job->hosts,
                                      .viewers_max = (size_t)job->viewers_max,
                                      .routes = all,
                                      .route_count = ROUTES + mr_live_page_count,
                                      .context = live};
    return mr_http_open(&open, &live->http, err);
}

mr_status mr_live_open(struct mr_run *run, struct mr_live **live_out, struct mr_err *err)
{
    *live_out = NULL;
    if (!run->job->http.listen) return MR_OK;
    struct mr_live *const live = calloc(1, sizeof *live);
    if (!live) return mr_fail(err, MR_ENOMEM, "out of memory");
    live->run = run;
    live->started_ms = mr_clock_epoch_ms() - (mr_clock_ns() - run->started_ns) / 1000000;
    pthread_mutex_init(&live->lock, NULL);
    mr_columns_init(&live->columns, run);
    mr_status status = mr_series_init(&live->recent, live->columns.count, RECENT_ROWS, false, err);
    if (!status) status = mr_series_init(&live->whole, live->columns.count, WHOLE_ROWS, true, err);
    if (!status) status = mr_tap_create(POINTS_PER_S, &live->tap, err);
    if (!status) status = mr_http_stream_create(&live->stream, err);
    if (!status) status = token_read(live, run->job->http.token_file, err);
    if (!status) status = server_open(live, err);
    if (!status) {
        run->tap = live->tap;
        mr_tap_models(live->tap, &run->models);
        live->has_thread = !pthread_create(&live->thread, NULL, live_main, live);
        if (!live->has_thread) status = mr_fail(err, MR_ENOMEM, "could not start a thread");
    }
    if (status) {
        run->tap = NULL;
        mr_live_close(live, status);
        return status;
    }
    mr_log(MR_LOG_INFO, "http", "the page of this job: %s", mr_http_address(live->http));
    *live_out = live;
    return MR_OK;
}

const char *mr_live_address(const struct mr_live *live)
{
    return mr_http_address(live->http);
}

void mr_live_close(struct mr_live *live, mr_status status)
{
    char end[96];
    if (!live) return;
    atomic_store(&live->must_end, true);
    if (live->has_thread) pthread_join(live->thread, NULL);
    snprintf(end, sizeof end, "{\"status\":\"%s\",\"exit_code\":%d}", mr_status_name(status), mr_status_exit(status));
    if (live->stream) mr_http_stream_end(live->stream, end, GOODBYE_MS);
    mr_http_close(live->http);
    mr_http_stream_destroy(live->stream);
    live->run->tap = NULL;
    mr_tap_destroy(live->tap);
    mr_series_deinit(&live->recent);
    mr_series_deinit(&live->whole);
    for (size_t i = 0; i < MR_LIVE_STATUSES; i++) free(live->status[i]);
    pthread_mutex_destroy(&live->lock);
    mr_secret_free(live->token);
    free(live->route);
    free(live);
}
