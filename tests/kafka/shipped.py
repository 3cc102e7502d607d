"""The jobs of datasets/ as they are, fed and read on a real broker, or by themselves: what the tests of some of them share."""
import json
import os
import shutil
import signal
import subprocess

from rig import MILLRACE, ROOT, expect
from watched import browsing, look


def copied(rig, name):
    """The folder of a data set in the test's own: what its job saves goes there."""
    folder = os.path.join(rig.folder, name)
    shutil.copytree(os.path.join(ROOT, "datasets", name), folder, dirs_exist_ok=True)
    return folder


def lines(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def answers_of(rig, topic):
    done = subprocess.run([MILLRACE, "tap", topic, "-b", rig.broker.address, "-e"], stdout=subprocess.PIPE, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def replayed(rig, path, topic, rate=0):
    subprocess.run([MILLRACE, "replay", path, "--topic", topic, "-b", rig.broker.address, "--rate", str(rate)], check=True, capture_output=True)


def demo(rig, name, records, also=None, empty=()):
    """demo.json by itself, watched until so many records are out: nothing is dead, and nothing is written beside it. also(run) looks at more while it works."""
    folder = os.path.join(ROOT, "datasets", name)
    before = sorted(os.listdir(folder))
    run = rig.run(os.path.join(folder, "demo.json"), "--http", "127.0.0.1:0")
    with browsing() as browser:
        run.wait_out(records)
        seen = look(browser, run, name, empty)
    if also:
        also(run)
    run.signal(signal.SIGTERM)
    run.expect_end(0)
    expect(run.report["records_in"] >= records and not run.report["records_dead"], f"{run.report}")
    expect(sorted(os.listdir(folder)) == before, "the demo has written into its folder")
    return f"{run.report['records_in']} records, {seen} panels"
