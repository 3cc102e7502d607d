/* Predictions against labels: by hand, over more rows than one logarithm takes, and which labels count. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "millrace/batch.h"
#include "scoring/losses.h"

#define ROWS 100

static void near(double got, double want)
{
    if (!(fabs(got - want) <= 1e-12 * fmax(1, fabs(want)))) fail_msg("%.17g, want %.17g", got, want);
}

static void numbers_count_their_squares(void **state)
{
    float y[MR_TILE_ROWS] = {1, 2, 3, 4};
    const double label[] = {1, NAN, 5, 1};
    const struct mr_model_info info = {.width = 1};
    const struct mr_scores scores = {.y = y, .width = 1, .row_cap = MR_TILE_ROWS};
    struct mr_losses losses = {0};
    (void)state;
    mr_losses_take(&losses, MR_JUDGED_NUMBER, &info, &scores, label, 4);
    assert_int_equal(losses.rows, 3);
    near(losses.loss, 4 + 9);
    near(losses.loss_batch, 13.0 / 3);
    mr_losses_take(&losses, MR_JUDGED_NUMBER, &info, &scores, label, 1); /* right */
    assert_int_equal(losses.rows, 4);
    near(losses.loss, 13);
    near(losses.loss_batch, 0);
    mr_losses_take(&losses, MR_JUDGED_NOT, &info, &scores, label, 4);
    assert_int_equal(losses.rows, 4);
}

static void an_overflow_is_counted_apart(void **state)
{
    float y[MR_TILE_ROWS] = {1, INFINITY, NAN, 4};
    const double label[] = {2, 1, 1, 1};
    const struct mr_model_info info = {.width = 1};
    const struct mr_scores scores = {.y = y, .width = 1, .row_cap = MR_TILE_ROWS};
    struct mr_losses losses = {0};
    (void)state;
    mr_losses_take(&losses, MR_JUDGED_NUMBER, &info, &scores, label, 4);
    assert_int_equal(losses.rows, 2);
    assert_int_equal(losses.unfit, 2);
    near(losses.loss, 1 + 9);
}

static void classes_count_their_probability(void **state)
{
    static float y[2 * MR_TILE_ROWS * 3];
    static int32_t class[2 * MR_TILE_ROWS];
    double label[ROWS], want = 0;
    const struct mr_model_info info = {.width = 3, .is_classifier = true, .class_count = 3};
    const struct mr_scores scores = {.y = y, .class_index = class, .width = 3, .row_cap = 2 * MR_TILE_ROWS};
    struct mr_losses losses = {0};
    uint64_t right = 0, rows = 0;
    (void)state;
    for (size_t row = 0; row < ROWS; row++) {
        const float p[3] = {0.5F, 0.125F + 0.003F * (float)row, 0};
        for (size_t c = 0; c < 3; c++) y[mr_tile_at(row, c, 3)] = p[c];
        class[row] = row % 2;
        label[row] = row % 11 == 3 ? NAN : row % 11 == 4 ? 3 : row % 11 == 5 ? 0.5 : (double)(row % 3);
        if (row % 11 >= 3 && row % 11 <= 5) continue; /* no label, no such class, no class */
        rows++;
        right += row % 2 == row % 3;
        want -= log(row % 3 == 2 ? MR_LOSS_PROBABILITY_MIN : (double)p[row % 3]);
    }
    mr_losses_take(&losses, MR_JUDGED_CLASSES, &info, &scores, label, ROWS);
    assert_int_equal(losses.unfit, 18); /* rows 4 and 5 of each 11 */
    assert_int_equal(losses.rows, rows);
    assert_int_equal(losses.right, right);
    near(losses.loss, want);
}

static void one_output_is_the_probability_of_class_1(void **state)
{
    float y[MR_TILE_ROWS] = {0.75F, 0.75F, 1};
    int32_t class[MR_TILE_ROWS] = {1, 1, 1};
    const double label[] = {1, 0, 0};
    const struct mr_model_info info = {.width = 1, .is_classifier = true, .class_count = 2};
    const struct mr_scores scores = {.y = y, .class_index = class, .width = 1, .row_cap = MR_TILE_ROWS};
    struct mr_losses losses = {0};
    (void)state;
    mr_losses_take(&losses, MR_JUDGED_CLASSES, &info, &scores, label, 3);
    near(losses.loss, -log(0.75) - log(0.25) - log(MR_LOSS_PROBABILITY_MIN));
    assert_int_equal(losses.right, 1);
}

static void only_predictions_are_judged(void **state)
{
    struct mr_job job = {0};
    const struct mr_model_info number = {.width = 1}, class = {.width = 4, .is_classifier = true, .class_count = 4},
                               wide = {.width = 2}, scaler = {.width = 1, .is_transform = true},
                               distance = {.width = 1, .is_classifier = true, .has_no_probability = true},
                               items = {.width = 1, .item_count = 9};
    (void)state;
    assert_int_equal(mr_losses_kind(&job, &number), MR_JUDGED_NOT); /* no label */
    job.record.label = (char[]){"y"};
    assert_int_equal(mr_losses_kind(&job, &number), MR_JUDGED_NUMBER);
    assert_int_equal(mr_losses_kind(&job, &class), MR_JUDGED_CLASSES);
    assert_int_equal(mr_losses_kind(&job, &wide), MR_JUDGED_NOT);
    assert_int_equal(mr_losses_kind(&job, &scaler), MR_JUDGED_NOT);
    assert_int_equal(mr_losses_kind(&job, &distance), MR_JUDGED_NOT);
    assert_int_equal(mr_losses_kind(&job, &items), MR_JUDGED_NOT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_count_their_squares),     cmocka_unit_test(an_overflow_is_counted_apart),
        cmocka_unit_test(classes_count_their_probability), cmocka_unit_test(one_output_is_the_probability_of_class_1),
        cmocka_unit_test(only_predictions_are_judged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
