#!/usr/bin/env python3
"""Writes streams.json: what scikit-learn and river learn from small streams, batch by batch, for tests/parity/test_online.c.

    python3 -m venv venv && venv/bin/pip install -r tests/golden/online/requirements.txt
    venv/bin/python tests/golden/online/make_streams.py >tests/golden/online/streams.json

Features are float32 values, so that both sides read the same numbers; all arithmetic here is float64.
"""
import json

import numpy as np
import river
import river.linear_model
import river.optim
import river.preprocessing
import sklearn
from sklearn.cluster import KMeans, MiniBatchKMeans
from sklearn.linear_model import SGDClassifier, SGDRegressor
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.preprocessing import StandardScaler


def features(rng, rows, cols):
    return np.round(rng.normal(size=(rows, cols)), 4).astype(np.float32).astype(np.float64)


def stream(name, made_by, kind, options, batches, after, tolerance, start=None, activations=None):
    return {"name": name, "made_by": made_by, "type": kind, "options": options, "start": start, "activations": activations,
            "tolerance": tolerance, "after": after,
            "batches": [{"x": x.tolist(), "y": None if y is None else y.tolist()} for x, y in batches]}


def single_rows(x, y):
    return [(x[i:i + 1], y[i:i + 1]) for i in range(len(x))]


def sgd_streams(rng):
    made_by = f"scikit-learn {sklearn.__version__}"
    x = features(rng, 100, 3)
    labels = (x @ [1.5, -2, 0.5] + 0.3 + rng.normal(size=100) * 0.5 > 0).astype(float)
    model = SGDClassifier(loss="log_loss", penalty="l2", alpha=0.01, learning_rate="constant", eta0=0.05, shuffle=False)
    model.partial_fit(x, labels, classes=[0, 1])
    yield stream("SGDClassifier, log loss, L2", made_by, "logistic", {"step": 0.05, "l2": 0.01}, single_rows(x, labels),
                 {"weight": model.coef_.tolist(), "bias": model.intercept_.tolist()}, 1e-6)
    numbers = np.round(x @ [1.5, -2, 0.5] + 0.3 + rng.standard_t(2, size=100), 4)
    for loss, options in (("squared_error", {}), ("huber", {"loss": "huber", "delta": 0.5})):
        model = SGDRegressor(loss=loss, epsilon=0.5, penalty=None, learning_rate="constant", eta0=0.02, shuffle=False)
        model.partial_fit(x, numbers)
        yield stream(f"SGDRegressor, {loss}", made_by, "linear", {"step": 0.02} | options, single_rows(x, numbers),
                     {"weight": [model.coef_.tolist()], "bias": model.intercept_.tolist()}, 1e-6)


def river_streams(rng):
    made_by = f"river {river.__version__}"
    x = features(rng, 80, 4)
    labels = (x @ [1, 1, -1, 0.2] > 0).astype(float)
    model = river.linear_model.LogisticRegression(optimizer=river.optim.SGD(0.1), intercept_lr=0.1)
    scaler = river.preprocessing.StandardScaler()
    for row, label in zip(x, labels):
        named = {f"f{c}": float(value) for c, value in enumerate(row)}
        model.learn_one(named, bool(label))
        scaler.learn_one(named)
    names = [f"f{c}" for c in range(4)]
    yield stream("LogisticRegression, one row at a time", made_by, "logistic", {"step": 0.1}, single_rows(x, labels),
                 {"weight": [[model.weights[name] for name in names]], "bias": [model.intercept]}, 1e-6)
    yield stream("StandardScaler", made_by, "scaler", {}, [(x[i:i + 10], None) for i in range(0, 80, 10)],
                 {"mean": [scaler.means[name] for name in names], "variance": [scaler.vars[name] for name in names]}, 1e-6)


def mlp_tensors(model):
    tensors = {}
    for i, (weight, bias) in enumerate(zip(model.coefs_, model.intercepts_)):
        tensors[f"layer.{i}.weight"] = weight.T.tolist()
        tensors[f"layer.{i}.bias"] = bias.tolist()
    return tensors


