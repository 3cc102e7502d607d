#!/usr/bin/env python3
""""batch.by": "offsets": however the same records arrive, the predictions and the models that were learned are the same, bit for bit; with
"arrival" they are not. Predictions do not wait for their block. More than one partition is refused."""
import json
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

from examples import DEADLINE_S, MILLRACE, ROOT, call, embedded_broker, fail

BLOCK = 100
# Each learns, and each is fed by another kernel; "near" starts from its first rows.
MODELS = [
    {"name": "std", "type": "scaler", "learn": True},
    {"name": "sgd", "type": "linear", "input": "std", "learn": True, "step": 0.1},
    {"name": "spark", "type": "linear", "learn": True, "compat": "spark", "step": 0.0001},
    {"name": "near", "type": "kmeans", "input": "std", "learn": True, "k": 3, "decay": 0.9},
    {"name": "net", "type": "mlp", "input": "std", "learn": True, "hidden": "8", "step": 0.001, "schedule": "adam"},
]
EMIT = {"at": "x1", "sgd": "sgd.score", "spark": "spark.score", "near": "near.class", "far": "near.scores[0]", "net": "net.score"}


class Replay:
    """One run over the records: its outputs, its saved models and its report."""

    def __init__(self, folder, name, by, address, flags, batch=None, record=None, source=None):
        self.folder = folder / name
        self.folder.mkdir()
        job = {
            "job": name,
            "source": {"type": "kafka", "topics": ["replayed"], "group": name, "properties": {"bootstrap.servers": address}, **(source or {})},
            "record": {"format": "json", "features": ["x1", "x2"], "label": "y", **(record or {})},
            "models": [{**model, "save": f"{model['name']}.safetensors"} for model in MODELS],
            "emit": {"fields": EMIT},
            "sinks": [{"type": "file", "path": "out.jsonl"}],
            "batch": {"records_max": BLOCK, "by": by, **(batch or {})},
            "backend": "cpu",
            "bad_records": {"file": "dead.jsonl"},
        }
        path = self.folder / "job.json"
        path.write_text(json.dumps(job))
        done = call(MILLRACE, "run", path, "--json", "-q", *flags)
        self.report = json.loads(done.stdout.splitlines()[-1])
        self.answers = (self.folder / "out.jsonl").read_bytes()
        self.saved = {model["name"]: (self.folder / f"{model['name']}.safetensors").read_bytes() for model in MODELS}

    def differs(self, other):
        return [name for name in self.saved if self.saved[name] != other.saved[name]] + (["predictions"] if self.answers != other.answers else [])


def same(first, others):
    for other in others:
        if first.differs(other):
            fail(f"{first.folder.name} and {other.folder.name} differ in {first.differs(other)}")


def records(folder):
    """Points, some without a label, and a bad record now and then."""
    lines = call(sys.executable, ROOT / "datasets/plane/generate.py").stdout.splitlines()[:4030]
    lines[150] = lines[1777] = lines[1778] = '{"x1":"a","x2":1}'
    path = folder / "records.jsonl"
    path.write_text("\n".join(lines) + "\n")
    return path


def replays(folder, address, lines):
    end = ("--until", "end")
    call(MILLRACE, "replay", lines, "--topic", "replayed", "-b", address)
    first = Replay(folder, "backlog", "offsets", address, end)
    if first.report["records_in"] != 4030 or first.report["records_dead"] != 3:
        fail(f"backlog: {first.report}")
    learned = {model["name"]: model for model in first.report["models"]}
    if any(model["batches_learned"] != 41 for model in learned.values()):  # the last of 30 rows
        fail(f"backlog: {learned}")
    answers = [json.loads(line) for line in first.answers.splitlines()]
    if any(answer["spark"] for answer in answers[:BLOCK]) or not answers[BLOCK]["spark"]:
        fail(f"the first block was predicted by a model that had learned: {answers[0]} ... {answers[BLOCK]}")
    middle = Replay(folder, "middle", "offsets", address, end, source={"start": "replayed/0=50"})
    guesses = [json.loads(line)["spark"] for line in middle.answers.splitlines()[:51]]
    if middle.report["models"][0]["batches_learned"] != 41 or any(guesses[:50]) or not guesses[50]:
        fail(f"a start within a block did not cut it at its offset: {guesses[49:]} {middle.report['models']}")
    slow = ("--feed", lines, "--rate", "4000", *end)
    others = [
        Replay(folder, "sips", "offsets", address, (*end, "-X", "fetch.message.max.bytes=1500", "-X", "queued.min.messages=3"), {"wait_max": "0"}),
        Replay(folder, "drops", "offsets", "embedded", slow, {"wait_max": "0"}),
        Replay(folder, "gulps", "offsets", "embedded", slow, {"wait_max": "7ms"}),
    ]
    if len({replay.report["batches"] for replay in (first, *others[1:])}) < 3:
        fail(f"the records came the same way each time: {[replay.report['batches'] for replay in (first, *others)]}")
    same(first, others)
    arrival = [Replay(folder, "arrival0", "arrival", "embedded", slow, {"wait_max": "0"}),
               Replay(folder, "arrival7", "arrival", "embedded", slow, {"wait_max": "7ms"})]
    if "predictions" not in arrival[0].differs(arrival[1]) or "sgd" not in arrival[0].differs(arrival[1]):
        fail("by arrival, nothing depends on how records arrive: this test shows nothing")


