#include "metrics/summary_scoring.h"

#include <stdlib.h>
#include <string.h>

#include "metrics/found.h"
#include "metrics/summary_labels.h"

/* "1,234,567" into out. */
const char *mr_grouped(uint64_t value, char out[32])
{
    char digits[24];
    const int count = snprintf(digits, sizeof digits, "%llu", (unsigned long long)value);
    char *to = out;
    for (int i = 0; i < count; i++) {
        if (i && (count - i) % 3 == 0) *to++ = ',';
        *to++ = digits[i];
    }
    *to = '\0';
    return out;
}

/* The same measure for all models, one below the other. */
static void losses_print(FILE *out, const struct mr_run *run)
{
    for (size_t i = 0; i < run->models.count; i++) {
        const struct mr_model_at_work *const model = &run->models.item[i];
        const uint64_t rows = atomic_load(&model->losses.rows);
        char text[32];
        const bool has_classes = model->judged == MR_JUDGED_CLASSES;
        const uint64_t unfit = atomic_load(&model->losses.unfit);
        if (unfit)
            fprintf(out, "  not judged %11s labelled rows: %s, %s\n", mr_grouped(unfit, text), model->job->name,
                    has_classes ? "the label is no class of the model, or the prediction no number"
                                : "the error is not finite");
        if (!rows) continue;
        fprintf(out, "  predicted %12s labelled rows: %s, %s %.5g, last batch %.5g", mr_grouped(rows, text),
                model->job->name, has_classes ? "log loss" : "mean squared error",
                atomic_load(&model->losses.loss) / (double)rows, atomic_load(&model->losses.loss_batch));
        if (has_classes)
            fprintf(out, ", %.2f %% right", 100 * (double)atomic_load(&model->losses.right) / (double)rows);
        fputc('\n', out);
    }
}

static void losses_add(cJSON *item, const struct mr_model_at_work *model)
{
    const uint64_t rows = atomic_load(&model->losses.rows);
    const bool has_classes = model->judged == MR_JUDGED_CLASSES;
    cJSON_AddNumberToObject(item, "rows_labelled", (double)rows);
    cJSON_AddNumberToObject(item, "rows_not_judged", (double)atomic_load(&model->losses.unfit));
    if (!rows) return;
    cJSON_AddNumberToObject(item, has_classes ? "log_loss" : "squared_error",
                            atomic_load(&model->losses.loss) / (double)rows);
    cJSON_AddNumberToObject(item, has_classes ? "log_loss_batch" : "squared_error_batch",
                            atomic_load(&model->losses.loss_batch));
    if (has_classes)
        cJSON_AddNumberToObject(item, "accuracy", (double)atomic_load(&model->losses.right) / (double)rows);
}

static void learned_add(cJSON *item, const struct mr_model_at_work *model)
{
    const uint64_t rows = atomic_load(&model->stats.rows);
    cJSON_AddNumberToObject(item, "rows_learned", (double)rows);
    cJSON_AddNumberToObject(item, "batches_learned", (double)atomic_load(&model->stats.batches));
    cJSON_AddNumberToObject(item, "updates_undone", (double)atomic_load(&model->stats.undone));
    if (!rows || !model->learn->has_loss) return;
    cJSON_AddNumberToObject(item, "loss", atomic_load(&model->stats.loss) / (double)rows);
    cJSON_AddNumberToObject(item, "loss_batch", atomic_load(&model->stats.loss_batch));
}

/* What models have found, a line each. */
static void found_print(FILE *out, const struct mr_run *run)
{
    for (size_t i = 0; i < run->models.count; i++) {
        struct mr_model_at_work *const model = &run->models.item[i];
        char text[MR_FOUND_BYTES];
        double *const values = calloc(model->info->width + 1, sizeof *values);
        const bool is_found = values && mr_model_found(model, text, values);
        free(values);
        for (char *rest = text, *line; is_found && (line = strsep(&rest, "\n")) && *line;)
            fprintf(out, "  found     %s: %s\n", model->job->name, line);
    }
}

