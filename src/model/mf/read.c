/*
 * What a record says of its user, into the columns of a row: an id becomes an index; a list of ratings becomes factors
 * of its own (fold-in).
 *
 * Fold-in: with the items as they are, the b_u and p_u of least
 *     sum over the ratings of (r - mean - b_i - b_u - q_i . p_u)^2 + reg (b_u^2 + |p_u|^2),
 * which is the part of the sum that Surprise's SVD minimises (its manual, "Matrix Factorization-based algorithms") that
 * is about one user: a linear system of rank + 1 unknowns, solved in float64 by Cholesky. Unbiased: without mean, b_i
 * and b_u.
 */
#include <math.h>
#include <string.h>

#include "base/number.h"
#include "model/mf/id_text.h"
#include "model/mf/mf.h"

/* Scratch of a fold-in. */
struct fold {
    double *matrix; /* [n][n]: lower triangle */
    double *right;  /* [n] */
    double *row;    /* [n] */
    double *rating; /* [listed_count] of the listed items */
    int32_t *listed;
    size_t n, listed_count;
};

static size_t unknowns(const struct mr_model *model)
{
    return model->params.rank + (model->params.user_bias != NULL);
}

size_t mr_mf_read_bytes(const struct mr_model *model)
{
    const size_t n = unknowns(model);
    return model->params.own_listed_max
               ? (n * n + 2 * n) * sizeof(double) + model->params.own_listed_max * (sizeof(double) + sizeof(int32_t))
               : 0;
}

/* ---- ids ---- */

/* The index of the id in a text, MR_INTERN_NONE when it is not known; a reason when it can be no id. */
static mr_reason id_read(const struct mr_ids *ids, const struct mr_text *text, uint32_t *index_out)
{
    char room[MR_ID_ROOM];
    const char *id;
    size_t bytes;
    const mr_reason reason = mr_id_text(text, room, &id, &bytes);
    *index_out = id ? mr_intern_find(&ids->set, id, bytes) : MR_INTERN_NONE;
    return reason;
}

/* ---- the list of ratings ---- */

struct scan {
    const char *at, *end;
};

static char next_of(struct scan *scan)
{
    while (scan->at < scan->end && strchr(" \t\r\n", *scan->at)) scan->at++;
    return scan->at < scan->end ? *scan->at : '\0';
}

static bool take(struct scan *scan, char c)
{
    if (next_of(scan) != c) return false;
    scan->at++;
    return true;
}

/* A string or a number. */
static bool scalar_take(struct scan *scan, struct mr_text *text_out)
{
    next_of(scan);
    const char *const first = scan->at;
    if (take(scan, '"')) {
        while (scan->at < scan->end && *scan->at != '"') scan->at += *scan->at == '\\' ? 2 : 1;
        if (scan->at >= scan->end) return false;
        scan->at++;
    } else {
        while (scan->at < scan->end && !strchr(" \t\r\n,]}:", *scan->at)) scan->at++;
    }
    *text_out = (struct mr_text){first, (size_t)(scan->at - first), true};
    return scan->at > first;
}

static bool key_is(const struct mr_text *key, const char *name)
{
    return key->bytes == strlen(name) + 2 && !memcmp(key->data + 1, name, key->bytes - 2);
}

/* {"item": 7, "rating": 4.5}, in any order, or [7, 4.5]. */
static bool rating_take(struct scan *scan, struct mr_text *item_out, struct mr_text *rating_out)
{
    *item_out = *rating_out = (struct mr_text){0};
    if (take(scan, '['))
        return scalar_take(scan, item_out) && take(scan, ',') && scalar_take(scan, rating_out) && take(scan, ']');
    if (!take(scan, '{')) return false;
    do {
        struct mr_text key, value;
        if (!scalar_take(scan, &key) || !take(scan, ':') || !scalar_take(scan, &value)) return false;
        if (key_is(&key, "item")) *item_out = value;
        if (key_is(&key, "rating")) *rating_out = value;
    } while (take(scan, ','));
    return take(scan, '}') && item_out->data && rating_out->data;
}

/* ---- fold-in ---- */

static void fold_init(struct fold *fold, const struct mr_model *model, void *scratch)
{
    const size_t n = unknowns(model);
    double *const words = scratch;
    *fold = (struct fold){.matrix = words, .right = words + n * n, .row = words + n * n + n, .n = n};
    fold->rating = words + n * n + 2 * n;
    fold->listed = (int32_t *)(fold->rating + model->params.own_listed_max);
    memset(words, 0, (n * n + n) * sizeof *words);
}

static void fold_add(struct fold *fold, const struct mr_mf_params *params, size_t item, double rating)
{
    const float *const q = params->item_factor + item * params->rank;
    size_t n = 0;
    double target = rating;
    if (params->user_bias) {
        target -= (double)params->mean + (double)params->item_bias[item];
        fold->row[n++] = 1;
    }
    for (size_t f = 0; f < params->rank; f++) fold->row[n++] = (double)q[f];
    for (size_t i = 0; i < n; i++) {
        fold->right[i] += fold->row[i] * target;
        for (size_t k = 0; k <= i; k++) fold->matrix[i * n + k] += fold->row[i] * fold->row[k];
    }
}

