#!/usr/bin/env python3
"""The sinks influx and elastic behind a real broker: what a follower was given is in the server once, whatever is killed; a required sink holds
up commits and loses nothing; a dead one slows no scoring, and no end."""
import json
import os
import signal
import subprocess
import time

from rig import LONG, MILLRACE, expect, main, wait_for
from servers import Fake, Influx, Search, free_ports

RECORDS = 42_000
KILLS = 6


def resident_kb(run):
    with open(f"/proc/{run.process.pid}/status", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS"))


def outputs(rig, topic):
    """(partition, offset) -> value and timestamp of the committed records of a topic."""
    done = subprocess.run([MILLRACE, "tap", topic, "-b", rig.broker.address, "-e", "--json"], stdout=subprocess.PIPE, check=True)
    return {(message["partition"], message["offset"]): message for message in map(json.loads, done.stdout.splitlines())}


def influx_of(server, name, **options):
    return {"type": "influx", "url": server.url, "database": "test", "measurement": name, "tags": ["@partition"], "integers": ["id"], **options}


def elastic_of(server, name, **options):
    return {"type": "elastic", "urls": [server.url], "index": name, **options}


def documents_are(search, index, topic, wanted):
    """Each record of the topic is one document of its name, with its values."""
    found = search.documents(index)
    names = {f"{topic}-{partition}-{offset}" for partition, offset in wanted}
    expect(found.keys() == names, f"{len(names - found.keys())} of {len(names)} documents are missing, {len(found.keys() - names)} are foreign")
    for (partition, offset), message in wanted.items():
        value = json.loads(message["value"])
        document = found[f"{topic}-{partition}-{offset}"]
        expect({key: document[key] for key in value} == value, f"{document} of {value}")
    return len(found)


def points_are(influx, measurement, wanted):
    """Each record is one point, with its values, at its time."""
    points = influx.points("test", measurement)
    got = sorted((point["id"], int(point["partition"]), point["prediction"], point["time"] // 1_000_000) for point in points)
    values = [(json.loads(message["value"]), partition, message["timestamp"]) for (partition, _), message in wanted.items()]
    want = sorted((value["id"], partition, value["prediction"], timestamp) for value, partition, timestamp in values)
    expect(got == want, f"{len(got)} points of {len(want)} records; {sorted(set(got) - set(want))[:2]} for {sorted(set(want) - set(got))[:2]}")
    return len(got)


def kill_often(rig, name, job, kills, *flags):
    """kill -9 at random moments; each run has records of its own to come, whatever those before it have done."""
    share = RECORDS // kills
    for i in range(kills):
        sender = rig.producing(name, share, share, *flags, first=i * share)
        run = rig.run(job)
        run.wait_out(rig.random.randrange(1, share // 2), 120)
        run.signal(signal.SIGKILL)
        run.end()
        expect(sender.wait(120) == 0, "the sender failed")


def case_exactly_once(rig):
    """Killed again and again: what is committed is in both servers, each record once."""
    influx, search = Influx().start(), Search()
    try:
        search.start()
        influx.database("test")
        rig.trio("once")
        job = rig.job("once", delivery="exactly-once", lanes=1, commit_interval="100ms",
                      sinks=[{"type": "kafka", "topic": "once.out"}, influx_of(influx, "once"), elastic_of(search, "once")])
        kill_often(rig, "once", job, KILLS, "--bad-every", 50)
        run = rig.run(job, "--until", "end").expect_end(0, 120)
        rig.check("once", "--count", RECORDS, "--ordered", "--once", group="once")
        wanted = outputs(rig, "once.out")
        count = documents_are(search, "once", "once.out", wanted)
        points_are(influx, "once", wanted)
        expect(all(one["lag"] == 0 for one in run.report["followers"]), f"{run.report['followers']}")
        expect(not any(one["records_dropped"] for one in run.report["sinks"]), f"{run.report['sinks']}")
        return f"{count} records, {KILLS} kills"
    finally:
        influx.close()
        search.close()


def case_required(rig):
    """At least once, both sinks required, killed again and again: every answer is there, once by its key."""
    influx, search = Influx().start(), Search()
    try:
        search.start()
        influx.database("test")
        rig.trio("req")
        job = rig.job("req", lanes=2, sinks=[influx_of(influx, "req", required=True), elastic_of(search, "req", required=True)])
        kill_often(rig, "req", job, KILLS)
        for _ in range(5):  # it ends with 75 where the servers take more than a few seconds for the last of it
            code = rig.run(job, "--until", "end").end(120)
            if code != 75:
                break
        expect(code == 0, f"exit code {code}")
        ids = [document["id"] for document in search.documents("req").values()]
        expect(sorted(ids) == list(range(RECORDS)), f"{len(ids)} documents, {len(set(ids))} ids, of {RECORDS} records")
        points = influx.points("test", "req")
        expect(sorted(point["id"] for point in points) == list(range(RECORDS)), f"{len(points)} points of {RECORDS} records")
        return f"{RECORDS} records, {KILLS} kills"
    finally:
        influx.close()
        search.close()


def case_server_restarts(rig):
    """The server is killed while a follower feeds it, and is away for a while: scoring goes on, then all of it arrives."""
    influx = Influx().start()
    try:
        influx.database("test")
        rig.trio("away")
        job = rig.job("away", delivery="exactly-once", lanes=1, commit_interval="100ms", sinks=[{"type": "kafka", "topic": "away.out"}, influx_of(influx, "away")])
        run = rig.run(job)
        rig.produce("away", RECORDS // 4)
        run.wait_out(RECORDS // 4)
        influx.stop()
        rig.produce("away", RECORDS // 2, first=RECORDS // 4)
        run.wait_out(RECORDS // 4 * 3)
        run.wait_log("it is tried again")
        influx.start()
        rig.produce("away", RECORDS // 4, first=RECORDS // 4 * 3)
        run.wait_out(RECORDS)
        run.wait_log("takes records again", 60)
        wait_for(lambda: len(influx.points("test", "away")) >= RECORDS, "all points")
        run.signal(signal.SIGTERM)
        run.expect_end(0)
        return f"{points_are(influx, 'away', outputs(rig, 'away.out'))} points"
    finally:
        influx.close()


def case_outage(rig):
    """The server is away for half an hour (MILLRACE_LONG=1, else for seconds), three policies side by side: scoring goes on, what is spilled and what a follower holds
    all arrives, in the server once, what is dropped is counted; the tries become rare, and the process does not grow."""
    influx = Influx().start()
    outage_s = 1800 if LONG else 6
    rate, around = 200, 2000
    count = 2 * around + rate * outage_s
    try:
        influx.database("test")
        rig.trio("out")
        rig.trio("fol")
        small = {"queue": "64KiB", "timeout": "2s"}
        aside = rig.run(rig.job("out", lanes=1, sinks=[
            {"type": "kafka", "topic": "out.out"}, influx_of(influx, "spilled", overflow="spill", spill=os.path.join(rig.folder, "spill"), **small), influx_of(influx, "dropped", **small)]))
        follower = rig.run(rig.job("fol", delivery="exactly-once", lanes=1, sinks=[{"type": "kafka", "topic": "fol.out"}, influx_of(influx, "followed", **small)]))
        for name in ("out", "fol"):
            rig.produce(name, around)
        for run in (aside, follower):
            run.wait_out(around)
        wait_for(lambda: all(len(influx.points("test", name)) == around for name in ("spilled", "followed")), "the first points")
        influx.stop()
        before = resident_kb(aside)
        senders = [rig.producing(name, rate * outage_s, rate, first=around) for name in ("out", "fol")]
        for sender in senders:
            expect(sender.wait(outage_s + 120) == 0, "the sender failed")
        for run in (aside, follower):
            run.wait_out(count - around)  # scored meanwhile
        grown, retried = resident_kb(aside) - before, aside.sinks[1]["retries"]
        influx.start()
        for name in ("out", "fol"):
            rig.produce(name, around, first=count - around)
        for run in (aside, follower):
            run.wait_out(count)
        wait_for(lambda: len(influx.points("test", "followed")) == count, "all that was followed", 180)
        wait_for(lambda: len(influx.points("test", "spilled")) == count, "all that was spilled", 180)
        for run in (aside, follower):
            run.signal(signal.SIGTERM)
            run.expect_end(0)
        spilled, dropped = aside.report["sinks"]
        points = [point["id"] for point in influx.points("test", "dropped")]
        expect(len(set(points)) == len(points) == dropped["records_delivered"] and len(points) + dropped["records_dropped"] == count, f"{len(points)} points: {dropped}")
        expect(spilled["records_delivered"] == count and not spilled["records_dropped"], f"{spilled}")
        points_are(influx, "followed", outputs(rig, "fol.out"))
        expect(retried < 20 + outage_s / 5, f"{retried} tries in {outage_s} s")
        expect(grown < 64 * 1024, f"it grew by {grown} kB")
        return f"{outage_s} s away, {retried} tries, {grown} kB more, {count} records, {spilled['records_spilled']} spilled, {dropped['records_dropped']} dropped"
    finally:
        influx.close()


def case_dead(rig):
    """Nobody listens: a job whose sink is not required scores everything, and ends within 10 s of a signal; so does one with a follower."""
    url = f"http://127.0.0.1:{free_ports(1)[0]}"
    sink = {"type": "influx", "url": url, "database": "test", "measurement": "m", "queue": "64KiB"}
    rig.trio("dead")
    rig.produce("dead", RECORDS)
    run = rig.run(rig.job("dead", sinks=[{"type": "kafka", "topic": "dead.out"}, sink]))
    run.wait_out(RECORDS)
    started = time.monotonic()
    run.signal(signal.SIGTERM)
    run.expect_end(0)
    took_s = time.monotonic() - started
    expect(took_s < 10, f"it took {took_s:.1f} s to end")
    told = run.report["sinks"][0]
    expect(told["records_dropped"] == told["records_in"] == RECORDS and told["is_failing"] and url in told["last_error"], f"{told}")
    expect("are dropped" in run.err(), run.err()[-2000:])
    rig.check("dead", "--count", RECORDS)
    rig.trio("dead2")
    rig.produce("dead2", RECORDS)
    run = rig.run(rig.job("dead2", delivery="exactly-once", sinks=[{"type": "kafka", "topic": "dead2.out"}, sink]))
    run.wait_out(RECORDS)
    started = time.monotonic()
    run.signal(signal.SIGTERM)
    code = run.end(30)
    took = time.monotonic() - started
    expect(code in (0, 75) and took < 10, f"exit code {code} after {took:.1f} s: {run.err()[-2000:]}")
    told = run.report["sinks"][0]
    expect(not told["records_dropped"] and not told["records_delivered"], f"{told}")
    return f"{took_s:.1f} s and {took:.1f} s (exit code {code}) to end"


def case_denied(rig):
    """A required sink whose credentials are refused ends the job, and says what to look at; nothing is committed."""
    fake = Fake(lambda _: (401, {}, b'{"error":"authorization failed"}'))
    try:
        rig.trio("no")
        rig.produce("no", 1000)
        run = rig.run(rig.job("no", sinks=[influx_of(fake, "m", required=True, user="me", password="s3cret-word")]), "--until", "end")
        run.expect_end(69)
        said = run.err()
        expect("401: authorization failed; see user and password_file" in said, said[-2000:])
        expect("s3cret-word" not in said, "it says the password")
        expect(run.report["records_out"] == 0 and run.report["commits"] == 0, f"{run.report}")
        expect(len(fake.requests) == 3 and all(request.headers["Authorization"] == "Basic bWU6czNjcmV0LXdvcmQ=" for request in fake.requests), f"{fake.requests}")
    finally:
        fake.close()


if __name__ == "__main__":
    main([case_exactly_once, case_required, case_server_restarts, case_outage, case_dead, case_denied])
