#!/usr/bin/env python3
""""learn_topics": what models learn comes from some topics alone, whatever comes between; records of the others are scored with what was
learned by then. Each model is what a few lines of Python make of the same records in the same batches."""
import gzip
import json
import pathlib
import tempfile

from examples import MILLRACE, ROOT, call, embedded_broker, fail, job_read, tensors

STEP = 0.01
TRAIN, TEST = 3000, 900
PIECE = 100  # lines that are sent to one topic, then to the other


def lines(topic, count):
    return gzip.decompress((ROOT / "datasets/labels" / f"{topic}.tsv.gz").read_bytes()).decode().splitlines()[:count]


def send(folder, address):
    """Both topics by turns, so that batches hold records of both; among the first there is no train record."""
    held = {"train": lines("train", TRAIN), "test": lines("test", TEST)}
    call_order = [("test", 5)] + [("train", PIECE), ("test", PIECE // 3)] * (TRAIN // PIECE)
    at = dict.fromkeys(held, 0)
    for topic, count in call_order:
        part = held[topic][at[topic]:at[topic] + count]
        at[topic] += len(part)
        path = folder / "part.tsv"
        path.write_text("".join(line + "\n" for line in part))
        if part:
            call(MILLRACE, "replay", path, "--topic", topic, "--keys", "-b", address)
    return {topic: [tuple(map(float, line.split("\t"))) for line in held[topic][:at[topic]]] for topic in held}


def job_make(folder, address, **batch):
    """datasets/labels, with models beside that need no labels."""
    job = job_read(ROOT / "datasets/labels/job.json")
    job["source"]["properties"]["bootstrap.servers"] = address
    job["sinks"] = job["sinks"][:1]
    job["batch"].update(batch)
    job["models"] += [{"name": "std", "type": "scaler", "learn": True, "save": "std.safetensors"},
                      {"name": "mid", "type": "kmeans", "learn": True, "k": 1, "decay": 1, "save": "mid.safetensors"}]
    job["backend"] = "cpu"
    path = folder / "job.json"
    path.write_text(json.dumps(job))
    return path


def answers(address, records):
    """topic -> offset -> answer; each record once, with its label and value as they were sent."""
    found = {topic: {} for topic in records}
    for line in call(MILLRACE, "tap", "predict", "-b", address, "-e").stdout.splitlines():
        answer = json.loads(line)
        found[answer["topic"]][answer["offset"]] = answer
    for topic, sent in records.items():
        got = [(found[topic].get(i, {}).get("y"), found[topic].get(i, {}).get("x")) for i in range(len(sent))]
        if got != sent or len(found[topic]) != len(sent):
            fail(f"{topic}: {len(found[topic])} answers of {len(sent)} records, or not theirs: {got[:3]} of {sent[:3]}")
    return found


def line_learned(found):
    """version -> slope and intercept: one step for each batch of train records, in the order of their offsets."""
    slope = intercept = 0.0
    weights, batches = {0: (slope, intercept)}, {}
    for offset in sorted(found["train"]):
        batches.setdefault(found["train"][offset]["version"], []).append(found["train"][offset])
    if sorted(batches) != list(range(len(batches))):
        fail(f"versions of train records are {sorted(batches)}: a batch without them was learned from")
    for version in sorted(batches):
        batch = batches[version]
        errors = [slope * one["x"] + intercept - one["y"] for one in batch]
        slope -= STEP * sum(error * one["x"] for error, one in zip(errors, batch)) / len(batch)
        intercept -= STEP * sum(errors) / len(batch)
        weights[version + 1] = slope, intercept
    return weights, batches


def check(folder, address, records, report):
    found = answers(address, records)
    weights, batches = line_learned(found)
    for topic, sent in records.items():
        for offset in range(len(sent)):
            answer = found[topic][offset]
            slope, intercept = weights[answer["version"]]
            if abs(answer["pred"] - (slope * answer["x"] + intercept)) > 1e-4:
                fail(f"{topic} {offset}: {answer}, and version {answer['version']} is {slope} x + {intercept}")
    train = [x for _, x in records["train"]]
    mean = sum(train) / len(train)
    for name in ("mid", "std"):
        saved = {tensor: held["max"] for tensor, held in tensors(folder / f"{name}.safetensors").items()}  # of one number each
        if not any(abs(value - mean) < 1e-4 for value in saved.values()):
            fail(f"{name} holds {saved}, the mean of train is {mean}")
    learned = {model["name"]: model["rows_learned"] for model in report["models"]}
    if set(learned.values()) != {len(train)}:
        fail(f"{learned} rows learned, {len(train)} in train")
    mixed = len({one["version"] for one in found["test"].values()})
    if mixed < 3:
        fail(f"test records were scored by {mixed} versions: the topics were not read by turns")
    return f"{len(batches)} batches, test by {mixed} versions"


def case(name, **batch):
    with tempfile.TemporaryDirectory() as name_of_folder:
        folder = pathlib.Path(name_of_folder)
        with embedded_broker(folder, ["train", "test", "predict", "labels.dead"]) as address:
            records = send(folder, address)
            done = call(MILLRACE, "run", job_make(folder, address, **batch), "--until", "end", "--json")
            report = json.loads(done.stdout.splitlines()[-1])
            print(f"{name}: {check(folder, address, records, report)}")


case("batches of 100")
case("one by one", records_max=1)
case("batches of 7", records_max=7)
