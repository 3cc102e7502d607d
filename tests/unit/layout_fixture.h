/* A job put together by hand, for the tests of layout and encoder. */
#ifndef MR_TESTS_LAYOUT_FIXTURE_H
#define MR_TESTS_LAYOUT_FIXTURE_H

#include <stdlib.h>
#include <string.h>

#include "config/job.h"

static const struct mr_codec_ops fixture_json = {.name = "json",
                                                 .framings = 1u << MR_FRAMING_SINGLE | 1u << MR_FRAMING_LINES |
                                                             1u << MR_FRAMING_ARRAY,
                                                 .captures_json = true,
                                                 .captures = true};
static const struct mr_codec_ops fixture_csv = {.name = "csv",
                                                .framings = 1u << MR_FRAMING_SINGLE | 1u << MR_FRAMING_LINES,
                                                .captures_json = false,
                                                .captures = true};
static const struct mr_codec_ops fixture_f32 = {.name = "f32",
                                                .framings = 1u << MR_FRAMING_SINGLE | 1u << MR_FRAMING_PACKED,
                                                .captures_json = false,
                                                .captures = false};

/* Up to 8 features and emitted fields, 3 models. Nothing is copied. */
struct fixture {
    struct mr_job job;
    char *features[8];
    struct mr_pair fields[8], defaults[8];
    struct mr_job_model models[3];
    const struct mr_model_info *info[3];
    char *headers[4];
};

/* Drops the const that the job's structs do not have. */
static inline char *fixture_text(const char *text)
{
    return (char *)(uintptr_t)text;
}

static inline void fixture_init(struct fixture *f, const struct mr_codec_ops *codec)
{
    memset(f, 0, sizeof *f);
    f->job.codec = codec;
    f->job.record.framing = MR_FRAMING_SINGLE;
    f->job.record.features.item = f->features;
    f->job.record.defaults.item = f->defaults;
    f->job.record.depth_max = 32;
    f->job.record.bytes_max = 1 << 20;
    f->job.emit.fields.item = f->fields;
    f->job.emit.headers.item = f->headers;
    f->job.emit.records_max = 100;
    f->job.emit.floats = fixture_text("shortest");
    f->job.model = f->models;
}

static inline void fixture_feature(struct fixture *f, const char *path)
{
    f->features[f->job.record.features.count++] = fixture_text(path);
}

static inline void fixture_emit(struct fixture *f, const char *key, const char *expression)
{
    f->fields[f->job.emit.fields.count++] = (struct mr_pair){fixture_text(key), fixture_text(expression)};
}

static inline void fixture_default(struct fixture *f, const char *path, const char *value)
{
    f->job.record.missing = MR_MISSING_DEFAULT;
    f->defaults[f->job.record.defaults.count++] = (struct mr_pair){fixture_text(path), fixture_text(value)};
}

static inline void fixture_model(struct fixture *f, const char *name, const struct mr_model_info *info)
{
    f->models[f->job.model_count].name = fixture_text(name);
    f->models[f->job.model_count].file = fixture_text("m.safetensors");
    f->info[f->job.model_count++] = info;
}

#endif
