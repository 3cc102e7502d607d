/** What bench_gpu measures: models of the sizes of the targets, and small ones, for which the bus is the limit. */
#ifndef MR_BENCH_GPU_MODELS_H
#define MR_BENCH_GPU_MODELS_H

#include <stdbool.h>

#include "kernels/pack.h"

struct gpu_shape {
    const char *name;
    mr_op op;
    mr_op sum;       /* what it learns from after each batch; MR_OP_COUNT: it does not learn */
    size_t width[5]; /* columns, then outputs of each layer, then 0; k-means: columns, centres; mf: rank, items */
    bool is_large;   /* left out of --quick */
};

extern const struct gpu_shape gpu_shapes[]; /* ends with {0} */

struct gpu_model {
    const struct gpu_shape *shape;
    struct mr_mlp_layer layer[4];
    struct mr_mlp_gradient_params mlp;
    struct mr_linear_params linear;
    struct mr_linear_sum_params linear_sum;
    struct mr_kmeans_params kmeans;
    struct mr_mf_params mf;
    const void *params, *sum_params;
    size_t in, out;    /* columns of x, numbers a row in y */
    size_t item_count; /* 0: class_index has a number a row; else it has items, as many as y */
    double flops;      /* of a row, learning included */
    void *memory[6];
};

/** Random weights, the same every time. Ends the program when memory is short. */
void gpu_model_make(struct gpu_model *model, const struct gpu_shape *shape);
void gpu_model_free(struct gpu_model *model);

/** Features of rows, or users and items. */
void gpu_rows_fill(const struct gpu_model *model, float *x, size_t rows);

/** Labels that the model can learn from. */
void gpu_labels_fill(const struct gpu_model *model, double *label, size_t rows);

#endif
