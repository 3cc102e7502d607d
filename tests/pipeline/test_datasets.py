#!/usr/bin/env python3
"""Data sets from their raw files to a job with millrace alone: datasets/temperature/build, and a recommender from ratings."""
import csv
import json
import os
import pathlib
import struct
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
MILLRACE = os.environ.get("MILLRACE", str(ROOT / "build/millrace"))


def fail(text):
    sys.exit(f"FAIL: {text}")


def call(*words, **more):
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=300, check=False, env={**os.environ, "MILLRACE": MILLRACE}, **more)
    if done.returncode:
        fail(f"{' '.join(map(str, words))}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def job_run(path, feed):
    """The answers of a job of the data sets on the embedded broker."""
    job = json.loads("\n".join(line for line in path.read_text().splitlines() if not line.strip().startswith("//")))
    job["sinks"] = [{"type": "file", "path": str(path.parent / "answers.jsonl")}]
    job["bad_records"] = {"file": str(path.parent / "bad.jsonl")}
    (path.parent / "own.json").write_text(json.dumps(job))
    call(MILLRACE, "run", path.parent / "own.json", "--feed", feed, "--until", "end", "--lanes", "1")
    return [json.loads(line) for line in (path.parent / "answers.jsonl").read_text().splitlines()]


def float32(value):
    return struct.unpack("<f", struct.pack("<f", float(value)))[0]


def temperature(folder):
    said = call(ROOT / "datasets/temperature/build", folder / "temperature")
    out = folder / "temperature"
    knee = next(line.split()[0] for line in said.splitlines() if line.endswith("<- knee"))
    accuracy = float(next(line.split()[-1] for line in said.splitlines() if line.startswith("accuracy (held out)")))
    if knee != "6" or accuracy < 0.999 or "<svg" not in (out / "elbow.svg").read_text():
        fail(f"{knee} regimes, accuracy {accuracy}")
    answers = job_run(out / "job.json", out / "series.jsonl")
    with open(out / "labelled.csv", newline="") as rows:
        labels = {float32(row["Temperature"]): int(row["label"]) for row in csv.DictReader(rows)}
    right = sum(answer["prediction"] == labels[float32(answer["Temperature"])] for answer in answers)
    if len(answers) != 22695 or right < 0.999 * len(answers):
        fail(f"the job answers {right} of {len(answers)} right")
    print(f"temperature: {knee} regimes, {accuracy:.6f} of held-out readings, the job {right} of {len(answers)}")


def ratings(folder):
    generate = ROOT / "datasets/ratings/generate.py"
    raw = call(sys.executable, generate)
    (folder / "ratings.csv").write_text("uid,item,stars\n" + raw)
    out = folder / "ratings"
    out.mkdir()
    said = json.loads(call(MILLRACE, "fit", "mf", folder / "ratings.csv", "-F", "uid,item", "-l", "stars", "--factors", 12, "--iterations", 30, "-q", "--json", "-o", out / "ratings.safetensors"))
    (out / "job.json").write_text((ROOT / "datasets/ratings/job.json").read_text())
    (folder / "events.jsonl").write_text('{"uid":196}\n{"uid":"nobody"}\n')
    answers = job_run(out / "job.json", folder / "events.jsonl")
    answer = next(answer for answer in answers if answer["uid"] == 196)
    seen = {int(line.split(",")[1]) for line in raw.splitlines() if line.startswith("196,")}
    if said["scores"]["held_out_rmse"] > 0.85 or len(answer["items"]) != 10 or seen & set(answer["items"]):
        fail(f"ratings: {said}, {answer}")
    print(f"ratings: RMSE {said['scores']['held_out_rmse']:.4f} of held-out ratings, user 196 gets {answer['items']}")


def main():
    with tempfile.TemporaryDirectory() as name:
        temperature(pathlib.Path(name))
        ratings(pathlib.Path(name))


main()
