"""Models as a notebook leaves them: fitted by scikit-learn or PyTorch, exported as ONNX, with what the library itself and ONNX Runtime predict.

The tests put the .onnx files into a job as they are. fitted() needs the libraries of libraries.py; torch_fitted() PyTorch, in a process of its own."""
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import warnings

import libraries

HERE = pathlib.Path(__file__).resolve().parent
MILLRACE = os.environ.get("MILLRACE", str(HERE.parents[1] / "build/millrace"))
COLUMNS = ["a", "b", "c", "d"]
TOLERANCE = 2e-6  # of the row's largest logit
ROWS = 200


class Model:
    """An ONNX file and what it must predict: lists of rows, each a list of numbers; classes, as text, where it has some."""

    def __init__(self, name, path, kind, scores, size, classes=None, runtime=None, has_p=True):
        self.has_p = classes is not None and has_p  # probabilities, one a class
        self.name, self.path, self.kind, self.scores, self.size, self.classes = name, str(path), kind, scores, size, classes
        self.runtime = scores if runtime is None else runtime  # ONNX Runtime's scores


def rows_make(seed):
    """Three clouds of points, float32, which cloud each is of, and a target."""
    import numpy as np
    random = np.random.default_rng(seed)
    cloud = random.integers(0, 3, ROWS)
    x = np.array([[0, 50, 1, -2], [2, 52, 1, 1], [3, 49, 1, 0]], dtype=float)[cloud] + random.normal(size=(ROWS, 4)) * [1, 3, 0.2, 1]
    x = x.astype(np.float32)
    return x, cloud, x.astype(float) @ [2.0, -0.3, 5.0, 1.0] + 100


def pipelines(cloud, y):
    """Name, type here, pipeline and target: scalers and models that the importer knows."""
    import numpy as np
    from sklearn.cluster import KMeans, MiniBatchKMeans
    from sklearn.linear_model import (ElasticNet, GammaRegressor, LinearRegression, LogisticRegression, LogisticRegressionCV, PoissonRegressor, Ridge, SGDClassifier,
                                      SGDRegressor)
    from sklearn.multiclass import OneVsRestClassifier
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import Binarizer, MaxAbsScaler, MinMaxScaler, Normalizer, RobustScaler, StandardScaler
    names, two, answers = np.array(["ash", "beech, \"red\"", "yew"])[cloud], (cloud == 1).astype(int), np.where(cloud == 2, "yes", "no")
    yield "logistic", "logistic", make_pipeline(StandardScaler(), LogisticRegression()), names
    yield "logistic_bare", "logistic", LogisticRegression(max_iter=1000), names
    yield "logistic_two", "logistic", make_pipeline(MinMaxScaler(), LogisticRegression()), two
    yield "logistic_yes", "logistic", make_pipeline(MaxAbsScaler(), LogisticRegression(C=10)), answers
    yield "logistic_cv", "logistic", make_pipeline(RobustScaler(), LogisticRegressionCV(cv=3, l1_ratios=(0,), use_legacy_attributes=False)), cloud + 3
    yield "sgd_log", "logistic", make_pipeline(StandardScaler(), SGDClassifier(loss="log_loss", random_state=1)), two
    yield "mlp", "mlp", make_pipeline(StandardScaler(), MLPClassifier((9, 5), activation="tanh", max_iter=60, random_state=1)), names
    yield "mlp_two", "mlp", make_pipeline(MinMaxScaler(), MLPClassifier((6,), activation="logistic", max_iter=60, random_state=1)), two
    yield "mlp_relu", "mlp", make_pipeline(MaxAbsScaler(), MLPClassifier((8,), max_iter=60, random_state=1)), cloud
    yield "mlp_regressor", "mlp", make_pipeline(StandardScaler(), MLPRegressor(hidden_layer_sizes=(8, 4), max_iter=200, random_state=1)), y / 10
    yield "linear", "linear", LinearRegression(), y
    yield "ridge", "linear", make_pipeline(StandardScaler(), Ridge()), y
    yield "ridge_two", "linear", make_pipeline(MinMaxScaler(), Ridge()), np.column_stack([y, 1 - 2 * y])
    yield "elastic_net", "linear", make_pipeline(MaxAbsScaler(), ElasticNet(alpha=0.01)), y
    yield "sgd_regressor", "linear", make_pipeline(StandardScaler(), SGDRegressor(random_state=1)), y
    yield "kmeans", "kmeans", KMeans(3, n_init=2, random_state=1), None
    yield "mini_kmeans", "kmeans", MiniBatchKMeans(4, n_init=2, random_state=1), None
    yield "scaled_kmeans", "graph", make_pipeline(StandardScaler(), KMeans(3, n_init=2, random_state=1)), None
    yield "against_rest", "graph", make_pipeline(StandardScaler(), OneVsRestClassifier(LogisticRegression())), names
    yield "sgd_three", "graph", make_pipeline(StandardScaler(), SGDClassifier(loss="log_loss", random_state=1)), names
    yield "huber", "graph", make_pipeline(StandardScaler(), SGDClassifier(loss="modified_huber", random_state=1)), two
    yield "clipped", "graph", make_pipeline(MinMaxScaler(clip=True), LogisticRegression()), names
    yield "normalised", "graph", make_pipeline(Normalizer(), LogisticRegression()), cloud
    yield "binarised", "graph", make_pipeline(Binarizer(threshold=1), LogisticRegression()), names
    yield "poisson", "graph", make_pipeline(StandardScaler(), PoissonRegressor()), np.abs(y)
    yield "gamma", "graph", make_pipeline(StandardScaler(), GammaRegressor()), np.abs(y) + 1


