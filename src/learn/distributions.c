#include "learn/distributions.h"

#include <float.h>
#include <math.h>

#define ROUNDS_MAX 10000 /* of a series or a fraction; a few hundred are the most that were seen */

static const double sqrt_pi = 1.7724538509055160273;

/*
 * gamma(a + 1/2) / gamma(a). lgamma would lose all digits of the difference at a large a; this is its asymptotic series
 * (Tricomi and Erdelyi, 1951), from an a on at which eight terms are exact; a smaller one is stepped up to that.
 */
static double gamma_half_ratio(double a)
{
    static const double term[] = {
        1, -1.0 / 8, 1.0 / 128, 5.0 / 1024, -21.0 / 32768, -399.0 / 262144, 869.0 / 4194304, 39325.0 / 33554432};
    double below = 1, sum = 0;
    while (a < 40) {
        below *= a / (a + 0.5);
        a += 1;
    }
    for (int i = (int)(sizeof term / sizeof *term); i-- > 0;) sum = sum / a + term[i];
    return below * sqrt(a) * sum;
}

/* log(1 + t^2 / df), also where the square is beyond double. */
static double log_term(double t, double df)
{
    const double root = fabs(t) / sqrt(df);
    return root < 1e3 ? log1p(root * root) : 2 * (log(root) + 0.5 * log1p(1 / (root * root)));
}

/* Series of I(y; 1/2, a) without its factor in front: all terms are positive. */
static double near_series(double y, double a)
{
    double term = 1, sum = 1;
    for (int n = 0; n < ROUNDS_MAX && term > sum * DBL_EPSILON / 8; n++) {
        term *= y * (a + 0.5 + n) / (1.5 + n);
        sum += term;
    }
    return sum;
}

/*
 * F(1/2, 1; a + 1; -2 a / t^2) by Gauss's continued fraction (DLMF 15.7.5), of positive parts alone: nothing cancels,
 * whatever df is, as it does in the usual fraction of I(x; a, 1/2) once x is near 1. At df without end it is that of
 * Mills' ratio of the normal distribution. Lentz's method.
 */
static double far_fraction(double ratio, double a)
{
    double c = 1, d = 0, value = 1;
    for (int i = 1; i < ROUNDS_MAX; i++) {
        const int half = i / 2;
        const double n = half;
        const double part = i % 2 ? (0.5 + n) * ((a + n) / (a + 2 * n)) / (a + 2 * n + 1)
                                  : n * ((a - 0.5 + n) / (a + 2 * n - 1)) / (a + 2 * n);
        d = 1 / (1 + part * ratio * d);
        c = 1 + part * ratio / c;
        value *= c * d;
        if (fabs(c * d - 1) < DBL_EPSILON) break;
    }
    return 1 / value;
}

double mr_t_two_sided(double t, double df)
{
    if (isnan(t) || !(df > 0)) return (double)NAN;
    if (isinf(t)) return 0;
    const double a = df / 2, grown = log_term(t, df);
    const double x = exp(-grown), y = -expm1(-grown);
    const double front = exp(-a * grown) * gamma_half_ratio(a) / sqrt_pi;
    /* Where p is no small number the fraction would take long, and 1 - p loses nothing. */
    if (t * t <= 3 * a / (a + 1)) return 1 - 2 * front * sqrt(y) * near_series(y, a);
    return front / (a * sqrt(y)) * far_fraction(x / y, a);
}

double mr_t_quantile(double alpha, double df)
{
    const double a = df / 2, target = log(alpha), peak = gamma_half_ratio(a) / (sqrt_pi * sqrt(df));
    /* Newton on the logarithms of both: concave, so no step goes past the root from the right, which is where the first
     * one ends. The start is right of the normal quantile, as 2 (1 - Phi(z)) <= exp(-z^2 / 2). */
    double t = sqrt(-2 * target);
    for (int i = 0; i < 100; i++) {
        const double p = mr_t_two_sided(t, df), slope = 2 * t * peak * exp(-(a + 0.5) * log_term(t, df)) / p;
        const double step = (log(p) - target) / slope;
        t *= exp(step);
        if (!(fabs(step) > 4 * DBL_EPSILON)) break;
    }
    return t;
}

double mr_chi_squared_above(double x, unsigned df)
{
    const double half = x / 2;
    const int is_odd = df % 2;
    double term = is_odd ? 2 * sqrt(half) / sqrt_pi * exp(-half) : exp(-half);
    double sum = is_odd ? erfc(sqrt(half)) : 0;
    for (unsigned i = 0; i < df / 2; i++) {
        sum += term;
        term *= half / (i + (is_odd ? 1.5 : 1.0));
    }
    return sum;
}
