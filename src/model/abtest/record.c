/* Records of a test: their arm and their value, and the sums over a batch of them. */
#include <math.h>
#include <string.h>

#include "base/number.h"
#include "model/abtest/abtest.h"
#include "model/mf/id_text.h"

size_t mr_abtest_read_bytes(void)
{
    return MR_ID_ROOM;
}

mr_reason mr_abtest_read(const struct mr_model *model, const struct mr_text *feature, float *x, void *scratch,
                         size_t *feature_out)
{
    const char *name;
    size_t bytes;
    *feature_out = 0;
    const mr_reason reason = mr_id_text(&feature[0], scratch, &name, &bytes);
    if (reason) return reason;
    const uint32_t arm = name ? mr_intern_find(&model->names, name, bytes) : MR_INTERN_NONE;
    if (arm == MR_INTERN_NONE) return MR_REASON_RANGE;
    x[0] = (float)arm;
    if (model->plan.has_label) return MR_REASON_NONE;
    const struct mr_text *const value = &feature[1];
    *feature_out = 1;
    if (!value->data) return MR_REASON_MISSING;
    const char *const end = value->data + value->bytes;
    if (mr_parse_f32(value->data, end, &x[MR_TILE_ROWS]) != end) return MR_REASON_TYPE;
    return isfinite(x[MR_TILE_ROWS]) ? MR_REASON_NONE : MR_REASON_RANGE;
}

/* The arm of a row, and its value; false: it has none that counts. */
static bool row_get(const struct mr_model *model, const struct mr_learn_batch *batch, size_t row, size_t *arm_out,
                    double *value_out)
{
    const size_t cols = model->info.feature_count;
    const float arm = batch->x[mr_tile_at(row, 0, cols)];
    if (!(arm >= 0) || arm >= (float)model->plan.rule.arms || arm != floorf(arm)) return false;
    *arm_out = (size_t)arm;
    *value_out = model->plan.has_label ? batch->label[row] : (double)batch->x[mr_tile_at(row, 1, cols)];
    return !isnan(*value_out);
}

/* Sums of a batch by arm, in two passes: the mean, then deviations from it, less what rounding left of their sum. */
static double batch_sum(const struct mr_model *model, const struct mr_learn_batch *batch, struct mr_arm *arms)
{
    double rest[MR_AB_ARMS_MAX] = {0}, taken = 0, value;
    size_t arm;
    memset(arms, 0, model->plan.rule.arms * sizeof *arms);
    for (size_t row = 0; row < batch->rows; row++) {
        if (!row_get(model, batch, row, &arm, &value)) continue;
        arms[arm].count++;
        arms[arm].mean += value;
        taken++;
    }
    for (size_t i = 0; i < model->plan.rule.arms; i++)
        if (arms[i].count > 0) arms[i].mean /= arms[i].count;
    for (size_t row = 0; row < batch->rows; row++) {
        if (!row_get(model, batch, row, &arm, &value)) continue;
        const double apart = value - arms[arm].mean;
        arms[arm].squares += apart * apart;
        rest[arm] += apart;
    }
    for (size_t i = 0; i < model->plan.rule.arms; i++)
        if (arms[i].count > 0) arms[i].squares = fmax(arms[i].squares - rest[i] * rest[i] / arms[i].count, 0);
    return taken;
}

/* The sums with a batch; false: they would leave the range of double. */
static bool sums_add(struct mr_model *model, const struct mr_arm *batch)
{
    struct mr_arm all[MR_AB_ARMS_MAX];
    const size_t arms = model->plan.rule.arms;
    memcpy(all, model->all, sizeof all);
    for (size_t i = 0; i < arms; i++) {
        mr_arm_add(&all[i], &batch[i]);
        if (!isfinite(all[i].mean) || !isfinite(all[i].squares)) return false;
    }
    memcpy(model->all, all, sizeof all);
    if (!model->window) return true;
    memcpy(model->window + model->window_next * arms, batch, arms * sizeof *batch);
    model->window_next = (model->window_next + 1) % model->plan.window;
    if (model->window_count < model->plan.window) model->window_count++;
    return true;
}

void mr_abtest_update(struct mr_model *model, const struct mr_learn_batch *batch, struct mr_learn_report *report_out)
{
    struct mr_arm sums[MR_AB_ARMS_MAX];
    const double taken = batch_sum(model, batch, sums);
    const bool is_peace = model->batches < (double)model->plan.peace_period;
    *report_out = (struct mr_learn_report){.rows = is_peace ? 0 : (uint64_t)taken};
    if (!is_peace && taken > 0) report_out->is_undone = !sums_add(model, sums);
    if (report_out->is_undone) return;
    model->batches++;
    model->unknown += (double)batch->rows - taken;
    if (is_peace) model->held += taken;
    mr_abtest_refresh(model);
    mr_abtest_mismatch_warn(model);
}
