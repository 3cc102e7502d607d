#!/usr/bin/env python3
"""Another "batch" than the one with which models have learned, on a real broker: nothing that waits for its block is left out, and what cannot
be learned again as it was is said with the remedy."""
import json
import os
import signal
import subprocess

from rig import MILLRACE, expect, main

RECORDS = 3000
BEFORE = {"records_max": 4096, "by": "offsets"}


def job_of(rig, name, batch, **changes):
    return rig.job(name, backend="cpu", batch=batch, emit={"fields": {"id": "id", "prediction": "near.class"}}, **changes)


def by_topic(rig, name, batch, **changes):
    changes.setdefault("models", [{"name": "near", "type": "kmeans", "learn": True, "k": 4, "topic": f"{name}.near"}])
    return job_of(rig, name, batch, delivery="exactly-once", commit_interval="100ms", **changes)


def by_file(rig, name, batch):
    return job_of(rig, name, batch, models=[{"name": "near", "type": "kmeans", "learn": True, "k": 4}],
                  state={"file": os.path.join(rig.folder, f"{name}.state")})


def learned(run):
    run.expect_end(0)
    return run.report["models"][0]["rows_learned"]


def verify(job):
    done = subprocess.run([MILLRACE, "verify", job], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    expect(done.returncode == 0, f"verify: {done.returncode}\n{done.stdout[-2000:]}")


def changed(rig, name, make, batch):
    rig.topics(f"{name}.in:1", f"{name}.out:1", f"{name}.dead:1", f"{name}.near:1:cleanup.policy=compact")
    rig.produce(name, RECORDS)
    first = learned(rig.run(make(rig, name, BEFORE), "--until", "end"))
    expect(first == 0, f"{first} records of an unfinished block were learned from")
    rig.produce(name, 50, first=RECORDS)
    job = make(rig, name, batch)
    run = rig.run(job, "--until", "end")
    count, left = learned(run), (RECORDS + 50) % batch["records_max"] if batch["by"] == "offsets" else 0
    expect(count == RECORDS + 50 - left, f"{name}: learned from {count} records, of {RECORDS + 50 - left}")
    expect("batch is not what it was" in run.err(), f"{name}: nothing was said of it")
    if make is by_topic:
        verify(job)


def case_waiting(rig):
    """What waited for a block of 4,096 records is learned from, where blocks are smaller now, or none are cut."""
    changed(rig, "smaller", by_topic, {"records_max": 16, "by": "offsets"})
    changed(rig, "arrival", by_topic, {"records_max": 512, "by": "arrival"})
    changed(rig, "file", by_file, {"records_max": 16, "by": "offsets"})


def messages(rig, name, framing, first):
    """300 messages of seven records each, every eleventh record without its feature: a dead letter."""
    rows = [json.dumps({"id": row} | ({"Temperature": row % 97} if row % 11 else {})) for row in range(first, first + 2100)]
    if framing == "array":
        rows = [f"[{', '.join(rows[at : at + 7])}]" for at in range(0, len(rows), 7)]
    path = os.path.join(rig.folder, f"{name}.messages")
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n".join(rows) + "\n")
    flags = ["--lines", "7"] if framing == "lines" else []
    subprocess.run([MILLRACE, "replay", path, "--topic", f"{name}.in", "-b", rig.broker.address, *flags], check=True, capture_output=True)


def case_messages(rig):
    """The same with several records a message and dead letters among what waits: blocks end within messages, and what was learned from at once
    is more than a batch is now; then more partitions."""
    for framing in ("lines", "array"):
        rig.topics(f"{framing}.in:1", f"{framing}.out:1", f"{framing}.dead:1", f"{framing}.near:1:cleanup.policy=compact")
        record = {"format": "json", "framing": framing, "features": ["Temperature"]}
        sizes = [(1000, "offsets"), (64, "offsets"), (300, "arrival"), (512, "offsets"), (100, "arrival")]
        for turn, (rows, by) in enumerate(sizes if framing == "lines" else sizes[:3]):
            if turn == 4:
                rig.grow(f"{framing}.in", 3)
                rig.grow(f"{framing}.out", 3)
            messages(rig, framing, framing, turn * 2100)
            job = by_topic(rig, framing, {"records_max": rows, "by": by}, record=record, source__membership="dynamic")
            run = rig.run(job, "--until", "end")
            count = learned(run)
            expect(count >= 900 and ("batch is not what it was" in run.err()) == (turn in (1, 2, 4)), f"{framing} {turn}: {count}\n{run.err()[-1000:]}")
            verify(job)


def case_first(rig):
    """A model that has learned as records came, and learns in blocks now: its first answers were given by what it had begun with."""
    rig.topics("first.in:1", "first.out:1", "first.dead:1", "first.near:1:cleanup.policy=compact")
    for turn, batch in enumerate([{"records_max": 300, "by": "arrival"}, {"records_max": 700, "by": "offsets"}]):
        rig.produce("first", 1000, first=turn * 1000)
        job = by_topic(rig, "first", batch)
        rig.run(job, "--until", "end").expect_end(0)
        verify(job)


def case_behind(rig):
    """Updates behind a snapshot are larger than batches are now: told, with the number that is needed; nothing is lost."""
    rig.topics("behind.in:1", "behind.out:1", "behind.dead:1", "behind.near:1:cleanup.policy=compact")
    slow, models = {"bytes_per_s": "1KiB"}, [{"name": "near", "type": "kmeans", "learn": True, "k": 500, "topic": "behind.near"}]
    job = by_topic(rig, "behind", {"records_max": 1024, "by": "offsets"}, state=slow, models=models)
    sender = rig.producing("behind", 16_384, 8192)
    run = rig.run(job)
    run.wait_out(16_384)  # many commits, and one snapshot, which is larger than what may be written in that time
    run.signal(signal.SIGTERM)
    run.expect_end(0)
    expect(sender.wait(60) == 0, "the sender failed")
    rig.produce("behind", 10, first=16_384)
    run = rig.run(by_topic(rig, "behind", {"records_max": 64, "by": "offsets"}, state=slow, models=models), "--until", "end")
    run.expect_end(78)
    expect("set it to 1024 at least" in run.err(), run.err()[-1500:])
    rig.run(job, "--until", "end").expect_end(0)
    verify(job)


if __name__ == "__main__":
    main([case_waiting, case_messages, case_first, case_behind])
