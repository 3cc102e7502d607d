#include "evaluate/expected.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/options.h"

/* Rows of float32 without a list of fields are as long as the model's. */
static mr_status packed_fields(const char *path, const struct mr_model_info *info, struct mr_strings *fields,
                               struct mr_err *err)
{
    const size_t bytes = strlen(path);
    const bool is_packed = bytes > 4 && (!strcmp(path + bytes - 4, ".f32") || !strcmp(path + bytes - 4, ".bin"));
    for (size_t i = 0; is_packed && i < info->width; i++) {
        char name[24];
        snprintf(name, sizeof name, "%zu", i + 1);
        if (!mr_strings_add(fields, name)) return mr_fail(err, MR_ENOMEM, "out of memory");
    }
    return MR_OK;
}

static mr_status scores_create(struct mr_expected *expected, const struct mr_model_info *info, size_t row_cap,
                               struct mr_err *err)
{
    const size_t rows = mr_tile_count(row_cap) * MR_TILE_ROWS;
    expected->scores = (struct mr_scores){
        .y = aligned_alloc(MR_ALIGN, rows * info->width * sizeof(float)), .width = info->width, .row_cap = row_cap};
    if (info->is_classifier && !info->has_no_probability)
        expected->scores.class_index = aligned_alloc(MR_ALIGN, rows * sizeof(int32_t));
    const bool is_whole =
        expected->scores.y && (expected->scores.class_index || !info->is_classifier || info->has_no_probability);
    return is_whole ? MR_OK : mr_fail(err, MR_ENOMEM, "out of memory");
}

mr_status mr_expected_open(struct mr_expected *expected, const char *path, const struct mr_strings *fields,
                           const struct mr_model_info *info, size_t row_cap, struct mr_err *err)
{
    struct mr_strings packed = {0};
    size_t count = 0;
    *expected = (struct mr_expected){.path = path};
    mr_status status = fields->count ? MR_OK : packed_fields(path, info, &packed, err);
    const struct mr_table_options options = {.features = fields->count ? *fields : packed};
    if (!status) status = mr_table_open(path, &options, MR_LABEL_NONE, &expected->table, err);
    mr_strings_deinit(&packed);
    if (!status) mr_table_feature(expected->table, &count);
    expected->has_two = count == 2 && info->width == 1 && mr_model_has_probabilities(info);
    expected->boundary = info->is_logit ? 0 : 0.5f;
    if (!status && count != info->width && !expected->has_two)
        status = mr_fail(err, MR_EUSAGE, "%s has %zu fields a row, the model gives %zu: say which with --expect-fields",
                         path, count, info->width);
    if (!status) status = scores_create(expected, info, row_cap, err);
    if (status) mr_expected_close(expected);
    return status;
}

/* One row of the block to its place among the scores. */
static void row_take(struct mr_expected *expected, size_t row)
{
    struct mr_scores *const scores = &expected->scores;
    const size_t cols = scores->width + expected->has_two, from = expected->used++;
    size_t best = 0;
    for (size_t col = 0; col < scores->width; col++) {
        const float y = expected->block.x[mr_tile_at(from, col + expected->has_two, cols)];
        scores->y[mr_tile_at(row, col, scores->width)] = y;
        if (y > scores->y[mr_tile_at(row, best, scores->width)]) best = col;
    }
    if (scores->class_index)
        scores->class_index[row] = scores->width == 1 ? scores->y[row] > expected->boundary : (int32_t)best;
}

mr_status mr_expected_next(struct mr_expected *expected, size_t rows, struct mr_err *err)
{
    for (size_t row = 0; row < rows; row++) {
        if (expected->used == expected->block.rows) {
            const mr_status status = mr_table_next(expected->table, &expected->block, err);
            if (status == MR_END) return mr_fail(err, MR_EDATA, "%s has fewer rows than the data", expected->path);
            if (status) return status;
            expected->used = 0;
        }
        row_take(expected, row);
    }
    return MR_OK;
}

mr_status mr_expected_end(struct mr_expected *expected, struct mr_err *err)
{
    struct mr_block block;
    const mr_status status =
        expected->used < expected->block.rows ? MR_OK : mr_table_next(expected->table, &block, err);
    if (status == MR_END) return MR_OK;
    return status ? status : mr_fail(err, MR_EDATA, "%s has more rows than the data", expected->path);
}

void mr_expected_close(struct mr_expected *expected)
{
    mr_table_close(expected->table);
    free(expected->scores.y);
    free(expected->scores.class_index);
    *expected = (struct mr_expected){0};
}
