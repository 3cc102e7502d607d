#include "modelfile/optimizer_file.h"

#include <limits.h>
#include <math.h>

#include "base/log.h"

#define COUNT_MAX 0x1p53 /* whole numbers that float64 holds */

void mr_optimizer_tensors(const struct mr_optimizer *optimizer, const struct mr_guard *guard,
                          struct mr_optimizer_numbers *numbers, struct mr_tensor_out out[static MR_OPTIMIZER_TENSORS])
{
    *numbers = (struct mr_optimizer_numbers){.updates = (double)optimizer->updates,
                                             .kind = (double)optimizer->options.kind,
                                             .guard = {guard->level, (double)guard->batches, (double)guard->worse}};
    out[0] = (struct mr_tensor_out){.name = "optimizer.z", .rank = 1, .shape = {optimizer->count}, .f64 = optimizer->z};
    out[1] = (struct mr_tensor_out){.name = "optimizer.n", .rank = 1, .shape = {optimizer->count}, .f64 = optimizer->n};
    out[2] = (struct mr_tensor_out){.name = "optimizer.updates", .rank = 1, .shape = {1}, .f64 = &numbers->updates};
    out[3] = (struct mr_tensor_out){.name = "optimizer.kind", .rank = 1, .shape = {1}, .f64 = &numbers->kind};
    out[4] = (struct mr_tensor_out){.name = "optimizer.guard", .rank = 1, .shape = {3}, .f64 = numbers->guard};
}

/* What the guard remembers, where the file says so. */
static mr_status guard_read(struct mr_guard *guard, const struct mr_safetensors *file, struct mr_err *err)
{
    const struct mr_tensor *tensor;
    if (!mr_safetensors_find(file, "optimizer.guard")) return MR_OK;
    const mr_status status = mr_model_tensor(file, "optimizer.guard", 1, 3, &tensor, err);
    if (status) return status;
    const double batches = mr_tensor_value(tensor, 1), worse = mr_tensor_value(tensor, 2);
    if (!(batches >= 0 && batches <= COUNT_MAX && worse >= 0 && worse <= UINT_MAX))
        return mr_fail(err, MR_EDATA, "model \"%s\": tensor \"optimizer.guard\": %g and %g are no counts of batches",
                       mr_safetensors_name(file), batches, worse);
    *guard =
        (struct mr_guard){.level = mr_tensor_value(tensor, 0), .batches = (uint64_t)batches, .worse = (unsigned)worse};
    return MR_OK;
}

mr_status mr_optimizer_read(struct mr_optimizer *optimizer, struct mr_guard *guard, const struct mr_safetensors *file,
                            struct mr_err *err)
{
    const struct mr_tensor *updates, *z, *n, *kind = NULL;
    if (!mr_safetensors_find(file, "optimizer.updates")) return MR_OK;
    mr_status status = mr_model_tensor(file, "optimizer.updates", 1, 1, &updates, err);
    if (!status) status = mr_model_tensor(file, "optimizer.z", 1, optimizer->count, &z, err);
    if (!status) status = mr_model_tensor(file, "optimizer.n", 1, optimizer->count, &n, err);
    if (!status && mr_safetensors_find(file, "optimizer.kind"))
        status = mr_model_tensor(file, "optimizer.kind", 1, 1, &kind, err);
    if (!status) status = guard_read(guard, file, err);
    if (status) return status;
    const double count = mr_tensor_value(updates, 0);
    if (!(count >= 0 && count <= COUNT_MAX))
        return mr_fail(err, MR_EDATA, "model \"%s\": tensor \"optimizer.updates\" is %g: it counts updates, from 0",
                       mr_safetensors_name(file), count);
    if (kind && mr_tensor_value(kind, 0) != (double)optimizer->options.kind) {
        mr_log(MR_LOG_WARN, "learn",
               "%s: it has learned with another schedule: what that kept of past gradients is dropped",
               mr_safetensors_name(file));
        return MR_OK;
    }
    optimizer->updates = (uint64_t)count;
    for (size_t i = 0; i < optimizer->count; i++) {
        optimizer->z[i] = mr_tensor_value(z, i);
        optimizer->n[i] = fmax(mr_tensor_value(n, i), 0);
    }
    return MR_OK;
}
