#!/usr/bin/env python3
"""Makes the models and answers in tests/golden/models/, which tests/parity/test_golden_models.c reads.

    python3 -m venv .venv && .venv/bin/pip install numpy scikit-learn onnxruntime skl2onnx
    .venv/bin/python tests/golden/make_models.py

For each model NAME: NAME.safetensors as millrace loads it, and NAME.answers.safetensors with x [rows, in] (float32),
y [rows, width] (float64, scikit-learn's), y_onnx [rows, width] (float32, ONNX Runtime's of the model converted by skl2onnx) and
class [rows] (scikit-learn's). Seeds are fixed; library versions are in the metadata of the answers. The fits need not converge."""
import json
import pathlib
import struct
import sys
import warnings

import numpy as np
import onnxruntime
import skl2onnx
import sklearn
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

ROWS = 200
FOLDER = pathlib.Path(__file__).parent / "models"
DTYPES = {np.dtype(np.float32): "F32", np.dtype(np.float64): "F64"}


def write(path, tensors, metadata):
    header, data = {"__metadata__": metadata}, b""
    for name, values in tensors.items():
        raw = np.ascontiguousarray(values).tobytes()
        header[name] = {"dtype": DTYPES[values.dtype], "shape": list(values.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def onnx_outputs(model, x, width, is_classifier):
    """Probabilities or predictions of the converted model, float32 [rows, width]."""
    options = {id(model): {"zipmap": False}} if is_classifier else None
    converted = skl2onnx.to_onnx(model, x[:1], options=options)
    session = onnxruntime.InferenceSession(converted.SerializeToString(), providers=["CPUExecutionProvider"])
    found = session.run(None, {session.get_inputs()[0].name: x})[-1].reshape(len(x), -1).astype(np.float32)
    return found[:, -1:] if width == 1 else found


def tensors_of(model):
    """Tensors and metadata of a fitted estimator."""
    tensors = {}
    if hasattr(model, "steps"):
        scaler, model = model.steps[0][1], model.steps[1][1]
        tensors = {"input.mean": scaler.mean_, "input.scale": scaler.scale_}
    if hasattr(model, "coefs_"):
        names = {"logistic": "sigmoid", "relu": "relu", "tanh": "tanh", "identity": "identity", "softmax": "softmax"}
        for i, (w, b) in enumerate(zip(model.coefs_, model.intercepts_)):
            tensors[f"layer.{i}.weight"], tensors[f"layer.{i}.bias"] = w.T.copy(), b
        activations = [names[model.activation]] * (len(model.coefs_) - 1) + [names[model.out_activation_]]
        return tensors, {"millrace.type": "mlp", "millrace.activations": json.dumps(activations)}
    tensors["weight"], tensors["bias"] = np.atleast_2d(model.coef_), np.atleast_1d(model.intercept_)
    return tensors, {"millrace.type": "logistic" if hasattr(model, "classes_") else "linear"}


def make(name, model, x, target):
    model.fit(x[ROWS:].astype(np.float64), target[ROWS:])
    x = x[:ROWS]
    is_classifier = hasattr(model, "predict_proba")
    if is_classifier:
        y = model.predict_proba(x.astype(np.float64))
        classes = y.argmax(axis=1)
        if y.shape[1] == 2:
            y = y[:, 1:]
    else:
        y = model.predict(x.astype(np.float64)).reshape(ROWS, -1)
        classes = np.zeros(ROWS)
    y_onnx = onnx_outputs(model, x, y.shape[1], is_classifier)
    tensors, metadata = tensors_of(model)
    labels = list(range(len(model.classes_))) if is_classifier else None
    metadata |= {"millrace.version": "golden", "millrace.features": json.dumps([f"f{i}" for i in range(x.shape[1])])}
    if labels:
        metadata["millrace.labels"] = json.dumps([f"class {i}" for i in labels])
    write(FOLDER / f"{name}.safetensors", {k: v.astype(np.float64) for k, v in tensors.items()}, metadata)
    versions = {"python": sys.version.split()[0], "numpy": np.__version__, "scikit-learn": sklearn.__version__,
                "onnxruntime": onnxruntime.__version__, "skl2onnx": skl2onnx.__version__}
    write(FOLDER / f"{name}.answers.safetensors",
          {"x": x, "y": y.astype(np.float64), "y_onnx": y_onnx, "class": classes.astype(np.float64)}, versions)
    print(f"{name}: {ROWS} rows, ONNX Runtime differs from scikit-learn by at most {np.abs(y_onnx - y).max():.2g}")


def main():
    warnings.filterwarnings("ignore")
    rng = np.random.default_rng(20240607)
    x = rng.normal(size=(1200, 6)).astype(np.float32)
    hidden = np.tanh(x @ rng.normal(size=(6, 9))) @ rng.normal(size=(9, 4))
    many, two, number = hidden.argmax(axis=1), (hidden[:, 0] > 0).astype(int), hidden[:, :2] * 3 + 1
    shifted = (x * np.array([1, 10, 100, 0.1, 5, 3]) + np.array([0, 50, 300, 1, -20, 7])).astype(np.float32)
    FOLDER.mkdir(exist_ok=True)
    for activation in ("relu", "tanh", "logistic"):
        make(f"mlp_{activation}", MLPClassifier((13, 9), activation=activation, max_iter=150, random_state=1), x, many)
    make("mlp_binary", MLPClassifier((8,), activation="logistic", max_iter=150, random_state=2), x, two)
    make("mlp_regressor", MLPRegressor(hidden_layer_sizes=(17, 5), activation="tanh", max_iter=150, random_state=3), x, number)
    make("mlp_standardised", make_pipeline(StandardScaler(), MLPClassifier((7,), max_iter=150, random_state=4)), shifted, many)
    make("logistic_binary", LogisticRegression(), x, two)
    make("logistic_multinomial", LogisticRegression(), x, many)
    make("logistic_standardised", make_pipeline(StandardScaler(), LogisticRegression()), shifted, many)
    make("linear", LinearRegression(), x, number[:, 0])
    make("linear_multiple", LinearRegression(), x, number)


if __name__ == "__main__":
    main()
