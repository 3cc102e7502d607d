#!/usr/bin/env python3
"""How fast `millrace fit` is, and how much memory it takes, beside scikit-learn and Surprise on the same rows with the same settings.

    python3 -m venv .cache/bench/venv-fit
    .cache/bench/venv-fit/bin/pip install -r bench/peers/fit/requirements.txt
    .cache/bench/venv-fit/bin/python bench/peers/fit/compare.py [--rounds N] [--rows N] [--only CASE,...] [--markdown FILE]

millrace's time is that of the whole process: start, reading the file, the fit, what it is judged by, writing the model. A library's is that of its fit() alone, on
arrays that are in memory; both with as many threads as there are cores. Rounds alternate; a table has medians and the range of the ratio within a round.
The peak of memory is that of the process (ru_maxrss).

  kmeans   ROWS x 16 float32 (10 million), k 64, the same first centres, 20 iterations of Lloyd, no tolerance
  digits   scikit-learn's digits, 64-64-10, Adam, 200 epochs, batches of 192; four fifths train, one fifth is held out; five times the rounds
  mlp      1 million x 16, 16-64-32-8, Adam, 8 epochs, batches of 256; 100,000 more rows are held out
  mf       100,000 ratings of 943 users and 1,682 items, 100 factors, 20 epochs; 20,000 more are held out
  onnx     what a file of 10 MB costs: `millrace score` of one row with it, less the same with a file of 10 kB; safetensors beside it
"""
import argparse
import datetime
import json
import os
import pathlib
import platform
import statistics
import struct
import subprocess
import sys
import tempfile
import time
import warnings

# A process that has just been started counts the peak of the one that started it: so a small one starts them, which has no libraries.
STARTER = """
import json, os, sys, time
for line in sys.stdin:
    words = json.loads(line)
    begin, pid = time.monotonic(), os.posix_spawn(words[0], words, os.environ, file_actions=[(os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0)])
    _, status, usage = os.wait4(pid, 0)
    print(json.dumps([status, usage.ru_maxrss * 1024, time.monotonic() - begin]), flush=True)
"""
starter = subprocess.Popen([sys.executable, "-S", "-c", STARTER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # ends with its standard input

import numpy as np  # noqa: E402
import onnx  # noqa: E402
import sklearn  # noqa: E402
import surprise  # noqa: E402
from onnx import TensorProto, helper, numpy_helper  # noqa: E402
from sklearn.cluster import KMeans  # noqa: E402
from sklearn.datasets import load_digits  # noqa: E402
from sklearn.metrics import log_loss  # noqa: E402
from sklearn.neural_network import MLPClassifier  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "scripts/export"))
import model_file  # noqa: E402

OURS, THEIRS = "millrace, the whole command", "scikit-learn, fit() alone"
MILLRACE = os.environ.get("MILLRACE", str(ROOT / "build/millrace"))