/* Cholesky in place; right becomes the solution. Positive definite: reg is above 0. */
static void fold_solve(struct fold *fold, double regularisation)
{
    const size_t n = fold->n;
    double *const a = fold->matrix, *const x = fold->right;
    for (size_t i = 0; i < n; i++) {
        a[i * n + i] += regularisation * (double)fold->listed_count;
        for (size_t k = 0; k <= i; k++) {
            double sum = a[i * n + k];
            for (size_t j = 0; j < k; j++) sum -= a[i * n + j] * a[k * n + j];
            a[i * n + k] = i == k ? sqrt(sum) : sum / a[k * n + k];
        }
        double sum = x[i];
        for (size_t j = 0; j < i; j++) sum -= a[i * n + j] * x[j];
        x[i] = sum / a[i * n + i];
    }
    for (size_t i = n; i-- > 0;) {
        for (size_t j = i + 1; j < n; j++) x[i] -= a[j * n + i] * x[j];
        x[i] /= a[i * n + i];
    }
}

/* Keeps the listed items in ascending order, each once, with the rating that was read last. False: too many. */
static bool listed_add(struct fold *fold, int32_t item, double rating, size_t listed_max)
{
    size_t at = fold->listed_count;
    while (at && fold->listed[at - 1] > item) at--;
    if (at && fold->listed[at - 1] == item) {
        fold->rating[at - 1] = rating;
        return true;
    }
    if (fold->listed_count == listed_max) return false;
    memmove(fold->listed + at + 1, fold->listed + at, (fold->listed_count - at) * sizeof *fold->listed);
    memmove(fold->rating + at + 1, fold->rating + at, (fold->listed_count - at) * sizeof *fold->rating);
    fold->listed[at] = item;
    fold->rating[at] = rating;
    fold->listed_count++;
    return true;
}

/* Reads the list. Items that the model does not know count for nothing. */
static mr_reason ratings_read(const struct mr_model *model, const struct mr_text *list, struct fold *fold)
{
    struct scan scan = {list->data, list->data + list->bytes};
    if (!take(&scan, '[')) return MR_REASON_TYPE;
    if (take(&scan, ']')) return MR_REASON_NONE;
    do {
        struct mr_text item, rating;
        double value;
        uint32_t index;
        if (!rating_take(&scan, &item, &rating)) return MR_REASON_TYPE;
        const mr_reason reason = id_read(&model->items, &item, &index);
        if (reason) return reason;
        if (mr_parse_f64(rating.data, rating.data + rating.bytes, &value) != rating.data + rating.bytes)
            return MR_REASON_TYPE;
        if (!(fabs(value) <= 1e6)) return MR_REASON_RANGE;
        if (index == MR_INTERN_NONE) continue;
        if (!listed_add(fold, (int32_t)index, value, model->params.own_listed_max)) return MR_REASON_LENGTH;
    } while (take(&scan, ','));
    return take(&scan, ']') ? MR_REASON_NONE : MR_REASON_TYPE;
}

static mr_reason ratings_put(const struct mr_model *model, const struct fold *fold, float *x)
{
    const struct mr_mf_params *const params = &model->params;
    const size_t biases = fold->n - params->rank;
    x[0] = MR_MF_OWN;
    x[MR_TILE_ROWS] = biases ? (float)fold->right[0] : 0;
    for (size_t f = 0; f < params->rank; f++) {
        const double p = fold->right[biases + f];
        if (!(fabs(p) <= 1e9)) return MR_REASON_RANGE;
        x[(2 + f) * MR_TILE_ROWS] = (float)p;
    }
    for (size_t i = 0; i < params->own_listed_max; i++)
        x[(2 + params->rank + i) * MR_TILE_ROWS] = i < fold->listed_count ? (float)fold->listed[i] : -1;
    return MR_REASON_NONE;
}

mr_reason mr_mf_read(const struct mr_model *model, const struct mr_text *feature, float *x, void *scratch,
                     size_t *feature_out)
{
    uint32_t index;
    mr_reason reason;
    *feature_out = 1;
    if (model->params.own_listed_max && feature[1].data) {
        struct fold fold;
        fold_init(&fold, model, scratch);
        reason = ratings_read(model, &feature[1], &fold);
        if (reason) return reason;
        if (fold.listed_count) {
            for (size_t i = 0; i < fold.listed_count; i++)
                fold_add(&fold, &model->params, (size_t)fold.listed[i], fold.rating[i]);
            fold_solve(&fold, model->regularisation);
            return ratings_put(model, &fold, x);
        }
    }
    if (model->options.output == MR_MF_RATING) {
        reason = id_read(&model->items, &feature[1], &index);
        if (reason) return reason;
        x[MR_TILE_ROWS] = index == MR_INTERN_NONE ? MR_MF_UNKNOWN : (float)index;
    }
    *feature_out = 0;
    reason = id_read(&model->users, &feature[0], &index);
    x[0] = index == MR_INTERN_NONE ? MR_MF_UNKNOWN : (float)index;
    return reason;
}
