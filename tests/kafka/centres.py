"""Streaming k-means a second time, in numpy: what the tests of datasets/clusters and datasets/earthquakes share."""
import json
import os
import signal
import subprocess
import sys
import urllib.request

from rig import MILLRACE, ROOT, expect
from shipped import answers_of, copied, demo, replayed
from watched import address_of, browsing, look

sys.path.insert(0, os.path.join(ROOT, "tests", "pipeline"))
import libraries  # noqa: E402

libraries.need("numpy", "sklearn")
import numpy as np  # noqa: E402

NEAR = 1e-5  # of distances: the program's are float32


def nearest(points, centres):
    """Class and squared distance of each, in float64."""
    squares = ((points[:, None, :] - centres[None, :, :]) ** 2).sum(axis=2)
    return squares.argmin(axis=1), squares


def starts(points, k, state):
    """k-means++ (Arthur and Vassilvitskii 2007) over the first block, with the random numbers of splitmix64."""
    def unit():
        nonlocal state
        state = state + 0x9E3779B97F4A7C15 & (1 << 64) - 1
        z = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 & (1 << 64) - 1
        z = (z ^ z >> 27) * 0x94D049BB133111EB & (1 << 64) - 1
        return ((z ^ z >> 31) >> 11) / (1 << 53)

    centres, squares = [points[int(unit() * len(points))]], np.full(len(points), np.inf)
    while True:
        squares = np.minimum(squares, ((points - centres[-1]) ** 2).sum(axis=1))
        drawn = int(np.searchsorted(np.cumsum(squares), unit() * squares.sum(), side="right"))
        if len(centres) == k:
            return np.array(centres)
        centres.append(points[drawn])


def spark_follows(points, answers, field, k, block, half_life):
    """StreamingKMeans.update of apache/spark with timeUnit "points", block by block in the order of offsets: assign with the old centres, discount
    all weights by a^N, then n' = a^N n + m and c' = (1 - m / n') c + s / n'. Checks each answer: records of the first block, from which the first
    centres come, are told of centres at the origin. Returns the centres after the last block."""
    centres, known = starts(points[:block], k, 1), np.zeros((k, points.shape[1]))
    weights, alpha = np.zeros(k), np.exp(np.log(0.5) / half_life)
    for first in range(0, len(points), block):
        here = points[first:first + block]
        best, squares = nearest(here, known)
        for i, answer in enumerate(answers[first:first + block]):
            got, scale = answer[field], 1 + (here[i] ** 2).sum()
            expect(squares[i][got] <= squares[i][best[i]] + NEAR * scale, f"record {first + i} is of {best[i]}, not of {got}: {squares[i]}")
            expect(abs(answer["distance"] - squares[i][got]) <= NEAR * scale, f"record {first + i}: distance {answer['distance']}, not {squares[i][got]}")
        classes, _ = nearest(here, centres)
        weights *= alpha ** len(here)
        for j in range(k):
            own = here[classes == j]
            if len(own):
                weights[j] += len(own)
                centres[j] = (1 - len(own) / weights[j]) * centres[j] + own.sum(axis=0) / weights[j]
        expect(weights.min() > 1e-8 * weights.max(), "a centre is dying: Spark would split another one")
        known = centres
    return centres


def saved(path):
    """The centres that the job has left."""
    exported = path.replace(".safetensors", ".exported.json")
    subprocess.run([MILLRACE, "export", path, "--to", "json", "-o", exported], check=True, capture_output=True)
    with open(exported, encoding="utf-8") as file:
        tensor = json.load(file)["tensors"]["centers"]
    return np.array(tensor["data"]).reshape(tensor["shape"])


def on_broker(rig, name, topics, path, model):
    """The job as it is, watched while it works: all answers in the order of offsets, and the centres that it saved. The first half of the records
    is there when it starts, the second comes while it works."""
    folder, (topic, out, dead) = copied(rig, name), topics
    rig.topics(f"{topic}:1", f"{out}:1", f"{dead}:1")
    with open(path, encoding="utf-8") as file:
        records = file.readlines()
    halves = [os.path.join(rig.folder, f"{name}.{i}.jsonl") for i in range(2)]
    for half, part in zip(halves, (records[:len(records) // 2], records[len(records) // 2:])):
        with open(half, "w", encoding="utf-8") as file:
            file.writelines(part)
    replayed(rig, halves[0], topic)
    run = rig.run(os.path.join(folder, "job.json"), "-X", f"bootstrap.servers={rig.broker.address}", "--http", "127.0.0.1:0")
    with browsing() as browser:
        address_of(run)  # it is at work
        replayed(rig, halves[1], topic, len(records) / 6)  # three seconds
        run.wait_out(len(records))
        seen = look(browser, run, name)
    run.signal(signal.SIGTERM)
    run.expect_end(0)
    expect(not answers_of(rig, dead), f"there are dead letters in {dead}")
    answers = answers_of(rig, out)
    expect(len(answers) == len(records), f"{len(answers)} answers to {len(records)} records")
    return answers, saved(os.path.join(folder, model)), seen


def same_centres(got, want, what):
    expect(np.abs(got - want).max() <= 1e-4, f"{what}: centres {got}, not {want}")


def apart(ours, others):
    """How far the furthest of `others` is from the nearest of ours: each has one of its own."""
    classes, squares = nearest(np.asarray(others, dtype=float), ours)
    expect(len(set(classes)) == len(others), f"two of {others} are nearest to one of {ours}")
    return float(np.sqrt(squares.min(axis=1).max()))


def demo_moves(rig, name, k, records):
    """The centres on the page of a demo move, and are none before there are any."""
    def moving(run):
        history, job = (json.loads(urllib.request.urlopen(address_of(run) + what, timeout=30).read()) for what in ("api/v1/history", "api/v1/job"))
        at = [i for i, column in enumerate(job["columns"]) if column["label"].startswith("centre ")]
        ways = [[row[i] for i in at] for row in history["recent"]["rows"]]
        expect(len(at) == 2 * k and all(None in way or any(way) for way in ways), f"centres before there are any: {ways[:3]}")
        told = [way for way in ways if None not in way]
        expect(told and told[0] != told[-1], f"the centres do not move: {told[:1]} {told[-1:]}")

    return demo(rig, name, records, moving, empty=("lag",))