def measured(*words):
    """Standard output and seconds of a process."""
    begin = time.monotonic()
    process = subprocess.Popen([str(word) for word in words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    said, errors = process.communicate()
    seconds = time.monotonic() - begin
    if process.returncode:
        sys.exit(f"{' '.join(map(str, words))}: exit code {process.returncode}\n{said[-2000:]}{errors[-2000:]}")
    return said, seconds


def peak(*words):
    """Peak memory of a process, in bytes, and its seconds."""
    starter.stdin.write(json.dumps([str(word) for word in words]) + "\n")
    starter.stdin.flush()
    status, memory, seconds = json.loads(starter.stdout.readline())
    if status:
        sys.exit(f"{' '.join(map(str, words))}: status {status}")
    return memory, seconds


def timed(work):
    begin = time.monotonic()
    result = work()
    return result, time.monotonic() - begin


def tensors(path):
    """The tensors of a safetensors file."""
    data = pathlib.Path(path).read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    header, kinds = json.loads(data[8:8 + size]), {"F32": "<f4", "F64": "<f8", "I64": "<i8", "I32": "<i4", "U8": "u1"}
    return {name: np.frombuffer(data, kinds[entry["dtype"]], offset=8 + size + entry["data_offsets"][0], count=int(np.prod(entry["shape"]))).reshape(entry["shape"])
            for name, entry in header.items() if name != "__metadata__"}


def inertia(x, centers):
    """The sum of squared distances to the nearest centre, in double."""
    total, centers = 0.0, centers.astype(np.float64)
    for block in np.array_split(x, max(1, len(x) // 100000)):
        block = block.astype(np.float64)
        total += ((block ** 2).sum(1)[:, None] - 2 * block @ centers.T + (centers ** 2).sum(1)).min(1).sum()
    return total


class Table:
    """Rounds of two contestants and more, as lines of Markdown."""

    def __init__(self, title):
        self.lines, self.rounds = [f"## {title}", "", "| | seconds | beside millrace | " + "held out |", "|---|---|---|---|"], {}

    def add(self, who, seconds):
        self.rounds.setdefault(who, []).append(seconds)

    def close(self, quality):
        first = next(iter(self.rounds))
        for who, seconds in self.rounds.items():
            ratios = [b / a for a, b in zip(self.rounds[first], seconds)]
            beside = "" if who == first else f"{statistics.median(ratios):.2f} x ({min(ratios):.2f} to {max(ratios):.2f})"
            self.lines.append(f"| {who} | {statistics.median(seconds):.3f} | {beside} | {quality[who]} |")
        return self.lines


def kmeans(folder, options):
    random = np.random.default_rng(1)
    centers = random.normal(size=(64, 16)) * 3
    x = np.empty((options.rows, 16), np.float32)
    for begin in range(0, options.rows, 1000000):
        block = x[begin:begin + 1000000]
        block[:] = centers[random.integers(0, 64, len(block))] + random.normal(size=block.shape)
    x.tofile(folder / "points.f32")
    start = x[random.choice(options.rows, 64, replace=False)].copy()
    model_file.write(folder / "start.safetensors", [("centers", "F32", start.shape, start.tobytes())], model_file.metadata("kmeans"))
    features = ",".join(f"x{i}" for i in range(16))
    words = (MILLRACE, "fit", "kmeans", folder / "points.f32", "-F", features, "--k", 64, "--start", folder / "start.safetensors", "--iterations", 20, "--tolerance", 0,
             "--silhouette", 0, "-q", "-o", folder / "kmeans.safetensors")
    table = Table(f"kmeans: {options.rows:,} x 16, k 64, 20 iterations, the same start")
    for _ in range(options.rounds):
        bytes_most, seconds = peak(*words)
        table.add(OURS, seconds)
        model, seconds = timed(lambda: KMeans(64, init=start, n_init=1, max_iter=20, tol=0, algorithm="lloyd").fit(x))
        table.add(THEIRS, seconds)
    ours, theirs = inertia(x, tensors(folder / "kmeans.safetensors")["centers"]), inertia(x, model.cluster_centers_)
    lines = table.close({OURS: f"inertia {ours:.8g}", THEIRS: f"inertia {theirs:.8g}"})
    lines += ["", f"Inertias differ by {abs(ours / theirs - 1):.1e}. Peak memory {bytes_most / 1e6:.0f} MB, {bytes_most / x.nbytes:.3f} of the data's {x.nbytes / 1e6:.0f} MB."]
    bytes_most, seconds = peak(*words, "--spill", folder)
    lines.append(f"With `--spill`: {bytes_most / 1e6:.0f} MB resident at most, {seconds:.2f} s (pages of the file count where the system keeps them).")
    bytes_most, seconds = peak(MILLRACE, "fit", "scaler", folder / "points.f32", "-F", features, "-q", "-o", folder / "scaler.safetensors")
    lines.append(f"`fit scaler` of the same file, block by block: {bytes_most / 1e6:.1f} MB, {seconds:.2f} s.")
    (folder / "points.f32").unlink()
    return lines


def rows_write(path, x, y):
    np.concatenate([x, y[:, None]], axis=1).astype(np.float32).tofile(path)


def network(folder, rounds, title, data, layers, epochs, batch):
    """millrace and scikit-learn on (x, y) and what is held out of them."""
    (x, y), (x_out, y_out) = data
    classes, names = int(y.max()) + 1, [f"x{i}" for i in range(x.shape[1])]
    rows_write(folder / "train.f32", x, y)
    rows_write(folder / "out.f32", x_out, y_out)
    fields = ("-F", ",".join(f"[{i}]" for i in range(len(names))), "-l", f"[{len(names)}]", "--record", f"stride={4 * len(names) + 4}")
    sizes = [len(names), *layers, classes]
    words = (MILLRACE, "fit", "mlp", folder / "train.f32", *fields, "--layers", ",".join(map(str, sizes)), "--iterations", epochs, "--batch", batch, "--patience", 0, "--held-out", 0,
             "--validation", 0, "-q", "-o", folder / "mlp.safetensors")
    table, found = Table(title), {OURS: [], THEIRS: []}
    for seed in range(1, rounds + 1):
        bytes_most, seconds = peak(*words, "--seed", seed)
        table.add(OURS, seconds)
        theirs = MLPClassifier(layers, batch_size=batch, max_iter=epochs, n_iter_no_change=10 ** 9, tol=0, random_state=seed)
        _, seconds = timed(lambda: theirs.fit(x, y))
        table.add(THEIRS, seconds)
        said = json.loads(measured(MILLRACE, "eval", folder / "mlp.safetensors", folder / "out.f32", *fields, "--json")[0])["metrics"]
        found[OURS].append((said["log_loss"], said["accuracy"]))
        found[THEIRS].append((log_loss(y_out, theirs.predict_proba(x_out), labels=range(classes)), theirs.score(x_out, y_out)))
    quality = {who: [statistics.median(column) for column in zip(*values)] for who, values in found.items()}
    lines = table.close({who: f"log loss {loss:.5f}, accuracy {accuracy:.5f} (medians of the seeds)" for who, (loss, accuracy) in quality.items()})
    return lines + ["", f"Peak memory {bytes_most / 1e6:.0f} MB, {bytes_most / (x.nbytes + 4 * len(y)):.2f} of the data's {(x.nbytes + 4 * len(y)) / 1e6:.1f} MB."]


def digits(folder, options):
    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(1).permutation(len(x))
    train, out = order[:len(x) * 4 // 5], order[len(x) * 4 // 5:]
    scaled = StandardScaler().fit(x[train]).transform(x).astype(np.float32)
    return network(folder, 5 * options.rounds, "mlp: the digits, 64-64-10, Adam, 200 epochs, batches of 192", ((scaled[train], y[train]), (scaled[out], y[out])), [64], 200, 192)


def mlp(folder, options):
    random = np.random.default_rng(2)
    x = random.normal(size=(1100000, 16)).astype(np.float32)
    hidden = np.tanh(x @ random.normal(size=(16, 24)).astype(np.float32) / 2)
    y = (hidden @ random.normal(size=(24, 8)).astype(np.float32) + random.normal(size=(len(x), 8)).astype(np.float32)).argmax(1)
    return network(folder, options.rounds, "mlp: 1,000,000 x 16, 16-64-32-8, Adam, 8 epochs, batches of 256",
                   ((x[:1000000], y[:1000000]), (x[1000000:], y[1000000:])), [64, 32], 8, 256)


def mf(folder, options):
    random = np.random.default_rng(3)
    users, items = random.zipf(1.3, 400000) % 943, random.zipf(1.2, 400000) % 1682
    random.shuffle(items)
    pairs = np.unique(np.stack([users, items], 1), axis=0)
    while len(pairs) < 120000:
        pairs = np.unique(np.concatenate([pairs, np.stack([random.integers(0, 943, 60000), random.integers(0, 1682, 60000)], 1)]), axis=0)
    pairs = pairs[random.permutation(len(pairs))[:120000]]
    p, q = random.normal(size=(943, 8)) * 0.35, random.normal(size=(1682, 8)) * 0.35
    exact = 3.5 + random.normal(size=943)[pairs[:, 0]] * 0.4 + random.normal(size=1682)[pairs[:, 1]] * 0.5 + (p[pairs[:, 0]] * q[pairs[:, 1]]).sum(1)
    stars = np.clip(np.rint(exact + random.normal(size=len(pairs)) * 0.7), 1, 5)
    rows = [(str(user), str(item), float(star)) for (user, item), star in zip(pairs.tolist(), stars.tolist())]
    for name, part in ("ratings", rows[:100000]), ("out", rows[100000:]):
        (folder / f"{name}.csv").write_text("user,item,rating\n" + "".join(f"{user},{item},{star:g}\n" for user, item, star in part))
    fields = ("-F", "user,item", "-l", "rating")
    known = surprise.Dataset(surprise.Reader(rating_scale=(1, 5)))
    trainset = known.construct_trainset([(user, item, star, None) for user, item, star in rows[:100000]])
    table, rmse = Table("mf: 100,000 ratings, 100 factors, 20 epochs of SGD"), {}
    runs = {OURS: (), "millrace --order sequential": ("--order", "sequential"), "millrace --solver als, 15 iterations": ("--solver", "als")}
    for _ in range(options.rounds):
        for who, more in runs.items():
            model = folder / f"mf{len(more and more[1])}.safetensors"
            bytes_most, seconds = peak(MILLRACE, "fit", "mf", folder / "ratings.csv", *fields, "--factors", 100, "--held-out", 0, "-q", *more, "-o", model)
            table.add(who, seconds)
            said = json.loads(measured(MILLRACE, "eval", model, folder / "out.csv", *fields, "--json")[0])
            rmse[who] = f"RMSE {said['metrics']['rmse']:.5f}"
        algorithm = surprise.SVD(n_factors=100, n_epochs=20, random_state=1)
        _, seconds = timed(lambda: algorithm.fit(trainset))
        table.add("Surprise SVD, fit() alone", seconds)
    off = [algorithm.predict(user, item).est - star for user, item, star in rows[100000:]]
    rmse["Surprise SVD, fit() alone"] = f"RMSE {np.sqrt(np.mean(np.square(off))):.5f}"
    return table.close(rmse)


def model_write(folder, name, width):
    """Two layers as ONNX and as our own file."""
    random = np.random.default_rng(4)
    w, v = (random.normal(size=(width, 64)) / 8).astype(np.float32), (random.normal(size=(width, width)) / width).astype(np.float32)
    b = np.zeros(width, np.float32)
    constants = [numpy_helper.from_array(value, key) for key, value in (("w", w), ("v", v), ("b", b))]
    nodes = [helper.make_node("Gemm", ["x", "w", "b"], ["h"], transB=1), helper.make_node("Relu", ["h"], ["r"]), helper.make_node("Gemm", ["r", "v", "b"], ["z"], transB=1),
             helper.make_node("Softmax", ["z"], ["y"], axis=1)]
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 64])], [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, width])], constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), folder / f"{name}.onnx")
    measured(MILLRACE, "convert", folder / f"{name}.onnx", "-o", folder / f"{name}.safetensors")


