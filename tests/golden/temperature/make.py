#!/usr/bin/env python3
"""Writes expected.json: what scikit-learn says about every reading of datasets/temperature, with the stored network.

    .venv/bin/pip install -r tests/golden/temperature/requirements.txt
    .venv/bin/python tests/golden/temperature/make.py

The stored weights are put into scikit-learn's own classifier (float64). For each series (the stand-in, and the real one when
datasets/temperature/get has brought it; what is stored of that is classes and probabilities, never its readings):
  sha256         of the record lines the rest is about
  classes        of all readings, in order, as [class, how many in a row] pairs
  sample         every 100th reading and the 50 nearest to an edge between regimes: index -> probabilities, 17 digits
  spread         the largest difference of a float32 forward pass in numpy from the float64 one, over all readings and classes;
                 "standardised": (x - mean) / scale first; "folded": mean and scale folded into the first layer
  margin         the smallest difference between the best and the second-best class: far above the spread, or classes may differ
"""
import gzip
import hashlib
import json
import os
import pathlib
import struct
import warnings

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import sklearn
from sklearn.neural_network import MLPClassifier

ROOT = pathlib.Path(__file__).resolve().parents[3]
DATA = ROOT / "datasets/temperature"


def read_safetensors(path):
    blob = path.read_bytes()
    (size,) = struct.unpack_from("<Q", blob)
    header = json.loads(blob[8:8 + size])
    metadata = header.pop("__metadata__")
    tensors = {}
    for name, entry in header.items():
        first, last = entry["data_offsets"]
        tensors[name] = np.frombuffer(blob[8 + size + first:8 + size + last], {"F32": "<f4", "F64": "<f8"}[entry["dtype"]]).reshape(entry["shape"])
    return tensors, metadata


def oracle(tensors):
    """scikit-learn's classifier around the stored weights. One step of fit lays out its private parts; the rest is replaced."""
    x = np.zeros((6, 1))
    net = MLPClassifier((6, 8), activation="logistic", max_iter=1, solver="adam", batch_size=6)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of course it has not converged
        net.fit(x, np.arange(6))
    net.coefs_ = [tensors[f"layer.{i}.weight"].T.astype(float) for i in range(3)]
    net.intercepts_ = [tensors[f"layer.{i}.bias"].astype(float) for i in range(3)]
    return net


def forward32(tensors, temperature, fold):
    """A float32 forward pass, every step rounded to float32."""
    x = temperature.astype(np.float32)[:, None]
    wide = tensors
    tensors = {name: values.astype(np.float32) for name, values in tensors.items()}
    w0, b0 = tensors["layer.0.weight"], tensors["layer.0.bias"]
    mean, scale = tensors["input.mean"], tensors["input.scale"]
    if fold:
        folded = wide["layer.0.weight"].astype(float) / wide["input.scale"].astype(float)
        b0 = (wide["layer.0.bias"].astype(float) - (folded * wide["input.mean"].astype(float)).sum(axis=1)).astype(np.float32)
        w0 = folded.astype(np.float32)
    else:
        x = (x - mean) / scale
    one = np.float32(1)
    layers = [(w0, b0)] + [(tensors[f"layer.{i}.weight"], tensors[f"layer.{i}.bias"]) for i in (1, 2)]
    for w, b in layers:
        z = x @ w.T + b
        with np.errstate(over="ignore"):  # an infinite exp makes the sigmoid 0, as it should
            x = one / (one + np.exp(-z))
    e = np.exp(z - z.max(axis=1, keepdims=True))
    p = e / e.sum(axis=1, keepdims=True)
    assert p.dtype == np.float32
    return p


def runs(classes):
    out = []
    for value in classes.tolist():
        if out and out[-1][0] == value:
            out[-1][1] += 1
        else:
            out.append([value, 1])
    return out


def expect(lines, tensors):
    temperature = np.array([json.loads(line)["Temperature"] for line in lines.splitlines()])
    x = (temperature - tensors["input.mean"].astype(float)) / tensors["input.scale"].astype(float)
    net = oracle(tensors)
    p = net.predict_proba(x[:, None])
    classes = net.predict(x[:, None])
    assert (classes == p.argmax(axis=1)).all()
    ordered = np.sort(p, axis=1)
    margin = ordered[:, -1] - ordered[:, -2]
    shown = sorted({*range(0, len(p), 100), *np.argsort(margin)[:50].tolist()})
    return {
        "sha256": hashlib.sha256(lines).hexdigest(),
        "readings": len(p),
        "counts": np.bincount(classes, minlength=6).tolist(),
        "margin": float(margin.min()),
        "spread": {name: float(np.abs(forward32(tensors, temperature, fold) - p).max())
                   for name, fold in (("standardised", False), ("folded", True))},
        "classes": runs(classes),
        "sample": {str(i): p[i].tolist() for i in shown},
    }


def main():
    model = DATA / "regime.safetensors"
    tensors, metadata = read_safetensors(model)
    result = {
        "made_by": f"scikit-learn {sklearn.__version__}, numpy {np.__version__}",
        "model_sha256": hashlib.sha256(model.read_bytes()).hexdigest(),
        "labels": json.loads(metadata["millrace.labels"]),
        "series": {"standin": expect(gzip.decompress((DATA / "standin.jsonl.gz").read_bytes()), tensors)},
    }
    target = pathlib.Path(__file__).with_name("expected.json")
    real = DATA / "real.jsonl"
    if real.exists():
        result["series"]["real"] = expect(real.read_bytes(), tensors)
    elif target.exists() and (old := json.loads(target.read_text()))["model_sha256"] == result["model_sha256"]:
        result["series"]["real"] = old["series"]["real"]  # not here to be made again, and still about this network
    for name, series in result["series"].items():
        print(f"{name}: counts {series['counts']} spread {series['spread']} margin {series['margin']:.2g}")
    # One reading a line would be long, one line for all unreadable in a diff: a line for each sample, one for the classes.
    text = json.dumps(result, separators=(",", ":")).replace('"series":', '\n"series":').replace('"classes":', '\n"classes":')
    text = text.replace('"sample":{', '\n"sample":{\n').replace('],"', '],\n"')
    target.write_text(text + "\n")
    assert json.loads(target.read_text()) == result


if __name__ == "__main__":
    main()
