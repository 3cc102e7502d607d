#include "scoring/scorer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/named.h"
#include "base/options.h"
#include "modelfile/model_type.h"
#include "registry.h"

static mr_status model_open(struct mr_scorer *scorer, const char *path, const struct mr_map *options,
                            struct mr_err *err)
{
    mr_status status = mr_model_type_find(path, &scorer->ops, err);
    if (status) return status;
    const struct mr_option *const table = scorer->ops->options;
    scorer->options = calloc(1, scorer->ops->options_size + 1);
    if (!scorer->options) return mr_fail(err, MR_ENOMEM, "out of memory");
    if (table) status = mr_options_init(table, scorer->options, err);
    for (size_t i = 0; options && i < options->count && !status; i++) {
        if (!table) return mr_fail(err, MR_EUSAGE, "a model of type %s has no options", scorer->ops->name);
        status = mr_options_set(table, scorer->options, options->item[i].key, options->item[i].value, err);
    }
    const struct mr_model_open open = {.options = scorer->options, .file = path};
    if (!status) status = scorer->ops->open(&open, &scorer->model, err);
    if (status == MR_ECONFIG && err) err->status = status = MR_EUSAGE; /* there is no job file: flags said it */
    if (status) return status;
    scorer->info = scorer->ops->info(scorer->model);
    scorer->cols = scorer->info->column_count ? scorer->info->column_count : scorer->info->feature_count;
    return MR_OK;
}

static mr_status backend_open(struct mr_scorer *scorer, const char *text, struct mr_err *err)
{
    mr_status status = mr_backend_open_named(text, &scorer->backend_ops, &scorer->backend, err);
    const unsigned want =
        MR_WANT_Y | (scorer->info->is_classifier ? MR_WANT_CLASS : 0) | (scorer->info->item_count ? MR_WANT_ITEMS : 0);
    if (!status)
        status = mr_plan_model(scorer->backend_ops, scorer->backend, scorer->ops, scorer->model, MR_SCORER_ROW_CAP,
                               want, &scorer->plan, err);
    return status ? status : scorer->backend_ops->queue_open(scorer->backend, &scorer->queue, err);
}

static size_t tiles_bytes(size_t cols)
{
    return MR_SCORER_ROW_CAP * cols * sizeof(float);
}

static mr_status slabs_acquire(struct mr_scorer *scorer, struct mr_err *err)
{
    const struct mr_backend_ops *const ops = scorer->backend_ops;
    const bool has_items = scorer->info->item_count;
    scorer->x = ops->slab_acquire(scorer->backend, tiles_bytes(scorer->cols));
    scorer->scores = (struct mr_scores){
        .y = ops->slab_acquire(scorer->backend, tiles_bytes(scorer->info->width)),
        .class_index = ops->slab_acquire(scorer->backend, MR_SCORER_ROW_CAP * sizeof(int32_t)),
        .item = has_items ? ops->slab_acquire(scorer->backend, tiles_bytes(scorer->info->width)) : NULL,
        .width = scorer->info->width,
        .row_cap = MR_SCORER_ROW_CAP};
    const bool is_whole =
        scorer->x && scorer->scores.y && scorer->scores.class_index && (scorer->scores.item || !has_items);
    return is_whole ? MR_OK : mr_fail(err, MR_ENOMEM, "out of memory");
}

mr_status mr_scorer_open(struct mr_scorer *scorer, const char *path, const struct mr_map *options, const char *backend,
                         struct mr_err *err)
{
    *scorer = (struct mr_scorer){0};
    mr_status status = model_open(scorer, path, options, err);
    if (!status) status = backend_open(scorer, backend, err);
    if (!status) status = slabs_acquire(scorer, err);
    if (status) mr_scorer_close(scorer);
    return status;
}

mr_status mr_scorer_run(struct mr_scorer *scorer, const float *x, size_t cols, const size_t *from, size_t rows,
                        struct mr_err *err)
{
    for (size_t tile = 0; tile < mr_tile_count(rows); tile++) {
        for (size_t col = 0; col < scorer->cols; col++)
            memcpy(scorer->x + (tile * scorer->cols + col) * MR_TILE_ROWS,
                   x + (tile * cols + (from ? from[col] : col)) * MR_TILE_ROWS, MR_TILE_ROWS * sizeof *x);
    }
    const mr_status status =
        scorer->backend_ops->score(scorer->queue, scorer->plan, scorer->x, rows, &scorer->scores, err);
    return status ? status : scorer->backend_ops->wait(scorer->queue, err);
}

static void slabs_release(struct mr_scorer *scorer)
{
    const struct mr_backend_ops *const ops = scorer->backend_ops;
    const size_t y_bytes = tiles_bytes(scorer->info->width);
    if (scorer->x) ops->slab_release(scorer->backend, scorer->x, tiles_bytes(scorer->cols));
    if (scorer->scores.y) ops->slab_release(scorer->backend, scorer->scores.y, y_bytes);
    if (scorer->scores.item) ops->slab_release(scorer->backend, scorer->scores.item, y_bytes);
    if (scorer->scores.class_index)
        ops->slab_release(scorer->backend, scorer->scores.class_index, MR_SCORER_ROW_CAP * sizeof(int32_t));
}

void mr_scorer_close(struct mr_scorer *scorer)
{
    const struct mr_backend_ops *const ops = scorer->backend_ops;
    if (scorer->backend) {
        slabs_release(scorer);
        if (scorer->queue) ops->queue_close(scorer->queue);
        if (scorer->plan) ops->plan_destroy(scorer->plan);
        ops->close(scorer->backend);
    }
    if (scorer->model) scorer->ops->close(scorer->model);
    if (scorer->options && scorer->ops->options) mr_options_deinit(scorer->ops->options, scorer->options);
    free(scorer->options);
    *scorer = (struct mr_scorer){0};
}
