/* Models put together by hand, for the tests of how far another unit may be off. */
#ifndef MR_TESTS_VERIFY_FIXTURE_H
#define MR_TESTS_VERIFY_FIXTURE_H

#include <string.h>

#include "scoring/models.h"

#define FIXTURE_MODELS 4

struct mr_model {
    mr_op op;
    const void *params;
};

static mr_op fixture_op(const struct mr_model *model, const void **params_out)
{
    *params_out = model->params;
    return model->op;
}

static const struct mr_model_ops fixture_ops = {.name = "by hand", .op = fixture_op};

/* Up to FIXTURE_MODELS models, one row in tile 0. */
struct chain {
    struct mr_models models;
    struct mr_model model[FIXTURE_MODELS];
    struct mr_job_model job[FIXTURE_MODELS];
    struct mr_model_at_work item[FIXTURE_MODELS];
    struct mr_model_info facts[FIXTURE_MODELS];
    const struct mr_model_info *info[FIXTURE_MODELS];
    struct mr_scores scores[FIXTURE_MODELS];
    float y[FIXTURE_MODELS][8 * MR_TILE_ROWS];
    int32_t class_index[FIXTURE_MODELS][MR_TILE_ROWS];
    float x[512 * MR_TILE_ROWS];
    struct mr_rows rows;
};

static inline void chain_init(struct chain *chain, size_t cols)
{
    memset(chain, 0, sizeof *chain);
    chain->models = (struct mr_models){.item = chain->item, .info = chain->info};
    chain->rows = (struct mr_rows){.x = chain->x, .feature_count = cols, .row_count = 1, .row_cap = MR_TILE_ROWS};
}

/* input: the model that it reads, or MR_NO_MODEL. */
static inline void chain_add(struct chain *chain, mr_op op, const void *params, size_t width, size_t input)
{
    const size_t i = chain->models.count++;
    chain->model[i] = (struct mr_model){op, params};
    chain->job[i].ops = &fixture_ops;
    chain->facts[i].width = width;
    chain->info[i] = &chain->facts[i];
    chain->item[i].job = &chain->job[i];
    chain->item[i].model = &chain->model[i];
    chain->item[i].input = input;
    chain->item[i].want = MR_WANT_Y | MR_WANT_CLASS;
    chain->scores[i] = (struct mr_scores){
        .y = chain->y[i], .class_index = chain->class_index[i], .width = width, .row_cap = MR_TILE_ROWS};
}

#endif
