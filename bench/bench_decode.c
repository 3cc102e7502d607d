/*
 * Decoding JSON into feature tiles, nanoseconds of one core a record. Every variant decodes the same messages; the
 * features must be bit for bit what strtof made of the texts, or the program fails. Options: --json, --repeats N,
 * --filter WORD, --variant NAME.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "codec/json/template.h"
#include "registry.h"
#include "workload.h"

#define MESSAGE_COUNT 32768
#define REPEATS_MAX   101

struct workload {
    const char *name, *doc;
    size_t feature_count, records_per_message;
    mr_framing framing;
    /* Writes one record, its features' texts converted by strtof into x. */
    char *(*record)(char *out, uint64_t *seed, float *x);
    const char *const *paths;
};

static uint64_t random_next(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* The records of workloads A and B, as the end-to-end benchmarks send them. */
static char *record_workload(const char *name, char *out, uint64_t *counter, float *x)
{
    char *const end = out + bench_workload_find(name)->write((*counter)++, out);
    *end = 0;
    while ((out = strchr(out, ':'))) *x++ = strtof(++out, NULL);
    return end;
}
static char *record_a(char *out, uint64_t *seed, float *x)
{
    return record_workload("A", out, seed, x);
}
static char *record_b(char *out, uint64_t *seed, float *x)
{
    return record_workload("B", out, seed, x);
}

/* 4 to 6 significant digits, one to three before the point; a sign in one of eight when asked. */
static char *number_write(char *out, uint64_t *seed, bool is_signed, float *value_out)
{
    const char *const first = out;
    const unsigned integer = 1 + (unsigned)(random_next(seed) % 3), digits = 4 + (unsigned)(random_next(seed) % 3);
    if (is_signed && random_next(seed) % 8 == 0) *out++ = '-';
    for (unsigned i = 0; i < digits; i++) {
        if (i == integer) *out++ = '.';
        *out++ = (char)('0' + (i ? random_next(seed) % 10 : 1 + random_next(seed) % 9));
    }
    *out = 0;
    *value_out = strtof(first, NULL);
    return out;
}

static char *record_b_make(char *out, uint64_t *seed, float *x, bool is_signed)
{
    for (int i = 0; i < 16; i++) {
        out += sprintf(out, "%s\"f%02d\":", i ? "," : "{", i);
        out = number_write(out, seed, is_signed, &x[i]);
    }
    *out++ = '}';
    return out;
}

static char *record_b_plain(char *out, uint64_t *seed, float *x)
{
    return record_b_make(out, seed, x, false);
}
static char *record_b_signed(char *out, uint64_t *seed, float *x)
{
    return record_b_make(out, seed, x, true);
}

/* As Python's json.dumps writes: a space behind each comma and colon, doubles in their shortest form. */
static char *record_b_python(char *out, uint64_t *seed, float *x)
{
    for (int i = 0; i < 16; i++) {
        const double value = ((double)(random_next(seed) >> 11) * 0x1p-53 - 0.5) * 8;
        char text[512];
        int precision = 15;
        do {
            snprintf(text, sizeof text, "%.*g", precision++, value);
        } while (strtod(text, NULL) != value);
        x[i] = strtof(text, NULL);
        out += sprintf(out, "%s\"f%02d\": %s", i ? ", " : "{", i, text);
    }
    *out++ = '}';
    return out;
}

/* An id and a name before the floats: what a real record carries. */
static char *record_b_mixed(char *out, uint64_t *seed, float *x)
{
    out += sprintf(out, "{\"id\":%u,\"device\":\"pump-%03u\",\"on\":true", (unsigned)(random_next(seed) >> 34),
                   (unsigned)(random_next(seed) % 1000));
    for (int i = 0; i < 16; i++) {
        out += sprintf(out, ",\"f%02d\":", i);
        out = number_write(out, seed, false, &x[i]);
    }
    *out++ = '}';
    return out;
}

/* Keys in random order among unknown ones. */
static char *record_hostile(char *out, uint64_t *seed, float *x)
{
    unsigned order[20] = {0};
    for (unsigned i = 0; i < 20; i++) {
        const unsigned at = (unsigned)(random_next(seed) % (i + 1));
        order[i] = order[at];
        order[at] = i;
    }
    *out++ = '{';
    for (unsigned i = 0; i < 20; i++) {
        if (i) *out++ = ',';
        if (order[i] < 16) {
            out += sprintf(out, "\"f%02u\":", order[i]);
            out = number_write(out, seed, true, &x[order[i]]);
        } else {
            static const char *const unknown[] = {"\"name\":\"M\xc3\xbcller \\u00e9\"", "\"tags\":[\"a\",{\"b\":null}]",
                                                  "\"id\":12345678", "\"on\":true"};
            out += sprintf(out, "%s", unknown[order[i] - 16]);
        }
    }
    *out++ = '}';
    return out;
}

static const char *const paths_a[] = {"Temperature"};
static const char *const paths_b[] = {"f00", "f01", "f02", "f03", "f04", "f05", "f06", "f07",
                                      "f08", "f09", "f10", "f11", "f12", "f13", "f14", "f15"};

static const struct workload workloads[] = {
    {"A", "{\"Temperature\": 21.53}", 1, 1, MR_FRAMING_SINGLE, record_a, paths_a},
    {"A-lines", "100 a message", 1, 100, MR_FRAMING_LINES, record_a, paths_a},
    {"B", "16 floats of 4 to 6 digits", 16, 1, MR_FRAMING_SINGLE, record_b, paths_b},
    {"B-lines", "100 a message", 16, 100, MR_FRAMING_LINES, record_b, paths_b},
    {"B-array", "100 a message", 16, 100, MR_FRAMING_ARRAY, record_b, paths_b},
    {"B-plain", "other digits: none negative, all short", 16, 1, MR_FRAMING_SINGLE, record_b_plain, paths_b},
    {"B-signed", "one in eight negative", 16, 1, MR_FRAMING_SINGLE, record_b_signed, paths_b},
    {"B-python", "json.dumps of doubles, 15 to 17 digits", 16, 1, MR_FRAMING_SINGLE, record_b_python, paths_b},
    {"B-mixed", "id, string and word before the floats", 16, 1, MR_FRAMING_SINGLE, record_b_mixed, paths_b},
    {"hostile", "16 floats and 4 unknown fields, keys shuffled", 16, 1, MR_FRAMING_SINGLE, record_hostile, paths_b},
};

struct bench {
    struct mr_message *message;
    size_t message_count, record_count;
    char *text;
    float *want; /* [record_count][feature_count] */
    struct mr_rows rows;
    struct mr_decoder *decoder;
};

static void *must(void *memory)
{
    if (!memory) abort();
    return memory;
}

static void bench_open(struct bench *bench, const struct workload *workload)
{
    const size_t per = workload->records_per_message;
    uint64_t seed = 42;
    bench->message_count = MESSAGE_COUNT / per;
    bench->record_count = bench->message_count * per;
    bench->message = must(calloc(bench->message_count, sizeof *bench->message));
    bench->text = must(malloc(bench->record_count * 600 + 64));
    bench->want = must(calloc(bench->record_count * workload->feature_count, sizeof(float)));
    char *out = bench->text;
    for (size_t m = 0, record = 0; m < bench->message_count; m++) {
        bench->message[m].value = out;
        if (workload->framing == MR_FRAMING_ARRAY) *out++ = '[';
        for (size_t i = 0; i < per; i++, record++) {
            out = workload->record(out, &seed, bench->want + record * workload->feature_count);
            if (per > 1) *out++ = workload->framing == MR_FRAMING_LINES ? '\n' : i + 1 < per ? ',' : ']';
        }
        bench->message[m].value_bytes = (size_t)(out - bench->message[m].value);
    }
    struct mr_field field[16];
    for (size_t i = 0; i < workload->feature_count; i++) {
        field[i] = (struct mr_field){.path = workload->paths[i], .role = MR_FIELD_FEATURE, .column = (uint32_t)i};
    }
    const struct mr_schema schema = {.field = field,
                                     .field_count = workload->feature_count,
                                     .feature_count = workload->feature_count,
                                     .framing = workload->framing,
                                     .depth_max = 32,
                                     .record_bytes_max = 1 << 20};
    struct mr_err err;
    if (mr_codec_find("json")->create(NULL, &schema, &bench->decoder, &err)) {
        fprintf(stderr, "%s\n", err.text);
        exit(1);
    }
    struct mr_rows *const rows = &bench->rows;
    const size_t floats = mr_tile_count(bench->record_count) * workload->feature_count * MR_TILE_ROWS;
    rows->x = must(aligned_alloc(MR_ALIGN, floats * sizeof(float)));
    rows->message = must(calloc(bench->record_count, sizeof *rows->message));
    rows->reject = must(calloc(bench->record_count, sizeof *rows->reject));
    rows->feature_count = workload->feature_count;
    rows->row_cap = rows->reject_cap = bench->record_count;
}

static void bench_close(struct bench *bench)
{
    mr_codec_find("json")->destroy(bench->decoder);
    free(bench->message);
    free(bench->text);
    free(bench->want);
    free(bench->rows.x);
    free(bench->rows.message);
    free(bench->rows.reject);
}

static double bench_once(struct bench *bench)
{
    struct timespec start, stop;
    struct mr_cursor cursor = {0};
    bench->rows.row_count = bench->rows.reject_count = 0;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &start);
    mr_codec_find("json")->decode(bench->decoder, bench->message, bench->message_count, &cursor, &bench->rows);
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &stop);
    return ((double)(stop.tv_sec - start.tv_sec) * 1e9 + (double)(stop.tv_nsec - start.tv_nsec)) /
           (double)bench->record_count;
}

