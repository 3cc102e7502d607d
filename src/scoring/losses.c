#include "scoring/losses.h"

#include <math.h>

#include "millrace/batch.h"

/* Probabilities that are multiplied before one logarithm is taken: 1.2e-7 to the 32nd is far from underflow. */
#define LOGS_AT_ONCE 32

mr_judged mr_losses_kind(const struct mr_job *job, const struct mr_model_info *info)
{
    if (!mr_job_has_labels(job) || info->is_transform || info->item_count || info->has_no_probability ||
        (info->is_logit && info->is_classifier))
        return MR_JUDGED_NOT;
    if (info->is_classifier) return MR_JUDGED_CLASSES;
    return info->width == 1 ? MR_JUDGED_NUMBER : MR_JUDGED_NOT;
}

unsigned mr_losses_want(mr_judged judged)
{
    return judged == MR_JUDGED_CLASSES ? MR_WANT_Y | MR_WANT_CLASS : judged == MR_JUDGED_NUMBER ? MR_WANT_Y : 0;
}

struct tally {
    double loss;
    uint64_t rows, right, unfit;
};

static struct tally numbers_judge(const struct mr_scores *scores, const double *label, size_t rows)
{
    struct tally tally = {0};
    for (size_t row = 0; row < rows; row++) {
        if (isnan(label[row])) continue;
        const double apart = (double)scores->y[row] - label[row]; /* one column: tiles are consecutive */
        if (!isfinite(apart * apart)) {
            tally.unfit++;
            continue;
        }
        tally.loss += apart * apart;
        tally.rows++;
    }
    return tally;
}

/* What the model gave the class of the label. */
static double probability(const struct mr_scores *scores, size_t row, size_t class)
{
    const size_t col = scores->width == 1 ? 0 : class;
    const double y = (double)scores->y[mr_tile_at(row, col, scores->width)];
    const double p = scores->width == 1 && !class ? 1 - y : y;
    return p > MR_LOSS_PROBABILITY_MIN ? fmin(p, 1) : isnan(p) ? NAN : MR_LOSS_PROBABILITY_MIN;
}

static struct tally classes_judge(const struct mr_model_info *info, const struct mr_scores *scores, const double *label,
                                  size_t rows)
{
    struct tally tally = {0};
    double product = 1;
    for (size_t row = 0; row < rows; row++) {
        const bool is_class =
            label[row] >= 0 && label[row] < (double)info->class_count && label[row] == floor(label[row]);
        const double p = is_class ? probability(scores, row, (size_t)label[row]) : NAN;
        if (isnan(p)) {
            tally.unfit += !isnan(label[row]);
            continue;
        }
        product *= p;
        tally.right += scores->class_index[row] == (int32_t)label[row];
        if (++tally.rows % LOGS_AT_ONCE) continue;
        tally.loss -= log(product);
        product = 1;
    }
    tally.loss -= log(product);
    return tally;
}

static void add(_Atomic double *sum, double by)
{
    double before = atomic_load_explicit(sum, memory_order_relaxed);
    while (
        !atomic_compare_exchange_weak_explicit(sum, &before, before + by, memory_order_relaxed, memory_order_relaxed)) {
    }
}

void mr_losses_take(struct mr_losses *losses, mr_judged judged, const struct mr_model_info *info,
                    const struct mr_scores *scores, const double *label, size_t rows)
{
    if (judged == MR_JUDGED_NOT) return;
    const struct tally tally =
        judged == MR_JUDGED_NUMBER ? numbers_judge(scores, label, rows) : classes_judge(info, scores, label, rows);
    atomic_fetch_add_explicit(&losses->unfit, tally.unfit, memory_order_relaxed);
    if (!tally.rows) return;
    add(&losses->loss, tally.loss);
    atomic_store_explicit(&losses->loss_batch, tally.loss / (double)tally.rows, memory_order_relaxed);
    atomic_fetch_add_explicit(&losses->right, tally.right, memory_order_relaxed);
    atomic_fetch_add_explicit(&losses->rows, tally.rows, memory_order_relaxed);
}
