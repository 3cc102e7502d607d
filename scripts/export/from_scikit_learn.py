#!/usr/bin/env python3
"""Writes a fitted model of scikit-learn as a model file of millrace, without skl2onnx.

From a program that has the model, which is the safe way:

    from from_scikit_learn import export
    export(pipeline, "model.safetensors")

From a file that joblib.dump or pickle.dump wrote. Reading a pickle runs whatever program is in it; do this only with a file that you
made yourself:

    ./from_scikit_learn.py --trust-pickle model.joblib model.safetensors

Known: LinearRegression, Ridge, Lasso, ElasticNet, SGDRegressor; LogisticRegression, SGDClassifier of log loss; MLPClassifier,
MLPRegressor; KMeans, MiniBatchKMeans; StandardScaler. In a Pipeline, scalers (StandardScaler, MinMaxScaler, MaxAbsScaler) may stand in front. What is not
known is refused with a reason.
"""
import sys

from model_file import Refused, metadata, numbers, pickle_program, write

LINEAR = ("LinearRegression", "Ridge", "RidgeCV", "Lasso", "LassoCV", "ElasticNet", "ElasticNetCV", "SGDRegressor")
ACTIVATIONS = {"identity": "identity", "logistic": "sigmoid", "tanh": "tanh", "relu": "relu", "softmax": "softmax"}


def name_of(model):
    return type(model).__name__


def steps_of(model):
    """What stands in front, and the model itself."""
    if name_of(model) == "Pipeline":
        steps = [step for _, step in model.steps if step is not None and step != "passthrough"]
        return steps[:-1], steps[-1]
    return [], model


def scaling_of(scalers, columns):
    """(x - mean) / scale of all scalers, one behind the other."""
    mean, scale = [0.0] * columns, [1.0] * columns
    for scaler in scalers:
        kind = name_of(scaler)
        if kind == "StandardScaler":
            by = [1.0] * columns if scaler.scale_ is None else list(scaler.scale_)
            off = [0.0] * columns if not scaler.with_mean else list(scaler.mean_)
        elif kind == "MinMaxScaler" and not scaler.clip:
            by = [1 / s for s in scaler.scale_]
            off = [-m * b for m, b in zip(scaler.min_, by)]
        elif kind == "MaxAbsScaler":
            by, off = list(scaler.scale_), [0.0] * columns
        else:
            raise Refused(f"{kind} in front of a model is not known: StandardScaler, MinMaxScaler (without clip) and MaxAbsScaler are")
        mean = [m + s * o for m, s, o in zip(mean, scale, off)]
        scale = [s * b for s, b in zip(scale, by)]
    return mean, scale


def layer(prefix, weight, bias):
    """Tensors of a dense layer; weight: rows of outputs."""
    flat = [value for row in weight for value in row]
    return [numbers(prefix + "weight", flat, [len(weight), len(weight[0])]), numbers(prefix + "bias", bias, [len(bias)])]


def rows_of(values):
    """coef_ as rows, also of a single output."""
    rows = values.tolist()
    return rows if rows and isinstance(rows[0], list) else [rows]


def bias_of(model, outputs):
    bias = model.intercept_
    bias = bias.tolist() if hasattr(bias, "tolist") else bias
    return bias if isinstance(bias, list) else [float(bias)] * outputs


def classifier(model):
    kind = name_of(model)
    if kind == "SGDClassifier" and model.loss != "log_loss":
        raise Refused(f"SGDClassifier with loss=\"{model.loss}\" gives no probabilities: train it with loss=\"log_loss\"")
    one_against_rest = kind == "SGDClassifier" or getattr(model, "solver", "") == "liblinear" or getattr(model, "multi_class", "") == "ovr"
    if len(model.classes_) > 2 and one_against_rest:
        raise Refused(f"{kind} fits one class against the rest, which this does not write: go through ONNX (skl2onnx), or train a multinomial LogisticRegression")
    weight = rows_of(model.coef_)
    return "logistic", layer("", weight, bias_of(model, len(weight))), {"labels": model.classes_.tolist()}


def network(model):
    labels = None
    if name_of(model) == "MLPClassifier":
        if model.out_activation_ == "logistic" and model.n_outputs_ > 1:
            raise Refused("MLPClassifier of several labels at once is not known")
        labels = model.classes_.tolist()
    tensors = []
    for i, (weight, bias) in enumerate(zip(model.coefs_, model.intercepts_)):
        tensors += layer(f"layer.{i}.", weight.T.tolist(), bias.tolist())
    activations = [ACTIVATIONS[model.activation]] * (len(model.coefs_) - 1) + [ACTIVATIONS[model.out_activation_]]
    return "mlp", tensors, {"labels": labels, "activations": activations}


def parts_of(model, scalers):
    kind = name_of(model)
    if kind in LINEAR:
        weight = rows_of(model.coef_)
        return "linear", layer("", weight, bias_of(model, len(weight))), {}
    if kind in ("LogisticRegression", "LogisticRegressionCV", "SGDClassifier"):
        return classifier(model)
    if kind in ("MLPClassifier", "MLPRegressor"):
        return network(model)
    if kind in ("KMeans", "MiniBatchKMeans"):
        if scalers:
            raise Refused(f"{kind} behind a scaler: distances here are of the features as they come; scale them before they are sent, or fit without")
        centers = model.cluster_centers_.tolist()
        return "kmeans", [numbers("centers", [value for row in centers for value in row], [len(centers), len(centers[0])])], {}
    if kind == "StandardScaler" and not scalers and model.with_mean and model.with_std:
        return "scaler", [numbers("mean", model.mean_, [len(model.mean_)]), numbers("variance", model.var_, [len(model.var_)])], {}
    if kind == "StandardScaler" and not scalers:
        raise Refused("StandardScaler without with_mean or with_std: in front of a model it is known, alone it is not")
    raise Refused(f"{kind} is not known: see the list in {__file__}, or go through ONNX (skl2onnx)")


def export(model, path, version="", features=None):
    """model: fitted; features: names, where the model has none of its own. Refused (a ValueError) says what stands in the way."""
    scalers, last = steps_of(model)
    kind, tensors, facts = parts_of(last, scalers)
    first = scalers[0] if scalers else last
    if features is None and hasattr(first, "feature_names_in_"):
        features = first.feature_names_in_.tolist()
    if scalers:
        columns = int(first.n_features_in_)
        mean, scale = scaling_of(scalers, columns)
        tensors += [numbers("input.mean", mean, [columns]), numbers("input.scale", scale, [columns])]
    write(path, tensors, metadata(kind, version, features=features, **facts))


def load(path):
    import joblib
    return joblib.load(path)


if __name__ == "__main__":
    sys.exit(pickle_program(__doc__, load, export))
