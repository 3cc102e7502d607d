#include "evaluate/differences.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

mr_status mr_differences_init(struct mr_differences *differences, const struct mr_model_info *info, double tolerance,
                              size_t worst_cap, struct mr_err *err)
{
    *differences = (struct mr_differences){.width = info->width,
                                           .has_classes = info->is_classifier,
                                           .is_single = info->width == 1 && mr_model_has_probabilities(info),
                                           .has_no_lead = info->has_no_probability,
                                           .is_sign = info->is_logit && info->width == 1,
                                           .tolerance = tolerance,
                                           .worst = calloc(worst_cap + 1, sizeof *differences->worst),
                                           .worst_cap = worst_cap,
                                           .worst_outputs = calloc(2 * worst_cap * info->width + 1, sizeof(float))};
    if (differences->worst && differences->worst_outputs) return MR_OK;
    mr_differences_deinit(differences);
    return mr_fail(err, MR_ENOMEM, "out of memory");
}

/* Distance of two outputs; those that are no numbers are equal, or infinitely far from anything else. */
static double distance(float a, float b)
{
    if (isfinite(a) && isfinite(b)) return fabs((double)a - (double)b);
    return a == b || (isnan(a) && isnan(b)) ? 0 : INFINITY;
}

/* The output to which errors are relative; a probability stands for two. */
static double largest_of(const struct mr_differences *differences, float y)
{
    const double value = isfinite(y) ? fabs((double)y) : 0;
    return differences->is_single ? fmax(value, fabs(1 - value)) : value;
}

/* How far the best of a row is before the second, in the unit of the outputs. */
static double lead_of(const struct mr_differences *differences, const struct mr_scores *scores, size_t row)
{
    double best = -INFINITY, second = -INFINITY;
    if (differences->is_single) return fabs(2 * (double)scores->y[row] - 1);
    if (differences->is_sign) return fabs((double)scores->y[row]);
    for (size_t col = 0; col < scores->width; col++) {
        const double y = (double)scores->y[mr_tile_at(row, col, scores->width)];
        if (y > best)
            second = best, best = y;
        else if (y > second)
            second = y;
    }
    return best - second;
}

static void class_take(struct mr_differences *differences, const struct mr_scores *a, const struct mr_scores *b,
                       size_t row, double largest, double relative)
{
    if (a->class_index[row] == b->class_index[row]) {
        differences->same++;
        return;
    }
    const double lead = fmin(lead_of(differences, a, row), lead_of(differences, b, row));
    const bool is_near =
        differences->has_no_lead ? relative <= differences->tolerance : lead <= differences->tolerance * largest;
    if (is_near)
        differences->undecided++;
    else
        differences->other++;
}

static void outputs_copy(float *out, const struct mr_scores *scores, size_t row)
{
    for (size_t col = 0; col < scores->width; col++) out[col] = scores->y[mr_tile_at(row, col, scores->width)];
}

/* Keeps a row that is worse than the best of those kept: insertion into a short sorted list. */
static void worst_take(struct mr_differences *differences, const struct mr_scores *a, const struct mr_scores *b,
                       size_t row, double absolute, double relative)
{
    const size_t width = differences->width, cap = differences->worst_cap;
    size_t at = differences->worst_count;
    if (!cap || !(absolute > 0)) return;
    if (at == cap && relative <= differences->worst[cap - 1].relative) return;
    float *outputs = differences->worst_outputs + 2 * at * width;
    if (at == cap)
        outputs = differences->worst[--at].a; /* of the one that goes */
    else
        differences->worst_count++;
    for (; at && differences->worst[at - 1].relative < relative; at--)
        differences->worst[at] = differences->worst[at - 1];
    differences->worst[at] = (struct mr_worst_row){.row = differences->rows,
                                                   .absolute = absolute,
                                                   .relative = relative,
                                                   .class_a = a->class_index ? a->class_index[row] : -1,
                                                   .class_b = b->class_index ? b->class_index[row] : -1,
                                                   .a = outputs,
                                                   .b = outputs + width};
    outputs_copy(outputs, a, row);
    outputs_copy(outputs + width, b, row);
}

void mr_differences_add(struct mr_differences *differences, const struct mr_scores *a, const struct mr_scores *b,
                        size_t rows)
{
    for (size_t row = 0; row < rows; row++) {
        double absolute = 0, largest = 0;
        for (size_t col = 0; col < differences->width; col++) {
            const size_t at = mr_tile_at(row, col, differences->width);
            absolute = fmax(absolute, distance(a->y[at], b->y[at]));
            largest = fmax(largest, fmax(largest_of(differences, a->y[at]), largest_of(differences, b->y[at])));
        }
        const double relative = absolute > 0 ? absolute / largest : 0;
        differences->rows++;
        differences->past += relative > differences->tolerance;
        differences->absolute_sum += absolute;
        differences->relative_sum += relative;
        differences->absolute_max = fmax(differences->absolute_max, absolute);
        if (relative > differences->relative_max) {
            differences->relative_max = relative;
            differences->row_max = differences->rows;
        }
        if (differences->has_classes && a->class_index && b->class_index)
            class_take(differences, a, b, row, largest, relative);
        worst_take(differences, a, b, row, absolute, relative);
    }
}

mr_status mr_differences_judge(const struct mr_differences *differences, const char *what, struct mr_err *err)
{
    if (differences->past)
        return mr_fail(err, MR_EDIFFER,
                       "%s: %llu of %llu rows are further apart than --tolerance %g allows, row %llu most (%.3g)", what,
                       (unsigned long long)differences->past, (unsigned long long)differences->rows,
                       differences->tolerance, (unsigned long long)differences->row_max, differences->relative_max);
    if (differences->other)
        return mr_fail(err, MR_EDIFFER, "%s: %llu of %llu rows have another class", what,
                       (unsigned long long)differences->other, (unsigned long long)differences->rows);
    return MR_OK;
}

void mr_differences_deinit(struct mr_differences *differences)
{
    free(differences->worst);
    free(differences->worst_outputs);
    *differences = (struct mr_differences){0};
}
