/** A parsed job file: what `millrace run` needs, with defaults filled in and every value checked that needs no network.
 */
#ifndef MR_CONFIG_JOB_H
#define MR_CONFIG_JOB_H

#include <stdio.h>

#include "millrace/option.h"
#include "registry.h"

typedef enum { MR_DELIVERY_AT_LEAST_ONCE, MR_DELIVERY_AT_MOST_ONCE, MR_DELIVERY_EXACTLY_ONCE } mr_delivery;

typedef enum { MR_EMIT_SINGLE, MR_EMIT_LINES, MR_EMIT_ARRAY } mr_emit_framing;
/* What output records ask for: auto and same, the partition of their input (sinks know whether auto can be held). */
typedef enum { MR_PARTITION_AUTO, MR_PARTITION_SAME, MR_PARTITION_KEY, MR_PARTITION_STICKY } mr_emit_partition;
typedef enum { MR_TOMBSTONE_SKIP, MR_TOMBSTONE_DEAD } mr_tombstones;

/** "record": what all codecs share. */
struct mr_record_options {
    int framing;                    /* mr_framing */
    struct mr_strings features;     /* paths; `x[0..15]` stands for 16 of them; `@timestamp` and other message parts */
    char *label;                    /* path or NULL */
    struct mr_strings learn_topics; /* of the source, that models learn from; count 0: from all */
    int missing;                    /* mr_missing */
    struct mr_map defaults;         /* path -> number, for missing: "default" */
    int64_t depth_max;
    int64_t bytes_max;
    int tombstones; /* mr_tombstones */
};

/** "labels": true answers that come later, or earlier, on topics of their own. */
struct mr_labels_options {
    struct mr_strings topics; /* count 0: there are none */
    char *key;                /* path in a label, or "@key" */
    char *record_key;         /* the same in the records; NULL: as key */
    char *label;              /* path in a label */
    int64_t wait_max;         /* us that a record and its label may be apart */
    int64_t records_max;      /* records and labels that are kept at once */
};

struct mr_emit_options {
    struct mr_map fields;      /* output key -> expression */
    int framing;               /* mr_emit_framing */
    int64_t records_max;       /* joined records a message, for lines and array */
    int partition;             /* mr_emit_partition */
    char *floats;              /* "shortest" or "fixed:N" */
    struct mr_strings headers; /* input headers that go through */
    bool key;                  /* the input key goes through */
    bool timestamp;            /* the input timestamp goes through */
    bool provenance;           /* add headers millrace-model, millrace-source */
};

struct mr_bad_records_options {
    char *topic;      /* dead-letter topic, on the source's cluster; NULL: none */
    char *file;       /* dead-letter file (JSON lines); NULL: none */
    bool drop;        /* true: bad records are only counted and logged. Exactly one of topic, file, drop is set */
    double share_max; /* circuit breaker: share of bad ones among the last `window` records */
    int64_t window;
    int64_t run_max; /* circuit breaker: bad ones in a row */
};

/** "state": where what is learned is kept. */
struct mr_state_options {
    char *file;          /* path: snapshots of a job that learns without transactions; NULL: none */
    int64_t interval;    /* us between two of them */
    int64_t bytes_per_s; /* that snapshots may write, on average */
};

/** "http": the page of the job, its metrics and its probes. */
struct mr_http_options {
    char *listen;     /* address and port; NULL: none */
    char *token_file; /* path; NULL: none */
    struct mr_strings hosts;
    int64_t viewers_max;
    struct mr_map truth; /* what is known of the stream, by the names of live/truth.h */
};

/** Lanes of a job at most. */
#define MR_LANES_MAX 64

/** What a process does of a job; MR_ROLE_WHOLE: all of it, or it is not divided yet (config/roles.h). */
typedef enum { MR_ROLE_WHOLE, MR_ROLE_TRAINER, MR_ROLE_SCORERS } mr_job_role;

/* When models learn: from each batch as it came, or from blocks that are cut at offsets. */
typedef enum { MR_BATCH_ARRIVAL, MR_BATCH_OFFSETS } mr_batch_by;

struct mr_batch_options {
    int64_t records_max;
    int by;           /* mr_batch_by */
    int64_t wait_max; /* us: how long a batch may wait to fill, counted from its first record */
};

struct mr_job_model {
    char *name;
    char *file;  /* path, resolved against the job file's folder; NULL: it starts from nothing */
    char *input; /* name of the model whose scores it reads; NULL: record.features */
    char *save;  /* path, likewise, that a learning model is written to at the end; NULL: none */
    char *topic; /* its committed versions: written by the model that learns, followed by others; NULL: none */
    const struct mr_model_ops *ops;
    void *options;
};

