#!/usr/bin/env python3
"""The zmq sink of an exactly-once job: a follower feeds it what is committed, and the job goes on without anybody who listens."""
import json
import os
import signal
import subprocess

from rig import BUILD, expect, main, wait_for

SUBSCRIBER = os.path.join(BUILD, "tests", "subscriber")
RECORDS = 2000


def listen(address, out):
    """A subscriber that writes to a file, ready to be connected to."""
    with open(out, "w", encoding="utf-8") as file:
        process = subprocess.Popen([SUBSCRIBER, "bind", address, ""], stdin=subprocess.PIPE, stdout=file, stderr=subprocess.PIPE, text=True)
    expect(process.stderr.readline() == "ready\n", f"no subscriber at {address}")
    return process


def ids(out):
    with open(out, encoding="utf-8") as file:
        return [json.loads(line)["id"] for line in file if line.endswith("}\n")]


def case_follow(rig):
    """Nobody listens at first: the run goes on. Then what is committed arrives, in the order of each partition."""
    address, out = f"ipc://{rig.folder}/zmq", os.path.join(rig.folder, "zmq.out")
    rig.trio("zmq", partitions=1)
    job = rig.job("zmq", delivery="exactly-once", commit_interval="50ms",
                  sinks=[{"type": "kafka", "topic": "zmq.out"}, {"type": "zmq", "connect": address}])
    rig.produce("zmq", 100)
    run = rig.run(job)
    run.wait_out(100)
    subscriber, sent = listen(address, out), 100
    while not ids(out):  # a publisher learns late of who listens
        rig.produce("zmq", 1, first=sent)
        sent += 1
        expect(sent < 1000, "nothing arrived")
    rig.produce("zmq", RECORDS, first=sent)
    wait_for(lambda: ids(out)[-1:] == [sent + RECORDS - 1], "the last record")
    run.signal(signal.SIGTERM)
    run.expect_end(0)
    subscriber.stdin.close()
    subscriber.wait(10)
    got = ids(out)
    expect(got == list(range(got[0], sent + RECORDS)), f"{len(got)} records from {got[0]} to {got[-1]}, and not in order")
    return f"{len(got)} records, none of them before it listened"


def case_weights(rig):
    """What a follower cannot know is refused, with a way out."""
    rig.topics("weights.in:1", "weights.out:1", "weights.dead:1", "weights.m:1:cleanup.policy=compact")
    job = rig.job("weights", delivery="exactly-once", record__label="id", models=[{"name": "m", "type": "linear", "learn": True, "topic": "weights.m"}],
                  emit={"fields": {"y": "m.score"}},
                  sinks=[{"type": "kafka", "topic": "weights.out"}, {"type": "zmq", "bind": f"ipc://{rig.folder}/w", "format": "weights"}])
    run = rig.run(job, "--until", "end")
    run.expect_end(78)
    expect('use delivery "at-least-once"' in run.err(), run.err()[-1000:])


main([case_follow, case_weights])
