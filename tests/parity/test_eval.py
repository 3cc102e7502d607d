#!/usr/bin/env python3
"""millrace eval: the metrics are scikit-learn's (tests/golden/evaluate/), whatever the format of the rows; labels, errors."""
import json
import os
import pathlib
import struct
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from xml.etree import ElementTree

PROGRAM = os.environ["MILLRACE"]
MODELS = pathlib.Path("tests/golden/models")
GOLDEN = pathlib.Path("tests/golden/evaluate")


def fail(text):
    print("FAIL:", text)
    sys.exit(1)


def run(*arguments, data=b"", code=0):
    done = subprocess.run([PROGRAM, "eval", *map(str, arguments)], input=data, capture_output=True)
    if done.returncode != code:
        fail(f"{arguments}: exit {done.returncode}, expected {code}: {done.stderr.decode()[:600]}")
    return done.stdout.decode(), done.stderr.decode()


def tensors(path):
    data = path.read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    header, rest = json.loads(data[8 : 8 + size]), data[8 + size :]
    out = {"metadata": header.pop("__metadata__")}
    for name, tensor in header.items():
        if tensor["dtype"] == "F32":
            first, last = tensor["data_offsets"]
            out[name] = tensor["shape"], struct.unpack(f"<{(last - first) // 4}f", rest[first:last])
    return out


def near(what, got, want, bound=2e-6):
    if got is None or abs(got - want) > bound * max(1, abs(want)):
        fail(f"{what}: {got}, scikit-learn says {want}")


class Rows:
    """A golden model's rows with labels, as text of any format."""

    def __init__(self, name, labels):
        (count, self.cols), x = tensors(MODELS / f"{name}.answers.safetensors")["x"]
        metadata = tensors(MODELS / f"{name}.safetensors")["metadata"]
        self.names = json.loads(metadata["millrace.features"])
        self.classes = json.loads(metadata.get("millrace.labels", "null"))
        self.x = [x[r * self.cols : (r + 1) * self.cols] for r in range(count)]
        self.labels = labels

    def label(self, value):
        return self.classes[value] if self.classes and isinstance(value, int) else value

    def csv(self):
        lines = [",".join(["y", *reversed(self.names)])]  # by name, not by place
        for x, y in zip(self.x, self.labels):
            lines.append(",".join(["%s" % self.label(y), *("%.9g" % v for v in reversed(x))]))
        return "\n".join(lines).encode() + b"\n"

    def jsonl(self):
        return "".join(json.dumps({**dict(zip(self.names, x)), "other": "text", "y": self.label(y)}) + "\n"
                       for x, y in zip(self.x, self.labels)).encode()


def check_classes(name, want):
    rows = Rows(name, want["labels"])
    model = MODELS / f"{name}.safetensors"
    out = json.loads(run(model, "-f", "csv", "--label", "y", "--json", data=rows.csv())[0])
    for metric in ("accuracy", "balanced_accuracy", "macro_f1", "log_loss", "auc", "calibration_error", "brier"):
        if metric in want:
            near(f"{name} {metric}", out["metrics"][metric], want[metric])
    if out["confusion"] != want["confusion"] or out["rows"] != len(want["labels"]):
        fail(f"{name}: confusion {out['confusion']}, scikit-learn says {want['confusion']}")
    for i, found in enumerate(out["classes"]):
        near(f"{name} recall {i}", found["recall"], want["recall"][i])
        near(f"{name} precision {i}", found["precision"] or 0, want["precision"][i])
    bins = [b for b in out["calibration"] if b["rows"]]
    for i, found in enumerate(bins):
        near(f"{name} bin {i}", found["probability"], want["bin_probability"][i])
        near(f"{name} bin {i}", found["share"], want["bin_share"][i])
    other = json.loads(run(model, "-", "-f", "json", "-l", "y", "--json", data=rows.jsonl())[0])
    for key in ("metrics", "confusion", "classes", "calibration"):
        if other[key] != out[key]:
            fail(f"{name}: {key} of JSON lines are not those of CSV")
    text, talk = run(model, "-f", "csv", "-l", "y", data=rows.csv())
    if "balanced accuracy" not in text or "nats a row" not in text or talk:
        fail(f"{name}: {text} {talk}")


