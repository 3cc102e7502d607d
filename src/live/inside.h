/** The inside of what watches a run; for src/live/ alone. */
#ifndef MR_LIVE_INSIDE_H
#define MR_LIVE_INSIDE_H

#include <pthread.h>

#include "http/server.h"
#include "http/stream.h"
#include "live/columns.h"
#include "live/live.h"
#include "live/series.h"

#define MR_LIVE_STATUSES 60 /* progress objects that are kept */

struct mr_live {
    struct mr_run *run;
    struct mr_http *http;
    struct mr_http_stream *stream;
    struct mr_tap *tap;
    pthread_t thread;
    bool has_thread;
    _Atomic bool must_end;
    pthread_mutex_t lock; /* of all below: the thread writes, answers read */
    bool has_begun;       /* lanes are at work */
    int64_t started_ms;   /* since 1970: tells one run from the next at the same address */
    struct mr_columns columns;
    struct mr_series recent, whole;
    struct mr_summary before, now;   /* of the columns */
    struct mr_summary status_before; /* of the last progress object */
    char *status[MR_LIVE_STATUSES];  /* ring */
    uint64_t statuses;
    uint64_t points_next, dead_next, log_next; /* behind what was sent to viewers */
    int64_t moved_ns;                          /* when records came in last */
    uint64_t moved_at;
    char *token;
    struct mr_http_route *route; /* those of the job and those of the page */
};

/** Handlers; context is the struct mr_live. */
mr_http_handle_fn mr_live_answer_job, mr_live_answer_history, mr_live_answer_points, mr_live_answer_dead,
    mr_live_answer_log, mr_live_answer_offsets, mr_live_answer_recommend, mr_live_answer_models, mr_live_answer_status,
    mr_live_answer_metrics, mr_live_answer_alive, mr_live_answer_ready, mr_live_answer_events;

/** The files of the page, each with its path. */
extern const struct mr_http_route mr_live_page[];
extern const size_t mr_live_page_count;

/** How the run is, in a word: "starting", "ok", "idle", "lagging", "stalled" (records wait, none is taken in), "held"
 * (a sink takes no more), "unknown" (nothing comes, and how much waits is not known), "stopping". */
const char *mr_live_state(const struct mr_live *live);

/** Records that are in the topics and not taken in yet; NaN: not known. */
double mr_live_lag(const struct mr_live *live);

/** JSON of the newest numbers, points and dead letters; under the lock. False: no memory. */
bool mr_live_frame(struct mr_live *live, struct mr_blob *out);

/** A JSON string of text that may be no UTF-8: what is not is replaced. */
bool mr_live_text(struct mr_blob *out, const char *text);

/** A blob as the answer, which frees it; is_whole false: no memory. */
void mr_live_answer(struct mr_http_answer *answer, const char *type, struct mr_blob *blob, bool is_whole);

#endif
