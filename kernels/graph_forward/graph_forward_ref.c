/* The meaning of graph_forward: one row at a time, every step in double. */
#include <math.h>

#include "kernels/kernels.h"
#include "millrace/batch.h"

mr_score_fn mr_graph_forward_ref;

static double fold(mr_graph_op op, const double *x, size_t width)
{
    double sum = 0, most = x[0], product = 1;
    for (size_t i = 0; i < width; i++) {
        if (op == MR_GRAPH_REDUCE_MIN ? x[i] < most : x[i] > most) most = x[i];
        product *= x[i];
        sum += op == MR_GRAPH_REDUCE_SUM_SQUARE || op == MR_GRAPH_REDUCE_L2 ? x[i] * x[i]
               : op == MR_GRAPH_REDUCE_L1                                   ? fabs(x[i])
                                                                            : x[i];
    }
    if (op == MR_GRAPH_REDUCE_MIN || op == MR_GRAPH_REDUCE_MAX) return most;
    if (op == MR_GRAPH_REDUCE_PROD) return product;
    if (op == MR_GRAPH_REDUCE_MEAN) return sum / (double)width;
    if (op == MR_GRAPH_REDUCE_L2) return sqrt(sum);
    if (op != MR_GRAPH_REDUCE_LOG_SUM_EXP) return sum;
    double powers = 0;
    for (size_t i = 0; i < width; i++) powers += exp(x[i] - most);
    return most + log(powers);
}

/* Each column stands where as many are before it: better ones, and of equal ones those to the left. */
static void top(const struct mr_graph_step *step, const double *x, double *y)
{
    for (size_t i = 0; i < step->x_width; i++) {
        size_t before = 0;
        for (size_t j = 0; j < step->x_width; j++)
            before += step->a * x[j] > step->a * x[i] || (step->a * x[j] == step->a * x[i] && j < i);
        if (before < step->width) y[before] = step->op == MR_GRAPH_TOP ? x[i] : (double)i;
    }
}

static void dense(const struct mr_graph_step *step, const double *x, double *y)
{
    for (size_t o = 0; o < step->width; o++) {
        double sum = (double)step->bias[o];
        for (size_t i = 0; i < step->x_width; i++) sum += (double)step->w[o * step->x_width + i] * x[i];
        y[o] = sum;
    }
}

/* What a row operation needs of all columns. */
static mr_graph_op row_fold(mr_graph_op op)
{
    return op == MR_GRAPH_NORMALIZE_L1    ? MR_GRAPH_REDUCE_L1
           : op == MR_GRAPH_NORMALIZE_L2  ? MR_GRAPH_REDUCE_L2
           : op == MR_GRAPH_NORMALIZE_MAX ? MR_GRAPH_REDUCE_MAX
                                          : MR_GRAPH_REDUCE_LOG_SUM_EXP;
}

static void step_run(const struct mr_graph_step *step, double *value)
{
    const double *const x = value + step->x, *const z = value + step->z;
    double *const y = value + step->to;
    const mr_graph_kind kind = mr_graph_kind_of(step->op);
    const double of_row = kind == MR_GRAPH_row ? fold(row_fold(step->op), x, step->x_width) : 0;
    if (kind == MR_GRAPH_dense) dense(step, x, y);
    if (kind == MR_GRAPH_top) top(step, x, y);
    if (kind == MR_GRAPH_fold) y[0] = fold(step->op, x, step->x_width);
    if (kind == MR_GRAPH_dense || kind == MR_GRAPH_top || kind == MR_GRAPH_fold) return;
    for (size_t i = 0; i < step->width; i++) {
        if (kind == MR_GRAPH_join)
            y[i] = i < step->x_width ? x[i] : z[i - step->x_width];
        else if (kind == MR_GRAPH_columns)
            y[i] = (x[step->column[i]] - (double)step->shift[i]) * (double)step->w[i] + (double)step->bias[i];
        else if (kind == MR_GRAPH_row)
            y[i] = step->op == MR_GRAPH_SOFTMAX       ? exp(x[i] - of_row)
                   : step->op == MR_GRAPH_LOG_SOFTMAX ? x[i] - of_row
                                                      : x[i] / (of_row != 0 ? of_row : 1);
        else
            y[i] = mr_graph_value(step->op, x[step->x_width == 1 ? 0 : i],
                                  kind == MR_GRAPH_binary ? z[step->z_width == 1 ? 0 : i] : 0, step->a, step->b);
    }
}

static int32_t class_of(const struct mr_graph_params *graph, const double *value)
{
    const double *const of = value + graph->of;
    int32_t best = 0;
    if (graph->of_width == 1) return of[0] > 0.5;
    for (size_t i = 1; i < graph->of_width; i++) {
        if (graph->is_least ? of[i] < of[best] : of[i] > of[best]) best = (int32_t)i;
    }
    return best;
}

void mr_graph_forward_ref(const float *x, const struct mr_packed *model, float *y, int32_t *class_index, void *scratch,
                          size_t rows)
{
    const struct mr_graph_params *const graph = model->params;
    double *const value = scratch;
    mr_kernel_ran = "ref";
    for (size_t row = 0; row < rows; row++) {
        for (size_t c = 0; c < graph->cols; c++) value[c] = (double)x[mr_tile_at(row, c, graph->cols)];
        for (size_t i = 0; i < graph->step_count; i++) step_run(&graph->step[i], value);
        for (size_t o = 0; y && o < graph->width; o++) y[mr_tile_at(row, o, graph->width)] = (float)value[graph->y + o];
        if (class_index) class_index[row] = class_of(graph, value);
    }
}
