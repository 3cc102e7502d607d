#!/usr/bin/env python3
"""Latency through contestants at a fixed rate, one after the other, in turns: bench_latency beside each of them.

    latency.py --brokers HOST:PORT [--contestants floor,pass,millrace-sticky-300us] [--rounds 2] [--seconds 10] [--out FILE.json]
"""
import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import contestants as who
import measure
import process

FIGURES = ("p50_ms", "p90_ms", "p99_ms", "p999_ms", "max_ms", "cpu_s", "broker_cpu_s")


def stop(child):
    child.terminate()
    try:
        child.wait(timeout=15)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def through(broker, contestant, topic_in, topic_out, log, options):
    """Starts the contestant, runs the generator beside it, ends the contestant. Returns the figures."""
    child = None
    if contestant.argv:
        argv, env = who.expand(contestant, "B", broker.address, topic_in, topic_out, topic_out)
        with open(f"{log}.out", "wb") as out, open(f"{log}.err", "wb") as err:
            child = subprocess.Popen(argv, env={**process.os.environ, **env}, stdin=subprocess.DEVNULL, stdout=out, stderr=err)
    try:
        words = ["--in", topic_in, "--out", topic_out, "--rate", options.rate, "--seconds", options.seconds, "--warm-s", options.warm_s]
        started, busy = time.monotonic(), broker.cpu_s()
        done = broker.tool("latency", *words, check=False)
        took = time.monotonic() - started
        broker_cpu = broker.cpu_s() - busy if broker.pid else None
        cpu = sum(process.process_cpu_s(pid) for pid in process.tree(child.pid)) if child and child.poll() is None else 0.0
    finally:
        if child:
            stop(child)
    if not done.stdout.startswith("{"):
        tail = Path(f"{log}.err").read_text(errors="replace")[-600:] if child else ""
        return {"error": " ".join(f"{done.stderr} {tail}".split())}
    figures = json.loads(done.stdout)
    # The generator's whole time, warm-up included, is what the CPU figures cover: said for ten seconds.
    figures |= {"cpu_s": cpu / took * 10, "broker_cpu_s": broker_cpu / took * 10 if broker_cpu is not None else None}
    if done.returncode:
        figures["error"] = f"{figures['answered']} of {figures['sent']} answered, {figures['strange']} strange"
    return figures


def one_run(broker, contestant, serial, options):
    topic_in, topic_out = f"bench-lat-in-{time.time_ns()}", f"bench-lat-out-{time.time_ns()}"
    log = who.CACHE / "logs" / f"latency-{contestant.name}-{serial}"
    log.parent.mkdir(parents=True, exist_ok=True)
    with measure.machine_alone(options.lock):
        broker.tool("load", "create", topic_in, measure.PARTITIONS)
        if contestant.argv:
            broker.tool("load", "create", topic_out, measure.PARTITIONS)
        figures = through(broker, contestant, topic_in, topic_out if contestant.argv else topic_in, log, options)
    broker.tool("load", "delete", topic_in)
    broker.tool("load", "delete", topic_out)
    return figures


def summarise(runs):
    good = [run for run in runs if "error" not in run]
    summary = {"runs": len(good), "errors": [run["error"] for run in runs if "error" in run]}
    for figure in FIGURES:
        values = [run[figure] for run in good if run[figure] is not None]
        if values:
            summary[figure] = {"median": statistics.median(values), "min": min(values), "max": max(values)}
    return summary


def table(summaries):
    lines = ["| contestant | runs | p50 ms | p99 ms | p99.9 ms | max ms | CPU s in 10 s | broker CPU s in 10 s |", "|---|---|---|---|---|---|---|---|"]
    for name, s in summaries.items():
        if not s["runs"]:
            lines.append(f"| {name} | 0 | FAILED: {s['errors'][0][:120]} |" + " |" * 5)
            continue
        cells = [measure.cell(s, figure) for figure in ("p50_ms", "p99_ms", "p999_ms", "max_ms", "cpu_s", "broker_cpu_s")]
        mark = f" ({len(s['errors'])} failed)" if s["errors"] else ""
        lines.append(f"| {name} | {s['runs']}{mark} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def measure_all(broker, names, options):
    runs = {}
    for name in names:
        contestant = who.LATENCY.get(name)
        if not contestant:
            raise SystemExit(f"contestant \"{name}\": not one of {', '.join(who.LATENCY)}")
        missing = [path for path in contestant.needs if not Path(path).exists()]
        if missing:
            print(f"SKIP: {name}: {missing[0]} is not there (scripts/bench makes it)", file=sys.stderr)
        else:
            runs[name] = []
    for serial in range(options.rounds):
        for name, done in runs.items():
            figures = one_run(broker, who.LATENCY[name], serial, options)
            done.append(figures)
            said = figures.get("error") or f"p50 {figures['p50_ms']:.2f}, p99 {figures['p99_ms']:.2f} ms"
            print(f"latency round {serial + 1}/{options.rounds} {name}: {said}", file=sys.stderr, flush=True)
    return {"rate_per_s": options.rate, "seconds": options.seconds, "rounds": options.rounds,
            "summary": {name: summarise(done) for name, done in runs.items()}, "runs": runs}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--brokers", required=True, help="host:port of a broker on this machine")
    parser.add_argument("--broker-pid", type=int, help="to count its CPU time")
    parser.add_argument("--contestants", default=",".join(who.LATENCY))
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--rate", type=int, default=20000)
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--warm-s", type=int, default=3)
    parser.add_argument("--lock", help="file to hold locked during each run, where a machine is shared")
    parser.add_argument("--out", help="JSON file for the result")
    options = parser.parse_args()
    result = measure_all(measure.Broker(options.brokers, options.broker_pid), options.contestants.split(","), options)
    print(table(result["summary"]))
    if options.out:
        Path(options.out).write_text(json.dumps(result, indent=1) + "\n")
    return 1 if any(s["errors"] for s in result["summary"].values()) else 0


if __name__ == "__main__":
    sys.exit(main())
