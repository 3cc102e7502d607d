/** What the files of the graph model share. Inside of this folder. */
#ifndef MR_GRAPH_MODEL_H
#define MR_GRAPH_MODEL_H

#include "kernels/graph_forward/graph_forward.h"
#include "modelfile/model_file.h"

#define MR_GRAPH_TOP_MAX     4096 /* columns that a top is taken of: its time grows with their square at worst */
#define MR_GRAPH_COLUMNS_MAX ((size_t)1 << 16) /* of one value, and of the workspace: 16 MiB a thread */

struct mr_model {
    struct mr_model_meta meta;
    struct mr_model_info info;
    struct mr_graph_params params;
    struct mr_graph_step *step; /* [params.step_count]; what they point to is theirs */
    /* Value 0 is the features, value i what step i - 1 gives. */
    size_t y_value, of_value; /* of_value SIZE_MAX: no classes */
    uint32_t *operand;        /* [params.step_count][2], values; the second UINT32_MAX: there is none */
};

/** Reads steps, weights and outputs of a file, with every width and number checked. MR_EDATA names step and reason; on
 * any error the caller closes the model. */
mr_status mr_graph_read(const struct mr_safetensors *file, struct mr_model *model, struct mr_err *err);

/** Gives each value its columns, so that what is not needed any more makes room. False: more than
 * MR_GRAPH_COLUMNS_MAX. MR_ENOMEM; MR_EDATA. */
mr_status mr_graph_place(const char *name, struct mr_model *model, struct mr_err *err);

#endif
