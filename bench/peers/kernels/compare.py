#!/usr/bin/env python3
"""The operations of kernels/ in other hands, on one core: ONNX Runtime, OpenVINO, scikit-learn, faiss, PyTorch.

    python3 -m venv .cache/bench/venv-kernels
    .cache/bench/venv-kernels/bin/pip install -r bench/peers/kernels/requirements.txt
    .cache/bench/venv-kernels/bin/python bench/peers/kernels/compare.py [--filter REGEX] [--rounds N] [--rows N] [--json FILE] [--markdown FILE]

Answers first: what can be scored from a model file is, by `millrace score`, on the rows that the peers get, and compared. Then turns: in each
round the kernel (bench_kernels) and every peer once; medians over the rounds, CPU time of the process (all its threads), data in the cache, the
peer's own layout (row-major float32), one thread each. A peer that is not installed is left out and said.
"""
import argparse
import importlib
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"

import numpy as np  # noqa: E402
from safetensors.numpy import save_file  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[3]
BUILD = ROOT / "build"
PEER_SECONDS = 0.3
MISSING = set()


def library(name):
    try:
        return importlib.import_module(name)
    except ImportError:
        if name not in MISSING:
            print(f"SKIP: {name} is not installed", file=sys.stderr)
        MISSING.add(name)
        return None


def softmax(z):
    z = np.exp(z - z.max(axis=1, keepdims=True))
    return z / z.sum(axis=1, keepdims=True)


class Case:
    """One operation and shape: what to run of bench_kernels, and the peers as functions of no argument that answer a batch."""

    def __init__(self, name, kernels, answer=None, model=None, emit=None):
        self.name, self.kernels, self.answer, self.model, self.emit = name, kernels, answer, model, emit
        self.peers = {}
        self.units = 1  # rows a call, for what peers are divided by
        self.x = None


# ---- the cases ----

def kmeans(rng, cols, k, rows):
    centers = rng.normal(size=(k, cols)).astype(np.float32) * 2
    case = Case(f"k-means assignment {cols}-{k}", [f"kmeans_assign/{cols}-{k}/.*class"], "class",
                ({"centers": centers}, {"millrace.type": "kmeans"}), "model.class")
    case.x = (centers[rng.integers(k, size=rows)] + rng.normal(size=(rows, cols))).astype(np.float32)
    x, faiss, torch, cluster = case.x, library("faiss"), library("torch"), library("sklearn.cluster")
    if cluster:
        model = cluster.KMeans(k, init=centers, n_init=1, max_iter=1).fit(centers)
        model.cluster_centers_ = centers.copy()
        model._n_threads = 1
        case.peers["scikit-learn"] = lambda: model.predict(x)
    if faiss:
        faiss.omp_set_num_threads(1)
        index = faiss.IndexFlatL2(cols)
        index.add(centers)
        case.peers["faiss"] = lambda: index.search(x, 1)[1][:, 0]
    if torch:
        tx, tc = torch.from_numpy(x), torch.from_numpy(-2 * centers.T.copy())
        norm = torch.from_numpy((centers.astype(np.float64) ** 2).sum(axis=1).astype(np.float32))
        case.peers["PyTorch"] = lambda: torch.addmm(norm, tx, tc).argmin(dim=1).numpy()
    return case


def kmeans_step(rng, cols, k, rows):
    case = Case(f"k-means assignment and update {cols}-{k}", [f"kmeans_assign/{cols}-{k}/.*class", f"kmeans_sum/{cols}-{k}/"])
    x = case.x = rng.normal(size=(rows, cols)).astype(np.float32)
    cluster = library("sklearn.cluster")
    if cluster:
        model = cluster.MiniBatchKMeans(k, init=x[:k].copy(), n_init=1, batch_size=rows, reassignment_ratio=0).partial_fit(x)
        case.peers["scikit-learn"] = lambda: model.partial_fit(x)
    return case


