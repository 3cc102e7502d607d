#!/usr/bin/env python3
"""millrace verify, repair, rebuild and model, of a job file with a trainer and scorers."""
import json
import os
import signal

from rig import expect, main
from test_verify import RECORDS, finds, learning, millrace, shift, verify


def case_scorers(rig):
    """A trainer and scorers: both are proved, each output by the version that it names; what is missing, doubled or changed is found."""
    job = learning(rig, "duo", scorers=2, state={"bytes_per_s": "8KiB"})
    run = rig.run(job)
    sender = rig.producing("duo", RECORDS, RECORDS / 2, "--bad-every", 50)
    expect(sender.wait(60) == 0, "the sender failed")
    run.wait_out(RECORDS)
    verify(job, 0)  # at work
    run.signal(signal.SIGTERM)
    run.expect_end(0)
    rig.run(job, "--until", "end").expect_end(0)
    report = verify(job, 0)
    expect(report["in"] == RECORDS and report["dead"] == RECORDS // 50 and report["commits"], f"{report}")
    fact = next(line for line in report["proved"] if "bit for bit, what the version that they name makes" in line)
    expect(int(fact.split()[0]) > 0, fact)
    told = []
    for fault, kind in (("drop", "missing"), ("twice", "duplicated"), ("swap", "reordered"), ("change", "different")):
        topic = rig.doctored("duo.out", f"duo.{fault}", fault, 0, RECORDS * 9 // 10)
        changed = learning(rig, "duo", new=False, scorers=2, sinks=[{"type": "kafka", "topic": topic}], state={"bytes_per_s": "8KiB"})
        told.append(finds(changed, kind)["text"][:60])
    shift(rig, "duo.trainer", "duo.in", -7)
    finds(job, "offsets_behind", "duo.in", partition=0)
    rig.run(job, "--until", "end").expect_end(70)
    millrace(0, "repair", job, "--to-state", "--yes")
    verify(job, 0)
    out = os.path.join(rig.folder, "duo.safetensors")
    rows = [json.loads(line) for line in millrace(0, "model", "list", job, "--json")[0].splitlines()]
    millrace(0, "rebuild", job, "--commit", rows[-1]["commit"], "-o", out)
    millrace(0, "model", "rollback", job, "--commit", next(row["commit"] for row in rows if row["has_snapshot"]))
    rig.produce("duo", 2000, first=RECORDS)
    rig.run(job, "--until", "end").expect_end(0)
    report = verify(job, 0)
    return f"{fact}; {told}; {report['not_proved']}"


def case_twice(rig):
    """A version that is made twice, before and after a roll-back, with other weights: outputs of both are proved, and of the first as
    long as its topic holds it; one that neither makes is found."""
    form = {"scorers": 1, "batch": {"records_max": 64, "by": "offsets"}, "models": [{"name": "near", "type": "kmeans", "learn": True, "k": 3, "topic": "two.near"}],
            "state": {"bytes_per_s": "1MiB"}}
    job = learning(rig, "two", **form)
    sent = 0

    def go(count):
        nonlocal sent
        rig.produce("two", count, first=sent)
        sent += count
        rig.run(job, "--until", "end").expect_end(0)

    def versions():
        return [json.loads(line) for line in millrace(0, "model", "list", job, "--json")[0].splitlines()]

    def not_proved():
        report = verify(job, 0)
        return sum(int(note.split()[3]) for note in report["not_proved"] if "made twice" in note)

    def changed(at):
        topic = rig.doctored("two.out", f"two.{sent}.{at}", "change", 0, at)
        return learning(rig, "two", new=False, sinks=[{"type": "kafka", "topic": topic}], **form)

    go(30 * 64)
    go(64)
    first = sent
    go(40)  # by the first version 31
    back = next(row for row in versions() if row["version"] == 30)
    millrace(0, "model", "rollback", job, "--commit", back["commit"])
    go(30)  # 70 wait: version 31 again
    expect(not_proved() == 0, "both are there, and one is not proved")
    finds(changed(first + 20), "different")
    second = sent
    go(20)
    expect([row["version"] for row in versions()][-3:] == [30, 31, 31], f"{versions()}")
    expect(not_proved() == 0, "both are there, and one is not proved")
    finds(changed(second + 10), "different")
    told = []
    for _ in range(4):  # until the topic holds neither the first one nor the roll-back
        go(64)
        told.append(not_proved())
    expect(told[0] == 40 and set(told) <= {0, 40}, f"{told}")
    return f"{told} of the first are not proved"


if __name__ == "__main__":
    main([case_scorers, case_twice])
