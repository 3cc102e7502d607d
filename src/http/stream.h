/**
 * Server-sent events to many viewers: each event is built once and kept a while. A viewer that is slow, or one of very
 * many, gets the newest event when its turn comes and never those between: nothing is queued for it.
 */
#ifndef MR_HTTP_STREAM_H
#define MR_HTTP_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "millrace/status.h"

struct MHD_Connection;
struct MHD_Response;
struct mr_http_stream;

mr_status mr_http_stream_create(struct mr_http_stream **stream_out, struct mr_err *err);

/** To all viewers, in turns: at most MR_HTTP_TURN of them with each call. data: one line of JSON. Any one thread.
 * False: no memory, the event is left out. */
#define MR_HTTP_TURN 50
bool mr_http_stream_send(struct mr_http_stream *stream, const char *event, const char *data, size_t bytes);

/** Viewers now. Any thread. */
size_t mr_http_stream_viewers(struct mr_http_stream *stream);

/** A last event ("end") to all viewers, whose streams are over then; waits up to wait_ms for them to have it. */
void mr_http_stream_end(struct mr_http_stream *stream, const char *data, int wait_ms);

/** Accepts NULL. All viewers must have gone: after mr_http_close. */
void mr_http_stream_destroy(struct mr_http_stream *stream);

/** For the server: the answer to a new viewer, who goes on behind the event of that number (0: with the next one).
 * NULL: no memory. On the server's thread. */
struct MHD_Response *mr_http_stream_view(struct mr_http_stream *stream, struct MHD_Connection *connection,
                                         uint64_t last_id);

#endif
