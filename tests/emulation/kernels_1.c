/* The GPU kernels as C, a row a thread. */
#pragma GCC diagnostic ignored "-Wmissing-prototypes" /* emulate.c has them */
#if !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized" /* of a block of sums, all that is stored was set */
#endif
#define MR_LANES 1
#include "kernels/gpu_all.h"