static bool bench_is_right(const struct bench *bench, const struct workload *workload)
{
    if (bench->rows.row_count != bench->record_count || bench->rows.reject_count) return false;
    for (size_t row = 0; row < bench->record_count; row++) {
        for (size_t col = 0; col < workload->feature_count; col++) {
            const float *const got = &bench->rows.x[mr_tile_at(row, col, workload->feature_count)];
            /* NOLINTNEXTLINE(bugprone-suspicious-memory-comparison): bit for bit is what is meant */
            if (memcmp(got, &bench->want[row * workload->feature_count + col], sizeof *got)) return false;
        }
    }
    return true;
}

static int compare_doubles(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
    const char *filter = "", *only = "";
    size_t repeats = 11;
    bool is_json = false, is_first = true, is_wrong = false;
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--json"))
            is_json = true;
        else if (!strcmp(argv[i], "--repeats") && i + 1 < argc)
            repeats = strtoul(argv[++i], NULL, 10);
        else if (!strcmp(argv[i], "--filter") && i + 1 < argc)
            filter = argv[++i];
        else if (!strcmp(argv[i], "--variant") && i + 1 < argc)
            only = argv[++i];
        else
            return fprintf(stderr, "usage: bench_decode [--json] [--repeats N] [--filter WORD] [--variant NAME]\n"), 64;
    }
    if (repeats < 1 || repeats > REPEATS_MAX) repeats = REPEATS_MAX;
    if (is_json)
        printf("{\"benchmarks\":[");
    else
        printf("%-10s %-8s %9s %9s %7s  %s\n", "workload", "variant", "median ns", "best ns", "GB/s", "");
    for (size_t w = 0; w < sizeof workloads / sizeof *workloads; w++) {
        const struct workload *const workload = &workloads[w];
        struct bench bench = {0};
        if (!strstr(workload->name, filter)) continue;
        bench_open(&bench, workload);
        const double bytes = (double)(bench.message[bench.message_count - 1].value +
                                      bench.message[bench.message_count - 1].value_bytes - bench.text) /
                             (double)bench.record_count;
        for (const struct json_variant *variant = json_variants; variant->name; variant++) {
            double ns[REPEATS_MAX];
            if ((*only && strcmp(only, variant->name)) || json_variant_set(bench.decoder, variant->name, NULL))
                continue;
            bench_once(&bench);
            const bool is_right = bench_is_right(&bench, workload);
            for (size_t i = 0; i < repeats; i++) ns[i] = bench_once(&bench);
            qsort(ns, repeats, sizeof *ns, compare_doubles);
            is_wrong |= !is_right;
            if (is_json) {
                printf("%s{\"name\":\"%s\",\"variant\":\"%s\",\"median_ns\":%.2f,\"best_ns\":%.2f,\"record_bytes\":%."
                       "1f,\"is_right\":%s}",
                       is_first ? "" : ",", workload->name, variant->name, ns[repeats / 2], ns[0], bytes,
                       is_right ? "true" : "false");
            } else {
                printf("%-10s %-8s %9.1f %9.1f %7.2f  %s%s\n", workload->name, variant->name, ns[repeats / 2], ns[0],
                       bytes / ns[repeats / 2], workload->doc, is_right ? "" : "  WRONG VALUES");
            }
            is_first = false;
        }
        bench_close(&bench);
    }
    if (is_json) printf("]}\n");
    return is_wrong;
}
