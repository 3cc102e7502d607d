#!/usr/bin/env python3
"""Writes golden.json: what scipy and mpmath say of small, large and degenerate A/B tests, for tests/parity/test_abtest.c.

    scripts/setup --tests
    PYTHONPATH=.cache/libraries/1:.cache/onnx/1.22.0 python3 tests/golden/abtest/make.py >tests/golden/abtest/golden.json

t tests and their intervals are scipy's (ttest_ind, ttest_ind_from_stats), the sample ratio its chisquare. Holm's procedure is written down here
from its definition, and so is the boundary of the confidence sequence, from theorem 2.2 of Waudby-Smith et al. (2024); its p is found by
bisection of that boundary, not from a closed form. NaN, which JSON has not, is null.
"""
import json
import math

import mpmath
import numpy as np
import scipy
from scipy import optimize, stats

mpmath.mp.dps = 50
ALPHA, TIGHTEST = 0.05, 10000


def plain(value):
    value = float(value)
    return value if math.isfinite(value) else None


def radius(variance, count, alpha_at, alpha):
    """theorem 2.2 with sigma^2 = count * variance, rho chosen for TIGHTEST at the level alpha_at"""
    rho2 = (-2 * math.log(alpha_at) + math.log(-2 * math.log(alpha_at) + 1)) / TIGHTEST
    sigma2 = count * variance
    grown = count * rho2 + 1
    return math.sqrt(sigma2 * 2 * grown / (count ** 2 * rho2) * math.log(math.sqrt(grown) / alpha))


def always(control, arm, alpha):
    (n0, m0, v0), (n1, m1, v1) = control, arm
    if n0 < 2 or n1 < 2 or v0 + v1 == 0:
        return [None, None, None]
    variance, count, apart = v0 / n0 + v1 / n1, n0 + n1, m1 - m0
    reach = radius(variance, count, alpha, alpha)

    def off(log_p):
        return radius(variance, count, alpha, math.exp(log_p)) - abs(apart)
    p = 1.0 if off(0.0) > 0 else math.exp(optimize.brentq(off, -680, 0, xtol=1e-14, rtol=1e-15)) if off(-680) > 0 else 0.0
    return [apart - reach, apart + reach, p]


def holm(ps):
    order = sorted(range(len(ps)), key=lambda i: ps[i])
    out, least = [0.0] * len(ps), 0.0
    for rank, i in enumerate(order):
        least = max(least, min(1.0, (len(ps) - rank) * ps[i]))
        out[i] = least
    return out


def fixed(control, arm, values, equal, alpha):
    """values: of both arms, or None where there are sums alone"""
    (n0, m0, v0), (n1, m1, v1) = control, arm
    if equal and (n0 < 2 or n1 < 2):  # scipy's variance of one value is NaN; the pooled one needs none of it
        if n0 < 1 or n1 < 1 or n0 + n1 < 3:
            return [None] * 5
        df = n0 + n1 - 2
        error = math.sqrt(((n0 - 1) * v0 + (n1 - 1) * v1) / df * (1 / n0 + 1 / n1))
    elif n0 < 2 or n1 < 2 or (v0 == 0 and v1 == 0):
        return [None] * 5
    elif values:
        result = stats.ttest_ind(values[1], values[0], equal_var=equal)
        low, high = result.confidence_interval(1 - alpha)
        return [plain(x) for x in (result.statistic, result.df, result.pvalue, low, high)]
    else:
        result = stats.ttest_ind_from_stats(m1, math.sqrt(v1), n1, m0, math.sqrt(v0), n0, equal_var=equal)
        a, b = v0 / n0, v1 / n1
        df = n0 + n1 - 2 if equal else (a + b) ** 2 / (a ** 2 / (n0 - 1) + b ** 2 / (n1 - 1))
        error = (m1 - m0) / result.statistic if result.statistic else math.sqrt(a + b)
    if error == 0:
        return [None] * 5
    t = (m1 - m0) / error
    reach = stats.t.isf(alpha / 2, df) * error
    return [t, df, plain(2 * stats.t.sf(abs(t), df)), m1 - m0 - reach, m1 - m0 + reach]


