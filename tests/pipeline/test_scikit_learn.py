#!/usr/bin/env python3
"""scripts/export/from_scikit_learn.py on models that scikit-learn itself has fitted: what `millrace score` gives is what they predict."""
import os
import pathlib
import pickle
import subprocess
import sys
import tempfile
import warnings

import libraries

ROOT = pathlib.Path(__file__).resolve().parents[2]
MILLRACE = os.environ.get("MILLRACE", str(ROOT / "build/millrace"))
EXPORT = ROOT / "scripts/export/from_scikit_learn.py"
sys.path.insert(0, str(EXPORT.parent))

libraries.need("numpy", "sklearn")
import numpy as np  # noqa: E402
from sklearn.cluster import KMeans, MiniBatchKMeans  # noqa: E402
from sklearn.ensemble import RandomForestClassifier  # noqa: E402
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge, SGDClassifier, SGDRegressor  # noqa: E402
from sklearn.neural_network import MLPClassifier, MLPRegressor  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler  # noqa: E402

from from_scikit_learn import Refused, export  # noqa: E402

RANDOM = np.random.default_rng(20261122)
COLUMNS = ["a", "b", "c", "d"]


def fail(text):
    sys.exit(f"FAIL: {text}")


def data():
    cloud = RANDOM.integers(0, 3, 500)
    x = np.array([[0, 50, 1, -2], [2, 52, 1, 1], [3, 49, 1, 0]], dtype=float)[cloud] + RANDOM.normal(size=(500, 4)) * [1, 3, 0.2, 1]
    return x.astype(np.float32).astype(float), cloud, x @ [2.0, -0.3, 5.0, 1.0] + 100


def models(x, cloud, y):
    """Name, model, and what it must give."""
    names = np.array(["ash", "beech, \"red\"", "yew"])[cloud]
    fits = {"linear": (LinearRegression(), y), "two targets": (Ridge(), np.column_stack([y, -2 * y + 1])), "sgd": (make_pipeline(StandardScaler(), SGDRegressor(random_state=1)), y),
            "regressor": (make_pipeline(MinMaxScaler(), MLPRegressor(hidden_layer_sizes=(8,), max_iter=300, random_state=1)), y / 10),
            "binary": (LogisticRegression(), cloud == 2), "softmax": (make_pipeline(StandardScaler(), MaxAbsScaler(), LogisticRegression()), names),
            "log loss": (make_pipeline(StandardScaler(with_mean=False), SGDClassifier(loss="log_loss", random_state=1)), names == "yew"),
            "mlp": (make_pipeline(StandardScaler(), MLPClassifier((9, 5), activation="tanh", max_iter=100, random_state=1)), names),
            "mlp of two": (make_pipeline(StandardScaler(), MLPClassifier((6,), activation="logistic", max_iter=100, random_state=1)), cloud == 1)}
    for name, (model, target) in fits.items():
        model.fit(x, target)
        if hasattr(model, "predict_proba"):
            p = model.predict_proba(x)
            yield name, model, p[:, 1:] if p.shape[1] == 2 else p
        else:
            yield name, model, model.predict(x).reshape(len(x), -1)
    for name, model in {"kmeans": KMeans(3, n_init=2, random_state=1), "mini": MiniBatchKMeans(4, n_init=2, random_state=1)}.items():
        yield name, model.fit(x), model.transform(x).min(axis=1, keepdims=True) ** 2


def scored(path, folder, want, tolerance):
    np.savetxt(folder / "want.csv", want, delimiter=",", fmt="%.9g", header=",".join(f"y{i}" for i in range(want.shape[1])), comments="")
    done = subprocess.run([MILLRACE, "score", path, folder / "rows.csv", "-f", "csv", "-F", ",".join(COLUMNS), "--expect", folder / "want.csv", "--tolerance", str(tolerance)],
                          capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        fail(f"{path.name}: exit code {done.returncode}\n{done.stderr}")


def refused(model, reason, folder):
    try:
        export(model, folder / "none.safetensors")
    except Refused as why:
        if reason in str(why):
            return
        fail(f"refused because: {why}")
    fail(f"{model} was not refused")


def main():
    warnings.simplefilter("ignore")  # of course not all have converged
    x, cloud, y = data()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        np.savetxt(folder / "rows.csv", x, delimiter=",", fmt="%.9g", header=",".join(COLUMNS), comments="")
        count = 0
        for name, model, want in models(x, cloud, y):
            path = folder / f"{name}.safetensors"
            export(model, path, features=COLUMNS)
            # looser where logits go up to 100, and where distances are small beside the rows
            scored(path, folder, want, 5e-5 if hasattr(model, "predict_proba") or hasattr(model, "cluster_centers_") else 5e-6)
            count += 1
        refused(make_pipeline(StandardScaler(), KMeans(2, n_init=1)).fit(x), "behind a scaler", folder)
        refused(make_pipeline(RobustScaler(), LinearRegression()).fit(x, y), "RobustScaler", folder)
        refused(SGDClassifier(random_state=1).fit(x, cloud), "log_loss", folder)
        refused(SGDClassifier(loss="log_loss", random_state=1).fit(x, cloud), "against the rest", folder)
        refused(RandomForestClassifier(2).fit(x, cloud), "not known", folder)
        (folder / "model.pickle").write_bytes(pickle.dumps(model))
        done = subprocess.run([sys.executable, EXPORT, "--trust-pickle", folder / "model.pickle", folder / "pickled.safetensors"], check=False, timeout=60)
        if done.returncode or (folder / "pickled.safetensors").stat().st_size < 100:
            fail("a pickled model was not exported")
        if subprocess.run([sys.executable, EXPORT, folder / "model.pickle", folder / "x"], stderr=subprocess.DEVNULL, check=False, timeout=60).returncode != 64:
            fail("a pickle was read although nobody said that it may be trusted")
        print(f"{count} models of scikit-learn")


main()