static void found_add(cJSON *item, struct mr_model_at_work *model)
{
    char text[MR_FOUND_BYTES];
    double *const values = calloc(model->info->width + 1, sizeof *values);
    if (values && mr_model_found(model, text, values)) mr_found_add(item, model->info, text, values);
    free(values);
}

/* What each model has learned: the loss is that of predictions made before the model saw the row. */
static void models_print(FILE *out, const struct mr_run *run)
{
    for (size_t i = 0; i < run->models.count; i++) {
        const struct mr_model_at_work *const model = &run->models.item[i];
        const struct mr_learn_stats *const stats = &model->stats;
        char text[2][32];
        struct mr_err why;
        if (!model->learn && model->job->topic)
            fprintf(out, "  followed  version %s of %s, %s taken while it scored\n",
                    mr_grouped(atomic_load(&model->version), text[0]), model->job->name,
                    mr_grouped(atomic_load(&model->swaps), text[1]));
        if (mr_follow_is_still(run->follow, i, &why)) fprintf(out, "  stands still at this version: %s\n", why.text);
        if (!model->learn) continue;
        const uint64_t rows = atomic_load(&stats->rows), undone = atomic_load(&stats->undone);
        fprintf(out, "  learned   %12s rows in %s batches: %s", mr_grouped(rows, text[0]),
                mr_grouped(atomic_load(&stats->batches), text[1]), model->job->name);
        if (rows && model->learn->has_loss)
            fprintf(out, ", mean loss before learning %.5g, last batch %.5g", atomic_load(&stats->loss) / (double)rows,
                    atomic_load(&stats->loss_batch));
        if (undone) fprintf(out, "; %s updates diverged and were undone", mr_grouped(undone, text[0]));
        fputc('\n', out);
    }
}

static void models_add(cJSON *root, const struct mr_run *run)
{
    const bool is_any = run->models.learns || run->models.is_judged || run->follow;
    cJSON *const models = is_any ? cJSON_AddArrayToObject(root, "models") : NULL;
    for (size_t i = 0; models && i < run->models.count; i++) {
        struct mr_model_at_work *const model = &run->models.item[i];
        if (!model->learn && model->judged == MR_JUDGED_NOT && !model->job->topic) continue;
        cJSON *const item = cJSON_CreateObject();
        cJSON_AddItemToArray(models, item);
        cJSON_AddStringToObject(item, "name", model->job->name);
        if (model->judged != MR_JUDGED_NOT) losses_add(item, model);
        if (model->learn) learned_add(item, model);
        if (model->learn || model->job->topic)
            cJSON_AddNumberToObject(item, "version", (double)atomic_load(&model->version));
        found_add(item, model);
        if (!model->learn && model->job->topic)
            cJSON_AddNumberToObject(item, "versions_taken", (double)atomic_load(&model->swaps));
        struct mr_err why;
        if (mr_follow_is_still(run->follow, i, &why)) cJSON_AddStringToObject(item, "stands_still", why.text);
    }
}

/* How many batches each unit scored, when there is more than the CPU. */
static void units_print(FILE *out, const struct mr_run *run)
{
    for (size_t i = 0; i < run->units.count && run->units.count > 1; i++) {
        const struct mr_unit *const unit = &run->units.unit[i];
        const uint64_t batches = atomic_load(&unit->batches);
        char text[32];
        if (!batches && !atomic_load(&unit->is_left)) continue;
        fprintf(out, "  scored    %12s batches on %s%s\n", mr_grouped(batches, text),
                unit->ops->describe(unit->backend), atomic_load(&unit->is_left) ? ", which was left: see the log" : "");
    }
}

