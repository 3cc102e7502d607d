#include "evaluate/class_sums.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

mr_status mr_class_sums_init(struct mr_class_sums *sums, const struct mr_model_info *info, struct mr_err *err)
{
    const size_t count = info->class_count;
    *sums = (struct mr_class_sums){.class_count = count,
                                   .has_probability = mr_model_has_probabilities(info),
                                   .kept_cols = count == 2 ? 1 : count,
                                   .keeps = mr_model_has_probabilities(info),
                                   .confusion = calloc(count * count + 1, sizeof *sums->confusion)};
    return sums->confusion ? MR_OK : mr_fail(err, MR_ENOMEM, "out of memory");
}

/* The probability of a class; a binary model may give that of its second class alone. */
static float probability(const struct mr_scores *scores, size_t row, size_t k)
{
    if (scores->width > 1) return scores->y[mr_tile_at(row, k, scores->width)];
    const float p = scores->y[mr_tile_at(row, 0, 1)];
    return k ? p : 1 - p;
}

static bool kept_grow(struct mr_class_sums *sums, size_t rows)
{
    const size_t bytes_each = sums->kept_cols * sizeof *sums->kept + sizeof *sums->label;
    if (rows <= sums->kept_cap) return true;
    if (rows > MR_AUC_BYTES_MAX / bytes_each) {
        free(sums->kept);
        free(sums->label);
        sums->kept = NULL;
        sums->label = NULL;
        sums->keeps = false;
        return true;
    }
    const size_t cap = 2 * rows;
    float *const kept = realloc(sums->kept, cap * sums->kept_cols * sizeof *kept);
    if (!kept) return false;
    sums->kept = kept;
    int32_t *const label = realloc(sums->label, cap * sizeof *label);
    if (!label) return false;
    sums->label = label;
    sums->kept_cap = cap;
    return true;
}

static void bin_add(struct mr_class_sums *sums, double p, bool is_hit)
{
    size_t bin = 0;
    while (bin + 1 < MR_BIN_COUNT && p > (double)(bin + 1) / MR_BIN_COUNT) bin++;
    sums->bin[bin].rows++;
    sums->bin[bin].hits += is_hit;
    sums->bin[bin].probability += p;
}

/* What the probabilities of a row are worth. */
static void probabilities_add(struct mr_class_sums *sums, const struct mr_scores *scores, size_t row, size_t label)
{
    const size_t predicted = (size_t)scores->class_index[row];
    const size_t looked_at = sums->class_count == 2 ? 1 : predicted;
    const double p = (double)probability(scores, row, label), q = (double)probability(scores, row, looked_at);
    sums->log_loss -= log(fmin(fmax(p, (double)FLT_EPSILON), 1 - (double)FLT_EPSILON));
    sums->brier += (q - (label == 1)) * (q - (label == 1));
    bin_add(sums, q, looked_at == label);
    if (!sums->keeps) return;
    float *const kept = sums->kept + sums->rows * sums->kept_cols;
    for (size_t col = 0; col < sums->kept_cols; col++)
        kept[col] = probability(scores, row, sums->class_count == 2 ? 1 : col);
    sums->label[sums->rows] = (int32_t)label;
}

static bool is_number(const struct mr_scores *scores, size_t row)
{
    bool is_finite = true;
    for (size_t col = 0; col < scores->width; col++)
        is_finite &= isfinite(scores->y[mr_tile_at(row, col, scores->width)]) != 0;
    return is_finite;
}

mr_status mr_class_sums_add(struct mr_class_sums *sums, const struct mr_scores *scores, const int32_t *label,
                            size_t rows, struct mr_err *err)
{
    if (sums->keeps && !kept_grow(sums, sums->rows + rows))
        return mr_fail(err, MR_ENOMEM, "out of memory for the scores of %llu rows", (unsigned long long)sums->rows);
    for (size_t row = 0; row < rows; row++) {
        const size_t k = (size_t)label[row], predicted = (size_t)scores->class_index[row];
        if (!is_number(scores, row) || predicted >= sums->class_count) {
            sums->unfit++;
            continue;
        }
        if (sums->has_probability) probabilities_add(sums, scores, row, k);
        sums->confusion[k * sums->class_count + predicted]++;
        sums->rows++;
    }
    return MR_OK;
}

