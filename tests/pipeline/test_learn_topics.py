#!/usr/bin/env python3
""""learn_topics": what models learn comes from some topics alone, whatever comes between; records of the others are scored with what was
learned by then. Each model is what a few lines of Python make of the same records in the same batches."""
import json
import pathlib
import tempfile

import line
from examples import MILLRACE, ROOT, call, embedded_broker, fail, job_read, tensors

TRAIN, TEST = 3000, 900
PIECE = 100  # lines that are sent to one topic, then to the other


def send(folder, address):
    """Both topics by turns, so that batches hold records of both; among the first there is no train record."""
    held = {"train": line.lines("train", TRAIN), "test": line.lines("test", TEST)}
    call_order = [("test", 5)] + [("train", PIECE), ("test", PIECE // 3)] * (TRAIN // PIECE)
    at = dict.fromkeys(held, 0)
    for topic, count in call_order:
        part = held[topic][at[topic]:at[topic] + count]
        at[topic] += len(part)
        path = folder / "part.tsv"
        path.write_text("".join(one + "\n" for one in part))
        if part:
            call(MILLRACE, "replay", path, "--topic", topic, "--keys", "-b", address)
    return {topic: [tuple(map(float, one.split("\t"))) for one in held[topic][:at[topic]]] for topic in held}


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


def answers(address):
    """topic -> offset -> answer."""
    found = {"train": {}, "test": {}}
    for text in call(MILLRACE, "tap", "predict", "-b", address, "-e").stdout.splitlines():
        answer = json.loads(text)
        found[answer["topic"]][answer["offset"]] = answer
    return found


def check(folder, address, records, report):
    found = answers(address)
    _, batches = line.predictions_check(found, records)
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
