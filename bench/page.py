#!/usr/bin/env python3
"""What the page costs: a browser that watches a job, the server meanwhile, and 1,000 viewers of events beside the rate of scoring.

The browser is a real Chromium of 1280 x 900, on each kind of job of tests/browser/test_page.py: CPU of the page's main thread, of the whole browser (all
its processes, which draw without a GPU), and of the server's threads, shares of a core, medians of windows; ten updates a second. Viewers: the scorer is on one core, its viewers are on another; the records a second with and
without them, windows in turns within one run, and the median of the ratios of neighbours. Wants a quiet machine of two cores or more.
"""
import argparse
import json
import os
import re
import selectors
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MILLRACE = Path(os.environ.get("BUILD_DIR", ROOT / "build")) / "millrace"
sys.path.insert(0, str(ROOT / "tests/browser"))
import chromium  # noqa: E402
import test_page  # noqa: E402


def job_start(folder, core):
    """A job that learns a plane, as fast as it can; (process, address of its page)."""
    job = {"job": "plane", "source": {"type": "rate", "stream": "plane", "rate": 0, "positions": "none"},
           "record": {"format": "json", "features": ["x1", "x2"], "label": "y"},
           "models": [{"name": "std", "type": "scaler", "learn": True}, {"name": "sgd", "type": "linear", "input": "std", "learn": True}],
           "emit": {"fields": {"y": "sgd.score"}}, "sinks": [{"type": "console"}], "bad_records": {"drop": True}, "http": {"listen": "127.0.0.1:0"}}
    path, log_path = Path(folder) / "job.json", Path(folder) / "log"
    path.write_text(json.dumps(job))
    with open(log_path, "w", encoding="utf-8") as log:
        process = subprocess.Popen(["taskset", "-c", str(core), MILLRACE, "run", str(path), "-q"], stdout=subprocess.DEVNULL, stderr=log)
    while not (found := re.search(r"the page of this job: (http://\S+)/", log_path.read_text())):
        if process.poll() is not None:
            sys.exit(f"bench/page.py: the job ended: {log_path.read_text()[-800:]}")
        threading.Event().wait(0.02)
    return process, found.group(1)


def threads_s(pid, names):
    """CPU seconds of the threads of these names."""
    spent = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        if (task / "comm").read_text().strip() in names:
            spent += int((task / "schedstat").read_text().split()[0]) / 1e9
    return spent


