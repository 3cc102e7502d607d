#!/usr/bin/env python3
"""Makes tests/golden/evaluate/: labels for the answers of tests/golden/models/, and what scikit-learn says of both.

    python3 -m venv .venv && .venv/bin/pip install -r tests/golden/evaluate/requirements.txt
    .venv/bin/python tests/golden/evaluate/make.py

expected.json: for each model its labels by row and the metrics of scikit-learn's own predictions (float64); kmeans.safetensors and kmeans.csv: centres and rows, both of scikit-learn's KMeans.
Seeds are fixed. tests/parity/test_eval.py reads all of it."""
import json
import pathlib
import struct

import numpy as np
import sklearn
from sklearn import metrics
from sklearn.calibration import calibration_curve
from sklearn.cluster import KMeans

HERE = pathlib.Path(__file__).parent
MODELS = HERE.parent / "models"
BINARY = ["logistic_binary", "mlp_binary"]
MANY = ["logistic_multinomial", "mlp_relu"]
NUMBER = ["linear"]


def answers(name):
    data = (MODELS / f"{name}.answers.safetensors").read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    header, rest, out = json.loads(data[8 : 8 + size]), data[8 + size :], {}
    for key, tensor in header.items():
        if key != "__metadata__":
            first, last = tensor["data_offsets"]
            dtype = {"F32": "<f4", "F64": "<f8"}[tensor["dtype"]]
            out[key] = np.frombuffer(rest[first:last], dtype).reshape(tensor["shape"])
    return out


def confidence(p, labels, width):
    """ECE and bins of ten equal widths: of the second of two classes, of the predicted one of more."""
    q = p[:, 1] if width == 2 else p.max(axis=1)
    hit = (labels == 1) if width == 2 else (p.argmax(axis=1) == labels)
    bins = np.searchsorted(np.linspace(0, 1, 11)[1:-1], q)
    error = sum(abs(hit[bins == b].sum() - q[bins == b].sum()) for b in range(10)) / len(q)
    share, mean = calibration_curve(hit, q, n_bins=10)
    return error, mean, share


def classes(name, rng):
    y = answers(name)["y"]
    p = np.column_stack([1 - y[:, 0], y[:, 0]]) if y.shape[1] == 1 else y
    count = p.shape[1]
    # Right often, not always; and where a probability is so near to 1 that float32 does not tell how near, right.
    drawn = np.array([rng.choice(count, p=row / row.sum()) for row in 0.7 * p + 0.3 / count])
    labels = np.where(p[np.arange(len(p)), drawn] > 1e-3, drawn, p.argmax(axis=1))
    predicted = p.argmax(axis=1)
    error, mean, share = confidence(p, labels, count)
    out = {
        "labels": labels.tolist(),
        "accuracy": metrics.accuracy_score(labels, predicted),
        "balanced_accuracy": metrics.balanced_accuracy_score(labels, predicted),
        "macro_f1": metrics.f1_score(labels, predicted, average="macro"),
        "log_loss": metrics.log_loss(labels, p, labels=range(count)),
        "auc": metrics.roc_auc_score(labels, p[:, 1]) if count == 2 else metrics.roc_auc_score(labels, p, multi_class="ovr"),
        "calibration_error": error,
        "confusion": metrics.confusion_matrix(labels, predicted, labels=range(count)).tolist(),
        "precision": metrics.precision_score(labels, predicted, average=None, labels=range(count)).tolist(),
        "recall": metrics.recall_score(labels, predicted, average=None, labels=range(count)).tolist(),
        "bin_probability": mean.tolist(),
        "bin_share": share.tolist(),
    }
    if count == 2:
        out["brier"] = metrics.brier_score_loss(labels, p[:, 1])
    return out


def numbers(name, rng):
    y = answers(name)["y"][:, 0]
    labels = y + rng.normal(0, 0.3 * y.std(), len(y)) + 0.05
    return {
        "labels": labels.tolist(),
        "mse": metrics.mean_squared_error(labels, y),
        "rmse": metrics.root_mean_squared_error(labels, y),
        "mae": metrics.mean_absolute_error(labels, y),
        "r2": metrics.r2_score(labels, y),
        "error_max": metrics.max_error(labels, y),
        "mean_error": float((y - labels).mean()),
    }


def centres(rng):
    x = np.concatenate([rng.normal(at, 1, (60, 2)) for at in ((0, 0), (4, 4), (0, 6))]).astype(np.float32)
    fitted = KMeans(3, n_init=4, random_state=1).fit(x)
    c = fitted.cluster_centers_.astype(np.float32)
    header = json.dumps({"__metadata__": {"millrace.type": "kmeans", "millrace.features": '["a","b"]'},
                         "centers": {"dtype": "F32", "shape": [3, 2], "data_offsets": [0, 24]}}, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    (HERE / "kmeans.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + c.tobytes())
    (HERE / "kmeans.csv").write_text("a,b\n" + "".join(f"{a!s},{b!s}\n" for a, b in x))
    return {"inertia": float(fitted.inertia_), "sizes": np.bincount(fitted.labels_).tolist()}


def main():
    rng = np.random.default_rng(7)
    out = {"scikit-learn": sklearn.__version__, "numpy": np.__version__}
    out["classes"] = {name: classes(name, rng) for name in BINARY + MANY}
    out["numbers"] = {name: numbers(name, rng) for name in NUMBER}
    out["kmeans"] = centres(rng)
    (HERE / "expected.json").write_text(json.dumps(out) + "\n")


main()
