#!/usr/bin/env python3
"""Fits the polynomials of kernels/activate.h and prints them with their largest relative error. Needs numpy and scipy.

Minimax by Lawson's iteration: a least-squares fit whose weights grow where the error is largest."""
import numpy as np
from scipy.special import erfcx


def fit(values, powers, scale, points, rounds=1500):
    matrix = np.stack([points**p for p in powers], 1) * scale[:, None]
    target = values * scale
    weight = np.full(len(points), 1 / len(points))
    for _ in range(rounds):
        root = np.sqrt(weight)
        found, *_ = np.linalg.lstsq(matrix * root[:, None], target * root, rcond=None)
        error = np.abs(matrix @ found - target)
        weight = weight * error / (weight * error).sum()
    return found, error.max()


def show(name, found, error):
    print(name, " ".join(f"{np.float32(c):.9g}f" for c in found), f"largest relative error {error:.2g}")


def main():
    f = 0.5 * np.cos(np.linspace(0, np.pi, 4001))
    f = f[np.abs(f) > 1e-4]
    show("2^f - 1, |f| <= 1/2:", *fit(np.exp2(f) - 1, range(1, 6), np.exp2(-f), f))

    q = (np.exp2(f) - 1) / f
    show("(2^f - 1) / f, for tanh:", *fit(q, range(0, 6), 1 / q, f))

    u = np.linspace(1 / (1 + 0.3 * 14), 1, 6001)
    tail = 0.5 * erfcx((1 / u - 1) / 0.3 / np.sqrt(2))
    show("P(Z > z) e^(z^2 / 2), u = 1 / (1 + 0.3 z):", *fit(tail, range(1, 9), 1 / tail, u))


if __name__ == "__main__":
    main()
