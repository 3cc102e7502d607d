#include "backend/device/program.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "backend/device/block.h"
#include "kernels/kernels.h"

static void steps_build(struct mr_device_build *build, const struct mr_packed *packed)
{
    switch (build->program->op) {
    case MR_OP_MLP_FORWARD:
    case MR_OP_LINEAR_SCORE:
        mr_build_dense(build, packed);
        break;
    case MR_OP_SCALE:
        mr_build_scale(build, packed);
        break;
    case MR_OP_KMEANS_ASSIGN:
        mr_build_kmeans_assign(build, packed);
        break;
    case MR_OP_LINEAR_SUM:
        mr_build_linear_sum(build, packed);
        break;
    case MR_OP_KMEANS_SUM:
        mr_build_kmeans_sum(build, packed);
        break;
    case MR_OP_MOMENTS:
        mr_build_moments(build, packed);
        break;
    case MR_OP_MLP_GRADIENT:
        mr_build_mlp_gradient(build, packed);
        break;
    case MR_OP_MF_TOPN:
        mr_build_mf_topn(build, packed);
        break;
    case MR_OP_MF_ESTIMATE:
        mr_build_mf_estimate(build, packed);
        break;
    case MR_OP_MLP_BF16:
    case MR_OP_MF_TOPN_BF16:
    case MR_OP_MLP_INT8:      /* by instructions of CPUs */
    case MR_OP_GRAPH_FORWARD: /* steps of a few columns each: a launch for each would cost more than it computes */
    case MR_OP_COUNT:
        break;
    }
}

static mr_status program_build(struct mr_device_build *build, struct mr_err *err)
{
    struct mr_device_program *const program = build->program;
    struct mr_packed *const packed = mr_packed_create(program->op, program->params);
    if (!packed) return mr_fail(err, MR_ENOMEM, "device program: out of memory");
    program->in = packed->in;
    program->width = program->op == MR_OP_KMEANS_ASSIGN || program->op == MR_OP_KMEANS_SUM ? 1 : packed->out;
    program->sum_count = packed->sum_count;
    build->word_count = 16; /* position 0 means that something is not there */
    if (packed->in > UINT32_MAX / MR_TILE_ROWS || packed->width_max > UINT32_MAX / MR_TILE_ROWS ||
        program->row_cap > UINT32_MAX - MR_TILE_ROWS)
        build->is_too_large = true;
    else
        steps_build(build, packed);
    mr_packed_free(packed);
    if (build->is_too_large)
        return mr_fail(err, MR_EBACKEND,
                       "%s with batches of %zu rows is too large for a device: make batch.records_max smaller",
                       mr_op_name(program->op), program->row_cap);
    if (build->is_out_of_memory) return mr_fail(err, MR_ENOMEM, "device program: out of memory");
    if (mr_op_is_special(program->op))
        return mr_fail(err, MR_EBACKEND,
                       "%s does not run on a device: set \"backend\" to \"cpu\" or \"auto\", or \"precision\" to "
                       "\"fp32\"",
                       mr_op_name(program->op));
    if (!program->step_count)
        return mr_fail(err, MR_EBACKEND, "%s does not run on a device: set \"backend\" to \"cpu\" or \"auto\"",
                       mr_op_name(program->op));
    const size_t partial_bytes = mr_device_partial_bytes(program, program->row_cap);
    program->scratch_bytes = (build->scratch_units + 1) * MR_TILE_ROWS * sizeof(float);
    if (program->scratch_bytes < partial_bytes) program->scratch_bytes = partial_bytes;
    return MR_OK;
}

mr_status mr_device_program_create(const struct mr_device_kind *kind, mr_op op, const void *params, size_t row_cap,
                                   unsigned want, struct mr_device_program **program_out, struct mr_err *err)
{
    struct mr_device_build build = {.program = calloc(1, sizeof *build.program)};
    *program_out = NULL;
    if (!build.program) return mr_fail(err, MR_ENOMEM, "device program: out of memory");
    *build.program =
        (struct mr_device_program){.kind = *kind, .op = op, .want = want, .params = params, .row_cap = row_cap};
    const mr_status status = program_build(&build, err);
    if (status)
        mr_device_program_destroy(build.program);
    else
        *program_out = build.program;
    return status;
}

mr_status mr_device_program_update(struct mr_device_program *program, struct mr_err *err)
{
    struct mr_device_program *fresh;
    const mr_status status = mr_device_program_create(&program->kind, program->op, program->params, program->row_cap,
                                                      program->want, &fresh, err);
    if (status) return status;
    uint32_t *const old = program->model;
    program->model = fresh->model;
    fresh->model = old;
    mr_device_program_destroy(fresh);
    return MR_OK;
}

void mr_device_program_destroy(struct mr_device_program *program)
{
    if (!program) return;
    free(program->model);
    free(program->step);
    free(program);
}

static bool is_sum(const struct mr_device_program *program)
{
    return program->sum_count > 0;
}

size_t mr_device_x_bytes(const struct mr_device_program *program, size_t rows)
{
    return mr_tile_count(rows) * program->in * MR_TILE_ROWS * sizeof(float);
}

size_t mr_device_y_bytes(const struct mr_device_program *program, size_t rows)
{
    const bool has = is_sum(program) ? program->op != MR_OP_MOMENTS : (program->want & MR_WANT_Y) != 0;
    return has ? mr_tile_count(rows) * program->width * MR_TILE_ROWS * sizeof(float) : 0;
}

size_t mr_device_class_bytes(const struct mr_device_program *program, size_t rows)
{
    const bool gives_items = program->op == MR_OP_MF_TOPN;
    const unsigned wanted = gives_items ? MR_WANT_ITEMS : program->op == MR_OP_MF_ESTIMATE ? 0 : MR_WANT_CLASS;
    const bool has = is_sum(program) ? program->op == MR_OP_KMEANS_SUM : (program->want & wanted) != 0;
    return has ? mr_tile_count(rows) * (gives_items ? program->width : 1) * MR_TILE_ROWS * sizeof(int32_t) : 0;
}

int32_t *mr_device_class_of(const struct mr_device_program *program, const struct mr_scores *scores)
{
    return program->op == MR_OP_MF_TOPN ? scores->item : scores->class_index;
}

size_t mr_device_label_bytes(const struct mr_device_program *program, size_t rows)
{
    const bool has = program->op == MR_OP_LINEAR_SUM || program->op == MR_OP_MLP_GRADIENT;
    return has ? mr_tile_count(rows) * MR_TILE_ROWS * 2 * sizeof(float) : 0;
}

size_t mr_device_partial_bytes(const struct mr_device_program *program, size_t rows)
{
    if (!program->partial_count) return 0;
    return (rows + program->partial_rows - 1) / program->partial_rows * program->partial_count * sizeof(float);
}

void mr_device_labels_split(const double *label, size_t rows, float *parts)
{
    const size_t tile_rows = mr_tile_count(rows) * MR_TILE_ROWS;
    for (size_t row = 0; row < rows; row++) {
        parts[row] = (float)label[row];
        parts[tile_rows + row] = isfinite(parts[row]) ? (float)(label[row] - (double)parts[row]) : 0;
    }
    for (size_t row = rows; row < tile_rows; row++) {
        parts[row] = NAN;
        parts[tile_rows + row] = 0;
    }
}
