#include "pipeline/slot.h"

#include <stdlib.h>
#include <string.h>

mr_status mr_raw_init(struct mr_raw *raw, size_t cap, struct mr_err *err)
{
    *raw = (struct mr_raw){.cap = cap};
    raw->message = calloc(cap, sizeof *raw->message);
    return raw->message ? MR_OK : mr_fail(err, MR_ENOMEM, "no memory for a batch of %zu messages", cap);
}

void mr_raw_deinit(struct mr_raw *raw)
{
    free(raw->message);
    *raw = (struct mr_raw){0};
}

size_t mr_tiles_bytes(size_t row_cap, size_t cols)
{
    return mr_tile_count(row_cap) * MR_TILE_ROWS * cols * sizeof(float);
}
static size_t classes_bytes(size_t row_cap)
{
    return mr_tile_count(row_cap) * MR_TILE_ROWS * sizeof(int32_t);
}

size_t mr_slot_bytes(const struct mr_run *run, size_t row_cap)
{
    const struct mr_schema *schema = &run->layout->schema;
    return mr_scores_bytes(run, row_cap) + mr_tiles_bytes(row_cap, schema->feature_count) +
           row_cap * (sizeof(double) + sizeof(uint32_t) + 2 * sizeof(struct mr_reject) +
                      schema->capture_count * sizeof(struct mr_span));
}

size_t mr_scores_bytes(const struct mr_run *run, size_t row_cap)
{
    size_t bytes = 0;
    for (size_t i = 0; i < run->job->model_count; i++)
        bytes += mr_tiles_bytes(row_cap, run->models.info[i]->width) + classes_bytes(row_cap) +
                 (run->models.info[i]->item_count ? mr_tiles_bytes(row_cap, run->models.info[i]->width) : 0);
    return bytes;
}

mr_status mr_scores_init(struct mr_scores **scores_out, const struct mr_run *run, size_t row_cap)
{
    *scores_out = calloc(run->job->model_count, sizeof **scores_out);
    if (!*scores_out) return MR_ENOMEM;
    for (size_t i = 0; i < run->job->model_count; i++) {
        struct mr_scores *scores = &(*scores_out)[i];
        scores->width = run->models.info[i]->width;
        scores->row_cap = row_cap;
        scores->y = mr_units_slab_acquire(&run->units, mr_tiles_bytes(row_cap, scores->width));
        if (run->models.info[i]->is_classifier)
            scores->class_index = mr_units_slab_acquire(&run->units, classes_bytes(row_cap));
        if (run->models.info[i]->item_count)
            scores->item = mr_units_slab_acquire(&run->units, mr_tiles_bytes(row_cap, scores->width));
        if (run->models.info[i]->item_count && !scores->item) return MR_ENOMEM;
        if (!scores->y || (run->models.info[i]->is_classifier && !scores->class_index)) return MR_ENOMEM;
    }
    return MR_OK;
}

mr_status mr_slot_init(struct mr_slot *slot, const struct mr_run *run, size_t row_cap, struct mr_err *err)
{
    const struct mr_schema *schema = &run->layout->schema;
    struct mr_rows *rows = &slot->rows;
    bool is_whole;

    *slot = (struct mr_slot){.row_cap = row_cap};
    *rows =
        (struct mr_rows){.feature_count = schema->feature_count,
                         .capture_count = schema->capture_count,
                         .row_cap = row_cap,
                         .reject_cap = 2 * row_cap}; /* half for the decoder; the other for rows that fail behind it */
    rows->x = mr_units_slab_acquire(&run->units, mr_tiles_bytes(row_cap, schema->feature_count));
    slot->read_scratch = aligned_alloc(MR_ALIGN, (run->models.info[0]->read_scratch_bytes / MR_ALIGN + 1) * MR_ALIGN);
    rows->label = calloc(row_cap, sizeof *rows->label);
    rows->message = calloc(row_cap, sizeof *rows->message);
    rows->reject = calloc(rows->reject_cap, sizeof *rows->reject);
    rows->capture = calloc(row_cap * schema->capture_count + 1, sizeof *rows->capture);
    is_whole = slot->read_scratch && rows->x && rows->label && rows->message && rows->reject && rows->capture &&
               !mr_scores_init(&slot->scores, run, row_cap);
    if (!is_whole) return mr_fail(err, MR_ENOMEM, "no memory for a slot of %zu rows: lower batch.records_max", row_cap);
    return mr_queues_open(&slot->queues, &run->units, err);
}

void mr_scores_deinit(struct mr_scores *all, const struct mr_run *run)
{
    for (size_t i = 0; all && i < run->job->model_count; i++) {
        struct mr_scores *scores = &all[i];
        if (scores->y) mr_units_slab_release(&run->units, scores->y, mr_tiles_bytes(scores->row_cap, scores->width));
        if (scores->item)
            mr_units_slab_release(&run->units, scores->item, mr_tiles_bytes(scores->row_cap, scores->width));
        if (scores->class_index)
            mr_units_slab_release(&run->units, scores->class_index, classes_bytes(scores->row_cap));
    }
    free(all);
}

void mr_slot_deinit(struct mr_slot *slot, const struct mr_run *run)
{
    struct mr_rows *rows = &slot->rows;
    mr_queues_close(&slot->queues, &run->units);
    mr_scores_deinit(slot->scores, run);
    if (rows->x) mr_units_slab_release(&run->units, rows->x, mr_tiles_bytes(slot->row_cap, rows->feature_count));
    free(slot->read_scratch);
    free(rows->label);
    free(rows->message);
    free(rows->reject);
    free(rows->capture);
    *slot = (struct mr_slot){0};
}
