/** The state of learning by gradients in a model file: optimizer.z, .n, .updates, .kind, and what the guard remembers.
 */
#ifndef MR_MODELFILE_OPTIMIZER_FILE_H
#define MR_MODELFILE_OPTIMIZER_FILE_H

#include "learn/guard.h"
#include "learn/optimizer.h"
#include "modelfile/model_file.h"

/** How many tensors mr_optimizer_tensors writes. */
#define MR_OPTIMIZER_TENSORS 5

/** Numbers that tensors point to. */
struct mr_optimizer_numbers {
    double updates, kind;
    double guard[3]; /* level, batches, worse */
};

/** The tensors of the state; they point into the optimizer and the numbers. */
void mr_optimizer_tensors(const struct mr_optimizer *optimizer, const struct mr_guard *guard,
                          struct mr_optimizer_numbers *numbers, struct mr_tensor_out out[static MR_OPTIMIZER_TENSORS]);

/**
 * Reads the state of a file that has one. That of another schedule is dropped, and the log says so: the numbers mean
 * something else there, and learning goes on from the weights alone. MR_EDATA names the tensor.
 */
mr_status mr_optimizer_read(struct mr_optimizer *optimizer, struct mr_guard *guard, const struct mr_safetensors *file,
                            struct mr_err *err);

#endif