def onnx_bytes(weights, biases, activations):
    from onnx import TensorProto, helper, numpy_helper
    nodes, tensors, before = [], [], "x"
    for i, (w, b, act) in enumerate(zip(weights, biases, activations)):
        tensors += [numpy_helper.from_array(w.T.copy(), f"w{i}"), numpy_helper.from_array(b, f"b{i}")]
        after = f"a{i}" if act != "identity" else f"z{i}"
        nodes.append(helper.make_node("Gemm", [before, f"w{i}", f"b{i}"], [f"z{i}"]))
        if act != "identity":
            nodes.append(helper.make_node({"relu": "Relu", "sigmoid": "Sigmoid", "softmax": "Softmax"}[act], [f"z{i}"], [after]))
        before = after
    graph = helper.make_graph(nodes, "net", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", weights[0].shape[1]])],
                              [helper.make_tensor_value_info(before, TensorProto.FLOAT, ["n", weights[-1].shape[0]])], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


def runtimes_add(case, model, rows):
    """ONNX Runtime and OpenVINO on the same ONNX model."""
    x, ort, openvino = case.x, library("onnxruntime"), library("openvino")
    if ort:
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        case.peers["ONNX Runtime"] = lambda: session.run(None, {"x": x})[0]
    if openvino:
        core = openvino.Core()
        core.set_property("CPU", {"INFERENCE_NUM_THREADS": 1})
        for name, kind in (("OpenVINO", "f32"), ("OpenVINO bf16", "bf16")):
            read = core.read_model(model)
            read.reshape([rows, x.shape[1]])
            request = core.compile_model(read, "CPU", {"INFERENCE_PRECISION_HINT": kind}).create_infer_request()
            request.set_input_tensor(openvino.Tensor(x, shared_memory=True))
            case.peers[name] = lambda request=request: (request.infer(), request.get_output_tensor().data)[1]


def torch_layers(torch, weights, biases, activations):
    apply = {"relu": torch.relu, "sigmoid": torch.sigmoid, "softmax": lambda z: torch.softmax(z, 1), "identity": lambda z: z}
    layers = [(torch.from_numpy(w.T.copy()), torch.from_numpy(b), apply[act]) for w, b, act in zip(weights, biases, activations)]

    def forward(x):
        for w, b, act in layers:
            x = act(torch.addmm(b, x, w))
        return x
    return forward


def mlp(rng, widths, hidden, rows):
    weights = [(rng.normal(size=(o, i)) / np.sqrt(i)).astype(np.float32) for i, o in zip(widths, widths[1:])]
    biases = [rng.normal(size=o).astype(np.float32) / 10 for o in widths[1:]]
    acts = [hidden] * (len(weights) - 1) + ["softmax"]
    tensors = {f"layer.{i}.{what}": value for i, pair in enumerate(zip(weights, biases)) for what, value in zip(("weight", "bias"), pair)}
    shape = "-".join(map(str, widths))
    case = Case(f"MLP {shape} {hidden}, softmax", [f"mlp_forward/{shape}/{hidden}.*/y"], "near",
                (tensors, {"millrace.type": "mlp", "millrace.activations": json.dumps(acts)}), "model.probabilities")
    case.x = rng.normal(size=(rows, widths[0])).astype(np.float32)
    torch = library("torch")
    runtimes_add(case, onnx_bytes(weights, biases, acts), rows)
    if torch:
        forward, tx = torch_layers(torch, weights, biases, acts), torch.from_numpy(case.x)
        case.peers["PyTorch"] = lambda: forward(tx).numpy()
    return case


def linear(rng, cols, rows):
    w, b = rng.normal(size=(1, cols)).astype(np.float32), rng.normal(size=1).astype(np.float32)
    case = Case(f"linear score {cols}", [f"linear_score/{cols}-1/identity.*/y"], "near",
                ({"weight": w, "bias": b}, {"millrace.type": "linear"}), "model.score")
    x = case.x = rng.normal(size=(rows, cols)).astype(np.float32)
    torch = library("torch")
    runtimes_add(case, onnx_bytes([w], [b], ["identity"]), rows)
    if torch:
        tx, tw, tb = torch.from_numpy(x), torch.from_numpy(w[0].copy()), torch.from_numpy(b)
        case.peers["PyTorch"] = lambda: (torch.mv(tx, tw) + tb).numpy()
    return case


def logistic_gradient(rng, cols, rows):
    case = Case(f"logistic step {cols}: score, gradient", [f"linear_score/{cols}-1/.*sigmoid.*/y", f"linear_sum/{cols}-1/.*log"])
    if cols != 16:
        case.name, case.kernels = f"logistic gradient {cols}", [f"linear_sum/{cols}-1/.*log"]
    x = case.x = rng.normal(size=(rows, cols)).astype(np.float32)
    y = (rng.random(rows) < 0.5).astype(np.float32)
    torch, linear_model = library("torch"), library("sklearn.linear_model")
    if torch:
        tx, ty, tw = torch.from_numpy(x), torch.from_numpy(y), torch.zeros(cols)
        case.peers["PyTorch"] = lambda: torch.mv(tx.T, torch.sigmoid(torch.mv(tx, tw)) - ty)
    if linear_model:
        model = linear_model.SGDClassifier(loss="log_loss").partial_fit(x, y, classes=[0, 1])
        case.peers["scikit-learn"] = lambda: model.partial_fit(x, y)
    return case


def mlp_gradient(rng, widths, rows):
    shape = "-".join(map(str, widths))
    case = Case(f"MLP step {shape} relu: forward, backward", [f"mlp_forward/{shape}/relu.*/y", f"mlp_gradient/{shape}/"])
    torch = library("torch")
    case.x = rng.normal(size=(rows, widths[0])).astype(np.float32)
    if torch:
        sizes = list(zip(widths, widths[1:]))
        layers = [part for i, o in sizes for part in (torch.nn.Linear(i, o), torch.nn.ReLU())][:-1]
        net, loss = torch.nn.Sequential(*layers), torch.nn.CrossEntropyLoss()
        tx, ty = torch.from_numpy(case.x), torch.from_numpy(rng.integers(widths[-1], size=rows))

        def step():
            net.zero_grad()
            loss(net(tx), ty).backward()
        case.peers["PyTorch"] = step
    return case


def top_items(rng, rank, items, users):
    case = Case(f"top 10 of {items:,} items, rank {rank}", [f"mf_topn/{rank}-{items}/.*/y"])
    case.units = users
    torch = library("torch")
    if torch:
        user, item = (torch.from_numpy(rng.normal(size=(n, rank)).astype(np.float32)) for n in (users, items))
        item_t, bias = item.T.contiguous(), torch.from_numpy(rng.normal(size=items).astype(np.float32))
        seen = torch.from_numpy(rng.integers(items, size=(users, 50)))

        def best():
            scores = torch.addmm(bias, user, item_t)
            scores.scatter_(1, seen, -np.inf)
            return torch.topk(scores, 10, dim=1)
        case.peers["PyTorch"] = best
    return case


def cases(rows, wanted):
    """Each made when its turn comes: (name to filter by, maker)."""
    rng = np.random.default_rng(7)
    make = [(f"kmeans {d}-{k}", lambda d=d, k=k: kmeans(rng, d, k, rows)) for d, k in ((1, 6), (16, 6), (64, 256), (128, 1024), (512, 4096))]
    make += [(f"kmeans_step {d}-{k}", lambda d=d, k=k: kmeans_step(rng, d, k, rows)) for d, k in ((16, 6), (64, 256))]
    make += [(f"mlp {w}", lambda w=w, h=h: mlp(rng, w, h, rows)) for w, h in (
        ((1, 6, 8, 6), "sigmoid"), ((16, 32, 8), "sigmoid"), ((64, 256, 64, 10), "relu"), ((784, 512, 512, 10), "relu"))]
    make += [(f"linear {d}", lambda d=d: linear(rng, d, rows)) for d in (16, 128)]
    make += [(f"logistic {d}", lambda d=d: logistic_gradient(rng, d, rows)) for d in (16, 128)]
    make += [(f"mlp_step {w}", lambda w=w: mlp_gradient(rng, w, rows)) for w in ((16, 32, 8), (64, 256, 64, 10), (784, 512, 512, 10))]
    make += [(f"topn {n}", lambda n=n: top_items(rng, 100, n, 64)) for n in (1682, 27000)]
    return [maker for name, maker in make if re.search(wanted, name)]


# ---- answers, turns ----

def own_answers(case):
    """What millrace score says of the case's rows."""
    with tempfile.TemporaryDirectory() as folder:
        tensors, metadata = case.model
        save_file({name: np.ascontiguousarray(value) for name, value in tensors.items()}, f"{folder}/model.safetensors", metadata)
        done = subprocess.run([BUILD / "millrace", "score", f"{folder}/model.safetensors", "--format", "f32", "--emit", f"a={case.emit}"],
                              input=case.x.tobytes(), stdout=subprocess.PIPE, check=True)
        return np.array([json.loads(line)["a"] for line in done.stdout.splitlines()])


def answers_compare(case):
    if not case.answer or not case.peers:
        return ""
    own, worst = own_answers(case), 0.0
    for name, peer in case.peers.items():
        theirs = np.asarray(peer())
        if case.answer == "class":
            differ = np.mean(own != theirs.reshape(own.shape))
            if differ > 1e-3:
                raise SystemExit(f"{case.name}: {name} names another class for {100 * differ:.2f} % of the rows")
            continue
        off = np.abs(own - theirs.reshape(own.shape)).max() / np.abs(own).max()
        if "bf16" not in name:
            worst = max(worst, off)
        if off > (0.05 if "bf16" in name else 1e-4):
            raise SystemExit(f"{case.name}: {name} is off by {off:.2g}")
    return "classes agree" if case.answer == "class" else f"within {worst:.1e}"


def kernel_ns(case, variant, rows, large):
    """Sum over the case's operations."""
    total, peak = 0.0, 0.0
    for pattern in case.kernels:
        with tempfile.NamedTemporaryFile() as out:
            batch = 64 if "mf_topn" in pattern else rows
            subprocess.run([BUILD / "bench/bench_kernels", "--filter", f"^{pattern}.*/{variant}/{batch}$", "--json", out.name, *large],
                           check=True, stdout=subprocess.DEVNULL)
            found = json.load(open(out.name))["benchmarks"]
        if not found:
            raise SystemExit(f"bench_kernels has no {pattern}.*/{variant}/{batch}")
        total += found[0]["ns_per_row"]
        peak = found[0].get("share_of_peak", 0.0)
    return total, peak


def peer_ns(peer, units):
    times, end = [], time.perf_counter() + PEER_SECONDS
    peer()
    while time.perf_counter() < end or len(times) < 3:
        before = time.process_time_ns()
        peer()
        times.append(time.process_time_ns() - before)
    return statistics.median(times) / units


def measure(case, options):
    agreed = answers_compare(case)
    units = case.units if case.units > 1 else options.rows
    turns = {}
    for _ in range(options.rounds):
        turns.setdefault("millrace", []).append(kernel_ns(case, options.variant, options.rows, [])[0])
        for name, peer in case.peers.items():
            turns.setdefault(name, []).append(peer_ns(peer, units))
    medians = {name: statistics.median(values) for name, values in turns.items()}
    fp32 = {name: value for name, value in medians.items() if name not in ("millrace", "OpenVINO bf16")}
    best = min(fp32, key=fp32.get) if fp32 else None
    ratio = statistics.median(b / a for a, b in zip(turns["millrace"], turns[best])) if best else None
    return {"name": case.name, "answers": agreed, "ns": medians, "best_peer": best, "ratio": ratio}


def figure(value):
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def table(results, options):
    lines = [f"Nanoseconds a row (top 10: a user), batches of {options.rows:,} rows (64 users), one core, {options.variant}, medians of "
             f"{options.rounds} rounds; the ratio is the median over rounds.", "",
             "| operation | millrace | others | best of them | answers |", "|---|---|---|---|---|"]
    for row in results:
        others = ", ".join(f"{name} {figure(value)}" for name, value in sorted(row["ns"].items(), key=lambda item: item[1]) if name != "millrace")
        best = f"{row['ratio']:.2f} x: {row['best_peer']}" if row["best_peer"] else "-"
        lines.append(f"| {row['name']} | {figure(row['ns']['millrace'])} | {others or '-'} | {best} | {row['answers'] or 'see tests/parity'} |")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--filter", default="")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=1024)
    parser.add_argument("--variant", default="avx512")
    parser.add_argument("--json")
    parser.add_argument("--markdown")
    options = parser.parse_args()
    torch = library("torch")
    if torch:
        torch.set_num_threads(1)
    results = []
    for maker in cases(options.rows, options.filter):
        results.append(measure(maker(), options))
        print(f"{results[-1]['name']}: " + ", ".join(f"{name} {figure(value)}" for name, value in results[-1]["ns"].items()), flush=True)
    versions = {name: library(name).__version__ for name in ("numpy", "sklearn", "onnxruntime", "openvino", "faiss", "torch")
                if name not in MISSING and library(name)}
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps({"versions": versions, "rows": options.rows, "results": results}, indent=1) + "\n")
    text = table(results, options)
    if options.markdown:
        pathlib.Path(options.markdown).write_text(text)
    print("\n" + text)
    print(", ".join(f"{name} {version}" for name, version in versions.items()))


if __name__ == "__main__":
    main()
