"""Jobs on sources that need no broker, run by the real program: what the tests of sources share."""
import json
import os
import pathlib
import signal
import subprocess
import tempfile
import time

from examples import DEADLINE_S, MILLRACE, call, fail

NOBODY = 65534
HOOKED = str(pathlib.Path(os.environ.get("BUILD_DIR", pathlib.Path(MILLRACE).parent)) / "tests/millrace_hooks")


def line(number):
    return f'{{"n":{number},"x":{number % 10}}}\n'


def lines(first, end):
    return "".join(line(i) for i in range(first, end))


class Job:
    """A job in a folder of its own: outputs are the numbers of its records, in their order."""

    def __init__(self, folder, source, **others):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.out, self.dead, self.path = self.folder / "out.jsonl", self.folder / "dead.jsonl", self.folder / "job.json"
        model = self.folder / "m.safetensors"
        if not model.exists():
            make_model(model)
        self.job = {
            "job": "t",
            "source": source,
            "record": {"format": "json", "features": ["x"]},
            "models": [{"name": "m", "type": "linear", "file": "m.safetensors"}],
            "emit": {"fields": {"n": "n", "o": "@offset"}},
            "sinks": [{"type": "file", "path": "out.jsonl"}],
            "bad_records": {"file": "dead.jsonl", "share_max": 1, "run_max": 1000000},
            "backend": "cpu",
            "commit_interval": "20ms",
            **others,
        }
        self.write()

    def write(self):
        self.path.write_text(json.dumps(self.job))

    def run(self, *flags, codes=(0,), **how):
        """To its end; the report, and what was said."""
        done = subprocess.run([MILLRACE, "run", str(self.path), "--json", *flags], text=True, capture_output=True, timeout=120, **how)
        if done.returncode not in codes:
            fail(f"exit code {done.returncode}, not {codes}: {done.stdout[-1000:]}{done.stderr[-3000:]}")
        self.said = done.stderr
        return json.loads(done.stdout.splitlines()[-1]) if done.stdout else None

    def start(self, *flags, program=MILLRACE, environment=None, **how):
        return Running(self, [program, "run", str(self.path), "--json", *flags], {**os.environ, **(environment or {})}, how)

    def as_nobody(self):
        """How to run it without the rights of root, to whom everything is readable; its folder becomes that user's."""
        if os.geteuid():
            return {}
        for path in (self.folder, *self.folder.rglob("*")):
            os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
        self.folder.parent.chmod(0o755)
        return {"user": NOBODY, "group": NOBODY, "extra_groups": []}

    def answers(self):
        if not self.out.exists():
            return []
        return [json.loads(text) for text in self.out.read_text().split("\n")[:-1]]

    def numbers(self):
        return [answer["n"] for answer in self.answers()]

    def deads(self):
        return [json.loads(text) for text in self.dead.read_text().splitlines()] if self.dead.exists() else []

    def is_all(self, end, first=0):
        """Each record once, in order, and offsets count them."""
        if self.numbers() != list(range(first, end)):
            numbers = self.numbers()
            wrong = next((i for i, n in enumerate(numbers) if n != first + i), len(numbers))
            fail(f"{len(numbers)} records, {end - first} expected; at {wrong} stands {numbers[wrong:wrong + 3]}")
        offsets = [answer["o"] for answer in self.answers()]
        if offsets != sorted(set(offsets)):
            fail("offsets do not ascend")


def make_model(path):
    """y = x, learned from two points that say so."""
    folder = path.parent
    rows = folder / "model.csv"
    rows.write_text("x,y\n" + "".join(f"{i},{i}\n" for i in range(10)))
    call(MILLRACE, "fit", "linear", rows, "--label", "y", "-o", path)
    rows.unlink()


class Running:
    """A run that is at work."""

    def __init__(self, job, command, environment, how):
        self.job = job
        self.log = tempfile.TemporaryFile(mode="a+")
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=self.log, env=environment, **how)

    def said(self):
        self.log.seek(0)
        return self.log.read()

    def until(self, what, is_there):
        deadline = time.monotonic() + DEADLINE_S
        while not is_there():
            if self.process.poll() is not None or time.monotonic() > deadline:
                if is_there():
                    return self
                fail(f"{what} is not there, exit code {self.process.poll()}, {len(self.job.answers())} answers: {self.said()[-3000:]}")
            time.sleep(0.005)  # between two looks
        return self

    def out(self, count):
        return self.until(f"output {count}", lambda: len(self.job.answers()) >= count)

    def says(self, text):
        return self.until(f'"{text}"', lambda: text in self.said())

    def stop(self, code=0, number=signal.SIGTERM):
        self.process.send_signal(number)
        return self.end(code)

    def end(self, code=0):
        got = self.process.wait(DEADLINE_S)
        if got != code:
            fail(f"exit code {got}, not {code}: {self.said()[-3000:]}")
        return self.said()

    def kill(self):
        self.process.kill()
        self.process.wait(DEADLINE_S)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.kill()


def must_say(text, *words):
    for word in words:
        if word not in text:
            fail(f'expected "{word}" in: {text[-3000:]}')
