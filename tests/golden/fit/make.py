#!/usr/bin/env python3
"""Golden numbers of `millrace fit`, by scikit-learn: rows.csv (made up, by seed) and golden.json beside this file.

    python3 -m venv venv && venv/bin/pip install scikit-learn==1.5.2 && venv/bin/python tests/golden/fit/make.py
"""
import csv
import json
import os

import numpy
import sklearn
from sklearn.cluster import KMeans
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.metrics import log_loss, silhouette_score
from sklearn.preprocessing import StandardScaler

HERE = os.path.dirname(os.path.abspath(__file__))
ROWS, COLS, SEED = 600, 3, 20261122


def rows():
    """Three clouds, two of which overlap; a number that depends on the features, with noise; one feature far from 0."""
    random = numpy.random.default_rng(SEED)
    centers = numpy.array([[0, 1000, -2], [3, 1004, 1], [4, 1001, -1.5]])
    cloud = random.integers(0, 3, ROWS)
    x = centers[cloud] + random.normal(size=(ROWS, COLS)) * [1, 2, 0.5]
    y = 3 * x[:, 0] - 0.5 * x[:, 1] + 10 * x[:, 2] + 7 + random.normal(size=ROWS)
    return x.astype(numpy.float32), y.round(4), numpy.array(["ash", "beech", "yew"])[cloud]


def raw(scaler, weight, bias):
    """Of features as they are."""
    w = numpy.atleast_2d(weight) / scaler.scale_
    return {"weight": w.tolist(), "bias": (numpy.atleast_1d(bias) - (w * scaler.mean_).sum(axis=1)).tolist()}


def main():
    x, y, cloud = rows()
    with open(os.path.join(HERE, "rows.csv"), "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["a", "b", "c", "y", "tree", "is_yew"])
        for values, number, tree in zip(x, y, cloud):
            writer.writerow([*map(str, values), number, tree, int(tree == "yew")])
    x = x.astype(numpy.float64)
    scaler = StandardScaler().fit(x)
    z = scaler.transform(x)
    golden = {"made by": f"scikit-learn {sklearn.__version__}, numpy {numpy.__version__}, seed {SEED}", "rows": ROWS}
    golden["scaler"] = {"mean": scaler.mean_.tolist(), "variance": scaler.var_.tolist()}
    model = LinearRegression().fit(z, y)
    golden["linear"] = raw(scaler, model.coef_, model.intercept_)
    # Ridge: |y - Xw|^2 + alpha |w|^2; ours: 1/(2 n) |y - Xw|^2 + l2/2 |w|^2.
    model = Ridge(alpha=0.1 * ROWS, tol=1e-12).fit(z, y)
    golden["ridge 0.1"] = raw(scaler, model.coef_, model.intercept_)
    # C multiplies the sum of the losses; ours is the mean: l2 = 1 / (C n).
    for name, label, l2 in (("binary", cloud == "yew", 0.01), ("three", cloud, 0.001)):
        model = LogisticRegression(C=1 / (l2 * ROWS), tol=1e-12, max_iter=10000).fit(z, label)
        golden[f"logistic {name}"] = {**raw(scaler, model.coef_, model.intercept_), "l2": l2,
                                      "log_loss": log_loss(label, model.predict_proba(z)), "accuracy": model.score(z, label)}
    for name, label, weights in (("binary", cloud == "yew", {True: 5, False: 0.5}), ("three", cloud, "balanced")):
        model = LogisticRegression(C=1 / (0.01 * ROWS), tol=1e-12, max_iter=10000, class_weight=weights).fit(z, label)
        golden[f"weighted {name}"] = {**raw(scaler, model.coef_, model.intercept_), "l2": 0.01}
    start = x[:4]
    model = KMeans(4, init=start, n_init=1, max_iter=5, tol=0, algorithm="lloyd").fit(x)
    golden["kmeans"] = {"start": "rows 0 to 3", "iterations": 5, "centers": model.cluster_centers_.tolist(), "inertia": model.inertia_,
                        "silhouette": silhouette_score(x, model.labels_)}
    model = KMeans(3, n_init=20, tol=0, random_state=1).fit(x)
    golden["kmeans 3"] = {"inertia": model.inertia_}
    with open(os.path.join(HERE, "golden.json"), "w", encoding="utf-8") as file:
        json.dump(golden, file, indent=1)
        file.write("\n")


main()
