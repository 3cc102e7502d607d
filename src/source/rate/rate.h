/** The rate source from the inside: rate.c, the plug-in and its schedule; stream.c, the records and what is true of
 * them. */
#ifndef MR_SOURCE_RATE_RATE_H
#define MR_SOURCE_RATE_RATE_H

#include "millrace/source.h"

enum { STREAM_PLANE, STREAM_CLUSTERS, STREAM_RATINGS, STREAM_AB };
enum { RATE_JSON, RATE_CSV };
enum { NOISE_NORMAL, NOISE_UNIFORM };
enum { NOISE_IN_Y, NOISE_IN_X };

struct rate_options {
    int stream, format;
    double rate;
    int64_t count, seed;
    struct mr_strings coefficients, drift, jump_to, lift; /* numbers */
    int64_t jump_at, unlabelled_every;
    double noise; /* -1: that of the stream */
    int noise_in, noise_shape;
    int64_t clusters, dimensions, walk;
    int64_t users, items, rank;
    char *positions;
};

#define MR_RATE_NUMBERS_MAX  64
#define MR_RATE_RECORD_BYTES 4096 /* the longest record takes less */

/** The numbers of the options, read; and what is computed from them once. */
struct mr_rate_stream {
    const struct rate_options *opt;
    uint64_t key; /* of the seed; 0 for seed 0 */
    double coefficient[MR_RATE_NUMBERS_MAX], drift[MR_RATE_NUMBERS_MAX], jump_to[MR_RATE_NUMBERS_MAX];
    double lift[MR_RATE_NUMBERS_MAX];
    size_t coefficient_count, lift_count;
    double noise;
};

/** MR_ECONFIG: what the options say together cannot be. */
mr_status mr_rate_stream_init(struct mr_rate_stream *stream, const struct rate_options *opt, struct mr_err *err);

/** Writes record `index` at out, which has MR_RATE_RECORD_BYTES; returns its length. Depends on the options and the
 * index alone: the same bytes on every machine. */
size_t mr_rate_record(const struct mr_rate_stream *stream, int64_t index, char *out);

size_t mr_rate_truth(const struct mr_rate_stream *stream, int64_t index, struct mr_truth *truth, size_t cap);

#endif
