#include "sink/http/http.h"

#include <curl/curl.h>
#include <limits.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/clock.h"
#include "base/secret.h"

#define CONNECT_TIMEOUT_MS 5000L
#define GZIP_BYTES_MIN     1024
#define GZIP_LEVEL         1 /* of text that repeats itself, higher ones save little and cost much */
#define RETRY_AFTER_MS_MAX 300000
#define GZIP_WINDOW        (15 + 16) /* zlib: with a gzip header */

struct mr_curl {
    struct mr_curl_open open;
    CURL *curl;
    struct curl_slist *headers, *gzip_headers; /* the second one: and the body is compressed */
    const char *type;                          /* that they are made for */
    char *authorization;                       /* a header line; NULL: none */
    z_stream zip;
    bool has_zip;
    char *packed; /* [packed_cap] */
    size_t packed_cap;
    char *answer; /* [open.answer_bytes_max + 1] */
    size_t answer_bytes;
    bool is_cut; /* the answer is longer */
    char error[CURL_ERROR_SIZE];
};

/* ---- options ---- */

static bool has_both(const char *a, const char *b)
{
    return a && *a && b && *b;
}

static mr_status secrets_check(const struct mr_curl_options *options, const char *what, struct mr_err *err)
{
    if (has_both(options->password, options->password_file))
        return mr_fail(err, MR_ECONFIG, "%s: password and password_file: expected one of them", what);
    if (has_both(options->token, options->token_file))
        return mr_fail(err, MR_ECONFIG, "%s: a token and a file of one: expected one of them", what);
    if ((options->token || options->token_file) && options->user)
        return mr_fail(err, MR_ECONFIG, "%s: user and a token: expected one way to authenticate", what);
    if (!options->user && (options->password || options->password_file))
        return mr_fail(err, MR_ECONFIG, "%s: a password without user", what);
    return MR_OK;
}

/* HOST, HOST:PORT or [ADDRESS]:PORT. */
static bool is_host(const char *host, const char *end)
{
    const char *const bracket = memrchr(host, ']', (size_t)(end - host)), *const name_end = bracket ? bracket : host;
    const char *const colon = memchr(name_end, ':', (size_t)(end - name_end));
    unsigned port = 0;
    if (!colon) return host < end;
    for (const char *at = colon + 1; at < end && port <= UINT16_MAX; at++) {
        if (*at < '0' || *at > '9') return false;
        port = 10 * port + (unsigned)(*at - '0');
    }
    return colon > host && port && port <= UINT16_MAX;
}

mr_status mr_curl_check(const struct mr_curl_options *options, const char *what, const char *url, struct mr_err *err)
{
    const mr_status status = secrets_check(options, what, err);
    if (status) return status;
    const bool is_secure = url && !strncmp(url, "https://", 8), is_plain = url && !strncmp(url, "http://", 7);
    if (!is_secure && !is_plain)
        return mr_fail(err, MR_ECONFIG, "%s: url: expected http://HOST:PORT or https://HOST:PORT", what);
    const char *const host = url + (is_secure ? 8 : 7), *const end = host + strcspn(host, "/");
    if (memchr(host, '@', (size_t)(end - host))) /* not printed: it may be a password */
        return mr_fail(err, MR_ECONFIG, "%s: url: expected no user in it: use user and password_file", what);
    if (!is_host(host, end) || strpbrk(url, "?# \t\r\n"))
        return mr_fail(err, MR_ECONFIG,
                       "%s: url \"%s\": expected a host, a port of 1 to 65535, and no query: http://HOST:PORT", what,
                       url);
    return MR_OK;
}

/* The secret itself, or what its file holds; NULL: there is none. To be freed. */
static mr_status secret_take(const char *what, const char *given, const char *path, char **out, struct mr_err *err)
{
    *out = NULL;
    if (path && *path) return mr_secret_read(what, path, out, err);
    if (!given) return MR_OK;
    *out = strdup(given);
    return *out ? MR_OK : mr_fail(err, MR_ENOMEM, "%s: out of memory", what);
}

static mr_status authorize(struct mr_curl *http, struct mr_err *err)
{
    const struct mr_curl_options *const options = http->open.options;
    char *password = NULL, *token = NULL;
    mr_status status = secret_take(http->open.what, options->password, options->password_file, &password, err);
    if (!status) status = secret_take(http->open.what, options->token, options->token_file, &token, err);
    if (!status && token) {
        const size_t bytes = strlen(token) + strlen(http->open.token_scheme) + sizeof "Authorization:  ";
        http->authorization = malloc(bytes);
        if (http->authorization)
            snprintf(http->authorization, bytes, "Authorization: %s %s", http->open.token_scheme, token);
        else
            status = mr_fail(err, MR_ENOMEM, "%s: out of memory", http->open.what);
    }
    if (!status && options->user) {
        curl_easy_setopt(http->curl, CURLOPT_HTTPAUTH, (long)CURLAUTH_BASIC);
        curl_easy_setopt(http->curl, CURLOPT_USERNAME, options->user);
        curl_easy_setopt(http->curl, CURLOPT_PASSWORD, password ? password : "");
    }
    mr_secret_free(password);
    mr_secret_free(token);
    return status;
}

