#!/usr/bin/env python3
"""The program is killed and stopped at random moments while records flow: nothing is lost, and what is repeated is what was not committed."""
import signal
import threading
import time

from kills import group_lag, interrupted, random_moment
from rig import LONG, expect, main

KILLS = 100 if LONG else 20


def case_kill(rig):
    """kill -9 and start again: none missing; repeats are at most what had been delivered and not committed."""
    rig.trio("kill")
    beyond = []
    count = interrupted(rig, "kill", rig.job("kill"), KILLS, "--bad-every", 50,
                        each=lambda: beyond.append(rig.check("kill", "--partial", "--ordered", group="kill")["beyond"]))
    found = rig.check("kill", "--count", count, "--ordered", group="kill")
    expect(found["repeats"] <= sum(beyond), f"{found['repeats']} repeats, but only {sum(beyond)} records were delivered and not committed at the kills")
    lags = group_lag(rig, "kill")
    expect(len(lags) == 4 and set(lags.values()) == {"0"}, f"ConsumerGroupCommand shows the lags {lags}")
    return f"{KILLS} kills, {count} records, none missing, {found['repeats']} repeated (bound {sum(beyond)})"


def case_terminate(rig):
    """SIGTERM and start again: each ends with 0 within 10 s, and no record is repeated at all."""
    rig.trio("term")
    took = []

    def stop(rig, run, index):
        if index % 3 == 0:
            run.wait_log("backend")  # before that, the program does not take signals yet
        random_moment(rig, run, index)
        started = time.monotonic()
        run.signal(signal.SIGTERM)
        run.expect_end(0, 10)
        took.append(time.monotonic() - started)
    count = interrupted(rig, "term", rig.job("term"), KILLS, "--bad-every", 50, end=stop)
    rig.check("term", "--count", count, "--ordered", "--once", group="term")
    return f"{KILLS} stops, no record repeated, the slowest took {max(took):.2f} s"


def twice(run, pause_s=0.02):
    """Two Ctrl-C; the exit code."""
    run.signal(signal.SIGINT)
    threading.Event().wait(pause_s)
    run.signal(signal.SIGINT)
    return run.end(10)


def case_interrupt(rig):
    """Ctrl-C twice in every phase: a prompt end with 0 (drained) or 75 (not), and nothing acknowledged is lost."""
    rig.trio("int")
    job = rig.job("int")
    codes = []

    def phase(name, run, expected):
        started = time.monotonic()
        code = twice(run)
        codes.append(f"{name} {code} in {time.monotonic() - started:.2f} s")
        expect(code in expected, f"{name}: exit code {code}, not one of {expected}:\n{run.err()[-2000:]}")

    run = rig.run(job)
    run.wait_log("backend")
    phase("starting", run, (0, 75))
    sender = rig.producing("int", 60_000, 20_000)
    run = rig.run(job)
    run.wait_out(1)
    phase("running", run, (0, 75))
    expect(sender.wait(60) == 0, "the sender failed")
    rig.produce("int", 400_000, first=60_000)
    run = rig.run(job)
    run.wait_out(1)
    phase("backlog", run, (0, 75))
    rig.run(job, "--until", "end").expect_end(0)
    rig.check("int", "--count", 460_000, "--ordered", group="int")
    return "; ".join(codes)


if __name__ == "__main__":
    main([case_kill, case_terminate, case_interrupt])
