/** Which plug-in opens a model file. */
#ifndef MR_MODELFILE_MODEL_TYPE_H
#define MR_MODELFILE_MODEL_TYPE_H

#include "millrace/model.h"

/** The type that the file says it is of. MR_EINPUT; MR_EDATA: it says none, or one that is not known. */
mr_status mr_model_type_find(const char *path, const struct mr_model_ops **ops_out, struct mr_err *err);

#endif
