/* Centres made ready for the kernels: around their mean as a dense layer, or sorted where they lie on a line. */
#include <math.h>
#include <stdlib.h>

#include "kernels/pack.h"

struct point {
    float center;
    int32_t index;
};

static int point_compare(const void *a, const void *b)
{
    const struct point *const one = a, *const two = b;
    if (one->center != two->center) return one->center < two->center ? -1 : 1;
    return one->index < two->index ? -1 : 1;
}

/*
 * The largest float of those that belong to the lower of two centres. Midway between them the centre with the lower
 * index is taken; the middle of two floats is exact in double.
 */
static float bound_between(const struct point *low, const struct point *high)
{
    const double middle = ((double)low->center + (double)high->center) / 2;
    float bound = (float)middle;
    if ((double)bound > middle) bound = nextafterf(bound, -INFINITY);
    if ((double)bound == middle && high->index < low->index) bound = nextafterf(bound, -INFINITY);
    return bound;
}

/* Fills line from the sorted points; equal centres count once. */
static void line_fill(const struct point *point, size_t count, float *center, float *bound, int32_t *index,
                      struct mr_line *line)
{
    size_t last = 0, kept = 0;
    for (size_t i = 0; i < count; i++) {
        if (i && point[i].center == point[last].center) continue;
        center[kept] = point[i].center;
        index[kept] = point[i].index;
        if (kept) bound[kept - 1] = bound_between(&point[last], &point[i]);
        last = i;
        kept++;
    }
    *line = (struct mr_line){.count = kept, .center = center, .index = index, .bound = bound};
}

static struct mr_packed *line_pack(const struct mr_kmeans_params *params)
{
    struct mr_packed *const model = calloc(1, sizeof *model);
    struct point *const point = calloc(params->k, sizeof *point);
    float *const own = calloc(params->k, 2 * sizeof(float) + sizeof(int32_t));
    if (!model || !point || !own) {
        free(own);
        free(point);
        free(model);
        return NULL;
    }
    for (size_t i = 0; i < params->k; i++) point[i] = (struct point){params->center[i], (int32_t)i};
    qsort(point, params->k, sizeof *point, point_compare);
    *model = (struct mr_packed){.in = 1, .out = params->k, .width_max = params->k, .own = own};
    line_fill(point, params->k, own, own + params->k, (int32_t *)(own + 2 * params->k), &model->line);
    free(point);
    return model;
}

struct mr_packed *mr_kmeans_assign_pack(const struct mr_kmeans_params *params)
{
    const size_t cols = params->cols, k = params->k;
    size_t count, bytes;
    if (__builtin_mul_overflow(cols, k, &count) || __builtin_mul_overflow(count, sizeof(float), &bytes)) return NULL;
    if (cols == 1) return line_pack(params);
    float *const mean = calloc(cols, sizeof *mean), *const w = malloc(bytes), *const b = calloc(k, sizeof *b);
    const struct mr_mlp_layer layer = {.in = cols, .out = k, .w = w, .b = b, .activation = MR_ACT_IDENTITY};
    struct mr_packed *model = NULL;
    if (mean && w && b) {
        for (size_t c = 0; c < cols; c++) {
            double sum = 0;
            for (size_t i = 0; i < k; i++) sum += (double)params->center[i * cols + c];
            mean[c] = (float)(sum / (double)k);
        }
        for (size_t i = 0; i < k; i++) {
            double half = 0;
            for (size_t c = 0; c < cols; c++) {
                const double off = (double)params->center[i * cols + c] - (double)mean[c];
                w[i * cols + c] = (float)-off;
                half += off * off / 2;
            }
            b[i] = (float)half;
        }
        model = mr_layers_pack(&layer, 1, mr_dense_pack);
    }
    free(w);
    free(b);
    if (!model) {
        free(mean);
        return NULL;
    }
    model->shift = model->own = mean;
    return model;
}
