/* A graph made ready: the weights of its dense steps in the order in which they are read. */
#include <stdlib.h>

#include "kernels/pack.h"
#include "millrace/batch.h"

struct mr_packed *mr_graph_forward_pack(const struct mr_graph_params *params)
{
    size_t dense = 0, floats;
    for (size_t i = 0; i < params->step_count; i++) dense += params->step[i].op == MR_GRAPH_DENSE;
    if (__builtin_mul_overflow(params->columns, (size_t)MR_TILE_ROWS, &floats)) return NULL;
    struct mr_packed *const model = calloc(1, sizeof *model + dense * sizeof model->layer[0]);
    if (!model) return NULL;
    model->in = params->cols;
    model->out = params->width;
    model->scratch_floats = floats;
    for (size_t i = 0; i < params->step_count; i++) {
        const struct mr_graph_step *const step = &params->step[i];
        if (step->op != MR_GRAPH_DENSE) continue;
        const struct mr_mlp_layer layer = {.in = step->x_width, .out = step->width, .w = step->w, .b = step->bias};
        if (!mr_dense_pack(&model->layer[model->layer_count], &layer)) {
            mr_packed_free(model);
            return NULL;
        }
        model->layer_count++;
    }
    return model;
}
