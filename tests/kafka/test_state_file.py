#!/usr/bin/env python3
"""Learning at least once, with the state in a file, on a real broker: kills, partitions that leave and come back, and folders that cannot be
written. Each record is learned from once."""
import os
import re
import signal

from rig import LONG, Skip, expect, main, wait_for

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
        with rig.other_member("moves", "moves.in", "-X", "auto.offset.reset=latest"):
            wait_for(lambda: len(members(rig, "moves")) == 2, "a second member with a partition")
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


def case_idle(rig):
    """With nothing new the file is left alone."""
    rig.trio("idle", partitions=1)
    job = learner(rig, "idle", state={"file": os.path.join(rig.folder, "idle.state"), "interval": "50ms"})
    rig.produce("idle", 100)
    run = rig.run(job)
    run.wait_out(100)

    def facts():
        found = os.stat(os.path.join(rig.folder, "idle.state"))
        return found.st_ino, found.st_mtime_ns

    def has_rested():
        before = facts(), len(run.lines)
        wait_for(lambda: len(run.lines) >= before[1] + 20, "2 s of progress")
        return facts() == before[0]
    wait_for(has_rested, "an interval in which the file is not written")
    before = facts()
    rig.produce("idle", 100, first=100)
    wait_for(lambda: facts() != before, "the file to be written again")


def case_frozen(rig):
    """Brokers that are away for longer than a write waits for: the job goes on."""
    if not LONG:
        raise Skip("takes 50 s: MILLRACE_LONG=1 runs it")
    rig.trio("ice", partitions=1)
    job = learner(rig, "ice", state={"file": os.path.join(rig.folder, "ice.state"), "interval": "1s"})
    sender = rig.producing("ice", 100_000, 1000)
    run = rig.run(job)
    run.wait_out(1000)
    with open(os.path.join(rig.broker.folder, "pid"), encoding="ascii") as file:
        broker = int(file.read())
    os.kill(broker, signal.SIGSTOP)
    try:
        run.wait_log("cannot be kept yet", 60)
    finally:
        os.kill(broker, signal.SIGCONT)
    run.wait_out(run.records_out() + 1000)
    rig.stop_producing(sender)
    run.signal(signal.SIGTERM)
    run.expect_end(0)


if __name__ == "__main__":
    # As Kafka is set up by default: a job runs for a while before it is given partitions.
    main([case_killed_early, case_rebalance, case_no_folder, case_idle, case_frozen], ("group.initial.rebalance.delay.ms=3000",))
