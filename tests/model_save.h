/** Learning models of tests, stored in files. */
#ifndef MR_TESTS_MODEL_SAVE_H
#define MR_TESTS_MODEL_SAVE_H

#include "base/durable.h"
#include "millrace/model.h"

static inline mr_status model_save(const struct mr_model_ops *ops, const struct mr_model *model, const char *path,
                                   struct mr_err *err)
{
    struct mr_blob blob = {0};
    mr_status status = ops->learn(model)->store(model, &blob, err);
    const struct iovec part = {blob.data, blob.bytes};
    if (!status) status = mr_durable_write(path, &part, 1, err);
    mr_blob_deinit(&blob);
    return status;
}

#endif
