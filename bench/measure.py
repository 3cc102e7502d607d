#!/usr/bin/env python3
"""Measures contestants side by side: the same pre-filled topic of a real broker, every answer compared, ratios from one run.

    measure.py --brokers HOST:PORT --workload B --contestants pass-1,millrace-1,java-2 [--rounds 5] [--out FILE.json]

Contestants take turns (A B C A B C ...), so that a slow minute of the machine meets all of them. Reported are medians and the
range. Wall: from process start to the append of the last output, by the broker's own clock (LogAppendTime on this machine).
CPU: of the whole process tree. A run that fails, or whose answers differ from the reference, is an error, never a figure.
"""
import argparse
import contextlib
import fcntl
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import contestants as who
import process

RECORDS = {"A": 4_000_000, "B": 2_000_000, "BL": 2_000_000}
PARTITIONS = 4
DISTURBED = 0.15  # share of the machine that others took during a run


class Broker:
    def __init__(self, address, pid):
        self.address, self.pid = address, pid

    def cpu_s(self):
        return process.process_cpu_s(self.pid) if self.pid else None

    def tool(self, name, *words, check=True):
        done = subprocess.run([who.BUILD / "bench" / f"bench_{name}", "--brokers", self.address, *map(str, words)],
                              capture_output=True, text=True)
        if check and done.returncode:
            raise SystemExit(f"bench_{name} {' '.join(map(str, words))}: {done.stderr.strip() or done.returncode}")
        return done

    def input_topic(self, workload, records):
        """The workload's topic, filled once for a broker."""
        topic = f"bench-in-{workload}-{records}"
        messages = -(-records // who.PER_MESSAGE[workload])
        found = self.tool("load", "size", topic, check=False)
        if found.returncode == 0 and int(found.stdout) == messages:
            return topic
        if found.returncode == 0:
            raise SystemExit(f"{topic}: {found.stdout.strip()} messages where {messages} should be: delete it")
        self.tool("load", "create", topic, PARTITIONS)
        self.tool("load", "fill", topic, workload, records)
        return topic


@contextlib.contextmanager
def machine_alone(lock):
    """Takes a lock that other users of the machine hold while they work; nothing without --lock."""
    if not lock:
        yield
        return
    with open(lock, "a", encoding="ascii") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def report_of(log):
    """The last JSON object on the command's stdout: its own account of itself."""
    for line in reversed(Path(f"{log}.out").read_text(errors="replace").splitlines()):
        if line.startswith("{"):
            with contextlib.suppress(ValueError):
                return json.loads(line)
    return None


def compare(broker, contestant, workload, records, topic_out):
    words = ["--out", topic_out, "--workload", workload, "--records", records, "--partitions", PARTITIONS]
    if contestant.scores:
        words += ["--classes", who.DATA / f"{workload}.classes", "--near", who.DATA / f"{workload}.near"]
    done = broker.tool("check", *words, check=False)
    if not done.stdout.startswith("{"):
        raise SystemExit(f"{contestant.name}: the output could not be read: {done.stderr.strip()}")
    return done.returncode == 0, json.loads(done.stdout)


def one_run(broker, contestant, workload, records, serial, lock):
    topic_in = broker.input_topic(workload, records)
    topic_out = f"bench-out-{time.time_ns()}"
    log = who.CACHE / "logs" / f"{contestant.name}-{workload}-{serial}"
    log.parent.mkdir(parents=True, exist_ok=True)
    argv, env = who.expand(contestant, workload, broker.address, topic_in, topic_out, topic_out)
    with machine_alone(lock):
        broker.tool("load", "create", topic_out, PARTITIONS)
        broker_before, busy_before = broker.cpu_s(), process.machine_busy_s()
        cost = process.run(argv, env, log, contestant.timeout_s)
        broker_cpu, busy = broker.cpu_s(), process.machine_busy_s() - busy_before
    if cost["exit"] != 0:
        tail = Path(f"{log}.err").read_text(errors="replace")[-1500:]
        why = f"no end within {contestant.timeout_s} s" if cost["timed_out"] else f"exit {cost['exit']}"
        return {"contestant": contestant.name, "error": f"{why}: {' '.join(tail.split())}"}
    right, check = compare(broker, contestant, workload, records, topic_out)
    broker.tool("load", "delete", topic_out)
    wall = check["last_ms"] / 1000 - cost["start"]
    middle_s = max(check["p90_ms"] - check["p10_ms"], 1) / 1000
    broker_cpu = broker_cpu - broker_before if broker.pid else None
    foreign = max(0.0, busy - cost["cpu_s"] - (broker_cpu or 0))
    run = {"contestant": contestant.name, "command": argv, "wall_s": wall, "records_per_s": records / wall,
           "steady_records_per_s": 0.8 * records / middle_s, "cpu_s": cost["cpu_s"],
           "cpu_ns_per_record": cost["cpu_s"] / records * 1e9, "rss_mib": cost["rss_mib"],
           "first_output_s": check["first_ms"] / 1000 - cost["start"], "exit_s": cost["end"] - cost["start"],
           "broker_cpu_s": broker_cpu, "foreign_cpu_s": foreign, "threads_s": cost["threads_s"], "check": check,
           "report": report_of(log)}
    if not right:
        run["error"] = f"the answers are not the reference's: {check}"
    return run


FIGURES = ("wall_s", "records_per_s", "steady_records_per_s", "cpu_ns_per_record", "rss_mib", "first_output_s", "exit_s",
           "broker_cpu_s", "foreign_cpu_s")


def summarise(runs):
    """Median, least and most of each figure. Disturbed runs are left out where three others exist."""
    good = [run for run in runs if "error" not in run]
    calm = [run for run in good if run["foreign_cpu_s"] <= DISTURBED * run["exit_s"] * os.cpu_count()]
    used = calm if len(calm) >= 3 else good
    summary = {"runs": len(used), "left_out": len(good) - len(used), "errors": [run["error"] for run in runs if "error" in run]}
    for figure in FIGURES:
        values = [run[figure] for run in used if run[figure] is not None]
        if values:
            summary[figure] = {"median": statistics.median(values), "min": min(values), "max": max(values)}
    if used:
        summary["threads_s"] = sorted(used, key=lambda run: run["cpu_s"])[len(used) // 2]["threads_s"]
        summary["near_ties"] = max(run["check"]["near_ties"] for run in used)
        summary["report"] = used[-1]["report"]
    return summary


def cell(summary, figure, scale=1.0, digits=2):
    if figure not in summary:
        return "-"
    f = summary[figure]
    return f"{f['median'] * scale:.{digits}f} ({f['min'] * scale:.{digits}f}-{f['max'] * scale:.{digits}f})"


def table(workload, summaries):
    """Markdown; ratios are of medians, to the floor with one lane in the same run."""
    floor = summaries.get("pass-1", {}).get("cpu_ns_per_record", {}).get("median")
    lines = ["| contestant | runs | wall s | records/s, k | steady, k | CPU ns a record | x floor | first output s | peak MiB | broker CPU s |",
             "|---|---|---|---|---|---|---|---|---|---|"]
    for name, s in summaries.items():
        if not s["runs"]:
            lines.append(f"| {name} | 0 | FAILED: {s['errors'][0][:120] if s['errors'] else 'did not run'} |" + " |" * 7)
            continue
        ratio = f"{s['cpu_ns_per_record']['median'] / floor:.2f}" if floor else "-"
        mark = f" ({len(s['errors'])} failed)" if s["errors"] else ""
        lines.append(f"| {name} | {s['runs']}{mark} | {cell(s, 'wall_s')} | {cell(s, 'records_per_s', 1e-3, 0)} | "
                     f"{cell(s, 'steady_records_per_s', 1e-3, 0)} | {cell(s, 'cpu_ns_per_record', 1, 0)} | {ratio} | "
                     f"{cell(s, 'first_output_s')} | {cell(s, 'rss_mib', 1, 0)} | {cell(s, 'broker_cpu_s')} |")
    return "\n".join(lines)


def usable(names, workload):
    """Those that are built and do this workload; says why of the others."""
    chosen = []
    for name in names:
        contestant = who.ALL.get(name)
        if not contestant:
            raise SystemExit(f"contestant \"{name}\": not one of {', '.join(who.ALL)}")
        missing = [path for path in contestant.needs if not Path(path).exists()]
        if workload not in contestant.workloads:
            print(f"SKIP: {name}: not written for workload {workload}", file=sys.stderr)
        elif missing:
            print(f"SKIP: {name}: {missing[0]} is not there (scripts/bench makes it)", file=sys.stderr)
        else:
            chosen.append(contestant)
    return chosen


def measure(broker, workload, names, rounds, records, lock=None):
    chosen = usable(names, workload)
    broker.input_topic(workload, records)
    runs = {contestant.name: [] for contestant in chosen}
    for serial in range(rounds):
        for contestant in chosen:
            run = one_run(broker, contestant, workload, records, serial, lock)
            runs[contestant.name].append(run)
            said = run.get("error") or (f"{run['wall_s']:.2f} s, {run['cpu_ns_per_record']:.0f} ns of CPU a record, "
                                        f"{run['rss_mib']:.0f} MiB, others took {run['foreign_cpu_s']:.2f} CPU s")
            print(f"{workload} round {serial + 1}/{rounds} {contestant.name}: {said}", file=sys.stderr, flush=True)
    summaries = {name: summarise(of) for name, of in runs.items()}
    return {"workload": workload, "records": records, "partitions": PARTITIONS, "rounds": rounds, "summary": summaries, "runs": runs}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--brokers", required=True, help="host:port of a broker on this machine")
    parser.add_argument("--broker-pid", type=int, help="to count its CPU time")
    parser.add_argument("--workload", required=True, choices=RECORDS)
    parser.add_argument("--contestants", required=True, help="names with commas: " + ", ".join(who.ALL))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--records", type=int, help="fewer than the workload's full count")
    parser.add_argument("--lock", help="file to hold locked during each run, where a machine is shared")
    parser.add_argument("--out", help="JSON file for the result")
    options = parser.parse_args()
    broker = Broker(options.brokers, options.broker_pid)
    result = measure(broker, options.workload, options.contestants.split(","), options.rounds,
                     options.records or RECORDS[options.workload], options.lock)
    print(table(options.workload, result["summary"]))
    if options.out:
        Path(options.out).write_text(json.dumps(result, indent=1) + "\n")
    return 1 if any(s["errors"] for s in result["summary"].values()) else 0


if __name__ == "__main__":
    sys.exit(main())