def check_numbers(name, want):
    rows = Rows(name, want["labels"])
    model = MODELS / f"{name}.safetensors"
    out = json.loads(run(model, "-f", "csv", "--label", "y", "--json", data=rows.csv())[0])
    for metric in ("mse", "rmse", "mae", "r2", "error_max", "mean_error"):
        near(f"{name} {metric}", out["metrics"][metric], want[metric], 1e-5)
    packed = b"".join(struct.pack(f"<{rows.cols + 1}f", *x, y) for x, y in zip(rows.x, rows.labels))
    features = ",".join(f"[{i}]" for i in range(rows.cols))
    out = json.loads(run(model, "-f", "f32", "-F", features, "-l", f"[{rows.cols}]", "--record",
                         f"stride={4 * rows.cols + 4}", "--json", data=packed)[0])
    near(f"{name} mse of f32", out["metrics"]["mse"], want["mse"], 1e-5)
    if "label's unit" not in run(model, "-f", "csv", "--label", "y", data=rows.csv())[0]:
        fail(f"{name}: no units")


def check_clusters(want):
    model, data = GOLDEN / "kmeans.safetensors", GOLDEN / "kmeans.csv"
    out = json.loads(run(model, data, "--json")[0])
    near("inertia", out["metrics"]["inertia"], want["inertia"])
    if out["sizes"] != want["sizes"]:
        fail(f"sizes {out['sizes']}, scikit-learn says {want['sizes']}")
    if "inertia" not in run(model, data)[0]:
        fail("no inertia in the text")


def precision_recall(predictions, top, threshold):
    """precision_recall_at_k of Surprise's FAQ, means over the users."""
    users = defaultdict(list)
    for user, estimate, rating in predictions:
        users[user].append((estimate, rating))
    precisions, recalls = [], []
    for ratings in users.values():
        ratings.sort(key=lambda pair: pair[0], reverse=True)
        relevant = sum(rating >= threshold for _, rating in ratings)
        recommended = sum(estimate >= threshold for estimate, _ in ratings[:top])
        both = sum(rating >= threshold and estimate >= threshold for estimate, rating in ratings[:top])
        precisions.append(both / recommended if recommended else 0)
        recalls.append(both / relevant if relevant else 0)
    return sum(precisions) / len(precisions), sum(recalls) / len(recalls)


def check_ratings():
    """A recommender against the estimates of Surprise itself; made-up ratings."""
    pairs = json.loads(pathlib.Path("tests/golden/surprise/expected.json").read_text())["biased"]["pairs"]
    model = "tests/golden/surprise/biased.safetensors"
    rows = [(user, item, estimate, 1 + (i * 7919 % 9) / 2) for i, (user, item, estimate) in enumerate(pairs)]
    users = sorted({user for user, *_ in rows})[:20]  # few users with many ratings each, beside those
    rows += [(users[i % 20], item, estimate, 5 - (i * 31 % 8) / 2) for i, (user, item, estimate) in enumerate(pairs) if user == users[i % 20]]
    csv = "who,what,stars\n" + "".join(f"{user},{item},{rating}\n" for user, item, _, rating in rows)
    jsonl = "".join(json.dumps({"who": user, "what": int(item) if item.isdigit() else item, "stars": rating}) + "\n"
                    for user, item, _, rating in rows)
    flags = ("-F", "who,what", "-l", "stars", "--json", "--top", "2", "--relevant", "3")
    out = json.loads(run(model, "-f", "csv", *flags, data=csv.encode())[0])
    errors = [estimate - rating for _, _, estimate, rating in rows]
    near("rmse of ratings", out["metrics"]["rmse"], (sum(e * e for e in errors) / len(errors)) ** 0.5, 1e-5)
    near("mae of ratings", out["metrics"]["mae"], sum(map(abs, errors)) / len(errors), 1e-5)
    known = [(user, estimate, rating) for user, _, estimate, rating in rows if user != "nobody"]
    precision, recall = precision_recall(known, 2, 3)
    near("precision at 2", out["metrics"]["precision"], precision)
    near("recall at 2", out["metrics"]["recall"], recall)
    if (out["unknown_users"], out["users"], out["rows"]) != (2, len({user for user, *_ in known}), len(rows)):
        fail(f"users: {out}")
    if json.loads(run(model, "-f", "json", *flags, data=jsonl.encode())[0])["metrics"] != out["metrics"]:
        fail("ratings as JSON lines")
    if "precision at N" not in run(model, "-f", "csv", *flags[:4], data=csv.encode())[0]:
        fail("text of a recommender")
    if "USER,ITEM" not in run(model, "-f", "csv", "-l", "stars", data=csv.encode(), code=64)[1]:
        fail("no ids are named")
    bad = jsonl.encode() + b'{"who":{},"what":3,"stars":1}\n'
    if f"line {len(rows) + 1}: feature \"who\"" not in run(model, "-f", "json", *flags, data=bad, code=65)[1]:
        fail("an id that is none")
    skipped = json.loads(run(model, "-f", "json", *flags, "--bad-rows", "skip", data=bad + jsonl.split("\n")[0].encode())[0])
    if (skipped["bad"], skipped["rows"]) != (1, len(rows) + 1):
        fail(f"a bad id that is left out: {skipped}")


