/* The GPU kernels as C, vectors of 8 rows. */
#pragma GCC diagnostic ignored "-Wmissing-prototypes" /* emulate.c has them */
#if !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized" /* of a block of sums, all that is stored was set */
#endif
#define MR_LANES 8
#include "kernels/gpu_all.h"
