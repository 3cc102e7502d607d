#!/usr/bin/env python3
"""An A/B test in an exactly-once job on a real broker: its state, killed again and again, is the state of one that nobody kills."""
import json
import os
import random
import signal
import subprocess

from rig import LONG, MILLRACE, expect, main

TURNS, EACH, BLOCK = 60 if LONG else 12, 1000, 128


def visits(rig, topic, turn):
    rng = random.Random(turn)
    path = os.path.join(rig.folder, f"{topic}.jsonl")
    with open(path, "w", encoding="utf-8") as file:
        for i in range(turn * EACH, (turn + 1) * EACH):
            arm = rng.choice(("control", "blue", "red"))
            file.write(json.dumps({"id": i, "arm": arm, "value": round(rng.expovariate(0.1) + (arm == "red"), 3)}) + "\n")
    subprocess.run([MILLRACE, "replay", path, "--topic", topic, "-b", rig.broker.address], check=True, capture_output=True)


def test_job(rig, name):
    rig.topics(f"{name}.out:1", f"{name}.dead:1", f"{name}.ab:1:cleanup.policy=compact")
    saved = os.path.join(rig.folder, f"{name}.safetensors")
    fields = {"id": "id", **{key: f"ab.{key}" for key in ("difference.red", "p.red", "always_low.blue", "decision.red", "count.control", "version")}}
    return rig.job(name, delivery="exactly-once", commit_interval="10ms", source__topics=["visits.in"], backend="cpu",
                   source__properties={"bootstrap.servers": rig.broker.address, "fetch.message.max.bytes": 3000, "fetch.max.bytes": 4000,
                                       "message.max.bytes": 4000},  # sips, so that there are many commits
                   record={"format": "json", "features": ["arm", "value"]}, batch={"records_max": BLOCK, "by": "offsets"}, emit={"fields": fields},
                   models=[{"name": "ab", "type": "abtest", "learn": True, "arms": ["control", "blue", "red"], "window": 7, "peace_period": 3,
                            "save": saved, "topic": f"{name}.ab"}]), saved


def answers(rig, name):
    return subprocess.run([MILLRACE, "tap", f"{name}.out", "-b", rig.broker.address, "-e"], stdout=subprocess.PIPE, check=True).stdout


def case_kill(rig):
    """kill -9 in the middle: the same predictions and the same bits of state; rebuild makes them again; verify finds nothing."""
    rig.topics("visits.in:1")
    job, saved = test_job(rig, "killed")
    moments = ("batch.learned:3", "commit.before-offsets:2", "commit.after-offsets:2", "commit.after-end:2", "state.sent:3", "restore.read:1")
    kills = 0
    for turn in range(TURNS):
        visits(rig, "visits.in", turn)
        run = rig.run(job, "--until", "end", hooks={"MILLRACE_CRASH_AT": moments[turn % len(moments)]})
        was_killed = run.process.wait(90) != 0  # a run of few commits is over before the third of them
        run.expect_end(-signal.SIGKILL if was_killed else 0)
        kills += was_killed
    expect(kills >= TURNS // 2, f"{kills} kills in {TURNS} runs")
    rig.run(job, "--until", "end").expect_end(0)
    calm, calm_saved = test_job(rig, "calm")
    report = rig.run(calm, "--until", "end").expect_end(0).report
    told, calmly = answers(rig, "killed"), answers(rig, "calm")
    expect(told.count(b"\n") == TURNS * EACH, f"{told.count(bytes([10]))} answers to {TURNS * EACH} records")
    expect(told == calmly, "not the answers of a run without kills")
    with open(saved, "rb") as one, open(calm_saved, "rb") as other:
        expect(one.read() == other.read(), "another state than that of a run without kills")
    rows = subprocess.run([MILLRACE, "model", "list", job, "--json"], stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()
    last, then = json.loads(rows[-1]), os.path.join(rig.folder, "then.safetensors")
    subprocess.run([MILLRACE, "rebuild", job, "--commit", str(last["commit"]), "-o", then], check=True, capture_output=True)
    subprocess.run([MILLRACE, "inspect", then], check=True, capture_output=True)
    verified = subprocess.run([MILLRACE, "verify", job], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    expect(verified.returncode == 0, f"verify: {verified.stdout[-2000:]}")
    return f"{kills} kills in {TURNS} runs; {report['models'][0]['found'][1]}"


main([case_kill])
