/**
 * What a queue keeps on the device of host buffers: x, the scores, sums. A buffer is known by its host address, so the
 * scores of one model are found again where another one reads them, and rows that several models score go up once.
 */
#ifndef MR_BACKEND_CUDA_MIRROR_H
#define MR_BACKEND_CUDA_MIRROR_H

#include "backend/cuda/cuda.h"

/** Host buffers that one queue remembers, at most; the one that was not used for the longest time goes first. */
#define MR_CUDA_MIRRORS 64

struct mr_cuda_mirror {
    const void *host;
    mr_cuda_ptr dev;
    size_t bytes;       /* that fit */
    size_t valid_bytes; /* that are the host's, or will be when the stream is done, in this round */
    uint64_t round;     /* of valid_bytes */
    uint64_t used;      /* when it was asked for last */
    bool is_scored;     /* what score() took or gave: still valid after wait(), for sums */
};

struct mr_cuda_mirrors {
    struct mr_cuda_mirror item[MR_CUDA_MIRRORS];
    size_t count;
    uint64_t round; /* batches that this queue has begun: what went up for an earlier one is stale */
    uint64_t asked;
};

/**
 * The mirror of a host buffer with room for `bytes`; new ones get room for bytes_cap, so that larger batches need no
 * other. May wait for the stream. On error *mirror_out is NULL.
 */
mr_status mr_cuda_mirror_get(struct mr_backend *backend, struct mr_cuda_mirrors *mirrors, struct CUstream_st *stream,
                             const void *host, size_t bytes, size_t bytes_cap, struct mr_cuda_mirror **mirror_out,
                             struct mr_err *err);

/** The host may now change its buffers, but for what score() took and gave. */
void mr_cuda_mirrors_waited(struct mr_cuda_mirrors *mirrors);

/** Gives device memory back. */
void mr_cuda_mirrors_free(struct mr_backend *backend, struct mr_cuda_mirrors *mirrors);

#endif
