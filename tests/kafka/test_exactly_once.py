#!/usr/bin/env python3
"""delivery "exactly-once" on a real broker: killed, stopped, paused: each record is answered once, in its order."""
import signal
import time

from rig import LONG, expect, main
from test_crash import group_lag, more_to_do, random_moment

RECORDS = 200_000
KILLS = 1000 if LONG else 20


def exact(rig, name, **changes):
    return rig.job(name, delivery="exactly-once", commit_interval="100ms", **changes)


def case_plain(rig):
    """From start to end: all answered once."""
    rig.trio("plain")
    rig.produce("plain", RECORDS, "--bad-every", 50)
    run = rig.run(exact(rig, "plain"), "--until", "end")
    run.expect_end(0)
    rig.check("plain", "--count", RECORDS, "--ordered", "--once", group="plain")
    return f"{run.total.get('commits')} commits"


def case_kill(rig):
    """kill -9 and start again: none missing, none repeated."""
    rig.trio("kill")
    job = exact(rig, "kill")
    sender = rig.producing("kill", RECORDS, RECORDS / (KILLS * 0.9), "--bad-every", 50)
    count = RECORDS
    for index in range(KILLS):
        count = more_to_do(rig, "kill", sender, count)
        run = rig.run(job)
        random_moment(rig, run, index)
        expect(run.process.poll() is None, f"it ended by itself: {run.err()[-2000:]}")
        run.signal(signal.SIGKILL)
        run.end()
        rig.check("kill", "--partial", "--ordered", "--once")  # offsets of an open transaction are nobody's yet
    expect(sender.wait(120) == 0, "the sender failed")
    rig.run(job, "--until", "end").expect_end(0)
    rig.check("kill", "--count", count, "--ordered", "--once", group="kill")
    lags = group_lag(rig, "kill")
    return f"{KILLS} kills, {count} records; lags {lags}"


if __name__ == "__main__":
    main([case_plain, case_kill])
