/* Compiling the template: all constant texts into one pool, one step a value. */
#include "pipeline/template.h"

#include <stdlib.h>
#include <string.h>

#include "base/json_text.h"
#include "base/number.h"

/* Starts a text in the pool; the room was counted before. */
static struct mr_piece piece_begin(struct mr_template *t)
{
    return (struct mr_piece){t->pool + t->pool_used, 0};
}

static void piece_add(struct mr_template *t, struct mr_piece *piece, const char *text, size_t bytes)
{
    memcpy(t->pool + t->pool_used, text, bytes);
    t->pool_used += bytes;
    piece->bytes += (uint32_t)bytes;
}

/* Bytes of the pool that all literals and class texts may take. */
static size_t pool_bytes(const struct mr_layout *layout, const struct mr_model_info *const *info)
{
    size_t bytes = MR_TEMPLATE_SLACK;
    for (size_t i = 0; i < layout->item_count; i++) {
        const struct mr_emit_item *item = &layout->item[i];
        bytes += item->literal_bytes;
        if (item->kind != MR_EMIT_CLASS && item->kind != MR_EMIT_LABEL) continue;
        const struct mr_model_info *model = info[item->model];
        for (size_t c = 0; c < model->class_count && c < CLASSES_MAX; c++) {
            const size_t name = model->label ? strlen(model->label[c]) : 0;
            bytes += item->literal_bytes + MR_NUMBER_BYTES + name * MR_JSON_ESCAPE_MAX + 1;
        }
    }
    return bytes;
}

/* One ready text for each class. */
static mr_status class_texts_create(struct mr_template *t, struct mr_step *step, const struct mr_emit_item *item,
                                    const struct mr_model_info *info, bool is_last, size_t *bytes_max_out,
                                    struct mr_err *err)
{
    if (!info->class_count || info->class_count > CLASSES_MAX) return MR_OK;
    step->class_text = calloc(info->class_count, sizeof *step->class_text);
    if (!step->class_text) return mr_fail(err, MR_ENOMEM, "encoder: out of memory");
    step->class_count = (uint32_t)info->class_count;
    for (size_t c = 0; c < info->class_count; c++) {
        struct mr_piece piece = piece_begin(t);
        piece_add(t, &piece, item->literal, item->literal_bytes);
        char *name = t->pool + t->pool_used;
        const bool is_named = item->kind == MR_EMIT_LABEL && info->label;
        const size_t bytes =
            is_named ? mr_json_quote(info->label[c], strlen(info->label[c]), name) : mr_print_i64((long long)c, name);
        t->pool_used += bytes;
        piece.bytes += (uint32_t)bytes;
        if (is_last) piece_add(t, &piece, "}", 1);
        if (piece.bytes > *bytes_max_out) *bytes_max_out = piece.bytes;
        step->class_text[c] = piece;
    }
    t->is_closed |= is_last;
    return MR_OK;
}

static mr_status step_compile(struct mr_template *t, const struct mr_emit_item *item,
                              const struct mr_model_info *const *info, bool is_last, struct mr_err *err)
{
    const bool is_output = item->kind >= MR_EMIT_CLASS;
    const struct mr_model_info *model = is_output ? info[item->model] : NULL;
    struct mr_step *step = &t->step[t->step_count];
    *step = (struct mr_step){.kind = item->kind,
                             .column = item->column,
                             .model = is_output ? item->model : 0,
                             .width = is_output ? model->width : 0,
                             .item_text = is_output ? model->item : NULL,
                             .is_complement = item->is_complement,
                             .is_bare = item->is_bare,
                             .is_binary = is_output && model->width == 1,
                             .part = item->part,
                             .header = item->header};
    step->literal = piece_begin(t);
    piece_add(t, &step->literal, item->literal, item->literal_bytes);
    size_t class_bytes = 0;
    if (item->kind == MR_EMIT_CLASS || item->kind == MR_EMIT_LABEL) {
        const mr_status status = class_texts_create(t, step, item, model, is_last, &class_bytes, err);
        if (status) return status;
    }
    if (item->kind == MR_EMIT_CAPTURE || (item->kind == MR_EMIT_PART && item->part != MR_PART_PARTITION &&
                                          item->part != MR_PART_OFFSET && item->part != MR_PART_TIMESTAMP)) {
        t->measured[t->measured_count++] = (uint32_t)t->step_count;
    }
    const bool is_array = item->kind == MR_EMIT_PROBABILITIES || item->kind == MR_EMIT_ITEM_SCORES;
    const size_t numbers = is_array ? step->width + 1 : 1;
    if (item->kind == MR_EMIT_ITEM || item->kind == MR_EMIT_ITEMS)
        class_bytes = (item->kind == MR_EMIT_ITEMS ? step->width : 1) * (model->item_bytes_max + 1);
    t->bytes_max += item->literal_bytes + class_bytes + numbers * (MR_NUMBER_BYTES + 1) + 2;
    t->fast_bytes_max = t->bytes_max + t->measured_count * MR_TEMPLATE_SHORT;
    t->is_fast &= step->class_text || item->kind == MR_EMIT_SCORE || item->kind == MR_EMIT_OUTPUT ||
                  item->kind == MR_EMIT_FEATURE || (item->kind == MR_EMIT_CAPTURE && t->captures_json);
    t->step_count++;
    return MR_OK;
}

mr_status mr_template_create(const struct mr_job *job, const struct mr_layout *layout,
                             const struct mr_model_info *const *info, bool is_one_line,
                             struct mr_template **template_out, struct mr_err *err)
{
    struct mr_template *t = calloc(1, sizeof *t);
    *template_out = NULL;
    if (!t) return mr_fail(err, MR_ENOMEM, "encoder: out of memory");
    static const double scales[] = {1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7};
    t->decimals = layout->decimals;
    t->scale = t->decimals >= 0 && t->decimals < 8 ? scales[t->decimals] : 0;
    t->is_one_line = is_one_line;
    t->is_fast = !is_one_line;
    t->captures_json = job->codec->captures_json;
    t->capture_factor = t->captures_json ? 1 : MR_JSON_ESCAPE_MAX;
    t->bytes_max = 1 + MR_TEMPLATE_SLACK;
    t->pool_cap = pool_bytes(layout, info);
    t->pool = calloc(1, t->pool_cap);
    t->step = calloc(layout->item_count + 1, sizeof *t->step);
    t->measured = calloc(layout->item_count + 1, sizeof *t->measured);
    mr_status status = t->pool && t->step && t->measured ? MR_OK : mr_fail(err, MR_ENOMEM, "encoder: out of memory");
    for (size_t i = 0; !status && i < layout->item_count; i++) {
        status = step_compile(t, &layout->item[i], info, i + 1 == layout->item_count, err);
    }
    if (status) {
        mr_template_destroy(t);
        return status;
    }
    *template_out = t;
    return MR_OK;
}

void mr_template_destroy(struct mr_template *t)
{
    if (!t) return;
    for (size_t i = 0; t->step && i < t->step_count; i++) free(t->step[i].class_text);
    free(t->step);
    free(t->measured);
    free(t->pool);
    free(t);
}
