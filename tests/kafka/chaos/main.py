#!/usr/bin/env python3
"""scripts/chaos: chooses rows, runs them, prints and writes the table."""
import argparse
import os
import random
import shutil
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import frame  # noqa: E402
import brokers  # noqa: E402
import learning  # noqa: E402
import network  # noqa: E402
import processes  # noqa: E402
from rig import Rig, Skip, client_version  # noqa: E402

MODULES = (network, brokers, processes, learning)  # each declares its rows
HEAD = ("row", "fault", "seed", "runs", "faults", "lost", "duplicated", "reordered", "longest stall", "pass")
SETTINGS = ("transaction.abort.timed.out.transaction.cleanup.interval.ms=1000", "group.min.session.timeout.ms=1000")


class Result:
    """Sums over the runs of a row."""

    def __init__(self, row, seed):
        self.row, self.seed = row, seed
        self.runs = self.faults = self.lost = self.duplicated = self.reordered = self.failed = 0
        self.stall_s, self.notes = 0.0, {}

    def add(self, verdict):
        self.runs += 1
        for key in ("faults", "lost", "duplicated", "reordered"):
            setattr(self, key, getattr(self, key) + verdict[key])
        self.failed += bool(verdict["wrong"])
        self.stall_s = max(self.stall_s, verdict["stall_s"])
        for text, count in verdict["notes"].items():
            self.notes[text] = self.notes.get(text, 0) + count

    def passed(self):
        return self.lost + self.duplicated > 0 if self.row.must_fail else not self.failed

    def cells(self):
        passed = "yes" if self.passed() else f"no: {self.failed} of {self.runs}"
        if self.row.must_fail:
            passed = "yes, it fails" if self.passed() else "no, it does not fail"
        return (self.row.name, self.row.fault, self.seed, self.runs, self.faults, self.lost, self.duplicated, self.reordered, f"{self.stall_s:.1f} s", passed)


def run_row(rig, row, seed, runs):
    result = Result(row, seed)
    started = time.monotonic()
    for index in range(runs):
        verdict = frame.attempt(rig, row, seed + index)
        result.add(verdict)
        if verdict["wrong"] and not row.must_fail:
            print(f"FAIL  {row.name} seed {seed + index}: {verdict['wrong']}\n      again: scripts/chaos --row {row.name} --seed {seed + index}", flush=True)
    words = "  ".join(f"{head} {cell}" for head, cell in zip(HEAD[2:], result.cells()[2:]))
    notes = "; ".join(f"{text}: {count}" for text, count in sorted(result.notes.items()))
    print(f"{'ok   ' if result.passed() else 'FAIL '} {row.name} ({time.monotonic() - started:.0f} s)  {words}  {notes}", flush=True)
    return result


def write(path, results, version):
    with open(path, "w", encoding="utf-8") as file:
        file.write(f"# Chaos\n\nExactly-once jobs under faults, on Apache Kafka, with librdkafka {version}. Each run has a seed of its own, counted up from the\n"
                   "row's; `scripts/chaos --row ROW --seed N` replays one.\n\n")
        file.write("| " + " | ".join(HEAD) + " |\n|" + "---|" * len(HEAD) + "\n")
        for result in results:
            file.write("| " + " | ".join(map(str, result.cells())) + " |\n")
        file.write("\n| row | how | seen |\n|---|---|---|\n")
        for result in results:
            notes = "; ".join(f"{text}: {count}" for text, count in sorted(result.notes.items()))
            file.write(f"| {result.row.name} | {result.row.how} | {notes} |\n")


def options():
    parser = argparse.ArgumentParser(prog="scripts/chaos", add_help=False)
    parser.add_argument("--ci", action="store_true")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--row", action="append", default=[])
    parser.add_argument("--seed", type=int)
    parser.add_argument("--runs", type=int)
    parser.add_argument("--out")
    try:
        wanted = parser.parse_args()
    except SystemExit:
        sys.exit(64)
    unknown = set(wanted.row) - {row.name for row in frame.ROWS}
    if unknown:
        print(f"scripts/chaos: no row {', '.join(sorted(unknown))}; there are {', '.join(row.name for row in frame.ROWS)}", file=sys.stderr)
        sys.exit(64)
    return wanted


def runs_of(row, wanted):
    if wanted.runs is not None:
        return wanted.runs
    if wanted.row and wanted.seed is not None:
        return 1
    return row.ci if wanted.ci else row.full


def main():
    wanted = options()
    rows = [row for row in frame.ROWS if (not wanted.row or row.name in wanted.row) and runs_of(row, wanted)]
    if wanted.list:
        for row in frame.ROWS:
            print(f"{row.name:10} {row.ci:4} runs in CI, {row.full:5} in full, {row.nodes} broker{'s' * (row.nodes > 1)}: {row.fault}: {row.how}")
        return 0
    if not shutil.which("kcat"):
        print("SKIP: kcat is not installed (scripts/setup --tests installs it)")
        return 77
    seed = wanted.seed if wanted.seed is not None else random.randrange(1, 1 << 30)
    version, results = client_version(), []
    print(f"librdkafka {version}, seed {seed}", flush=True)
    for nodes in sorted({row.nodes for row in rows}):
        rig = Rig(SETTINGS, nodes, proxy=True)
        try:
            rig.broker.start()
            for row in rows:
                if row.nodes == nodes:
                    results.append(run_row(rig, row, seed, runs_of(row, wanted)))
        except Skip as reason:
            print(f"SKIP: {reason}")
            return 77
        finally:
            rig.close()
            if wanted.out:
                write(wanted.out, results, version)
    failed = [result.row.name for result in results if not result.passed()]
    print(f"{len(results)} rows, {len(failed)} failed{': ' + ' '.join(failed) if failed else ''}")
    return 1 if failed else 0


sys.exit(main())
