#!/usr/bin/env python3
"""millrace demo: each data set with a demo.json starts, serves a page whose numbers move, ends with 0 on Ctrl-C, and leaves nothing behind."""
import contextlib
import json
import os
import pathlib
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
MILLRACE = os.environ.get("MILLRACE", str(ROOT / "build/millrace"))
DATASETS = ROOT / "datasets"
PORT = 8420  # the usual one
DEADLINE_S = 60
NOBODY = 65534


def fail(text):
    sys.exit(f"FAIL: {text}")


def expect(is_true, text):
    if not is_true:
        fail(text)


def demo(*words, code=0, datasets=None, more=None):
    """A call that ends by itself: what it prints, and what it says."""
    environment = {**os.environ, **({"MILLRACE_DATASETS": str(datasets)} if datasets else {}), **(more or {})}
    done = subprocess.run([MILLRACE, "demo", *words], text=True, capture_output=True, timeout=DEADLINE_S, env=environment)
    expect(done.returncode == code, f"millrace demo {' '.join(words)}: exit code {done.returncode}, not {code}: {done.stdout}{done.stderr[-2000:]}")
    return done.stdout, done.stderr


def contents(folder):
    """Every file of a folder, with its bytes and the time at which it was written."""
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in sorted(folder.rglob("*")) if path.is_file()}


class Demo:
    """One at work, its temporary files in a folder of its own."""

    def __init__(self, name, *words, datasets=None, http="127.0.0.1:0", more=None, **how):
        self.name = name
        self.temporary = pathlib.Path(tempfile.mkdtemp(prefix="millrace-test-"))
        self.temporary.chmod(0o777)
        environment = {**os.environ, "TMPDIR": str(self.temporary), **({"MILLRACE_DATASETS": str(datasets)} if datasets else {}), **(more or {})}
        self.log = open(self.temporary.with_suffix(".log"), "w+", encoding="utf-8")
        address = ("--http", http) if http else ()
        self.process = subprocess.Popen([MILLRACE, "demo", name, *address, *words], stdout=subprocess.PIPE, stderr=self.log, text=True, env=environment, **how)
        self.address = self.process.stdout.readline().strip()  # blocks until it is there, or the process has ended
        expect(self.address.startswith("http://"), f"{name}: no address, but \"{self.address}\": {self.said()}")

    def said(self):
        self.log.flush()
        return pathlib.Path(self.log.name).read_text(encoding="utf-8")[-3000:]

    def ask(self, path):
        with urllib.request.urlopen(self.address + path, timeout=DEADLINE_S) as answer:
            return answer.read()

    def records(self):
        """That have come in: before the first progress object /status says less."""
        status = json.loads(self.ask("status"))
        return status["records"]["in"] if "records" in status else status["total"]["records_in"]

    def wait(self, condition, what):
        deadline = time.monotonic() + DEADLINE_S
        while not condition():
            expect(self.process.poll() is None, f"{self.name}: it has ended with {self.process.returncode} before {what}: {self.said()}")
            expect(time.monotonic() < deadline, f"{self.name}: never: {what}: {self.said()}")
            threading.Event().wait(0.02)

    def end(self, number=signal.SIGINT, code=0):
        self.process.send_signal(number)
        report = self.process.stdout.read()
        expect(self.process.wait(DEADLINE_S) == code, f"{self.name}: exit code {self.process.returncode}, not {code}: {self.said()}")
        return report

    def is_gone(self):
        """The temporary files: some ends leave them to a process that comes right behind."""
        deadline = time.monotonic() + DEADLINE_S
        while left := list(self.temporary.iterdir()):
            expect(time.monotonic() < deadline, f"{self.name}: left behind: {left}")
            threading.Event().wait(0.02)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self.log.close()
        os.unlink(self.log.name)
        shutil.rmtree(self.temporary, ignore_errors=True)


def names():
    return sorted(path.parent.name for path in DATASETS.glob("*/demo.json"))


def case_list():
    """All of them, with the headings of their READMEs; and how to run one."""
    out, said = demo()
    expect(said == "", f"says {said}")
    for name in names():
        heading = (DATASETS / name / "README.md").read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")
        line = next((line.split(None, 1) for line in out.splitlines() if line.startswith(f"  {name} ")), None)
        expect(line == [name, heading], f"{name} - {heading}: stands as {line} in {out}")
    expect(f"millrace demo {names()[0]}" in out and str(DATASETS) in out, out)
    expect(sum(line.startswith("  ") for line in out.splitlines()) == len(names()), f"others: {out}")
    return f"{len(names())}: {' '.join(names())}"


