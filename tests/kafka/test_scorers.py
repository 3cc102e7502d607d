#!/usr/bin/env python3
"""millrace verify, repair, rebuild and model, of a job file with a trainer and scorers; how scorers follow roll-backs, and a topic that breaks."""
import json
import os
import signal

from rig import expect, main, wait_for
from test_exactly_once import outputs
from test_verify import RECORDS, finds, learning, millrace, shift, verify

TURN = 1024  # records, in blocks of 256


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
    go(40)  # by the first version 31; and of the 64 before, what its scorer answered behind the trainer's commit
    by_first = [headers["millrace-model"] for _, headers in outputs(rig, "two.out")].count("near@31")
    expect(by_first >= 40, f"{by_first} outputs by version 31")
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
    expect(told[0] == by_first and set(told) <= {0, by_first}, f"{told} of {by_first} by version 31")
    return f"{told} of the first are not proved"


def divided(rig, name, **changes):
    """A job with one lane of scorers, whose small model is written whole at each commit that is due."""
    return learning(rig, name, scorers=1, models=[{"name": "near", "type": "kmeans", "learn": True, "k": 6, "topic": f"{name}.near"}],
                    state={"bytes_per_s": "8MiB"}, **changes)


def rows_of(job):
    """What `model list` says of commits."""
    return [row for row in map(json.loads, millrace(0, "model", "list", job, "--json")[0].splitlines()) if "commit" in row]


def train(rig, job):
    """Lets the trainer read to the end; the last commit."""
    rig.run(job, "--until", "end", "--role", "trainer").expect_end(0)
    return rows_of(job)[-1]


def at_work(run):
    """What the scorers say of their model."""
    return run.models[0] if run.models else {}


def case_same_number(rig):
    """A roll-back to other weights of the version that the scorers have already: they take them."""
    job = divided(rig, "num")
    rig.produce("num", TURN)
    begun = train(rig, job)
    rig.produce("num", TURN, first=TURN)
    first = train(rig, job)
    millrace(0, "model", "rollback", job, "--commit", begun["commit"])
    rig.produce("num", TURN, first=2 * TURN)
    again = train(rig, job)
    expect(again["version"] == first["version"] > begun["version"] and again["checksum"] != first["checksum"], f"{begun} {first} {again}")
    run = rig.run(job, "--role", "scorers")
    run.wait_out(3 * TURN)
    expect(at_work(run)["version"] == again["version"], f"{at_work(run)}")
    taken = at_work(run)["versions_taken"]
    millrace(0, "model", "rollback", job, "--commit", first["commit"])
    wait_for(lambda: at_work(run)["versions_taken"] > taken, f"the other weights of version {first['version']}; {run.err()[-1000:]}")
    rig.produce("num", TURN, first=3 * TURN)
    run.wait_out(4 * TURN)
    run.signal(signal.SIGTERM)
    run.expect_end(0)
    weights = os.path.join(rig.folder, "num.safetensors")
    millrace(0, "rebuild", job, "--commit", first["commit"], "-o", weights)
    rig.topics("num.want:1")
    still = learning(rig, "num", new=False, source__group="num-want", models=[{"name": "near", "type": "kmeans", "file": weights}], batch={"records_max": 256},
                     sinks=[{"type": "kafka", "topic": "num.want"}])
    rig.run(still, "--until", "end").expect_end(0)
    got, want = ([value for value, _ in outputs(rig, topic)][-TURN:] for topic in ("num.out", "num.want"))
    wrong = [(one, other) for one, other in zip(got, want) if one != other]
    expect(len(got) == TURN and not wrong, f"{len(wrong)} of {len(got)} outputs are not of commit {first['commit']}: {wrong[:2]}")
    return f"version {first['version']} of commits {again['commit']} and {first['commit']}"


