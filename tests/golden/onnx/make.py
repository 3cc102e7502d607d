#!/usr/bin/env python3
"""Makes the ONNX models and answers beside this file, which tests/parity/test_onnx_models.c reads.

    python3 -m venv .venv
    .venv/bin/pip install onnx==1.22.0 onnxruntime==1.32.0 scikit-learn==1.9.1 skl2onnx==1.20.0
    .venv/bin/python tests/golden/onnx/make.py

For each model NAME: NAME.onnx as skl2onnx writes it, or (torch_*) node for node what PyTorch's exporters write for such a network, with
random weights; and NAME.answers.safetensors with x [rows, features] (float32), y [rows, width] (float32, ONNX Runtime's), class [rows]
(the index of ONNX Runtime's label among the labels), logit [rows] (the largest logit of the row, or the size of its terms where the output is no
probability). The metadata says which type and labels the model must have here. Seeds are fixed; library versions are in the metadata. ONNX
Runtime computes with one thread and without graph optimisation, so that its answers do not depend on the machine more than they must."""
import json
import pathlib
import sys
import warnings

import numpy as np
import onnx
import onnxruntime
import skl2onnx
import sklearn
from onnx import TensorProto, helper, numpy_helper
from skl2onnx.common.data_types import FloatTensorType
from sklearn.cluster import KMeans
from sklearn.compose import ColumnTransformer
from sklearn.multiclass import OneVsRestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge, SGDClassifier
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

FOLDER = pathlib.Path(__file__).parent
sys.path.insert(0, str(FOLDER.parent))
from make_models import write  # noqa: E402

ROWS = 100


