/* A device program and its constants on the device. */
#include <stdlib.h>
#include <string.h>

#include "backend/opencl/opencl.h"

static const char *const kernel_names[MR_CL_KERNELS] = {
#define MR_GPU_KERNEL(name, shares) #name,
#define MR_GPU_KERNEL_WIDE(name)    #name,
#include "kernels/gpu.def"
#undef MR_GPU_KERNEL
#undef MR_GPU_KERNEL_WIDE
};

static mr_status model_upload(struct mr_plan *plan, struct mr_err *err)
{
    struct mr_backend *const backend = plan->backend;
    pthread_mutex_lock(&backend->lock);
    const int result = backend->api.EnqueueWriteBuffer(backend->transfers, plan->model_dev, 1, 0,
                                                       plan->program->model_bytes, plan->program->model, 0, NULL, NULL);
    pthread_mutex_unlock(&backend->lock);
    return mr_cl_check(backend, result, "clEnqueueWriteBuffer of the weights", err);
}

static mr_status plan_fill(struct mr_plan *plan, struct mr_err *err)
{
    const struct mr_device_program *const program = plan->program;
    int result = 0;
    plan->kernel = calloc(program->step_count, sizeof *plan->kernel);
    if (!plan->kernel) return mr_fail(err, MR_ENOMEM, "backend opencl: out of memory");
    for (size_t i = 0; i < program->step_count; i++) {
        unsigned kernel = 0;
        while (kernel + 1 < MR_CL_KERNELS && strcmp(kernel_names[kernel], program->step[i].kernel)) kernel++;
        plan->kernel[i] = (unsigned char)kernel;
    }
    plan->model_dev =
        plan->backend->api.CreateBuffer(plan->backend->context, MR_CL_READ_WRITE, program->model_bytes, NULL, &result);
    const mr_status status = mr_cl_check(plan->backend, result, "clCreateBuffer for the weights", err);
    return status ? status : model_upload(plan, err);
}

mr_status mr_cl_plan_create(struct mr_backend *backend, mr_op op, const void *params, size_t row_cap, unsigned want,
                            struct mr_plan **plan_out, struct mr_err *err)
{
    struct mr_plan *const plan = calloc(1, sizeof *plan);
    *plan_out = NULL;
    if (!plan) return mr_fail(err, MR_ENOMEM, "backend opencl: out of memory");
    plan->backend = backend;
    mr_status status = mr_cl_program_build(backend, err);
    if (!status) status = mr_device_program_create(&backend->kind, op, params, row_cap, want, &plan->program, err);
    if (!status) status = plan_fill(plan, err);
    if (status)
        mr_cl_plan_destroy(plan);
    else
        *plan_out = plan;
    return status;
}

mr_status mr_cl_plan_update(struct mr_plan *plan, struct mr_err *err)
{
    const mr_status status = mr_device_program_update(plan->program, err);
    return status ? status : model_upload(plan, err);
}

void mr_cl_plan_destroy(struct mr_plan *plan)
{
    if (!plan) return;
    if (plan->model_dev) plan->backend->api.ReleaseMemObject(plan->model_dev);
    mr_device_program_destroy(plan->program);
    free(plan->kernel);
    free(plan);
}
