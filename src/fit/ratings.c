/* Ratings read from DATA. */
#include "fit/ratings.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "kernels/mf_topn/mf_topn.h"
#include "model/mf/id_text.h"

#define COUNT_MAX ((size_t)UINT32_MAX)

/* What a table takes for the model that reads ids: it gives every id that it sees a number. */
struct mr_model {
    struct mr_model_info info;
    struct mr_intern *side[2];
    bool is_out_of_memory;
};

static const struct mr_model_info *reader_info(const struct mr_model *model)
{
    return &model->info;
}

static mr_reason reader_read(const struct mr_model *model, const struct mr_text *feature, float *x, void *scratch,
                             size_t *feature_out)
{
    char room[MR_ID_ROOM];
    const char *id;
    size_t bytes;
    uint32_t number;
    (void)scratch;
    for (size_t i = 0; i < 2; i++) {
        *feature_out = i;
        const mr_reason reason = mr_id_text(&feature[i], room, &id, &bytes);
        if (reason) return reason;
        if (!id) return MR_REASON_LENGTH;
        if (!mr_intern_add(model->side[i], id, bytes, &number)) {
            ((struct mr_model *)(uintptr_t)model)->is_out_of_memory = true;
            return MR_REASON_SIZE;
        }
        x[i * MR_TILE_ROWS] = (float)number; /* exact below MR_MF_COUNT_MAX, and more are refused */
    }
    return MR_REASON_NONE;
}

static const struct mr_model_ops reader_ops = {.info = reader_info, .read = reader_read};

static mr_status block_take(struct mr_ratings *ratings, const struct mr_block *block, struct mr_err *err)
{
    const size_t needed = (ratings->count + block->rows) * sizeof *ratings->rating;
    if (ratings->user.count > MR_MF_COUNT_MAX || ratings->item.count > MR_MF_COUNT_MAX)
        return mr_fail(err, MR_EDATA, "more than %zu users or items: a model cannot have as many", MR_MF_COUNT_MAX);
    if (ratings->count + block->rows > COUNT_MAX) return mr_fail(err, MR_EDATA, "more than %zu ratings", COUNT_MAX);
    if (needed > ratings->cap_bytes) {
        /* Large pieces are remapped, not copied, and what was not written yet takes no memory. */
        const size_t cap = 2 * needed;
        struct mr_rating *const grown = realloc(ratings->rating, cap);
        if (!grown) return mr_fail(err, MR_ENOMEM, "out of memory for %zu ratings", ratings->count + block->rows);
        ratings->rating = grown;
        ratings->cap_bytes = cap;
    }
    for (size_t i = 0; i < block->rows; i++) {
        const float *const x = block->x + mr_tile_at(i, 0, 2);
        const float value = (float)block->label[i];
        ratings->rating[ratings->count++] = (struct mr_rating){(uint32_t)x[0], (uint32_t)x[MR_TILE_ROWS], value};
        ratings->low = fminf(ratings->low, value);
        ratings->high = fmaxf(ratings->high, value);
    }
    return MR_OK;
}

/* Leaves out ids that only rows name that were left out, too: known is which of them a rating has, and becomes their
 * new numbers. */
static bool side_trim(struct mr_intern *side, uint32_t *known)
{
    struct mr_intern kept = {0};
    bool is_whole = true;
    for (size_t i = 0; i < side->count && is_whole; i++) {
        const char *const text = side->text + side->first[i];
        if (known[i]) is_whole = mr_intern_add(&kept, text, side->first[i + 1] - side->first[i], &known[i]);
    }
    mr_intern_deinit(side);
    *side = kept;
    return is_whole;
}

