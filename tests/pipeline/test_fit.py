#!/usr/bin/env python3
"""millrace fit: the numbers of scikit-learn (tests/golden/fit), the same file whatever the threads, what goes on to `score`, and what is refused."""
import csv
import json
import os
import pathlib
import select
import signal
import struct
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree

ROOT = pathlib.Path(__file__).resolve().parents[2]
MILLRACE = os.environ.get("MILLRACE", str(ROOT / "build/millrace"))
ROWS = ROOT / "tests/golden/fit/rows.csv"
GOLDEN = json.loads((ROOT / "tests/golden/fit/golden.json").read_text())
FEATURES = ("-F", "a,b,c")


def fail(text):
    sys.exit(f"FAIL: {text}")


def fit(*words, code=0, data=None):
    done = subprocess.run([MILLRACE, "fit", *map(str, words)], capture_output=True, text=True, input=data, timeout=120, check=False)
    if done.returncode != code:
        fail(f"fit {' '.join(map(str, words))}: exit code {done.returncode}, not {code}\n{done.stdout}{done.stderr}")
    return done


def read(path):
    """Tensors and metadata of a model file."""
    data = pathlib.Path(path).read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    header, rest, tensors = json.loads(data[8:8 + size]), data[8 + size:], {}
    for name, tensor in header.items():
        if name == "__metadata__":
            continue
        first, last = tensor["data_offsets"]
        kind, width = {"F32": ("f", 4), "F64": ("d", 8), "I64": ("q", 8), "I32": ("i", 4), "U8": ("B", 1)}[tensor["dtype"]]
        tensors[name] = struct.unpack(f"<{(last - first) // width}{kind}", rest[first:last])
    return tensors, header["__metadata__"]


def near(what, got, want, relative, absolute=0.0):
    got, want = list(got), list(want)
    if len(got) != len(want):
        fail(f"{what}: {len(got)} numbers, not {len(want)}")
    for a, b in zip(got, want):
        if not abs(a - b) <= relative * abs(b) + absolute:
            fail(f"{what}: {got} is not {want}")


def flat(rows):
    return [value for row in rows for value in row]


def raw(tensors):
    """Weights and biases of features as they are."""
    mean, scale = tensors["input.mean"], tensors["input.scale"]
    cols = len(mean)
    weight = [w / scale[i % cols] for i, w in enumerate(tensors["weight"])]
    bias = [b - sum(weight[o * cols + c] * mean[c] for c in range(cols)) for o, b in enumerate(tensors["bias"])]
    return weight, bias


def check_regressions(folder):
    path = folder / "model"
    common = (ROWS, *FEATURES, "--held-out", 0, "-q", "-o", path)
    for name, words in (("linear", ()), ("ridge 0.1", ("--l2", 0.1))):
        fit("linear", *common, "--label", "y", *words)
        weight, bias = raw(read(path)[0])
        near(name, weight, flat(GOLDEN[name]["weight"]), 1e-4, 1e-5)
        near(name, bias, GOLDEN[name]["bias"], 1e-4, 0.06)  # 1,000 times the error of a weight
    for name, label in (("binary", "is_yew"), ("three", "tree")):
        want = GOLDEN[f"logistic {name}"]
        said = json.loads(fit("logistic", *common, "--label", label, "--l2", want["l2"], "--json").stdout)
        tensors, metadata = read(path)
        weight, bias = raw(tensors)
        near(name, weight, flat(want["weight"]), 2e-3)
        near(name, bias, want["bias"], 2e-3, 0.05)
        if said["ended"] != "converged" or json.loads(metadata["millrace.labels"]) != (["0", "1"] if name == "binary" else ["ash", "beech", "yew"]):
            fail(f"{name}: {said}, {metadata}")
        scored = subprocess.run([MILLRACE, "score", path, ROWS, "-f", "csv", "-e", "label=model.label"], capture_output=True, text=True, check=True).stdout
        with open(ROWS, encoding="utf-8") as file:
            right = sum(json.loads(line)["label"] == row[label] for line, row in zip(scored.splitlines(), csv.DictReader(file)))
        near(f"{name}: accuracy", [right / GOLDEN["rows"]], [want["accuracy"]], 0)


