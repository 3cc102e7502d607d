/** Models made ready for the SIMD kernels: weights in the order in which they are read, constant factors folded in. */
#ifndef MR_KERNELS_PACK_H
#define MR_KERNELS_PACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/graph_forward/graph_forward.h"
#include "kernels/kmeans_assign/kmeans_assign.h"
#include "kernels/linear_score/linear_score.h"
#include "kernels/linear_sum/linear_sum.h"
#include "kernels/mf_topn/mf_topn.h"
#include "kernels/mlp_forward/mlp_forward.h"
#include "kernels/mlp_gradient/mlp_gradient.h"
#include "kernels/scale/scale.h"
#include "millrace/model.h"

/** Outputs that are computed together: 6 x 64 rows of accumulators fill the 32 registers of AVX-512. */
#define MR_BLOCK_OUT 6

/** Rows that a sum kernel adds in float32 at most, before it goes on in float64. */
#define MR_SUM_ROWS 512

/**
 * One dense layer, packed: w[block][in][n], where n is MR_BLOCK_OUT, in the last block what is left of `out`; b[out].
 * Both are multiplied by mr_fold_factor(activation), so that sums come out as the exponent of a power of two.
 */
struct mr_dense {
    size_t in, out;
    const float *w;
    const float *b;
    mr_activation activation;
    /* A reduced layer (reduced.h; of mf_topn_bf16, mf_topn_bf16.h): its weights instead of w, which is then only their
     * memory; NULL: float32. */
    const uint32_t *words;
    const float *factor, *offset; /* [out] */
};

/**
 * Centres on a line (one feature), in ascending order, each value once: the nearest one of x is the last i for which
 * x > bound[i - 1].
 */
struct mr_line {
    size_t count;         /* 0: not on a line */
    const float *center;  /* [count] */
    const int32_t *index; /* [count] which centre of the model that is: the lowest of equal ones */
    const float *bound;   /* [count - 1] */
};

/** A packed model, or what a sum needs to know. Immutable: any number of threads may use it. */
struct mr_packed {
    mr_op op;
    const void *params; /* as given; what the reference reads */
    size_t in,
        out; /* features; outputs, that is layer[layer_count - 1].out. kmeans_assign: out is the centres, y has 1 */
    size_t sum_count;      /* of a sum operation */
    size_t scratch_floats; /* of an operation that says so itself; 0: mr_packed_scratch_bytes knows */
    const float *shift;    /* [in], subtracted from the inputs first; NULL: none */
    const float *scale;    /* [in], the inputs are multiplied by it afterwards; NULL: none */
    struct mr_line line;
    const int32_t *order;   /* mf_topn: [items] which item of the model stands where in the layer */
    const int32_t *popular; /* mf_topn: [out] the best items for a user of whom nothing is known */
    void *own;              /* memory that shift, scale, line, order and popular may lie in */
    size_t layer_count;
    size_t hidden_width_max; /* widest output of any layer but the last; 0 with one layer */
    size_t width_max;        /* widest input or output of any layer */
    struct mr_dense layer[];
};

/**
 * Makes the parameters of an operation (the struct that mr_op names) ready for its kernels. params, and what it points
 * to, must outlive the result and stay as they are. NULL when out of memory or when sizes overflow.
 */
struct mr_packed *mr_packed_create(mr_op op, const void *params);

/** Fills one packed layer from row-major weights [out][in]; false: out of memory, or sizes overflow. */
typedef bool mr_layer_pack_fn(struct mr_dense *dense, const struct mr_mlp_layer *layer);

/** One in float32. */
mr_layer_pack_fn mr_dense_pack;

/** Layers one behind the other, for the packers; op and params are set by the caller. NULL as above. */
struct mr_packed *mr_layers_pack(const struct mr_mlp_layer *layers, size_t count, mr_layer_pack_fn *pack);

/** kmeans_assign's packer. */
struct mr_packed *mr_kmeans_assign_pack(const struct mr_kmeans_params *params);

/** graph_forward's packer. */
struct mr_packed *mr_graph_forward_pack(const struct mr_graph_params *params);

/** The packer of mlp_bf16 and mlp_int8. */
struct mr_packed *mr_reduced_pack(mr_op op, const struct mr_mlp_params *params);

/** mlp_gradient's packer. */
struct mr_packed *mr_mlp_gradient_pack(const struct mr_mlp_gradient_params *params);

/** The packer of mf_topn and mf_topn_bf16. */
struct mr_packed *mr_mf_topn_pack(mr_op op, const struct mr_mf_params *params);

/** Items that a list of mf_topn has room for: at least `top`, whole vectors. */
size_t mr_mf_list_cap(size_t top);

/** Accepts NULL. */
void mr_packed_free(struct mr_packed *model);

/** float64 numbers that a sum operation gives with these parameters; 0 for one that scores. */
size_t mr_sum_count(mr_op op, const void *params);

/** The same of a packed one. */
static inline size_t mr_packed_sum_count(const struct mr_packed *model)
{
    return model->sum_count;
}

/** Bytes of scratch that a kernel needs for this model (a multiple of 64, never 0). */
size_t mr_packed_scratch_bytes(const struct mr_packed *model);

/** sigmoid(z) = 1 / (1 + 2^(-z log2 e)) and so on: the factor that goes into the weights of a layer. 1 where there is
 * none. */
double mr_fold_factor(mr_activation activation);

#endif
