#!/usr/bin/env python3
"""Where reading starts and ends, what is said of secrets, and how soon the first record is scored."""
import os
import re
import subprocess
import time

from rig import MILLRACE, expect, main, median, wait_for


def read_count(rig, job, *flags):
    return rig.run(job, "--until", "end", *flags).expect_end(0).report["records_in"]


def case_starts(rig):
    """source.start: earliest, latest, a time, offsets."""
    rig.trio("start")
    rig.produce("start", 1000)
    second = int(time.time()) + 1
    wait_for(lambda: time.time() >= second, "the next second", 5)
    rig.produce("start", 600, first=1000)
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(second))
    wanted = {"earliest": 1600, stamp: 600, "2100-01-01T00:00:00Z": 0, "start.in/0=100,start.in/3=400": 1600 - 100 - 400}
    for start, count in wanted.items():
        job = rig.job("start", source__start=start, source__group=f"start-{start[:4]}-{count}")
        got = read_count(rig, job)
        expect(got == count, f"start {start}: {got} records, not {count}")
        expect(read_count(rig, job) == 0, f"start {start}: the second run reads again")
    job = rig.job("start", source__start="latest", source__group="start-latest")
    run = rig.run(job)
    run.wait_log("reads")
    wait_for(lambda: run.process.poll() is not None or run.err().count("reads") >= 2, "both lanes' partitions", 20)
    rig.produce("start", 100, first=1600)
    run.wait_out(100)
    run.signal(15)
    expect(run.expect_end(0, 10).report["records_in"] == 100, f"latest: {run.report['records_in']} records, not 100")
    return "earliest, latest, time, offsets"


def case_lost(rig):
    """The committed offset is gone from the topic: stop says so with 65; earliest goes on and counts what is left."""
    rig.trio("lost")
    rig.produce("lost", 1000)
    expect(read_count(rig, rig.job("lost")) == 1000, "the first 1000")
    rig.produce("lost", 1000, first=1000)
    rig.oracle("trim", "lost.in", 400)
    for flags in 5 * ((), ("--until", "end")):  # often: the second lane's assignment comes while it closes, or does not
        run = rig.run(rig.job("lost"), *flags).expect_end(65, 20)
        expect("lost_offsets" in run.err(), f"it does not say what to do:\n{run.err()}")
        expect(re.search(r"offsets 250 to 399 of lost\.in\[\d\], 150 of them, were deleted", run.err()), f"it does not say what is lost:\n{run.err()}")
    got = read_count(rig, rig.job("lost", source__lost_offsets="earliest"))
    expect(got == 400, f"earliest: {got} records, not 400")
    return "stop: 65; earliest: the 400 that are left"


def case_patterns(rig):
    """Topics by regular expression, also one that appears while it runs."""
    rig.topics("rx.a:2", "rx.b:1", "ry:1", "rx-out:3", "rx-dead:1")
    for topic, first in (("rx.a", 0), ("rx.b", 500), ("ry", 900)):
        rig.oracle("produce", "--topic", topic, "--count", 300, "--first", first)
    job = rig.job("rx", source__topics=["^rx[.].*"], sinks=[{"type": "kafka", "topic": "rx-out"}], bad_records={"topic": "rx-dead"})
    run = rig.run(job, "-X", "topic.metadata.refresh.interval.ms=1000")
    run.wait_out(600)
    rig.topics("rx.c:1")
    rig.oracle("produce", "--topic", "rx.c", "--count", 300, "--first", 2000)
    run.wait_out(900)
    run.signal(15)
    got = run.expect_end(0, 10).report["records_in"]
    expect(got == 900, f"{got} records, not 900")
    return "two topics of three, and one that came later"


def case_pattern_latest(rig):
    """A topic that appears while it runs is read from its beginning, also with start: latest."""
    rig.topics("la.a:1", "la-out:1", "la-dead:1")
    job = rig.job("la", source__topics=["^la[.].*"], source__start="latest", sinks=[{"type": "kafka", "topic": "la-out"}], bad_records={"topic": "la-dead"})
    rig.oracle("produce", "--topic", "la.a", "--count", 100)
    run = rig.run(job, "-X", "topic.metadata.refresh.interval.ms=4000")
    run.wait_log("reads 1 partition")
    rig.topics("la.b:1")
    rig.oracle("produce", "--topic", "la.b", "--count", 300, "--first", 1000)
    run.wait_out(300)
    run.signal(15)
    got = run.expect_end(0, 10).report["records_in"]
    expect(got == 300, f"{got} records, not 300")
    return "300 of the new topic, none of the old one"


