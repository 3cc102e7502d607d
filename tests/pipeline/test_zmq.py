#!/usr/bin/env python3
"""The zmq sink of whole jobs, and real subscribers: records of several lanes, the weights of a model after each batch as Spark's reader
expects them, and jobs that ask for what cannot be."""
import json
import math
import os
import pathlib
import re
import subprocess
import tempfile
import threading

from examples import MILLRACE, ROOT, call, embedded_broker, fail

SUBSCRIBER = pathlib.Path(os.environ.get("BUILD_DIR", ROOT / "build")) / "tests/subscriber"
RECORDS = 20000


class Subscriber:
    """Listens until it is stopped; lines as they come."""

    def __init__(self, address, prefix=""):
        self.process = subprocess.Popen([SUBSCRIBER, "bind", address, prefix], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if self.process.stderr.readline() != "ready\n":
            fail(f"no subscriber at {address}")
        self.lines = []
        self.news = threading.Condition()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            with self.news:
                self.lines.append(line.rstrip("\n"))
                self.news.notify_all()

    def wait(self, enough, deadline_s=30):
        with self.news:
            if not self.news.wait_for(lambda: enough(self.lines), deadline_s):
                fail(f"waited {deadline_s} s; {len(self.lines)} messages came, the last {self.lines[-1:]}")
            return list(self.lines)

    def stop(self):
        self.process.stdin.close()
        self.process.wait(10)
        self.reader.join(10)


def job_write(folder, name, sinks, **changes):
    job = {"job": name, "source": {"type": "kafka", "topics": ["points"], "group": name, "start": "latest", "properties": {"bootstrap.servers": "embedded"}},
           "record": {"format": "json", "features": ["x1", "x2"], "label": "y"},
           "models": [{"name": "sgd", "type": "linear", "learn": True, "step": 0.1, "standardise": True}],
           "emit": {"fields": {"id": "id", "y": "sgd.score"}}, "batch": {"records_max": 100, "by": "offsets"}, "backend": "cpu",
           "sinks": sinks, "bad_records": {"drop": True}, **changes}
    path = folder / f"{name}.json"
    path.write_text(json.dumps(job))
    return path


def points(folder, name, count, first=0):
    path = folder / name
    path.write_text("".join(json.dumps({"id": i, "x1": i * 7 % 101 / 10, "x2": i * 13 % 37 / 5, "y": 3 * (i * 7 % 101 / 10) - 2 * (i * 13 % 37 / 5) + 5}) + "\n"
                            for i in range(first, first + count)))
    return path


def published(folder, address, path, subscriber, is_marker):
    """Runs a job until its records are through. A publisher learns late of a subscriber, and what comes before that is nobody's: so records
    are sent until one arrives, and then those that count."""
    run = subprocess.Popen([MILLRACE, "run", path, "-X", f"bootstrap.servers={address}", "--quiet"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        sent = 0
        while True:
            call(MILLRACE, "replay", points(folder, "markers", 100, first=-100), "--topic", "points", "-b", address)
            sent += 1
            with subscriber.news:
                if subscriber.news.wait_for(lambda: any(is_marker(line) for line in subscriber.lines), 0.2):
                    break
            if run.poll() is not None or sent > 200:
                fail(f"nothing arrived: {run.stderr.read()}")
        yield
    finally:
        run.terminate()
        log = run.communicate(timeout=30)[1]
        if run.returncode not in (0, -15):
            fail(f"the job ended with {run.returncode}: {log}")


def records(folder, address, port_folder):
    at = f"ipc://{port_folder}/records"
    subscriber = Subscriber(at, "pred")
    path = job_write(folder, "records", [{"type": "zmq", "connect": at, "topic": "predictions"}], lanes=2,
                     models=[{"name": "sgd", "type": "linear", "file": str(folder / "sgd.safetensors")}], batch={})
    for _ in published(folder, address, path, subscriber, lambda line: True):
        call(MILLRACE, "replay", points(folder, "records.in", RECORDS), "--topic", "points", "-b", address)
        last = f'"id":{RECORDS - 1},'
        lines = subscriber.wait(lambda lines: sum('"id":-' not in line for line in lines) >= RECORDS)
    subscriber.stop()
    rows = [json.loads(line.removeprefix("predictions | ")) for line in lines if line.startswith("predictions | ")]
    ids = sorted(row["id"] for row in rows if row["id"] >= 0)
    if len(rows) != len(lines) or ids != list(range(RECORDS)):
        fail(f"{len(ids)} records of {RECORDS} arrived, {len(lines)} messages; {last} {lines[-1]}")
    return len(rows)


def weights(folder, address, port_folder):
    at = f"ipc://{port_folder}/weights"
    subscriber = Subscriber(at)
    path = job_write(folder, "weights", [{"type": "zmq", "connect": at, "format": "weights"}, {"type": "file", "path": str(folder / "weights.out")}])
    for _ in published(folder, address, path, subscriber, lambda line: True):
        call(MILLRACE, "replay", points(folder, "weights.in", 5000), "--topic", "points", "-b", address)
        lines = subscriber.wait(lambda lines: len(lines) >= 51)
    subscriber.stop()
    seen = []
    for line in lines:
        time_text, text = line.split("\t")  # as the reader in Spark's example does
        if not re.fullmatch(r"\d{13} ms", time_text):
            fail(f"not a time: {line}")
        seen.append((int(time_text.split()[0]), [float(word) for word in text[1:-1].split(",")]))
    if seen != sorted(seen, key=lambda one: one[0]):
        fail("times do not ascend")
    last = seen[-1][1]
    if len(last) != 2 or not math.isclose(last[0], 3, rel_tol=0.02) or not math.isclose(last[1], -2, rel_tol=0.02):
        fail(f"after {len(seen)} batches: {last} instead of [3, -2]")
    return len(seen), last


def wrong_jobs(folder):
    for sink, text in (({"type": "zmq", "bind": "ipc:///tmp/x", "required": True}, "acknowledges nothing"),
                       ({"type": "zmq"}, "one of the two"), ({"type": "zmq", "bind": "a", "connect": "b"}, "one of the two")):
        done = call(MILLRACE, "check", job_write(folder, "wrong", [sink]), codes=(78,))
        if text not in done.stderr + done.stdout:
            fail(f"{sink}: {done.stdout}{done.stderr}")


def main():
    with tempfile.TemporaryDirectory(prefix="mr-zmq-") as name:
        folder = pathlib.Path(name)
        with embedded_broker(folder, ["points"]) as address:
            path = job_write(folder, "first", [{"type": "file", "path": str(folder / "first.out")}], source={
                "type": "kafka", "topics": ["points"], "group": "first", "start": "earliest", "properties": {"bootstrap.servers": address}},
                models=[{"name": "sgd", "type": "linear", "learn": True, "step": 0.1, "standardise": True, "save": str(folder / "sgd.safetensors")}])
            call(MILLRACE, "replay", points(folder, "first.in", 500), "--topic", "points", "-b", address)
            call(MILLRACE, "run", path, "--until", "end")
            count = records(folder, address, folder)
            frames, last = weights(folder, address, folder)
        wrong_jobs(folder)
    print(f"{count} records of two lanes; {frames} frames of weights, the last {last}")


main()
