/* An A/B test as a model file, which is all its state. */
#include <cjson/cJSON.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/abtest/abtest.h"

enum { COUNTS = 4 }; /* of the tensor "counts": batches, rows held, rows unknown, batches in the window */

/* The window's batches, oldest first, then all sums: each an array of counts, of means, and of squares. */
static void sums_spread(const struct mr_model *model, double *count, double *mean, double *squares)
{
    const size_t arms = model->plan.rule.arms, window = model->plan.window;
    for (size_t i = 0; i <= model->window_count; i++) {
        const size_t from = window ? (model->window_next + window - model->window_count + i) % window : 0;
        const bool is_all = i == model->window_count;
        const struct mr_arm *const sums = is_all ? model->all : model->window + from * arms;
        const size_t to = (is_all ? window : i) * arms;
        for (size_t k = 0; k < arms; k++) {
            count[to + k] = sums[k].count;
            mean[to + k] = sums[k].mean;
            squares[to + k] = sums[k].squares;
        }
    }
}

mr_status mr_abtest_store(const struct mr_model *model, struct mr_blob *out, struct mr_err *err)
{
    const size_t arms = model->plan.rule.arms, lines = model->plan.window + 1, size = lines * arms;
    double *const sums = calloc(3 * size, sizeof *sums);
    char *const plan = mr_abtest_plan_print(&model->plan);
    const double counts[COUNTS] = {model->batches, model->held, model->unknown, (double)model->window_count};
    const struct mr_metadata_out more = {"millrace.abtest", plan};
    mr_status status = sums && plan ? MR_OK : mr_fail(err, MR_ENOMEM, "model abtest: out of memory");
    if (!status) {
        const struct mr_tensor_out tensors[] = {
            {.name = "count", .rank = 2, .shape = {lines, arms}, .f64 = sums},
            {.name = "mean", .rank = 2, .shape = {lines, arms}, .f64 = sums + size},
            {.name = "squares", .rank = 2, .shape = {lines, arms}, .f64 = sums + 2 * size},
            {.name = "counts", .rank = 1, .shape = {COUNTS}, .f64 = counts},
            {.name = "mismatch_told", .rank = 1, .shape = {1}, .f64 = &model->mismatch_told}};
        sums_spread(model, sums, sums + size, sums + 2 * size);
        status = mr_model_store_with(&model->info, NULL, tensors, 5, &more, 1, out, err);
    }
    cJSON_free(plan);
    free(sums);
    return status;
}

/* One line of the tensors; false: no sums of values. */
static bool line_read(const struct mr_tensor *const *tensor, uint64_t line, size_t arms, struct mr_arm *to)
{
    for (size_t k = 0; k < arms; k++) {
        to[k] =
            (struct mr_arm){mr_tensor_value(tensor[0], line * arms + k), mr_tensor_value(tensor[1], line * arms + k),
                            mr_tensor_value(tensor[2], line * arms + k)};
        if (!(to[k].count >= 0) || to[k].count != floor(to[k].count) || !(to[k].squares >= 0)) return false;
    }
    return true;
}

mr_status mr_abtest_sums_read(struct mr_model *model, const struct mr_safetensors *file, struct mr_err *err)
{
    static const char *const names[] = {"count", "mean", "squares"};
    const size_t arms = model->plan.rule.arms, window = model->plan.window;
    const struct mr_tensor *tensor[3], *counts, *told;
    mr_status status = mr_model_tensor(file, "counts", 1, COUNTS, &counts, err);
    if (!status) status = mr_model_tensor(file, "mismatch_told", 1, 1, &told, err);
    for (size_t i = 0; i < 3 && !status; i++) status = mr_model_tensor(file, names[i], 2, 0, &tensor[i], err);
    if (status) return status;
    const uint64_t lines = tensor[0]->shape[0];
    const double there = mr_tensor_value(counts, 3);
    bool is_whole = lines && there >= 0 && there < (double)lines && there == floor(there);
    for (size_t i = 0; i < 3; i++) is_whole &= tensor[i]->shape[0] == lines && tensor[i]->shape[1] == arms;
    if (is_whole) is_whole = line_read(tensor, lines - 1, arms, model->all);
    /* Of a longer window than this job's, the newest batches. */
    const uint64_t old = is_whole ? (uint64_t)there : 0, first = old > window ? old - window : 0;
    for (uint64_t line = first; line < old && is_whole; line++, model->window_count++)
        is_whole = line_read(tensor, line, arms, model->window + model->window_count * arms);
    if (!is_whole)
        return mr_fail(
            err, MR_EDATA,
            "model \"%s\": tensors count, mean and squares are no sums of %zu arms, a line for each batch of "
            "the window and one for all",
            mr_safetensors_name(file), arms);
    model->window_next = window ? model->window_count % window : 0;
    model->batches = mr_tensor_value(counts, 0);
    model->held = mr_tensor_value(counts, 1);
    model->unknown = mr_tensor_value(counts, 2);
    model->mismatch_told = mr_tensor_value(told, 0);
    return MR_OK;
}
