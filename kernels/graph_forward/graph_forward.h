/**
 * graph_forward: a graph of steps over feature tiles, for models that no fused kernel computes. Each step takes the
 * columns of one or two values, the features or what earlier steps gave, and gives the columns of a new one; a tile
 * goes through all steps before the next one starts.
 */
#ifndef MR_KERNEL_GRAPH_FORWARD_H
#define MR_KERNEL_GRAPH_FORWARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** What a step computes: graph_ops.def. */
typedef enum {
#define MR_GRAPH_OP(name, NAME, kind, formula) MR_GRAPH_##NAME,
#include "kernels/graph_forward/graph_ops.def"
#undef MR_GRAPH_OP
    MR_GRAPH_OP_COUNT
} mr_graph_op;

typedef enum {
    MR_GRAPH_unary,  /* y_i = f(x_i) */
    MR_GRAPH_binary, /* y_i = f(x_i, z_i); a value of one column stands for all */
    MR_GRAPH_fold,   /* y = f(all x_i), one column */
    MR_GRAPH_row, /* y_i = f(x_i, all x), as many columns; normalize_*: x_i by a norm of all x, by 1 where that is 0 */
    MR_GRAPH_dense,   /* y_o = sum over i of w_oi x_i + bias_o */
    MR_GRAPH_columns, /* y_o = (x_column[o] - shift_o) * w_o + bias_o */
    MR_GRAPH_join,    /* the columns of x, then those of z */
    MR_GRAPH_top, /* the largest columns, the largest first; or which they are; of equal ones the first (a = -1: least)
                   */
} mr_graph_kind;

mr_graph_kind mr_graph_kind_of(mr_graph_op op);

/** Stable lower-case name, as model files spell it; never NULL. */
const char *mr_graph_op_name(mr_graph_op op);

/** The operation of this name; false: there is none. */
bool mr_graph_op_find(const char *name, mr_graph_op *op_out);

/** f(x, z) of a unary or binary operation, a and b the step's: its meaning. NaN of any other. */
double mr_graph_value(mr_graph_op op, double x, double z, double a, double b);

#define MR_GRAPH_STEPS_MAX 1024 /* of a model */

/** Columns are counted over the features, 0 to cols - 1, and behind them the workspace. */
struct mr_graph_step {
    mr_graph_op op;
    size_t x, x_width;     /* first column and number of columns of the first operand */
    size_t z, z_width;     /* of the second; z_width 0: there is none */
    size_t to, width;      /* of the result, which overlaps no operand */
    double a, b;           /* numbers of the operation: a slope, bounds */
    const float *w;        /* dense: [width][x_width]; columns: [width] */
    const float *bias;     /* dense, columns: [width] */
    const float *shift;    /* columns: [width] */
    const int32_t *column; /* columns: [width], each below x_width */
};

struct mr_graph_params {
    size_t cols;                      /* features */
    const struct mr_graph_step *step; /* [step_count], at least 1 */
    size_t step_count;
    size_t columns;  /* features and workspace */
    size_t y, width; /* columns that are the outputs */
    size_t of,
        of_width;  /* columns whose largest is the class; of_width 0: there are no classes, 1: > 1/2 is the second */
    bool is_least; /* the least instead */
};

#endif
