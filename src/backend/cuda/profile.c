#include "backend/cuda/profile.h"

mr_status mr_cuda_profile_open(struct mr_cuda_profile *profile, struct mr_backend *backend, struct mr_err *err)
{
    mr_status status = MR_OK;
    for (size_t i = 0; i < MR_CUDA_MARKS && !status; i++) {
        if (!profile->event[i])
            status = MR_CUDA(backend, err, EventCreate, &profile->event[i], MR_CUDA_EVENT_BLOCKING_SYNC);
    }
    profile->is_on = !status;
    return status;
}

mr_status mr_cuda_profile_mark(struct mr_cuda_profile *profile, struct mr_backend *backend, struct CUstream_st *stream,
                               mr_cuda_phase phase, struct mr_err *err)
{
    if (!profile->is_on || profile->count == MR_CUDA_MARKS) return MR_OK;
    const mr_status status = MR_CUDA(backend, err, EventRecord, profile->event[profile->count], stream);
    if (!status) profile->phase[profile->count++] = phase;
    return status;
}

mr_status mr_cuda_profile_take(struct mr_cuda_profile *profile, struct mr_backend *backend, struct mr_err *err)
{
    mr_status status = MR_OK;
    for (size_t i = 1; i < profile->count && !status; i++) {
        float ms = 0;
        if (profile->phase[i] == MR_CUDA_PHASES) continue;
        status = MR_CUDA(backend, err, EventElapsedTime, &ms, profile->event[i - 1], profile->event[i]);
        if (!status) profile->ms[profile->phase[i]] += (double)ms;
    }
    profile->count = 0;
    return status;
}

void mr_cuda_profile_forget(struct mr_cuda_profile *profile)
{
    profile->count = 0;
}

void mr_cuda_profile_close(struct mr_cuda_profile *profile, struct mr_backend *backend)
{
    for (size_t i = 0; i < MR_CUDA_MARKS; i++) {
        if (profile->event[i]) MR_CUDA_RELEASE(backend, EventDestroy, profile->event[i]);
        profile->event[i] = NULL;
    }
}
