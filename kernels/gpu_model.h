/**
 * What stands where in the constant block of a device program: 32-bit words, weights as floats among them. Read by the
 * kernels, written by src/backend/device/. Positions are counted in words from the start of the block.
 */
#ifndef MR_KERNELS_GPU_MODEL_H
#define MR_KERNELS_GPU_MODEL_H

/** mr_activation, as kernels know it. */
#define MR_GPU_IDENTITY 0
#define MR_GPU_SIGMOID  1
#define MR_GPU_TANH     2
#define MR_GPU_RELU     3
#define MR_GPU_GELU     4
#define MR_GPU_SOFTMAX  5

/** mr_loss, likewise. */
#define MR_GPU_SQUARED 0
#define MR_GPU_HUBER   1
#define MR_GPU_LOG     2

/**
 * The numbers of a step that goes through dense layers (mlp_forward, linear_score, dense_wide, finish). A place is
 * where tiles lie in scratch, in units of 64 floats, plus 1; 0: in x, in y.
 */
#define MR_DENSE_TILES       0 /* tiles that a work-group takes one after the other */
#define MR_DENSE_FROM        1 /* place of the inputs; 0: x */
#define MR_DENSE_TO          2 /* place of the outputs: of logits, when is_last and y is not wanted */
#define MR_DENSE_SHIFT       3 /* position of what is subtracted from the inputs; 0: nothing */
#define MR_DENSE_LAYERS      4 /* how many layers: their numbers follow */
#define MR_DENSE_IS_LAST     5 /* the outputs are the model's: class, final activation */
#define MR_DENSE_SHARED_COLS 6 /* columns of each of the two buffers in shared memory */
#define MR_DENSE_BLOCKS      7 /* dense_wide: groups that share the rows, each with other outputs */
#define MR_DENSE_WORDS       8

#define MR_LAYER_IN         0
#define MR_LAYER_OUT        1
#define MR_LAYER_ACTIVATION 2
#define MR_LAYER_W          3 /* position of the weights; the order is the kernel's */
#define MR_LAYER_B          4
#define MR_LAYER_WORDS      5

/** scale: to y, or, where MR_SCALE_TO is a place, to scratch. */
#define MR_SCALE_TILES 0
#define MR_SCALE_COLS  1
#define MR_SCALE_TO    2
#define MR_SCALE_SHIFT 3 /* positions of [cols] floats */
#define MR_SCALE_SCALE 4
#define MR_SCALE_WORDS 5

/** kmeans_assign, kmeans_wide. */
#define MR_NEAR_TILES 0
#define MR_NEAR_FROM  1 /* place of inputs around the mean; 0: x, and */
#define MR_NEAR_SHIFT 2 /* the mean is here; 0 when FROM is a place */
#define MR_NEAR_IN    3
#define MR_NEAR_K     4
#define MR_NEAR_W     5 /* minus the centres around the mean, in the kernel's order */
#define MR_NEAR_B     6 /* half their squared lengths */
#define MR_NEAR_WORDS 7

/** kmeans_line: struct mr_line of pack.h. */
#define MR_LINE_TILES  0
#define MR_LINE_COUNT  1
#define MR_LINE_CENTER 2
#define MR_LINE_BOUND  3
#define MR_LINE_INDEX  4
#define MR_LINE_WORDS  5

/** moments, linear_sum, kmeans_sum, kmeans_scatter. */
#define MR_SUMS_COLS   0
#define MR_SUMS_OUT    1 /* outputs, centres */
#define MR_SUMS_LOSS   2
#define MR_SUMS_DELTA  3 /* a float */
#define MR_SUMS_SHIFT  4
#define MR_SUMS_BLOCKS 5 /* groups that share the rows, each with other sums */
#define MR_SUMS_ROWS   6 /* of a block, where the kernel does not fix it */
#define MR_SUMS_WORDS  7

#endif
