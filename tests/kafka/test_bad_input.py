#!/usr/bin/env python3
"""Bad records among good ones, outputs that are too large, topics that are missing; and the order of what comes out."""
import subprocess

from rig import LONG, Skip, expect, main, median

CORPUS = "truncated,missing,null,type,range,twice,utf8,empty,binary,deep,long,huge"


def case_corpus(rig):
    """Null, empty, broken, 900 kB, 10 MB, 10,000 deep and not UTF-8: each good one is scored, each bad one a dead letter with its bytes."""
    rig.topics("corpus.in:4:max.message.bytes=12000000", "corpus.out:4", "corpus.dead:1:max.message.bytes=12000000")
    rig.produce("corpus", 12_000, "--bad-every", 100, "--kinds", CORPUS, "--null-every", 9)
    run = rig.run(rig.job("corpus"), "--until", "end").expect_end(0)
    found = rig.check("corpus", "--count", 12_000, "--ordered", "--once", group="corpus")
    reasons = run.report["reasons"]
    for reason in ("empty", "syntax", "encoding", "depth", "duplicate_key", "missing", "null", "type", "range", "size"):
        expect(reasons.get(reason), f"no dead letter for {reason}: {reasons}")
    return f"{found['dead']} dead letters, {found['cut']} of them cut to 64 KiB; {run.report['rss_max_bytes'] >> 20} MiB; {reasons}"


def case_tombstones(rig):
    """Null values as dead letters, when the job says so."""
    rig.trio("tomb")
    rig.produce("tomb", 3000, "--null-every", 3)
    rig.run(rig.job("tomb", record__tombstones="dead"), "--until", "end").expect_end(0)
    rig.check("tomb", "--count", 3000, "--ordered", "--once", "--tombstones", group="tomb")


def case_large_output(rig):
    """An answer that the output topic, or the client, does not take: it alone is a dead letter; the others keep their order."""
    rig.topics("large.in:4:max.message.bytes=4000000", "large.out:4:max.message.bytes=20000", "large.dead:1:max.message.bytes=4000000")
    fields = {"id": "id", "prediction": "regime.class", "pad": "pad"}
    rig.produce("large", 6000, "--large-every", 500, "--large-bytes", 50_000)
    rig.run(rig.job("large", emit__fields=fields), "--until", "end").expect_end(0)
    rig.check("large", "--count", 6000, "--once", group="large")
    ordered = rig.oracle("check", "--in", "large.in", "--out", "large.out", "--dead", "large.dead", "--once", "--ordered", check=False)
    rig.produce("large", 600, "--large-every", 100, "--large-bytes", 1_500_000, first=6000)
    rig.run(rig.job("large", emit__fields=fields, record__bytes_max="4MiB"), "--until", "end").expect_end(0)
    found = rig.check("large", "--count", 6600, "--once", group="large")
    return f"{found['dead']} dead letters; order of the others {'kept' if ordered.returncode == 0 else 'not kept: ' + ordered.stdout.strip()}"


def case_small_dead_topic(rig):
    """A dead-letter topic with a smaller limit than the bad record: cut, and marked as such."""
    rig.topics("cut.in:2", "cut.out:2", "cut.dead:1:max.message.bytes=100000")
    rig.produce("cut", 2000, "--bad-every", 100, "--kinds", "long,type")
    unpacked = {"source__properties__compression.codec": "none"}  # packed, they would fit
    rig.run(rig.job("cut", **unpacked), "--until", "end").expect_end(0)
    found = rig.check("cut", "--count", 2000, "--once", group="cut")
    expect(found["cut"] == 10, f"{found['cut']} dead letters are cut, not 10")


def case_missing_topics(rig):
    """No such topic: 66 at start, and the command that creates it."""
    rig.trio("miss")
    rig.produce("miss", 100)
    for changes in ({"source__topics": ["miss.nowhere"]}, {"sinks": [{"type": "kafka", "topic": "miss.nowhere"}]}, {"bad_records": {"topic": "miss.nowhere"}}):
        run = rig.run(rig.job("miss", **changes), "--until", "end").expect_end(66, 20)
        expect("miss.nowhere" in run.err() and "--create" in run.err(), f"{changes}: it does not say how to create it:\n{run.err()}")
    return "source, output and dead-letter topic"


def case_breaker(rig):
    """All records bad: it stops with 65 and says so, with few dead letters; afterwards nothing is missing."""
    rig.trio("fuse")
    rig.produce("fuse", 60_000, "--bad-every", 1, "--kinds", "type")
    run = rig.run(rig.job("fuse")).expect_end(65, 30)
    expect("circuit breaker" in run.err(), f"it does not say why:\n{run.err()}")
    dead = run.records_out()
    rig.run(rig.job("fuse", bad_records__share_max=1, bad_records__run_max=1_000_000), "--until", "end").expect_end(0)
    rig.check("fuse", "--count", 60_000, "--once", group="fuse")
    return f"stopped after {dead} dead letters"


def case_rate(rig):
    """One record in ten is bad: the rate against that of a clean topic (wanted: 80 %). Printed, not judged."""
    count = 1_000_000 if LONG else 400_000
    rig.trio("clean")
    rig.trio("dirty")
    rig.produce("clean", count)
    rig.produce("dirty", count, "--bad-every", 10)
    shares = []
    for turn in range(3):
        rates = [count / rig.run(rig.job(name, source__group=f"{name}-{turn}"), "--until", "end", "--lanes", "1").expect_end(0).report["seconds"]
                 for name in ("clean", "dirty")]
        shares.append(rates[1] / rates[0])
    return f"{100 * median(shares):.0f} % (median of 3, each over {count} records, start included)"


def case_order(rig):
    """One and two lanes, with and without keys: the order of each partition is kept; kcat and Kafka's own consumer read the output."""
    for name, flags in (("one", ()), ("keyed", ("--keys",))):
        rig.trio(name)
        rig.produce(name, 60_000, "--bad-every", 20, *flags)
    rig.run(rig.job("one"), "--until", "end", "--lanes", "1").expect_end(0)
    rig.check("one", "--count", 60_000, "--ordered", "--once", group="one")
    rig.run(rig.job("keyed"), "--until", "end", "--lanes", "2").expect_end(0)
    rig.check("keyed", "--count", 60_000, "--ordered", "--once", group="keyed")
    text = rig.kafka("ConsoleConsumer", "--topic", "one.out", "--from-beginning", "--max-messages", "57000", "--timeout-ms", "20000")
    expect(text.count('"prediction":') == 57_000, f"ConsoleConsumer read {text.count('prediction')} answers, not 57000")
    try:
        done = subprocess.run(["kcat", "-C", "-e", "-q", "-b", rig.broker.address, "-t", "one.out"], stdout=subprocess.PIPE, text=True)
    except FileNotFoundError:
        raise Skip("kcat is not installed; the rest was as it should be") from None
    expect(done.stdout.count('"prediction":') == 57_000, f"kcat read {done.stdout.count('prediction')} answers, not 57000")
    return "1 lane, 2 lanes with keys, ConsoleConsumer, kcat"


if __name__ == "__main__":
    main([case_corpus, case_tombstones, case_large_output, case_small_dead_topic, case_missing_topics, case_breaker, case_rate, case_order])