def many_a_message(folder, lines):
    """Messages of 7 records: a block has more rows than learn together, and is cut at those."""
    text = lines.read_text().splitlines()
    packed = folder / "packed.jsonl"
    packed.write_text("\n".join("[" + ",".join(text[at:at + 7]) + "]" for at in range(0, len(text), 7)) + "\n")
    framing = {"framing": "array"}
    one, other = (Replay(folder, f"array{wait}", "offsets", "embedded", ("--feed", packed, "--rate", rate, "--until", "end"), {"wait_max": wait}, framing)
                  for wait, rate in (("0", "3000"), ("5ms", "20000")))
    if one.report["records_in"] != len(text) or one.report["models"][0]["batches_learned"] < len(text) // BLOCK:
        fail(f"messages of 7 records: {one.report}")
    same(one, [other])


def no_wait(folder, address):
    """Half a block on a stream that pauses: its predictions go out, and it is learned from when the run ends."""
    path = folder / "paused.json"
    path.write_text(json.dumps({
        "job": "paused",
        "source": {"type": "kafka", "topics": ["paused"], "properties": {"bootstrap.servers": address}},
        "record": {"format": "json", "features": ["x1", "x2"], "label": "y"},
        "models": [{**MODELS[2], "name": "m", "save": "paused.safetensors"}],
        "emit": {"fields": {"m": "m.score"}}, "sinks": [{"type": "console"}],
        "batch": {"records_max": BLOCK, "by": "offsets"}, "bad_records": {"drop": True}}))
    lines = folder / "half.jsonl"
    lines.write_text('{"x1":1,"x2":2,"y":3}\n' * (BLOCK + 30))
    call(MILLRACE, "replay", lines, "--topic", "paused", "-b", address)
    run = subprocess.Popen([MILLRACE, "run", path, "-q"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + DEADLINE_S
    answers = [json.loads(run.stdout.readline()) for _ in range(BLOCK + 30)]
    run.send_signal(signal.SIGTERM)
    out, log = run.communicate(timeout=max(1, deadline - time.monotonic()))
    if run.returncode or answers[BLOCK - 1]["m"] != 0 or answers[BLOCK]["m"] == 0:
        fail(f"paused: {run.returncode} {answers[BLOCK - 1:BLOCK + 1]} {log}")
    if f"{BLOCK + 30} rows in 2 batches" not in out + log:
        fail(f"what was left of a block was not learned from: {out}{log}")


def refused(folder, address):
    job = json.loads((folder / "backlog" / "job.json").read_text())
    job["source"]["properties"]["bootstrap.servers"] = address
    path = folder / "wide.json"
    for topics, text in ((["wide"], "source.topics have 4"), (["replayed", "paused"], "source.topics have 2"), (["^re"], "any number")):
        job["source"]["topics"] = topics
        path.write_text(json.dumps(job))
        done = call(MILLRACE, "run", path, "--until", "end", codes=(78,))
        if "one partition" not in done.stderr or text not in done.stderr:
            fail(f"{topics}: {done.stderr}")
    job["source"]["topics"] = ["wide"]
    job["models"] = [{"name": "m", "type": "linear", "file": "backlog/spark.safetensors"}]
    job["emit"] = {"fields": {"m": "m.score"}}
    path.write_text(json.dumps(job))
    call(MILLRACE, "run", path, "--until", "end")  # nothing is learned: any number of partitions


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        with embedded_broker(folder, ("replayed", "paused")) as address:
            lines = records(folder)
            replays(folder, address, lines)
            many_a_message(folder, lines)
            no_wait(folder, address)
            refused(folder, address)


if __name__ == "__main__":
    main()
