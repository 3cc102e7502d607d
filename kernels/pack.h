/** Models made ready for the SIMD kernels: weights in the order in which they are read, constant factors folded in. */
#ifndef MR_KERNELS_PACK_H
#define MR_KERNELS_PACK_H

#include <stddef.h>

#include "kernels/linear_score/linear_score.h"
#include "kernels/mlp_forward/mlp_forward.h"

/** Outputs that are computed together: 6 x 64 rows of accumulators fill the 32 registers of AVX-512. */
#define MR_BLOCK_OUT 6

/**
 * One dense layer, packed: w[block][in][n], where n is MR_BLOCK_OUT, in the last block what is left of `out`; b[out].
 * Both are multiplied by mr_fold_factor(activation), so that sums come out as the exponent of a power of two.
 */
struct mr_dense {
    size_t in, out;
    const float *w;
    const float *b;
    mr_activation activation;
};

/** A packed model. Immutable: any number of threads may use it. */
struct mr_packed {
    const void *params; /* as given: struct mr_mlp_params or mr_linear_params; what the reference reads */
    size_t in, out;
    const float *shift; /* [in], subtracted from the inputs first; NULL: none. Borrowed from params */
    size_t layer_count;
    size_t hidden_width_max; /* widest output of any layer but the last; 0 with one layer */
    size_t width_max;        /* widest input or output of any layer */
    struct mr_dense layer[];
};

/** Packs a model; params must outlive the result. NULL when out of memory or when sizes overflow. */
struct mr_packed *mr_mlp_forward_pack(const struct mr_mlp_params *params);
struct mr_packed *mr_linear_score_pack(const struct mr_linear_params *params);

/** Accepts NULL. */
void mr_packed_free(struct mr_packed *model);

/** Bytes of scratch that a kernel needs for this model (a multiple of 64, never 0). */
size_t mr_packed_scratch_bytes(const struct mr_packed *model);

/** sigmoid(z) = 1 / (1 + 2^(-z log2 e)) and so on: the factor that goes into the weights of a layer. 1 where there is
 * none. */
double mr_fold_factor(mr_activation activation);

#endif
