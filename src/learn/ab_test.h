/**
 * Tests of the means of arms against that of the control, arm 0, from counts, means and squares alone.
 *
 * Fixed: Welch's t test (unequal variances, degrees of freedom by Welch and Satterthwaite) or Student's (pooled
 * variance, n0 + n1 - 2), two-sided. Right for one look at a sample whose size was chosen before.
 *
 * Always valid: an asymptotic confidence sequence, the normal mixture of Robbins as in Waudby-Smith, Arbour, Sinha,
 * Kennedy and Ramdas, "Time-uniform central limit theory and asymptotic confidence sequences" (Annals of Statistics
 * 52, 2024; theorem 2.2): around the difference of the means
 *     s * sqrt(2 (n r^2 + 1) / (n r^2) * log(sqrt(n r^2 + 1) / alpha)),   s^2 = v0 / n0 + v1 / n1,  n = n0 + n1,
 * which is theirs for the influence function of a difference of means, whose variance is n s^2. r is fixed before the
 * start, so that the interval is tightest near a chosen n. Valid in this sense: the chance that the true difference is
 * outside at ANY time at or after some first look tends to at most alpha as that first look comes later, for
 * independent records with more than two moments. So one may look as often as one likes and stop when one likes; a
 * handful of records is not enough for it, as for any limit theorem.
 */
#ifndef MR_LEARN_AB_TEST_H
#define MR_LEARN_AB_TEST_H

#include <stdbool.h>
#include <stddef.h>

/** Values of one arm so far. */
struct mr_arm {
    double count, mean, squares; /* squares: sum of squared deviations from the mean */
};

/** Adds other values of the arm, as Chan, Golub and LeVeque (1979). */
void mr_arm_add(struct mr_arm *arm, const struct mr_arm *more);

/** How several arms are compared with the control at once. */
typedef enum {
    MR_AB_HOLM,       /* p of Holm's step-down procedure; intervals as with Bonferroni, which go with no step-down */
    MR_AB_BONFERRONI, /* p times the comparisons, intervals at alpha divided by them */
    MR_AB_SEPARATE,   /* each as if it were alone */
} mr_ab_comparisons;

struct mr_ab_rule {
    size_t arms; /* 2 or more */
    bool is_student;
    mr_ab_comparisons comparisons;
    double alpha;
    double tightest_at; /* records of two arms together, more than 0 */
};

/** One arm against the control. What is not defined is NaN: see mr_ab_compare. */
struct mr_ab_result {
    double difference; /* mean of the arm - mean of the control */
    double low, high;  /* fixed: interval of 1 - alpha */
    double statistic, df;
    double p_single, p;             /* alone, and by the rule for several comparisons */
    double always_low, always_high; /* always valid: interval of 1 - alpha */
    double always_p;                /* likewise, by the rule */
    int decision;                   /* by always_p <= alpha: 1 the arm is higher, -1 lower, 0 not decided */
};

#define MR_AB_ARMS_MAX 16

/**
 * recent: [arms] what the fixed test is about; all: [arms] what the always valid one is about, as no window may cut
 * that. results: [arms - 1]. NaN: a difference without a value in both arms; the fixed test where there are fewer than
 * two values in an arm (Student: three in both), or no variance at all, as an interval without a width would claim
 * to know; the always valid one likewise. Pure.
 */
void mr_ab_compare(const struct mr_ab_rule *rule, const struct mr_arm *recent, const struct mr_arm *all,
                   struct mr_ab_result *results);

/**
 * Sample ratio mismatch: chi-squared of the counts of arms against shares [arms], of any sum: the chance of counts as
 * far apart if records are divided so. NaN while an arm expects fewer than 5.
 */
double mr_ab_mismatch(size_t arms, const struct mr_arm *all, const double *shares);

#endif
