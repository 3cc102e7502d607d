#!/usr/bin/env python3
"""What sinks behind a network cost: the client's CPU time a point and a document (bench_sinks), and what a stalled one costs scoring: the same
job without it, with one whose server answers nothing, and with one whose server answers at once that it will not, in turns on a real broker.

Prints records/s of each (from the first acknowledged record to the end, median), the CPU time of the lanes a record, and ratios to the job
without the sink.
"""
import argparse
import datetime
import http.server
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = Path(os.environ.get("BUILD_DIR", ROOT / "build"))
MODEL = ROOT / "datasets/temperature/regime.safetensors"


def call(*words):
    done = subprocess.run([str(word) for word in words], stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.strip()


class Refuses(http.server.BaseHTTPRequestHandler):
    """503, whatever comes."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(503)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_words):
        pass


def servers_start():
    """Urls of one that takes connections and answers nothing, and of one that refuses."""
    silent = socket.socket()
    silent.bind(("127.0.0.1", 0))
    silent.listen(64)
    refuses = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refuses)
    threading.Thread(target=refuses.serve_forever, daemon=True).start()
    return silent, {"stalled": f"http://127.0.0.1:{silent.getsockname()[1]}", "refuses": f"http://127.0.0.1:{refuses.server_address[1]}"}


def one_run(folder, servers, name, url, lanes):
    """Records/s of one run over the whole topic, and CPU nanoseconds of its lanes a record."""
    sinks = [{"type": "kafka", "topic": "sinks.out"}]
    if url:
        sinks.append({"type": "influx", "url": url, "database": "bench", "measurement": "bench"})
    job = {"job": name, "source": {"type": "kafka", "topics": ["sinks.in"], "group": name, "properties": {"bootstrap.servers": servers}},
           "record": {"format": "json", "features": ["Temperature"]}, "models": [{"name": "regime", "type": "mlp", "file": str(MODEL)}],
           "emit": {"fields": {"id": "id", "prediction": "regime.class"}}, "sinks": sinks, "bad_records": {"topic": "sinks.dead"}, "lanes": lanes,
           "progress_interval": "100ms"}
    path = Path(folder) / f"{name}.json"
    path.write_text(json.dumps(job), encoding="utf-8")
    done = subprocess.run([BUILD / "millrace", "run", path, "--until", "end", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"{name}: exit code {done.returncode}\n{done.stderr[-2000:]}")
    report = json.loads(done.stdout.splitlines()[-1])
    lanes_ns = sum(ns for thread, ns in report["thread_cpu_ns_per_record"].items() if thread.startswith("lane"))
    # A sink may take up to 3 s to end: the rate is that until the last record was acknowledged, as progress saw it.
    seen = [(datetime.datetime.fromisoformat(line["timestamp"].replace("Z", "+00:00")).timestamp(), line["total"]["records_out"])
            for line in map(json.loads, done.stdout.splitlines()) if line.get("type") == "progress"]
    seen = [(when, count) for when, count in seen if count]
    if len(seen) < 3 or seen[-1][1] != report["records_out"]:
        sys.exit(f"{name}: too few records for a rate")
    end = next(index for index, (_, count) in enumerate(seen) if count == seen[-1][1])
    return (seen[end][1] - seen[0][1]) / max(seen[end][0] - seen[0][0], 0.1), lanes_ns


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=8_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--lanes", type=int, default=1)
    wanted = parser.parse_args()
    print(call(BUILD / "bench/bench_sinks", "--records", wanted.records))
    silent, urls = servers_start()
    ways = {"without": None, **urls}
    found = {name: [] for name in ways}
    with silent, tempfile.TemporaryDirectory(prefix="millrace-bench-") as folder:
        broker = Path(folder) / "broker"
        servers = call(ROOT / "scripts/kafka", "start", "--bench", "--dir", broker)
        try:
            oracle = BUILD / "tests/oracle"
            call(oracle, "topic", "sinks.in:4", "sinks.out:4", "sinks.dead:1", "--servers", servers)
            call(oracle, "produce", "--topic", "sinks.in", "--count", wanted.records, "--servers", servers)
            for number in range(wanted.rounds):
                for name, url in ways.items():
                    found[name].append(one_run(folder, servers, f"sinks-{number}-{name}", url, wanted.lanes))
        finally:
            call(ROOT / "scripts/kafka", "stop", "--dir", broker, "--kill", "--clean")
    base = [statistics.median(values) for values in zip(*found["without"])]
    for name, runs in found.items():
        rate, lanes_ns = [statistics.median(values) for values in zip(*runs)]
        print(f"{name:10} {rate:12,.0f} records/s  {rate / base[0]:5.3f} x   {lanes_ns:6.1f} ns of the lanes a record  {lanes_ns / base[1]:5.3f} x")


main()
