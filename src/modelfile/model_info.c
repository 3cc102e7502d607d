/* Whether one model fits the place of another. */
#include <string.h>

#include "millrace/model.h"

static bool text_same(const char *a, const char *b)
{
    return a && b ? !strcmp(a, b) : a == b;
}

static bool names_same(const char *const *a, const char *const *b, size_t count)
{
    if (!a || !b) return a == b;
    for (size_t i = 0; i < count; i++) {
        if (!text_same(a[i], b[i])) return false;
    }
    return true;
}

static bool items_same(const struct mr_model_info *a, const struct mr_model_info *b)
{
    for (size_t i = 0; i < a->item_count; i++) {
        if (a->item[i].bytes != b->item[i].bytes || memcmp(a->item[i].data, b->item[i].data, a->item[i].bytes))
            return false;
    }
    return true;
}

bool mr_model_info_same(const struct mr_model_info *a, const struct mr_model_info *b)
{
    return text_same(a->type, b->type) && a->feature_count == b->feature_count && a->width == b->width &&
           a->is_classifier == b->is_classifier && a->is_transform == b->is_transform &&
           a->has_no_probability == b->has_no_probability && a->is_distance == b->is_distance &&
           a->is_logit == b->is_logit && a->class_count == b->class_count && a->item_count == b->item_count &&
           a->column_count == b->column_count && a->read_scratch_bytes == b->read_scratch_bytes &&
           names_same(a->feature, b->feature, a->feature_count) && names_same(a->output, b->output, a->width) &&
           names_same(a->label, b->label, a->class_count) && items_same(a, b);
}