/* Keys of one class against the others; NULL: no memory. */
static uint64_t *keys_make(const struct mr_class_sums *sums, size_t k)
{
    uint64_t *const key = malloc((sums->rows + 1) * sizeof *key);
    for (size_t row = 0; key && row < sums->rows; row++) {
        const float kept = sums->kept[row * sums->kept_cols + (sums->kept_cols > 1 ? k : 0)];
        key[row] = mr_auc_key(sums->kept_cols == 1 && !k ? -kept : kept, sums->label[row] == (int32_t)k);
    }
    return key;
}

static mr_status areas_take(const struct mr_class_sums *sums, struct mr_class_metrics *metrics,
                            struct mr_class_metric *metric, struct mr_err *err)
{
    double sum = 0;
    size_t count = 0;
    for (size_t k = 0; sums->kept && k < sums->class_count; k++) {
        uint64_t *const key = keys_make(sums, k);
        if (!key)
            return mr_fail(err, MR_ENOMEM, "out of memory for the AUC of %llu rows", (unsigned long long)sums->rows);
        metric[k].auc = mr_auc(key, sums->rows);
        free(key);
        if (isnan(metric[k].auc)) continue;
        sum += metric[k].auc;
        count++;
    }
    metrics->auc = count ? sum / (double)count : NAN;
    return MR_OK;
}

static double share(double part, double whole)
{
    return whole > 0 ? part / whole : NAN;
}

static void classes_take(const struct mr_class_sums *sums, struct mr_class_metrics *metrics,
                         struct mr_class_metric *metric)
{
    const size_t count = sums->class_count;
    double recall = 0, f1 = 0, right = 0;
    size_t present = 0, named = 0;
    for (size_t k = 0; k < count; k++) {
        uint64_t predicted = 0, rows = 0;
        for (size_t other = 0; other < count; other++) {
            rows += sums->confusion[k * count + other];
            predicted += sums->confusion[other * count + k];
        }
        const double hits = (double)sums->confusion[k * count + k];
        metric[k] = (struct mr_class_metric){.precision = share(hits, (double)predicted),
                                             .recall = share(hits, (double)rows),
                                             .f1 = share(2 * hits, (double)(rows + predicted)),
                                             .auc = NAN,
                                             .rows = rows};
        right += hits;
        if (rows) recall += metric[k].recall;
        if (rows + predicted) f1 += metric[k].f1;
        present += rows > 0;
        named += rows + predicted > 0;
    }
    metrics->accuracy = share(right, (double)sums->rows);
    metrics->balanced_accuracy = share(recall, (double)present);
    metrics->macro_f1 = share(f1, (double)named);
}

mr_status mr_class_sums_end(const struct mr_class_sums *sums, struct mr_class_metrics *metrics,
                            struct mr_class_metric *metric, struct mr_err *err)
{
    const double rows = (double)sums->rows;
    *metrics = (struct mr_class_metrics){.log_loss = NAN, .brier = NAN, .auc = NAN, .calibration_error = NAN};
    classes_take(sums, metrics, metric);
    if (!sums->has_probability || !sums->rows) return MR_OK;
    metrics->log_loss = sums->log_loss / rows;
    if (sums->class_count == 2) metrics->brier = sums->brier / rows;
    metrics->calibration_error = 0;
    for (size_t bin = 0; bin < MR_BIN_COUNT; bin++)
        metrics->calibration_error += fabs((double)sums->bin[bin].hits - sums->bin[bin].probability) / rows;
    return areas_take(sums, metrics, metric, err);
}

size_t mr_class_sums_curve(const struct mr_class_sums *sums, size_t k, struct mr_roc_point *point, size_t cap)
{
    uint64_t *const key = sums->kept ? keys_make(sums, k) : NULL;
    if (!key) return 0;
    mr_auc(key, sums->rows);
    const size_t count = mr_roc_curve(key, sums->rows, point, cap);
    free(key);
    return count;
}

void mr_class_sums_deinit(struct mr_class_sums *sums)
{
    free(sums->confusion);
    free(sums->kept);
    free(sums->label);
    *sums = (struct mr_class_sums){0};
}
