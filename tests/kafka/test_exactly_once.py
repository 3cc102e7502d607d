#!/usr/bin/env python3
"""delivery "exactly-once" on a real broker: killed, stopped, paused: each record is answered once, in its order."""
import json
import os
import signal
import subprocess
import threading

from kills import RECORDS, group_lag, interrupted, kill, more_to_do
from rig import LONG, MILLRACE, expect, main, wait_for

KILLS = 1000 if LONG else 12


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


def outputs(rig, topic):
    """All committed outputs of a topic of one partition, each with its headers, if it has any."""
    done = subprocess.run([MILLRACE, "tap", topic, "-b", rig.broker.address, "-e", "-J"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=True)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    return [(json.loads(row["value"]) if isinstance(row["value"], str) else row["value"], row.get("headers")) for row in rows]


def answered(rig, name, count):
    """Each record once, in its order; what stands in the answers is another model's than the oracle knows."""
    done = rig.oracle("check", "--in", f"{name}.in", "--out", f"{name}.out", "--dead", f"{name}.dead", "--group", name, "--count", count, "--ordered", "--once",
                      check=False)
    facts = json.loads(done.stdout.splitlines()[0])
    wrong = {key: value for key, value in facts.items() if value and key not in ("in", "outputs", "dead", "wrong_class", "good")}
    expect(not wrong and facts["outputs"] + facts["dead"] == count, f"{done.stdout}{done.stderr}")
    return facts


def case_follow(rig):
    """One job file, a trainer and two lanes of scorers on four partitions: each output carries the version that made it, and no record is
    lost or repeated while versions change under way."""
    rig.topics("fol.in:4", "fol.out:4", "fol.dead:1", "fol.near:1:cleanup.policy=compact")
    job = exact(rig, "fol", scorers=2, backend="cpu", batch={"records_max": 256}, models=[{"name": "near", "type": "kmeans", "learn": True, "k": 6, "topic": "fol.near"}],
                emit={"fields": {"id": "id", "prediction": "near.class", "version": "near.version"}})
    run = rig.run(job)
    sender = rig.producing("fol", 40_000, 8000, "--bad-every", 50)
    expect(sender.wait(60) == 0, "the sender failed")
    run.wait_out(40_000)
    wait_for(lambda: run.roles["trainer"]["total"]["records_in"] == 40_000, "all records at the trainer")
    run.signal(signal.SIGINT)
    run.expect_end(0)
    answered(rig, "fol", 40_000)
    told = [json.loads(line) for line in answers(rig, "fol.out").splitlines()]
    versions, taken = {one["version"] for one in told}, run.report["models"][0]["versions_taken"]
    expect(taken >= 3 and len(versions) >= 3, f"versions {sorted(versions)} in the outputs, {taken} taken")
    lags = {**group_lag(rig, "fol"), **group_lag(rig, "fol.trainer")}
    expect(set(lags.values()) == {"0"}, f"not all is committed: {lags}")
    trainer = run.roles["trainer"]
    expect(trainer["type"] == "report" and trainer["records_in"] == trainer["records_out"] + trainer["records_dead"] == 40_000, f"{trainer}")
    return f"{len(versions)} of {taken + 1} versions in {len(told)} outputs"


def case_scorers(rig):
    """kill -9 of the trainer, of the scorers, of both at once and of the process above them: each record is answered once, and the centres are those
    of a run that nobody kills."""
    rig.topics("duo.in:1", "duo.out:1", "duo.dead:1", "calm2.out:1", "calm2.dead:1")
    job, saved = learning(rig, "duo", scorers=2)
    kills = 100 if LONG else 12
    count = RECORDS // 2
    sender = rig.producing("duo", count, count / (kills * 0.9), "--bad-every", 50)
    for index in range(kills):
        count = more_to_do(rig, "duo", sender, count)
        run = rig.run(job)
        pids = run.pids()
        if index % 3:
            wait_for(lambda: run.process.poll() is not None or run.total.get("commits"), f"the first commit; {run.err()[-2000:]}", 60)
        threading.Event().wait(rig.random.uniform(0, 0.4))
        expect(run.process.poll() is None, f"it ended by itself: {run.err()[-2000:]}")
        if index % 4 == 3:
            run.signal(signal.SIGKILL)
            run.end()
            wait_for(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in pids.values()), "the end of its children")
        else:
            for role in (("trainer",), ("scorers",), ("trainer", "scorers"))[index % 4]:
                os.kill(pids[role], signal.SIGKILL)
            run.expect_end(75)
            first = (("trainer was",), ("scorers were",), ("trainer was", "scorers were"))[index % 4]  # of two, either is seen first
            expect(any(f"the {one} ended by signal 9" in run.err() for one in first), run.err()[-1000:])
        run.close()
    expect(sender.wait(120) == 0, "the sender failed")
    rig.run(job, "--until", "end").expect_end(0)
    answered(rig, "duo", count)
    done = subprocess.run([MILLRACE, "verify", job], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    expect(done.returncode == 0 and "bit for bit" in done.stdout, f"verify: {done.returncode}: {done.stdout}")
    calm, calm_saved = learning(rig, "calm2", source__topics=["duo.in"], sinks=[{"type": "kafka", "topic": "calm2.out"}])
    rig.run(calm, "--until", "end").expect_end(0)
    with open(saved, "rb") as one, open(calm_saved, "rb") as other:
        expect(one.read() == other.read(), "other centres than those of a run without kills")
    versions = [int(headers["millrace-model"].removeprefix("near@")) for _, headers in outputs(rig, "duo.out")]
    falls = [(at, a, b) for at, (a, b) in enumerate(zip(versions, versions[1:])) if b < a]
    expect(not falls, f"versions fall: {falls[:5]}")
    expect(len(set(versions)) > kills // 4, f"{len(set(versions))} versions behind {kills} kills: {sorted(set(versions))}")  # a busy machine skips many
    return f"{kills} kills, {count} records, {len(set(versions))} versions"


def case_scorers_end(rig):
    """A topic without records, and one with less than a block; Ctrl-C while the scorers wait for a first version."""
    rig.topics("few.in:1", "few.out:1", "few.dead:1")
    job, _ = learning(rig, "few", scorers=1)
    rig.run(job, "--until", "end").expect_end(0)
    run = rig.run(job)
    run.wait_log("waiting for the first version")
    run.signal(signal.SIGINT)
    run.expect_end(0)
    rig.produce("few", 100)
    run = rig.run(job, "--until", "end").expect_end(75)
    expect("has learned nothing yet" in run.err(), run.err()[-1000:])
    rig.produce("few", 900, first=100)
    scorers = rig.run(job, "--until", "end", "--role", "scorers")
    rig.run(job, "--until", "end", "--role", "trainer").expect_end(0)
    scorers.expect_end(0)
    told = outputs(rig, "few.out")
    expect([row["id"] for row, _ in told] == list(range(1000)), f"{len(told)} outputs")
    expect(all(int(headers["millrace-model"].removeprefix("near@")) >= 1 for _, headers in told), f"{told[0]}")
    answered(rig, "few", 1000)


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


def case_leave(rig):
    """A process that is stopped with a transaction that it cannot commit ends it: nobody who reads what is committed waits for it."""
    rig.trio("leave", 1)
    rig.produce("leave", 2000)
    gate = os.path.join(rig.folder, "leave.gate")
    run = rig.run(exact(rig, "leave", source__membership="dynamic"), "-X", "session.timeout.ms=6000", "-X", "max.poll.interval.ms=6000",
                  hooks={"MILLRACE_WAIT_AT": f"commit.before-offsets:1:{gate}"})
    wait_for(lambda: os.path.exists(gate + ".reached"), "the first commit")
    run.wait_log("maximum poll interval")  # the client has left the group
    run.signal(signal.SIGTERM)
    run.wait_log("SIGTERM")
    with open(gate, "w", encoding="utf-8"):
        pass
    run.expect_end(75)
    states = {name: facts["TransactionState"] for name, facts in rig.transactions().items() if "leave" in name}
    expect(list(states.values()) == ["CompleteAbort"], f"it is left open: {states}")
    rig.run(exact(rig, "leave", source__instance="another"), "--until", "end").expect_end(0)
    rig.check("leave", "--count", 2000, "--ordered", "--once", group="leave")
    return "aborted"


if __name__ == "__main__":
    main([case_plain, case_kill, case_learn, case_file, case_follow, case_scorers, case_scorers_end, case_leave, case_most])
