/* The meaning of mf_topn: plain loops, sums in double, never optimised. */
#include <math.h>

#include "kernels/kernels.h"
#include "millrace/batch.h"

mr_score_fn mr_mf_topn_ref, mr_mf_topn_bf16_ref;

/* A row of x, and what it says of its user. */
struct row {
    const struct mr_mf_params *params;
    const float *x;
    size_t row;
    float user;
};

static float column(const struct row *r, size_t col)
{
    return r->x[mr_tile_at(r->row, col, mr_mf_topn_cols(r->params))];
}

static double score_of(const struct row *r, size_t item)
{
    const struct mr_mf_params *const params = r->params;
    double sum = (double)params->mean;
    if (!params->user_bias && r->user != MR_MF_UNKNOWN) sum = 0;
    if (params->user_bias && r->user != MR_MF_UNKNOWN)
        sum += (double)(r->user == MR_MF_OWN ? column(r, 1) : params->user_bias[(size_t)r->user]);
    if (params->item_bias) sum += (double)params->item_bias[item];
    for (size_t f = 0; f < params->rank && r->user != MR_MF_UNKNOWN; f++) {
        const float p =
            r->user == MR_MF_OWN ? column(r, 2 + f) : params->user_factor[(size_t)r->user * params->rank + f];
        sum += (double)p * (double)params->item_factor[item * params->rank + f];
    }
    return sum;
}

static bool is_seen(const struct row *r, size_t item)
{
    const struct mr_mf_params *const params = r->params;
    if (r->user == MR_MF_OWN) {
        for (size_t i = 0; i < params->own_listed_max && column(r, 2 + params->rank + i) >= 0; i++) {
            if ((size_t)column(r, 2 + params->rank + i) == item) return true;
        }
    } else if (r->user != MR_MF_UNKNOWN && params->seen_first) {
        const size_t user = (size_t)r->user;
        for (uint64_t i = params->seen_first[user]; i < params->seen_first[user + 1]; i++) {
            if ((size_t)params->seen[i] == item) return true;
        }
    }
    return false;
}

/* The next best: below (score, item) of the last one. */
static void next_find(const struct row *r, double *score, int32_t *item)
{
    const double last_score = *score;
    const int32_t last_item = *item;
    *item = -1;
    *score = NAN;
    for (size_t i = 0; i < r->params->items; i++) {
        const double here = score_of(r, i);
        if (here > last_score || (here == last_score && (int32_t)i <= last_item) || is_seen(r, i)) continue;
        if (*item >= 0 && here <= *score) continue;
        *item = (int32_t)i;
        *score = here;
    }
}

void mr_mf_topn_ref(const float *x, const struct mr_packed *model, float *y, int32_t *class_index, void *scratch,
                    size_t rows)
{
    const struct mr_mf_params *params = model->params;
    (void)scratch;
    mr_kernel_ran = "ref";
    for (size_t row = 0; row < rows; row++) {
        struct row r = {params, x, row, 0};
        double score = INFINITY;
        int32_t item = -1;
        r.user = column(&r, 0);
        for (size_t n = 0; n < params->top; n++) {
            if (n == 0 || item >= 0) next_find(&r, &score, &item);
            if (y) y[mr_tile_at(row, n, params->top)] = (float)score;
            if (class_index) class_index[mr_tile_at(row, n, params->top)] = item;
        }
    }
}

/* It is found in another way and is the same. */
void mr_mf_topn_bf16_ref(const float *x, const struct mr_packed *model, float *y, int32_t *class_index, void *scratch,
                         size_t rows)
{
    mr_mf_topn_ref(x, model, y, class_index, scratch, rows);
}
