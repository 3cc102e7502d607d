/* What `millrace eval` found, for people and for programs. */
#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/term.h"
#include "cli/eval.h"

#define SHOWN_CLASSES 20 /* of the matrix, in text */
#define SHOWN_NAME    12

/* ---- text ---- */

static void line_print(const char *name, double value, const char *meaning)
{
    if (isnan(value))
        printf("  %-20s %12s  %s\n", name, "-", meaning);
    else
        printf("  %-20s %12.6g  %s\n", name, value, meaning);
}

/* Cut to its column, without what a terminal would obey. */
static void name_print(const char *name, bool is_left)
{
    char shown[SHOWN_NAME + 1];
    size_t used = 0;
    for (; *name && used < SHOWN_NAME; name++)
        shown[used++] = (unsigned char)*name < 0x20 || *name == 0x7f ? '?' : *name;
    shown[used] = '\0';
    printf(is_left ? "  %-*s" : " %*s", SHOWN_NAME, shown);
}

static void share_print(double value)
{
    if (isnan(value))
        printf(" %9s", "-");
    else
        printf(" %9.4f", value);
}

static void matrix_print(const struct eval_result *result)
{
    const struct mr_model_info *const info = result->info;
    const size_t count = info->class_count;
    char text[EVAL_NAME_BYTES];
    printf("\n  rows by label (down) and prediction (across)\n  %-*s", SHOWN_NAME, "");
    for (size_t k = 0; k < count; k++) name_print(mr_eval_class_name(info, k, text), false);
    putchar('\n');
    for (size_t k = 0; k < count; k++) {
        name_print(mr_eval_class_name(info, k, text), true);
        for (size_t other = 0; other < count; other++)
            printf(" %*llu", SHOWN_NAME, (unsigned long long)result->classes.confusion[k * count + other]);
        putchar('\n');
    }
}

static void per_class_print(const struct eval_result *result)
{
    const size_t count = result->info->class_count;
    char text[EVAL_NAME_BYTES];
    printf("\n  %-*s %9s %9s %9s %9s %12s\n", SHOWN_NAME, "class", "precision", "recall", "F1", "AUC", "rows");
    for (size_t k = 0; k < count && k < SHOWN_CLASSES; k++) {
        const struct mr_class_metric *const metric = &result->class_metric[k];
        name_print(mr_eval_class_name(result->info, k, text), true);
        share_print(metric->precision);
        share_print(metric->recall);
        share_print(metric->f1);
        share_print(metric->auc);
        printf(" %12llu\n", (unsigned long long)metric->rows);
    }
    if (count > SHOWN_CLASSES) printf("  and %zu more classes: --json has all\n", count - SHOWN_CLASSES);
}

static void bins_print(const struct eval_result *result)
{
    printf("\n  %-*s %9s %9s %12s   (%s)\n", SHOWN_NAME, "probability", "mean", "is so", "rows",
           result->info->class_count == 2 ? "of the second class" : "of the class that is predicted");
    for (size_t bin = 0; bin < MR_BIN_COUNT; bin++) {
        const struct mr_bin *const at = &result->classes.bin[bin];
        if (!at->rows) continue;
        printf("  %.1f to %.1f  ", (double)bin / MR_BIN_COUNT, (double)(bin + 1) / MR_BIN_COUNT);
        share_print(at->probability / (double)at->rows);
        share_print((double)at->hits / (double)at->rows);
        printf(" %12llu\n", (unsigned long long)at->rows);
    }
}

static void probabilities_print(const struct mr_class_metrics *metrics, bool is_binary)
{
    line_print("log loss", metrics->log_loss, "nats a row");
    if (is_binary) line_print("Brier score", metrics->brier, "mean squared error of the probability");
    line_print("AUC", metrics->auc, is_binary ? "area under the ROC curve" : "mean of each class against the rest");
    line_print("calibration error", metrics->calibration_error, "probability and share apart, mean over the rows");
}

static void classes_print(const struct eval_result *result)
{
    const struct mr_class_metrics *const metrics = &result->class_metrics;
    const bool is_binary = result->info->class_count == 2;
    line_print("accuracy", metrics->accuracy, "share of the rows whose class is right");
    line_print("balanced accuracy", metrics->balanced_accuracy, "mean of the classes' shares");
    line_print("macro F1", metrics->macro_f1, "mean of the classes' F1");
    if (result->classes.has_probability)
        probabilities_print(metrics, is_binary);
    else
        puts("  no log loss, AUC or calibration: its outputs are no probabilities (it ends in no softmax and no "
             "sigmoid)");
    if (result->classes.has_probability && !result->classes.keeps)
        puts("  No AUC: more scores than are kept for it (1 GiB).");
    if (result->info->class_count <= SHOWN_CLASSES) matrix_print(result);
    per_class_print(result);
    if (result->classes.has_probability) bins_print(result);
}

