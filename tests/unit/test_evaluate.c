/* Metrics against their definitions: ties, curves, large offsets, scores that are no numbers. Against scikit-learn:
 * tests/parity/test_eval.py. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "evaluate/class_sums.h"
#include "evaluate/number_sums.h"

#define ROWS 500

static unsigned seed = 1;
static unsigned drawn(unsigned below)
{
    seed = seed * 1664525u + 1013904223u;
    return (seed >> 16) % below;
}

static void near(double got, double want)
{
    if (!(fabs(got - want) <= 1e-12 * fmax(1, fabs(want)))) fail_msg("%.17g, not %.17g", got, want);
}

/* Every pair of a positive and a negative row, ties half. */
static void area_is_that_of_all_pairs(void **state)
{
    static const float special[] = {-INFINITY, -0.0f, 0.0f, INFINITY, -1e-40f, -3};
    uint64_t key[ROWS];
    float score[ROWS];
    bool is_positive[ROWS];
    double pairs = 0, all = 0;
    (void)state;
    for (size_t i = 0; i < ROWS; i++) {
        score[i] = i < 6 ? special[i] : (float)drawn(40) / 7 - 2; /* many ties */
        is_positive[i] = drawn(3) == 0;
        key[i] = mr_auc_key(score[i], is_positive[i]);
    }
    for (size_t i = 0; i < ROWS; i++) {
        for (size_t k = 0; k < ROWS; k++) {
            if (!is_positive[i] || is_positive[k]) continue;
            pairs += score[i] > score[k] ? 1 : score[i] == score[k] ? 0.5 : 0;
            all++;
        }
    }
    near(mr_auc(key, ROWS), pairs / all);
    struct mr_roc_point point[10 * ROWS];
    const size_t count = mr_roc_curve(key, ROWS, point, 10 * ROWS);
    double area = 0;
    for (size_t i = 1; i < count; i++)
        area += (point[i].false_rate - point[i - 1].false_rate) * (point[i].true_rate + point[i - 1].true_rate) / 2;
    near(area, pairs / all);
    assert_in_range(mr_roc_curve(key, ROWS, point, 7), 3, 7);
    for (size_t i = 0; i < ROWS; i++) key[i] |= 1;
    assert_true(isnan(mr_auc(key, ROWS)));
    assert_int_equal(mr_roc_curve(key, ROWS, point, 7), 0);
    assert_true(isnan(mr_auc(key, 0)));
}

/* Labels around a million whose variance would drown in a difference of sums. */
static void numbers_with_an_offset(void **state)
{
    float y[64];
    double label[64], squared = 0, absolute = 0, variance = 0, mean = 0;
    struct mr_number_sums sums = {0};
    struct mr_number_metrics metrics;
    (void)state;
    for (size_t i = 0; i < 64; i++) {
        label[i] = 1e6 + (double)drawn(1000) / 1000;
        y[i] = (float)(1e6 + (double)drawn(1000) / 1000);
        squared += pow((double)y[i] - label[i], 2);
        absolute += fabs((double)y[i] - label[i]);
        mean += label[i] / 64;
    }
    for (size_t i = 0; i < 64; i++) variance += pow(label[i] - mean, 2);
    mr_number_sums_add(&sums, y, label, 40);
    mr_number_sums_add(&sums, y + 40, label + 40, 24);
    y[0] = NAN;
    mr_number_sums_add(&sums, y, label, 1);
    mr_number_sums_end(&sums, &metrics);
    near(metrics.mse, squared / 64);
    near(metrics.mae, absolute / 64);
    if (fabs(metrics.r2 - (1 - squared / variance)) > 1e-6) fail_msg("%g", metrics.r2);
    assert_int_equal(sums.rows, 64);
    assert_int_equal(sums.unfit, 1);
    sums = (struct mr_number_sums){0};
    mr_number_sums_end(&sums, &metrics);
    assert_true(isnan(metrics.rmse) && isnan(metrics.r2));
}

/* One column is the probability of the second class; a class without rows and a score that is no number. */
static void classes_of_one_column(void **state)
{
    const struct mr_model_info info = {.class_count = 2, .is_classifier = true};
    float y[64] = {0.9f, 0.2f, 0.6f, NAN};
    int32_t class_index[64] = {1, 0, 1, 0}, label[64] = {1, 0, 0, 1};
    const struct mr_scores scores = {.y = y, .class_index = class_index, .width = 1, .row_cap = 64};
    struct mr_class_sums sums;
    struct mr_class_metrics metrics;
    struct mr_class_metric metric[2];
    struct mr_err err;
    (void)state;
    assert_int_equal(mr_class_sums_init(&sums, &info, &err), MR_OK);
    assert_int_equal(mr_class_sums_add(&sums, &scores, label, 4, &err), MR_OK);
    assert_int_equal(mr_class_sums_end(&sums, &metrics, metric, &err), MR_OK);
    assert_int_equal(sums.rows, 3);
    assert_int_equal(sums.unfit, 1);
    near(metrics.accuracy, 2.0 / 3);
    near(metrics.auc, 1);
    near(metric[0].auc, 1);
    near(metric[1].precision, 0.5);
    near(metrics.balanced_accuracy, 0.75);
    near(metrics.log_loss, -(log((double)0.9f) + log((double)(1 - 0.2f)) + log((double)(1 - 0.6f))) / 3);
    mr_class_sums_deinit(&sums);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(area_is_that_of_all_pairs),
        cmocka_unit_test(numbers_with_an_offset),
        cmocka_unit_test(classes_of_one_column),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
