/** mf_topn, mf_estimate: the best items for a user, and what a user would rate an item, by matrix factorisation. */
#ifndef MR_KERNEL_MF_TOPN_H
#define MR_KERNEL_MF_TOPN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** What stands in a row's column of the user, or of the item, instead of an index. */
#define MR_MF_UNKNOWN (-1.0f)
#define MR_MF_OWN     (-2.0f) /* user only: the row brings bias, factors and items of its own */

/** Indices travel as float32, which has every integer up to here; with it also those below 2^24. */
#define MR_MF_COUNT_MAX ((size_t)1 << 24)

/**
 * The score of item i for user u is mean + b_u + b_i + p_u . q_i, as in Surprise's SVD; without biases p_u . q_i alone.
 * What is not known counts 0: an unknown user gets the items by their biases. (Unbiased, the score is then the mean.)
 *
 * mf_topn    a row is the column of the user's index; with own_listed_max > 0, behind it for MR_MF_OWN: b_u, p_u
 *            [rank], and up to own_listed_max item indices in ascending order, ended by -1. y: the `top` highest
 *            scores of the items that the user has not seen (or not listed), highest first; equal ones by item, the
 *            lowest first; class_index, here tiles [ceil(rows / 64)][top][64] as y: those items. Where fewer are left:
 *            item -1, score NaN. Scores are not limited to the scale: all above it would be equal.
 * mf_estimate  a row is user and item index; y: the score, limited to the scale. No class_index.
 *
 * Error of a score: (rank + 6) * FLT_EPSILON * (|mean| + |b_u| + |b_i| + sum |p q|); an item whose score is lower by
 * less than twice that may stand before another one. Factors are such that no score overflows.
 */
struct mr_mf_params {
    size_t users, items, rank; /* each at least 1, users and items at most MR_MF_COUNT_MAX */
    size_t top;                /* items wanted; at least 1 */
    const float *user_factor;  /* [users][rank] */
    const float *item_factor;  /* [items][rank] */
    const float *user_bias;    /* [users]; NULL: an unbiased model */
    const float *item_bias;    /* [items]; NULL with user_bias */
    float mean;
    float scale_min, scale_max;
    const uint64_t *seen_first; /* [users + 1]: user u has seen item seen[seen_first[u]] up to seen_first[u + 1]; NULL:
                                   nobody has seen anything */
    const int32_t *seen;        /* ascending for each user, each item once */
    size_t own_listed_max;      /* 0: rows bring nothing of their own */
};

/** Columns of a row that asks for the best items. */
static inline size_t mr_mf_topn_cols(const struct mr_mf_params *params)
{
    return params->own_listed_max ? 2 + params->rank + params->own_listed_max : 1;
}

/** What all scores of a user have in common: mean + b_u. */
static inline float mr_mf_base(const struct mr_mf_params *params, float user, float own_bias)
{
    if (user == MR_MF_UNKNOWN) return params->mean;
    if (!params->user_bias) return 0;
    return params->mean + (user == MR_MF_OWN ? own_bias : params->user_bias[(size_t)user]);
}

#endif
