/** The constant block of a device program while it grows: words, with weights as floats among them. */
#ifndef MR_BACKEND_DEVICE_BLOCK_H
#define MR_BACKEND_DEVICE_BLOCK_H

#include <stdbool.h>

#include "backend/device/program.h"
#include "kernels/pack.h"

/** What is under construction. A failure is noted once and told at the end. */
struct mr_device_build {
    struct mr_device_program *program;
    size_t word_count, word_cap, step_cap;
    size_t scratch_units; /* taken so far, in units of 64 floats */
    bool is_out_of_memory, is_too_large;
};

/** Takes `count` zeroed words, from a 64-byte boundary on: their position, never 0; 0 after a failure. */
uint32_t mr_build_words(struct mr_device_build *build, size_t count);

/** Copies floats into the block; 0 when from is NULL. */
uint32_t mr_build_floats(struct mr_device_build *build, const float *from, size_t count);

/** Takes scratch for tiles of so many columns, for row_cap rows: the place (gpu_model.h). */
uint32_t mr_build_place(struct mr_device_build *build, size_t cols);

/** Takes scratch for so many floats: their place. */
uint32_t mr_build_scratch(struct mr_device_build *build, size_t count);

/** Appends a launch whose numbers are the `count` words of `numbers`. */
void mr_build_step(struct mr_device_build *build, const struct mr_device_step *step, const uint32_t *numbers,
                   size_t count);

/** Tiles that a work-group takes one after the other, when a row costs so many operations. */
uint32_t mr_build_tiles(const struct mr_device_build *build, double flops_per_row);

/** Weight of output o for input c, of a packed layer. */
float mr_dense_weight(const struct mr_dense *dense, size_t o, size_t c);

/** Weights for matrix products: [ceil(out / 128)][in][128], 0 where there is no output. Their position. */
uint32_t mr_build_wide_weights(struct mr_device_build *build, const struct mr_dense *layer);

/**
 * A dense layer alone, from the tiles at a place (0: x) to those at another, its activation applied.
 */
void mr_build_layer(struct mr_device_build *build, const struct mr_dense *layer, uint32_t from, uint32_t to);

/** Layers of a run of narrow ones, at most. */
#define MR_DEVICE_RUN_MAX 16

/** What each operation adds: dense.c, scale.c, kmeans.c, recommend.c, sums.c, gradient.c. */
void mr_build_dense(struct mr_device_build *build, const struct mr_packed *packed);
void mr_build_scale(struct mr_device_build *build, const struct mr_packed *packed);
void mr_build_kmeans_assign(struct mr_device_build *build, const struct mr_packed *packed);
void mr_build_mf_topn(struct mr_device_build *build, const struct mr_packed *packed);
void mr_build_mf_estimate(struct mr_device_build *build, const struct mr_packed *packed);
void mr_build_linear_sum(struct mr_device_build *build, const struct mr_packed *packed);
void mr_build_kmeans_sum(struct mr_device_build *build, const struct mr_packed *packed);
void mr_build_moments(struct mr_device_build *build, const struct mr_packed *packed);
void mr_build_mlp_gradient(struct mr_device_build *build, const struct mr_packed *packed);

/** A step that writes inputs minus shift to scratch. Returns their place. */
uint32_t mr_build_shift(struct mr_device_build *build, const float *shift, size_t cols);

#endif
