/* Plans: an operation as kernels of the module and constants in the device's memory. */
#include <stdio.h>
#include <stdlib.h>

#include "backend/cuda/cuda.h"

/* Constants go up on a stream of their own, and are there when this returns: no queue has to wait for them. */
static mr_status model_upload(struct mr_plan *plan, struct mr_err *err)
{
    struct mr_backend *const backend = plan->backend;
    pthread_mutex_lock(&backend->upload_lock);
    mr_status status = MR_CUDA(backend, err, MemcpyHtoDAsync, plan->model_dev, plan->program->model,
                               plan->program->model_bytes, backend->upload);
    if (!status) status = MR_CUDA(backend, err, StreamSynchronize, backend->upload);
    pthread_mutex_unlock(&backend->upload_lock);
    return status;
}

static mr_status functions_find(struct mr_plan *plan, struct mr_err *err)
{
    const struct mr_device_program *const program = plan->program;
    mr_status status = MR_OK;
    plan->function = calloc(program->step_count, sizeof(struct CUfunc_st *));
    if (!plan->function) return mr_fail(err, MR_ENOMEM, "backend cuda: out of memory");
    for (size_t i = 0; i < program->step_count && !status; i++) {
        char name[96];
        snprintf(name, sizeof name, "mr_gpu_%s", program->step[i].kernel);
        status = MR_CUDA(plan->backend, err, ModuleGetFunction, &plan->function[i], plan->backend->module, name);
    }
    return status;
}

/* Is there memory for one queue's batches of this size? Asked now, when the caller can still make them smaller. */
static mr_status room_probe(struct mr_plan *plan, struct mr_err *err)
{
    const struct mr_device_program *const program = plan->program;
    mr_cuda_ptr room_dev = 0;
    const mr_status status =
        MR_CUDA(plan->backend, err, MemAlloc, &room_dev,
                program->scratch_bytes + mr_device_x_bytes(program, program->row_cap) +
                    mr_device_y_bytes(program, program->row_cap) + mr_device_class_bytes(program, program->row_cap));
    if (!status) MR_CUDA_RELEASE(plan->backend, MemFree, room_dev);
    return status;
}

mr_status mr_cuda_plan_create(struct mr_backend *backend, mr_op op, const void *params, size_t row_cap, unsigned want,
                              struct mr_plan **plan_out, struct mr_err *err)
{
    struct mr_plan *const plan = calloc(1, sizeof *plan);
    *plan_out = NULL;
    if (!plan) return mr_fail(err, MR_ENOMEM, "backend cuda: out of memory");
    plan->backend = backend;
    mr_status status = MR_CUDA(backend, err, CtxSetCurrent, backend->context);
    if (!status) status = mr_device_program_create(&backend->kind, op, params, row_cap, want, &plan->program, err);
    if (!status) status = functions_find(plan, err);
    if (!status) status = MR_CUDA(backend, err, MemAlloc, &plan->model_dev, plan->program->model_bytes);
    if (!status) status = model_upload(plan, err);
    if (!status) status = room_probe(plan, err);
    if (status)
        mr_cuda_plan_destroy(plan);
    else
        *plan_out = plan;
    return status;
}

mr_status mr_cuda_plan_update(struct mr_plan *plan, struct mr_err *err)
{
    mr_status status = MR_CUDA(plan->backend, err, CtxSetCurrent, plan->backend->context);
    if (!status) status = mr_device_program_update(plan->program, err);
    if (!status) status = model_upload(plan, err);
    return status;
}

void mr_cuda_plan_destroy(struct mr_plan *plan)
{
    if (!plan) return;
    if (plan->model_dev) {
        MR_CUDA_RELEASE(plan->backend, CtxSetCurrent, plan->backend->context);
        MR_CUDA_RELEASE(plan->backend, MemFree, plan->model_dev);
    }
    mr_device_program_destroy(plan->program);
    free(plan->function);
    free(plan);
}