static void numbers_print(const struct eval_result *result)
{
    const struct mr_number_metrics *const metrics = &result->number_metrics;
    line_print("RMSE", metrics->rmse, "in the label's unit");
    line_print("MAE", metrics->mae, "in the label's unit");
    line_print("MSE", metrics->mse, "in the label's unit, squared");
    line_print("R2", metrics->r2, "share of the labels' variance that is explained");
    line_print("mean error", metrics->bias, "prediction - label, in the label's unit");
    line_print("largest error", metrics->error_max, "in the label's unit");
}

static void ratings_print(const struct eval_result *result)
{
    const struct mr_rank_metrics *const metrics = &result->rank_metrics;
    char text[96];
    numbers_print(result);
    snprintf(text, sizeof text, "of %zu items a user, how many of those recommended are liked", result->top);
    line_print("precision at N", metrics->precision, text);
    line_print("recall at N", metrics->recall, "how many of those that are liked are recommended");
    printf(
        "  %llu users; an item is liked from %g on; %llu rows of users that the model does not know are in no list\n",
        (unsigned long long)metrics->users, result->relevant, (unsigned long long)result->strangers);
}

static void clusters_print(const struct eval_result *result)
{
    char text[EVAL_NAME_BYTES];
    line_print("inertia", result->inertia, "sum of squared distances to the nearest centre");
    line_print("mean distance^2", result->inertia / (double)result->rows, "the same a row");
    printf("\n  %-*s %12s %9s\n", SHOWN_NAME, "centre", "rows", "share");
    for (size_t k = 0; k < result->info->class_count; k++) {
        name_print(mr_eval_class_name(result->info, k, text), true);
        printf(" %12llu", (unsigned long long)result->cluster_rows[k]);
        share_print((double)result->cluster_rows[k] / (double)result->rows);
        putchar('\n');
    }
}

static void left_out_print(uint64_t count, const char *why)
{
    if (count) printf("  %llu row%s left out: %s\n", (unsigned long long)count, count == 1 ? "" : "s", why);
}

void mr_eval_print(const struct eval_result *result)
{
    printf("%s%s%s on %s: %llu rows\n", mr_term_style(1, MR_STYLE_BOLD), result->model,
           mr_term_style(1, MR_STYLE_PLAIN), result->data, (unsigned long long)result->rows);
    left_out_print(result->skipped, "they could not be read");
    left_out_print(result->unknown, "the model has no class of that name");
    left_out_print(result->unfit, "the model gives no number for them");
    if (result->kind == EVAL_CLASSES) classes_print(result);
    if (result->kind == EVAL_NUMBERS) numbers_print(result);
    if (result->kind == EVAL_CLUSTERS) clusters_print(result);
    if (result->kind == EVAL_RATINGS) ratings_print(result);
}

/* ---- JSON ---- */

static void number_add(cJSON *object, const char *key, double value)
{
    if (isfinite(value))
        cJSON_AddNumberToObject(object, key, value);
    else
        cJSON_AddNullToObject(object, key);
}