def answers(name, x, kind, labels=None, split=False, clusters=None):
    """Runs NAME.onnx in ONNX Runtime and stores what it says. kind: the type it must become here. clusters: the outputs are classes and
    distances, and this the size of the terms that nearly cancel in them."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(str(FOLDER / f"{name}.onnx"), options, providers=["CPUExecutionProvider"])
    inputs = session.get_inputs()
    dtype = np.float64 if "double" in inputs[0].type else np.float32
    feed = {port.name: x[:, i:i + 1] for i, port in enumerate(inputs)} if split else \
        {inputs[0].name: x.astype(dtype).reshape([len(x)] + [d for d in inputs[0].shape[1:]])}
    found = session.run(None, feed)
    y = np.concatenate([part.reshape(len(x), -1) for part in found], axis=1) if kind == "graph" and labels is None and clusters is None else found[-1]
    if isinstance(y, list):
        y = np.array([list(row.values()) for row in y], dtype=np.float32)
    y = y.reshape(len(x), -1).astype(np.float32)
    classes = np.zeros(len(x))
    if labels is not None:
        classes = np.array([list(labels).index(label) for label in found[0]]) if len(found) > 1 else y.argmax(axis=1)
        if y.shape[1] == 1:
            classes = (y[:, 0] > 0.5).astype(np.float64)
        p = np.clip(y.astype(np.float64), 1e-30, 1)
        logit = np.maximum(1, np.abs(np.log(p)).max(axis=1))
        if y.shape[1] == 2 and kind != "graph":
            y = y[:, 1:]
    elif clusters is not None:
        classes = found[0].astype(np.float64)
        y = (y.min(axis=1, keepdims=True) ** 2).astype(np.float32)
        logit = clusters
    else:
        logit = np.full(len(x), max(1.0, float(np.abs(y).max())))
    metadata = {"onnx": onnx.__version__, "onnxruntime": onnxruntime.__version__, "scikit-learn": sklearn.__version__,
                "skl2onnx": skl2onnx.__version__, "numpy": np.__version__, "type": kind,
                "labels": json.dumps([str(label) for label in labels] if labels is not None else [])}
    write(FOLDER / f"{name}.answers.safetensors", {"x": x.astype(np.float32), "y": np.ascontiguousarray(y),
                                                   "class": classes.astype(np.float64), "logit": logit}, metadata)
    print(f"{name}: {kind}, {len(x)} rows, {y.shape[1]} wide")


def sklearn_model(name, model, x, target, kind, labels=None, zipmap=True, wide=False, split=False):
    model.fit(x[ROWS:].astype(np.float64), target[ROWS:])
    options = {id(model): {"zipmap": False}} if labels is not None and not zipmap else None
    if split:
        types = [(f"f{i}", FloatTensorType([None, 1])) for i in range(x.shape[1])]
        converted = skl2onnx.convert_sklearn(model, initial_types=types, options=options)
    else:
        converted = skl2onnx.to_onnx(model, x[:1].astype(np.float64 if wide else np.float32), options=options)
    onnx.save(converted, FOLDER / f"{name}.onnx")
    answers(name, x[:ROWS], kind, labels, split, 10 * (x[:ROWS].astype(np.float64) ** 2).sum(axis=1) if kind == "kmeans" else None)


class Graph:
    """Nodes one behind the other."""

    def __init__(self, rng, shape, opset):
        self.rng, self.nodes, self.constants, self.last, self.opset = rng, [], [], "x", opset
        self.input = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)

    def constant(self, value):
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def random(self, *shape, scale=0.5):
        return self.constant((self.rng.normal(size=shape) * scale).astype(np.float32))

    def node(self, op, *inputs, **attributes):
        out = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [out], name=f"/{op}_{len(self.nodes)}", **attributes))
        self.last = out
        return out

    def gemm(self, inputs, outputs):
        self.node("Gemm", self.last, self.random(outputs, inputs), self.random(outputs), transB=1)

    def dense(self, value, inputs, outputs):
        return self.node("Gemm", value, self.random(outputs, inputs), self.random(outputs), transB=1)

    def save(self, name, external=False, outputs=None):
        infos = [helper.make_tensor_value_info(value, kind, None) for value, kind in outputs or [(self.last, TensorProto.FLOAT)]]
        graph = helper.make_graph(self.nodes, "main_graph", [self.input], infos, self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], producer_name="golden", ir_version=8)
        path = FOLDER / f"{name}.onnx"
        if external:
            onnx.save(model, path, save_as_external_data=True, location=f"{name}.onnx.data", size_threshold=0)
        else:
            onnx.save(model, path)


def torch_models(rng, x):
    graph = Graph(rng, ["batch", 6], 17)  # Linear, ReLU, Linear, Tanh, Linear, Softmax
    graph.gemm(6, 11)
    graph.node("Relu", graph.last)
    graph.gemm(11, 7)
    graph.node("Tanh", graph.last)
    graph.gemm(7, 4)
    graph.node("Softmax", graph.last, axis=-1)
    graph.save("torch_softmax")
    answers("torch_softmax", x, "mlp", labels=range(4))

    graph = Graph(rng, ["batch", 6], 18)  # GELU before opset 20, Linear without Gemm, values in a file beside
    product = graph.node("MatMul", "x", graph.random(6, 16))
    whole = graph.node("Add", product, graph.random(16))
    erf = graph.node("Erf", graph.node("Div", whole, graph.constant(np.float32(np.sqrt(2)))))
    product = graph.node("Mul", whole, graph.node("Add", erf, graph.constant(np.float32(1))))
    graph.node("Mul", product, graph.constant(np.float32(0.5)))
    graph.gemm(16, 2)
    graph.save("torch_gelu", external=True)
    answers("torch_gelu", x, "mlp")

    graph = Graph(rng, ["batch", 1, 2, 3], 20)  # Flatten, Linear, BatchNorm1d, Sigmoid, Dropout at inference, Gelu
    graph.node("Flatten", "x", axis=1)
    graph.gemm(6, 9)
    graph.node("BatchNormalization", graph.last, graph.random(9), graph.random(9), graph.random(9),
               graph.constant(rng.uniform(0.3, 2, 9).astype(np.float32)), epsilon=1e-5)
    graph.node("Sigmoid", graph.last)
    graph.node("Dropout", graph.last)
    graph.gemm(9, 5)
    graph.node("Gelu", graph.last)
    graph.gemm(5, 3)
    graph.save("torch_batchnorm")
    answers("torch_batchnorm", x, "mlp")

    graph = Graph(rng, ["batch", 6], 13)  # one probability, float16 weights, cast back
    weight = graph.constant((rng.normal(size=(6, 1)) / 2).astype(np.float16))
    graph.node("MatMul", "x", graph.node("Cast", weight, to=TensorProto.FLOAT))
    graph.node("Add", graph.last, graph.random(1))
    graph.node("Sigmoid", graph.last)
    graph.save("torch_half")
    answers("torch_half", x, "logistic", labels=range(2))


def pointwise_models(rng, x):
    """Each activation between two layers: what no layer of ours has."""
    activations = [("Abs", {}), ("Celu", {"alpha": 0.7}), ("Elu", {"alpha": 0.7}), ("Exp", {}), ("HardSigmoid", {"alpha": 0.3}), ("HardSwish", {}),
                   ("LeakyRelu", {"alpha": 0.1}), ("Mish", {}), ("Selu", {}), ("Softplus", {}), ("Softsign", {}), ("ThresholdedRelu", {"alpha": 0.2}), ("Erf", {}),
                   ("Gelu", {"approximate": "tanh"}), ("Ceil", {}), ("Floor", {}), ("Round", {}), ("Sign", {}), ("LogSoftmax", {"axis": 1})]
    graph = Graph(rng, ["batch", 6], 20)
    parts = []
    for op, attributes in activations:
        hidden = graph.node("Identity", "x") if op in ("Ceil", "Floor", "Round", "Sign") else graph.dense("x", 6, 7)
        parts.append(graph.dense(graph.node(op, hidden, **attributes), 6 if op in ("Ceil", "Floor", "Round", "Sign") else 7, 2))
    graph.node("Concat", *parts, axis=1)
    graph.save("graph_activations")
    answers("graph_activations", x, "graph")


def branched_models(rng, x):
    graph = Graph(rng, ["batch", 6], 17)  # residual blocks, and a gate by a softmax in the middle
    hidden = graph.node("LeakyRelu", graph.dense("x", 6, 8))
    for _ in range(3):
        hidden = graph.node("Add", hidden, graph.dense(graph.node("Relu", graph.dense(hidden, 8, 8)), 8, 8))
    gate = graph.node("Softmax", graph.dense(hidden, 8, 8), axis=1)
    mixed = graph.node("Mul", gate, hidden)
    graph.node("Concat", graph.node("ReduceSum", mixed, graph.constant(np.array([1])), keepdims=1), graph.node("ReduceMax", mixed, axes=[1], keepdims=1), "x", axis=1)
    graph.gemm(8, 3)
    graph.node("LogSoftmax", graph.last, axis=1)
    graph.save("graph_residual")
    answers("graph_residual", x, "graph")

    graph = Graph(rng, ["batch", 6], 17)  # arithmetic on columns
    left, right = graph.node("Slice", "x", *(graph.constant(np.array([value])) for value in (0, 3, 1))), graph.node("Slice", "x", *(graph.constant(np.array([value])) for value in (5, 2, 1, -1)))
    size = graph.node("ReduceL2", left, axes=[1], keepdims=1)
    unit = graph.node("Div", left, graph.node("Max", size, graph.constant(np.float32(1e-6))))
    power = graph.node("Pow", graph.node("Clip", right, graph.constant(np.float32(0.1)), graph.constant(np.float32(2))), unit)
    root = graph.node("Sqrt", graph.node("Abs", graph.node("Sub", left, right)))
    logarithm = graph.node("Log", graph.node("Add", graph.node("Pow", right, graph.constant(np.float32(2))), graph.constant(np.float32(0.5))))
    less = graph.node("Min", graph.node("Neg", left), right)
    folds = [graph.node(op, "x", axes=[1], keepdims=1) for op in ("ReduceMean", "ReduceMin", "ReduceL1", "ReduceLogSumExp", "ReduceSumSquare", "ReduceProd")]
    inverse = graph.node("Div", graph.constant(np.float32(3)), graph.node("Add", graph.node("Exp", left), graph.constant(np.float32(1))))
    slope = graph.node("PRelu", right, graph.constant(np.array([0.1, 0.2, 0.3], dtype=np.float32)))
    graph.node("Concat", unit, power, root, logarithm, less, inverse, slope, *folds, axis=1)
    graph.save("graph_arithmetic")
    answers("graph_arithmetic", x, "graph")

    graph = Graph(rng, ["batch", 6], 17)  # the three likeliest of nine classes, and which they are
    probability = graph.node("Softmax", graph.dense(graph.node("Elu", graph.dense("x", 6, 12)), 12, 9), axis=1)
    graph.nodes.append(helper.make_node("TopK", [probability, graph.constant(np.array([3]))], ["best", "which"], name="/TopK", axis=1))
    graph.save("graph_top", outputs=[("best", TensorProto.FLOAT), ("which", TensorProto.INT64)])
    answers("graph_top", x, "graph")


def scaled_clusters(x, target):
    """Distances behind a scaler: classes and all distances."""
    model = make_pipeline(StandardScaler(), KMeans(4, n_init=1, random_state=6)).fit(x[ROWS:].astype(np.float64))
    onnx.save(skl2onnx.to_onnx(model, x[:1]), FOLDER / "graph_clusters.onnx")
    scaled = model[0].transform(x[:ROWS].astype(np.float64))
    answers("graph_clusters", x[:ROWS], "graph", clusters=10 * (scaled ** 2).sum(axis=1))


def main():
    warnings.filterwarnings("ignore")
    rng = np.random.default_rng(20261122)
    x = rng.normal(size=(1000, 6)).astype(np.float32)
    hidden = np.tanh(x @ rng.normal(size=(6, 9))) @ rng.normal(size=(9, 3))
    many, two, number = hidden.argmax(axis=1), (hidden[:, 0] > 0).astype(int), hidden[:, :2] * 3 + 1
    names = np.array(["low", "mid", "high"])[many]
    far = (x * np.array([1, 10, 100, 0.1, 5, 3]) + np.array([0, 50, 300, 1, -20, 7])).astype(np.float32)
    text = sorted(set(names))
    sklearn_model("mlp_binary", MLPClassifier((8,), max_iter=60, random_state=1), x, two, "mlp", range(2))
    sklearn_model("mlp_labels", make_pipeline(StandardScaler(), MLPClassifier((9, 5), activation="tanh", max_iter=60, random_state=2)),
                  far, names, "mlp", text, zipmap=False)
    sklearn_model("mlp_regressor", MLPRegressor(hidden_layer_sizes=(12,), activation="logistic", max_iter=60, random_state=3), x, number[:, 0], "mlp")
    sklearn_model("logistic_binary", LogisticRegression(), x, two * 10 + 5, "logistic", [5, 15])
    sklearn_model("logistic_labels", make_pipeline(StandardScaler(), LogisticRegression()), far, names, "logistic", text)
    sklearn_model("sgd_binary", SGDClassifier(loss="log_loss", random_state=4), x, two, "logistic", range(2))
    sklearn_model("linear", LinearRegression(), x, number[:, 0], "linear")
    sklearn_model("linear_minmax", make_pipeline(MinMaxScaler(), Ridge()), far, number, "linear")
    sklearn_model("linear_double", make_pipeline(StandardScaler(), LinearRegression()), far, number[:, 1], "linear", wide=True)
    sklearn_model("kmeans", KMeans(5, n_init=1, random_state=5), x, two, "kmeans")
    sklearn_model("scaler", StandardScaler(), far, two, "scaler")
    columns = ColumnTransformer([("a", StandardScaler(), [0, 1, 2]), ("b", "passthrough", [3, 4, 5])])
    sklearn_model("columns", make_pipeline(columns, LogisticRegression()), x, names, "logistic", text, split=True)
    torch_models(rng, x[:ROWS])
    pointwise_models(rng, x[:ROWS])
    branched_models(rng, x[:ROWS])
    scaled_clusters(far, two)
    sklearn_model("graph_one_against_rest", make_pipeline(StandardScaler(), OneVsRestClassifier(LogisticRegression())), far, names, "graph", text, zipmap=False)


if __name__ == "__main__":
    main()
