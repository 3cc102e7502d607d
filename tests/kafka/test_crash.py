#!/usr/bin/env python3
"""The program is killed and stopped at random moments while records flow: nothing is lost, and what is repeated is what was not committed."""
import signal
import threading
import time

from rig import LONG, expect, main

RECORDS = 200_000
KILLS = 100 if LONG else 20


def random_moment(rig, run, index):
    """Every third time inside the start, else while records come out."""
    if index % 3 == 0:
        threading.Event().wait(rig.random.uniform(0, 0.4))
        return
    run.wait_out(1)
    threading.Event().wait(rig.random.uniform(0, 0.5))


def more_to_do(rig, name, sender, count):
    """Each run needs records: on a slow machine the sender may be done early, and everything committed. How many there are now."""
    if sender.poll() is None:
        return count
    rig.produce(name, 1000, first=count)
    return count + 1000


def group_lag(rig, group):
    """Partition -> lag, as Kafka's own tool sees it."""
    lags = {}
    for line in rig.kafka("ConsumerGroupCommand", "--describe", "--group", group).splitlines():
        words = line.split()
        if len(words) > 5 and words[0] == group:
            lags[int(words[2])] = words[5]
    return lags


def case_kill(rig):
    """kill -9 and start again: none missing; repeats are at most what had been delivered and not committed."""
    rig.trio("kill")
    job = rig.job("kill")
    sender = rig.producing("kill", RECORDS, RECORDS / (KILLS * 0.9), "--bad-every", 50)
    beyond, count = 0, RECORDS
    for index in range(KILLS):
        count = more_to_do(rig, "kill", sender, count)
        run = rig.run(job)
        random_moment(rig, run, index)
        expect(run.process.poll() is None, f"it ended by itself: {run.err()[-2000:]}")
        run.signal(signal.SIGKILL)
        run.end()
        beyond += rig.check("kill", "--partial", "--ordered", group="kill")["beyond"]
    expect(sender.wait(120) == 0, "the sender failed")
    rig.run(job, "--until", "end").expect_end(0)
    found = rig.check("kill", "--count", count, "--ordered", group="kill")
    expect(found["repeats"] <= beyond, f"{found['repeats']} repeats, but only {beyond} records were delivered and not committed at the kills")
    lags = group_lag(rig, "kill")
    expect(len(lags) == 4 and set(lags.values()) == {"0"}, f"ConsumerGroupCommand shows the lags {lags}")
    return f"{KILLS} kills, {count} records, none missing, {found['repeats']} repeated (bound {beyond})"


def case_terminate(rig):
    """SIGTERM and start again: each ends with 0 within 10 s, and no record is repeated at all."""
    rig.trio("term")
    job = rig.job("term")
    sender = rig.producing("term", RECORDS, RECORDS / (KILLS * 0.9), "--bad-every", 50)
    slowest, count = 0, RECORDS
    for index in range(KILLS):
        count = more_to_do(rig, "term", sender, count)
        run = rig.run(job)
        if index % 3 == 0:
            run.wait_log("backend")  # before that, the program does not take signals yet
        random_moment(rig, run, index)
        started = time.monotonic()
        run.signal(signal.SIGTERM)
        run.expect_end(0, 10)
        slowest = max(slowest, time.monotonic() - started)
    expect(sender.wait(120) == 0, "the sender failed")
    rig.run(job, "--until", "end").expect_end(0)
    rig.check("term", "--count", count, "--ordered", "--once", group="term")
    return f"{KILLS} stops, no record repeated, the slowest took {slowest:.2f} s"


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