def load(folder, options):
    model_write(folder, "large", 1590)
    model_write(folder, "small", 24)
    np.zeros(64, np.float32).tofile(folder / "row.f32")
    seconds = {}
    for _ in range(20 * options.rounds):
        for name in "large", "small":
            for kind in "onnx", "safetensors":
                words = (MILLRACE, "score", folder / f"{name}.{kind}", folder / "row.f32", "-f", "f32", "-F", ",".join(f"[{i}]" for i in range(64)), "--record", "stride=256", "-e", "c=model.class")
                seconds.setdefault((name, kind), []).append(measured(*words)[1] * 1000)
    lines = [f"## A model of {(folder / 'large.onnx').stat().st_size / 1e6:.1f} MB: start to the first scored row", "", "| file | ms | the same with 10 kB | what its size costs |", "|---|---|---|---|"]
    for kind in "onnx", "safetensors":
        large, small = (statistics.median(seconds[name, kind]) for name in ("large", "small"))
        lines.append(f"| {kind} | {large:.1f} | {small:.1f} | {large - small:.1f} ms |")
    return lines


CASES = {"kmeans": kmeans, "digits": digits, "mlp": mlp, "mf": mf, "onnx": load}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=10000000, help="of kmeans")
    parser.add_argument("--only", default=",".join(CASES), help="of " + ", ".join(CASES))
    parser.add_argument("--markdown", type=pathlib.Path, help="the tables also go here")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    version = subprocess.run([MILLRACE, "version"], capture_output=True, text=True, check=True).stdout.split("\n")[0]
    cpu = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo", encoding="utf-8") if line.startswith("model name")), platform.machine())
    lines = ["# `millrace fit` beside scikit-learn and Surprise", "",
             f"`bench/peers/fit/compare.py --rounds {options.rounds}`, {datetime.date.today()}: {version}, scikit-learn {sklearn.__version__}, Surprise {surprise.__version__}, numpy {np.__version__}, "
             f"Python {platform.python_version()}; {cpu}, {os.cpu_count()} cores. Medians of {options.rounds} rounds, and the range of the ratio within a round. The machine is shared:",
             "ratios count, times do not."]
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR", "/tmp")) as name:
        for case in options.only.split(","):
            part = CASES[case](pathlib.Path(name), options)
            print("\n".join(part), "\n", flush=True)
            lines += ["", *part]
    if options.markdown:
        options.markdown.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