def check_class_weights(folder):
    path = folder / "weighted"
    common = ("logistic", ROWS, *FEATURES, "--held-out", 0, "--l2", 0.01, "-q", "-o", path)
    for name, label, weights in (("binary", "is_yew", "1=5,0=0.5"), ("three", "tree", "balanced")):
        fit(*common, "--label", label, "--class-weights", weights)
        weight, bias = raw(read(path)[0])
        near(f"weighted {name}", weight, flat(GOLDEN[f"weighted {name}"]["weight"]), 2e-3)
        near(f"weighted {name}", bias, GOLDEN[f"weighted {name}"]["bias"], 2e-3, 0.05)
    refused(64, "there is no class \"oak\"", *common, "--label", "tree", "--class-weights", "oak=2")
    refused(64, "expected balanced", *common, "--label", "tree", "--class-weights", "ash=-1")
    refused(64, "a regression has no classes", "mlp", ROWS, *FEATURES, "--label", "y", "--layers", "3,2,1", "--regression", "--class-weights", "balanced")


def check_scaler(folder):
    path = folder / "scaler"
    fit("scaler", "-", "-f", "csv", *FEATURES, "-q", "-o", path, data=ROWS.read_text())
    tensors, metadata = read(path)
    near("mean", tensors["mean"], GOLDEN["scaler"]["mean"], 1e-12)
    near("variance", tensors["variance"], GOLDEN["scaler"]["variance"], 1e-9)
    card = json.loads(metadata["millrace.card"])
    if card["data"]["rows"] != GOLDEN["rows"] or len(card["data"]["sha256"]) != 64:
        fail(f"scaler: {card}")