def tree_s(pid):
    """CPU seconds of a process and all below it."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(") ", 1)[1].split()
        except OSError:
            continue
        parents[int(stat.parent.name)] = (int(fields[1]), (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"))
    inside, spent = {pid}, 0
    while more := {child for child, (parent, _) in parents.items() if parent in inside} - inside:
        inside |= more
    for one in inside:
        spent += parents.get(one, (0, 0))[1]
    return spent


def watched(browser, folder, name, seconds, windows):
    """Shares of a core, of one kind of job of tests/browser/test_page.py."""
    run = test_page.Run(Path(folder), name)
    shares = {"main thread": [], "browser": [], "server": []}

    def now():
        return time.monotonic(), browser.task_seconds(), tree_s(browser.process.pid), threads_s(run.process.pid, ("live", "http")), browser.run("updates")
    try:
        browser.size(1280, 900)
        browser.open(run.address)
        browser.wait("document.getElementById('state').dataset.state === 'ok'", f"{name} runs")
        browser.run("globalThis.updates = 0; new EventSource('events').addEventListener('frame', () => updates++); 0")
        threading.Event().wait(2)  # what is made once is made
        updates = []
        for _ in range(windows):
            before = now()
            threading.Event().wait(seconds)
            *after, come = [b - a for a, b in zip(before, now(), strict=True)]
            for place, share in zip(shares.values(), after[1:], strict=True):
                place.append(share / after[0])
            updates.append(come / after[0])
        paint = browser.run("performance.getEntriesByType('paint').find(one => one.name === 'first-contentful-paint').startTime")
        panels = browser.run("document.querySelectorAll('.panel').length")
    finally:
        run.end()
    told = "  ".join(f"{what} {100 * statistics.median(found):5.2f} %" for what, found in shares.items())
    print(f"{name:10} {panels:3} panels  first paint {paint:4.0f} ms  {statistics.median(updates):4.1f} updates/s  {told}", flush=True)


def viewer_main(host, port, count):
    """Connects so many when a line comes on stdin, and drops them at the next one; says each time when it is done."""
    links, picker = [], selectors.DefaultSelector()
    picker.register(sys.stdin, selectors.EVENT_READ)
    got = 0
    while True:
        for key, _ in picker.select():
            if key.fileobj is not sys.stdin:
                data = key.fileobj.recv(1 << 16)
                got += len(data)
                if not data:
                    picker.unregister(key.fileobj)
                continue
            if not sys.stdin.readline():
                return
            if links:
                for link in links:
                    link.close()
                links, picker = [], selectors.DefaultSelector()
                picker.register(sys.stdin, selectors.EVENT_READ)
            else:
                for _ in range(count):
                    link = socket.create_connection((host, port))
                    link.sendall(f"GET /events HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
                    links.append(link)
                    picker.register(link, selectors.EVENT_READ)
            print(got, flush=True)


def scored(address):
    """Records so far, and the seconds that the run has taken for them."""
    with urllib.request.urlopen(address + "/metrics", timeout=10) as answer:
        text = answer.read().decode()
    value = {name: float(re.search(rf"^millrace_{name} (\S+)$", text, re.M).group(1)) for name in ("records_scored_total", "uptime_seconds")}
    return value["records_scored_total"], value["uptime_seconds"]


def crowd(seconds, windows, count):
    """The rate of scoring, with viewers over that without."""
    with tempfile.TemporaryDirectory() as folder:
        process, address = job_start(folder, core=0)
        host, port = re.match(r"http://(.+):(\d+)$", address).groups()
        viewers = subprocess.Popen(["taskset", "-c", "1", sys.executable, __file__, "--viewers-of", f"{host}:{port}", "--viewers", str(count)],
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        rates, got = {False: [], True: []}, []
        try:
            threading.Event().wait(3)  # warm
            for window in range(2 * windows):
                is_watched = bool(window % 2)
                before = scored(address)
                threading.Event().wait(seconds)
                after = scored(address)
                rates[is_watched].append((after[0] - before[0]) / (after[1] - before[1]))
                viewers.stdin.write("\n")
                viewers.stdin.flush()
                got.append(int(viewers.stdout.readline()))
                threading.Event().wait(1)  # until connections have come or gone
        finally:
            viewers.stdin.close()
            viewers.wait()
            process.terminate()
            process.wait()
    ratios = [with_them / without for with_them, without in zip(rates[True], rates[False])]
    print(f"{count} viewers of events; {windows} pairs of windows of {seconds} s; {got[-1] / 1e6:.0f} MB of events came")
    print(f"  records/s without    median {statistics.median(rates[False]):,.0f}")
    print(f"  records/s with       median {statistics.median(rates[True]):,.0f}")
    print(f"  ratio                median {statistics.median(ratios):.4f}   ({min(ratios):.4f} to {max(ratios):.4f})")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--windows", type=int, default=7)
    parser.add_argument("--viewers", type=int, default=1000)
    parser.add_argument("--jobs", nargs="*", default=test_page.ALONE)
    parser.add_argument("--viewers-of", help=argparse.SUPPRESS)
    opt = parser.parse_args()
    if opt.viewers_of:
        host, port = opt.viewers_of.rsplit(":", 1)
        viewer_main(host, int(port), opt.viewers)
        return
    with tempfile.TemporaryDirectory() as folder:
        browser = chromium.Chromium()
        try:
            for name in opt.jobs:
                watched(browser, folder, name, opt.seconds, opt.windows)
        finally:
            browser.close()
    crowd(opt.seconds, opt.windows, opt.viewers)


if __name__ == "__main__":
    main()
