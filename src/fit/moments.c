#include "fit/moments.h"

#include <stdlib.h>

#include "kernels/moments/moments.h"
#include "millrace/batch.h"

mr_status mr_rows_moments(struct mr_crew *crew, const float *x, size_t rows, struct mr_standard *standard,
                          struct mr_err *err)
{
    const size_t cols = standard->cols;
    float *const near = malloc((2 * cols + 1) * sizeof *near);
    const struct mr_scale_params params = {.cols = cols, .shift = near, .scale = near ? near + cols : NULL};
    double *const sums = malloc((mr_moments_count(&params) + 1) * sizeof *sums);
    struct mr_plan *plan = NULL;
    mr_status status = near && sums ? MR_OK : mr_fail(err, MR_ENOMEM, "out of memory");
    for (size_t c = 0; c < cols && !status; c++) {
        near[c] = x[mr_tile_at(0, c, cols)]; /* any value of it keeps the digits of the variance */
        near[cols + c] = 1;
    }
    if (!status) status = mr_crew_plan_create(crew, MR_OP_MOMENTS, &params, cols, 0, &plan, err);
    const struct mr_pass pass = {
        .x = x, .rows = rows, .cols = cols, .sum = plan, .sum_count = mr_moments_count(&params)};
    if (!status) status = mr_crew_pass(crew, &pass, sums, err);
    if (!status) mr_standard_add(standard, near, sums, (double)rows);
    if (!status) mr_standard_refresh(standard);
    mr_crew_plan_destroy(crew, plan);
    free(near);
    free(sums);
    return status;
}
