/*
 * What a record costs in the client of the sinks influx and elastic: points and documents a second of CPU time, of all
 * threads of the client, against a server that answers at once. The server is a process of its own, whose time does not
 * count.
 *
 *     bench_sinks [--records N] [--no-gzip]
 */
#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zlib.h>

#include "base/clock.h"
#include "metrics/sink_stats.h"
#include "registry.h"

#define BOX_RECORDS  4096
#define VALUE_BYTES  160
#define HEAD_BYTES   (64u << 10)
#define BODY_BYTES   (64u << 20)
#define RECORDS      4000000
#define POLL_WAIT_US 1000

/* ---- the server ---- */

struct connection {
    int fd;
    char *head;
    size_t used;
};

static bool bytes_read(struct connection *link, char *out, size_t bytes)
{
    const size_t have = link->used < bytes ? link->used : bytes;
    memcpy(out, link->head, have);
    memmove(link->head, link->head + have, link->used - have);
    link->used -= have;
    for (size_t done = have; done < bytes;) {
        const ssize_t count = read(link->fd, out + done, bytes - done);
        if (count <= 0) return false;
        done += (size_t)count;
    }
    return true;
}

/* The head of a request, with a 0 behind it in place of its last line break. */
static bool head_read(struct connection *link, char *out)
{
    char *end;
    for (;;) {
        link->head[link->used] = 0;
        if ((end = strstr(link->head, "\r\n\r\n"))) break;
        const ssize_t count = read(link->fd, link->head + link->used, HEAD_BYTES - 1 - link->used);
        if (count <= 0) return false;
        link->used += (size_t)count;
    }
    const size_t bytes = (size_t)(end - link->head) + 4;
    memcpy(out, link->head, bytes);
    out[bytes - 1] = 0;
    memmove(link->head, link->head + bytes, link->used - bytes);
    link->used -= bytes;
    return true;
}

/* Documents of a bulk request. */
static size_t documents_of(char *body, size_t bytes, bool is_packed, char *plain)
{
    size_t lines = 0;
    if (is_packed) {
        z_stream zip = {
            .next_in = (Bytef *)body, .avail_in = (uInt)bytes, .next_out = (Bytef *)plain, .avail_out = BODY_BYTES};
        if (inflateInit2(&zip, 15 + 16) != Z_OK || inflate(&zip, Z_FINISH) != Z_STREAM_END) return 0;
        bytes = (size_t)zip.total_out;
        body = plain;
        inflateEnd(&zip);
    }
    for (size_t i = 0; i < bytes; i++) lines += body[i] == '\n';
    return lines / 2;
}

static void answer_write(int fd, size_t documents, char *out)
{
    char head[128];
    size_t bytes = 0;
    if (documents) bytes += (size_t)sprintf(out, "{\"errors\":false,\"items\":[");
    for (size_t i = 0; i < documents; i++)
        bytes += (size_t)sprintf(out + bytes, "%s{\"index\":{\"status\":201}}", i ? "," : "");
    if (documents) bytes += (size_t)sprintf(out + bytes, "]}");
    const int head_bytes = snprintf(head, sizeof head, "HTTP/1.1 %s\r\nContent-Length: %zu\r\n\r\n",
                                    documents ? "200 OK" : "204 No Content", bytes);
    memmove(out + head_bytes, out, bytes);
    memcpy(out, head, (size_t)head_bytes);
    for (size_t done = 0, all = bytes + (size_t)head_bytes; done < all;) {
        const ssize_t count = write(fd, out + done, all - done);
        if (count <= 0) return;
        done += (size_t)count;
    }
}

static void serve(int listener)
{
    char *const head = malloc(HEAD_BYTES), *const body = malloc(BODY_BYTES), *const plain = malloc(BODY_BYTES);
    struct connection link = {.head = malloc(HEAD_BYTES)};
    if (!head || !body || !plain || !link.head) _exit(1);
    while ((link.fd = accept(listener, NULL, NULL)) >= 0) {
        link.used = 0;
        while (head_read(&link, head)) {
            const char *const length = strcasestr(head, "content-length:");
            const size_t bytes = length ? strtoul(length + 15, NULL, 10) : 0;
            if (bytes > BODY_BYTES || !bytes_read(&link, body, bytes)) break;
            const bool is_bulk = strstr(head, "/_bulk"), is_packed = strcasestr(head, "content-encoding: gzip");
            answer_write(link.fd, is_bulk ? documents_of(body, bytes, is_packed, plain) : 0, plain);
        }
        close(link.fd);
    }
    _exit(0);
}

static pid_t server_start(char url[64])
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof address;
    const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, bytes) || listen(listener, 8)) return -1;
    getsockname(listener, (struct sockaddr *)&address, &bytes);
    snprintf(url, 64, "http://127.0.0.1:%u", (unsigned)ntohs(address.sin_port));
    const pid_t pid = fork();
    if (!pid) serve(listener);
    close(listener);
    return pid;
}

/* ---- the client ---- */

static size_t unsettled;

static void settled(struct mr_outbox *box, struct mr_record *record, mr_status status, mr_reason reason,
                    const char *text)
{
    (void)box, (void)record, (void)status, (void)reason;
    fprintf(stderr, "bench_sinks: a record is refused: %s\n", text);
    exit(1);
}

static void settled_ok(struct mr_outbox *box, size_t count)
{
    (void)box;
    unsettled -= count;
}

