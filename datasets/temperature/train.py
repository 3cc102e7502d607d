#!/usr/bin/env python3
"""Cuts the series into work regimes and trains the network that recognises them; writes regime.safetensors.

    python3 -m venv .venv && .venv/bin/pip install -r datasets/temperature/requirements.txt
    .venv/bin/python datasets/temperature/train.py            # real.jsonl if ./get brought it, else standin.jsonl.gz

1. k-means with K=6 on the temperature names the regimes, 0 the coldest to 5 the hottest.
2. A multi-layer perceptron 1-6-8-6 (sigmoid, sigmoid, softmax) learns the regime from the standardised temperature, on a random
   60 % of the readings; the other 40 % tell how good it is. The best of a few starts is kept.
Seeds are fixed. Another version of scikit-learn may still end in other weights: the stored file is what counts.
"""
import argparse
import gzip
import json
import os
import pathlib
import struct

os.environ.setdefault("OMP_NUM_THREADS", "1")  # the matrices are small: more threads only wait for each other

import numpy as np
from sklearn.cluster import KMeans
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

HERE = pathlib.Path(__file__).parent
LABELS = ["stopped", "cold", "cool", "mild", "warm", "hot"]


def read_series(path):
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt") as lines:
        return np.array([json.loads(line)["Temperature"] for line in lines])


def cut(temperature):
    """The regime of every reading, and the centres, coldest first."""
    fit = KMeans(len(LABELS), n_init=10, random_state=1).fit(temperature[:, None])
    order = np.argsort(fit.cluster_centers_[:, 0])
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return rank[fit.labels_], fit.cluster_centers_[order, 0]


def write_safetensors(path, tensors, metadata):
    header, blobs, offset = {"__metadata__": metadata}, [], 0
    for name, values in tensors.items():
        blob = np.ascontiguousarray(values, dtype="<f4").tobytes()
        header[name] = {"dtype": "F32", "shape": list(values.shape), "data_offsets": [offset, offset + len(blob)]}
        blobs.append(blob)
        offset += len(blob)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(blobs))


def main():
    real = HERE / "real.jsonl"
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--series", type=pathlib.Path, default=real if real.exists() else HERE / "standin.jsonl.gz")
    parser.add_argument("--out", type=pathlib.Path, default=HERE / "regime.safetensors")
    parser.add_argument("--version", default="1")
    options = parser.parse_args()

    temperature = read_series(options.series)
    regime, centres = cut(temperature)
    print(f"{options.series.name}: {len(temperature)} readings")
    for name, centre, count in zip(LABELS, centres, np.bincount(regime)):
        print(f"  {name:8} around {centre:6.2f}, {count} readings")

    mean, scale = np.float32(temperature.mean()), np.float32(temperature.std())
    x = ((temperature - float(mean)) / float(scale))[:, None]
    x_fit, x_held, y_fit, y_held = train_test_split(x, regime, train_size=0.6, random_state=1234)
    # alpha keeps the edges between regimes from growing so steep that the rounding of a reading to float32 would show.
    best = None
    for seed in range(8):
        net = MLPClassifier((6, 8), activation="logistic", solver="lbfgs", alpha=0.1, max_iter=3000, random_state=seed)
        net.fit(x_fit, y_fit)
        if best is None or net.loss_ < best.loss_:
            best, best_seed = net, seed
    print(f"start {best_seed}: accuracy {best.score(x_held, y_held):.4f} on the {len(y_held)} readings held back")

    tensors = {}
    for layer, (weight, bias) in enumerate(zip(best.coefs_, best.intercepts_)):
        tensors[f"layer.{layer}.weight"] = weight.T
        tensors[f"layer.{layer}.bias"] = bias
    tensors["input.mean"] = np.array([mean])
    tensors["input.scale"] = np.array([scale])
    write_safetensors(options.out, tensors, {
        "millrace.type": "mlp",
        "millrace.version": options.version,
        "millrace.features": json.dumps(["Temperature"]),
        "millrace.labels": json.dumps(LABELS),
        "millrace.activations": json.dumps(["sigmoid", "sigmoid", "softmax"]),
    })
    print(f"wrote {options.out}; largest weight {max(np.abs(w).max() for w in best.coefs_):.1f}")


if __name__ == "__main__":
    main()
