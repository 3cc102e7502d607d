/** What the parts of the mf model share. */
#ifndef MR_MODEL_MF_MF_H
#define MR_MODEL_MF_MF_H

#include "kernels/mf_topn/mf_topn.h"
#include "model/mf/ids.h"

enum { MR_MF_ITEMS, MR_MF_RATING };

struct mf_options {
    int output; /* MR_MF_... */
    int64_t top, ratings_max;
    double regularisation;
};

struct mr_model {
    struct mf_options options;
    struct mr_model_meta meta;
    struct mr_model_info info;
    struct mr_mf_params params;
    struct mr_ids users, items;
    float *user_factor, *item_factor, *user_bias, *item_bias;
    uint64_t *seen_first;
    int32_t *seen;
    double regularisation; /* of the fold-in */
};

/** As mr_model_ops.read. */
mr_reason mr_mf_read(const struct mr_model *model, const struct mr_text *feature, float *x, void *scratch,
                     size_t *feature_out);

/** Bytes of scratch that mr_mf_read needs. */
size_t mr_mf_read_bytes(const struct mr_model *model);

#endif