def logits(probabilities):
    """The largest logit of each row, as far as probabilities tell it."""
    import numpy as np
    return np.maximum(1, np.abs(np.log(np.clip(probabilities, 1e-30, 1))).max(axis=1)).tolist()


def runtime_run(path, x):
    """All outputs of the graph, by ONNX Runtime."""
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x})


def expected(name, path, kind, model, x):
    """What the pipeline and ONNX Runtime say; where they differ in a class, the test has nothing to say, and fails."""
    import numpy as np
    found, wide = runtime_run(path, x), x.astype(float)
    if hasattr(model, "predict_proba"):
        own, classes = model.predict_proba(wide), [str(label) for label in model.predict(wide)]
        runtime = np.array([list(row.values()) for row in found[1]]) if isinstance(found[1], list) else found[1]
        made = Model(name, path, kind, own.tolist(), logits(own), classes, runtime.tolist())
    elif hasattr(model, "transform"):
        own, classes = model.transform(wide).min(axis=1, keepdims=True) ** 2, [str(label) for label in model.predict(wide)]
        seen = model[:-1].transform(wide) if hasattr(model, "steps") else wide
        size = (10 * (seen ** 2).sum(axis=1)).tolist()  # of terms that nearly cancel
        made = Model(name, path, kind, own.tolist(), size, classes, (found[1].min(axis=1, keepdims=True).astype(float) ** 2).tolist(), has_p=False)
    else:
        own = model.predict(wide).reshape(len(x), -1)
        made = Model(name, path, kind, own.tolist(), [max(1.0, float(np.abs(own).max()))] * len(x), None, found[0].reshape(len(x), -1).tolist())
    if made.classes and [str(label) for label in found[0].tolist()] != made.classes:
        raise AssertionError(f"{name}: scikit-learn and ONNX Runtime do not agree on the classes")
    return made


def fitted(folder, only=None):
    """Rows and models of scikit-learn, as skl2onnx writes them with and without ZipMap by turns."""
    import skl2onnx
    warnings.simplefilter("ignore")  # of course not all have converged
    x, cloud, y = rows_make(20261122)
    models = []
    for turn, (name, kind, model, target) in enumerate(pipelines(cloud, y)):
        if only and name not in only:
            continue
        model.fit(x.astype(float), target)
        options = {"zipmap": False} if turn % 2 and hasattr(model, "predict_proba") else None
        path = folder / f"{name}.onnx"
        path.write_bytes(skl2onnx.to_onnx(model, x[:1], options=options and {id(model): options}).SerializeToString())
        models.append(expected(name, path, kind, model, x))
    return x.tolist(), models


