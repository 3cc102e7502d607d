/*
 * A/B tests as scipy and mpmath see them (tests/golden/abtest, make.py): the distributions, the comparison of sums, and
 * the model over rows in batches. And what no golden number shows: how often one who looks all the time finds a
 * difference that is not there.
 */
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>
#include <cmocka.h>

#include "base/file_map.h"
#include "base/random.h"
#include "learn/ab_test.h"
#include "learn/distributions.h"
#include "learner_rig.h"

#define ROW_CAP 128

static cJSON *golden;

static const cJSON *get(const cJSON *object, const char *key)
{
    const cJSON *const item = cJSON_GetObjectItem(object, key);
    if (!item) fail_msg("golden.json: no %s", key);
    return item;
}

static double number_at(const cJSON *array, int i)
{
    const cJSON *const item = cJSON_GetArrayItem(array, i);
    return cJSON_IsNumber(item) ? item->valuedouble : (double)NAN;
}

static void near(double got, double want, double tolerance, const char *where, const char *what)
{
    if (isnan(want) ? isnan(got) : fabs(got - want) <= tolerance * fabs(want)) return;
    fail_msg("%s: %s is %.17g instead of %.17g, off by %.2g of it", where, what, got, want, fabs(got / want - 1));
}

static void distributions_are_exact(void **state)
{
    const cJSON *const all = get(golden, "distributions");
    (void)state;
    for (const cJSON *row = get(all, "t")->child; row; row = row->next) {
        const double t = number_at(row, 0), df = number_at(row, 1), p = number_at(row, 2);
        char where[64];
        snprintf(where, sizeof where, "t %g, df %g", t, df);
        near(mr_t_two_sided(t, df), p, 1e-12, where, "p");
        near(mr_t_two_sided(-t, df), p, 1e-12, where, "p of -t");
        if (p < 1e-12 || p > 0.9) continue;
        /* A step of t changes p by its density: more of it the heavier the tail. */
        near(mr_t_quantile(p, df), t, 1e-11, where, "the quantile of p");
    }
    for (const cJSON *row = get(all, "chi_squared")->child; row; row = row->next) {
        char where[64];
        snprintf(where, sizeof where, "chi-squared %g, df %g", number_at(row, 0), number_at(row, 1));
        near(mr_chi_squared_above(number_at(row, 0), (unsigned)number_at(row, 1)), number_at(row, 2), 1e-12, where,
             "p");
    }
    assert_true(isnan(mr_t_two_sided(NAN, 5)));
    assert_true(mr_t_two_sided(INFINITY, 5) <= 0);
}

/* ---- comparisons ---- */

static double mismatch_of(const cJSON *one)
{
    const cJSON *const item = get(one, "mismatch");
    return cJSON_IsNumber(item) ? item->valuedouble : (double)NAN;
}