def centers_file(path, rows, cols):
    """A k-means model with these centres."""
    data = struct.pack(f"<{rows * cols}d", *first_rows(rows))
    header = json.dumps({"__metadata__": {"millrace.type": "kmeans"}, "centers": {"dtype": "F64", "shape": [rows, cols], "data_offsets": [0, len(data)]}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + data)


def first_rows(count):
    with open(ROWS, encoding="utf-8") as file:
        return flat([[float(row[name]) for name in "abc"] for row, _ in zip(csv.DictReader(file), range(count))])


def check_kmeans(folder):
    start, path, labels = folder / "start.safetensors", folder / "kmeans", folder / "labels.csv"
    centers_file(start, 4, 3)
    want = GOLDEN["kmeans"]
    said = json.loads(fit("kmeans", ROWS, *FEATURES, "--start", start, "--iterations", 5, "--tolerance", 0, "--json", "-q", "-o", path).stdout)
    near("centres", read(path)[0]["centers"], flat(sorted(want["centers"])), 1e-5)
    near("inertia", [said["scores"]["inertia"]], [want["inertia"]], 1e-5)
    near("silhouette", [said["scores"]["silhouette"]], [want["silhouette"]], 1e-5)
    for how in ("kmeans++", "kmeans||", "random"):
        said = json.loads(fit("kmeans", ROWS, *FEATURES, "--k", 3, "--start", how, "--restarts", 20, "--tolerance", 0, "--json", "-q", "-o", path,
                              "--labels", labels).stdout)
        near(f"{how}: inertia", [said["scores"]["inertia"]], [GOLDEN["kmeans 3"]["inertia"]], 1e-4)
    with open(labels, encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    counts = [sum(row["label"] == str(i) for row in rows) for i in range(3)]
    near("labels", counts, read(path)[0]["weights"], 0)
    picture = folder / "elbow.svg"
    curve = fit("kmeans", ROWS, *FEATURES, "--k", "1..8", "--svg", picture, "-q", "-o", path).stdout
    if "<- knee" not in curve or len(curve.splitlines()) < 10:
        fail(f"no curve: {curve}")
    if xml.etree.ElementTree.parse(picture).getroot().tag != "{http://www.w3.org/2000/svg}svg" or "knee is at" not in picture.read_text():
        fail("the picture is none")


def check_same_bytes(folder):
    """Threads change nothing; the seed does."""
    big = folder / "big.f32"
    values = [((i * 2654435761) % 1000003) / 1000003 for i in range(40000)]
    big.write_bytes(struct.pack("<40000f", *values))
    files = []
    for number, (threads, seed) in enumerate(((1, 1), (2, 1), (2, 2))):
        files.append(folder / f"same-{number}")
        fit("kmeans", big, "-F", "x,y", "--k", 20, "--threads", threads, "--seed", seed, "-q", "-o", files[-1])
    files.append(folder / "spilled")
    fit("kmeans", big, "-F", "x,y", "--k", 20, "--spill", folder, "--seed", 1, "-q", "-o", files[-1])
    tensors = [read(path)[0] for path in files]
    if tensors[0] != tensors[1] or tensors[0] != tensors[3] or tensors[1] == tensors[2]:
        fail("the same seed gives another model, or another seed the same")


def check_mlp(folder):
    path = folder / "mlp"
    for words in (("--solver", "adam", "--step", 0.01), ("--solver", "lbfgs", "--iterations", 100)):
        said = json.loads(fit("mlp", ROWS, *FEATURES, "--label", "tree", "--layers", "3,8,3", *words, "--json", "-q", "-o", path).stdout)
        if said["held_out_rows"] != 120 or said["scores"]["held_out_accuracy"] < 0.9:
            fail(f"{words}: {said}")
    said = json.loads(fit("mlp", ROWS, *FEATURES, "--label", "y", "--regression", "--layers", "3,16,1", "--step", 0.01, "--json", "-q", "-o", path).stdout)
    if said["scores"]["held_out_r2"] < 0.95:
        fail(f"regression: {said}")


def ratings_of(folder):
    path = folder / "ratings.csv"
    rows = subprocess.run([sys.executable, ROOT / "datasets/ratings/generate.py"], capture_output=True, text=True, check=True).stdout
    path.write_text("uid,item,stars\n" + rows)
    return path


def check_mf(folder):
    """In Surprise's order the numbers of Surprise; in parallel as good, the same file whatever the threads; by ALS, too."""
    data, path = ratings_of(folder), folder / "mf"
    words = ("mf", data, "-F", "uid,item", "-l", "stars", "--factors", 12, "--iterations", 30, "-q", "-o", path)
    want, meta = read(ROOT / "tests/golden/surprise/biased.safetensors")
    fit(*words, "--held-out", 0, "--seed", 1, "--order", "sequential")
    got, card = read(path)
    if sorted(got) != sorted(want):
        fail(f"mf: tensors {sorted(got)}, not {sorted(want)}")
    for name in want:
        near(f"mf: {name}", got[name], want[name], 1e-6 if "factors" in name or "bias" in name else 0, 1e-7)
    for key in ("millrace.mean", "millrace.scale_min", "millrace.scale_max", "millrace.regularisation"):
        near(f"mf: {key}", [float(card[key])], [float(meta[key])], 1e-12)
    scores, models = {}, {}
    for name, more in (("one", ("--threads", 1)), ("two", ("--threads", 2)), ("sequential", ("--order", "sequential")), ("als", ("--solver", "als"))):
        scores[name] = json.loads(fit(*words, *more, "--json").stdout)["scores"]
        models[name] = read(path)[0]
    if models["one"] != models["two"] or scores["one"] != scores["two"]:
        fail("mf: another model with another number of threads")
    if len(models["one"]["seen.items"]) != len(want["seen.items"]):
        fail("mf: rows that were held out do not count as seen")
    if not all(score["held_out_rmse"] < 1.02 * scores["sequential"]["held_out_rmse"] for score in scores.values()):
        fail(f"mf: {scores}")


def check_mf_texts(folder):
    """Ids that are text, and a job that answers with what is left to be seen."""
    data, path = folder / "texts.jsonl", folder / "texts.safetensors"
    rows = [{"who": name, "what": what, "stars": 5 if (name < "m") == (what < "m") else 1}
            for name in ("ada", "bo\"b", "zoë", "yan", "x 1") for what in ("alpha", "beta", "omega", "zeta") for _ in range(6)]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows if (row["who"], row["what"]) != ("ada", "beta")))
    fit("mf", data, "-F", "who,what", "-l", "stars", "--factors", 2, "--solver", "als", "--held-out", 0, "-q", "-o", path)
    job = {"job": "texts", "source": {"type": "kafka", "topics": ["in"], "group": "texts", "properties": {"bootstrap.servers": "embedded"}},
           "record": {"format": "json", "features": ["who"]}, "models": [{"name": "best", "type": "mf", "file": str(path), "top": 3}],
           "emit": {"fields": {"who": "who", "items": "best.items"}}, "sinks": [{"type": "file", "path": str(folder / "out.jsonl")}],
           "bad_records": {"file": str(folder / "bad.jsonl")}}
    (folder / "job.json").write_text(json.dumps(job))
    (folder / "in.jsonl").write_text('{"who":"ada"}\n{"who":"zo\\u00eb"}\n')
    done = subprocess.run([MILLRACE, "run", folder / "job.json", "--feed", folder / "in.jsonl", "--until", "end"], capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        fail(f"run: exit code {done.returncode}\n{done.stderr}")
    items = [json.loads(line)["items"] for line in (folder / "out.jsonl").read_text().splitlines()]
    if items != [["beta"], []]:
        fail(f"run: {items}")
    whole = read(path)
    data.write_text('{"who":"nobody","what":true,"stars":3}\n' + data.read_text())
    fit("mf", data, "-F", "who,what", "-l", "stars", "--factors", 2, "--solver", "als", "--held-out", 0, "--bad-rows", "skip", "-q", "-o", path)
    if read(path)[0] != whole[0]:
        fail("a row that was left out has left its user")


def check_topic(folder):
    """DATA that is the records of a topic: the model of the file that they came from; a bad record is named by its place."""
    lines, address = folder / "rows.jsonl", folder / "address"
    with open(ROWS, newline="") as rows:
        read_rows = [{name: value if name == "tree" else float(value) for name, value in row.items()} for row in csv.DictReader(rows)]
    lines.write_text("".join(json.dumps(row) + "\n" for row in read_rows))
    broker = subprocess.Popen([MILLRACE, "broker", "--topic", "rows", "--topic", "texts", "--partitions", "1", "--address-file", address], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 30
        while not (address.exists() and address.read_text()):
            if broker.poll() is not None or time.monotonic() > deadline:
                fail("the broker did not start")
            select.select([], [], [], 0.02)
        where = ("-b", address.read_text().strip())

        def send(path, topic):
            subprocess.run([MILLRACE, "replay", path, "--topic", topic, *where], check=True, capture_output=True, timeout=60)

        send(lines, "rows")
        words = ("logistic", *FEATURES, "--label", "tree", "-q")
        fit(*words, lines, "-o", folder / "file")
        fit(*words, "--topic", "rows", "--until", "end", *where, "-o", folder / "topic")
        if read(folder / "file")[0] != read(folder / "topic")[0]:
            fail("rows of a topic give another model than the same rows of a file")
        (folder / "texts").write_text('{"a": 1}\n\n{"a": "x"}\n')
        send(folder / "texts", "texts")
        refused(65, "topic \"texts\": partition 0, offset 1: feature \"a\" is no number", "scaler", "--topic", "texts", *where, "-F", "a", "-o", folder / "none")
        fit("scaler", "--topic", "texts", *where, "-F", "a", "--bad-rows", "skip", "-q", "-o", folder / "one")
        near("rows of a topic", read(folder / "one")[0]["count"], [1], 0)
        refused(64, "DATA is one of the two", "scaler", lines, "--topic", "texts", *where)
    finally:
        broker.terminate()
        broker.wait(30)
    refused(69, "no Kafka broker answered", "scaler", "--topic", "rows", *where)


def refused(code, text, *words, data=None):
    done = fit(*words, code=code, data=data)
    if text not in done.stderr:
        fail(f"fit {words}: \"{text}\" is not in: {done.stderr}")


def check_refusals(folder):
    own = folder / "own.csv"
    own.write_text(ROWS.read_text())
    kept, two = own.read_bytes(), ("kmeans", own, *FEATURES, "--k", 2)
    refused(64, "it is what is read", *two, "-o", folder / "." / "own.csv")
    refused(64, "it is what is read", *two, "-o", folder / "kmeans", "--labels", own)
    refused(74, "its folder", *two, "-o", folder / "nowhere" / "kmeans")
    refused(74, "it is a folder", *two, "-o", folder)
    refused(74, "it is a device or a pipe", *two, "-o", "/dev/null")
    refused(64, "are one file", *two, "-o", folder / "one", "--labels", folder / "one")
    os.symlink("nothing", folder / "link")
    refused(74, "cannot be written", *two, "-o", folder / "link")
    refused(65, "row 2: label \"y\"", "linear", "-", "-f", "csv", "--label", "y", "-o", folder / "none", data="a,y\n1,2\n2,1e300\n3,1\n")
    refused(64, "no class counts", "logistic", ROWS, *FEATURES, "--label", "tree", "--class-weights", "ash=0,beech=0,yew=0", "-o", folder / "none")
    fit(*two, "-q", "-o", folder / "start")
    refused(64, "its feature 1 is", "kmeans", ROWS, "-F", ",".join(reversed(FEATURES[1].split(","))), "--start", folder / "start", "-o", folder / "none")
    (folder / "huge.csv").write_text("a,b\n" + "".join(f"{i % 7}e30,{i}e28\n" for i in range(60)))
    refused(65, "beyond what float32 holds", "kmeans", folder / "huge.csv", "-F", "a,b", "--k", 3, "-o", folder / "none")
    refused(64, "is the label, too", "linear", ROWS, "-F", "a,y", "--label", "y", "-o", folder / "none")
    if own.read_bytes() != kept:
        fail("the data are not what they were")
    bad = "a,b,label\n1,2,x\n3,,y\n"
    path = folder / "kept.safetensors"
    path.write_text("as it was")
    refused(65, "line 3", "logistic", "-", "-f", "csv", "--label", "label", "-o", path, data=bad)
    refused(65, "\"b\"", "logistic", "-", "-f", "csv", "--label", "label", "-o", path, data=bad)
    refused(65, "all rows are of one class", "logistic", "-", "-f", "csv", "--label", "label", "--bad-rows", "skip", "-o", path, data=bad)
    refused(65, "fewer than", "kmeans", "-", "-f", "csv", "-F", "a", "--k", 9, "-o", path, data="a\n1\n2\n")
    refused(65, "there are no rows", "kmeans", "-", "-f", "csv", "--k", 2, "-o", path, data="a\n")
    refused(64, "--k 6", "kmeans", ROWS, *FEATURES, "-o", path)
    refused(64, "--label", "linear", ROWS, "-o", path)
    refused(64, "--layers", "mlp", ROWS, *FEATURES, "--label", "tree", "-o", path)
    refused(64, "the last is the number of classes, which is 3", "mlp", ROWS, *FEATURES, "--label", "tree", "--layers", "3,4,2", "-o", path)
    refused(64, "--layers is of: mlp", "kmeans", ROWS, *FEATURES, "--k", 2, "--layers", "1,2", "-o", path)
    refused(64, "expected a number of clusters", "kmeans", ROWS, *FEATURES, "--k", "9..2", "-o", path)
    rated = "uid,item,stars\n1,2,3\n1,,4\n"
    refused(65, "line 3", "mf", "-", "-f", "csv", "-F", "uid,item", "-l", "stars", "-o", path, data=rated)
    refused(64, "--features USER,ITEM", "mf", "-", "-f", "csv", "-F", "uid", "-l", "stars", "-o", path, data=rated)
    refused(64, "--label", "mf", "-", "-f", "csv", "-F", "uid,item", "-o", path, data=rated)
    refused(64, "not of als", "mf", "-", "-f", "csv", "-F", "uid,item", "-l", "stars", "--solver", "als", "--step", 1, "-o", path, data=rated)
    refused(65, "smaller --step", "mf", ratings_of(folder), "-F", "uid,item", "-l", "stars", "--step", 90, "-q", "-o", path)
    refused(74, "/proc: no file can be made there", "kmeans", ROWS, *FEATURES, "--k", 2, "--spill", "/proc", "-o", path)
    refused(66, "nothing-here.csv", "scaler", "nothing-here.csv", "-o", path)
    if path.read_text() != "as it was":
        fail("a fit that failed has written its file")
    refused(74, "no-such-folder", "scaler", ROWS, *FEATURES, "-o", "/no-such-folder/model")


def check_stop(folder):
    """Ctrl-C in the middle: the best so far is written."""
    path, big = folder / "stopped", folder / "many.f32"
    big.write_bytes(struct.pack("<400000f", *[((i * 2654435761) % 1000003) / 1000003 for i in range(400000)]))
    work = subprocess.Popen([MILLRACE, "fit", "kmeans", big, "-F", "x,y", "--k", "500", "--tolerance", "0", "--iterations", "1000000", "--restarts", "10000",
                             "--silhouette", "0", "-o", path], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for line in work.stderr:
        if "step" in line:
            break
    work.send_signal(signal.SIGINT)
    work.communicate(timeout=60)
    if work.returncode != 0 or len(read(path)[0]["centers"]) != 1000:
        fail(f"stopped: exit code {work.returncode}")


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        for check in (check_regressions, check_class_weights, check_scaler, check_kmeans, check_same_bytes, check_mlp, check_mf, check_mf_texts, check_topic, check_refusals, check_stop):
            check(folder)
            print("ok", check.__name__, flush=True)


main()
