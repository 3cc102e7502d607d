#!/usr/bin/env python3
"""delivery "exactly-once" on a real broker: killed, stopped, paused: each record is answered once, in its order."""
import json
import os
import signal
import subprocess
import threading

from kills import RECORDS, group_lag, interrupted, kill
from rig import LONG, MILLRACE, expect, main, wait_for

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
    count = interrupted(rig, "kill", exact(rig, "kill"), KILLS, "--bad-every", 50,  # offsets of an open transaction are nobody's yet
                        each=lambda: rig.check("kill", "--partial", "--ordered", "--once"))
    rig.check("kill", "--count", count, "--ordered", "--once", group="kill")
    lags = group_lag(rig, "kill")
    return f"{KILLS} kills, {count} records; lags {lags}"


def answers(rig, topic):
    """All committed values of a topic of one partition, in their order."""
    done = subprocess.run([MILLRACE, "tap", topic, "-b", rig.broker.address, "-e"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=True)
    return done.stdout


def learning(rig, name, **changes):
    """A job that learns from NAME.in in blocks, and its saved model."""
    saved = os.path.join(rig.folder, f"{name}.safetensors")
    rig.topics(f"{name}.near:1:cleanup.policy=compact")
    changes.setdefault("models", [{"name": "near", "type": "kmeans", "learn": True, "k": 6, "save": saved, "topic": f"{name}.near"}])
    return exact(rig, name, batch={"records_max": 256, "by": "offsets"}, backend="cpu",
                 emit={"fields": {"id": "id", "prediction": "near.class", "far": "near.score"}}, **changes), saved


def case_learn(rig):
    """kill -9 of a job that learns: the centres are, bit for bit, those of a run that nobody kills, and so are all predictions."""
    rig.topics("learn.in:1", "learn.out:1", "learn.dead:1", "calm.out:1", "calm.dead:1")
    job, saved = learning(rig, "learn")
    kills, took = 1000 if LONG else 50, []

    def moment(rig, run, index):
        """Every third time inside the start, else after the first commit."""
        if index % 3:
            took.append(run.first_commit())
        threading.Event().wait(rig.random.uniform(0, 0.5 if index % 3 else 0.4))
    count = interrupted(rig, "learn", job, kills, "--bad-every", 50, end=lambda *words: kill(*words, moment=moment))
    calm, calm_saved = learning(rig, "calm", source__topics=["learn.in"], sinks=[{"type": "kafka", "topic": "calm.out"}])
    rig.run(calm, "--until", "end").expect_end(0)
    with open(saved, "rb") as one, open(calm_saved, "rb") as other:
        expect(one.read() == other.read(), "other centres than those of a run without kills")
    told, calmly = answers(rig, "learn.out"), answers(rig, "calm.out")
    expect(told == calmly, f"{len(told)} and {len(calmly)} bytes of predictions, and not the same")
    took.sort()
    return (f"{kills} kills, {count} records, {len(told)} bytes of predictions; first commit after start: median {took[len(took) // 2]:.2f} s, "
            f"99 of 100 within {took[int(len(took) * 0.99)]:.2f} s")


def case_file(rig):
    """Without transactions, state in a file: kill -9 repeats predictions, but no record is learned twice."""
    rig.topics("file.in:1", "file.out:1", "file.dead:1", "still.out:1", "still.dead:1")
    told = {}
    for name, kills in (("file", KILLS), ("still", 0)):
        saved = os.path.join(rig.folder, f"{name}.safetensors")
        job = rig.job(name, source__topics=["file.in"], batch={"records_max": 256, "by": "offsets"}, backend="cpu",
                      models=[{"name": "near", "type": "kmeans", "learn": True, "k": 6, "save": saved}],
                      state={"file": os.path.join(rig.folder, f"{name}.state"), "interval": "50ms"},
                      emit={"fields": {"id": "id", "prediction": "near.class", "far": "near.score"}},
                      sinks=[{"type": "kafka", "topic": f"{name}.out"}])
        if kills:
            interrupted(rig, "file", job, kills, "--bad-every", 50)
        else:
            rig.run(job, "--until", "end").expect_end(0)
        with open(saved, "rb") as file:
            told[name] = file.read()
    expect(told["file"] == told["still"], "other centres than those of a run without kills")
    found = set(answers(rig, "file.out").splitlines()) ^ set(answers(rig, "still.out").splitlines())
    expect(not found, f"{len(found)} predictions that only one of them made, such as {list(found)[:2]}")
    return f"{KILLS} kills"


def version(run):
    """Of the first model, in its last progress."""
    return run.models[0]["version"] if run.models else -1


def case_follow(rig):
    """A trainer, and a scorer with two lanes that follows its topic: each output carries the version that made it, and no record is lost or
    repeated while versions change under way."""
    rig.topics("fol.in:4", "fol.out:4", "fol.dead:1", "fol.near:1:cleanup.policy=compact", "fol-train.in:1", "fol-train.out:1", "fol-train.dead:1")
    near = {"name": "near", "type": "kmeans", "topic": "fol.near"}
    trainer = exact(rig, "fol-train", batch={"records_max": 256, "by": "offsets"}, backend="cpu", models=[dict(near, learn=True, k=6)],
                    emit={"fields": {"id": "id", "prediction": "near.class"}})
    scorer = exact(rig, "fol", lanes=2, models=[near], emit={"fields": {"id": "id", "prediction": "near.class", "version": "near.version"}})
    train, score, rounds = rig.run(trainer), None, 8
    sender = rig.producing("fol", 5000 * rounds, 4000)
    for turn in range(rounds):
        rig.produce("fol-train", 2560, first=2560 * turn)
        train.wait_out(2560 * (turn + 1))
        score = score or rig.run(scorer)
        wait_for(lambda: version(score) >= 10 * (turn + 1), f"version {10 * (turn + 1)} at the scorer")
    expect(sender.wait(60) == 0, "the sender failed")
    score.wait_out(5000 * rounds)
    for run in (score, train):
        run.signal(signal.SIGTERM)
        run.expect_end(0)
    told = [json.loads(line) for line in answers(rig, "fol.out").splitlines()]
    expect(sorted(one["id"] for one in told) == list(range(5000 * rounds)), f"{len(told)} outputs, not each record once")
    versions, taken = {one["version"] for one in told}, score.report["models"][0]["versions_taken"]
    expect(taken >= rounds - 1 and versions and min(versions) >= 10, f"versions {sorted(versions)} in the outputs, {taken} taken")
    return f"{len(versions)} of {taken + 1} versions in {len(told)} outputs"


def case_most(rig):
    """At most once: kill -9 loses what was under way, and repeats nothing."""
    rig.topics("most.in:4", "most.out:4", "most.dead:1")
    job = rig.job("most", delivery="at-most-once")
    count = interrupted(rig, "most", job, KILLS)
    told = [json.loads(line)["id"] for line in answers(rig, "most.out").splitlines()]
    expect(len(set(told)) == len(told), f"{len(told) - len(set(told))} outputs repeated")
    lags = group_lag(rig, "most")
    expect(set(lags.values()) == {"0"}, f"not all is committed: {lags}")
    return f"{KILLS} kills, {count - len(told)} of {count} records lost, none repeated"


if __name__ == "__main__":
    main([case_plain, case_kill, case_learn, case_file, case_follow, case_most])