def case_wrong():
    """What is no demo: the nearest is named; folders that are none; files that are none."""
    _, said = demo("plan", code=64)
    expect('there is no demo "plan": did you mean "plane"?' in said, said)
    _, said = demo("../plane", code=64)
    expect('there is no demo "../plane"' in said, said)
    _, said = demo("plane", datasets="/nonexistent", code=66)
    expect("MILLRACE_DATASETS=/nonexistent: No such file or directory: set it" in said, said)
    _, said = demo(datasets=ROOT / "LICENSE", code=66)
    expect("LICENSE: is no folder that can be read" in said, said)
    _, said = demo("plane", "--until", "end", code=64)
    expect("has no end: give a duration or a count" in said, said)
    _, said = demo("plane", "--http", "nowhere", code=64)
    expect("millrace demo: " in said, said)
    _, said = demo("plane", more={"TMPDIR": "/nonexistent"}, code=74)
    expect("/nonexistent: No such file or directory: TMPDIR may name another folder" in said, said)
    with tempfile.TemporaryDirectory() as folder:
        _, said = demo(datasets=folder, code=66)
        expect("holds no demo" in said, said)
        work = pathlib.Path(folder) / "plane"
        shutil.copytree(DATASETS / "plane", work)
        (work / "demo.json").write_text("{ \"job\": \n")
        _, said = demo("plane", datasets=folder, code=78)
        expect("demo.json:1:2: the file ends" in said, said)
        shutil.copy(DATASETS / "plane/demo.json", work)
        for line, word in (("points.csv incoming/ 120", "demo.feed:2: expected FILE TOPIC RATE"), ("points.csv in 1 2", "demo.feed:2: "),
                           ("points.csv in -1", "demo.feed:2: "), ("../points.csv in 1", "demo.feed:2: "), ("points.csv ../in/ 1 1", "demo.feed:2: "), ("points.csv ./ 1 1", "demo.feed:2: "), ("a b 1\n" * 5, "demo.feed:6: more than 4")):
            (work / "demo.feed").write_text(f"# a comment\n{line}\n")
            _, said = demo("plane", datasets=folder, code=65)
            expect(word in said, f"{line}: {said}")
        (work / "demo.feed").write_text("none.csv incoming/ 120 60\n")
        _, said = demo("plane", "--http", "127.0.0.1:0", datasets=folder, code=66)
        expect("none.csv: No such file or directory" in said, said)
    return "64, 65, 66, 74 and 78"


def case_each():
    """Every demo: a page, records that come, the report, and nothing behind it."""
    before, told = contents(DATASETS), []
    for name in names():
        with Demo(name) as one:
            one.wait(lambda one=one: one.records() > 0, "a first record")
            first = one.records()
            one.wait(lambda one=one, first=first: one.records() > first, f"more than {first} records")
            expect(b"<html" in one.ask("").lower(), f"{name}: no page")
            models = json.loads(one.ask("api/v1/models"))
            expect(models, f"{name}: no models")
            report = one.end()
            expect("in = out + dead + filtered holds" in report, report)
            expect("  dead                 0" in report, f"{name}: dead letters: {report}")
            one.is_gone()
            told.append(f"{name} {first}")
    after = contents(DATASETS)
    expect(before == after, f"written in datasets: {[str(path) for path in before.keys() | after.keys() if before.get(path) != after.get(path)]}")
    return "first records: " + ", ".join(told)


def case_checked():
    """Each demo.json is a job that `millrace check` takes where it lies."""
    for name in names():
        done = subprocess.run([MILLRACE, "check", str(DATASETS / name / "demo.json")], text=True, capture_output=True, timeout=DEADLINE_S)
        expect(done.returncode == 0 and done.stdout.startswith("ok "), f"{name}: {done.stdout}{done.stderr}")
    return f"{len(names())} jobs"


def case_read_only():
    """Installed where the user may not write."""
    with tempfile.TemporaryDirectory() as folder:
        top = pathlib.Path(folder) / "datasets"
        shutil.copytree(DATASETS / "plane", top / "plane")
        for path in (top, top / "plane", *top.rglob("*")):
            path.chmod(stat.S_IRUSR | stat.S_IRGRP | stat.S_IROTH | (0o111 if path.is_dir() else 0))
        pathlib.Path(folder).chmod(0o755)
        how = {} if os.geteuid() else {"user": NOBODY, "group": NOBODY, "extra_groups": []}
        try:
            with Demo("plane", datasets=top, **how) as one:
                one.wait(lambda: one.records() > 0, "a first record")
                one.end(signal.SIGTERM)
                one.is_gone()
        finally:
            for path in (top, top / "plane"):
                path.chmod(0o755)
    return "runs and ends"


