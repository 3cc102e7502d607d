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
#define MR_SUMS_WEIGHT 7 /* how much rows of each class count; 0: 1 */
#define MR_SUMS_WORDS  8

/** kmeans_scatter and kmeans_reduce, of which MR_SUMS_BLOCKS is the number of groups: one more. */
#define MR_SCATTER_PARTIAL 8 /* place of the blocks' sums */
#define MR_SCATTER_WORDS   9

/** mlp_residuals, behind MR_SUMS_WORDS numbers as of linear_sum; places are in scratch. */
#define MR_RESIDUALS_TO      8  /* place of the residuals */
#define MR_RESIDUALS_PARTIAL 9  /* place of the partial sums, */
#define MR_RESIDUALS_STRIDE  10 /* which are so many floats a block of MR_SUMS_ROWS rows; */
#define MR_RESIDUALS_AT      11 /* the loss and the rows with a label stand here in each */
#define MR_RESIDUALS_WORDS   12

/** mlp_slope: tiles of residuals times the slope of an activation. */
#define MR_SLOPE_TILES      0
#define MR_SLOPE_COLS       1
#define MR_SLOPE_ACTIVATION 2
#define MR_SLOPE_D          3 /* place of the residuals, */
#define MR_SLOPE_A          4 /* of the activation's values */
#define MR_SLOPE_Z          5 /* and of its logits; GELU only */
#define MR_SLOPE_WORDS      6

/** mlp_gradient, mlp_reduce. */
#define MR_GRADIENT_IN        0
#define MR_GRADIENT_OUT       1
#define MR_GRADIENT_FROM      2 /* place of the layer's inputs; 0: x */
#define MR_GRADIENT_D         3 /* place of the residuals of its outputs */
#define MR_GRADIENT_PARTIAL   4 /* as above */
#define MR_GRADIENT_STRIDE    5
#define MR_GRADIENT_ROWS      6  /* of a block */
#define MR_GRADIENT_W         7  /* where the weights' sums stand in it, */
#define MR_GRADIENT_B         8  /* and the biases' */
#define MR_GRADIENT_BLOCKS    9  /* groups that share the rows, each with other weights; mlp_reduce: all groups */
#define MR_GRADIENT_IN_BLOCKS 10 /* how many of them have the same outputs */
#define MR_GRADIENT_WORDS     11

/** mf_estimate, mf_users, mf_topn, mf_merge. */
#define MR_REC_TILES      0
#define MR_REC_COLS       1 /* of x */
#define MR_REC_RANK       2
#define MR_REC_STRIDE     3 /* floats from a user, or an item, to the next in tables of factors: zeros behind the last */
#define MR_REC_USERS      4 /* positions: factors */
#define MR_REC_USER_BIAS  5 /* 0: none */
#define MR_REC_ITEMS      6 /* factors: [items][stride]; of mf_topn weights in its own order */
#define MR_REC_ITEM_BIAS  7 /* 0: none; of mf_topn never, NaN behind the last item */
#define MR_REC_COUNT      8 /* items */
#define MR_REC_TOP        9
#define MR_REC_ORDER      10 /* which item stands where */
#define MR_REC_POPULAR    11 /* [top] items and */
#define MR_REC_BIASES     12 /* [top] their biases, for users of whom nothing is known */
#define MR_REC_SEEN_FIRST 13 /* [users + 1]; 0: nobody has seen anything */
#define MR_REC_SEEN       14
#define MR_REC_OWN_MAX    15
#define MR_REC_FACTORS    16 /* place of the users' factors, tiles of `rank` columns */
#define MR_REC_LISTS      17 /* place of the lists: a tile has [parts][2][top] columns, scores, then items */
#define MR_REC_PARTS      18 /* groups that share the users, each with other items */
#define MR_REC_CHUNK      19 /* items that pass all users of a tile before the next; CPU devices */
#define MR_REC_MEAN       20 /* floats */
#define MR_REC_MIN        21
#define MR_REC_MAX        22
#define MR_REC_WORDS      23

/** MR_MF_UNKNOWN and MR_MF_OWN of mf_topn.h. */
#define MR_REC_UNKNOWN (-1.0f)
#define MR_REC_OWN     (-2.0f)

#endif
