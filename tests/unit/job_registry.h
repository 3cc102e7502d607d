/*
 * A registry for tests of the job file: plug-ins with option tables and nothing else, so that golden reports do not
 * change with every real plug-in. It defines every table of registry.c, which is then not taken from the library;
 * registry_find.c is.
 */
#ifndef MR_TESTS_JOB_REGISTRY_H
#define MR_TESTS_JOB_REGISTRY_H

#include <stddef.h>
#include <string.h>

#include "registry.h"

struct test_kafka_source {
    struct mr_strings topics;
    char *group;
    char *start;
    struct mr_map properties;
};
struct test_kafka_sink {
    char *topic;
    struct mr_map properties;
    int64_t linger;
};
struct test_file_sink {
    char *path;
    char *password;
    char *pin; /* a secret by its row, not by its name */
    int64_t bytes_max;
    int mode;
    double share;
};
struct test_csv {
    char *separator;
    bool header;
};

static mr_status test_property_check(const char *key, const char *value, struct mr_err *err)
{
    if (strncmp(key, "no.", 3) != 0) return MR_OK;
    return mr_fail(err, MR_ECONFIG, "no such property, and its value is \"%s\"", value);
}

#define AT(field) offsetof(struct test_kafka_source, field)
static const struct mr_option test_kafka_source_options[] = {
    {.key = "topics",
     .type = MR_OPT_STRINGS,
     .offset = AT(topics),
     .required = true,
     .doc = "Topics to read.",
     .example = "[\"example_1\"]"},
    {.key = "group", .type = MR_OPT_STRING, .offset = AT(group), .doc = "Consumer group."},
    {.key = "start",
     .type = MR_OPT_STRING,
     .offset = AT(start),
     .fallback = "earliest",
     .doc = "Where to begin without a commit."},
    {.key = "properties",
     .type = MR_OPT_MAP,
     .offset = AT(properties),
     .required = true,
     .check_pair = test_property_check,
     .doc = "Any librdkafka property.",
     .example = "{\"bootstrap.servers\": \"localhost:9092\"}"},
    {0},
};
#undef AT
#define AT(field) offsetof(struct test_kafka_sink, field)
static const struct mr_option test_kafka_sink_options[] = {
    {.key = "topic",
     .type = MR_OPT_STRING,
     .offset = AT(topic),
     .required = true,
     .doc = "Topic to write.",
     .example = "\"example_2\""},
    {.key = "properties", .type = MR_OPT_MAP, .offset = AT(properties), .doc = "Any librdkafka property."},
    {.key = "linger",
     .type = MR_OPT_DURATION,
     .offset = AT(linger),
     .fallback = "5ms",
     .max = 60e6,
     .doc = "How long a record waits."},
    {0},
};
#undef AT
static const char *const test_modes[] = {"append", "truncate", NULL};
#define AT(field) offsetof(struct test_file_sink, field)
static const struct mr_option test_file_sink_options[] = {
    {.key = "path",
     .type = MR_OPT_STRING,
     .offset = AT(path),
     .required = true,
     .is_path = true,
     .doc = "File to write."},
    {.key = "pin", .type = MR_OPT_STRING, .offset = AT(pin), .secret = true, .doc = "Of the archive, too."},
    {.key = "password", .type = MR_OPT_STRING, .offset = AT(password), .secret = true, .doc = "Of the archive."},
    {.key = "bytes_max",
     .type = MR_OPT_SIZE,
     .offset = AT(bytes_max),
     .fallback = "64MiB",
     .min = 4096,
     .max = 1e12,
     .doc = "Then a new file."},
    {.key = "mode",
     .type = MR_OPT_ENUM,
     .offset = AT(mode),
     .fallback = "append",
     .choices = test_modes,
     .doc = "What with an old file."},
    {.key = "share",
     .type = MR_OPT_DOUBLE,
     .offset = AT(share),
     .fallback = "0.25",
     .max = 1,
     .doc = "Share of records that go there."},
    {0},
};
#undef AT
#define AT(field) offsetof(struct test_csv, field)
static const struct mr_option test_csv_options[] = {
    {.key = "separator", .type = MR_OPT_STRING, .offset = AT(separator), .fallback = ",", .doc = "Between columns."},
    {.key = "header",
     .type = MR_OPT_BOOL,
     .offset = AT(header),
     .fallback = "false",
     .doc = "First line names the columns."},
    {0},
};
#undef AT

static mr_status test_csv_check(const void *options, struct mr_err *err)
{
    const struct test_csv *const csv = options;
    if (strlen(csv->separator) == 1) return MR_OK;
    return mr_fail(err, MR_ECONFIG, "separator must be one byte, found \"%s\"", csv->separator);
}

static const struct mr_source_ops test_kafka_source_ops = {.name = "kafka",
                                                           .summary = "a Kafka topic",
                                                           .options = test_kafka_source_options,
                                                           .options_size = sizeof(struct test_kafka_source)};
static const struct mr_codec_ops test_json_ops = {.name = "json", .summary = "JSON", .framings = 7, .captures = true};
static const struct mr_codec_ops test_csv_ops = {.name = "csv",
                                                 .summary = "CSV",
                                                 .framings = 3,
                                                 .options = test_csv_options,
                                                 .options_size = sizeof(struct test_csv),
                                                 .check = test_csv_check};
static const struct mr_model_ops test_mlp_ops = {.name = "mlp", .summary = "multi-layer perceptron"};
static const struct mr_model_ops test_linear_ops = {.name = "linear", .summary = "linear regression"};
static const struct mr_backend_ops test_cpu_ops = {.name = "cpu", .summary = "SIMD units"};
static const struct mr_sink_ops test_kafka_sink_ops = {.name = "kafka",
                                                       .summary = "a Kafka topic",
                                                       .options = test_kafka_sink_options,
                                                       .options_size = sizeof(struct test_kafka_sink)};
static const struct mr_sink_ops test_file_sink_ops = {.name = "file",
                                                      .summary = "a file",
                                                      .options = test_file_sink_options,
                                                      .options_size = sizeof(struct test_file_sink)};

const struct mr_source_ops *const mr_sources[] = {&test_kafka_source_ops, NULL};
const struct mr_codec_ops *const mr_codecs[] = {&test_json_ops, &test_csv_ops, NULL};
const struct mr_model_ops *const mr_models[] = {&test_mlp_ops, &test_linear_ops, NULL};
const struct mr_backend_ops *const mr_backends[] = {&test_cpu_ops, NULL};
const struct mr_sink_ops *const mr_sinks[] = {&test_kafka_sink_ops, &test_file_sink_ops, NULL};

#endif