def check_labels(expected):
    """Labels that the model does not know, bad rows, and none at all."""
    model = MODELS / "logistic_binary.safetensors"
    rows = Rows("logistic_binary", expected["classes"]["logistic_binary"]["labels"])
    data = rows.csv().split(b"\n")
    first = data[1].split(b",", 1)
    strange = b"\n".join([data[0], b"never seen," + first[1], *data[1:]])
    if 'no class "never seen"' not in run(model, "-f", "csv", "-l", "y", data=strange, code=65)[1]:
        fail("a label that the model does not know")
    bad = b"\n".join([data[0], b"never seen," + first[1], first[0] + b",x" + first[1], *data[1:]])
    out = json.loads(run(model, "-f", "csv", "-l", "y", "--bad-rows", "skip", "--json", data=bad)[0])
    clean = json.loads(run(model, "-f", "csv", "-l", "y", "--json", data=rows.csv())[0])
    if (out["bad"], out["unknown_labels"], out["metrics"]) != (1, 1, clean["metrics"]):
        fail(f"rows that are left out: {out}")
    if "line 3: feature" not in run(model, "-f", "csv", "-l", "y", data=b"\n".join([data[0], data[1], bad.split(b"\n")[2]]), code=65)[1]:
        fail("a bad row is not named")
    one = json.loads(run(model, "-f", "csv", "-l", "y", "--json", data=b"\n".join(data[:2]))[0])
    if one["metrics"]["auc"] is not None:
        fail("an AUC of one class")
    if "no row to judge" not in run(model, "-f", "csv", "-l", "y", data=data[0] + b"\n", code=65)[1]:
        fail("no rows")


def check_pictures(expected):
    """Each is XML with what it is about; a folder that cannot be made, and a model that has none."""
    name = "logistic_multinomial"
    rows = Rows(name, expected["classes"][name]["labels"])
    with tempfile.TemporaryDirectory() as parent:
        folder = pathlib.Path(parent) / "pictures"
        run(MODELS / f"{name}.safetensors", "-f", "csv", "-l", "y", "--svg", folder, data=rows.csv())
        texts = {}
        for picture in ("confusion", "calibration", "roc"):
            root = ElementTree.parse(folder / f"{picture}.svg").getroot()
            texts[picture] = [node.text for node in root.iter("{http://www.w3.org/2000/svg}text")]
        want = [str(n) for row in expected["classes"][name]["confusion"] for n in row]
        if Counter(want) - Counter(texts["confusion"]):
            fail(f"confusion.svg has {texts['confusion']}")
        if sum(": AUC 0." in t for t in texts["roc"]) != len(expected["classes"][name]["recall"]):
            fail(f"roc.svg has {texts['roc']}")
        if "calibration" not in texts["calibration"]:
            fail("calibration.svg")
        run(MODELS / f"{name}.safetensors", "-f", "csv", "-l", "y", "--svg", folder / "no" / "folder", data=rows.csv(), code=74)
        run(GOLDEN / "kmeans.safetensors", GOLDEN / "kmeans.csv", "--svg", folder, code=64)


def check_errors():
    model = MODELS / "logistic_binary.safetensors"
    if "--label" not in run(model, "-f", "csv", data=b"a\n1\n", code=64)[1]:
        fail("no label")
    run(model, "nothing.csv", "-l", "y", code=66)
    if "--features" not in run(model, "-f", "csv", "-l", "y", "-F", "a", data=b"a,y\n1,2\n", code=64)[1]:
        fail("too few features")
    if "names no column" not in run(model, "-f", "csv", "-l", "y", data=b"q,y\n1,2\n", code=64)[1]:
        fail("features of the model that the rows lack")


def main():
    expected = json.loads((GOLDEN / "expected.json").read_text())
    for name, want in expected["classes"].items():
        check_classes(name, want)
    for name, want in expected["numbers"].items():
        check_numbers(name, want)
    check_clusters(expected["kmeans"])
    check_ratings()
    with tempfile.NamedTemporaryFile(suffix=".jsonl") as file:  # a file is known by its name
        want = expected["classes"]["mlp_relu"]
        file.write(Rows("mlp_relu", want["labels"]).jsonl())
        file.flush()
        out = json.loads(run(MODELS / "mlp_relu.safetensors", file.name, "-l", "y", "--json")[0])
        near("a file", out["metrics"]["auc"], want["auc"])
    check_labels(expected)
    check_pictures(expected)
    check_errors()


main()
