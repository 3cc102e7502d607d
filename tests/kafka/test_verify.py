#!/usr/bin/env python3
"""millrace verify: it passes on what was done right, and finds each fault that is planted."""
import json
import os
import subprocess

from rig import MILLRACE, expect, main

RECORDS = 20_000


def exact(rig, name, **changes):
    return rig.job(name, delivery="exactly-once", commit_interval="100ms", **changes)


def verify(rig, job, code, *flags):
    """Its report, which must come with that exit code."""
    done = subprocess.run([MILLRACE, "verify", job, "--json", *flags], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    expect(done.returncode == code, f"verify: exit code {done.returncode}, not {code}:\n{done.stdout}{done.stderr}")
    return json.loads(done.stdout) if done.stdout else None


def case_plain(rig):
    """A good job with dead letters."""
    rig.trio("plain")
    rig.produce("plain", RECORDS, "--bad-every", 50)
    job = exact(rig, "plain")
    rig.run(job, "--until", "end").expect_end(0)
    report = verify(rig, job, 0)
    expect(report["in"] == RECORDS and report["dead"] and report["out"] + report["dead"] == RECORDS, f"{report}")
    expect(not report["not_proved"], f"{report}")
    return f"{report['seconds']} s"


def learning(rig, name, partitions=1, **changes):
    rig.topics(f"{name}.in:{partitions}", f"{name}.out:{partitions}", f"{name}.dead:1", f"{name}.near:1:cleanup.policy=compact")
    changes.setdefault("models", [{"name": "near", "type": "kmeans", "learn": True, "k": 6, "topic": f"{name}.near"}])
    changes.setdefault("batch", {"records_max": 256, "by": "offsets"})
    return exact(rig, name, backend="cpu", emit={"fields": {"id": "id", "prediction": "near.class", "far": "near.score"}}, **changes)


def case_offsets(rig):
    """A model that learns in blocks; stopped and started in between."""
    job = learning(rig, "blocks")
    for turn in range(3):
        rig.produce("blocks", RECORDS // 3, "--bad-every", 50, first=turn * (RECORDS // 3))
        rig.run(job, "--until", "end").expect_end(0)
    report = verify(rig, job, 0)
    expect(report["models_equal"] == report["commits"] > 0 and report["updates"] > 50, f"{report}")
    return f"{report['commits']} commits, {report['updates']} updates, {report['seconds']} s; not proved: {report['not_proved']}"


if __name__ == "__main__":
    main([case_plain, case_offsets])
