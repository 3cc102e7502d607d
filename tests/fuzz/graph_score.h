/** A graph model computed for one tile by the reference, so that the address sanitizer sees every step. */
#ifndef MR_TESTS_FUZZ_GRAPH_SCORE_H
#define MR_TESTS_FUZZ_GRAPH_SCORE_H

#include <stdlib.h>

#include "kernels/kernels.h"
#include "millrace/batch.h"

static inline void fuzz_graph_score(const struct mr_model_ops *ops, const struct mr_model *model)
{
    const void *params;
    if (ops->op(model, &params) != MR_OP_GRAPH_FORWARD) return;
    struct mr_packed *const packed = mr_packed_create(MR_OP_GRAPH_FORWARD, params);
    if (!packed) return;
    float *const x = calloc(packed->in * MR_TILE_ROWS, sizeof *x), *const y =
                                                                       calloc(packed->out * MR_TILE_ROWS, sizeof *y);
    void *const scratch = calloc(1, mr_packed_scratch_bytes(packed));
    int32_t class_index[MR_TILE_ROWS];
    if (x && y && scratch) mr_kernel_select(MR_OP_GRAPH_FORWARD, "ref")->score(x, packed, y, class_index, scratch, 2);
    free(x);
    free(y);
    free(scratch);
    mr_packed_free(packed);
}

#endif