static void units_add(cJSON *root, const struct mr_run *run)
{
    cJSON *const units = run->units.count > 1 ? cJSON_AddArrayToObject(root, "backends") : NULL;
    for (size_t i = 0; units && i < run->units.count; i++) {
        const struct mr_unit *const unit = &run->units.unit[i];
        cJSON *const item = cJSON_CreateObject();
        cJSON_AddItemToArray(units, item);
        cJSON_AddStringToObject(item, "name", unit->ops->describe(unit->backend));
        cJSON_AddNumberToObject(item, "batches", (double)atomic_load(&unit->batches));
        cJSON_AddBoolToObject(item, "is_left", atomic_load(&unit->is_left));
    }
}

/* What fewer bits cost. */
static void precision_print(FILE *out, const struct mr_run *run)
{
    for (size_t i = 0; i < run->models.count; i++) {
        const struct mr_model_at_work *const model = &run->models.item[i];
        const struct mr_precision_stats *const stats = &model->precision;
        char text[2][32];
        if (!model->reduced.name || !atomic_load(&stats->rows)) continue;
        fprintf(out, "  compared  %12s rows of %s in %s with fp32: largest error %.2g, %s classes differ%s\n",
                mr_grouped(atomic_load(&stats->rows), text[0]), model->job->name, model->reduced.name,
                atomic_load(&stats->error_max), mr_grouped(atomic_load(&stats->classes), text[1]),
                atomic_load(&stats->is_refused) ? "; refused: past precision_tolerance, it went on in fp32" : "");
    }
}

static void precision_add(cJSON *root, const struct mr_run *run)
{
    cJSON *all = NULL;
    for (size_t i = 0; i < run->models.count; i++) {
        const struct mr_model_at_work *const model = &run->models.item[i];
        if (!model->reduced.name) continue;
        if (!all) all = cJSON_AddArrayToObject(root, "precision");
        cJSON *const item = cJSON_CreateObject();
        cJSON_AddItemToArray(all, item);
        cJSON_AddStringToObject(item, "name", model->job->name);
        cJSON_AddStringToObject(item, "precision", model->reduced.name);
        cJSON_AddNumberToObject(item, "rows", (double)atomic_load(&model->precision.rows));
        cJSON_AddNumberToObject(item, "error_max", atomic_load(&model->precision.error_max));
        cJSON_AddNumberToObject(item, "classes_differ", (double)atomic_load(&model->precision.classes));
        cJSON_AddNumberToObject(item, "tolerance", model->reduced.tolerance);
        cJSON_AddBoolToObject(item, "is_refused", atomic_load(&model->precision.is_refused));
    }
}

static void check_print(FILE *out, const struct mr_run *run)
{
    const uint64_t batches = atomic_load(&run->check_stats.batches);
    char text[2][32];
    if (!batches) return;
    fprintf(out, "  checked   %12s rows of %s batches on the reference: largest error %.2g\n",
            mr_grouped(atomic_load(&run->check_stats.rows), text[0]), mr_grouped(batches, text[1]),
            atomic_load(&run->check_stats.error_max));
}

static void check_add(cJSON *root, const struct mr_run *run)
{
    if (!(run->job->cross_check > 0)) return;
    cJSON *const check = cJSON_AddObjectToObject(root, "cross_check");
    cJSON_AddNumberToObject(check, "batches", (double)atomic_load(&run->check_stats.batches));
    cJSON_AddNumberToObject(check, "rows", (double)atomic_load(&run->check_stats.rows));
    cJSON_AddNumberToObject(check, "error_max", atomic_load(&run->check_stats.error_max));
    cJSON_AddNumberToObject(check, "tolerance", run->job->cross_check_tolerance);
}

void mr_scoring_print(FILE *out, const struct mr_run *run)
{
    mr_labels_print(out, run);
    losses_print(out, run);
    models_print(out, run);
    found_print(out, run);
    units_print(out, run);
    precision_print(out, run);
    check_print(out, run);
}

void mr_scoring_add(cJSON *root, const struct mr_run *run)
{
    mr_labels_add(root, run);
    models_add(root, run);
    units_add(root, run);
    precision_add(root, run);
    check_add(root, run);
}
