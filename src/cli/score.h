/**
 * `millrace score` in four parts: score_job.c makes a job of the flags and the model file, score_machine.c takes the
 * backend and the buffers, score_expect.c holds scores against a file, score.c reads, scores and prints.
 */
#ifndef MR_CLI_SCORE_H
#define MR_CLI_SCORE_H

#include "config/job.h"
#include "evaluate/differences.h"
#include "evaluate/expected.h"
#include "pipeline/encode.h"
#include "scoring/precision.h"
#include "table/input.h"

#define SCORE_ROW_CAP    4096
#define SCORE_RECORD_CAP 64

/** What --precision may be, NULL at the end. */
extern const char *const score_precisions[];

struct score_options {
    int format; /* index into mr_table_formats */
    struct mr_strings features;
    struct mr_map emit;
    struct mr_map record;
    char *floats;
    char *backend;
    int precision; /* index into score_precisions */
    double precision_tolerance;
    int64_t errors_max;
    char *expect; /* NULL: nothing is held against the scores */
    struct mr_strings expect_fields;
    double tolerance;
    bool json;
};

/** All that a run of the command holds; zeroed, then filled from top to bottom. */
struct score {
    const struct score_options *options;
    struct mr_job job;
    struct mr_job_model job_model;
    struct mr_model *model;
    const struct mr_model_info *info;
    struct mr_layout *layout;
    struct mr_decoder *decoder;
    struct mr_encoder *encoder;
    const struct mr_backend_ops *backend_ops;
    struct mr_backend *backend;
    struct mr_plan *plan, *exact_plan; /* the second: float32, of a model that is scored with fewer bits */
    struct mr_queue *queue;
    struct mr_models models; /* the one below: for what fewer bits cost */
    struct mr_model_at_work at_work;
    struct mr_input input;
    struct mr_rows rows;
    struct mr_scores scores, exact;
    struct mr_outbox box;
    struct mr_expected expected;
    struct mr_differences differences;
    uint64_t scored_count, bad_count, bad[MR_REASON_COUNT];
};

/** Opens the model file and puts together job, layout, decoder and encoder for rows from `path` (NULL: a pipe). Errors:
 * as the model's open, or MR_EUSAGE that names the flag's value. Whatever the outcome, mr_score_job_close frees what
 * there is. */
mr_status mr_score_job_open(struct score *score, const char *model, const char *path, struct mr_err *err);
void mr_score_job_close(struct score *score);

/** True when the format has no lines: rows of so many bytes, one behind the other. */
static inline bool score_is_packed(const struct score *score)
{
    return !(score->job.codec->framings & 1u << MR_FRAMING_LINES);
}

/** True when CSV columns are looked up by name and nothing but the first line can say the names. */
bool mr_score_needs_header(const struct score *score);

/** Opens the backend and takes all buffers. Close it before the job, whatever the outcome. */
mr_status mr_score_machine_open(struct score *score, struct mr_err *err);
void mr_score_machine_close(struct score *score);

/** Scores the rows, and the first of them also in float32 where fewer bits are asked for (scoring/precision.h). */
mr_status mr_score_rows(struct score *score, struct mr_err *err);

/** --expect, all of them nothing without it. rows: the scores of a batch; MR_EDATA: a bad row has no score, or the file
 * ends. end: says how far they are apart, MR_EDIFFER past the tolerance. */
mr_status mr_score_expect_open(struct score *score, struct mr_err *err);
mr_status mr_score_expect_rows(struct score *score, struct mr_err *err);
mr_status mr_score_expect_end(struct score *score, struct mr_err *err);
void mr_score_expect_close(struct score *score);

#endif