struct mr_job_sink {
    const struct mr_sink_ops *ops;
    void *options;
};

struct mr_job {
    char *path; /* of the job file */
    char *name; /* "job" */
    const struct mr_source_ops *source;
    void *source_options;
    struct mr_record_options record;
    struct mr_labels_options labels;
    const struct mr_codec_ops *codec;
    void *codec_options;
    struct mr_job_model *model; /* [model_count] */
    size_t model_count;
    struct mr_emit_options emit;
    struct mr_job_sink *sink; /* [sink_count] */
    size_t sink_count;
    struct mr_bad_records_options bad_records;
    struct mr_batch_options batch;
    struct mr_state_options state;
    struct mr_http_options http;
    int delivery;       /* mr_delivery */
    char *backend;      /* "auto", "cpu", "cpu:avx2", "cuda:1" */
    double cross_check; /* share of batches that the reference scores as well; 0: none */
    double cross_check_tolerance;
    int64_t lanes;             /* 0: chosen at start */
    int64_t scorers;           /* lanes of a process beside the one that learns; 0: there is one process */
    int role;                  /* mr_job_role */
    int64_t memory;            /* bytes: budget of the whole job */
    int64_t commit_interval;   /* us */
    int64_t progress_interval; /* us */
};

/** The client properties that topics of the job have unless they name their own: the source's; of a source without a
 * broker, those of the first Kafka sink that has some. NULL: there are none. */
const struct mr_map *mr_job_properties(const struct mr_job *job);

/** The topics that the source reads; NULL: it reads none, or there is no source yet. */
const struct mr_strings *mr_job_topics(const struct mr_job *job);

/** Whether true answers come, in the records or on topics of their own. */
static inline bool mr_job_has_labels(const struct mr_job *job)
{
    return job->record.label || job->labels.topics.count;
}

/**
 * Reads and checks a job file. All errors are written to `talk` at once, each with file:line:column, the line, a caret,
 * the path, what was expected and the nearest known name. Returns MR_OK, or MR_ECONFIG / MR_EINPUT with *job_out NULL
 * and a one-line summary in err. ${env:NAME} and ${file:PATH} are replaced in string values (never in keys).
 */
mr_status mr_job_load(const char *path, FILE *talk, struct mr_job **job_out, struct mr_err *err);

/** As mr_job_load, from text; `path` is used in messages and to resolve relative file names. */
mr_status mr_job_parse(const char *path, const char *text, size_t bytes, FILE *talk, struct mr_job **job_out,
                       struct mr_err *err);

/** How mr_job_parse_as works, as bits. */
#define MR_JOB_JSON   1u /* findings go to talk as one JSON object, also when there are none */
#define MR_JOB_MODELS 2u /* opens the model files too, and checks that they fit record and emit */

/** As mr_job_parse, in the ways that `how` names. */
mr_status mr_job_parse_as(const char *path, const char *text, size_t bytes, FILE *talk, unsigned how,
                          struct mr_job **job_out, struct mr_err *err);

/**
 * Whether what a job reads and writes still goes together, after its values were changed: MR_ECONFIG names the first
 * output that is also an input or another output. The same was checked when the job was parsed.
 */
mr_status mr_job_check_outputs(const struct mr_job *job, struct mr_err *err);

/** The text of a job file; "-" is stdin. MR_EINPUT when it cannot be read. *text_out is to be freed; no 0 behind it. */
mr_status mr_job_read(const char *path, char **text_out, size_t *bytes_out, struct mr_err *err);

/** Frees the sinks: the job has none then. */
void mr_job_sinks_deinit(struct mr_job *job);

/** Frees all. Accepts NULL. */
void mr_job_destroy(struct mr_job *job);

/** Writes the JSON Schema (draft 2020-12) of the job file, made from the option tables. */
void mr_job_schema_print(FILE *out);

/**
 * Writes the job as it would run, as JSON: every key with its value or default; what came from ${...} and secrets as
 * "[set]". A wrong job is reported to talk as mr_job_parse does.
 */
mr_status mr_job_show(const char *path, const char *text, size_t bytes, FILE *talk, FILE *out, struct mr_err *err);

/** Writes the reference page (Markdown) of the job file, made from the option tables. */
void mr_job_reference_print(FILE *out);

#endif
