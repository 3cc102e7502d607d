#include "pipeline/block.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "codec/rows.h"
#include "pipeline/slot.h"

size_t mr_block_bytes(const struct mr_run *run, size_t row_cap)
{
    return mr_scores_bytes(run, row_cap) + mr_tiles_bytes(row_cap, run->layout->schema.feature_count) +
           row_cap * sizeof(double);
}

mr_status mr_block_init(struct mr_block *block, const struct mr_run *run, size_t row_cap, struct mr_err *err)
{
    const size_t cols = run->layout->schema.feature_count;
    *block = (struct mr_block){.rows = {.feature_count = cols, .row_cap = row_cap}};
    block->rows.x = mr_units_slab_acquire(&run->units, mr_tiles_bytes(row_cap, cols));
    block->rows.label = calloc(row_cap, sizeof *block->rows.label);
    if (block->rows.x && block->rows.label && !mr_scores_init(&block->scores, run, row_cap)) return MR_OK;
    mr_block_deinit(block, run);
    return mr_fail(err, MR_ENOMEM, "no memory for %zu rows to learn from: lower batch.records_max", row_cap);
}

void mr_block_deinit(struct mr_block *block, const struct mr_run *run)
{
    struct mr_rows *const rows = &block->rows;
    mr_scores_deinit(block->scores, run);
    if (rows->x) mr_units_slab_release(&run->units, rows->x, mr_tiles_bytes(rows->row_cap, rows->feature_count));
    free(rows->label);
    *block = (struct mr_block){0};
}

void mr_block_add(struct mr_block *block, const struct mr_rows *rows)
{
    mr_block_add_some(block, rows, 0, rows->row_count);
}

void mr_block_add_some(struct mr_block *block, const struct mr_rows *rows, size_t first, size_t end)
{
    struct mr_rows *const to = &block->rows;
    const size_t cols = rows->feature_count;
    assert(end - first <= to->row_cap - to->row_count);
    for (size_t row = first, run; row < end; row += run) { /* runs that lie within one tile on both sides */
        const size_t at = to->row_count + row - first, left = end - row;
        const size_t here = MR_TILE_ROWS - row % MR_TILE_ROWS, there = MR_TILE_ROWS - at % MR_TILE_ROWS;
        run = here < there ? here : there;
        if (run > left) run = left;
        for (size_t col = 0; col < cols; col++)
            memcpy(to->x + mr_tile_at(at, col, cols), rows->x + mr_tile_at(row, col, cols), run * sizeof *to->x);
    }
    memcpy(to->label + to->row_count, rows->label + first, (end - first) * sizeof *to->label);
    to->row_count += end - first;
}

mr_status mr_block_learn(struct mr_block *block, struct mr_models *models, struct mr_queues *queues, unsigned which,
                         struct mr_err *err)
{
    struct mr_rows *const rows = &block->rows;
    if (!rows->row_count) return MR_OK;
    mr_rows_tail_zero(rows);
    mr_status status = MR_OK;
    models->begins_late = false; /* what waited for its first rows has them now */
    if (models->learns) status = mr_models_score(models, queues, rows, block->scores, err);
    if (!status && models->learns) status = mr_models_wait(models, queues, rows, block->scores, err);
    if (!status) status = mr_models_learn(models, queues, rows, block->scores, which, err);
    rows->row_count = 0;
    return status;
}
