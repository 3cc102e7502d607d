"""Compares what millrace wrote for the temperature series with scikit-learn's answers (expected.json). Standard library only."""
import gzip
import hashlib
import json
import math
import pathlib
import re
import struct

ROOT = pathlib.Path(__file__).resolve().parents[3]
DATA = ROOT / "datasets/temperature"
MODEL = DATA / "regime.safetensors"


def series():
    """(name, lines of JSON): the real series when datasets/temperature/get has brought it, else the stand-in."""
    real = DATA / "real.jsonl"
    if real.exists():
        return "real", real.read_text().splitlines()
    return "standin", gzip.decompress((DATA / "standin.jsonl.gz").read_bytes()).decode().splitlines()


def read_tensors():
    blob = MODEL.read_bytes()
    (size,) = struct.unpack_from("<Q", blob)
    tensors = {}
    for name, entry in json.loads(blob[8:8 + size]).items():
        if name == "__metadata__":
            continue
        first, last = entry["data_offsets"]
        item = {"F32": "f", "F64": "d"}[entry["dtype"]]
        values = struct.unpack(f"<{(last - first) // struct.calcsize(item)}{item}", blob[8 + size + first:8 + size + last])
        rows, *cols = entry["shape"]
        width = cols[0] if cols else 1
        tensors[name] = [values[r * width:(r + 1) * width] for r in range(rows)] if cols else values
    return tensors


def forward(tensors, temperature):
    """The network in float64. Plain Python; expect() compares it with scikit-learn before it is believed."""
    value = [(temperature - tensors["input.mean"][0]) / tensors["input.scale"][0]]
    for layer in range(3):
        value = [bias + sum(w * v for w, v in zip(row, value))
                 for row, bias in zip(tensors[f"layer.{layer}.weight"], tensors[f"layer.{layer}.bias"])]
        if layer < 2:
            value = [1 / (1 + math.exp(-max(z, -700))) for z in value]
    peak = max(value)
    power = [math.exp(z - peak) for z in value]
    return [p / sum(power) for p in power]


class Expected:
    """For every line of the series: class and probabilities; and how far float32 may be from them."""

    def __init__(self):
        self.name, self.lines = series()
        golden = json.loads(pathlib.Path(__file__).with_name("expected.json").read_text())
        if golden["model_sha256"] != hashlib.sha256(MODEL.read_bytes()).hexdigest():
            raise SystemExit("FAIL: expected.json was made with other weights; run tests/golden/temperature/make.py")
        self.labels = golden["labels"]
        golden = golden["series"][self.name]
        text = "".join(line + "\n" for line in self.lines).encode()
        if golden["sha256"] != hashlib.sha256(text).hexdigest():
            raise SystemExit(f"FAIL: expected.json was made from another series \"{self.name}\"")
        self.made_by = "scikit-learn"
        self.classes = [value for value, count in golden["classes"] for _ in range(count)]
        self.spread = max(golden["spread"].values())
        tensors = read_tensors()
        self.probabilities = [forward(tensors, json.loads(line)["Temperature"]) for line in self.lines]
        for index, stored in golden["sample"].items():
            distance = max(abs(a - b) for a, b in zip(self.probabilities[int(index)], stored))
            if distance > 1e-12:
                raise SystemExit(f"FAIL: reading {index}: this file's forward pass is {distance:g} from scikit-learn's")


def job_with_probabilities(folder):
    """Path of the example's job with the probabilities in the output, and a group and an output topic of its own."""
    text = re.sub(r"^\s*//.*$", "", (DATA / "job.json").read_text(), flags=re.M)
    job = json.loads(text)
    job["source"]["group"] = "regimes-probabilities"
    job["models"][0]["file"] = str(MODEL)
    job["emit"]["fields"]["probabilities"] = "regime.probabilities"
    job["sinks"][0]["topic"] = "probabilities"
    path = pathlib.Path(folder) / "job.json"
    path.write_text(json.dumps(job))
    return str(path)


def compare(expected, order, outputs):
    """outputs: texts of JSON objects that answer the readings expected.lines[i] for i in order. Returns a list of complaints.

    Every class must be scikit-learn's; probabilities, where there are any, within the spread of float32; the temperature must
    come through digit for digit.
    """
    complaints, farthest = [], 0.0
    if len(order) != len(outputs):
        complaints.append(f"{len(order)} readings, {len(outputs)} answers")
    for index, text in zip(order, outputs):
        answer = json.loads(text)
        digits = expected.lines[index].split(":", 1)[1].rstrip("}")
        if answer["prediction"] != expected.classes[index]:
            complaints.append(f"reading {index} ({digits}): class {answer['prediction']}, scikit-learn says {expected.classes[index]}")
        if f'"Temperature":{digits}' not in text:
            complaints.append(f"reading {index}: {digits} came through as {text}")
        for got, want in zip(answer.get("probabilities", ()), expected.probabilities[index]):
            farthest = max(farthest, abs(got - want))
    if farthest > expected.spread:
        complaints.append(f"probabilities differ from float64 by up to {farthest:.3g}; a float32 forward pass in numpy by {expected.spread:.3g}")
    if outputs and "probabilities" in json.loads(outputs[0]):
        print(f"probabilities: at most {farthest:.3g} from float64; float32 numpy {expected.spread:.3g}")
    return complaints
