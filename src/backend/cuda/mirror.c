#include "backend/cuda/mirror.h"

/* The one of this buffer; else a free one; else the one that has waited for the longest time. */
static struct mr_cuda_mirror *mirror_find(struct mr_cuda_mirrors *mirrors, const void *host)
{
    struct mr_cuda_mirror *oldest = &mirrors->item[0];
    for (size_t i = 0; i < mirrors->count; i++) {
        struct mr_cuda_mirror *const mirror = &mirrors->item[i];
        if (mirror->host == host) return mirror;
        if (mirror->used < oldest->used) oldest = mirror;
    }
    return mirrors->count < MR_CUDA_MIRRORS ? &mirrors->item[mirrors->count++] : oldest;
}

mr_status mr_cuda_mirror_get(struct mr_backend *backend, struct mr_cuda_mirrors *mirrors, struct CUstream_st *stream,
                             const void *host, size_t bytes, size_t bytes_cap, struct mr_cuda_mirror **mirror_out,
                             struct mr_err *err)
{
    struct mr_cuda_mirror *const mirror = mirror_find(mirrors, host);
    mr_status status = MR_OK;
    *mirror_out = NULL;
    if (mirror->host != host || mirror->round != mirrors->round) mirror->valid_bytes = 0;
    mirror->host = host;
    mirror->round = mirrors->round;
    mirror->used = ++mirrors->asked;
    if (mirror->bytes < bytes) {
        /* What still runs may use the memory. */
        if (mirror->dev) status = MR_CUDA(backend, err, StreamSynchronize, stream);
        if (status) return status;
        if (mirror->dev) MR_CUDA_RELEASE(backend, MemFree, mirror->dev);
        mirror->dev = 0;
        mirror->bytes = mirror->valid_bytes = 0;
        if (bytes_cap < bytes) bytes_cap = bytes;
        status = MR_CUDA(backend, err, MemAlloc, &mirror->dev, bytes_cap);
        if (status == MR_ENOMEM && bytes_cap > bytes)
            status = MR_CUDA(backend, err, MemAlloc, &mirror->dev, bytes_cap = bytes);
        if (status) return status;
        mirror->bytes = bytes_cap;
    }
    *mirror_out = mirror;
    return MR_OK;
}

void mr_cuda_mirrors_waited(struct mr_cuda_mirrors *mirrors)
{
    for (size_t i = 0; i < mirrors->count; i++) {
        if (!mirrors->item[i].is_scored) mirrors->item[i].valid_bytes = 0;
    }
}

void mr_cuda_mirrors_free(struct mr_backend *backend, struct mr_cuda_mirrors *mirrors)
{
    for (size_t i = 0; i < mirrors->count; i++) {
        if (mirrors->item[i].dev) MR_CUDA_RELEASE(backend, MemFree, mirrors->item[i].dev);
    }
    mirrors->count = 0;
}
