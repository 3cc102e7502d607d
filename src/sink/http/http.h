/**
 * Requests of a sink to an HTTP server, one after another on one connection that is kept. One thread at a time. What
 * libcurl does is not repeated: proxies come from the environment as curl takes them, no redirect is followed (it could
 * lead credentials elsewhere).
 */
#ifndef MR_SINK_HTTP_H
#define MR_SINK_HTTP_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "millrace/option.h"

struct mr_curl_options {
    char *user, *password, *password_file, *token, *token_file;
    char *ca_file;
    bool insecure;
    bool gzip;
    int64_t timeout; /* us: of one request */
};

/** at(member): offset of a member of the struct mr_curl_options within the sink's options. */
#define MR_CURL_ROWS(at)                                                                                               \
    {.key = "user", .type = MR_OPT_STRING, .offset = at(user), .doc = "User of basic authentication."},                \
        {.key = "password",                                                                                            \
         .type = MR_OPT_STRING,                                                                                        \
         .offset = at(password),                                                                                       \
         .secret = true,                                                                                               \
         .doc = "Its password; better password_file, or ${env:NAME}."},                                                \
        {.key = "password_file",                                                                                       \
         .type = MR_OPT_STRING,                                                                                        \
         .offset = at(password_file),                                                                                  \
         .is_path = true,                                                                                              \
         .is_shared = true,                                                                                            \
         .doc = "File that holds the password, read at start; a line break at its end does not count."},               \
        {.key = "ca_file",                                                                                             \
         .type = MR_OPT_STRING,                                                                                        \
         .offset = at(ca_file),                                                                                        \
         .is_path = true,                                                                                              \
         .is_shared = true,                                                                                            \
         .doc = "Certificates (PEM) that the server's must lead to, instead of the system's."},                        \
        {.key = "insecure",                                                                                            \
         .type = MR_OPT_BOOL,                                                                                          \
         .offset = at(insecure),                                                                                       \
         .fallback = "false",                                                                                          \
         .doc = "Do not ask who the server is: anybody between may read what is sent, credentials too."},              \
        {.key = "gzip", .type = MR_OPT_BOOL, .offset = at(gzip), .fallback = "true", .doc = "Compress what is sent."}, \
    {                                                                                                                  \
        .key = "timeout", .type = MR_OPT_DURATION, .offset = at(timeout), .fallback = "10s", .min = 100e3,             \
        .max = 600e6, .doc = "How long a request may take before it is sent again."                                    \
    }

struct mr_curl;

struct mr_curl_open {
    const struct mr_curl_options *options;
    const char *what;         /* "influx sink", for messages */
    const char *token_scheme; /* "Token", "ApiKey": what stands before the token in the header */
    size_t body_bytes_max, answer_bytes_max;
    const _Atomic int64_t *stop_ns; /* of mr_clock_ns: no request goes on for longer; INT64_MAX: no such limit */
};

struct mr_curl_request {
    const char *method, *url, *type; /* type: of the body */
    const char *body;
    size_t bytes;
};

#define MR_CURL_ERROR_BYTES 256

struct mr_curl_answer {
    long status;      /* 0: none came, error says why */
    const char *body; /* with a 0 behind it; until the next request */
    size_t bytes;
    int64_t retry_after_ms; /* 0: nothing was said */
    size_t sent_bytes;
    char error[MR_CURL_ERROR_BYTES];
};

/** Whether options and url go together, without a network. MR_ECONFIG. */
mr_status mr_curl_check(const struct mr_curl_options *options, const char *what, const char *url, struct mr_err *err);

/** Reads the files of secrets. MR_EINPUT: one cannot be read; MR_ESINK, MR_ENOMEM. */
mr_status mr_curl_open(const struct mr_curl_open *open, struct mr_curl **http_out, struct mr_err *err);

/**
 * Whether an answer comes from something else than a server of data: a page for people, as proxies make them, or what
 * is said to plain HTTP where TLS is spoken. Its status says nothing about records then.
 */
bool mr_curl_is_stranger(const struct mr_curl_answer *answer);
#define MR_CURL_STRANGER "that is not the server that url should lead to: check http or https, port, path and proxies"

/** Sends and waits. A body of at least 1 KiB is compressed, if that is asked for. */
void mr_curl_send(struct mr_curl *http, const struct mr_curl_request *request, struct mr_curl_answer *answer);

/** Accepts NULL. */
void mr_curl_close(struct mr_curl *http);

/** Writes text as it may stand in a query or a path. out: 3 * strlen(text) + 1 bytes. Returns the end. */
char *mr_curl_escape(const char *text, char *out);

/** The part of an answer that is worth telling: one line, no control bytes, at most out_bytes. Returns out. */
const char *mr_curl_words(const char *body, size_t bytes, char *out, size_t out_bytes);

#endif
