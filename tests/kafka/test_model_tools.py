#!/usr/bin/env python3
"""The tools for models in topics: what is asked for wrongly changes nothing, and what is broken has a way back that works."""
import json
import os
import re
import subprocess

from rig import MILLRACE, expect, main, wait_for
from test_verify import finds, learning, millrace, shift, verify

RECORDS = 8000


def rows_of(job, *flags):
    """What `model list --json` says: commits, and faults."""
    rows = [json.loads(line) for line in millrace(0, "model", "list", job, "--json", *flags)[0].splitlines()]
    return [row for row in rows if "commit" in row], [row["fault"] for row in rows if "fault" in row]


def learned(rig, name, turns=4, **changes):
    """A job that has run to the end so many times; each run makes a snapshot."""
    job = learning(rig, name, **changes)
    for turn in range(turns):
        rig.produce(name, RECORDS // turns, first=turn * (RECORDS // turns))
        rig.run(job, "--until", "end").expect_end(0)
    return job


def changed(rig, job, name, change):
    """The job with something else in it."""
    with open(job, encoding="utf-8") as file:
        text = json.load(file)
    change(text)
    path = os.path.join(rig.folder, f"{name}.json")
    with open(path, "w", encoding="utf-8") as file:
        json.dump(text, file)
    return path


def case_follower(rig):
    """repair of a job that follows what another one learns: its offsets are its own."""
    learned(rig, "teach")
    rig.topics("heed.in:1", "heed.out:1", "heed.dead:1")
    rig.produce("heed", 1000)
    job = learning(rig, "heed", new=False, models=[{"name": "near", "type": "kmeans", "k": 200, "topic": "teach.near"}], batch={"records_max": 256})
    rig.run(job, "--until", "end").expect_end(0)
    shift(rig, "heed", "heed.in", -100)
    _, talk = millrace(64, "repair", job, "--to-state", "--yes")
    expect("its own" in talk, talk)
    run = rig.run(job, "--until", "end").expect_end(0)
    expect(run.total["records_out"] == 100, f"{run.total}")


def case_typo(rig):
    """rollback to what is not there: the trainer that runs goes on. To what is there: it ends."""
    rig.topics("typo.in:1", "typo.out:1", "typo.dead:1", "typo.near:1:cleanup.policy=compact")
    job = learning(rig, "typo", new=False)
    sender = rig.producing("typo", 200_000, 10_000)
    run = rig.run(job)
    run.wait_commits(1)
    _, talk = millrace(66, "model", "rollback", job, "--version", 99999999)
    expect("no version 99999999" in talk, talk)
    millrace(66, "model", "rollback", job, "--commit", 99999999)
    millrace(64, "model", "rollback", job, "--model", "far", "--commit", 1)
    run.wait_out(run.records_out() + 4000)
    commits, _ = rows_of(job)
    millrace(0, "model", "rollback", job, "--commit", commits[-1]["commit"])
    run.expect_end(73)
    expect("`millrace model rollback` takes that place, too" in run.err(), run.err()[-1000:])
    rig.stop_producing(sender)
    rig.run(job, "--until", "end").expect_end(0)
    verify(job, 0)
    return f"back to commit {commits[-1]['commit']}"


def case_damaged(rig):
    """A state topic that is broken in each way: the run names the way back; list, rebuild and rollback go it; the run goes on."""
    facts = []
    for fault in ("tombstone", "hello", "again", "foreign", "no-chunk"):
        name = f"hurt-{fault}"
        learned(rig, name)
        topic = rig.doctored(f"{name}.near", f"{name}.two", fault)
        job = learning(rig, name, topic, new=False)
        run = rig.run(job, "--until", "end").expect_end(70)
        expect("millrace model rollback" in run.err() and topic in run.err(), f"{fault}: no way back: {run.err()}")
        commits, faults = rows_of(job)
        expect(len(faults) == 1 and len(commits) >= 2, f"{fault}: {commits} {faults}")
        whole = [row for row in commits if row["kind"] != "broken"]
        text, _ = millrace(0, "model", "list", job)
        expect(len(re.findall("broken", text)) == len(commits) - len(whole), text)
        millrace(0, "model", "show", job, "--commit", commits[-1]["commit"])
        millrace(0, "rebuild", job, "--commit", whole[-1]["commit"], "-o", os.path.join(rig.folder, "then.safetensors"))
        millrace(70, "repair", job, "--to-state", "--yes")
        told, _ = millrace(0, "model", "rollback", job, "--commit", whole[-1]["commit"])
        if fault == "foreign":  # the end of the state is lost: the group is ahead of it
            millrace(0, "repair", job, "--to-state", "--yes")
        rig.produce(name, 1000, first=RECORDS)
        rig.run(job, "--until", "end").expect_end(0)
        commits, faults = rows_of(job)
        expect(not faults and commits[-1]["in"] == RECORDS + 1000, f"{fault}: {commits[-1]} {faults}")
        if fault != "foreign":
            verify(job, 0)
        facts.append(f"{fault}: {told.split(' (')[0]}")
    return "; ".join(facts)


def case_wrong_job(rig):
    """Another name, type or features than the topic's: a wrong job (65), not a broken promise."""
    job = learned(rig, "other", turns=1)
    def renamed(text):
        text["models"][0]["name"] = "mm"
        text["emit"]["fields"] = {"prediction": "mm.class"}
    def retyped(text):
        text["models"][0] = {"name": "near", "type": "scaler", "learn": True, "topic": "other.near"}
        text["emit"]["fields"] = {"id": "id"}
    def widened(text):
        text["record"]["features"].append("id")
    for name, change, words in (("renamed", renamed, ("\"near\"", "\"mm\"", "models[].topic")), ("retyped", retyped, ("kmeans", "scaler")),
                                ("widened", widened, ("other features",))):
        wrong = changed(rig, job, f"other-{name}", change)
        run = rig.run(wrong, "--until", "end").expect_end(65)
        for word in words:
            expect(word in run.err(), f"{name}: no {word}: {run.err()}")
        if name != "widened":  # a list looks at no schema
            millrace(65, "model", "list", wrong)
    rig.run(job, "--until", "end").expect_end(0)


def case_new_topic(rig):
    """The state topic was made anew while the group has offsets: what is said can be done."""
    job = learned(rig, "anew", turns=1)
    rig.topics("anew.two:1:cleanup.policy=compact")
    job = changed(rig, job, "anew-two", lambda text: text["models"][0].update(topic="anew.two"))
    run = rig.run(job, "--until", "end").expect_end(70)
    expect("--to-state" not in run.err() and "new group" in run.err() and "--delete" in run.err(), run.err())
    report = verify(job, 70)
    expect("--to-state" not in json.dumps(report), f"{report}")
    millrace(66, "repair", job, "--to-state", "--yes")
    rig.kafka("ConsumerGroupCommand", "--delete", "--group", "anew")
    run = rig.run(job, "--until", "end").expect_end(0)
    expect(run.total["records_out"] == RECORDS, f"{run.total}")
    verify(job, 70)  # answered twice, as was asked for
    wait_for(lambda: rows_of(job)[0], "commits in the new topic")


def case_last_digit(rig):
    """Behind a roll-back an output that differs in its last digit is found all the same: nobody but the unit at hand has computed anything."""
    job = learned(rig, "digit", turns=2, models=[{"name": "near", "type": "kmeans", "learn": True, "k": 6, "topic": "digit.near"}])
    commits, _ = rows_of(job)
    millrace(0, "model", "rollback", job, "--commit", commits[0]["commit"])
    rig.produce("digit", 1000, first=RECORDS)
    rig.run(job, "--until", "end").expect_end(0)
    verify(job, 0)
    done = subprocess.run([MILLRACE, "tap", "digit.out", "-b", rig.broker.address, "-e", "-J"], stdout=subprocess.PIPE, check=True)
    values = [str(json.loads(line)["value"]) for line in done.stdout.splitlines()]
    at = max(i for i, value in enumerate(values) if len(re.search(r"([\d.]*)}$", value)[1]) > 8)
    topic = rig.doctored("digit.out", "digit.changed", "change", 0, at)
    found = finds(changed(rig, job, "digit-changed", lambda text: text["sinks"][0].update(topic=topic)), "different", topic, offset=at)
    units = {json.loads(millrace(0, "model", "show", job, "--commit", row["commit"], "--json")[0])["unit"] for row in rows_of(job)[0]}
    expect(len(units) == 1, f"{units}")
    return found["text"][:70]


if __name__ == "__main__":
    main([case_follower, case_typo, case_damaged, case_wrong_job, case_new_topic, case_last_digit])
