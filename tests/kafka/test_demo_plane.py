#!/usr/bin/env python3
"""datasets/plane/folder.json as shipped, on a real broker: files come to a folder, weights go to a real subscriber, predictions to Kafka, and
the page is watched by a browser. Each number is what numpy makes of the same files: Spark's update, and least squares."""
import gzip
import json
import os
import signal
import subprocess
import sys
import threading

from rig import BUILD, MILLRACE, ROOT, expect, main, wait_for
from servers import free_ports
from watched import browsing, look

sys.path.insert(0, os.path.join(ROOT, "tests", "pipeline"))
import libraries  # noqa: E402

libraries.need("numpy")
import numpy as np  # noqa: E402

PLANE = os.path.join(ROOT, "datasets", "plane")
SUBSCRIBER = os.path.join(BUILD, "tests", "subscriber")
FILE_ROWS, FILES_MIN, FILES_MAX = 60, 40, 150
STEP, ITERATIONS, TOLERANCE = 1e-4, 50, 0.001


class Mover(threading.Thread):
    """Moves files into the folder, one at a time, ten a second, until it is told to stop and has moved enough."""

    def __init__(self, folder, lines):
        super().__init__(daemon=True)
        self.folder, self.lines, self.files = folder, lines, 0
        self.is_enough = threading.Event()
        self.start()

    def run(self):
        while self.files < FILES_MAX and not (self.is_enough.is_set() and self.files >= FILES_MIN):
            hidden = os.path.join(self.folder, ".next")
            with open(hidden, "w", encoding="ascii") as file:
                file.writelines(self.lines[self.files * FILE_ROWS:(self.files + 1) * FILE_ROWS])
            os.rename(hidden, os.path.join(self.folder, f"{self.files:04}.csv"))
            self.files += 1
            threading.Event().wait(0 if self.is_enough.is_set() else 0.1)  # the pace, not a wait for anything


def spark(files):
    """Weights before each file and behind the last, as StreamingLinearRegressionWithSGD has them (Spark, GradientDescent.scala)."""
    weights = np.zeros(2)
    yield weights
    for rows in files:
        y, x = rows[:, 0], rows[:, 1:]
        for i in range(1, ITERATIONS + 1):
            before = weights
            weights = before - STEP / np.sqrt(i) * ((x @ before - y) @ x) / len(y)
            if i > 1 and np.linalg.norm(before - weights) < TOLERANCE * max(np.linalg.norm(weights), 1):
                break
        yield weights


def job_text(rig, address):
    """The shipped file; another port, for 5555 may be taken here."""
    with open(os.path.join(PLANE, "folder.json"), encoding="utf-8") as file:
        text = file.read()
    expect("tcp://127.0.0.1:5555" in text, "the job publishes elsewhere")
    folder = os.path.join(rig.folder, "plane")
    os.makedirs(os.path.join(folder, "incoming"))
    path = os.path.join(folder, "folder.json")
    with open(path, "w", encoding="utf-8") as file:
        file.write(text.replace("tcp://127.0.0.1:5555", address))
    return path, os.path.join(folder, "incoming")


def has_last(out, weights):
    """Whether the last frame that has come holds these."""
    with open(out, encoding="ascii") as file:
        lines = file.read().split("\n")[:-1]
    return lines and np.abs(np.array(json.loads(lines[-1].split("\t")[1])) - weights).max() < 1e-4


def frames_check(out, weights):
    """From the first frame that came, each update is there, in order, with what numpy has."""
    with open(out, encoding="ascii") as file:
        frames = [line.rstrip("\n").split("\t") for line in file]
    times = [int(ms.removesuffix(" ms")) for ms, _ in frames]
    expect(all(ms.endswith(" ms") for ms, _ in frames) and times == sorted(times), f"times {frames[:3]}")
    got = np.array([json.loads(text) for _, text in frames])
    want = weights[len(weights) - len(got):]
    apart = np.abs(got - want).max()
    expect(len(got) > 5 and apart < 1e-4, f"{len(got)} frames, {apart} from numpy: {got[:2]} for {want[:2]}")
    return len(got)


def estimates_check(rig, rows, weights):
    """Every point once, in order, predicted with what was known before its file."""
    done = subprocess.run([MILLRACE, "tap", "estimates", "-b", rig.broker.address, "-e"], stdout=subprocess.PIPE, check=True)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    expect([answer["actual"] for answer in answers] == list(rows[:, 0]), f"{len(answers)} answers to {len(rows)} points, or not in their order")
    want = np.einsum("ij,ij->i", rows[:, 1:], np.repeat(weights[:-1], FILE_ROWS, axis=0))
    got = np.array([answer["spark"] for answer in answers])
    apart = (np.abs(got - want) / (1 + np.abs(want))).max()
    expect(apart < 1e-4, f"predictions are {apart} from numpy's")
    late = slice(len(rows) // 2, None)
    errors = [np.mean((np.array([answer[name] for answer in answers]) - rows[:, 0])[late] ** 2) for name in ("spark", "sgd")]
    best = np.mean((rows[late, 1:] @ np.linalg.lstsq(rows[:, 1:], rows[:, 0], rcond=None)[0] - rows[late, 0]) ** 2)
    expect(best <= errors[0] < 1.6 * best and errors[1] < 1.6 * best, f"mean squared errors {errors}, least squares {best}")
    return errors, best


def case_folder(rig):
    """Files in, frames and predictions out, and a page."""
    rig.topics("estimates:1", "points.dead:1")
    with gzip.open(os.path.join(PLANE, "points.csv.gz"), "rt", encoding="ascii") as file:
        lines = file.readlines()
    address, out = f"tcp://127.0.0.1:{free_ports(1)[0]}", os.path.join(rig.folder, "frames")
    path, incoming = job_text(rig, address)
    with browsing() as browser, open(out, "w", encoding="ascii") as file:
        run = rig.run(path, "-X", f"bootstrap.servers={rig.broker.address}", "--http", "127.0.0.1:0")
        subscriber = subprocess.Popen([SUBSCRIBER, "connect", address, ""], stdin=subprocess.PIPE, stdout=file, stderr=subprocess.PIPE, text=True)
        expect(subscriber.stderr.readline() == "ready\n", "no subscriber")
        mover = Mover(incoming, lines)
        count = look(browser, run, "plane", empty=["lag"])  # of a folder nobody knows how much is to come
        mover.is_enough.set()
        mover.join()
        run.wait_out(mover.files * FILE_ROWS)
        rows = np.loadtxt(lines[:mover.files * FILE_ROWS], delimiter=",").astype(np.float32).astype(float)  # the features are float32
        weights = np.array(list(spark(rows.reshape(-1, FILE_ROWS, 3))))
        wait_for(lambda: has_last(out, weights[-1]), "the last frame")
        run.signal(signal.SIGTERM)
        run.expect_end(0)
        subscriber.stdin.close()
        subscriber.wait(10)
    frames = frames_check(out, weights)
    errors, best = estimates_check(rig, rows, weights)
    line = np.linalg.lstsq(rows[:, 1:], rows[:, 0], rcond=None)[0]
    expect(abs(weights[-1][0] - line[0]) < 0.1 and abs(weights[-1][1] - line[1]) < 0.3, f"Spark's {weights[-1]}, least squares {line}")
    return (f"{mover.files} files, {frames} frames, {count} panels; weights {weights[-1].round(3)}, least squares {line.round(3)}; "
            f"mean squared errors {errors[0]:.0f} and {errors[1]:.0f}, at best {best:.0f}")


main([case_folder])
