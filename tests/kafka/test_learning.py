#!/usr/bin/env python3
"""Learning from a real broker: blocks cut at offsets where transactions leave gaps, and labels that come on a topic of their own."""
import json
import os
import signal
import subprocess

from rig import MILLRACE, expect, main, wait_for

BLOCK = 64


def case_offsets(rig):
    """Markers and aborted records take offsets: however the rest is fetched, the blocks, the predictions and the centres are the same."""
    rig.topics("off.in:1")
    for turn in range(6):
        rig.produce("off", 150, "--transaction", f"off-{turn}", first=150 * turn)
    seen = []
    ways = (("all", {}), ("sips", {"source__properties": {"bootstrap.servers": rig.broker.address, "fetch.message.max.bytes": 300, "fetch.max.bytes": 1000,
                                                           "message.max.bytes": 1000}}))
    for way, changes in ways:
        saved, out = (os.path.join(rig.folder, f"off-{way}{end}") for end in (".safetensors", ".jsonl"))
        job = rig.job("off", source__group=f"off-{way}", batch={"records_max": BLOCK, "by": "offsets"}, backend="cpu",
                      models=[{"name": "near", "type": "kmeans", "learn": True, "k": 6, "save": saved}],
                      emit={"fields": {"id": "id", "near": "near.class", "far": "near.score", "at": "@offset"}},
                      sinks=[{"type": "file", "path": out}], bad_records={"drop": True}, **changes)
        report = rig.run(job, "--until", "end").expect_end(0).report
        with open(saved, "rb") as model, open(out, "rb") as answers:
            seen.append((model.read(), answers.read()))
        offsets = [json.loads(line)["at"] for line in seen[-1][1].splitlines()]
        expect(len(offsets) == 900 and offsets[-1] > 899, f"{way}: no gaps: {len(offsets)} records, the last at {offsets[-1]}")
        blocks, learned = len({offset // BLOCK for offset in offsets}), report["models"][0]["batches_learned"]
        expect(blocks == learned, f"{way}: {learned} batches, {blocks} blocks by offset")
    expect(seen[0] == seen[1], "the same records, and other predictions or centres")
    return f"{blocks} blocks of 900 records, the last at offset {offsets[-1]}"


def case_labels(rig):
    """Records and labels in several partitions and two groups; both ends are reached, and both are committed."""
    rig.topics("lab.in:3", "lab.labels:2", "lab.out:3", "lab.dead:1")
    lines = {"in": [f'{{"id":{i},"Temperature":{i % 90}}}' for i in range(3000)],
             "labels": [f'{{"id":{i},"y":{2 * (i % 90) + 1}}}' for i in range(3000) if i % 3]}
    for kind, text in lines.items():
        path = os.path.join(rig.folder, f"lab.{kind}")
        with open(path, "w", encoding="utf-8") as file:
            file.write("\n".join(text) + "\n")
        subprocess.run([MILLRACE, "replay", path, "--topic", f"lab.{kind}", "-b", rig.broker.address], check=True, capture_output=True)
    job = rig.job("lab", labels={"topics": ["lab.labels"], "key": "id", "label": "y"}, emit={"fields": {"id": "id", "y": "m.score"}},
                  models=[{"name": "m", "type": "linear", "learn": True, "step": 0.0001}])
    report = rig.run(job, "--until", "end").expect_end(0).report
    labels, model = report["labels"], report["models"][0]
    expect(report["records_out"] == 3000 and labels["labels_in"] == 2000, f"{report['records_out']} records out, {labels}")
    expect(labels["matched"] == 2000 and labels["records_waiting"] == 1000 and model["rows_learned"] == 2000, f"{labels} {model}")
    again = rig.run(job, "--until", "end").expect_end(0).report
    expect(again["records_in"] == 0 and again["labels"]["labels_in"] == 0, f"the second run reads again: {again}")
    return f"2000 of 3000 matched; mean squared error {model['squared_error']:.3g}"


def case_saved(rig):
    """Left at once in the middle of a commit: what is saved is never ahead of what is committed, from which the next run goes on."""
    rig.topics("saved.in:1", "saved.out:1", "saved.dead:1", "saved.near:1:cleanup.policy=compact")
    saved, gate = (os.path.join(rig.folder, name) for name in ("saved.safetensors", "saved.gate"))
    job = rig.job("saved", delivery="exactly-once", commit_interval="100ms", emit={"fields": {"id": "id", "near": "near.class"}},
                  models=[{"name": "near", "type": "kmeans", "learn": True, "k": 3, "save": saved, "topic": "saved.near"}])
    rig.produce("saved", 1000)
    run = rig.run(job, hooks={"MILLRACE_WAIT_AT": f"commit.before-offsets:1:{gate}"})
    wait_for(lambda: os.path.exists(gate + ".reached"), "the first commit")
    rig.broker.kill()
    with open(gate, "w", encoding="utf-8"):
        pass
    run.signal(signal.SIGTERM)
    run.expect_end(75)
    expect(not os.path.exists(saved), "it has saved what was not committed")
    expect("is not saved" in run.err(), run.err()[-1500:])
    rig.broker.start()
    rig.run(job, "--until", "end").expect_end(0)
    expect(os.path.exists(saved), "nothing was saved in the end")


main([case_offsets, case_labels, case_saved])
