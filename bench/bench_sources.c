/*
 * What a source costs: reading a file and cutting it into messages beside decoding these messages, nanoseconds of one
 * core a record, by turns, and of that read(2) alone, which copies the file from the system's memory; and how long a
 * folder of many files takes to begin. Files are made in a folder of their own under TMPDIR and removed. Options:
 * --megabytes N (64), --files N (100000), --repeats N (7), --json.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "registry.h"

#define MESSAGES_MAX 8192
#define ROWS_CAP     65536
#define REPEATS_MAX  101
#define READ_BYTES   (256u << 10) /* as the source reads */

static const struct format {
    const char *name, *codec, *option[2];
    mr_framing framing;
    const char *path[2];
} formats[] = {
    {"JSON, a record a line", "json", {NULL}, MR_FRAMING_SINGLE, {"x1", "x2"}},
    {"JSON, blocks of lines", "json", {NULL}, MR_FRAMING_LINES, {"x1", "x2"}},
    {"CSV, a record a line", "csv", {NULL}, MR_FRAMING_SINGLE, {"2", "3"}},
    {"CSV with a header, a record a line", "csv", {"header", "file"}, MR_FRAMING_SINGLE, {"x1", "x2"}},
    {"CSV, blocks of lines", "csv", {NULL}, MR_FRAMING_LINES, {"2", "3"}},
    {"f32, blocks of rows of 64 bytes", "f32", {"stride", "64"}, MR_FRAMING_PACKED, {"[0]", "[15]"}},
};

static char folder[256];
static struct mr_message message[MESSAGES_MAX];
static struct mr_rows rows;

static void fail(const char *what, const char *why)
{
    fprintf(stderr, "bench_sources: %s: %s\n", what, why);
    exit(1);
}

static void file_write(const char *path, const struct format *format, size_t bytes)
{
    FILE *const file = fopen(path, "wb");
    if (!file) fail(path, "cannot be written");
    if (format->option[0] && !strcmp(format->option[0], "header")) fputs("id,x1,x2\n", file);
    for (size_t i = 0; (size_t)ftell(file) < bytes; i++) {
        const double x1 = (double)(i * 7919 % 100000) / 1000, x2 = (double)(i * 104729 % 100000) / 10000;
        const float row[16] = {(float)x1, [15] = (float)x2};
        if (!strcmp(format->codec, "json"))
            fprintf(file, "{\"id\":%zu,\"x1\":%.3f,\"x2\":%.4f}\n", i, x1, x2);
        else if (!strcmp(format->codec, "csv"))
            fprintf(file, "%zu,%.3f,%.4f\n", i, x1, x2);
        else
            fwrite(row, sizeof row, 1, file);
    }
    fclose(file);
}

static void *options_make(const struct mr_option *table, size_t bytes, const char *key, const char *value)
{
    struct mr_err err;
    void *const options = calloc(1, bytes + 1);
    if (!options || mr_options_init(table, options, &err)) fail("options", "no memory");
    if (key && mr_options_set(table, options, key, value, &err)) fail(key, err.text);
    return options;
}

static struct mr_source *source_open(const struct mr_source_ops *ops, const void *options, const struct mr_cut *cut)
{
    struct mr_err err;
    struct mr_source *source;
    const struct mr_source_open open = {
        .options = options, .job = "bench", .lane_count = 1, .memory_bytes = 64 << 20, .is_bounded = true, .cut = *cut};
    if (ops->open(&open, &source, &err) || ops->join(source, &err)) fail(ops->name, err.text);
    return source;
}

static void rows_init(void)
{
    rows = (struct mr_rows){.feature_count = 2, .row_cap = ROWS_CAP, .reject_cap = ROWS_CAP};
    rows.x = aligned_alloc(MR_ALIGN, ROWS_CAP * 2 * sizeof(float));
    rows.message = calloc(ROWS_CAP, sizeof *rows.message);
    rows.reject = calloc(ROWS_CAP, sizeof *rows.reject);
    if (!rows.x || !rows.message || !rows.reject) fail("rows", "no memory");
}

struct times {
    double poll_ns, decode_ns; /* a record */
    size_t records;
};

