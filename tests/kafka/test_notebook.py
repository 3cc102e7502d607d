#!/usr/bin/env python3
"""From a notebook to a topic, on a real Apache Kafka broker: models of scikit-learn and of PyTorch as the .onnx files that their exporters wrote; rows
are sent to a topic, and the answers in another one are what the libraries predict."""
import json
import os
import pathlib
import subprocess
import sys

import rig

sys.path.insert(0, os.path.join(rig.ROOT, "tests", "pipeline"))
import libraries  # noqa: E402
import notebook  # noqa: E402

libraries.need("numpy", "sklearn", "skl2onnx", "onnxruntime")


def answered(test, name, x, models):
    """Sends the rows, lets a job answer them, and reads the answers."""
    test.topics(f"{name}.in:2", f"{name}.out:2", f"{name}.dead:1")
    rows = pathlib.Path(test.folder) / f"{name}.jsonl"
    rows.write_text(notebook.records(x))
    subprocess.run([rig.MILLRACE, "replay", rows, "--topic", f"{name}.in", "-b", test.broker.address], check=True, capture_output=True, timeout=120)
    source = {"type": "kafka", "topics": [f"{name}.in"], "group": name, "properties": {"bootstrap.servers": test.broker.address}}
    job = {**notebook.job(models, name, source, {"type": "kafka", "topic": f"{name}.out"}), "delivery": "exactly-once", "bad_records": {"topic": f"{name}.dead"}}
    path = pathlib.Path(test.folder) / f"{name}.json"
    path.write_text(json.dumps(job))
    test.run(str(path), "--until", "end").expect_end(0)
    told = subprocess.run([rig.MILLRACE, "tap", f"{name}.out", "-b", test.broker.address, "-e"], check=True, capture_output=True, text=True, timeout=120)
    return [json.loads(line) for line in told.stdout.splitlines()]


def predicted(test, name, x, models):
    difference = notebook.compare(answered(test, name, x, models), x, models)
    rig.expect(difference is None, difference)
    return f"{len(x)} rows, {', '.join(model.name for model in models)}"


def folder_of(test, name):
    folder = pathlib.Path(test.folder) / name
    folder.mkdir()
    return folder


def case_scikit_learn(test):
    """A pipeline of each kind of model."""
    return predicted(test, "sklearn", *notebook.fitted(folder_of(test, "sklearn"), only=("logistic", "mlp", "ridge_two", "kmeans")))


def case_torch(test):
    try:
        libraries.torch()
    except SystemExit:
        raise rig.Skip("PyTorch is not there (scripts/setup --tests brings it)") from None
    return predicted(test, "torch", *notebook.torch_fitted(folder_of(test, "torch")))


if __name__ == "__main__":
    rig.main([case_scikit_learn, case_torch])
