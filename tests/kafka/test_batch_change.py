#!/usr/bin/env python3
"""Another "batch" than the one with which models have learned, on a real broker: nothing that waits for its block is left out, and what cannot
be learned again as it was is said with the remedy."""
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


def changed(rig, name, make, batch, is_verified):
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
    if is_verified:
        verify(job)


def case_waiting(rig):
    """What waited for a block of 4,096 records is learned from, where blocks are smaller now, or none are cut."""
    changed(rig, "smaller", by_topic, {"records_max": 16, "by": "offsets"}, False)
    changed(rig, "arrival", by_topic, {"records_max": 512, "by": "arrival"}, False)
    changed(rig, "file", by_file, {"records_max": 16, "by": "offsets"}, False)


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
    main([case_waiting, case_behind])