def case(name, arms=None, sums=None, ratio=None, tolerance=1e-10):
    """arms: values by arm; or sums: (count, mean, variance) by arm. tolerance: relative, of all but the case's own conditioning"""
    if arms is not None:
        arms = [np.asarray(a, dtype=np.float64) for a in arms]
        sums = [(len(a), a.mean() if len(a) else 0.0, a.var(ddof=1) if len(a) > 1 else 0.0) for a in arms]
    count, out = len(sums) - 1, {}
    for method in ("welch", "student"):
        rows = []
        for i in range(1, count + 1):
            values = None if arms is None else (arms[0], arms[i])
            both = sums[0][0] > 0 and sums[i][0] > 0
            rows.append([plain(sums[i][1] - sums[0][1]) if both else None]
                        + fixed(sums[0], sums[i], values, method == "student", ALPHA / count) + always(sums[0], sums[i], ALPHA / count))
        for at in (3, 8):
            ps = [row[at] for row in rows]
            adjusted = holm(ps) if None not in ps else ps
            for row, p in zip(rows, adjusted):
                row.append(p)
        out[method] = rows
    counts, shares = np.array([s[0] for s in sums], dtype=float), np.array(ratio or [1.0] * len(sums))
    expected = counts.sum() * shares / shares.sum()
    mismatch = plain(stats.chisquare(counts, expected).pvalue) if expected.min() >= 5 else None
    return {"name": name, "tolerance": tolerance, "ratio": ratio, "arms": None if arms is None else [a.tolist() for a in arms],
            "sums": None if arms is not None else [[c, m, v * (c - 1)] for c, m, v in sums], "mismatch": mismatch, **out}


def cases():
    rng = np.random.default_rng(20261123)

    def normal(count, mean, deviation):
        return np.round(rng.normal(mean, deviation, count), 6)
    yield case("equal", [normal(200, 10, 2), normal(200, 10, 2)])
    yield case("unequal_variances", [normal(100, 10, 2), normal(50, 11.5, 3)], ratio=[2.0, 1.0])
    yield case("clear", [normal(400, 0, 1), normal(400, 1, 1)])
    yield case("two_each", [[1.0, 2.0], [2.5, 4.0]])
    yield case("one_and_three", [[1.0], [1.0, 2.0, 3.5]])
    yield case("two_and_two_thousand", [[1.0, 1.5], normal(2000, 1, 3)])
    yield case("one_constant", [[2.0] * 7, normal(9, 2.5, 1)])
    yield case("both_constant", [[2.0] * 7, [3.0] * 9])
    yield case("same_constant", [[2.0] * 7, [2.0] * 9])
    yield case("control_empty", [[], normal(9, 2.5, 1)])
    yield case("arm_empty", [normal(9, 2.5, 1), []])
    yield case("far_mean", [1e9 + normal(300, 0, 1), 1e9 + normal(300, 0.3, 1)], tolerance=1e-4)  # 1e-16 of 1e9 is 1e-7 of the difference
    yield case("tiny_values", [1e-60 * normal(30, 1, 1), 1e-60 * normal(30, 2, 1)])
    yield case("zero_one", [(rng.random(3000) < 0.10).astype(float), (rng.random(2900) < 0.13).astype(float)])
    yield case("four_arms", [normal(500, 5, 2), normal(480, 5.5, 2), normal(520, 5.05, 3), normal(510, 5.3, 2)])
    yield case("tied_arms", [normal(60, 5, 2)] + [normal(60, 5.7, 2)] * 2)
    yield case("huge", sums=[(5e11, 3.0, 4.0), (5.00001e11, 3.00001, 4.1)])
    yield case("huge_and_small", sums=[(1e12, 3.0, 4.0), (12.0, 4.5, 4.1)])
    yield case("mismatch", sums=[(5210.0, 3.0, 4.0), (4790.0, 3.1, 4.0)])
    yield case("nine_to_one", sums=[(90100.0, 3.0, 4.0), (9900.0, 3.1, 4.0)], ratio=[9.0, 1.0])


def t_two_sided(t, df):
    t, df = mpmath.mpf(t), mpmath.mpf(df)
    return mpmath.betainc(df / 2, mpmath.mpf(1) / 2, 0, df / (df + t * t), regularized=True)


def distributions():
    t = [[x, df, plain(t_two_sided(x, df))] for df in (1, 1.5, 2, 3, 4.7, 10, 29.3, 100, 999, 10000)
         for x in (1e-9, 1e-3, 0.1, 0.5, 1, 1.7, 1.74, 2, 3, 5, 10, 20, 35, 100, 1e4, 1e60)]
    far = [[x, 1e300, plain(mpmath.erfc(mpmath.mpf(x) / mpmath.sqrt(2)))] for x in (0.1, 1, 1.7, 1.8, 3, 10, 35)]
    chi = [[x, df, plain(mpmath.gammainc(mpmath.mpf(df) / 2, mpmath.mpf(x) / 2, mpmath.inf, regularized=True))]
           for df in range(1, 16) for x in (0, 1e-5, 0.1, 1, 3, 10, 50, 300, 1400)]
    return {"t": [row for row in t + far if row[2] > 1e-280], "chi_squared": chi}


print(json.dumps({"made_by": f"scipy {scipy.__version__}, mpmath {mpmath.__version__}", "alpha": ALPHA, "tightest_at": TIGHTEST,
                  "columns": ["difference", "statistic", "df", "p_single", "low", "high", "always_low", "always_high", "always_single", "p",
                              "always_p"],
                  "distributions": distributions(), "cases": list(cases())}))
