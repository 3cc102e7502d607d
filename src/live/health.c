/* How the run is: its state in a word, and the probes of whoever runs it. */
#include <math.h>
#include <stdio.h>

#include "base/blob_text.h"
#include "base/clock.h"
#include "base/options.h"
#include "kafka/health.h"
#include "live/inside.h"
#include "metrics/summary_sinks.h"
#include "pipeline/lane.h"

#define STALLED_NS  (10 * 1000000000LL)
#define HELD_NS     (2 * 1000000000LL)
#define LAG_SECONDS 10 /* of records as they come in: more is lagging */

static const char type_text[] = "text/plain; charset=utf-8";

/* ---- state ---- */

double mr_live_lag(const struct mr_live *live)
{
    const struct mr_run *const run = live->run;
    int64_t sum = 0;
    for (unsigned i = 0; i < run->lane_count; i++) {
        const int64_t lag = atomic_load_explicit(&run->lane[i]->stats.lag, memory_order_relaxed);
        if (lag < 0) return NAN;
        sum += lag;
    }
    return (double)sum;
}

/* A lane that a sink holds up takes nothing in, and may not know how much waits. */
static bool is_held(const struct mr_run *run, int64_t now_ns)
{
    for (unsigned i = 0; i < run->lane_count; i++) {
        const int64_t since_ns = atomic_load_explicit(&run->lane[i]->stats.held_ns, memory_order_relaxed);
        if (since_ns && now_ns - since_ns > HELD_NS) return true;
    }
    return false;
}

const char *mr_live_state(const struct mr_live *live)
{
    const int state = atomic_load(&live->run->state);
    const int64_t now_ns = mr_clock_ns();
    if (state != MR_RUN_ON) return "stopping";
    if (!live->has_begun) return "starting";
    if (is_held(live->run, now_ns)) return "held";
    const double lag = mr_live_lag(live), rate = live->columns.value[2];
    if (now_ns - live->moved_ns > STALLED_NS)
        return lag > 0 ? "stalled" : isnan(lag) && live->run->job->source->lag ? "unknown" : "idle";
    return lag > LAG_SECONDS * fmax(rate, 100) ? "lagging" : "ok";
}

/* ---- probes ---- */

void mr_live_answer_alive(void *context, const struct mr_http_request *request, struct mr_http_answer *answer)
{
    static const char text[] = "ok\n";
    (void)context;
    (void)request;
    answer->type = type_text;
    answer->body = text;
    answer->bytes = sizeof text - 1;
}

static bool has_joined(const struct mr_run *run)
{
    if (!atomic_load(&run->has_begun)) return false;
    for (unsigned i = 0; i < run->lane_count; i++) {
        if (run->job->source->has_joined && !atomic_load(&run->lane[i]->has_joined)) return false;
    }
    return true;
}

/* Whether those sinks are reached that the job does not go on without. */
static bool reaches_sinks(const struct mr_run *run)
{
    struct mr_sink_stats sum;
    if (!atomic_load(&run->has_begun)) return false;
    for (size_t i = 0; i < run->job->sink_count; i++) {
        const struct mr_job_sink *const sink = &run->job->sink[i];
        const bool *const required = mr_option_value(sink->ops->options, sink->options, "required", MR_OPT_BOOL);
        if (required && *required && mr_sink_stats_of(run, i, &sum) && sum.is_failing) return false;
    }
    return true;
}

/* One check, a line with ?verbose. Errors are the log's: a probe is open to whoever reaches the port. */
struct check {
    const char *what;
    bool is_fine;
};

void mr_live_answer_ready(void *context, const struct mr_http_request *request, struct mr_http_answer *answer)
{
    struct mr_live *const live = context;
    const struct mr_run *const run = live->run;
    struct mr_blob blob = {0};
    char text[128];
    const struct check check[] = {
        {"models loaded", true},
        {"sources and sinks open", atomic_load(&run->has_begun)},
        {"brokers answer", mr_kafka_health_is_good(text, sizeof text)},
        {"partitions assigned", has_joined(run)},
        {"required sinks reached", reaches_sinks(run)},
        {"not stopping", atomic_load(&run->state) == MR_RUN_ON},
    };
    const bool is_verbose = mr_http_argument(request, "verbose", text, sizeof text);
    bool is_ready = true, is_put = true;
    for (size_t i = 0; i < sizeof check / sizeof *check; i++) {
        is_ready &= check[i].is_fine;
        if (is_verbose && is_put)
            is_put = mr_blob_print(&blob, "[%c] %s\n", check[i].is_fine ? '+' : '-', check[i].what);
    }
    is_put = is_put && mr_blob_print(&blob, "%s\n", is_ready ? "ready" : "not ready");
    mr_live_answer(answer, type_text, &blob, is_put);
    answer->code = is_ready ? 200 : 503;
}