def case_until(rig):
    """--until end on an empty topic, on transactions (those aborted are never read), COUNT, DURATION."""
    rig.trio("until")
    started = time.monotonic()
    expect(read_count(rig, rig.job("until")) == 0, "an empty topic holds records")
    empty_s = time.monotonic() - started
    rig.produce("until", 3000, "--transaction", "until-tx")
    expect(read_count(rig, rig.job("until")) == 3000, "the committed transactions")
    rig.check("until", "--count", 3000, "--ordered", "--once")
    expect(read_count(rig, rig.job("until")) == 0, "a second run found more behind the markers")

    rig.trio("count")
    rig.produce("count", 30_000)
    job = rig.job("count")
    for count in (777, 12_000):
        got = rig.run(job, "--until", str(count)).expect_end(0).report["records_in"]
        expect(got == count, f"--until {count}: {got} records")
    run = rig.run(job, "--until", "1s").expect_end(0, 30)
    expect(run.report["records_in"] == 30_000 - 777 - 12_000, f"--until 1s: {run.report['records_in']} records")
    rig.check("count", "--count", 30_000, "--ordered", "--once", group="count")
    run = rig.run(job, "--until", "soon").expect_end(64)
    expect("--until" in run.err(), "64 without a word on --until")
    return f"an empty topic ends after {empty_s:.1f} s"


def case_secrets(rig):
    """A property out of a file never appears: not in logs, reports, check, config show, nor in errors."""
    rig.trio("hush")
    rig.produce("hush", 100)
    canary = "c4nary-0f-a-s3cret"
    path = os.path.join(rig.folder, "password")
    with open(path, "w", encoding="ascii") as file:
        file.write(canary + "\n")
    secret = "${file:%s}" % path
    properties = {"bootstrap.servers": rig.broker.address, "sasl.username": "me", "sasl.password": secret, "ssl.key.password": secret}
    job = rig.job("hush", source__properties=properties)
    refused = rig.job("hush", source__properties={**properties, "security.protocol": "sasl_plaintext", "sasl.mechanism": "PLAIN"},
                      source__connect_timeout="1s")
    wrong = rig.job("hush", source__properties={**properties, "sasl.mechanism": secret, "no.such.password": secret})
    said = ""
    for words, code in ((["run", job, "--until", "end", "--json"], 0), (["run", job, "--until", "end"], 0), (["run", job, "--until", "end", "-X", "debug=all"], 0),
                        (["run", refused], 69), (["run", wrong], 78), (["check", job], 0), (["config", "show", job], 0)):
        done = subprocess.run([MILLRACE, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=30)
        expect(done.returncode == code, f"{' '.join(words)}: exit code {done.returncode}, not {code}:\n{done.stdout[-1500:]}")
        at = done.stdout.find(canary)
        expect(at < 0, f"{' '.join(words)} says the secret: ...{done.stdout[max(0, at - 200):at + 40]}")
        said += done.stdout
    return f"{len(said)} bytes of output without it"


def case_first(rig):
    """How soon the first record is scored: printed, not judged."""
    rig.trio("first")
    job = rig.job("first", source__instance="one")
    fresh, again = [], []
    for index in range(5):
        rig.produce("first", 100, first=index * 100)
        again.append(rig.run(job, "--until", "end").expect_end(0).report["first_out_seconds"])
        fresh_job = rig.job("first", source__group=f"first-{index}")
        fresh.append(rig.run(fresh_job, "--until", "end").expect_end(0).report["first_out_seconds"])
    return f"median of 5 starts: {median(again):.3f} s as a known member, {median(fresh):.3f} s with a new group (wanted: 0.5 s)"


if __name__ == "__main__":
    main([case_starts, case_lost, case_patterns, case_pattern_latest, case_until, case_secrets, case_first])
