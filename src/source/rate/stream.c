/*
 * The records of synthetic streams. Each is made of random numbers that depend on the seed, the number of the record
 * and their place in it: splitmix64 of a counter. What is printed was computed in whole numbers or with the four
 * operations on doubles, which every machine does alike; no library function has a part in it.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/number.h"
#include "source/rate/rate.h"

#define GAMMA           UINT64_C(0x9e3779b97f4a7c15)
#define DRAWS           16    /* of a normal number: 12, rounded up */
#define PLANE_UNIT      10000 /* fractions of one that are printed */
#define CLUSTERS_UNIT   1000
#define MILLION         1000000
#define DATASET_CENTRES 4

__extension__ typedef __int128 wide; /* products of two numbers of units */

static uint64_t mixed(uint64_t z)
{
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* The counter-th number of the stream. */
static uint64_t draw(const struct mr_rate_stream *stream, uint64_t counter)
{
    return mixed(stream->key + (counter + 1) * GAMMA);
}

/* In [0, 1). */
static double unit(const struct mr_rate_stream *stream, uint64_t counter)
{
    return (double)(draw(stream, counter) >> 11) * 0x1p-53;
}

/* Of mean 0 and deviation 1, nearly normal: a sum of 12 uniform numbers. Its numbers are a range of counters of its
 * own. */
static double normal(const struct mr_rate_stream *stream, uint64_t which)
{
    double sum = -6;
    for (uint64_t i = 0; i < 12; i++) sum += unit(stream, (UINT64_C(1) << 63) + which * DRAWS + i);
    return sum;
}

/* ---- options ---- */

static mr_status numbers_read(const struct mr_strings *texts, const char *key, double *out, size_t *count_out,
                              struct mr_err *err)
{
    *count_out = texts->count;
    if (texts->count > MR_RATE_NUMBERS_MAX)
        return mr_fail(err, MR_ECONFIG, "source.%s: %zu numbers, expected at most %d", key, texts->count,
                       MR_RATE_NUMBERS_MAX);
    for (size_t i = 0; i < texts->count; i++) {
        const char *const text = texts->item[i], *const end = text + strlen(text);
        if (mr_parse_f64(text, end, &out[i]) == end && end > text && fabs(out[i]) < 1e6) continue;
        return mr_fail(err, MR_ECONFIG, "source.%s: \"%s\" is no number below a million, such as \"3.2\"", key, text);
    }
    return MR_OK;
}

static mr_status plane_check(const struct mr_rate_stream *stream, size_t drift_count, size_t jump_count,
                             struct mr_err *err)
{
    const size_t count = stream->coefficient_count;
    if ((drift_count && drift_count != count) || (jump_count && jump_count != count))
        return mr_fail(err, MR_ECONFIG, "source.%s: expected %zu numbers, as many as source.coefficients has",
                       drift_count && drift_count != count ? "drift" : "jump_to", count);
    if (stream->opt->noise_in == NOISE_IN_X && stream->coefficient[0] == 0)
        return mr_fail(err, MR_ECONFIG,
                       "source.coefficients: with noise_in \"x\" the first must not be 0: x1 is computed from y");
    if (jump_count && !stream->opt->jump_at)
        return mr_fail(err, MR_ECONFIG, "source.jump_to: has no effect without jump_at, the record at which they jump");
    return MR_OK;
}

mr_status mr_rate_stream_init(struct mr_rate_stream *stream, const struct rate_options *opt, struct mr_err *err)
{
    static const double noises[] = {1, 1, 0.25, 2}; /* of each stream */
    size_t drift_count, jump_count;
    *stream = (struct mr_rate_stream){.opt = opt, .key = opt->seed ? mixed((uint64_t)opt->seed) : 0};
    stream->noise = opt->noise >= 0 ? opt->noise : noises[opt->stream];
    if (opt->noise < 0 && opt->stream == STREAM_PLANE && opt->noise_in == NOISE_IN_X) stream->noise = 0.1;
    mr_status status =
        numbers_read(&opt->coefficients, "coefficients", stream->coefficient, &stream->coefficient_count, err);
    if (!status) status = numbers_read(&opt->drift, "drift", stream->drift, &drift_count, err);
    if (!status) status = numbers_read(&opt->jump_to, "jump_to", stream->jump_to, &jump_count, err);
    if (!status) status = numbers_read(&opt->lift, "lift", stream->lift, &stream->lift_count, err);
    if (status) return status;
    if (!stream->coefficient_count) {
        stream->coefficient[0] = 3.2;
        stream->coefficient[1] = 0.6;
        stream->coefficient_count = 2;
    }
    if (!stream->lift_count) {
        stream->lift[0] = 0;
        stream->lift[1] = 0.5;
        stream->lift_count = 2;
    }
    return plane_check(stream, drift_count, jump_count, err);
}

/* ---- printing ---- */

struct line {
    char *at, *begin;
    int format;
};

static void field_name(struct line *line, const char *name)
{
    const bool is_first = line->at == line->begin;
    if (line->format == RATE_CSV) {
        if (!is_first) *line->at++ = ',';
        return;
    }
    *line->at++ = is_first ? '{' : ',';
    *line->at++ = '"';
    line->at = stpcpy(line->at, name);
    line->at = stpcpy(line->at, "\":");
}

static void field_int(struct line *line, const char *name, int64_t value)
{
    field_name(line, name);
    line->at += mr_print_i64(value, line->at);
}

/* value in units: "-3.0625" of -30625 ten-thousandths. */
static void field_fixed(struct line *line, const char *name, int64_t value, int64_t per_one)
{
    char digits[24];
    field_name(line, name);
    if (value < 0) *line->at++ = '-';
    const int64_t size = value < 0 ? -value : value;
    line->at += mr_print_i64(size / per_one, line->at);
    *line->at++ = '.';
    const size_t count = mr_print_i64(size % per_one + per_one, digits) - 1; /* with its zeros, behind a 1 */
    memcpy(line->at, digits + 1, count);
    line->at += count;
}

/* No label: in CSV an empty cell. */
static void field_none(struct line *line, const char *name)
{
    if (line->format == RATE_CSV) field_name(line, name);
}

static int64_t rounded(double value)
{
    return (int64_t)(value < 0 ? value - 0.5 : value + 0.5);
}

/* ---- streams ---- */

static double coefficient_at(const struct mr_rate_stream *stream, size_t which, int64_t index)
{
    const struct rate_options *const opt = stream->opt;
    const bool has_jumped = opt->jump_at && opt->jump_to.count && index >= opt->jump_at;
    const double from = has_jumped ? stream->jump_to[which] : stream->coefficient[which];
    const int64_t since = has_jumped ? index - opt->jump_at : index;
    return from + stream->drift[which] * (double)since / 1000;
}

/* The numbers of a point are these counters; two coefficients take four of them, as datasets/plane/generate.py does. */
static uint64_t plane_counter(const struct mr_rate_stream *stream, int64_t index, uint64_t which)
{
    return (2 + (uint64_t)stream->coefficient_count) * (uint64_t)index + which;
}

/* y = c1 x1 + c2 x2 + ..., each x uniform in 0..100, with noise in y: least squares finds the coefficients. */
static int64_t plane_forward(const struct mr_rate_stream *stream, int64_t index, int64_t x[])
{
    double y = stream->noise * normal(stream, (uint64_t)index);
    for (size_t i = 0; i < stream->coefficient_count; i++) {
        x[i] = (int64_t)(draw(stream, plane_counter(stream, index, i)) % (100 * PLANE_UNIT));
        y += coefficient_at(stream, i, index) * ((double)x[i] / PLANE_UNIT);
    }
    return rounded(y * PLANE_UNIT);
}

/* y is uniform in 1..1000, x2 and those behind it in 1..100, and x1 is what is left for it, times 1 +- noise: least
 * squares finds what the noise in x1 makes of the coefficients. In whole numbers, as datasets/plane/generate.py. */
static int64_t plane_backward(const struct mr_rate_stream *stream, int64_t index, int64_t x[])
{
    const int64_t width = 2 * rounded(stream->noise * MILLION) + 1;
    const int64_t y = (int64_t)(1 + draw(stream, plane_counter(stream, index, 0)) % 1000) * PLANE_UNIT;
    const size_t count = stream->coefficient_count;
    wide left = (wide)MILLION * y;
    for (size_t i = 1; i < count; i++) {
        x[i] = PLANE_UNIT + (int64_t)(draw(stream, plane_counter(stream, index, i)) % (99 * PLANE_UNIT));
        left -= (wide)rounded(coefficient_at(stream, i, index) * MILLION) * x[i];
    }
    const int64_t noise =
        (int64_t)(draw(stream, plane_counter(stream, index, count)) % (uint64_t)width) - (width - 1) / 2;
    const wide divisor = (wide)rounded(coefficient_at(stream, 0, index) * MILLION) * MILLION;
    const wide product = left * (MILLION + noise);
    wide quotient = product / divisor;
    if (product % divisor && (product < 0) != (divisor < 0)) quotient--; /* downwards, as Python does */
    x[0] = (int64_t)quotient;
    return y;
}

static void plane_write(const struct mr_rate_stream *stream, int64_t index, struct line *line)
{
    int64_t x[MR_RATE_NUMBERS_MAX];
    const int64_t every = stream->opt->unlabelled_every;
    const int64_t y =
        stream->opt->noise_in == NOISE_IN_Y ? plane_forward(stream, index, x) : plane_backward(stream, index, x);
    for (size_t i = 0; i < stream->coefficient_count; i++) {
        char name[24];
        snprintf(name, sizeof name, "x%zu", i + 1);
        field_fixed(line, name, x[i], PLANE_UNIT);
    }
    if (every && index % every == every - 1)
        field_none(line, "y");
    else
        field_fixed(line, "y", y, PLANE_UNIT);
}

/* Where a centre walks from and to, on one axis: four of two dimensions as in datasets/clusters, others anywhere. */
static void centre_walk(const struct mr_rate_stream *stream, uint64_t which, uint64_t axis, int64_t *from, int64_t *to)
{
    static const int from_dataset[DATASET_CENTRES][2] = {{-10, 0}, {10, 0}, {0, 10}, {0, -10}};
    static const int to_dataset[DATASET_CENTRES][2] = {{-10, 8}, {10, -8}, {8, 10}, {-8, -10}};
    const struct rate_options *const opt = stream->opt;
    if (opt->clusters == DATASET_CENTRES && opt->dimensions == 2) {
        *from = from_dataset[which][axis] * CLUSTERS_UNIT;
        *to = to_dataset[which][axis] * CLUSTERS_UNIT;
        return;
    }
    const uint64_t counter = (UINT64_C(1) << 62) + 2 * (which * (uint64_t)opt->dimensions + axis);
    *from = (int64_t)(draw(stream, counter) % (20 * CLUSTERS_UNIT)) - 10 * CLUSTERS_UNIT;
    *to = (int64_t)(draw(stream, counter + 1) % (20 * CLUSTERS_UNIT)) - 10 * CLUSTERS_UNIT;
}

/* In units; centres walk there in opt->walk records, then back, and again. */
static int64_t centre_at(const struct mr_rate_stream *stream, uint64_t which, uint64_t axis, int64_t index)
{
    const int64_t walk = stream->opt->walk, turn = walk ? index / walk : 0, step = walk ? index % walk : 0;
    int64_t from, to;
    centre_walk(stream, which, axis, &from, &to);
    const int64_t begin = turn % 2 ? to : from, way = turn % 2 ? from - to : to - from;
    const int64_t moved = walk ? way * step / walk : 0;
    return begin + moved - (walk && way * step % walk < 0); /* downwards, as Python does */
}

static const char *axis_name(const struct mr_rate_stream *stream, uint64_t axis, char name[24])
{
    if (stream->opt->dimensions == 2) return axis ? "y" : "x";
    snprintf(name, 24, "x%llu", (unsigned long long)axis + 1);
    return name;
}

static void clusters_write(const struct mr_rate_stream *stream, int64_t index, struct line *line)
{
    const struct rate_options *const opt = stream->opt;
    const uint64_t dimensions = (uint64_t)opt->dimensions, first = (1 + dimensions) * (uint64_t)index;
    const uint64_t which = draw(stream, first) % (uint64_t)opt->clusters;
    const int64_t radius = rounded(stream->noise * CLUSTERS_UNIT);
    char name[24];
    field_int(line, "from", (int64_t)which);
    for (uint64_t axis = 0; axis < dimensions; axis++) {
        int64_t at = centre_at(stream, which, axis, index);
        if (opt->noise_shape == NOISE_UNIFORM)
            at += (int64_t)(draw(stream, first + 1 + axis) % (uint64_t)(2 * radius + 1)) - radius;
        else
            at += rounded(stream->noise * normal(stream, dimensions * (uint64_t)index + axis) * CLUSTERS_UNIT);
        field_fixed(line, axis_name(stream, axis, name), at, CLUSTERS_UNIT);
    }
}

/* Factors of a user or an item are numbers of its own: normal, of such a size that their product has deviation 0.7. */
static double factor(const struct mr_rate_stream *stream, uint64_t side, uint64_t id, uint64_t which)
{
    const uint64_t rank = (uint64_t)stream->opt->rank;
    return normal(stream, (UINT64_C(1) << 48) + (2 * id + side) * rank + which);
}

static double rating_of(const struct mr_rate_stream *stream, uint64_t user, uint64_t item)
{
    double product = 0;
    for (uint64_t i = 0; i < (uint64_t)stream->opt->rank; i++)
        product += factor(stream, 0, user, i) * factor(stream, 1, item, i);
    return 3 + 0.7 * product / sqrt((double)stream->opt->rank); /* IEEE 754 says what a square root is */
}

static void ratings_write(const struct mr_rate_stream *stream, int64_t index, struct line *line)
{
    const uint64_t user = draw(stream, 2 * (uint64_t)index) % (uint64_t)stream->opt->users;
    const uint64_t item = draw(stream, 2 * (uint64_t)index + 1) % (uint64_t)stream->opt->items;
    const double rating = rating_of(stream, user, item) + stream->noise * normal(stream, (uint64_t)index);
    const double clipped = rating < 1 ? 1 : rating > 5 ? 5 : rating;
    field_int(line, "uid", (int64_t)user);
    field_int(line, "item", (int64_t)item);
    field_fixed(line, "rating", rounded(clipped * 100), 100);
}

static void ab_write(const struct mr_rate_stream *stream, int64_t index, struct line *line)
{
    const uint64_t arm = draw(stream, (uint64_t)index) % stream->lift_count;
    const double value = 10 + stream->lift[arm] + stream->noise * normal(stream, (uint64_t)index);
    field_int(line, "arm", (int64_t)arm);
    field_fixed(line, "value", rounded(value * PLANE_UNIT), PLANE_UNIT);
}

size_t mr_rate_record(const struct mr_rate_stream *stream, int64_t index, char *out)
{
    static void (*const writes[])(const struct mr_rate_stream *stream, int64_t index,
                                  struct line *line) = {plane_write, clusters_write, ratings_write, ab_write};
    struct line line = {out, out, stream->opt->format};
    writes[stream->opt->stream](stream, index, &line);
    if (stream->opt->format == RATE_JSON) *line.at++ = '}';
    return (size_t)(line.at - out);
}

/* ---- what is true ---- */

struct truths {
    struct mr_truth *truth;
    size_t count, cap;
};

static void truth_put(struct truths *truths, double value, const char *name, size_t which, const char *rest)
{
    if (truths->count < truths->cap) {
        struct mr_truth *const truth = &truths->truth[truths->count];
        snprintf(truth->name, sizeof truth->name, "%s%zu%s", name, which, rest);
        truth->value = value;
    }
    truths->count++;
}

size_t mr_rate_truth(const struct mr_rate_stream *stream, int64_t index, struct mr_truth *truth, size_t cap)
{
    struct truths truths = {truth, 0, cap};
    const struct rate_options *const opt = stream->opt;
    char rest[32], name[24];
    if (opt->stream == STREAM_PLANE)
        for (size_t i = 0; i < stream->coefficient_count; i++)
            truth_put(&truths, coefficient_at(stream, i, index), "x", i + 1, "");
    for (uint64_t i = 0; opt->stream == STREAM_CLUSTERS && i < (uint64_t)(opt->clusters * opt->dimensions); i++) {
        const uint64_t which = i / (uint64_t)opt->dimensions, axis = i % (uint64_t)opt->dimensions;
        snprintf(rest, sizeof rest, "].%s", axis_name(stream, axis, name));
        truth_put(&truths, (double)centre_at(stream, which, axis, index) / CLUSTERS_UNIT, "centre[", which, rest);
    }
    for (size_t i = 0; opt->stream == STREAM_AB && i < stream->lift_count; i++)
        truth_put(&truths, 10 + stream->lift[i], "arm[", i, "]");
    if (opt->stream == STREAM_RATINGS) truth_put(&truths, stream->noise, "rank ", (size_t)opt->rank, " rmse");
    return truths.count;
}
