#!/usr/bin/env python3
"""delivery "exactly-once": outputs, and dead letters, that a topic refuses for their size; and what is said about versions."""
from rig import expect, main

COUNT = 6000
FIELDS = {"id": "id", "prediction": "regime.class", "pad": "pad"}
PLAIN = {"source__properties__compression.codec": "none"}  # packed, they would fit


def exact(rig, name, **changes):
    return rig.job(name, delivery="exactly-once", commit_interval="100ms", emit__fields=FIELDS, **PLAIN, **changes)


def restarts_of(run):
    return run.err().count("going back to the last commit")


def case_output(rig):
    """Some answers are larger than the output topic takes: they alone are dead letters, the rest is there once, in its order."""
    rig.topics("out.in:4:max.message.bytes=4000000", "out.out:4:max.message.bytes=2000", "out.dead:1:max.message.bytes=4000000")
    rig.produce("out", COUNT, "--large-every", 500, "--large-bytes", 5_000)
    run = rig.run(exact(rig, "out"), "--until", "end").expect_end(0)
    found = rig.check("out", "--count", COUNT, "--once", "--ordered", group="out")
    expect(found["dead"] == COUNT // 500, f"{found['dead']} dead letters, not {COUNT // 500}")
    expect("librdkafka" in run.report and isinstance(run.report["librdkafka_notes"], list), "the report does not name its librdkafka")
    expect("older than" not in run.err() and "could not be found out" not in run.err(), f"the broker's version was not understood:\n{run.err()}")
    return f"{found['dead']} dead letters, back to the last commit {restarts_of(run)} times, {run.report['commits']} commits"


def case_every_output(rig):
    """All of them are too large: no endless loop."""
    rig.topics("all.in:4:max.message.bytes=4000000", "all.out:4:max.message.bytes=2000", "all.dead:1:max.message.bytes=4000000")
    rig.produce("all", 500, "--large-every", 1, "--large-bytes", 5_000)
    run = rig.run(exact(rig, "all"), "--until", "end").expect_end(0)
    found = rig.check("all", "--count", 500, "--once", group="all")
    expect(found["dead"] == 500, f"{found['dead']} dead letters, not 500")
    return f"back to the last commit {restarts_of(run)} times"


def case_dead(rig):
    """The dead-letter topic has a smaller limit than a bad record: it is cut, and marked as such."""
    rig.topics("cut.in:2", "cut.out:2", "cut.dead:1:max.message.bytes=100000")
    rig.produce("cut", 2000, "--bad-every", 100, "--kinds", "long,type")
    run = rig.run(rig.job("cut", delivery="exactly-once", commit_interval="100ms", **PLAIN), "--until", "end").expect_end(0)
    found = rig.check("cut", "--count", 2000, "--once", group="cut")
    expect(found["cut"] == 10, f"{found['cut']} dead letters are cut, not 10")
    return f"back to the last commit {restarts_of(run)} times"


def case_dead_at_all(rig):
    """A dead-letter topic that takes nothing: an end with its name, nothing committed behind what it refuses."""
    rig.topics("no.in:1:max.message.bytes=4000000", "no.out:1:max.message.bytes=2000", "no.dead:1:max.message.bytes=100")
    rig.produce("no", 1000, "--large-every", 500, "--large-bytes", 5_000)
    run = rig.run(exact(rig, "no"), "--until", "end")
    code = run.end(60)
    expect(code not in (0, 75), f"exit code {code}:\n{run.err()[-2000:]}")
    expect("no.dead" in run.err(), f"it does not name the topic:\n{run.err()[-2000:]}")
    rig.check("no", "--partial", "--once")
    return f"exit code {code}"


if __name__ == "__main__":
    main([case_output, case_every_output, case_dead, case_dead_at_all])
