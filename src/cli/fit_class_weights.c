#include "cli/fit_class_weights.h"

#include <stdlib.h>
#include <string.h>

#define WEIGHT_MAX 1e6

/* rows / (classes * rows of the class); 1 of a class that has none. */
static mr_status weights_balance(const struct mr_matrix *matrix, float *weight, struct mr_err *err)
{
    const size_t classes = matrix->class_count;
    size_t *const count = calloc(classes, sizeof *count);
    if (!count) return mr_fail(err, MR_ENOMEM, "out of memory");
    for (size_t row = 0; row < matrix->rows; row++) count[(size_t)matrix->label[row]]++;
    for (size_t i = 0; i < classes; i++)
        if (count[i]) weight[i] = (float)((double)matrix->rows / ((double)classes * (double)count[i]));
    free(count);
    return MR_OK;
}

/* NAME=WEIGHT of one class. */
static mr_status weight_read(const struct mr_matrix *matrix, const char *text, size_t bytes, float *weight,
                             struct mr_err *err)
{
    const char *const equal = memrchr(text, '=', bytes);
    const size_t name_bytes = equal ? (size_t)(equal - text) : bytes;
    char *end = NULL;
    const double value = equal ? strtod(equal + 1, &end) : 0;
    if (!equal || end != text + bytes || end == equal + 1 || !(value >= 0) || value > WEIGHT_MAX)
        return mr_fail(err, MR_EUSAGE, "--class-weights \"%.*s\": expected balanced, or NAME=WEIGHT,... of 0 to %g",
                       (int)bytes, text, WEIGHT_MAX);
    for (size_t i = 0; i < matrix->class_count; i++) {
        const char *const name = matrix->class_name[i];
        if (strlen(name) != name_bytes || memcmp(name, text, name_bytes) != 0) continue;
        weight[i] = (float)value;
        return MR_OK;
    }
    return mr_fail(err, MR_EUSAGE, "--class-weights: there is no class \"%.*s\"", (int)name_bytes, text);
}

mr_status fit_class_weights_read(const struct fit *fit, float **weight_out, struct mr_err *err)
{
    const char *const text = fit->options->class_weights;
    const struct mr_matrix *const matrix = &fit->matrix;
    mr_status status = MR_OK;
    *weight_out = NULL;
    if (fit->label != MR_LABEL_CLASS) return mr_fail(err, MR_EUSAGE, "--class-weights: a regression has no classes");
    float *const weight = malloc(matrix->class_count * sizeof *weight);
    if (!weight) return mr_fail(err, MR_ENOMEM, "out of memory");
    *weight_out = weight;
    for (size_t i = 0; i < matrix->class_count; i++) weight[i] = 1;
    if (!strcmp(text, "balanced")) return weights_balance(matrix, weight, err);
    for (const char *at = text; *at && !status; at += *at == ',') {
        const size_t bytes = strcspn(at, ",");
        status = weight_read(matrix, at, bytes, weight, err);
        at += bytes;
    }
    for (size_t i = 0; i < matrix->class_count && !status; i++)
        if (weight[i] > 0) return MR_OK;
    return status ? status : mr_fail(err, MR_EUSAGE, "--class-weights %s: no class counts", text);
}