/* ---- the connection ---- */

static size_t answer_add(char *data, size_t size, size_t count, void *context)
{
    struct mr_curl *const http = context;
    const size_t bytes = size * count, room = http->open.answer_bytes_max - http->answer_bytes;
    const size_t kept = bytes < room ? bytes : room;
    memcpy(http->answer + http->answer_bytes, data, kept);
    http->answer_bytes += kept;
    http->is_cut |= kept < bytes;
    return bytes;
}

/* Nonzero ends the request. */
static int request_goes_on(void *context, curl_off_t down_all, curl_off_t down, curl_off_t up_all, curl_off_t up)
{
    const struct mr_curl *const http = context;
    (void)down_all, (void)down, (void)up_all, (void)up;
    return http->open.stop_ns && mr_clock_ns() >= atomic_load(http->open.stop_ns);
}

static void library_start(void)
{
    curl_global_init(CURL_GLOBAL_DEFAULT);
}

static mr_status curl_make(struct mr_curl *http, struct mr_err *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    const struct mr_curl_options *const options = http->open.options;
    pthread_once(&once, library_start);
    CURL *const curl = http->curl = curl_easy_init();
    if (!curl) return mr_fail(err, MR_ENOMEM, "%s: libcurl does not start", http->open.what);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, http->error);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "millrace/" MR_VERSION);
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
#if LIBCURL_VERSION_NUM >= 0x075500
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
#else
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
    curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_TIMEOUT_MS);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)(options->timeout / 1000));
    curl_easy_setopt(curl, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, answer_add);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, http);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, request_goes_on);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, http);
    if (options->ca_file) curl_easy_setopt(curl, CURLOPT_CAINFO, options->ca_file);
    if (options->insecure) {
        curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 0L);
        curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 0L);
    }
    return MR_OK;
}

static mr_status zip_make(struct mr_curl *http, struct mr_err *err)
{
    if (!http->open.options->gzip) return MR_OK;
    if (deflateInit2(&http->zip, GZIP_LEVEL, Z_DEFLATED, GZIP_WINDOW, 8, Z_DEFAULT_STRATEGY) != Z_OK)
        return mr_fail(err, MR_ENOMEM, "%s: out of memory", http->open.what);
    http->has_zip = true;
    http->packed_cap = deflateBound(&http->zip, http->open.body_bytes_max);
    http->packed = malloc(http->packed_cap);
    return http->packed ? MR_OK : mr_fail(err, MR_ENOMEM, "%s: out of memory", http->open.what);
}

mr_status mr_curl_open(const struct mr_curl_open *open, struct mr_curl **http_out, struct mr_err *err)
{
    struct mr_curl *const http = calloc(1, sizeof *http);
    *http_out = NULL;
    if (!http) return mr_fail(err, MR_ENOMEM, "%s: out of memory", open->what);
    http->open = *open;
    http->answer = malloc(open->answer_bytes_max + 1);
    mr_status status = http->answer ? curl_make(http, err) : mr_fail(err, MR_ENOMEM, "%s: out of memory", open->what);
    if (!status) status = authorize(http, err);
    if (!status) status = zip_make(http, err);
    if (status)
        mr_curl_close(http);
    else
        *http_out = http;
    return status;
}

static void headers_free(struct mr_curl *http)
{
    curl_slist_free_all(http->headers);
    curl_slist_free_all(http->gzip_headers);
    http->headers = http->gzip_headers = NULL;
    http->type = NULL;
}

void mr_curl_close(struct mr_curl *http)
{
    if (!http) return;
    if (http->curl) curl_easy_cleanup(http->curl);
    headers_free(http);
    if (http->has_zip) deflateEnd(&http->zip);
    mr_secret_free(http->authorization);
    free(http->packed);
    free(http->answer);
    free(http);
}

/* ---- a request ---- */

static bool header_add(struct curl_slist **list, const char *line)
{
    struct curl_slist *const longer = curl_slist_append(*list, line);
    if (longer) *list = longer;
    return longer;
}

/* Both lists of headers for a type of body, unless they are there. False: no memory. */
static bool headers_make(struct mr_curl *http, const char *type)
{
    char line[128];
    if (http->type && !strcmp(http->type, type)) return true;
    headers_free(http);
    snprintf(line, sizeof line, "Content-Type: %s", type);
    for (int is_packed = 0; is_packed < 2; is_packed++) {
        struct curl_slist **const list = is_packed ? &http->gzip_headers : &http->headers;
        /* "Expect:" away: the server would be asked first, at the cost of a turn or a second. */
        if (!header_add(list, line) || !header_add(list, "Expect:")) return false;
        if (http->authorization && !header_add(list, http->authorization)) return false;
        if (is_packed && !header_add(list, "Content-Encoding: gzip")) return false;
    }
    http->type = type;
    return true;
}