static void box_fill(struct mr_outbox *box, struct mr_record *record, char *arena, long long first)
{
    static const struct mr_message message;
    for (size_t i = 0; i < BOX_RECORDS; i++) {
        const long long number = first + (long long)i;
        char *const value = arena + i * VALUE_BYTES;
        const int bytes = snprintf(value, VALUE_BYTES,
                                   "{\"id\":%lld,\"prediction\":%lld,\"Temperature\":%.2f,\"probability\":0.%lld}",
                                   number, number % 6, 20 + (double)(number % 8000) / 100, 500000 + number % 499999);
        record[i] = (struct mr_record){
            .value = value, .value_bytes = (uint32_t)bytes, .row_count = 1, .offset = number, .message = &message};
    }
    *box = (struct mr_outbox){.record = record,
                              .count = BOX_RECORDS,
                              .record_cap = BOX_RECORDS,
                              .settled = settled,
                              .settled_ok = settled_ok};
}

static const char *topic_name(const void *context, uint32_t topic)
{
    (void)context, (void)topic;
    return "readings";
}

static int64_t event_ms(const void *context, const struct mr_message *message)
{
    (void)context, (void)message;
    return 1700000000000;
}

static double cpu_s(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static mr_status options_make(const struct mr_sink_ops *ops, void *options, const char *url, bool gzip,
                              struct mr_err *err)
{
    const bool is_influx = !strcmp(ops->name, "influx");
    mr_status status = mr_options_init(ops->options, options, err);
    if (!status) status = mr_options_set(ops->options, options, is_influx ? "url" : "urls", url, err);
    if (!status) status = mr_options_set(ops->options, options, is_influx ? "database" : "index", "bench", err);
    if (!status)
        status = mr_options_set(ops->options, options, is_influx ? "measurement" : "template",
                                is_influx ? "readings" : "none", err);
    if (!status && is_influx) status = mr_options_set(ops->options, options, "tags", "prediction", err);
    if (!status) status = mr_options_set(ops->options, options, "required", "true", err);
    return status ? status : mr_options_set(ops->options, options, "gzip", gzip ? "true" : "false", err);
}

/* Sends so many records through the sink, and says what that took. */
static mr_status run(const struct mr_sink_ops *ops, struct mr_sink *sink, long long records, struct mr_err *err)
{
    static char arena[2][BOX_RECORDS * VALUE_BYTES];
    static struct mr_record record[2][BOX_RECORDS];
    struct mr_outbox box[2];
    size_t taken;
    for (int i = 0; i < 2; i++) box_fill(&box[i], record[i], arena[i], i * BOX_RECORDS);
    const double cpu_before = cpu_s();
    const int64_t wall_before = mr_clock_ns();
    long long sent = 0;
    mr_status status = MR_OK;
    while (sent < records && !status) {
        struct mr_outbox *const next = &box[sent / BOX_RECORDS % 2];
        unsettled += BOX_RECORDS;
        for (size_t from = 0; from < BOX_RECORDS && !status; from += taken) {
            status = ops->emit(sink, next, from, &taken, err);
            if (status == MR_AGAIN) status = ops->poll(sink, POLL_WAIT_US, err);
        }
        if (!status) status = ops->poll(sink, 0, err);
        sent += BOX_RECORDS;
    }
    while (unsettled && !status) status = ops->poll(sink, POLL_WAIT_US, err);
    const double cpu = cpu_s() - cpu_before, wall = (double)(mr_clock_ns() - wall_before) / 1e9;
    if (!status)
        printf("{\"sink\":\"%s\",\"records\":%lld,\"cpu_s\":%.3f,\"wall_s\":%.3f,\"per_cpu_s\":%.0f}\n", ops->name,
               sent, cpu, wall, (double)sent / cpu);
    return status;
}

static mr_status measure(const struct mr_sink_ops *ops, const char *url, long long records, bool gzip,
                         struct mr_err *err)
{
    void *const options = calloc(1, ops->options_size);
    struct mr_sink *sink = NULL;
    mr_status status = options ? options_make(ops, options, url, gzip, err) : mr_fail(err, MR_ENOMEM, "out of memory");
    const struct mr_sink_open open = {.options = options,
                                      .job = "bench",
                                      .lane_count = 1,
                                      .memory_bytes = 128u << 20,
                                      .topic_name = topic_name,
                                      .event_ms = event_ms};
    if (!status) status = ops->open(&open, &sink, err);
    if (!status) status = run(ops, sink, records, err);
    ops->close(sink);
    if (options) mr_options_deinit(ops->options, options);
    free(options);
    return status;
}

int main(int argc, char **argv)
{
    long long records = RECORDS;
    bool gzip = true;
    char url[64];
    mr_status status = MR_OK;
    struct mr_err err;
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--no-gzip")) {
            gzip = false;
        } else if (!strcmp(argv[i], "--records") && i + 1 < argc) {
            records = atoll(argv[++i]);
        } else {
            fprintf(stderr, "Usage: bench_sinks [--records N] [--no-gzip]\n");
            return 64;
        }
    }
    signal(SIGPIPE, SIG_IGN);
    const pid_t server = server_start(url);
    if (server < 0) {
        perror("bench_sinks: its server");
        return 1;
    }
    static const char *const names[] = {"influx", "elastic"};
    for (size_t i = 0; i < sizeof names / sizeof *names && !status; i++)
        status = measure(mr_sink_find(names[i]), url, records, gzip, &err);
    if (status) fprintf(stderr, "bench_sinks: %s\n", err.text);
    kill(server, SIGKILL);
    waitpid(server, NULL, 0);
    return status ? 1 : 0;
}
