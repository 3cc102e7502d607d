#!/usr/bin/env python3
"""Learning at least once, with the state in a file, on a real broker: kills, partitions that leave and come back, and folders that cannot be
written. Each record is learned from once."""
import os
import re
import signal
import subprocess

from rig import Skip, expect, main, wait_for

RECORDS = 5000


def learner(rig, name, **changes):
    changes.setdefault("state", {"file": os.path.join(rig.folder, f"{name}.state"), "interval": "60s"})
    return rig.job(name, backend="cpu", models=[{"name": "near", "type": "kmeans", "learn": True, "k": 4}],
                   emit={"fields": {"id": "id", "prediction": "near.class"}}, **changes)


def learned(run):
    return run.report["models"][0]["rows_learned"]


def gone_on_from(run):
    """The records that the models in the file had seen."""
    found = re.search(r'going on from .*: \d+ updates, (\d+) records', run.err())
    expect(found, f"it went on from no file:\n{run.err()[-1500:]}")
    return int(found.group(1))


def case_killed_early(rig):
    """kill -9 long before the file is due again: what is committed behind it is read once more, and learned from."""
    rig.trio("early", partitions=2)
    job = learner(rig, "early")
    rig.produce("early", RECORDS)
    first = rig.run(job)
    first.first_commit()
    first.wait_out(RECORDS)
    first.signal(signal.SIGKILL)
    first.end()
    again = rig.run(job, "--until", "end")
    again.expect_end(0)
    before = gone_on_from(again)
    expect(before + learned(again) == RECORDS, f"{before} learned when killed, {learned(again)} afterwards, of {RECORDS}")
    return f"{before} + {learned(again)} records"


def case_rebalance(rig):
    """Another member comes and goes: partitions leave and come back, and no record is learned from twice."""
    rig.trio("moves", partitions=2)
    job = learner(rig, "moves")
    rig.produce("moves", RECORDS)
    run = rig.run(job)
    run.wait_out(RECORDS)
    for turn in range(1, 4):
        try:
            other = subprocess.Popen(["kcat", "-b", rig.broker.address, "-q", "-G", "moves", "-X", "enable.auto.commit=false", "-X",
                                      "auto.offset.reset=latest", "moves.in"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        except FileNotFoundError:
            raise Skip("kcat is not installed") from None
        try:
            wait_for(lambda: len(members(rig, "moves")) == 2, "a second member with a partition")
        finally:
            other.terminate()
            other.wait()
        wait_for(lambda: len(members(rig, "moves")) == 1, "the job alone again")
        rig.produce("moves", 100, first=RECORDS + 100 * (turn - 1))
        run.wait_out(RECORDS + 100 * turn)
    run.signal(signal.SIGTERM)
    run.expect_end(0)
    count = RECORDS + 300
    expect(learned(run) == count, f"learned from {learned(run)} records, of {count}")
    return f"{count} records, 3 moves"


def members(rig, group):
    """Members that have partitions."""
    text = rig.kafka("ConsumerGroupCommand", "--describe", "--group", group, "--members")
    rows = [line.split() for line in text.splitlines() if line.startswith(group)]
    return [row for row in rows if row[-1] != "0"]


def case_no_folder(rig):
    """A file that cannot be written ends the start: nothing is read, nothing committed."""
    rig.trio("nowhere", partitions=1)
    rig.produce("nowhere", 100)
    folder = os.path.join(rig.folder, "not-yet")
    job = learner(rig, "nowhere", state={"file": os.path.join(folder, "x.state"), "interval": "60s"})
    run = rig.run(job, "--until", "end")
    run.expect_end(74)
    os.mkdir(folder)
    run = rig.run(job, "--until", "end")
    run.expect_end(0)
    expect(learned(run) == 100, f"learned from {learned(run)} of 100")


if __name__ == "__main__":
    # As Kafka is set up by default: a job runs for a while before it is given partitions.
    main([case_killed_early, case_rebalance, case_no_folder], ("group.initial.rebalance.delay.ms=3000",))