def torch_fitted(folder):
    """The same of PyTorch: torch_export.py does it, with the Python that has torch."""
    python, environment = libraries.torch()
    done = subprocess.run([python, HERE / "torch_export.py", folder], env=environment, capture_output=True, text=True, timeout=200, check=False)
    if done.returncode:
        raise AssertionError(f"torch_export.py: {done.stderr[-3000:]}")
    said = json.loads((folder / "torch.json").read_text())
    return said["x"], [Model(path=folder / f"{model['name']}.onnx", **model) for model in said["models"]]


def records(x):
    return "".join(json.dumps({"id": i, **dict(zip(COLUMNS, row))}) + "\n" for i, row in enumerate(x))


def job(models, name, source, sink):
    """A job file of all of them, each model an ONNX file as the library wrote it."""
    fields = {"id": "id"}
    for model in models:
        if model.classes:
            fields[f"{model.name}_label"] = f"{model.name}.label"
        if model.has_p or len(model.scores[0]) == 1:
            fields[model.name] = f"{model.name}.{'probabilities' if model.has_p else 'score'}"
        else:
            fields.update({f"{model.name}_{i}": f"{model.name}.scores[{i}]" for i in range(len(model.scores[0]))})
    return {"job": name, "source": source, "record": {"format": "json", "features": COLUMNS},
            "models": [{"name": model.name, "file": model.path} for model in models],
            "emit": {"fields": fields}, "sinks": [sink]}


def given(answer, model):
    """The numbers of one model in an answer."""
    value = answer.get(model.name)
    if value is None:
        return [answer[f"{model.name}_{i}"] for i in range(len(model.scores[0]))]
    return value if isinstance(value, list) else [value]


def compare(answers, x, models):
    """A line about the first difference, or None; answers in any order."""
    by_id = {answer["id"]: answer for answer in answers}
    if len(answers) != len(x) or len(by_id) != len(x):
        return f"{len(answers)} answers to {len(x)} rows"
    for model in models:
        for i in range(len(x)):
            got = given(by_id[i], model)
            if model.classes and str(by_id[i][f"{model.name}_label"]) != model.classes[i]:
                return f"{model.name}, row {i}: class {by_id[i][f'{model.name}_label']}, the library says {model.classes[i]}"
            for who, want in ("the library", model.scores[i]), ("ONNX Runtime", model.runtime[i]):
                if len(got) != len(want) or any(not abs(a - b) <= TOLERANCE * model.size[i] for a, b in zip(got, want)):
                    return f"{model.name}, row {i}: {got}, {who} says {want}"
    return None


def job_run(folder, x, models):
    """The answers of a job on the broker in the process."""
    (folder / "rows.jsonl").write_text(records(x))
    source = {"type": "kafka", "topics": ["rows"], "group": "notebook", "properties": {"bootstrap.servers": "embedded"}}
    said = job(models, "notebook", source, {"type": "file", "path": str(folder / "answers.jsonl")})
    said["bad_records"] = {"file": str(folder / "bad.jsonl")}
    (folder / "job.json").write_text(json.dumps(said))
    done = subprocess.run([MILLRACE, "run", folder / "job.json", "--feed", folder / "rows.jsonl", "--until", "end", "--lanes", "1"],
                          capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        sys.exit(f"FAIL: millrace run: exit code {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    return [json.loads(line) for line in (folder / "answers.jsonl").read_text().splitlines()]


def check(make, what):
    """A test: the models that make() leaves in a folder, in a job."""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        x, models = make(folder)
        difference = compare(job_run(folder, x, models), x, models)
        if difference:
            sys.exit(f"FAIL: {difference}")
        print(f"{len(models)} models of {what}, {len(x)} rows each")
