"""The page of a run in a real browser, whatever panels it has; and the data sets' jobs as the tests on a broker run them."""
import json
import os
import re
import shutil
import signal
import subprocess
import sys

from rig import MILLRACE, ROOT, Skip, expect

sys.path.insert(0, os.path.join(ROOT, "tests", "browser"))
import chromium  # noqa: E402
import panels  # noqa: E402


class Browser:
    """A real Chromium; the case that wants one is skipped where there is none."""

    def __enter__(self):
        try:
            self.browser = chromium.Chromium()
        except chromium.Missing as reason:
            raise Skip(reason) from None
        return self

    def __exit__(self, *_):
        self.browser.close()

    def open(self, run):
        """The page of a run that was started with --http."""
        run.wait_log("the page of this job:")
        self.browser.size(1280, 2400)
        self.browser.forget()
        self.address = re.search(r"the page of this job: (http://[\d.]+:\d+/)", run.err()).group(1)
        self.browser.open(self.address)
        self.browser.wait("document.querySelectorAll('.panel').length > 5 && ['ok', 'idle', 'lagging'].includes(document.getElementById('state').dataset.state)", "the page shows the run")

    def look(self, name, empty=()):
        """All panels draw, but for those that may be empty; charts have units, nothing is wider than a narrow screen, the browser has no complaints.
        How many panels."""
        there = self.browser.run("[...document.querySelectorAll('.panel')].map(panel => panel.id)")
        for panel in set(there) - set(empty):
            panels.wait_drawn(self.browser, panel)
        expect(not panels.units_shown(self.browser), f"{name}: without axes: {panels.units_shown(self.browser)}")
        expect(self.browser.run("document.title").startswith(name), self.browser.run("document.title"))
        panels.picture(self.browser, name)
        self.browser.size(360, 740)
        self.browser.wait("[...document.querySelectorAll('.panel canvas')].every(canvas => canvas.getBoundingClientRect().right <= 361)", f"{name}: charts fit 360 px")
        expect(self.browser.run("document.documentElement.scrollWidth") <= 360, f"{name}: the page is wider than 360 px")
        self.browser.size(1280, 2400)
        expect(not self.browser.complaints(), f"{name}: {self.browser.complaints()}")
        return len(there)


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
    """demo.json by itself, watched until so many records are out: nothing is dead, and nothing is written beside it. also(browser) looks at more."""
    folder = os.path.join(ROOT, "datasets", name)
    before = sorted(os.listdir(folder))
    run = rig.run(os.path.join(folder, "demo.json"), "--http", "127.0.0.1:0")
    with Browser() as browser:
        browser.open(run)
        run.wait_out(records)
        seen = browser.look(name, empty)
        if also:
            also(browser)
        run.signal(signal.SIGTERM)
        run.expect_end(0)
    expect(run.report["records_in"] >= records and not run.report["records_dead"], f"{run.report}")
    expect(sorted(os.listdir(folder)) == before, "the demo has written into its folder")
    return f"{run.report['records_in']} records, {seen} panels"