def case_killed():
    """However it ends, its temporary files are gone: after Ctrl-C twice, and kill -9."""
    with Demo("plane") as one:
        one.wait(lambda: one.records() > 0, "a first record")
        expect(list(one.temporary.iterdir()), "it has no temporary files: the test sees nothing")
        one.process.kill()
        one.process.wait()
        one.is_gone()
    with Demo("plane") as one:
        one.process.send_signal(signal.SIGINT)
        with contextlib.suppress(ProcessLookupError):
            one.process.send_signal(signal.SIGINT)
        one.process.wait(DEADLINE_S)
        one.is_gone()
    return "nothing is left"


def case_port():
    """The usual port, and another where that is taken."""
    with socket.socket() as link:
        link.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):  # then it is taken already, which is what is wanted
            link.bind(("127.0.0.1", PORT))
            link.listen()
        with Demo("plane", http=None) as one:
            expect(f":{PORT}/" not in one.address, one.address)
            expect(f"port {PORT} is taken: the page takes a free one" in one.said(), one.said())
            one.end()
    with socket.socket() as link:
        link.bind(("127.0.0.1", 0))
        link.listen()
        _, said = demo("plane", "--http", f"127.0.0.1:{link.getsockname()[1]}", code=74)  # one that was asked for
        expect("Address already in use" in said, said)
    return one.address


def case_installed():
    """Where `cmake --install` has put both, the program finds the data sets."""
    build = os.environ.get("BUILD_DIR", str(pathlib.Path(MILLRACE).parent))
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(["cmake", "--install", build, "--prefix", folder], text=True, capture_output=True, timeout=DEADLINE_S)
        expect(done.returncode == 0, done.stderr[-2000:])
        out = subprocess.run([f"{folder}/bin/millrace", "demo"], text=True, capture_output=True, timeout=DEADLINE_S, check=True).stdout
        expect(f"{os.path.realpath(folder)}/share/millrace/datasets" in out and all(f"  {name} " in out for name in names()), out)
        shutil.rmtree(f"{folder}/share")
        done = subprocess.run([f"{folder}/bin/millrace", "demo"], text=True, capture_output=True, timeout=DEADLINE_S)
        expect(done.returncode == 66 and "name their folder in MILLRACE_DATASETS" in done.stderr, f"{done.returncode}: {done.stderr}")
    return "found, and missed"


def case_rate():
    """--rate: of what is sent, or of a source that makes its records."""
    with Demo("plane", "--rate", "6000", "--until", "1200") as one:
        report = one.process.stdout.read()
        expect(one.process.wait(DEADLINE_S) == 0, one.said())
        expect("  in                1200 records" in report or " 1,200 records" in report, report)
        one.is_gone()
    return "1,200 records at 6,000 a second"


def case_open():
    """--open hands the address to xdg-open; where there is none, that is said."""
    with tempfile.TemporaryDirectory() as folder:
        opener, got = pathlib.Path(folder) / "xdg-open", pathlib.Path(folder) / "got"
        opener.write_text(f"#!/bin/sh\necho \"$1\" >{got}.new && mv {got}.new {got}\n")
        opener.chmod(0o755)
        paths = {"PATH": f"{folder}:{os.environ['PATH']}"}
        with Demo("plane", "--open", more=paths) as one:
            one.wait(got.exists, "a browser")
            expect(got.read_text().strip() == one.address, f"{got.read_text()}, not {one.address}")
            one.end()
        opener.unlink()
        with Demo("plane", "--open", more={"PATH": folder}) as one:
            one.wait(lambda: "there is no xdg-open here" in one.said(), "a word")
            one.end()
    return "opened, and missed"


def main():
    cases = [case_list, case_wrong, case_checked, case_each, case_read_only, case_killed, case_port, case_installed, case_rate, case_open]
    wanted = sys.argv[1:]
    for case in cases:
        name = case.__name__.removeprefix("case_")
        if not wanted or name in wanted:
            print(f"{name}: {case()}", flush=True)


main()