/* The whole file once. */
static struct times file_pass(const struct mr_source_ops *ops, const void *options, const struct mr_codec_ops *codec,
                              struct mr_decoder *decoder, const struct mr_cut *cut)
{
    struct mr_source *const source = source_open(ops, options, cut);
    struct mr_err err;
    int64_t poll_ns = 0, decode_ns = 0;
    size_t records = 0, rejects = 0;
    for (;;) {
        size_t count;
        const int64_t began_ns = mr_clock_thread_ns();
        const mr_status status = ops->poll(source, message, MESSAGES_MAX, 0, 0, &count, &err);
        const int64_t polled_ns = mr_clock_thread_ns();
        if (status && status != MR_END) fail(ops->name, err.text);
        for (struct mr_cursor cursor = {0}; cursor.message < count;) {
            rows.row_count = rows.reject_count = 0;
            codec->decode(decoder, message, count, &cursor, &rows);
            records += rows.row_count;
            rejects += rows.reject_count;
        }
        const int64_t decoded_ns = mr_clock_thread_ns();
        ops->release(source, message, count);
        poll_ns += polled_ns - began_ns + mr_clock_thread_ns() - decoded_ns;
        decode_ns += decoded_ns - polled_ns;
        if (status == MR_END && !count) break;
    }
    ops->close(source);
    if (!records || rejects) fail(codec->name, "records were refused");
    return (struct times){(double)poll_ns / (double)records, (double)decode_ns / (double)records, records};
}

/* The whole file once, by read(2) into a buffer that stays in the cache; the CPU time. */
static double read_pass_ns(const char *path)
{
    static char buffer[READ_BYTES];
    ssize_t got;
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) fail(path, "cannot be read");
    const int64_t began_ns = mr_clock_thread_ns();
    do got = read(fd, buffer, sizeof buffer);
    while (got > 0);
    const int64_t over_ns = mr_clock_thread_ns();
    close(fd);
    return (double)(over_ns - began_ns);
}

static int by_size(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *sample, size_t count)
{
    qsort(sample, count, sizeof *sample, by_size);
    return sample[count / 2];
}

static void format_measure(const struct format *format, size_t bytes, size_t repeats, bool is_json)
{
    const struct mr_source_ops *const ops = mr_source_find("file");
    const struct mr_codec_ops *const codec = mr_codec_find(format->codec);
    const struct mr_field field[2] = {{.path = format->path[0], .role = MR_FIELD_FEATURE},
                                      {.path = format->path[1], .role = MR_FIELD_FEATURE, .column = 1}};
    const struct mr_schema schema = {.field = field,
                                     .field_count = 2,
                                     .feature_count = 2,
                                     .framing = format->framing,
                                     .depth_max = 32,
                                     .record_bytes_max = 1 << 20};
    struct mr_decoder *decoder;
    struct mr_err err;
    struct mr_cut cut;
    double poll[REPEATS_MAX], decode[REPEATS_MAX], ratio[REPEATS_MAX], alone[REPEATS_MAX];
    size_t records = 0;
    char path[300];
    snprintf(path, sizeof path, "%s/file", folder);
    file_write(path, format, bytes);
    void *const codec_options = options_make(codec->options, codec->options_size, format->option[0], format->option[1]);
    void *const options = options_make(ops->options, ops->options_size, "path", path);
    if (mr_options_set(ops->options, options, "positions", "none", &err)) fail("positions", err.text);
    if (codec->create(codec_options, &schema, &decoder, &err)) fail(format->name, err.text);
    codec->cut(decoder, &cut);
    for (size_t i = 0; i < repeats; i++) {
        const struct times times = file_pass(ops, options, codec, decoder, &cut);
        poll[i] = times.poll_ns;
        decode[i] = times.decode_ns;
        ratio[i] = 100 * times.poll_ns / times.decode_ns;
        records = times.records;
        alone[i] = read_pass_ns(path) / (double)records;
    }
    printf(
        is_json
            ? "{\"format\":\"%s\",\"records\":%zu,\"source_ns\":%.2f,\"decode_ns\":%.2f,\"over_percent\":%.1f,"
              "\"read_ns\":%.2f}\n"
            : "%-36s %9zu records: source %6.2f ns, decoder %6.2f ns a record: %5.1f %% over; read(2) alone %5.2f ns\n",
        format->name, records, median(poll, repeats), median(decode, repeats), median(ratio, repeats),
        median(alone, repeats));
    codec->destroy(decoder);
    mr_options_deinit(codec->options, codec_options);
    mr_options_deinit(ops->options, options);
    free(codec_options);
    free(options);
    unlink(path);
}

