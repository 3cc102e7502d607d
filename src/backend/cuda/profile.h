/** Where the time of a queue goes: events between its phases, by the device's clock. Off unless asked for. */
#ifndef MR_BACKEND_CUDA_PROFILE_H
#define MR_BACKEND_CUDA_PROFILE_H

#include "backend/cuda/cuda.h"

/** Marks of one batch, at most; later ones of it are not timed. */
#define MR_CUDA_MARKS 64

struct mr_cuda_profile {
    bool is_on;
    struct CUevent_st *event[MR_CUDA_MARKS];
    mr_cuda_phase phase[MR_CUDA_MARKS]; /* that ended at the event; MR_CUDA_PHASES: none did */
    size_t count;
    double ms[MR_CUDA_PHASES];
};

mr_status mr_cuda_profile_open(struct mr_cuda_profile *profile, struct mr_backend *backend, struct mr_err *err);

/** A phase ends here on the stream (MR_CUDA_PHASES: one begins). Does nothing when it is off. */
mr_status mr_cuda_profile_mark(struct mr_cuda_profile *profile, struct mr_backend *backend, struct CUstream_st *stream,
                               mr_cuda_phase phase, struct mr_err *err);

/** Adds up a batch that is done. */
mr_status mr_cuda_profile_take(struct mr_cuda_profile *profile, struct mr_backend *backend, struct mr_err *err);

/** A batch that failed is not counted. */
void mr_cuda_profile_forget(struct mr_cuda_profile *profile);

void mr_cuda_profile_close(struct mr_cuda_profile *profile, struct mr_backend *backend);

#endif
