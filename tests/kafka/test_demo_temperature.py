#!/usr/bin/env python3
"""datasets/temperature/influx.json as shipped, on a real broker: each reading is an answer in Kafka and a point in a real InfluxDB, once, with
the class that scikit-learn gives; the page is watched by a browser."""
import json
import os
import signal
import subprocess
import sys

from rig import MILLRACE, ROOT, expect, main, wait_for
from servers import Influx
from watched import browsing, look

sys.path.insert(0, os.path.join(ROOT, "tests", "golden", "temperature"))
import check  # noqa: E402

DATA = os.path.join(ROOT, "datasets", "temperature")
RATE = 2000  # ten seconds for all of them


def job_text(rig, influx):
    """The shipped file with its model, and the address of this server."""
    with open(os.path.join(DATA, "influx.json"), encoding="utf-8") as file:
        text = file.read()
    for here, there in (("http://localhost:8086", influx.url), ('"regime.safetensors"', json.dumps(os.path.join(DATA, "regime.safetensors")))):
        expect(here in text, f"{here} is not in the job")
        text = text.replace(here, there)
    path = os.path.join(rig.folder, "influx.json")
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return path


def answers_check(rig, expected):
    """(partition, offset) -> message of example_2; each reading is there, with its class."""
    done = subprocess.run([MILLRACE, "tap", "example_2", "-b", rig.broker.address, "-e", "--json"], stdout=subprocess.PIPE, check=True)
    messages = [json.loads(line) for line in done.stdout.splitlines()]
    wanted = {}
    for line, label in zip(expected.lines, expected.classes):
        wanted[json.loads(line)["Temperature"]] = label  # equal readings have equal answers
    values = [json.loads(message["value"]) for message in messages]
    got = sorted(value["Temperature"] for value in values)
    expect(got == sorted(json.loads(line)["Temperature"] for line in expected.lines), f"{len(got)} answers to {len(expected.lines)} readings")
    wrong = [value for value in values if value["prediction"] != wanted[value["Temperature"]]]
    expect(not wrong, f"{len(wrong)} classes are not {expected.made_by}'s: {wrong[:3]}")
    return list(zip(messages, values))


def points_check(influx, answers):
    """Each answer is one point: class, temperature, partition, and its time in Kafka."""
    points = influx.points("example", "new_table")
    got = sorted((point["Temperature"], point["prediction"], int(point["partition"]), point["time"] // 1_000_000) for point in points)
    want = sorted((value["Temperature"], value["prediction"], message["partition"], message["timestamp"]) for message, value in answers)
    expect(got == want, f"{len(got)} points for {len(want)} answers; {sorted(set(got) - set(want))[:2]} for {sorted(set(want) - set(got))[:2]}")
    counts = influx.query('SELECT count("Temperature") FROM "new_table"', "example")  # as a dashboard would ask
    expect(counts[0]["count"] == len(want), f"{counts}")
    return len(got)


def case_influx(rig):
    """Readings in, classes to Kafka and InfluxDB, and a page."""
    rig.topics("example_1:2", "example_2:2", "example_1.dead:1")
    expected = check.Expected()
    readings = os.path.join(rig.folder, "readings.jsonl")
    with open(readings, "w", encoding="ascii") as file:
        file.writelines(line + "\n" for line in expected.lines)
    influx = Influx().start()
    sender = None
    try:
        influx.database("example")
        with browsing() as browser:
            where = f"bootstrap.servers={rig.broker.address}"
            run = rig.run(job_text(rig, influx), "-X", where, "--http", "127.0.0.1:0")
            sender = subprocess.Popen([MILLRACE, "replay", readings, "--topic", "example_1", "--rate", str(RATE), "-b", rig.broker.address],
                                      stderr=subprocess.PIPE, text=True)
            count = look(browser, run, "temperature")
            said = sender.communicate(timeout=60)[1]
            expect(sender.returncode == 0, f"replay: {said}")
            wait_for(lambda: influx.query('SELECT count("Temperature") FROM "new_table"', "example")[0]["count"] >= len(expected.lines), "all points", 60)
            run.signal(signal.SIGTERM)
            run.expect_end(0)
        answers = answers_check(rig, expected)
        points = points_check(influx, answers)
        return f"{points} points of {len(expected.lines)} readings ({expected.name}), {count} panels"
    finally:
        if sender and sender.poll() is None:
            sender.kill()
            sender.wait()
        influx.close()


main([case_influx])
