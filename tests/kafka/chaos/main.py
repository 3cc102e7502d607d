#!/usr/bin/env python3
"""scripts/chaos: chooses rows, runs them, prints and writes the table."""
import argparse
import os
import random
import shutil
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import frame  # noqa: E402
import brokers  # noqa: E402
import data  # noqa: E402
import followers  # noqa: E402
import groups  # noqa: E402
import learning  # noqa: E402
import network  # noqa: E402
import points  # noqa: E402
import processes  # noqa: E402
import table  # noqa: E402
from rig import Rig, Skip, client_version  # noqa: E402

MODULES = (network, brokers, processes, groups, data, learning, followers)  # each declares its rows
SETTINGS = ("transaction.abort.timed.out.transaction.cleanup.interval.ms=1000", "group.min.session.timeout.ms=1000", "log.cleaner.backoff.ms=100")
START_S = 8  # of brokers


def options():
    parser = argparse.ArgumentParser(prog="scripts/chaos", add_help=False)
    parser.add_argument("--ci", action="store_true")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--row", action="append", default=[])
    parser.add_argument("--seed", type=int)
    parser.add_argument("--runs", type=int)
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--out")
    parser.add_argument("--resume", action="store_true")
    try:
        wanted = parser.parse_args()
    except SystemExit:
        sys.exit(64)
    unknown = set(wanted.row) - {row.name for row in frame.ROWS}
    if unknown:
        print(f"scripts/chaos: no row {', '.join(sorted(unknown))}; there are {', '.join(row.name for row in frame.ROWS)}", file=sys.stderr)
        sys.exit(64)
    if wanted.resume and not wanted.out:
        print("scripts/chaos: --resume goes with --out", file=sys.stderr)
        sys.exit(64)
    return wanted


def seconds_of(counts):
    """Of rows that run so often."""
    return sum(row.seconds * runs for row, runs in counts.items()) + START_S * sum({row.nodes for row, runs in counts.items() if runs})


def plan(wanted):
    """How many runs each row has."""
    counts = {}
    for row in frame.ROWS:
        runs = row.ci if wanted.ci else row.full
        if wanted.runs is not None:
            runs = wanted.runs
        elif wanted.row and wanted.seed is not None:
            runs = 1
        if runs and (not wanted.row or row.name in wanted.row):
            counts[row] = runs
    if wanted.minutes:
        part = min(1.0, wanted.minutes * 60 / seconds_of(counts))
        counts = {row: max(1, int(runs * part)) for row, runs in counts.items()}
    return counts


def duration(seconds):
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"


def run_row(rig, row, wanted, runs, seed, after):
    """The runs that it has not had; after: what to do behind each of them."""
    had = runs.result(row)
    first = had.seeds[-1] + 1 if had.seeds else seed
    for index in range(max(0, wanted.counts[row] - had.runs)):
        verdict = frame.attempt(rig, row, first + index, wanted.ci)
        runs.add(verdict)
        after()
        if verdict["wrong"] and not row.must_fail:
            print(f"FAIL  {row.name} seed {first + index}: {verdict['wrong']}\n      again: scripts/chaos --row {row.name} --seed {first + index}", flush=True)
    print(runs.result(row).line(), flush=True)


def run_all(wanted, runs, seed):
    def after():
        if wanted.out:
            table.write(wanted.out, frame.ROWS, runs, lambda row: wanted.counts.get(row, 0))
    for nodes in sorted({row.nodes for row in wanted.counts}):
        rig = Rig(SETTINGS, nodes, proxy=True)
        try:
            rig.broker.start()
            for row in wanted.counts:
                if row.nodes == nodes:
                    run_row(rig, row, wanted, runs, seed, after)
        finally:
            rig.close()


def main():
    unlike = points.unlike(frame.ROWS)
    if unlike:
        print("\n".join(f"FAIL  scripts/chaos: {line}" for line in unlike))
        return 1
    wanted = options()
    wanted.counts = plan(wanted)
    if wanted.list:
        for row in frame.ROWS:
            print(f"{row.name:14} {row.ci:2} runs in CI, {row.full:3} in full, {row.seconds:3} s each, {row.nodes} broker{'s' * (row.nodes > 1):1} {row.fault}: {row.how}")
        return 0
    if not shutil.which("kcat"):
        print("SKIP: kcat is not installed (scripts/setup --tests installs it)")
        return 77
    seed = wanted.seed if wanted.seed is not None else random.randrange(1, 1 << 30)
    runs = table.Runs(client_version(), wanted.out, wanted.resume)
    left = {row: max(0, count - runs.result(row).runs) for row, count in wanted.counts.items()}
    print(f"librdkafka {runs.facts['client']}, seed {seed}; {sum(left.values())} runs, about {duration(seconds_of(left))}", flush=True)
    try:
        run_all(wanted, runs, seed)
    except Skip as reason:
        print(f"SKIP: {reason}")
        return 77
    failed = [row.name for row in wanted.counts if not runs.result(row).passed()]
    print(f"{len(wanted.counts)} rows, {len(failed)} failed{': ' + ' '.join(failed) if failed else ''}")
    return 1 if failed else 0


sys.exit(main())