static double field(const struct mr_ab_result *r, const char *name)
{
    const struct {
        const char *name;
        double value;
    } all[] = {{"difference", r->difference},
               {"statistic", r->statistic},
               {"df", r->df},
               {"p_single", r->p_single},
               {"low", r->low},
               {"high", r->high},
               {"always_low", r->always_low},
               {"always_high", r->always_high},
               {"p", r->p},
               {"always_p", r->always_p}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (!strcmp(all[i].name, name)) return all[i].value;
    fail_msg("no %s", name);
    return 0;
}

/* All columns of one arm, by a function that knows them by name. */
static void row_check(const cJSON *one, const char *method, size_t arm, double (*value)(void *, const char *), void *of)
{
    const cJSON *const row = cJSON_GetArrayItem(get(one, method), (int)arm - 1);
    const double tolerance = get(one, "tolerance")->valuedouble;
    char where[96];
    int at = 0;
    snprintf(where, sizeof where, "%s, %s, arm %zu", get(one, "name")->valuestring, method, arm);
    for (const cJSON *name = get(golden, "columns")->child; name; name = name->next, at++) {
        if (!strcmp(name->valuestring, "always_single")) continue; /* which is always_p of one comparison */
        near(value(of, name->valuestring), number_at(row, at), tolerance, where, name->valuestring);
    }
}

static double result_value(void *of, const char *name)
{
    return field(of, name);
}

static void sums_are_compared_as_by_scipy(void **state)
{
    unsigned tried = 0;
    (void)state;
    for (const cJSON *one = get(golden, "cases")->child; one; one = one->next) {
        const cJSON *const sums = get(one, "sums");
        struct mr_arm arms[MR_AB_ARMS_MAX];
        struct mr_ab_result results[MR_AB_ARMS_MAX];
        double share[MR_AB_ARMS_MAX];
        if (!cJSON_IsArray(sums)) continue;
        const size_t count = (size_t)cJSON_GetArraySize(sums);
        for (size_t i = 0; i < count; i++) {
            const cJSON *const of = cJSON_GetArrayItem(sums, (int)i);
            arms[i] = (struct mr_arm){number_at(of, 0), number_at(of, 1), number_at(of, 2)};
            share[i] = cJSON_IsArray(get(one, "ratio")) ? number_at(get(one, "ratio"), (int)i) : 1;
        }
        for (int student = 0; student < 2; student++) {
            const struct mr_ab_rule rule = {.arms = count,
                                            .is_student = student,
                                            .alpha = get(golden, "alpha")->valuedouble,
                                            .tightest_at = get(golden, "tightest_at")->valuedouble};
            mr_ab_compare(&rule, arms, arms, results);
            for (size_t i = 1; i < count; i++)
                row_check(one, student ? "student" : "welch", i, result_value, &results[i - 1]);
        }
        near(mr_ab_mismatch(count, arms, share), mismatch_of(one), 1e-10, get(one, "name")->valuestring, "mismatch");
        tried++;
    }
    assert_int_equal(tried, 4);
}

/* ---- the model ---- */

struct found {
    const struct learner *l;
    double *values;
    const char *suffix; /* "" of two arms, ".2" of more */
};

static double found_value(void *of, const char *name)
{
    const struct found *const found = of;
    const struct mr_model_info *const info = found->l->ops->info(found->l->model);
    char full[64];
    snprintf(full, sizeof full, "%s%s", name, found->suffix);
    for (size_t i = 0; i < info->width; i++)
        if (!strcmp(info->output[i], full)) return found->values[i];
    fail_msg("no output %s", full);
    return 0;
}

/* The rows of a case, arms mixed, in batches of ROW_CAP; the value is the label, which is float64. */
static void case_learn(struct learner *l, const cJSON *arms)
{
    float x[ROW_CAP] __attribute__((aligned(MR_ALIGN)));
    double label[ROW_CAP];
    const cJSON *next[MR_AB_ARMS_MAX];
    const int count = cJSON_GetArraySize(arms);
    size_t rows = 0, left = 0;
    for (int i = 0; i < count; i++) {
        next[i] = cJSON_GetArrayItem(arms, i)->child;
        left += (size_t)cJSON_GetArraySize(cJSON_GetArrayItem(arms, i));
    }
    for (size_t i = 0; left; i++) {
        const size_t arm = (i * i + i / 3) % (size_t)count;
        const size_t from = next[arm] ? arm : (arm + 1) % (size_t)count;
        if (!next[from]) continue;
        x[rows] = (float)from;
        label[rows++] = next[from]->valuedouble;
        next[from] = next[from]->next;
        left--;
        if (left && rows < ROW_CAP) continue;
        learner_score(l, x, rows);
        assert_int_equal(learner_learn(l, x, label, rows).rows, rows);
        rows = 0;
    }
}

static void rows_are_compared_as_by_scipy(void **state)
{
    unsigned tried = 0;
    (void)state;
    for (const cJSON *one = get(golden, "cases")->child; one; one = one->next) {
        const cJSON *const arms = get(one, "arms"), *const ratio = get(one, "ratio");
        for (int student = 0; student < 2 && cJSON_IsArray(arms); student++) {
            const char *const method = student ? "student" : "welch";
            char count[16], text[64];
            snprintf(count, sizeof count, "%d", cJSON_GetArraySize(arms));
            snprintf(text, sizeof text, cJSON_IsArray(ratio) ? "%g:%g" : "", number_at(ratio, 0), number_at(ratio, 1));
            const char *options[] = {"learn", "true", "arm_count", count, "method", method, *text ? "ratio" : NULL,
                                     text,    NULL};
            struct learner l;
            learner_open(&l, "abtest", options, &(struct mr_model_open){.feature_count = 1}, ROW_CAP, NULL);
            case_learn(&l, arms);
            const size_t width = l.ops->info(l.model)->width;
            double *const values = calloc(width, sizeof *values);
            char words[MR_FOUND_BYTES];
            l.ops->found(l.model, words, sizeof words, values);
            for (size_t i = 1; i < (size_t)cJSON_GetArraySize(arms); i++) {
                char suffix[32] = "";
                if (cJSON_GetArraySize(arms) > 2) snprintf(suffix, sizeof suffix, ".%zu", i);
                struct found found = {&l, values, suffix};
                row_check(one, method, i, found_value, &found);
            }
            near(values[width - 1], mismatch_of(one), 1e-10, get(one, "name")->valuestring, "mismatch");
            free(values);
            learner_close(&l);
            tried++;
        }
    }
    assert_int_equal(tried, 32);
}

/* ---- looking all the time ---- */

#define TESTS 400
#define LOOKS 200
#define EACH  25 /* records of each arm between two looks */

/*
 * Tests without a difference, of values that are anything but normal, looked at 200 times each: a p below 0.05 turns up
 * in far more than a twentieth of them, the always valid interval leaves 0 out in no more.
 */
static void looking_all_the_time_is_honest(void **state)
{
    const struct mr_ab_rule rule = {.arms = 2, .alpha = 0.05, .tightest_at = 4000};
    uint64_t random = 20261123;
    unsigned fixed = 0, always = 0;
    (void)state;
    for (unsigned test = 0; test < TESTS; test++) {
        struct mr_arm arms[2] = {{0}};
        bool has_fixed = false, has_always = false;
        for (unsigned look = 0; look < LOOKS; look++) {
            struct mr_ab_result result;
            for (unsigned i = 0; i < 2 * EACH; i++) {
                const struct mr_arm one = {1, -log(1 - mr_random_unit(&random)), 0};
                mr_arm_add(&arms[i % 2], &one);
            }
            if (look < 3) continue; /* the first look: after 100 records of each */
            mr_ab_compare(&rule, arms, arms, &result);
            has_fixed |= result.p < 0.05;
            has_always |= result.always_low > 0 || result.always_high < 0;
            assert_int_equal(result.decision != 0, result.always_low > 0 || result.always_high < 0);
        }
        fixed += has_fixed;
        always += has_always;
    }
    if (fixed < TESTS / 4) fail_msg("%u of %d tests looked significant: the streams are no trial", fixed, TESTS);
    if (always > TESTS / 20) fail_msg("%u of %d always valid intervals left out the truth", always, TESTS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(distributions_are_exact), cmocka_unit_test(sums_are_compared_as_by_scipy),
        cmocka_unit_test(rows_are_compared_as_by_scipy), cmocka_unit_test(looking_all_the_time_is_honest)};
    struct mr_file_map map;
    struct mr_err err;
    if (mr_file_map(MR_SOURCE_DIR "/tests/golden/abtest/golden.json", &map, &err)) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    golden = cJSON_ParseWithLength(map.bytes, map.byte_count);
    mr_file_unmap(&map);
    const int failed = golden ? cmocka_run_group_tests(tests, NULL, NULL) : 1;
    cJSON_Delete(golden);
    return failed;
}
