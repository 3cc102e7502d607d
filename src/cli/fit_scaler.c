/* millrace fit scaler: mean and variance of each feature, in one pass over DATA, which need not fit into memory. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli/fit.h"
#include "learn/standard.h"

static mr_status blocks_add(struct fit *fit, struct mr_standard *standard, struct mr_err *err)
{
    struct mr_block block;
    mr_status status;
    while (!(status = mr_table_next(fit->table, &block, err))) {
        mr_standard_add_rows(standard, block.x, block.rows);
        if (atomic_load(&mr_fit_is_stopped)) return MR_OK;
    }
    return status == MR_END ? MR_OK : status;
}

static mr_status scaler_write(struct fit *fit, const struct mr_standard *standard, struct mr_err *err)
{
    const size_t cols = standard->cols;
    double *const variance = calloc(cols + 1, sizeof *variance);
    if (!variance) return mr_fail(err, MR_ENOMEM, "out of memory");
    if (!fit->options->json) printf("%-24s  %14s  %14s\n", "feature", "mean", "deviation");
    for (size_t c = 0; c < cols; c++) {
        variance[c] = standard->squares[c] / standard->count;
        if (!fit->options->json)
            printf("%-24s  %14.6g  %14.6g%s\n", fit->feature ? fit->feature[c] : "", standard->mean[c],
                   sqrt(variance[c]), variance[c] > 0 ? "" : "  constant: stays as it is");
    }
    const struct mr_tensor_out tensors[] = {{.name = "mean", .rank = 1, .shape = {cols}, .f64 = standard->mean},
                                            {.name = "variance", .rank = 1, .shape = {cols}, .f64 = variance},
                                            {.name = "squares", .rank = 1, .shape = {cols}, .f64 = standard->squares},
                                            {.name = "count", .rank = 1, .shape = {1}, .f64 = &standard->count}};
    const struct fit_model model = {.type = "scaler", .tensor = tensors, .tensor_count = 4};
    const mr_status status = fit_save(fit, &model, err);
    free(variance);
    return status;
}

static mr_status scaler_run(struct fit *fit, struct mr_err *err)
{
    struct mr_standard standard;
    mr_status status = mr_standard_init(&standard, fit->matrix.cols) ? blocks_add(fit, &standard, err)
                                                                     : mr_fail(err, MR_ENOMEM, "out of memory");
    if (!status && !(standard.count > 0))
        status = mr_fail(err, MR_EDATA, "%s: there are no rows", mr_table_path(fit->table));
    if (!status && !mr_standard_fits(&standard))
        status = mr_fail(err, MR_EDATA, "%s: mean or variance of a feature is beyond float32: scale it",
                         mr_table_path(fit->table));
    if (!status) {
        fit_data(fit, (size_t)standard.count);
        status = scaler_write(fit, &standard, err);
    }
    mr_standard_deinit(&standard);
    return status;
}

const struct fit_kind fit_scaler = {.name = "scaler", .label = MR_LABEL_NONE, .streams = true, .run = scaler_run};
