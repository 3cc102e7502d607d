#include "verify/near.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/json_text.h"
#include "base/number.h"

#define SLACK_UNKNOWN 100 /* where nothing says how far off a number may be */

struct mr_near {
    const struct mr_layout *layout;
    const struct mr_models *models;
    struct mr_bound *bound;
    struct mr_match_number *number; /* [cap] */
    size_t count, cap;
};

static bool is_number(const struct mr_emit_item *item)
{
    return item->kind == MR_EMIT_SCORE || item->kind == MR_EMIT_OUTPUT || item->kind == MR_EMIT_PROBABILITY ||
           item->kind == MR_EMIT_PROBABILITIES || item->kind == MR_EMIT_ITEM_SCORES;
}

mr_status mr_near_create(const struct mr_layout *layout, const struct mr_models *models, struct mr_near **near_out,
                         struct mr_err *err)
{
    struct mr_near *const near = calloc(1, sizeof *near);
    *near_out = NULL;
    if (!near) return mr_fail(err, MR_ENOMEM, "out of memory");
    near->layout = layout;
    near->models = models;
    for (size_t i = 0; i < layout->item_count; i++)
        if (is_number(&layout->item[i])) near->cap += models->info[layout->item[i].model]->width + 1;
    near->number = calloc(near->cap + 1, sizeof *near->number);
    mr_status status = near->number ? MR_OK : mr_fail(err, MR_ENOMEM, "out of memory");
    if (!status) status = mr_bound_create(models, &near->bound, err);
    if (status)
        mr_near_destroy(near);
    else
        *near_out = near;
    return status;
}

void mr_near_destroy(struct mr_near *near)
{
    if (!near) return;
    mr_bound_destroy(near->bound);
    free(near->number);
    free(near);
}

bool mr_near_is_bare(const struct mr_near *near)
{
    for (size_t i = 0; i < near->layout->item_count; i++)
        if (near->layout->item[i].kind <= MR_EMIT_PART) return false;
    return true;
}

/* ---- what they must be ---- */

/* One number of a row. */
struct wanted {
    const struct mr_scores *scores;
    size_t model, row;
    double slack;
};

static void number_add(struct mr_near *near, const struct wanted *at, size_t output, bool is_complement)
{
    const float y = at->scores->y[mr_tile_at(at->row, output, at->scores->width)];
    const int decimals = near->layout->decimals;
    bool is_known;
    const double off = mr_bound_of(near->bound, at->model, output, &is_known);
    const double digit = decimals < 0 ? 0 : (0.5 + MR_NEAR) * pow(10, -decimals);
    near->number[near->count++] = (struct mr_match_number){
        .value = !isfinite(y)    ? NAN
                 : is_complement ? 1 - y
                                 : y, /* in float32, as the encoder does it */
        .off = off + digit,
        .off_most = (is_known ? 1 : SLACK_UNKNOWN) * at->slack * off + digit,
    };
}

static void numbers_add(struct mr_near *near, const struct mr_emit_item *item, const struct wanted *at)
{
    const struct mr_scores *const scores = at->scores;
    if (item->kind == MR_EMIT_PROBABILITY) {
        const int32_t winner = scores->class_index[at->row];
        const bool is_binary = scores->width == 1;
        number_add(near, at, is_binary || (size_t)winner >= scores->width ? 0 : (size_t)winner,
                   is_binary && winner != 1);
        return;
    }
    if (item->kind == MR_EMIT_SCORE || item->kind == MR_EMIT_OUTPUT) {
        number_add(near, at, item->column, item->is_complement);
        return;
    }
    if (item->kind == MR_EMIT_PROBABILITIES && item->is_complement) number_add(near, at, 0, true);
    for (size_t i = 0; i < scores->width; i++) {
        if (item->kind == MR_EMIT_ITEM_SCORES && scores->item[mr_tile_at(at->row, i, scores->width)] < 0) break;
        number_add(near, at, i, false);
    }
}

size_t mr_near_numbers(struct mr_near *near, const struct mr_rows *rows, const struct mr_scores *scores, size_t row,
                       double slack, const struct mr_match_number **numbers_out)
{
    near->count = 0;
    *numbers_out = near->number;
    if (!near->cap) return 0;
    mr_bound_row(near->bound, rows, scores, row);
    for (size_t i = 0; i < near->layout->item_count; i++) {
        const struct mr_emit_item *const item = &near->layout->item[i];
        const struct wanted at = {&scores[item->model], item->model, row, slack};
        if (is_number(item)) numbers_add(near, item, &at);
    }
    return near->count;
}

/* ---- what is there ---- */

/* A number, or null; NULL: neither, or one too many. */
static const char *number_take(struct mr_near *near, const char *at, const char *end)
{
    double value = NAN;
    const char *next = end - at >= 4 && !memcmp(at, "null", 4) ? at + 4 : mr_parse_f64(at, end, &value);
    if (!next || next == at || near->count == near->cap) return NULL;
    near->number[near->count++] = (struct mr_match_number){.value = value};
    return next;
}

/* A number, or an array of them. */
static const char *numbers_take(struct mr_near *near, const char *at, const char *end)
{
    if (at == end || *at != '[') return number_take(near, at, end);
    at++;
    if (at < end && *at == ']') return at + 1;
    while ((at = number_take(near, at, end)) && at < end && *at == ',') at++;
    return at && at < end && *at == ']' ? at + 1 : NULL;
}

bool mr_near_split(void *context, const char *text, size_t bytes, uint64_t *hash_out,
                   const struct mr_match_number **numbers_out, size_t *count_out)
{
    struct mr_near *const near = context;
    const char *at = text, *const end = text + bytes;
    uint64_t hash = 0;
    near->count = 0;
    for (size_t i = 0; i < near->layout->item_count; i++) {
        const struct mr_emit_item *const item = &near->layout->item[i];
        if ((size_t)(end - at) < item->literal_bytes || memcmp(at, item->literal, item->literal_bytes) != 0)
            return false;
        const size_t first = near->count;
        const char *const value = at + item->literal_bytes;
        at = is_number(item) ? numbers_take(near, value, end) : mr_json_value_end(value, end);
        if (!at) return false;
        hash =
            is_number(item) ? hash + near->count - first + 1 : XXH3_64bits_withSeed(value, (size_t)(at - value), hash);
    }
    *hash_out = hash;
    *numbers_out = near->number;
    *count_out = near->count;
    return end - at == 1 && *at == '}';
}
