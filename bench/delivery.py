#!/usr/bin/env python3
"""What delivery costs: the same job, at least once and exactly once with commits every second and every 100 ms, in turns on a real broker.

Prints records/s of each (from the first acknowledged record to the end, median) and the ratios. Takes a minute for each round.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = Path(os.environ.get("BUILD_DIR", ROOT / "build"))
MODEL = ROOT / "datasets/temperature/regime.safetensors"
WAYS = (("at-least-once, 1 s", "at-least-once", "1s"), ("exactly-once, 1 s", "exactly-once", "1s"), ("exactly-once, 100 ms", "exactly-once", "100ms"))


def call(*words):
    done = subprocess.run([str(word) for word in words], stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.strip()


def rate(folder, servers, number, delivery, interval):
    """Records/s of one run over the whole topic."""
    name = f"delivery-{number}"
    job = {"job": name, "source": {"type": "kafka", "topics": ["delivery.in"], "group": name, "properties": {"bootstrap.servers": servers}},
           "record": {"format": "json", "features": ["Temperature"]}, "models": [{"name": "regime", "type": "mlp", "file": str(MODEL)}],
           "emit": {"fields": {"id": "id", "prediction": "regime.class"}}, "sinks": [{"type": "kafka", "topic": "delivery.out"}],
           "bad_records": {"topic": "delivery.dead"}, "delivery": delivery, "commit_interval": interval}
    path = Path(folder) / f"{name}.json"
    path.write_text(json.dumps(job), encoding="utf-8")
    done = subprocess.run([BUILD / "millrace", "run", path, "--until", "end", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"{delivery}: exit code {done.returncode}\n{done.stderr[-2000:]}")
    report = json.loads(done.stdout.splitlines()[-1])
    return report["records_out"] / (report["seconds"] - report["first_out_seconds"])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=8_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="millrace-bench-") as folder:
        broker = Path(folder) / "broker"
        servers = call(ROOT / "scripts/kafka", "start", "--bench", "--dir", broker)
        try:
            oracle = BUILD / "tests/oracle"
            call(oracle, "topic", "delivery.in:4", "delivery.out:4", "delivery.dead:1", "--servers", servers)
            call(oracle, "produce", "--topic", "delivery.in", "--count", wanted.records, "--servers", servers)
            rates = {name: [] for name, _, _ in WAYS}
            for number in range(wanted.rounds):
                for name, delivery, interval in WAYS:
                    rates[name].append(rate(folder, servers, f"{number}-{name.replace(' ', '').replace(',', '-')}", delivery, interval))
        finally:
            call(ROOT / "scripts/kafka", "stop", "--dir", broker, "--kill", "--clean")
    base = statistics.median(rates[WAYS[0][0]])
    for name, found in rates.items():
        print(f"{name:22} {statistics.median(found):12,.0f} records/s  {statistics.median(found) / base:5.2f} x   {' '.join(f'{one:,.0f}' for one in found)}")


main()
