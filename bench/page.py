#!/usr/bin/env python3
"""What the page costs: a browser that watches a job, the server meanwhile, and 1,000 viewers of events beside the rate of scoring.

The browser is a real Chromium on a page with a dozen panels, ten updates a second: CPU of the page's main thread, of the whole browser, and of the
server's threads, shares of a core, medians of windows. Viewers: the scorer is on one core, its viewers are on another; the records a second with and
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


def job_start(folder, rate, core=None):
    """A job that learns a plane; (process, address of its page)."""
    job = {"job": "plane", "source": {"type": "rate", "stream": "plane", "rate": rate, "positions": "none"},
           "record": {"format": "json", "features": ["x1", "x2"], "label": "y"},
           "models": [{"name": "std", "type": "scaler", "learn": True}, {"name": "sgd", "type": "linear", "input": "std", "learn": True}],
           "emit": {"fields": {"y": "sgd.score"}}, "sinks": [{"type": "console"}], "bad_records": {"drop": True}, "http": {"listen": "127.0.0.1:0"}}
    path, log_path = Path(folder) / "job.json", Path(folder) / "log"
    path.write_text(json.dumps(job))
    pin = ["taskset", "-c", str(core)] if core is not None else []
    with open(log_path, "w", encoding="utf-8") as log:
        process = subprocess.Popen([*pin, MILLRACE, "run", str(path), "-q"], stdout=subprocess.DEVNULL, stderr=log)
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


def watched(seconds, windows):
    """Shares of a core."""
    with tempfile.TemporaryDirectory() as folder:
        process, address = job_start(folder, 1000)
        browser = chromium.Chromium(1280, 2400)
        try:
            browser.size(1280, 2400)
            browser.open(address + "/")
            browser.wait("document.getElementById('state').dataset.state === 'ok' && document.querySelectorAll('.panel canvas').length >= 8", "panels")
            panels = browser.run("document.querySelectorAll('.panel').length")
            frames = "performance.getEntriesByType('resource').length"
            browser.run(frames)
            shares = {"page, main thread": [], "whole browser": [], "server": []}
            for _ in range(windows):
                before = time.monotonic(), browser.task_seconds(), tree_s(browser.process.pid), threads_s(process.pid, ("live", "http"))
                threading.Event().wait(seconds)
                after = time.monotonic(), browser.task_seconds(), tree_s(browser.process.pid), threads_s(process.pid, ("live", "http"))
                wall = after[0] - before[0]
                for i, name in enumerate(shares):
                    shares[name].append((after[i + 1] - before[i + 1]) / wall)
        finally:
            browser.close()
            process.terminate()
            process.wait()
    print(f"one viewer, {panels} panels, 10 updates/s; {windows} windows of {seconds} s, share of a core")
    for name, found in shares.items():
        print(f"  {name:20} median {100 * statistics.median(found):5.2f} %   ({100 * min(found):.2f} to {100 * max(found):.2f})")


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
        process, address = job_start(folder, 0, core=0)
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
    parser.add_argument("--viewers-of", help=argparse.SUPPRESS)
    opt = parser.parse_args()
    if opt.viewers_of:
        host, port = opt.viewers_of.rsplit(":", 1)
        viewer_main(host, int(port), opt.viewers)
        return
    watched(opt.seconds, opt.windows)
    crowd(opt.seconds, opt.windows, opt.viewers)


if __name__ == "__main__":
    main()