static mr_status ids_trim(struct mr_ratings *ratings, struct mr_err *err)
{
    uint32_t *const user = calloc(ratings->user.count + 1, sizeof *user);
    uint32_t *const item = calloc(ratings->item.count + 1, sizeof *item);
    bool is_whole = user && item;
    for (size_t i = 0; i < ratings->count && is_whole; i++)
        user[ratings->rating[i].row] = item[ratings->rating[i].col] = 1;
    is_whole = is_whole && side_trim(&ratings->user, user) && side_trim(&ratings->item, item);
    for (size_t i = 0; i < ratings->count && is_whole; i++) {
        struct mr_rating *const rating = &ratings->rating[i];
        *rating = (struct mr_rating){user[rating->row], item[rating->col], rating->value};
    }
    free(user);
    free(item);
    return is_whole ? MR_OK : mr_fail(err, MR_ENOMEM, "out of memory for the ids");
}

mr_status mr_ratings_read(const char *path, const struct mr_table_options *options, struct mr_ratings *ratings,
                          struct mr_table **table_out, struct mr_err *err)
{
    struct mr_model reader = {.info = {.type = "ratings", .feature_count = 2, .column_count = 2},
                              .side = {&ratings->user, &ratings->item}};
    struct mr_table_options own = *options;
    struct mr_block block;
    own.reader_ops = &reader_ops;
    own.reader = &reader;
    *table_out = NULL;
    *ratings = (struct mr_ratings){.low = INFINITY, .high = -INFINITY};
    if (options->features.count != 2)
        return mr_fail(err, MR_EUSAGE, "which fields have the ids? Say --features USER,ITEM");
    mr_status status = mr_table_open(path, &own, MR_LABEL_NUMBER, table_out, err);
    while (!status && !(status = mr_table_next(*table_out, &block, err))) status = block_take(ratings, &block, err);
    if (reader.is_out_of_memory) return mr_fail(err, MR_ENOMEM, "out of memory for the ids");
    if (status != MR_END) return status;
    if (!ratings->count) return mr_fail(err, MR_EDATA, "%s: there are no rows", mr_table_path(*table_out));
    return mr_table_skipped(*table_out) ? ids_trim(ratings, err) : MR_OK;
}

void mr_ratings_deinit(struct mr_ratings *ratings)
{
    free(ratings->rating);
    mr_intern_deinit(&ratings->user);
    mr_intern_deinit(&ratings->item);
    *ratings = (struct mr_ratings){0};
}

/* Chooses one after the other, each with the chance that makes the number come out (Knuth, TAOCP 3.4.2, algorithm S).
 */
static size_t part_choose(struct mr_ratings *ratings, size_t wanted, uint64_t seed, uint32_t *left_row,
                          uint32_t *left_col, struct mr_rating *chosen)
{
    size_t kept = 0, taken = 0;
    for (size_t i = 0; i < ratings->count; i++) {
        const struct mr_rating rating = ratings->rating[i];
        const double chance = (double)(wanted - taken) / (double)(ratings->count - i);
        const bool is_drawn = mr_random_unit(&seed) < chance;
        if (is_drawn && left_row[rating.row] > 1 && left_col[rating.col] > 1) {
            left_row[rating.row]--;
            left_col[rating.col]--;
            chosen[taken++] = rating;
        } else {
            ratings->rating[kept++] = rating;
        }
    }
    memcpy(ratings->rating + kept, chosen, taken * sizeof *chosen);
    return taken;
}

mr_status mr_ratings_hold_out(struct mr_ratings *ratings, double share, uint64_t seed, size_t *held_out,
                              struct mr_err *err)
{
    const size_t wanted = (size_t)(share * (double)ratings->count + 0.5);
    *held_out = 0;
    if (!wanted) return MR_OK;
    uint32_t *const left_row = calloc(ratings->user.count, sizeof *left_row);
    uint32_t *const left_col = calloc(ratings->item.count, sizeof *left_col);
    struct mr_rating *const chosen = malloc(wanted * sizeof *chosen);
    const bool is_whole = left_row && left_col && chosen;
    for (size_t i = 0; i < ratings->count && is_whole; i++) {
        left_row[ratings->rating[i].row]++;
        left_col[ratings->rating[i].col]++;
    }
    if (is_whole) *held_out = part_choose(ratings, wanted, seed, left_row, left_col, chosen);
    free(left_row);
    free(left_col);
    free(chosen);
    return is_whole ? MR_OK : mr_fail(err, MR_ENOMEM, "out of memory");
}
