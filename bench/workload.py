#!/usr/bin/env python3
"""The benchmark workloads in Python: the same records as workload.c, the models, and the reference classes.

    workload.py models [FOLDER]            writes mlp_a and mlp_b as .safetensors (kept in git: bench/models)
    workload.py prepare FOLDER [A B BL]    writes what the peers and the check need: FOLDER/mlp_*.onnx, .npz, .json and
                                           FOLDER/<workload>.classes, .near (see check.c)
    workload.py show WORKLOAD [COUNT]      prints the first records

The reference is numpy in float64 on features rounded to float32 once, as every contestant reads them. Needs numpy; prepare also onnx.
"""
import json
import struct
import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
MODEL_OF = {"A": "mlp_a", "B": "mlp_b", "BL": "mlp_b"}
RECORDS = {"A": 4_000_000, "B": 2_000_000, "BL": 2_000_000}
FEATURES = {"mlp_a": ["Temperature"], "mlp_b": [f"f{i:02d}" for i in range(16)]}
SHAPE = {"mlp_a": [1, 6, 8, 6], "mlp_b": [16, 32, 8]}
NEAR = 1e-6


# ------------------------------------------------------------------------------------------------------ records

def mix(seed: int, k: np.ndarray) -> np.ndarray:
    """splitmix64 of a counter."""
    with np.errstate(over="ignore"):
        z = np.uint64(seed * 0xD1342543DE82EF95 % 2**64) + (k.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def parts_a(first: int, count: int):
    """Mantissa and decimals of the numbers of records first..first+count: both [count][1]."""
    k = np.arange(first, first + count, dtype=np.uint64)
    mantissa = (np.uint64(500) + mix(0x1001, k) % np.uint64(10500)).astype(np.int64)
    return mantissa[:, None], np.full((count, 1), 2)


def parts_b(first: int, count: int):
    """As parts_a: both [count][16]."""
    h = mix(0x2002, np.arange(first * 16, (first + count) * 16, dtype=np.uint64))
    digits = 4 + (h % np.uint64(3)).astype(np.int64)
    lowest = 10 ** (digits - 1)
    mantissa = lowest + ((h >> np.uint64(8)) % np.uint64(2**32)).astype(np.int64) % (9 * lowest)
    column = np.tile(np.arange(16), count)
    before = column % 3
    sign = np.where((column % 4 == 3) & (h >> np.uint64(63) == 1), -1, 1)
    return (mantissa * sign).reshape(count, 16), (digits - before).reshape(count, 16)


def features(workload: str, first: int, count: int) -> np.ndarray:
    """float32 [count][features]: the numbers of the records as a decoder must read them."""
    mantissa, decimals = (parts_a if workload == "A" else parts_b)(first, count)
    return (mantissa / (10.0 ** decimals)).astype(np.float32)


def record(workload: str, k: int) -> str:
    mantissa, decimals = (parts_a if workload == "A" else parts_b)(k, 1)
    text = []
    for m, d in zip(mantissa[0].tolist(), decimals[0].tolist()):
        whole, rest = divmod(abs(m), 10**d)
        text.append(f"{'-' if m < 0 else ''}{whole}.{rest:0{d}d}")
    if workload == "A":
        return '{"Temperature": ' + text[0] + "}"
    return "{" + ",".join(f'"f{j:02d}":{t}' for j, t in enumerate(text)) + "}"


# ------------------------------------------------------------------------------------------------------- models

def weights_make(name: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """Layers (w [out][in], b [out]) whose classes all occur: random ones, on standardised inputs; for A the last is fitted to bands."""
    shape = SHAPE[name]
    sample = features("A" if name == "mlp_a" else "B", 0, 50000).astype(np.float64)
    for seed in range(10000):
        rng = np.random.default_rng(seed)
        layers = []
        for i, (width_in, width_out) in enumerate(zip(shape, shape[1:])):
            w = rng.normal(0, 2.0 / np.sqrt(width_in), (width_out, width_in))
            b = rng.normal(0, 0.5, width_out)
            if i == 0:
                if name == "mlp_a":  # one step at each of six temperatures
                    w, b = np.full((6, 1), 8.0), np.linspace(-11, 11, 6) + rng.normal(0, 0.3, 6)
                w /= sample.std(axis=0)
                b -= w @ sample.mean(axis=0)
            else:
                b -= w.sum(axis=1) / 2  # sigmoids lie around one half
            layers.append((w.astype(np.float32), b.astype(np.float32)))
        if name == "mlp_a":  # class = band of 17.5 degrees
            hidden = 1 / (1 + np.exp(-forward(layers[:-1], sample)))
            band = np.eye(6)[((sample[:, 0] - 5) // 17.5).astype(int)]
            design = np.r_[np.c_[hidden, np.ones(len(sample))], 0.3 * np.eye(9)]  # a little ridge: moderate weights
            solved = np.linalg.lstsq(design, 8 * np.r_[band, np.zeros((9, 6))], rcond=None)[0].T
            layers[-1] = (solved[:, :-1].astype(np.float32), solved[:, -1].astype(np.float32))
        y = np.sort(forward(layers, sample), axis=1)
        if name == "mlp_a" and (y[:, -1] - y[:, -2]).min() < 1e-3:
            continue  # A has 10,500 different records: none of them needs to be a near tie
        share = np.bincount(forward(layers, sample).argmax(1), minlength=shape[-1]) / len(sample)
        if share.min() > 0.05 and max(abs(w).max() for w, _ in layers) < 100:
            return layers
    raise SystemExit(f"{name}: no seed gives a model that uses every class")


def forward(layers, x: np.ndarray) -> np.ndarray:
    """The outputs before softmax, in float64."""
    y = x.astype(np.float64)
    for i, (w, b) in enumerate(layers):
        y = y @ w.astype(np.float64).T + b.astype(np.float64)
        if i + 1 < len(layers):
            y = 1.0 / (1.0 + np.exp(-y))
    return y


def safetensors_write(path: Path, tensors: dict[str, np.ndarray], metadata: dict[str, str]) -> None:
    header, data = {"__metadata__": metadata}, b""
    for name, value in tensors.items():
        raw = np.ascontiguousarray(value, np.float32).tobytes()
        header[name] = {"dtype": "F32", "shape": list(value.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def safetensors_read(path: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    raw = path.read_bytes()
    size = struct.unpack_from("<Q", raw)[0]
    header = json.loads(raw[8:8 + size])

    def tensor(name):
        begin, end = header[name]["data_offsets"]
        return np.frombuffer(raw[8 + size + begin:8 + size + end], "<f4").reshape(header[name]["shape"])

    count = sum(name.endswith(".weight") for name in header)
    return [(tensor(f"layer.{i}.weight"), tensor(f"layer.{i}.bias")) for i in range(count)]


def model_write(folder: Path, name: str) -> None:
    layers, tensors = weights_make(name), {}
    for i, (w, b) in enumerate(layers):
        tensors[f"layer.{i}.weight"], tensors[f"layer.{i}.bias"] = w, b
    metadata = {"millrace.type": "mlp", "millrace.version": "bench-1",
                "millrace.features": json.dumps(FEATURES[name]),
                "millrace.activations": json.dumps(["sigmoid"] * (len(layers) - 1) + ["softmax"])}
    safetensors_write(folder / f"{name}.safetensors", tensors, metadata)


def onnx_write(path: Path, layers) -> None:
    """Gemm, Sigmoid, ..., Gemm, ArgMax: the class of each row, which is all that the outputs carry."""
    from onnx import TensorProto, helper, numpy_helper, save
    nodes, weights, at = [], [], "x"
    for i, (w, b) in enumerate(layers):
        weights += [numpy_helper.from_array(np.array(w), f"w{i}"), numpy_helper.from_array(np.array(b), f"b{i}")]
        nodes.append(helper.make_node("Gemm", [at, f"w{i}", f"b{i}"], [f"y{i}"], transB=1))
        at = f"y{i}"
        if i + 1 < len(layers):
            nodes.append(helper.make_node("Sigmoid", [at], [f"s{i}"]))
            at = f"s{i}"
    nodes.append(helper.make_node("ArgMax", [at], ["class"], axis=1, keepdims=0))
    graph = helper.make_graph(
        nodes, path.stem,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", layers[0][0].shape[1]])],
        [helper.make_tensor_value_info("class", TensorProto.INT64, ["rows"])], weights)
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def prepare(folder: Path, workloads: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for workload in workloads:
        name = MODEL_OF[workload]
        if workload == "BL" and "B" in workloads:  # the same records in larger messages
            for kind in ("classes", "near"):
                (folder / f"BL.{kind}").write_bytes((folder / f"B.{kind}").read_bytes())
            continue
        layers = safetensors_read(HERE / "models" / f"{name}.safetensors")
        onnx_write(folder / f"{name}.onnx", layers)
        np.savez(folder / f"{name}.npz", **{f"w{i}": w for i, (w, _) in enumerate(layers)},
                 **{f"b{i}": b for i, (_, b) in enumerate(layers)})
        (folder / f"{name}.json").write_text(json.dumps({"features": FEATURES[name], "layers": [
            {"weight": w.astype(float).tolist(), "bias": b.astype(float).tolist()} for w, b in layers]}))
        classes, near = [], []
        for first in range(0, RECORDS[workload], 100_000):
            y = forward(layers, features(workload, first, 100_000))
            best = np.sort(y, axis=1)
            classes.append(y.argmax(1).astype(np.uint8))
            near.append((first + np.flatnonzero(best[:, -1] - best[:, -2] < NEAR)).astype("<u4"))
        classes, near = np.concatenate(classes), np.concatenate(near)
        classes.tofile(folder / f"{workload}.classes")
        near.tofile(folder / f"{workload}.near")
        share = np.bincount(classes, minlength=SHAPE[name][-1]) / len(classes)
        print(f"{workload}: {len(classes)} records, share of each class {np.round(share, 3).tolist()}, near ties {near.tolist()}")


def main(argv: list[str]) -> int:
    if argv[:1] == ["models"]:
        folder = Path(argv[1]) if len(argv) > 1 else HERE / "models"
        folder.mkdir(parents=True, exist_ok=True)
        for name in SHAPE:
            model_write(folder, name)
    elif argv[:1] == ["prepare"] and len(argv) > 1:
        prepare(Path(argv[1]), argv[2:] or list(RECORDS))
    elif argv[:1] == ["show"] and len(argv) > 1:
        for k in range(int(argv[2]) if len(argv) > 2 else 3):
            print(record(argv[1], k))
    else:
        print(__doc__, file=sys.stderr)
        return 64
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
