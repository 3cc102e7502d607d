#!/usr/bin/env python3
"""What the state of a model costs on a real broker: how long its commits hold up a job, and how long a start takes to go on from it.

Learns perceptrons of several sizes, exactly once, from a trickle of records; each commit writes the model whole. Prints, for each size, the
median and the 99th percentile of a commit (from the moment it is due until input is taken in again), what that is above the smallest
model's, and the median time from the start of the process until the state is read and until the first output is acknowledged.
"""
import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = Path(os.environ.get("BUILD_DIR", ROOT / "build"))
SIZES = (("4", "4-4"), ("1 MB", "190-190"), ("100 MB", "2030-2030"))  # of the two hidden layers of mlp 16-W-W-1, as in bench_state.c
GOING_ON = re.compile(r"going on from commit (\d+).*\((\d+) ms\)")


def call(*words):
    done = subprocess.run([str(word) for word in words], stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.strip()


def job_write(folder, servers, number, hidden):
    name = f"state-{number}"
    job = {"job": name, "source": {"type": "kafka", "topics": [f"{name}.in"], "group": name, "properties": {"bootstrap.servers": servers}},
           "record": {"format": "json", "features": ["Temperature"] * 1, "label": "Temperature"}, "backend": "cpu",
           "batch": {"records_max": 64}, "delivery": "exactly-once", "commit_interval": "500ms", "state": {"bytes_per_s": "1GiB"},
           "models": [{"name": "net", "type": "mlp", "learn": True, "hidden": hidden, "step": 1e-6, "topic": f"{name}.net"}],
           "emit": {"fields": {"id": "id", "prediction": "net.score"}}, "sinks": [{"type": "kafka", "topic": f"{name}.out"}],
           "bad_records": {"topic": f"{name}.dead"}, "memory": "2GiB"}
    path = Path(folder) / f"{name}.json"
    path.write_text(json.dumps(job), encoding="utf-8")
    return name, path


def run(path, *words):
    """The report, and what was told on the way."""
    started = time.monotonic()
    done = subprocess.run([BUILD / "millrace", "run", path, "--json", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          env={**os.environ, "MILLRACE_LOG": "info"})
    if done.returncode:
        sys.exit(f"{path}: exit code {done.returncode}\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1]), done.stderr, time.monotonic() - started


def measure(folder, servers, number, hidden, wanted):
    oracle = BUILD / "tests/oracle"
    name, path = job_write(folder, servers, number, hidden)
    call(oracle, "topic", f"{name}.in:1", f"{name}.out:1", f"{name}.dead:1", f"{name}.net:1:cleanup.policy=compact", "--servers", servers)
    sender = subprocess.Popen([str(oracle), "produce", "--topic", f"{name}.in", "--count", str(wanted.seconds * 200), "--rate", "200", "--servers", servers])
    report, _, _ = run(path, "--until", f"{wanted.seconds}s")
    sender.wait()
    run(path, "--until", "end")
    starts, reads = [], []
    for turn in range(wanted.starts):
        call(oracle, "produce", "--topic", f"{name}.in", "--count", 1, "--first", 10_000_000 + turn, "--servers", servers)
        again, told, _ = run(path, "--until", "end")
        found = GOING_ON.search(told)
        if not found:
            sys.exit(f"{name} went on from nothing:\n{told[-2000:]}")
        reads.append(int(found.group(2)) / 1e3)
        starts.append(again["first_out_seconds"])
    return report["commit_ms"], report["commits"], statistics.median(reads), statistics.median(starts)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=30, help="of commits, for each size")
    parser.add_argument("--starts", type=int, default=5)
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="millrace-bench-") as folder:
        broker = Path(folder) / "broker"
        servers = call(ROOT / "scripts/kafka", "start", "--bench", "--dir", broker)
        try:
            print("| state | commits | p50, ms | p99, ms | p50 above the smallest's, ms | state read, s | start to first output, s |\n|-|-|-|-|-|-|-|", flush=True)
            base = None
            for number, (size, hidden) in enumerate(SIZES):
                commit, count, read, first = measure(folder, servers, number, hidden, wanted)
                base = commit["p50"] if base is None else base
                print(f"| {size} | {count} | {commit['p50']:.1f} | {commit['p99']:.1f} | {commit['p50'] - base:.1f} | {read:.2f} | {first:.2f} |", flush=True)
        finally:
            call(ROOT / "scripts/kafka", "stop", "--dir", broker, "--kill", "--clean")


main()
