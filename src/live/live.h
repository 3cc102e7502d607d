/**
 * A run that can be watched: the page, its numbers over time, events, /metrics, /status and probes. A thread of its own
 * looks at what lanes count, ten times a second while somebody watches; lanes never wait for it.
 */
#ifndef MR_LIVE_LIVE_H
#define MR_LIVE_LIVE_H

#include "pipeline/run.h"

struct mr_live;

/**
 * Listens where job->http says and begins to watch; NULL in *live_out where it says nothing. The run must be created
 * and not yet started: its tap is set here. It must outlive what this makes. Errors as mr_http_open.
 */
mr_status mr_live_open(struct mr_run *run, struct mr_live **live_out, struct mr_err *err);

/** Where the page is: "http://127.0.0.1:8420/". */
const char *mr_live_address(const struct mr_live *live);

/** Tells viewers how the run has ended, and closes: before the run is destroyed. Accepts NULL. */
void mr_live_close(struct mr_live *live, mr_status status);

#endif
