#!/usr/bin/env python3
"""What a job's page costs: the time to its first paint, what Chromium's main thread works for it while it is updated, and what the server's
two threads work for one viewer. For each kind of job of tests/browser/test_page.py, on loopback.

Prints ms, updates a second that came, and shares of one core.
"""
import argparse
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests/browser"))
import chromium  # noqa: E402
import test_page  # noqa: E402


def threads_s(pid):
    """CPU time of the threads that serve the page."""
    total = 0
    for path in Path(f"/proc/{pid}/task").iterdir():
        if (path / "comm").read_text().strip() in ("live", "MHD-single"):
            total += int((path / "schedstat").read_text().split()[0]) / 1e9
    return total


def measure(browser, folder, name, seconds):
    run = test_page.Run(folder, name)
    try:
        browser.size(1280, 900)
        browser.open(run.address)
        browser.wait("document.getElementById('state').dataset.state === 'ok'", f"{name} runs")
        browser.run("globalThis.updates = 0; new EventSource('events').addEventListener('frame', () => updates++); 0")
        time.sleep(2)  # what is made once is made
        before = browser.task_seconds(), threads_s(run.process.pid), browser.run("updates"), time.monotonic()
        time.sleep(seconds)
        after = browser.task_seconds(), threads_s(run.process.pid), browser.run("updates"), time.monotonic()
        page, server, updates, wall = (b - a for a, b in zip(before, after, strict=True))
        paint = browser.run("performance.getEntriesByType('paint').find(one => one.name === 'first-contentful-paint').startTime")
        panels = browser.run("document.querySelectorAll('.panel').length")
        print(f"{name:10} {panels:3} panels  first paint {paint:5.0f} ms  {updates / wall:4.1f} updates/s  page {100 * page / wall:5.1f} %  server {100 * server / wall:5.2f} %")
    finally:
        run.end()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--jobs", nargs="*", default=test_page.ALONE)
    words = parser.parse_args()
    try:
        browser = chromium.Chromium()
    except chromium.Missing as reason:
        print(f"SKIP: {reason}")
        sys.exit(77)
    try:
        with tempfile.TemporaryDirectory() as folder:
            for name in words.jobs:
                measure(browser, Path(folder), name, words.seconds)
    finally:
        browser.close()


if __name__ == "__main__":
    main()
