#include "learn/ab_test.h"

#include <math.h>

#include "learn/distributions.h"

void mr_arm_add(struct mr_arm *arm, const struct mr_arm *more)
{
    const double all = arm->count + more->count, apart = more->mean - arm->mean;
    if (!(more->count > 0)) return;
    if (!(arm->count > 0)) {
        *arm = *more;
        return;
    }
    arm->squares += more->squares + apart * apart * (arm->count * (more->count / all));
    arm->mean += apart * (more->count / all);
    arm->count = all;
}

/* Variance of the arm's mean; NaN: of fewer than two values. */
static double mean_variance(const struct mr_arm *arm)
{
    return arm->count >= 2 ? arm->squares / (arm->count - 1) / arm->count : (double)NAN;
}

/* Variance of the difference of means, and its degrees of freedom. */
static double welch(const struct mr_arm *a, const struct mr_arm *b, double *df_out)
{
    const double of_a = mean_variance(a), variance = of_a + mean_variance(b), share = of_a / variance;
    *df_out = 1 / (share * share / (a->count - 1) + (1 - share) * (1 - share) / (b->count - 1));
    return variance;
}

static double student(const struct mr_arm *a, const struct mr_arm *b, double *df_out)
{
    const bool is_enough = a->count >= 1 && b->count >= 1 && a->count + b->count >= 3;
    *df_out = is_enough ? a->count + b->count - 2 : (double)NAN;
    return (a->squares + b->squares) / *df_out * (1 / a->count + 1 / b->count);
}

static void fixed_set(const struct mr_ab_rule *rule, double alpha, const struct mr_arm *arm,
                      const struct mr_arm *control, struct mr_ab_result *result)
{
    double df;
    const double variance = rule->is_student ? student(control, arm, &df) : welch(control, arm, &df);
    if (!(variance > 0) || !isfinite(variance)) return;
    const double error = sqrt(variance), reach = mr_t_quantile(alpha, df) * error;
    result->statistic = result->difference / error;
    result->df = df;
    result->low = result->difference - reach;
    result->high = result->difference + reach;
    result->p_single = mr_t_two_sided(result->statistic, df);
}

/* The r of the header: the interval at alpha is about tightest for n records (their equation 9 and below). */
static double mixture_r2(const struct mr_ab_rule *rule, double alpha)
{
    return (-2 * log(alpha) + log(1 - 2 * log(alpha))) / rule->tightest_at;
}

static void always_set(const struct mr_ab_rule *rule, double alpha, const struct mr_arm *arm,
                       const struct mr_arm *control, struct mr_ab_result *result)
{
    const double variance = mean_variance(control) + mean_variance(arm), difference = arm->mean - control->mean;
    const double spread = (control->count + arm->count) * mixture_r2(rule, alpha);
    if (!(variance > 0) || !isfinite(variance)) return;
    const double grown = log1p(spread) / 2, factor = (spread + 1) / spread;
    const double reach = sqrt(variance * 2 * factor * (grown - log(alpha)));
    result->always_low = difference - reach;
    result->always_high = difference + reach;
    /* The least alpha, r as it is, whose interval leaves out 0. */
    result->always_p = fmin(1, exp(grown - difference * difference / (2 * variance * factor)));
    result->decision = difference > 0 ? 1 : -1;
}

/* Holm: the k-th smallest of n counts n - k + 1 times, and none for less than a smaller one. NaN are the largest. */
static double holm(const double *single, size_t count, size_t i)
{
    double worst = 0;
    for (size_t k = 0; k < count; k++) {
        size_t below = 0;
        if (!(single[k] <= single[i])) continue;
        for (size_t j = 0; j < count; j++) below += single[j] < single[k];
        worst = fmax(worst, single[k] * (double)(count - below));
    }
    return worst;
}

/* p of comparison i by the rule. */
static double adjusted(const struct mr_ab_rule *rule, const double *single, size_t count, size_t i)
{
    if (isnan(single[i]) || rule->comparisons == MR_AB_SEPARATE) return single[i];
    return fmin(1, rule->comparisons == MR_AB_HOLM ? holm(single, count, i) : single[i] * (double)count);
}

void mr_ab_compare(const struct mr_ab_rule *rule, const struct mr_arm *recent, const struct mr_arm *all,
                   struct mr_ab_result *results)
{
    const size_t count = rule->arms - 1;
    const double alpha = rule->comparisons == MR_AB_SEPARATE ? rule->alpha : rule->alpha / (double)count;
    double single[MR_AB_ARMS_MAX] = {0}, always[MR_AB_ARMS_MAX] = {0};
    const double none = (double)NAN;
    for (size_t i = 0; i < count; i++) {
        struct mr_ab_result *const result = &results[i];
        const bool is_any = recent[0].count > 0 && recent[i + 1].count > 0;
        *result = (struct mr_ab_result){is_any ? recent[i + 1].mean - recent[0].mean : none,
                                        none,
                                        none,
                                        none,
                                        none,
                                        none,
                                        none,
                                        none,
                                        none,
                                        none,
                                        0};
        fixed_set(rule, alpha, &recent[i + 1], &recent[0], result);
        always_set(rule, alpha, &all[i + 1], &all[0], result);
        single[i] = result->p_single;
        always[i] = result->always_p;
    }
    for (size_t i = 0; i < count; i++) {
        results[i].p = adjusted(rule, single, count, i);
        results[i].always_p = adjusted(rule, always, count, i);
        if (!(results[i].always_p <= rule->alpha)) results[i].decision = 0;
    }
}

double mr_ab_mismatch(size_t arms, const struct mr_arm *all, const double *shares)
{
    double count = 0, whole = 0, sum = 0;
    for (size_t i = 0; i < arms; i++) count += all[i].count, whole += shares[i];
    for (size_t i = 0; i < arms; i++) {
        const double expected = count * (shares[i] / whole), apart = all[i].count - expected;
        if (!(expected >= 5)) return (double)NAN;
        sum += apart * apart / expected;
    }
    return mr_chi_squared_above(sum, (unsigned)(arms - 1));
}
