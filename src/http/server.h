/**
 * A small HTTP/1.1 server for a page, its data and its events: GET and HEAD of fixed paths, nothing from the file
 * system. One thread of libmicrohttpd's, of low priority, serves all; handlers run on it and must not wait.
 *
 * Bounds: request line and headers of 24 KiB in all, 64 header lines; a request within 5 s of its connection, or 30 s
 * of the answer before, answered within 10 s. Of connections that have not yet asked anything there are 64, of all that
 * are no event streams 128: the one whose time ends first makes room. Host must be an address or a name that is allowed
 * (a foreign page cannot reach the server through DNS). A token, if there is one, comes as "Authorization: Bearer" or
 * as the password of "Basic", never in a URL.
 */
#ifndef MR_HTTP_SERVER_H
#define MR_HTTP_SERVER_H

#include <stdbool.h>
#include <stddef.h>

#include "millrace/option.h"

struct mr_http;
struct mr_http_stream;

/** What is asked for; valid during the handler. */
struct mr_http_request {
    const char *path;
    const void *connection; /* for mr_http_argument */
};

/** What a handler answers; zeroed before. */
struct mr_http_answer {
    unsigned code;    /* 0: 200 */
    const char *type; /* a literal: "application/json" */
    const char *etag; /* quoted; NULL: not to be kept. Lives as long as the server */
    const void *body;
    size_t bytes;
    bool is_gzip;                  /* the body is compressed; clients that do not take it get it inflated */
    bool is_owned;                 /* the body is freed when it is sent */
    struct mr_http_stream *stream; /* instead of a body: its events */
};

typedef void mr_http_handle_fn(void *context, const struct mr_http_request *request, struct mr_http_answer *answer);

struct mr_http_route {
    const char *path; /* "/status" */
    mr_http_handle_fn *handle;
    const void *argument; /* the handler's own */
    bool is_open;         /* needs no token: says nothing but that the process lives */
};

struct mr_http_open {
    const char *listen; /* "127.0.0.1:8420", "[::]:8420", ":8420" (all addresses), "localhost:0" (any port) */
    const char *token;  /* NULL: none; then only a loopback address may be listened on */
    const struct mr_strings *hosts;     /* names by which it is reached, beside addresses and localhost; may be NULL */
    size_t viewers_max;                 /* event streams at once */
    const struct mr_http_route *routes; /* [route_count] */
    size_t route_count;
    void *context;
};

/** Listens and serves. MR_ECONFIG: the address is none, or needs a token; MR_EIO: it is taken or forbidden. On error
 * *http_out is NULL. What open points to must outlive the server. */
mr_status mr_http_open(const struct mr_http_open *open, struct mr_http **http_out, struct mr_err *err);

/** Whether an address is one that can be listened on, and by whom it can be reached; no network. */
mr_status mr_http_check(const char *listen, bool has_token, struct mr_err *err);

/** "http://127.0.0.1:8420/", with the port that it has. */
const char *mr_http_address(const struct mr_http *http);

/** Ends connections that are past their time: to be called about once a second. Any thread. */
void mr_http_sweep(struct mr_http *http);

/** A decoded argument of the URL into out (cut to its size, always terminated; "" without a value); false: it is not
 * there. */
bool mr_http_argument(const struct mr_http_request *request, const char *name, char *out, size_t out_bytes);

/** Its streams must have been ended: a viewer that is asleep would keep it. Accepts NULL. */
void mr_http_close(struct mr_http *http);

#endif
