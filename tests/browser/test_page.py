#!/usr/bin/env python3
"""A job's page in a real browser: every panel draws what the run does, with units and without complaints; narrow and wide, dark and light; it says what has
happened when records stop, the server goes and comes back, and the job ends. Pictures go to the folder MILLRACE_PICTURES, if that is set."""
import http.client
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time

import chromium
from panels import DEADLINE_S, expect, picture, units_shown, wait_drawn

ROOT = pathlib.Path(__file__).resolve().parents[2]
MILLRACE = os.environ.get("MILLRACE", str(ROOT / "build/millrace"))


def plane(i):
    x1, x2 = i % 97, i % 31
    return {"x1": x1 if i % 100 else None, "x2": x2, "y": 3.2 * x1 + 0.6 * x2 + 5 + i % 7}


def cluster(i):
    k, a, b = i % 4, i * 7919 % 101 / 101, i * 104729 % 103 / 103
    return {"a": 10 * (k % 2) + 2 * a + i / 4000, "b": 10 * (k // 2) + 2 * b}


def regime(i):
    return {"t": i * 7919 % 1000 / 10, "regime": int(i * 7919 % 1000 > 500)}


def arm(i):
    return {"arm": "new" if i * 7919 % 10 > 2 else "old", "value": 10 + 2 * (i * 7919 % 10 > 2) + i * 104729 % 101 / 10}


def user(i):
    return {"uid": i * 7919 % 300 + 1}


MACHINE = ["lag", "rate", "latency", "stages", "batch", "cpu", "dead", "models", "log"]
SCALER = {"name": "std", "type": "scaler", "learn": True}
# Of each kind of job: how its records are made (None: by its source), what it is, and its panels in their order.
JOBS = {
    "plane": (plane, {"record": {"format": "json", "features": ["x1", "x2"], "label": "y"},
                      "models": [SCALER, {"name": "sgd", "type": "linear", "input": "std", "learn": True, "step": 0.05}], "emit": {"fields": {"estimate": "sgd.score"}},
                      "http": {"truth": {"x1": 3.2, "x2": 0.6}}},
              ["loss", "actual-sgd", "numbers-sgd", "residuals-sgd", "scores-sgd", "offsets-sgd", *MACHINE]),
    "clusters": (None, {"source": {"type": "rate", "stream": "clusters", "rate": 500, "walk": 4000}, "record": {"format": "json", "features": ["x", "y"]},
                        "models": [{"name": "near", "type": "kmeans", "learn": True, "k": 4}], "emit": {"fields": {"cluster": "near.class", "far": "near.score"}}},
                 ["loss", "centres-near", "numbers-near", *MACHINE[1:]]),
    "regimes": (regime, {"record": {"format": "json", "features": ["t"], "label": "regime"},
                         "models": [SCALER, {"name": "which", "type": "logistic", "input": "std", "learn": True, "step": 1}],
                         "emit": {"fields": {"class": "which.class", "probability": "which.probability"}}},
                ["loss", "right", "classes-which", "numbers-which", "scores-which", "confusion-which", "offsets-which", *MACHINE]),
    "ab": (arm, {"record": {"format": "json", "features": ["arm", "value"]}, "models": [{"name": "lift", "type": "abtest", "learn": True, "arms": ["old", "new"]}],
                 "emit": {"fields": {"difference": "lift.difference"}}, "http": {"truth": {"arm[old]": 10, "arm[new]": 12}}},
           ["difference-lift", "arms-lift", *MACHINE]),
    "ratings": (user, {"record": {"format": "json", "features": ["uid"]}, "models": [{"name": "best", "type": "mf", "file": str(ROOT / "datasets/ratings/ratings.safetensors"), "top": 10}],
                       "emit": {"fields": {"items": "best.items", "scores": "best.scores"}}},
                ["top-best", *MACHINE]),
    "many": (None, {"source": {"type": "rate", "stream": "plane", "rate": 500, "coefficients": [str(i + 1) for i in range(10)]},
                    "record": {"format": "json", "features": [f"x{i + 1}" for i in range(10)], "label": "y"},
                    "models": [SCALER, *({"name": f"sgd{i}", "type": "linear", "input": "std", "learn": True, "step": 0.05} for i in range(4))],
                    "emit": {"fields": {"estimate": "sgd3.score"}}},
             ["loss", *(f"{what}-sgd{i}" for i in range(3) for what in ("actual", "numbers", "residuals", "scores", "offsets")), *MACHINE[1:]]),
    "later": (None, {"source": {"type": "kafka", "topics": ["train"], "group": "later"}, "record": {"format": "json", "features": ["x1", "x2"]},
                     "labels": {"topics": ["answers"], "key": "id", "label": "y", "wait_max": "1h"},
                     "models": [SCALER, {"name": "sgd", "type": "linear", "input": "std", "learn": True, "step": 0.05}], "emit": {"fields": {"estimate": "sgd.score"}}},
              ["loss", "actual-sgd", "numbers-sgd", "residuals-sgd", "scores-sgd", "offsets-sgd", *MACHINE]),
    "topics": (None, {"source": {"type": "kafka", "topics": ["train", "test"], "group": "topics"}, "record": {"format": "json", "features": ["x1", "x2"], "label": "y"},
                      "models": [SCALER, {"name": "sgd", "type": "linear", "input": "std", "learn": True, "step": 0.05}], "emit": {"fields": {"estimate": "sgd.score"}}},
               ["loss", "offsets-sgd", "actual-sgd", "numbers-sgd", "residuals-sgd", "scores-sgd", *MACHINE]),
}
ALONE = [name for name in JOBS if name not in ("later", "topics")]  # the others need topics that somebody fills


class Broker:
    """One in a process of its own, and topics that are filled."""

    def __init__(self, folder, topics):
        path = folder / "broker"
        path.unlink(missing_ok=True)
        words = [word for topic in topics for word in ("--topic", topic)]
        self.processes = [subprocess.Popen([MILLRACE, "broker", *words, "--partitions", "1", "--address-file", str(path)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)]
        deadline = time.monotonic() + DEADLINE_S
        while not (path.exists() and path.read_text().strip()):
            expect(time.monotonic() < deadline, "the broker does not start")
            threading.Event().wait(0.01)
        self.address = path.read_text().strip()
        for topic, records in topics.items():
            data = folder / f"{topic}.jsonl"
            data.write_text("".join(json.dumps(record) + "\n" for record in records))
            self.processes.append(subprocess.Popen([MILLRACE, "replay", str(data), "-t", topic, "-b", self.address, "-r", "500"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))

    def end(self):
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.wait(DEADLINE_S)


class Run:
    """A job with a page, fed at a rate."""

    def __init__(self, folder, name, port=0, count=100_000, rate=500, broker=None):
        make, more, self.panels = JOBS[name]
        source = {"type": "kafka", "topics": [f"{name}.in"], "group": name, "properties": {"bootstrap.servers": "embedded"}}
        sink = {"type": "kafka", "topic": f"{name}.out"} if make else {"type": "file", "path": str(folder / f"{name}.out")}
        if broker:
            more = {**more, "source": {**more["source"], "properties": {"bootstrap.servers": broker.address}}}
        job = {"job": name, "source": source, "sinks": [sink], "bad_records": {"drop": True}, **more, "http": {"listen": f"127.0.0.1:{port}", **more.get("http", {})}}
        path = folder / f"{name}.json"
        path.write_text(json.dumps(job))
        words = [MILLRACE, "run", str(path), "-q"]
        if make:
            data = folder / f"{name}.jsonl"
            with open(data, "w", encoding="utf-8") as file:
                for i in range(count):
                    file.write(json.dumps(make(i)) + "\n")
            words += ["--feed", str(data), "--rate", str(rate)]
        self.log_path = folder / f"{name}-{port}.log"
        with open(self.log_path, "w", encoding="utf-8") as log:
            self.process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=log)
        deadline = time.monotonic() + DEADLINE_S
        while not (found := re.search(r"the page of this job: (http://127\.0\.0\.1:(\d+)/)", self.log_path.read_text(encoding="utf-8"))):
            expect(time.monotonic() < deadline and self.process.poll() is None, f"no page: {self.log_path.read_text()[-500:]}")
            threading.Event().wait(0.01)
        self.address, self.port = found.group(1), int(found.group(2))

    def end(self, number=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(DEADLINE_S)


def panels(folder, browser):
    """Each kind of job has its panels, and all of them draw."""
    seen = 0
    for name in ALONE:
        run = Run(folder, name)
        try:
            browser.size(1280, 2400)
            browser.forget()
            browser.open(run.address)
            browser.wait("document.getElementById('state').dataset.state === 'ok' && document.querySelectorAll('.panel').length > 5", f"{name} runs")
            there = browser.run("[...document.querySelectorAll('.panel')].map(panel => panel.id)")
            expect(there == run.panels, f"{name}: panels {there}")
            for panel in run.panels:
                wait_drawn(browser, panel)
                seen += 1
            expect(not units_shown(browser), f"{name}: without axes: {units_shown(browser)}")
            expect(browser.run("document.title").startswith(name), browser.run("document.title"))
            narrow(browser, name)
            expect(not browser.complaints(), f"{name}: {browser.complaints()}")
            if os.environ.get("MILLRACE_PICTURES"):  # a picture has something to show
                browser.wait("fetch('api/v1/history').then(answer => answer.json()).then(history => history.recent.rows.length > 16)", "some seconds of it")
            picture(browser, name)
        finally:
            run.end()
    return f"{seen} panels of {len(ALONE)} jobs"


def narrow(browser, name):
    """At 360 pixels nothing is wider than the page; and back."""
    browser.size(360, 740)
    browser.wait("[...document.querySelectorAll('.panel canvas')].every(canvas => canvas.getBoundingClientRect().right <= 361)", f"{name}: charts fit 360 px")
    expect(browser.run("document.documentElement.scrollWidth") <= 360, f"{name}: the page is {browser.run('document.documentElement.scrollWidth')} px wide")
    picture(browser, f"{name}-360")
    browser.size(1280, 2400)
    browser.wait("[...document.querySelectorAll('.panel canvas')].some(canvas => canvas.getBoundingClientRect().width > 300)", f"{name}: charts grow again")


def column(browser, address, panel, number):
    """Cells of a table."""
    return browser.run(f"[...document.querySelectorAll('#{panel} tbody tr')].map(row => row.cells[{number}].textContent)")


def truth(folder, browser):
    """What is true is there, dashed, as of the record that is at work, and near what is learned; of a source that knows, and as a job says it."""
    for name, panel in (("plane", "numbers-sgd"), ("ab", "difference-lift"), ("many", "numbers-sgd0")):
        run = Run(folder, name)
        try:
            browser.open(run.address)
            browser.wait("document.getElementById('state').dataset.state === 'ok'", f"{name} runs")
            wait_drawn(browser, panel)
            labels = browser.run(f"[...document.querySelectorAll('#{panel} .u-legend .u-label')].map(one => one.textContent)")
            expect(any(label.startswith("true ") for label in labels), f"{name}: {labels}")
            browser.wait("""fetch('api/v1/job').then(answer => answer.json()).then(job => fetch('api/v1/history?part=recent').then(answer => answer.json()).then(history => {
              const row = history.recent.rows.at(-1), truths = job.columns.flatMap((column, i) => column.of ? [[row[column.of], row[i]]] : []);
              return truths.length && truths.every(([learned, true_]) => Math.abs(learned - true_) < 0.25);
            }))""", f"{name}: what is learned comes near what is true")
        finally:
            run.end()
    run = Run(folder, "clusters")
    try:
        browser.open(run.address)
        browser.wait("document.getElementById('centres-near')?.textContent.includes('crosses are where they truly are')", "crosses")
    finally:
        run.end()
    return "coefficients, centres, a difference"


def asks(folder, browser):
    """An id is typed: the best items; one that came by is offered; one that nobody knows, and none that is one."""
    run = Run(folder, "ratings")
    try:
        browser.open(run.address)
        browser.wait("document.querySelectorAll('#top-best tbody tr').length === 10", "the first who came by is shown")

        def ask(user):
            browser.run(f"(input => {{ input.value = {json.dumps(user)}; input.form.requestSubmit(); }})(document.querySelector('#top-best input'))")
        ask("196")
        browser.wait("document.getElementById('top-best').textContent.includes('for user 196')", "user 196")
        want = browser.run("fetch('api/v1/recommend?user=196').then(answer => answer.json()).then(answer => answer.items.map(one => String(one.item)))")
        expect(column(browser, run.address, "top-best", 1) == want and len(want) == 10, f"{want}")
        ask("nobody")
        browser.wait("document.getElementById('top-best').textContent.includes('user nobody is not known')", "a user that nobody knows")
        known = browser.run("[...document.querySelectorAll('#top-best .ids button')].map(one => one.textContent)")
        expect(known, "nobody is offered")
        browser.run("document.querySelector('#top-best .ids button').click()")
        browser.wait("document.getElementById('top-best').textContent.includes('for user ' + document.querySelector('#top-best input').value)", "one that is offered")
        for kind in ("keyDown", "keyUp"):  # keys that are commands elsewhere are letters here
            browser.run("document.querySelector('#top-best input').focus()")
            browser.call("Input.dispatchKeyEvent", type=kind, key="w", text="w" if kind == "keyDown" else "")
        expect("whole" not in browser.run("location.hash"), "a letter that is typed is a command")
        expect(not browser.complaints(), f"{browser.complaints()}")
    finally:
        run.end()
    return "196, nobody, one that came by"


def copies(folder, browser):
    """What a panel shows goes to the clipboard as a picture and as numbers; where that is forbidden, into files."""
    run = Run(folder, "plane")
    try:
        browser.call("Browser.grantPermissions", permissions=["clipboardReadWrite", "clipboardSanitizedWrite"])
        browser.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(folder))
        browser.open(run.address)
        browser.wait("document.getElementById('state').dataset.state === 'ok'", "it runs")
        wait_drawn(browser, "numbers-sgd")
        browser.call("Page.bringToFront")

        def press(panel, name):
            browser.run(f"[...document.querySelectorAll('#{panel} .copy')].find(one => one.textContent === '{name}').click()")
            browser.wait(f"document.querySelector('#{panel} .copy[data-done]')", f"{name} of {panel}")
            done = browser.run(f"document.querySelector('#{panel} .copy[data-done]').dataset.done")
            browser.wait(f"!document.querySelector('#{panel} .copy[data-done]')", "the button is itself again")
            return done
        expect(press("numbers-sgd", "CSV") == "copied", "numbers are not copied")
        lines = browser.run("navigator.clipboard.readText()").splitlines()
        expect(lines[0] == "time,weight of x1,weight of x2,true weight of x1,true weight of x2" and len(lines) > 1 and lines[-1].endswith(",3.2,0.6"), f"{lines}")
        expect(press("actual-sgd", "PNG") == "copied", "a picture is not copied")
        size = browser.run("navigator.clipboard.read().then(items => items[0].getType('image/png')).then(createImageBitmap).then(image => [image.width, image.height])")
        expect(size[0] > 300 and size[1] > 200, f"{size}")
        browser.run("Object.defineProperty(navigator, 'clipboard', { value: undefined })")
        for name, panel, head in (("CSV", "dead", b"time,topic,"), ("PNG", "loss", b"\x89PNG")):
            expect(press(panel, name) == "saved", f"{name} without a clipboard")
            path, deadline = folder / f"{panel}.{name.lower()}", time.monotonic() + DEADLINE_S
            while not path.exists() or not path.stat().st_size:
                expect(time.monotonic() < deadline, f"never {path.name}")
                threading.Event().wait(0.05)
            expect(path.read_bytes().startswith(head), f"{path.read_bytes()[:80]}")
        expect(not browser.complaints(), f"{browser.complaints()}")
    finally:
        run.end()
    return "numbers, a picture, both as files"


def later(folder, browser):
    """Labels on a topic of their own: predictions stand against what came; where a panel cannot have them, it says so."""
    broker = Broker(folder, {"train": [{"id": i, **plane(i + 1 if i % 100 == 0 else i)} for i in range(50_000)], "answers": [{"id": i, "y": plane(i)["y"]} for i in range(50_000)]})
    run = Run(folder, "later", broker=broker)
    try:
        browser.open(run.address)
        browser.wait("document.getElementById('offsets-sgd')?.textContent.includes('labels come on topics of their own')", "why there are no errors by offset")
        wait_drawn(browser, "actual-sgd")
        wait_drawn(browser, "residuals-sgd")
        expect(not browser.complaints(), f"{browser.complaints()}")
    finally:
        run.end()
        broker.end()
    return "pairs"


def topics(folder, browser):
    """Train and test are topics of their own, and so are their errors."""
    broker = Broker(folder, {"train": [plane(i) for i in range(50_000)], "test": [{**plane(i), "y": plane(i)["y"] + 1000} for i in range(50_000)]})
    run = Run(folder, "topics", broker=broker)
    try:
        browser.open(run.address)
        browser.wait("document.querySelectorAll('#offsets-sgd .u-series').length === 5", "two topics with their means")
        wait_drawn(browser, "offsets-sgd")
        labels = browser.run("[...document.querySelectorAll('#offsets-sgd .u-legend .u-label')].map(one => one.textContent)")
        expect(sorted(labels) == ["mean of test", "mean of train", "offset", "test", "train"], f"{labels}")
        picture(browser, "topics")
        expect(not browser.complaints(), f"{browser.complaints()}")
    finally:
        run.end()
        broker.end()
    return f"{labels}"


def left(folder, browser):
    """What there is no room for is named."""
    run = Run(folder, "many")
    try:
        browser.open(run.address)
        browser.wait("!document.getElementById('notice').hidden", "that something is left")
        said = browser.run("document.getElementById('notice').textContent")
        expect("sgd3" in said and "8 of 10 features" in said, said)
    finally:
        run.end()
    return said


def keys(folder, browser):
    """Keys and buttons hold the picture, change what is shown, and are kept in the address; dark and light differ."""
    run = Run(folder, "plane")
    try:
        browser.open(run.address)
        browser.wait("document.getElementById('state').dataset.state === 'ok'", "it runs")

        def press(key):
            for kind in ("keyDown", "keyUp"):
                browser.call("Input.dispatchKeyEvent", type=kind, key=key, text=key if kind == "keyDown" else "")
        press(" ")
        expect(browser.run("document.getElementById('pause').getAttribute('aria-pressed')") == "true", "space does not hold")
        held = browser.run("document.querySelector('#numbers b').textContent")
        rows = "fetch('api/v1/history').then(answer => answer.json()).then(history => history.recent.rows.length)"
        browser.wait(f"{rows}.then(count => count >= {browser.run(rows) + 3})", "the run goes on")
        expect(browser.run("document.querySelector('#numbers b').textContent") == held, "it goes on while it is held")
        press(" ")
        browser.wait(f"document.querySelector('#numbers b').textContent !== {json.dumps(held)}", "it goes on")
        press("w")
        press("x")
        browser.wait("location.hash === '#whole,records'", "what is shown is in the address")
        browser.wait("[...document.querySelectorAll('#rate .u-legend .u-label')].some(one => one.textContent === 'records taken in')", "over records")
        wait_drawn(browser, "rate")
        before = browser.run("getComputedStyle(document.body).backgroundColor")
        press("t")
        expect(browser.run("getComputedStyle(document.body).backgroundColor") != before, "dark is as light")
        picture(browser, "plane-dark")
        browser.call("Page.reload")
        browser.wait("document.getElementById('state').dataset.state === 'ok' && location.hash === '#whole,records'", "the address is kept")
        expect(browser.run("getComputedStyle(document.body).backgroundColor") != before, "the theme is forgotten")
        press("t")
    finally:
        run.end()
    return "space, w, x, t"


def says(folder, browser):
    """No more records; the server killed and started again; the end of the job."""
    run = Run(folder, "plane", count=2000, rate=1000)
    try:
        browser.open(run.address)
        browser.wait("document.getElementById('state').dataset.state === 'ok'", "it runs")
        browser.wait("document.getElementById('state').dataset.state === 'idle'", "that no records come")
        run.end(signal.SIGKILL)
        browser.wait("document.getElementById('state').dataset.state === 'lost'", "that the server is lost")
        again = Run(folder, "plane", port=run.port)
        try:
            browser.wait("document.getElementById('state').dataset.state === 'ok'", "that it is back")
            browser.wait("document.getElementById('loss') && document.querySelector('#loss canvas')", "its charts are back")
            expect(again.end() == 0, "the second one did not end well")
            browser.wait("document.getElementById('state').dataset.state === 'ended'", "that the job has ended")
            expect("all is well" in browser.run("document.getElementById('state').textContent"), browser.run("document.getElementById('state').textContent"))
        finally:
            again.end()
    finally:
        run.end()
    return "idle, lost, back, ended"


def late(folder, browser):
    """Who comes late sees the past at once."""
    run = Run(folder, "plane")
    try:
        deadline, rows = time.monotonic() + DEADLINE_S, 0
        while rows < 12:
            connection = http.client.HTTPConnection("127.0.0.1", run.port, timeout=10)
            connection.request("GET", "/api/v1/history")
            rows = len(json.loads(connection.getresponse().read())["recent"]["rows"])
            connection.close()
            expect(time.monotonic() < deadline, f"{rows} rows")
            threading.Event().wait(0.1)
        browser.open(run.address)
        browser.wait("document.querySelector('#rate canvas')", "a chart")
        wait_drawn(browser, "rate")
        paint = browser.run("performance.getEntriesByType('paint').find(one => one.name === 'first-contentful-paint').startTime")
    finally:
        run.end()
    return f"{rows} rows; first paint after {paint:.0f} ms"


def main():
    try:
        browser = chromium.Chromium()
    except chromium.Missing as reason:
        print(f"SKIP: {reason}")
        sys.exit(77)
    try:
        with tempfile.TemporaryDirectory() as name:
            for case in (panels, truth, asks, copies, later, topics, left, keys, says, late):
                if len(sys.argv) > 1 and case.__name__ not in sys.argv[1:]:
                    continue
                began = time.monotonic()
                told = case(pathlib.Path(name), browser)
                print(f"ok    {case.__name__} ({time.monotonic() - began:.1f} s) {told}", flush=True)
    finally:
        browser.close()


if __name__ == "__main__":
    main()
