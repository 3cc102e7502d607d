#!/usr/bin/env python3
"""millrace export: ONNX that imports as the same numbers, for every type of model; JSON and NumPy archives that hold every bit of the file."""
import json
import os
import pathlib
import struct
import subprocess
import sys
import tempfile
import zipfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
MILLRACE = os.environ.get("MILLRACE", str(ROOT / "build/millrace"))
ROWS = ROOT / "tests/golden/fit/rows.csv"
TYPES = {"F32": "f", "F64": "d", "I64": "q", "I32": "i", "U8": "B"}
NPY = {"<f4": "F32", "<f8": "F64", "<i8": "I64", "<i4": "I32", "|u1": "U8"}


def fail(text):
    sys.exit(f"FAIL: {text}")


def call(*words, code=0):
    done = subprocess.run([MILLRACE, *map(str, words)], capture_output=True, text=True, timeout=120, check=False)
    if done.returncode != code:
        fail(f"{' '.join(map(str, words))}: exit code {done.returncode}, not {code}\n{done.stdout}{done.stderr}")
    return done


def read(path):
    """Tensors as (dtype, shape, bytes), and metadata."""
    data = pathlib.Path(path).read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    header, rest = json.loads(data[8:8 + size]), data[8 + size:]
    meta = header.pop("__metadata__")
    return {name: (t["dtype"], t["shape"], rest[slice(*t["data_offsets"])]) for name, t in header.items()}, meta


def values(tensor):
    dtype, _, data = tensor
    return struct.unpack(f"<{len(data) // struct.calcsize(TYPES[dtype])}{TYPES[dtype]}", data)


def models(folder):
    """A model of every type, of float32 and of float64, with and without names."""
    data = ("-F", "a,b,c", "-q")
    for name, words in {"linear": ("--label", "y"), "logistic": ("--label", "tree"), "mlp": ("--label", "tree", "--layers", "3,8,3", "--activation", "tanh"),
                        "kmeans": ("--k", 3), "scaler": ()}.items():
        call("fit", name, ROWS, *data, *words, "--model-version", "7 \"b\"", "-o", folder / f"{name}.safetensors")
        yield folder / f"{name}.safetensors"
    call("fit", "mlp", ROWS, *data, "--label", "y", "--regression", "--layers", "3,4,1", "--activation", "sigmoid", "-o", folder / "regression.safetensors")
    yield folder / "regression.safetensors"
    yield ROOT / "datasets/temperature/regime.safetensors"
    yield from sorted((ROOT / "tests/golden/models").glob("*.safetensors"))


def is_model(path):
    return read(path)[1].get("millrace.type") in ("linear", "logistic", "mlp", "kmeans", "scaler")


def check_onnx(path, folder):
    call("export", path, "--to", "onnx", "-o", folder / "there.onnx")
    call("convert", folder / "there.onnx", "-o", folder / "back")
    (want, meta), (got, again) = read(path), read(folder / "back")
    lists = ("millrace.features", "millrace.labels", "millrace.activations")
    for key in ("millrace.type", "millrace.version", *lists):
        kept, new = (json.loads(m.get(key, "[]")) if key in lists else m.get(key, "") for m in (meta, again))
        if kept != new:
            fail(f"{path.name}: {key} was {meta.get(key)}, is {again.get(key)}")
    kept = [name for name in want if name.startswith(("layer.", "input.")) or name in ("weight", "bias", "centers", "mean")]
    for name in kept:
        if name not in got or want[name][1] != got[name][1] or values(want[name]) != values(got[name]):
            fail(f"{path.name}: {name} has other numbers after ONNX")
    if "variance" in want and any(abs(a - b) > 1e-15 * a for a, b in zip(values(want["variance"]), values(got["variance"]))):
        fail(f"{path.name}: variance {values(got['variance'])}")


def check_graph(path, folder):
    """A graph there and back: the same answers, bit for bit, on rows of any kind."""
    rows = folder / "rows.csv"
    rows.write_text("a,b,c,d,e,f\n" + "".join(",".join(f"{(i * 37 % 101 - 50) / (7 + k) + k * i % 5:.7g}" for k in range(6)) + "\n" for i in range(200)))
    call("export", path, "--to", "onnx", "-o", folder / "there.onnx")
    call("compare", path, folder / "there.onnx", rows, "--tolerance", 0)
    call("export", folder / "there.onnx", "--to", "npz", "-o", folder / "there.npz")


def check_json(path, folder):
    call("export", path, "--to", "json", "-o", folder / "model.json")
    said, (want, meta) = json.loads((folder / "model.json").read_text()), read(path)
    if said["metadata"] != meta or list(said["tensors"]) != list(want):
        fail(f"{path.name}: JSON has {list(said['tensors'])} and {said['metadata']}")
    for name, (dtype, shape, data) in want.items():
        tensor = said["tensors"][name]
        if (tensor["dtype"], tensor["shape"]) != (dtype, shape) or struct.pack(f"<{len(tensor['data'])}{TYPES[dtype]}", *tensor["data"]) != data:
            fail(f"{path.name}: {name} has other bits as JSON")


def check_npz(path, folder):
    call("export", path, "-o", folder / "model.npz")
    want, meta = read(path)
    with zipfile.ZipFile(folder / "model.npz") as archive:
        if archive.testzip() or json.loads(archive.read("metadata.json")) != meta or archive.namelist() != [*(f"{name}.npy" for name in want), "metadata.json"]:
            fail(f"{path.name}: archive of {archive.namelist()}")
        for name, (dtype, shape, data) in want.items():
            member = archive.read(f"{name}.npy")
            size = struct.unpack("<H", member[8:10])[0]
            header = eval(member[10:10 + size], {})  # as numpy reads it: a literal
            if member[:8] != b"\x93NUMPY\x01\x00" or (10 + size) % 64 or header["fortran_order"]:
                fail(f"{path.name}: {name}: header {member[:80]}")
            if (NPY[header["descr"]], list(header["shape"]), member[10 + size:]) != (dtype, shape, data):
                fail(f"{path.name}: {name} has other bits as an array")


def refused(code, text, *words):
    if text not in call(*words, code=code).stderr:
        fail(f"{words}: \"{text}\" is not said")


def main():
    with tempfile.TemporaryDirectory() as name:
        folder, count = pathlib.Path(name), 0
        for path in models(folder):
            if not is_model(path):
                continue
            for check in (check_onnx, check_json, check_npz):
                check(path, folder)
            count += 1
        graphs = sorted((ROOT / "tests/golden/onnx").glob("graph_*.onnx"))
        for path in graphs:
            check_graph(path, folder)
        if len(graphs) < 6:
            fail(f"{len(graphs)} graphs")
        if count < 7:
            fail(f"{count} models")
        ratings = ROOT / "datasets/ratings/ratings.safetensors"
        check_json(ratings, folder)
        check_npz(ratings, folder)
        refused(65, "--to npz", "export", ratings, "--to", "onnx", "-o", folder / "x.onnx")
        refused(64, "is what is read", "export", folder / "there.onnx", "--to", "onnx")
        refused(66, "no-such", "export", "no-such.safetensors", "--to", "json", "-o", folder / "x.json")
        refused(64, "--to onnx, json or npz", "export", ratings, "-o", folder / "x.txt")
        print(f"{count} models there and back")


main()