def mlp_streams(rng):
    made_by = f"scikit-learn {sklearn.__version__}"
    cases = (("MLPClassifier, softmax, Adam", MLPClassifier, 3, "relu", (8, 6), "adam", 0.01, ["relu", "relu", "softmax"]),
             ("MLPClassifier, logistic, Adam", MLPClassifier, 2, "tanh", (5,), "adam", 0.01, ["tanh", "sigmoid"]),
             ("MLPRegressor, SGD", MLPRegressor, 0, "logistic", (7,), "sgd", 0.05, ["sigmoid", "identity"]))
    for name, kind, classes, activation, hidden, solver, step, activations in cases:
        batches = []
        for _ in range(12):
            x = features(rng, 32, 4)
            sums = x @ [1, -1, 0.5, 0] + np.sin(2 * x[:, 3])
            batches.append((x, np.digitize(sums, [-0.5, 0.8][:classes - 1]).astype(float) if classes else np.round(sums, 4)))
        model = kind(hidden_layer_sizes=hidden, activation=activation, solver=solver, learning_rate_init=step, alpha=0,
                     momentum=0, nesterovs_momentum=False, batch_size=32, shuffle=False, random_state=3)
        extra = {"classes": list(range(classes))} if classes else {}
        model.partial_fit(*batches[0], **extra)  # makes the first weights, and one step: the stream begins behind it
        del model._optimizer
        for weight in model.coefs_ + model.intercepts_:
            weight[...] = weight.astype(np.float32)
        start = mlp_tensors(model)
        for x, y in batches[1:]:
            model.partial_fit(x, y)
        yield stream(name, made_by, "mlp", {"step": step, "schedule": "adam" if solver == "adam" else "constant"}, batches[1:],
                     mlp_tensors(model), 1e-6, start, activations)


def kmeans_streams(rng):
    made_by = f"scikit-learn {sklearn.__version__}"
    places = np.array([[0, 0, 1], [4, 0, -1], [0, 5, 0], [5, 5, 2]], dtype=np.float64)
    x = (places[rng.integers(4, size=120)] + features(rng, 120, 3)).astype(np.float32).astype(np.float64)
    start = x[:4].copy()
    lloyd = KMeans(4, init=start, n_init=1, max_iter=5, tol=0, algorithm="lloyd").fit(x)
    yield stream("KMeans, five iterations: the same batch five times, nothing remembered", made_by, "kmeans", {"decay": 0},
                 [(x, None)] * 5, {"centers": lloyd.cluster_centers_.tolist()}, 1e-6, {"centers": start.tolist()})
    mini = MiniBatchKMeans(4, init=start, n_init=1, batch_size=30, reassignment_ratio=0)
    batches = [(x[i:i + 30], None) for i in range(0, 120, 30)]
    for batch, _ in batches:
        mini.partial_fit(batch)
    yield stream("MiniBatchKMeans, partial_fit: nothing forgotten", made_by, "kmeans", {"decay": 1}, batches,
                 {"centers": mini.cluster_centers_.tolist()}, 1e-6, {"centers": start.tolist()})


def standardised_stream(rng):
    """SGD on standardised features: each batch by the mean and deviation of those before it, the first by its own."""
    x = np.round(features(rng, 160, 3) * [1, 200, 0.02] + [0, 3000, -0.7], 4).astype(np.float32).astype(np.float64)
    y = np.round(x @ [1.5, 0.01, -20] + rng.normal(size=160), 4)
    batches = [(x[i:i + 20], y[i:i + 20]) for i in range(0, 160, 20)]
    scaler, weight, bias = StandardScaler().fit(batches[0][0]), np.zeros(3), 0.0
    for i, (rows, label) in enumerate(batches):
        z = (rows - scaler.mean_) / scaler.scale_
        apart = z @ weight + bias - label
        weight, bias = weight - 0.2 * apart @ z / len(z), bias - 0.2 * apart.mean()
        if i:
            scaler.partial_fit(rows)
    return stream("SGD on features that are standardised as they come", f"numpy, scikit-learn {sklearn.__version__}", "linear",
                  {"step": 0.2, "standardise": "true"}, batches,
                  {"weight": [weight.tolist()], "bias": [bias], "input.mean": scaler.mean_.tolist(), "input.scale": scaler.scale_.tolist()},
                  1e-5)


def main():
    rng = np.random.default_rng(5)
    streams = [*sgd_streams(rng), *river_streams(rng), *mlp_streams(rng)]
    rng = np.random.default_rng(6)
    streams += [*kmeans_streams(rng), standardised_stream(rng)]
    print(json.dumps({"streams": streams}, separators=(",", ":")))


if __name__ == "__main__":
    main()