def case_repaired(rig):
    """A record that is no state's stops the scorers' model, and they say so; a roll-back puts a whole one behind it, and they go on with what comes then."""
    rig.topics("mend.in:1", "mend.out:1", "mend.dead:1", "mend.near:1")  # not compacted: it takes a record without a key
    job = divided(rig, "mend", new=False)
    rig.produce("mend", TURN)
    first = train(rig, job)
    run = rig.run(job, "--role", "scorers")
    run.wait_out(TURN)
    line = os.path.join(rig.folder, "hello")
    with open(line, "w", encoding="utf-8") as file:
        file.write("hello\n")
    millrace(0, "replay", line, "--topic", "mend.near", "-b", rig.broker.address)
    why = wait_for(lambda: at_work(run).get("stands_still"), f"that it stands still; {run.err()[-1000:]}")
    expect("mend.near" in why and "rollback" in why and at_work(run)["version"] == first["version"], f"{at_work(run)}")
    run.wait_log(f"near stays at version {first['version']}")
    millrace(0, "model", "rollback", job, "--commit", first["commit"])
    wait_for(lambda: "stands_still" not in at_work(run), f"that it goes on; {run.err()[-1000:]}")
    rig.produce("mend", TURN, first=TURN)
    last = train(rig, job)
    wait_for(lambda: at_work(run)["version"] == last["version"], f"version {last['version']}; {at_work(run)}")
    rig.produce("mend", TURN, first=2 * TURN)
    run.wait_out(3 * TURN)
    run.signal(signal.SIGTERM)
    run.expect_end(0)
    expect(run.err().count("stays at version") == 1, run.err()[-2000:])
    return f"version {first['version']} stood still, then {last['version']}"


def case_changed_roles(rig):
    """A job loses its scorers, and gets them again: what is said then loses no answer, and repair passes no record over without being told to."""
    job = divided(rig, "role")
    whole = learning(rig, "role", new=False, models=[{"name": "near", "type": "kmeans", "learn": True, "k": 6, "topic": "role.near"}], state={"bytes_per_s": "8MiB"})
    rig.produce("role", TURN)
    rig.run(job, "--until", "end").expect_end(0)
    rig.produce("role", 500, first=TURN)
    train(rig, job)
    run = rig.run(whole, "--until", "end").expect_end(70)
    expect('"scorers" was taken out of this job' in run.err() and "--to-state" not in run.err(), run.err()[-1500:])
    said, talk = millrace(64, "repair", whole, "--to-state", "--yes")
    expect("500 records of role.in[0]" in said and "--leave-unanswered" in talk, said + talk)
    rig.run(job, "--until", "end").expect_end(0)
    rig.produce("role", TURN, first=TURN + 500)
    rig.run(whole, "--until", "end").expect_end(0)
    rig.produce("role", TURN, first=2 * TURN + 500)
    run = rig.run(job, "--until", "end").expect_end(70)
    expect('"scorers" was added to a job that has learned' in run.err(), run.err()[-1500:])
    millrace(0, "repair", job, "--to-state", "--yes")
    rig.run(job, "--until", "end").expect_end(0)
    ids = [row["id"] for row, _ in outputs(rig, "role.out")]
    expect(ids == list(range(3 * TURN + 500)), f"{len(ids)} answers")
    rig.produce("role", 100, first=3 * TURN + 500)
    train(rig, job)
    millrace(0, "repair", whole, "--to-state", "--yes", "--leave-unanswered")
    rig.run(whole, "--until", "end").expect_end(0)
    expect(len(outputs(rig, "role.out")) == len(ids), "records that were passed over are answered")
    return f"{len(ids)} records, each answered once; then 100 passed over as was asked for"


def case_member(rig):
    """repair at once after an end in good order: a static member is still there, and it is said for how long."""
    job = learning(rig, "stay", source__membership="static", source__properties={"bootstrap.servers": rig.broker.address, "session.timeout.ms": "7000"})
    rig.produce("stay", TURN)
    rig.run(job, "--until", "end").expect_end(0)
    _, talk = millrace(75, "repair", job, "--to-state", "--yes")
    expect("ended in order" in talk and "wait 7 s" in talk, talk)


def case_hangs(rig):
    """A child that hangs does not take the second signal: its parent kills it."""
    job = divided(rig, "hang")
    rig.produce("hang", TURN)
    run = rig.run(job)
    run.wait_out(TURN)
    os.kill(run.pids()["scorers"], signal.SIGSTOP)
    run.signal(signal.SIGINT)
    wait_for(lambda: "role=trainer component=run msg=\"Ctrl-C: finishing" in run.err(), "that the first signal is taken")
    run.signal(signal.SIGINT)
    run.expect_end(75)
    expect("the scorers do not end in time and are killed" in run.err() and "the scorers were ended by signal 9" in run.err(), run.err()[-1500:])


if __name__ == "__main__":
    main([case_scorers, case_twice, case_same_number, case_repaired, case_changed_roles, case_member, case_hangs])