/* The body as gzip; 0: it is sent as it is. */
static size_t body_pack(struct mr_curl *http, const struct mr_curl_request *request)
{
    if (!http->has_zip || request->bytes < GZIP_BYTES_MIN || request->bytes > http->open.body_bytes_max) return 0;
    union {
        const char *from;
        Bytef *to;
    } body = {request->body}; /* zlib's interface is not const; it only reads */
    deflateReset(&http->zip);
    http->zip.next_in = body.to;
    http->zip.avail_in = (uInt)request->bytes;
    http->zip.next_out = (Bytef *)http->packed;
    http->zip.avail_out = (uInt)http->packed_cap;
    return deflate(&http->zip, Z_FINISH) == Z_STREAM_END ? (size_t)http->zip.total_out : 0;
}

static void method_set(const struct mr_curl *http, const struct mr_curl_request *request, const char *body,
                       size_t bytes)
{
    CURL *const curl = http->curl;
    if (!strcmp(request->method, "GET")) {
        curl_easy_setopt(curl, CURLOPT_HTTPGET, 1L);
        curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, NULL);
        return;
    }
    curl_easy_setopt(curl, CURLOPT_POST, 1L);
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, strcmp(request->method, "POST") != 0 ? request->method : NULL);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)bytes);
}

void mr_curl_send(struct mr_curl *http, const struct mr_curl_request *request, struct mr_curl_answer *answer)
{
    const size_t packed = request->body ? body_pack(http, request) : 0;
    *answer = (struct mr_curl_answer){.sent_bytes = packed ? packed : request->bytes, .body = http->answer};
    http->answer_bytes = 0;
    http->is_cut = false;
    *http->error = 0;
    if (!headers_make(http, request->type ? request->type : "text/plain")) {
        headers_free(http);
        snprintf(answer->error, sizeof answer->error, "out of memory");
        return;
    }
    method_set(http, request, packed ? http->packed : request->body, answer->sent_bytes);
    curl_easy_setopt(http->curl, CURLOPT_URL, request->url);
    curl_easy_setopt(http->curl, CURLOPT_HTTPHEADER, packed ? http->gzip_headers : http->headers);
    const CURLcode code = curl_easy_perform(http->curl);
    http->answer[http->answer_bytes] = 0;
    answer->bytes = http->answer_bytes;
    if (code != CURLE_OK) { /* also where half an answer came: nothing is known then */
        snprintf(answer->error, sizeof answer->error, "%s", *http->error ? http->error : curl_easy_strerror(code));
        return;
    }
    if (http->is_cut) {
        snprintf(answer->error, sizeof answer->error, "its answer is longer than %zu bytes",
                 http->open.answer_bytes_max);
        return;
    }
    curl_off_t after_s = 0;
    curl_easy_getinfo(http->curl, CURLINFO_RESPONSE_CODE, &answer->status);
    curl_easy_getinfo(http->curl, CURLINFO_RETRY_AFTER, &after_s);
    answer->retry_after_ms = after_s > RETRY_AFTER_MS_MAX / 1000 ? RETRY_AFTER_MS_MAX
                             : after_s > 0                       ? (int64_t)after_s * 1000
                                                                 : 0;
}

bool mr_curl_is_stranger(const struct mr_curl_answer *answer)
{
    return answer->body[strspn(answer->body, " \t\r\n")] == '<' ||
           strstr(answer->body, "HTTP request to an HTTPS server"); /* servers written in Go, InfluxDB among them */
}

/* ---- texts ---- */

char *mr_curl_escape(const char *text, char *out)
{
    static const char hex[] = "0123456789ABCDEF";
    for (; *text; text++) {
        const unsigned char byte = (unsigned char)*text;
        const bool is_plain = (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'z') ||
                              (byte >= 'A' && byte <= 'Z') || strchr("-._~", byte);
        if (!is_plain) {
            *out++ = '%';
            *out++ = hex[byte >> 4];
        }
        *out++ = is_plain ? (char)byte : hex[byte & 15];
    }
    *out = 0;
    return out;
}

const char *mr_curl_words(const char *body, size_t bytes, char *out, size_t out_bytes)
{
    size_t used = 0;
    for (size_t i = 0; i < bytes && used + 1 < out_bytes; i++) {
        const bool is_control = (unsigned char)body[i] < 0x20 || body[i] == 0x7f;
        if (is_control && (!used || out[used - 1] == ' ')) continue;
        out[used++] = is_control ? ' ' : body[i];
    }
    while (used && out[used - 1] == ' ') used--;
    out[used] = 0;
    return out;
}
