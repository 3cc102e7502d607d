#!/usr/bin/env python3
"""millrace verify passes on what was done right and finds each fault that is planted; rebuild, repair, model."""
import json
import os
import signal
import subprocess

from rig import MILLRACE, Skip, expect, main

RECORDS = 20_000


def exact(rig, name, **changes):
    changes.setdefault("source__membership", "dynamic")  # so that it has left its group when it has ended
    if any("topic" in model for model in changes.get("models", [])):
        changes.setdefault("state", {"bytes_per_s": "1KiB"})  # few snapshots: four are kept
    return rig.job(name, delivery="exactly-once", commit_interval="100ms", **changes)


def millrace(code, *words):
    """Its stdout; it must come with that exit code."""
    done = subprocess.run([MILLRACE, *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    expect(done.returncode == code, f"{' '.join(map(str, words))}: exit code {done.returncode}, not {code}:\n{done.stdout[-3000:]}{done.stderr[-2000:]}")
    return done.stdout, done.stderr


def verify(job, code, *flags):
    return json.loads(millrace(code, "verify", job, "--json", *flags)[0])


def finds(job, kind, topic=None, **place):
    """It must find that kind of fault, first of all there."""
    report = verify(job, 70)
    first = report["findings"][0]
    expect(kind in report["kinds"] and first["kind"] == kind, f"no {kind}: {report}")
    expect(topic is None or first["topic"] == topic, f"not in {topic}: {report}")
    for key, value in place.items():
        expect(first[key] == value, f"{key} is not {value}: {report}")
    expect(report["violations"] <= 2, f"more than was planted: {report}")
    return first


def lines(rig, topic, text):
    path = os.path.join(rig.folder, f"{topic}.lines")
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n".join(text) + "\n")
    subprocess.run([MILLRACE, "replay", path, "--topic", topic, "-b", rig.broker.address], check=True, capture_output=True)


def shift(rig, group, topic, by):
    """Somebody moves the group's offsets."""
    rig.kafka("ConsumerGroupCommand", "--group", group, "--reset-offsets", "--shift-by", str(by), "--topic", topic, "--execute")


def case_plain(rig):
    """A good job with dead letters; then outputs that are missing, doubled, swapped, changed."""
    rig.trio("plain")
    rig.produce("plain", RECORDS, "--bad-every", 50)
    job = exact(rig, "plain")
    rig.run(job, "--until", "end").expect_end(0)
    report = verify(job, 0)
    expect(report["in"] == RECORDS and report["dead"] and report["out"] + report["dead"] == RECORDS, f"{report}")
    expect(not report["not_proved"], f"{report}")
    told = []
    for fault, kind in (("drop", "missing"), ("twice", "duplicated"), ("swap", "reordered"), ("change", "different")):
        topic = rig.doctored("plain.out", f"plain.{fault}", fault, 1, 77, partitions=4)
        first = finds(exact(rig, "plain", sinks=[{"type": "kafka", "topic": topic}]), kind)
        told.append(f"{kind} at {first['topic']}[{first['partition']}] {first['offset']}")
    dead = rig.doctored("plain.dead", "plain.dead2", "drop", 0, 7)
    finds(exact(rig, "plain", bad_records={"topic": dead}), "missing", "plain.in")
    shift(rig, "plain", "plain.in:2", -5)
    report = verify(job, 70)  # answered, and not committed
    expect(set(report["kinds"]) <= {"foreign", "different"} and report["violations"] == 5, f"{report}")
    return f"{report['seconds']} s; {'; '.join(told)}"


def case_grown(rig):
    """Topics that get more partitions while the job runs: outputs stand where they went then; a lost one and a doubled one are found all the same."""
    told = []
    for name, out, grown, keys in (("gin", 8, 8, ()), ("gout", 4, 8, ("--keys",)), ("gkey", 3, 5, ("--keys",))):
        rig.trio(name, out=out)
        job = exact(rig, name)
        rig.produce(name, 2000, "--bad-every", 50, *keys)
        run = rig.run(job, "-X", "topic.metadata.refresh.interval.ms=1000")
        run.wait_out(2000)
        rig.grow(f"{name}.in" if name == "gin" else f"{name}.out", grown)
        rig.produce(name, 2000, "--bad-every", 50, *keys, first=2000)
        run.wait_out(4000)
        run.signal(signal.SIGTERM)
        run.expect_end(0)
        report = verify(job, 0)
        moved = [note for note in report["not_proved"] if "stand in another partition" in note]
        expect(len(moved) == 1, f"{name}: {report}")
        told.append(moved[0].split(":")[1].split()[0])
    for fault, kind in (("drop", "missing"), ("twice", "duplicated")):
        topic = rig.doctored("gin.out", f"gin.{fault}", fault, 1, 77, partitions=8)
        finds(exact(rig, "gin", sinks=[{"type": "kafka", "topic": topic}]), kind)
    return f"{' and '.join(told)} in another partition"


def case_keys(rig):
    """Four partitions into three, by key; several records a message, joined again."""
    rig.topics("keys.in:4", "keys.out:3", "keys.dead:2")
    rig.produce("keys", RECORDS, "--bad-every", 50)
    emit = {"fields": {"id": "id", "prediction": "regime.class"}, "key": True, "provenance": True}
    job = exact(rig, "keys", emit=emit)
    rig.run(job, "--until", "end").expect_end(0)
    verify(job, 0)
    topic = rig.doctored("keys.out", "keys.drop", "drop", 2, 30, partitions=3)
    finds(exact(rig, "keys", emit=emit, sinks=[{"type": "kafka", "topic": topic}]), "missing", "keys.in")
    rig.topics("join.in:2", "join.out:2", "join.dead:1")
    lines(rig, "join.in", [f'{{"id":{i},"Temperature":{i % 97 if i % 41 else "null"}}}' for i in range(5000)])
    for framing in ("lines", "array"):
        rig.topics(f"join.{framing}:2")
        job = exact(rig, "join", source__group=f"join-{framing}", emit={"fields": {"id": "id", "prediction": "regime.class"}, "framing": framing},
                    sinks=[{"type": "kafka", "topic": f"join.{framing}"}], bad_records={"drop": True})
        rig.run(job, "--until", "end").expect_end(0)
        report = verify(job, 0)
        expect(report["in"] == 5000 and report["dead"] == 122, f"{report}")
    return report["proved"][-1]


def case_alike(rig):
    """Five partitions into one: outputs that tell their records apart are in order; of those that do not the report does not say so."""
    told = []
    for name, fields in (("apart", {"id": "id", "prediction": "regime.class"}), ("alike", {"prediction": "regime.class"})):
        rig.trio(name, 5, out=1)
        rig.produce(name, 2000)
        job = exact(rig, name, emit={"fields": fields, "key": False})
        rig.run(job, "--until", "end").expect_end(0)
        report = verify(job, 0)
        told.append(next(fact for fact in report["proved"] if f"{name}.out" in fact))
        is_judged = not any("the order is not judged" in note for note in report["not_proved"])
        expect(is_judged == (name == "apart") and ("in order" in told[-1]) == is_judged, f"{report}")
    return "; ".join(told)


def learning(rig, name, topic=None, new=True, **changes):
    if new:
        rig.topics(f"{name}.in:1", f"{name}.out:1", f"{name}.dead:1", f"{name}.near:1:cleanup.policy=compact")
    changes.setdefault("models", [{"name": "near", "type": "kmeans", "learn": True, "k": 200, "topic": topic or f"{name}.near"}])
    changes.setdefault("batch", {"records_max": 256, "by": "offsets"})
    return exact(rig, name, backend="cpu", emit={"fields": {"id": "id", "prediction": "near.class", "far": "near.score"}}, **changes)


def case_offsets(rig):
    """A model that learns in blocks, stopped and started; faults of its state; offsets ahead and behind; repair."""
    job = learning(rig, "blocks")
    for turn in range(4):
        rig.produce("blocks", RECORDS // 4, "--bad-every", 50, first=turn * (RECORDS // 4))
        rig.run(job, "--until", "end").expect_end(0)
    report = verify(job, 0)
    expect(report["models_equal"] == report["commits"] >= 4 and report["updates"] > 50 and not report["not_proved"], f"{report}")
    for fault, kind in (("learned-twice", "learned_twice"), ("foreign", "state"), ("no-chunk", "state"), ("no-manifest", "state"), ("flip", "state"), ("cut", "state")):
        topic = rig.doctored("blocks.near", f"blocks.{fault}", fault)
        first = verify(learning(rig, "blocks", topic, new=False), 70)["findings"][0]
        expect(first["kind"] == kind, f"{fault}: {first}")
        expect(kind != "state" or "offset" in first["text"], f"{fault}: where it is is not said: {first}")
        if kind == "learned_twice":
            expect(first["topic"] == "blocks.in" and first["offset"] > 0, f"{first}")
    shift(rig, "blocks", "blocks.in", -7)
    finds(job, "offsets_behind", "blocks.in", partition=0)
    run = rig.run(job, "--until", "end").expect_end(70)
    expect("repair" in run.err() and "blocks.in[0]" in run.err(), f"the start does not name it: {run.err()}")
    _, talk = millrace(64, "repair", job, "--to-state")
    expect("--yes" in talk, talk)
    told, _ = millrace(0, "repair", job, "--to-state", "--yes")
    expect("blocks.in[0]:" in told, told)
    verify(job, 0)
    rig.produce("blocks", 10, first=RECORDS)
    shift(rig, "blocks", "blocks.in", 3)
    finds(job, "offsets_ahead", "blocks.in", partition=0)
    rig.run(job, "--until", "end").expect_end(70)
    millrace(0, "repair", job, "--to-state", "--yes")
    rig.run(job, "--until", "end").expect_end(0)
    verify(job, 0)
    return told.splitlines()[0]


def case_stranger(rig):
    """A record of another model of the same name and type, under this one's own key: of another job, which has learned from other records."""
    for name in ("own", "other"):
        job = learning(rig, name)
        for turn in range(4):
            rig.produce(name, RECORDS // 4, first=turn * (RECORDS // 4 + (1000 if name == "other" else 0)))
            rig.run(job, "--until", "end").expect_end(0)
        verify(job, 0)
    topic = rig.doctored("own.near", "own.stranger", "stranger", "other.near")
    job = learning(rig, "own", topic, new=False)
    first = verify(job, 70)["findings"][0]
    run = rig.run(job, "--until", "end").expect_end(70)
    expect("own.stranger" in run.err(), f"the start does not name the topic: {run.err()}")
    return f"{first['kind']}: {first['text']}"


def case_missing(rig):
    """What is not there cannot be proved: 66, and which topic; for input, output and state."""
    job = learning(rig, "gone")
    rig.produce("gone", 1000)
    rig.run(job, "--until", "end").expect_end(0)
    verify(job, 0)
    for what, changes in (("state", {"topic": "gone.none"}), ("output", {"sinks": [{"type": "kafka", "topic": "gone.none"}]}),
                          ("dead letters", {"bad_records": {"topic": "gone.none"}}), ("input", {"source__topics": ["gone.none"]})):
        told, error = millrace(66, "verify", learning(rig, "gone", new=False, **changes))
        expect('"gone.none"' in told + error, f"{what}: the topic is not named: {told}{error}")


def case_rollback(rig):
    """A roll-back fences the trainer that runs: it ends with 73, has committed nothing since, and the next one goes on from the version put back."""
    job = learning(rig, "back")
    sender = rig.producing("back", RECORDS * 10, RECORDS / 4)
    run = rig.run(job)
    run.wait_commits(3)  # a version within the first one's updates is before any snapshot
    rows = [json.loads(line) for line in millrace(0, "model", "list", job, "--json")[0].splitlines()]
    version = rows[-1]["version"] - 2
    told, _ = millrace(0, "model", "rollback", job, "--version", version)
    expect(f"version {version} again" in told, told)
    run.expect_end(73, 30)
    verify(job, 0)
    rig.stop_producing(sender)
    rig.run(job, "--until", "end").expect_end(0)
    report = verify(job, 0)
    after = [json.loads(line) for line in millrace(0, "model", "list", job, "--json")[0].splitlines()]
    expect(any(row["version"] == version for row in after), f"no commit at version {version}: {after[-5:]}")
    return f"version {rows[-1]['version']} to {version}; {report['in']} records in the range"


def case_killed(rig):
    """Proved at once after each kill -9, with a transaction still open; and in the end."""
    job = learning(rig, "killed", source__membership="static")
    sender = rig.producing("killed", RECORDS, RECORDS / 4, "--bad-every", 50)
    seen = []
    for turn in range(2):
        run = rig.run(job)
        run.wait_out(2000)
        run.signal(signal.SIGKILL)
        run.end()
        seen.append(verify(job, 0)["in"])
    expect(sender.wait(120) == 0, "the sender failed")
    rig.run(job, "--until", "end").expect_end(0)
    report = verify(job, 0)
    return f"{seen} records committed when killed; then {report['in']} in the range"


def arriving(rig, name, kills):
    """A job learns by arrival from four partitions while they are written to: updates hold several ranges of one partition."""
    rig.topics(f"{name}.in:4", f"{name}.out:4", f"{name}.dead:1", f"{name}.near:1:cleanup.policy=compact")
    job = learning(rig, name, new=False, batch={}, source__membership="static" if kills else "dynamic")
    sender = rig.producing(name, 2 * RECORDS, RECORDS / 4, "--bad-every", 50)
    for _ in range(kills):
        run = rig.run(job)
        run.wait_out(3000)
        run.signal(signal.SIGKILL)
        run.end()
    run = rig.run(job)
    run.wait_out(6000)
    expect(sender.wait(120) == 0, "the sender failed")
    run.signal(signal.SIGTERM)
    run.expect_end(0)
    rig.run(job, "--until", "end").expect_end(0)
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})  # another number of cores is no other unit
    report = verify(job, 0)
    os.sched_setaffinity(0, cores)
    expect(report["models_equal"] == report["commits"] and "byte for byte" in report["proved"][-2], f"{report}")
    return f"{report['in']} records, {report['updates']} updates, {report['commits']} commits"


def case_arrival(rig):
    """Four partitions, learned from in the order of arrival, while they are written to."""
    return arriving(rig, "arrival", 0)


def case_arrival_killed(rig):
    """The same, killed twice."""
    return arriving(rig, "killing", 2)


def case_scores(rig):
    """One output lost and the one before it doubled, where only a time that is copied tells them apart, or nothing but the score."""
    told = []
    avx512 = "avx512" in subprocess.run([MILLRACE, "backends"], stdout=subprocess.PIPE, text=True, check=False).stdout
    emits = {"times": {"ts": "ts", "p": "regime.probability"}, "scores": {"p": "regime.probability"}}
    for name, fields in emits.items():
        rig.trio(name, partitions=1)
        lines(rig, f"{name}.in", [f'{{"ts":{1790000000000 + i},"Temperature":{30 + i / 200}}}' for i in range(2000)])
        emit = {"fields": fields}
        for unit in ("cpu", "cpu:base") if name == "times" else ("cpu",):
            rig.topics(f"{name}.{unit[4:]}:1")
            job = exact(rig, name, backend=unit, emit=emit, source__group=f"{name}-{unit[4:]}", sinks=[{"type": "kafka", "topic": f"{name}.{unit[4:]}"}])
            rig.run(job, "--until", "end").expect_end(0)
            report = verify(job, 0)
            expect("2000 outputs" in report["proved"][0] and "byte for byte" in report["proved"][0], f"{report}")
            here = {"backend": "cpu", "emit": emit, "source__group": f"{name}-{unit[4:]}"}
            report = verify(exact(rig, name, **here, sinks=[{"type": "kafka", "topic": f"{name}.{unit[4:]}"}]), 0)
            told.append(report["proved"][0])
            expect(unit == "cpu" or "1e-6" in told[-1] or not avx512, f"no other bits: {report}")
            topic = rig.doctored(f"{name}.{unit[4:]}", f"{name}.{unit[4:]}.again", "again", 0, 1001)
            finds(exact(rig, name, **here, sinks=[{"type": "kafka", "topic": topic}]), "duplicated", topic, offset=1002)
    return "; ".join(told)


def case_units(rig):
    """Learned by one unit, verified on another: numbers within 1e-6 of their terms, which nearly cancel here, from snapshot to snapshot."""
    rig.topics("unit.in:1", "unit.out:1", "unit.dead:1", "unit.m:1:cleanup.policy=compact")
    def job(unit, out="unit.out"):
        return exact(rig, "unit", backend=unit, record={"format": "json", "features": ["x[0..15]"], "label": "y"},
                     models=[{"name": "m", "type": "linear", "learn": True, "step": 0.1, "topic": "unit.m"}],
                     batch={"records_max": 128}, emit={"fields": {"id": "id", "y": "m.score"}}, sinks=[{"type": "kafka", "topic": out}])
    for turn in range(2):
        xs = [[rig.random.uniform(-1, 1) for _ in range(16)] for _ in range(3000)]
        lines(rig, "unit.in", [json.dumps({"id": 3000 * turn + i, "x": x, "y": sum(x[:8]) - sum(x[8:])}) for i, x in enumerate(xs)])
        rig.run(job("cpu:base"), "--until", "end").expect_end(0)
    report = verify(job("cpu:base"), 0)
    expect(report["models_equal"] == report["commits"], f"{report}")
    if "avx512" not in subprocess.run([MILLRACE, "backends"], stdout=subprocess.PIPE, text=True, check=False).stdout:
        raise Skip("one CPU variant only")
    report = verify(job("cpu:avx512"), 0)
    expect(report["models_equal"] < report["commits"] and "1e-6" in report["proved"][-2], f"no other bits: {report}")
    topic = rig.doctored("unit.out", "unit.again", "again", 0, 1001)
    finds(job("cpu:avx512", topic), "duplicated", topic, offset=1002)
    return "; ".join(report["proved"][2:] + report["not_proved"])


def case_versions(rig):
    """Two models, one behind the other, learn by arrival from three partitions; rebuilt at every commit; rolled back; the run goes on."""
    rig.topics("flat.in:3", "flat.out:3", "flat.dead:1", "flat.std:1:cleanup.policy=compact", "flat.sgd:1:cleanup.policy=compact")
    job = exact(rig, "flat", backend="cpu", record={"format": "json", "features": ["x1", "x2"], "label": "y"},
                models=[{"name": "std", "type": "scaler", "learn": True, "topic": "flat.std"},
                        {"name": "sgd", "type": "linear", "input": "std", "learn": True, "step": 0.1, "topic": "flat.sgd"}],
                batch={"records_max": 128}, emit={"fields": {"id": "id", "y": "sgd.score"}})
    def more(first):
        lines(rig, "flat.in", [f'{{"id":{i},"x1":{i % 13},"x2":{i % 7},"y":{2 * (i % 13) - (i % 7)}}}' for i in range(first, first + 3000)])
        rig.run(job, "--until", "end").expect_end(0)
    for turn in range(3):
        more(3000 * turn)
    report = verify(job, 0)
    expect(report["in"] >= 3000 and report["models_equal"] == 2 * report["commits"], f"{report}")
    rows = [json.loads(line) for line in millrace(0, "model", "list", job, "--model", "sgd", "--json")[0].splitlines()]
    expect([row["commit"] for row in rows] == list(range(rows[0]["commit"], rows[0]["commit"] + len(rows))), f"{rows}")
    while not rows[0]["has_snapshot"]:  # compaction may have taken it
        rows.pop(0)
    out = os.path.join(rig.folder, "then.safetensors")
    for row in rows:  # each is compared with the checksum of its commit
        millrace(0, "rebuild", job, "--model", "sgd", "--commit", row["commit"], "-o", out)
        expect(os.path.getsize(out) == row["model_bytes"], f"{row}")
    where = ",".join(f"{at['topic']}/{at['partition']}={at['next_offset']}" for at in rows[-1]["positions"])
    millrace(0, "rebuild", job, "--model", "std", "--to", where, "-o", out)
    millrace(66, "rebuild", job, "--model", "sgd", "--commit", 999, "-o", out)
    millrace(64, "rebuild", job, "--commit", 1, "-o", out)
    version = rows[-1]["version"] - 3
    told, _ = millrace(0, "model", "rollback", job, "--model", "sgd", "--version", version)
    expect(f"version {version} again" in told, told)
    verify(job, 0)
    more(9000)
    report = verify(job, 0)
    last = json.loads(millrace(0, "model", "list", job, "--model", "std", "--json")[0].splitlines()[-1])
    expect(last["in"] == 12000 and last["version"] > version, f"{report} {last}")
    shown, _ = millrace(0, "model", "show", job, "--model", "sgd", "--commit", last["commit"])
    expect("learned     flat.in[" in shown, shown)
    return f"{len(rows)} commits rebuilt; {told.strip()}"


if __name__ == "__main__":
    main([case_plain, case_grown, case_keys, case_alike, case_offsets, case_stranger, case_missing, case_rollback, case_killed, case_arrival, case_arrival_killed, case_scores,
          case_units, case_versions])
