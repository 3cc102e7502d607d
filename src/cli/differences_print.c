#include "cli/differences_print.h"

#include <math.h>

#define SHOWN_OUTPUTS 6 /* of a row, in text */

static double mean_of(const struct mr_differences *differences, double sum)
{
    return differences->rows ? sum / (double)differences->rows : 0;
}

static void outputs_print(FILE *out, const float *y, size_t width)
{
    for (size_t i = 0; i < width && i < SHOWN_OUTPUTS; i++)
        fprintf(out, " %.9g", isnan(y[i]) ? (double)NAN : (double)y[i]); /* without its sign */
    if (width > SHOWN_OUTPUTS) fprintf(out, " and %zu more", width - SHOWN_OUTPUTS);
}

static void class_print(FILE *out, const struct mr_model_info *info, int32_t index)
{
    if (!info->is_classifier || index < 0) return;
    if (info->label && (size_t)index < info->class_count)
        fprintf(out, " (%.24s)", info->label[index]);
    else
        fprintf(out, " (%d)", (int)index);
}

static void worst_print(FILE *out, const struct mr_differences *differences, const struct mr_model_info *info,
                        const char *a, const char *b)
{
    for (size_t i = 0; i < differences->worst_count; i++) {
        const struct mr_worst_row *const worst = &differences->worst[i];
        fprintf(out, "  row %llu: %.3g apart, relative %.3g\n    %s:", (unsigned long long)worst->row, worst->absolute,
                worst->relative, a);
        outputs_print(out, worst->a, differences->width);
        class_print(out, info, worst->class_a);
        fprintf(out, "\n    %s:", b);
        outputs_print(out, worst->b, differences->width);
        class_print(out, info, worst->class_b);
        fputc('\n', out);
    }
}

void mr_differences_print(FILE *out, const struct mr_differences *differences, const struct mr_model_info *info,
                          const char *a, const char *b)
{
    fprintf(out, "%s and %s: %llu rows of %zu outputs\n", a, b, (unsigned long long)differences->rows,
            differences->width);
    fprintf(out, "  largest error   %-12.3g relative %.3g", differences->absolute_max, differences->relative_max);
    if (differences->relative_max != 0) fprintf(out, " (row %llu)", (unsigned long long)differences->row_max);
    fputc('\n', out);
    fprintf(out, "  mean error      %-12.3g relative %.3g\n", mean_of(differences, differences->absolute_sum),
            mean_of(differences, differences->relative_sum));
    fprintf(out, "  past %-10g %llu rows\n", differences->tolerance, (unsigned long long)differences->past);
    if (differences->has_classes)
        fprintf(out, "  classes         %llu the same, %llu not, %llu not where the two best are nearer than that\n",
                (unsigned long long)differences->same, (unsigned long long)differences->other,
                (unsigned long long)differences->undecided);
    worst_print(out, differences, info, a, b);
}

static void number_add(cJSON *object, const char *key, double value)
{
    if (isfinite(value))
        cJSON_AddNumberToObject(object, key, value);
    else
        cJSON_AddNullToObject(object, key);
}

static void outputs_add(cJSON *object, const char *key, const float *y, size_t width)
{
    cJSON *const array = cJSON_AddArrayToObject(object, key);
    for (size_t i = 0; i < width; i++)
        cJSON_AddItemToArray(array, isfinite(y[i]) ? cJSON_CreateNumber((double)y[i]) : cJSON_CreateNull());
}

void mr_differences_add_json(cJSON *object, const struct mr_differences *differences, const struct mr_model_info *info)
{
    cJSON_AddNumberToObject(object, "rows", (double)differences->rows);
    cJSON_AddNumberToObject(object, "outputs", (double)differences->width);
    cJSON_AddNumberToObject(object, "tolerance", differences->tolerance);
    cJSON_AddNumberToObject(object, "rows_past", (double)differences->past);
    number_add(object, "error_max", differences->absolute_max);
    number_add(object, "error_mean", mean_of(differences, differences->absolute_sum));
    number_add(object, "relative_max", differences->relative_max);
    number_add(object, "relative_mean", mean_of(differences, differences->relative_sum));
    if (differences->has_classes) {
        cJSON_AddNumberToObject(object, "classes_same", (double)differences->same);
        cJSON_AddNumberToObject(object, "classes_other", (double)differences->other);
        cJSON_AddNumberToObject(object, "classes_undecided", (double)differences->undecided);
    }
    cJSON *const worst = cJSON_AddArrayToObject(object, "worst");
    for (size_t i = 0; i < differences->worst_count; i++) {
        const struct mr_worst_row *const row = &differences->worst[i];
        cJSON *const item = cJSON_CreateObject();
        cJSON_AddNumberToObject(item, "row", (double)row->row);
        number_add(item, "error", row->absolute);
        number_add(item, "relative", row->relative);
        outputs_add(item, "a", row->a, differences->width);
        outputs_add(item, "b", row->b, differences->width);
        if (info->is_classifier && row->class_a >= 0) cJSON_AddNumberToObject(item, "class_a", row->class_a);
        if (info->is_classifier && row->class_b >= 0) cJSON_AddNumberToObject(item, "class_b", row->class_b);
        cJSON_AddItemToArray(worst, item);
    }
}