/* All files of the folder, from opening the source to the end; the first batch; how many there were. */
static size_t folder_pass(const void *options, double *begin_s, double *all_s)
{
    const struct mr_source_ops *const ops = mr_source_find("dir");
    const struct mr_cut cut = {0};
    const int64_t began_ns = mr_clock_ns();
    struct mr_source *const source = source_open(ops, options, &cut);
    struct mr_err err;
    size_t records = 0;
    *begin_s = -1;
    for (;;) {
        size_t count;
        const mr_status status = ops->poll(source, message, MESSAGES_MAX, 0, 0, &count, &err);
        if (*begin_s < 0) *begin_s = (double)(mr_clock_ns() - began_ns) / 1e9;
        if (status && status != MR_END) fail("dir", err.text);
        ops->release(source, message, count);
        records += count;
        const struct mr_position position = {0, 0, (int64_t)records};
        if (ops->commit(source, &position, count != 0, true, &err)) fail("dir", err.text);
        if (status == MR_END && !count) break;
    }
    ops->close(source);
    *all_s = (double)(mr_clock_ns() - began_ns) / 1e9;
    return records;
}

static void folder_measure(size_t files, bool is_json)
{
    char path[300];
    double first_s, read_s, again_s, over_s;
    for (size_t i = 0; i < files; i++) {
        snprintf(path, sizeof path, "%s/%06zu", folder, i);
        FILE *const file = fopen(path, "wb");
        if (!file) fail(path, "cannot be written");
        fprintf(file, "{\"n\":%zu}\n", i);
        fclose(file);
    }
    const struct mr_source_ops *const ops = mr_source_find("dir");
    void *const options = options_make(ops->options, ops->options_size, "path", folder);
    if (folder_pass(options, &first_s, &read_s) != files) fail("dir", "files were missed");
    if (folder_pass(options, &again_s, &over_s)) fail("dir", "files were read twice");
    printf(is_json ? "{\"files\":%zu,\"first_batch_s\":%.3f,\"read_s\":%.3f,\"start_again_s\":%.3f}\n"
                   : "a folder of %zu files: first batch after %.3f s, all read and committed after %.3f s, started "
                     "again, with "
                     "all of them read, in %.3f s\n",
           files, first_s, read_s, again_s);
    mr_options_deinit(ops->options, options);
    free(options);
    for (size_t i = 0; i < files; i++) {
        snprintf(path, sizeof path, "%s/%06zu", folder, i);
        unlink(path);
    }
    snprintf(path, sizeof path, "%s/.bench.positions", folder);
    unlink(path);
}

int main(int argc, char **argv)
{
    size_t megabytes = 64, files = 100000, repeats = 7;
    bool is_json = false;
    const char *const base = getenv("TMPDIR");
    for (int i = 1; i < argc; i++) {
        const bool has_value = i + 1 < argc;
        if (!strcmp(argv[i], "--json"))
            is_json = true;
        else if (!strcmp(argv[i], "--megabytes") && has_value)
            megabytes = strtoul(argv[++i], NULL, 10);
        else if (!strcmp(argv[i], "--files") && has_value)
            files = strtoul(argv[++i], NULL, 10);
        else if (!strcmp(argv[i], "--repeats") && has_value)
            repeats = strtoul(argv[++i], NULL, 10);
        else
            fail(argv[i], "expected --megabytes N, --files N, --repeats N, --json");
    }
    if (!repeats || repeats > REPEATS_MAX) fail("--repeats", "expected 1 to 101");
    mr_log_level_set(MR_LOG_ERROR);
    snprintf(folder, sizeof folder, "%s/millrace-bench-XXXXXX", base ? base : "/tmp");
    if (!mkdtemp(folder)) fail(folder, "cannot be made");
    rows_init();
    for (size_t i = 0; megabytes && i < sizeof formats / sizeof *formats; i++)
        format_measure(&formats[i], megabytes << 20, repeats, is_json);
    if (files) folder_measure(files, is_json);
    rmdir(folder);
    free(rows.x);
    free(rows.message);
    free(rows.reject);
    return 0;
}