static void classes_add(cJSON *root, const struct eval_result *result)
{
    const struct mr_class_metrics *const metrics = &result->class_metrics;
    const size_t count = result->info->class_count;
    char text[EVAL_NAME_BYTES];
    cJSON *const object = cJSON_AddObjectToObject(root, "metrics");
    number_add(object, "accuracy", metrics->accuracy);
    number_add(object, "balanced_accuracy", metrics->balanced_accuracy);
    number_add(object, "macro_f1", metrics->macro_f1);
    number_add(object, "log_loss", metrics->log_loss);
    if (count == 2) number_add(object, "brier", metrics->brier);
    number_add(object, "auc", metrics->auc);
    number_add(object, "calibration_error", metrics->calibration_error);
    cJSON *const classes = cJSON_AddArrayToObject(root, "classes");
    cJSON *const matrix = cJSON_AddArrayToObject(root, "confusion");
    for (size_t k = 0; k < count; k++) {
        const struct mr_class_metric *const metric = &result->class_metric[k];
        cJSON *const item = cJSON_CreateObject(), *const row = cJSON_CreateArray();
        cJSON_AddStringToObject(item, "name", mr_eval_class_name(result->info, k, text));
        cJSON_AddNumberToObject(item, "rows", (double)metric->rows);
        number_add(item, "precision", metric->precision);
        number_add(item, "recall", metric->recall);
        number_add(item, "f1", metric->f1);
        number_add(item, "auc", metric->auc);
        cJSON_AddItemToArray(classes, item);
        for (size_t other = 0; other < count; other++)
            cJSON_AddItemToArray(row, cJSON_CreateNumber((double)result->classes.confusion[k * count + other]));
        cJSON_AddItemToArray(matrix, row);
    }
    cJSON *const bins = cJSON_AddArrayToObject(root, "calibration");
    for (size_t bin = 0; bin < MR_BIN_COUNT && result->classes.has_probability; bin++) {
        const struct mr_bin *const at = &result->classes.bin[bin];
        cJSON *const item = cJSON_CreateObject();
        cJSON_AddNumberToObject(item, "from", (double)bin / MR_BIN_COUNT);
        cJSON_AddNumberToObject(item, "to", (double)(bin + 1) / MR_BIN_COUNT);
        cJSON_AddNumberToObject(item, "rows", (double)at->rows);
        number_add(item, "probability", at->rows ? at->probability / (double)at->rows : NAN);
        number_add(item, "share", at->rows ? (double)at->hits / (double)at->rows : NAN);
        cJSON_AddItemToArray(bins, item);
    }
}

static cJSON *numbers_add(cJSON *root, const struct mr_number_metrics *metrics)
{
    cJSON *const object = cJSON_AddObjectToObject(root, "metrics");
    number_add(object, "rmse", metrics->rmse);
    number_add(object, "mae", metrics->mae);
    number_add(object, "mse", metrics->mse);
    number_add(object, "r2", metrics->r2);
    number_add(object, "mean_error", metrics->bias);
    number_add(object, "error_max", metrics->error_max);
    return object;
}

static void ratings_add(cJSON *root, const struct eval_result *result)
{
    cJSON *const object = numbers_add(root, &result->number_metrics);
    number_add(object, "precision", result->rank_metrics.precision);
    number_add(object, "recall", result->rank_metrics.recall);
    cJSON_AddNumberToObject(root, "top", (double)result->top);
    cJSON_AddNumberToObject(root, "relevant", result->relevant);
    cJSON_AddNumberToObject(root, "users", (double)result->rank_metrics.users);
    cJSON_AddNumberToObject(root, "unknown_users", (double)result->strangers);
}

static void clusters_add(cJSON *root, const struct eval_result *result)
{
    cJSON *const object = cJSON_AddObjectToObject(root, "metrics");
    number_add(object, "inertia", result->inertia);
    number_add(object, "mean_squared_distance", result->inertia / (double)result->rows);
    cJSON *const sizes = cJSON_AddArrayToObject(root, "sizes");
    for (size_t k = 0; k < result->info->class_count; k++)
        cJSON_AddItemToArray(sizes, cJSON_CreateNumber((double)result->cluster_rows[k]));
}

mr_status mr_eval_print_json(const struct eval_result *result, struct mr_err *err)
{
    cJSON *const root = cJSON_CreateObject();
    cJSON_AddStringToObject(root, "model", result->model);
    cJSON_AddStringToObject(root, "type", result->info->type);
    cJSON_AddStringToObject(root, "data", result->data);
    cJSON_AddStringToObject(root, "backend", result->backend);
    cJSON_AddNumberToObject(root, "rows", (double)result->rows);
    cJSON_AddNumberToObject(root, "bad", (double)result->skipped);
    cJSON_AddNumberToObject(root, "unknown_labels", (double)result->unknown);
    cJSON_AddNumberToObject(root, "not_finite", (double)result->unfit);
    if (result->kind == EVAL_CLASSES) classes_add(root, result);
    if (result->kind == EVAL_NUMBERS) numbers_add(root, &result->number_metrics);
    if (result->kind == EVAL_CLUSTERS) clusters_add(root, result);
    if (result->kind == EVAL_RATINGS) ratings_add(root, result);
    cJSON_AddNumberToObject(root, "seconds", result->seconds);
    char *const text = cJSON_PrintUnformatted(root);
    if (text) puts(text);
    free(text);
    cJSON_Delete(root);
    return text ? MR_OK : mr_fail(err, MR_ENOMEM, "out of memory");
}
