/* Where the values of a graph stand: columns of a workspace that is as small as the values that are needed at once. */
#include <stdlib.h>
#include <string.h>

#include "model/graph/graph_model.h"

/* A value that is still needed; in the order of their columns. */
struct living {
    size_t at, width, last; /* last: the step that needs it last */
};

static size_t width_of(const struct mr_model *model, size_t value)
{
    return value ? model->step[value - 1].width : model->params.cols;
}

static size_t at_of(const struct mr_model *model, size_t value)
{
    return value ? model->step[value - 1].to : 0;
}

/* The step that needs each value last; outputs are needed to the end. */
static void lasts_find(const struct mr_model *model, size_t *last)
{
    const size_t count = model->params.step_count;
    for (size_t i = 0; i < count; i++) {
        last[i + 1] = i;
        for (size_t k = 0; k < 2; k++) {
            const uint32_t value = model->operand[2 * i + k];
            if (value != UINT32_MAX) last[value] = i;
        }
    }
    last[model->y_value] = count;
    if (model->of_value != SIZE_MAX) last[model->of_value] = count;
}

/* The first gap between living values that is wide enough. */
static size_t gap_find(const struct living *living, size_t count, size_t width, size_t first, size_t *index_out)
{
    size_t at = first, i = 0;
    for (; i < count && living[i].at - at < width; i++) at = living[i].at + living[i].width;
    *index_out = i;
    return at;
}

static size_t dead_drop(struct living *living, size_t count, size_t step)
{
    size_t left = 0;
    for (size_t i = 0; i < count; i++) {
        if (living[i].last >= step) living[left++] = living[i];
    }
    return left;
}

mr_status mr_graph_place(const char *name, struct mr_model *model, struct mr_err *err)
{
    struct mr_graph_params *const params = &model->params;
    size_t *const last = calloc(params->step_count + 1, sizeof *last);
    struct living *const living = calloc(params->step_count, sizeof *living);
    size_t count = 0, index;
    mr_status status = last && living ? MR_OK : mr_fail(err, MR_ENOMEM, "model \"%s\": out of memory", name);
    params->columns = params->cols;
    if (!status) lasts_find(model, last);
    for (size_t i = 0; i < params->step_count && !status; i++) {
        struct mr_graph_step *const step = &model->step[i];
        count = dead_drop(living, count, i);
        step->to = gap_find(living, count, step->width, params->cols, &index);
        memmove(&living[index + 1], &living[index], (count++ - index) * sizeof *living);
        living[index] = (struct living){step->to, step->width, last[i + 1]};
        if (step->to + step->width > params->columns) params->columns = step->to + step->width;
        step->x = at_of(model, model->operand[2 * i]);
        if (step->z_width) step->z = at_of(model, model->operand[2 * i + 1]);
        if (params->columns - params->cols > MR_GRAPH_COLUMNS_MAX)
            status = mr_fail(err, MR_EDATA, "model \"%s\": its steps need more than %zu columns at once", name,
                             MR_GRAPH_COLUMNS_MAX);
    }
    params->y = at_of(model, model->y_value);
    params->width = width_of(model, model->y_value);
    if (model->of_value != SIZE_MAX) {
        params->of = at_of(model, model->of_value);
        params->of_width = width_of(model, model->of_value);
    }
    free(last);
    free(living);
    return status;
}
