#!/usr/bin/env python3
"""scripts/chaos: chooses rows, runs them, prints and writes the table."""
import argparse
import collections
import concurrent.futures
import contextlib
import os
import queue
import random
import shutil
import signal
import sys
import threading

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
import frame  # noqa: E402
import points  # noqa: E402
import table  # noqa: E402
from rig import Skip, Wrong, client_version  # noqa: E402
from worker import WORKERS_MAX, Worker  # noqa: E402

START_S = 8  # of brokers
WIDE_AT_ONCE = 2  # runs with more than one broker: two cores do not keep three of them at work


def options():
    parser = argparse.ArgumentParser(prog="scripts/chaos", add_help=False)
    parser.add_argument("--ci", action="store_true")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--row", action="append", default=[])
    parser.add_argument("--seed", type=int)
    parser.add_argument("--runs", type=int)
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--out")
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--keep")
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
    if not 1 <= wanted.jobs <= WORKERS_MAX:
        print(f"scripts/chaos: --jobs takes a number from 1 to {WORKERS_MAX}", file=sys.stderr)
        sys.exit(64)
    if wanted.keep:
        os.environ[frame.KEEP] = os.path.abspath(wanted.keep)  # the processes that make the runs have it from here
    return wanted


def seconds_of(counts, wanted):
    """Of rows that run so often."""
    work = sum((row.short_seconds if wanted.ci else row.seconds) * runs for row, runs in counts.items())
    return work / wanted.jobs + START_S * sum({row.nodes for row, runs in counts.items() if runs})


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
        part = min(1.0, wanted.minutes * 60 / seconds_of(counts, wanted))
        counts = {row: max(1, int(runs * part)) for row, runs in counts.items()}
    return counts


def duration(seconds):
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"


def left_of(wanted, runs, seed):
    """The runs that are still to be made: row and seed."""
    for row in sorted(wanted.counts, key=lambda row: row.nodes):
        had = runs.result(row)
        first = max(had.seeds) + 1 if had.seeds else seed
        for index in range(wanted.counts[row] - had.runs):
            yield row, first + index


def take(wanted, runs, row, verdict):
    """What became of a run, and the row's line behind its last one."""
    runs.add({**verdict, "at_once": wanted.jobs})
    if wanted.out:
        table.write(wanted.out, frame.ROWS, runs, lambda row: wanted.counts.get(row, 0))
    if verdict["wrong"] and not row.must_fail:
        print(f"FAIL  {row.name} seed {verdict['seed']}: {verdict['wrong']}\n      again: scripts/chaos --row {row.name} --seed {verdict['seed']}", flush=True)
    if runs.result(row).runs == wanted.counts[row]:
        print(runs.result(row).line(), flush=True)


def run_all(wanted, runs, left):
    workers, idle, wide = [Worker() for _ in range(min(wanted.jobs, len(left)))], queue.SimpleQueue(), threading.Semaphore(WIDE_AT_ONCE)
    for worker in workers:
        idle.put(worker)

    def attempt(row, seed):
        with wide if row.nodes > 1 else contextlib.nullcontext():
            worker = idle.get()
            try:
                return row, worker.attempt(row, seed, wanted.ci)
            finally:
                idle.put(worker)

    pool = concurrent.futures.ThreadPoolExecutor(wanted.jobs)
    try:
        for future in concurrent.futures.as_completed([pool.submit(attempt, row, seed) for row, seed in left]):
            take(wanted, runs, *future.result())
    except BaseException:
        for worker in workers:
            worker.interrupt()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
        for worker in workers:
            worker.end()
        for worker in workers:
            worker.close()


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
    for row in wanted.counts:
        if runs.result(row).runs >= wanted.counts[row]:
            print(runs.result(row).line(), flush=True)
    left = list(left_of(wanted, runs, seed))
    seconds = seconds_of(collections.Counter(row for row, _ in left), wanted)
    print(f"librdkafka {runs.facts['client']}, seed {seed}; {len(left)} runs, {wanted.jobs} at once, about {duration(seconds)}", flush=True)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)  # asked to end, it leaves no broker behind either
    try:
        run_all(wanted, runs, left)
    except Skip as reason:
        print(f"SKIP: {reason}")
        return 77
    except Wrong as reason:
        print(f"scripts/chaos: {reason}")
        return 1
    except KeyboardInterrupt:
        return 130
    failed = [row.name for row in wanted.counts if not runs.result(row).passed()]
    print(f"{len(wanted.counts)} rows, {len(failed)} failed{': ' + ' '.join(failed) if failed else ''}")
    return 1 if failed else 0


sys.exit(main())
