"""What the tests on a real broker share: a broker in a temporary folder, topics, job files, the program under test, the oracle.

A test is a file of functions case_...(rig), run by main(). Each prints one line. Nothing waits by the clock: every wait is for an
event, and ends with an error when its deadline passes.
"""
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import traceback

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("BUILD_DIR", os.path.join(ROOT, "build"))
MILLRACE = os.environ.get("MILLRACE", os.path.join(BUILD, "millrace"))
ORACLE = os.path.join(BUILD, "tests", "oracle")
PROXY = os.path.join(BUILD, "tests", "proxy")
KAFKA = os.path.join(ROOT, "scripts", "kafka")
MODEL = os.path.join(ROOT, "datasets", "temperature", "regime.safetensors")
LONG = os.environ.get("MILLRACE_LONG") == "1"


class Wrong(Exception):
    """A check that did not hold."""


class Skip(Exception):
    """A case that cannot run here."""


def expect(condition, text):
    if not condition:
        raise Wrong(text)


def wait_for(condition, what, deadline_s=30, step_s=0.01):
    """Until condition() is true; its value. The deadline only turns a hang into an error."""
    end = time.monotonic() + deadline_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise Wrong(f"waited {deadline_s} s for: {what}")
        time.sleep(step_s)  # between two looks


def median(values):
    ordered = sorted(values)
    return ordered[len(ordered) // 2]


class Broker:
    def __init__(self, folder, settings=()):
        self.folder = folder
        self.settings = [word for setting in settings for word in ("--set", setting)]
        self.address = None

    def start(self):
        done = subprocess.run([KAFKA, "start", "--dir", self.folder, *self.settings], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if done.returncode == 77:
            raise Skip(done.stderr.strip().split("SKIP: ")[-1])
        expect(done.returncode == 0, f"the broker did not start: {done.stderr}")
        self.address = done.stdout.strip()

    def kill(self):
        subprocess.run([KAFKA, "stop", "--dir", self.folder, "--kill"], check=True)

    def stop(self):
        subprocess.run([KAFKA, "stop", "--dir", self.folder, "--kill", "--clean"])


class Proxy:
    """The fault proxy (tests/kafka/proxy/README.md): commands and events."""

    def __init__(self, count):
        self.process = subprocess.Popen([PROXY, "--ports", str(count)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.news = threading.Condition()
        self.events = []
        self.answers = []
        self.has_ended = False
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        self.ports = self.event("ready")["ports"]

    def _read(self):
        for line in self.process.stdout:
            value = json.loads(line)
            with self.news:
                (self.events if "event" in value else self.answers).append(value)
                self.news.notify_all()
        with self.news:
            self.has_ended = True
            self.news.notify_all()

    def _wait(self, take, what, deadline_s):
        """What take() finds; called with the lock held, again after each line."""
        end = time.monotonic() + deadline_s
        with self.news:
            while True:
                value = take()
                if value is not None:
                    return value
                expect(not self.has_ended, f"the proxy ended with {self.process.poll()} before: {what}")
                left_s = end - time.monotonic()
                expect(left_s > 0, f"waited {deadline_s} s for the proxy: {what}; its last events: {self.events[-5:]}")
                self.news.wait(left_s)

    def command(self, *words):
        """The answer of a command, which is in force then."""
        line = " ".join(map(str, words))
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        answer = self._wait(lambda: self.answers.pop(0) if self.answers else None, line, 30)
        expect("error" not in answer, f"proxy: {line}: {answer.get('error')}")
        return answer

    def rule(self, *words):
        """The number of the rule that the command makes."""
        return self.command(*words)["rule"]

    def seen(self, name, **facts):
        """Takes the oldest event of that name and with those facts; None when there is none yet. Call with the lock held."""
        for index, event in enumerate(self.events):
            if event["event"] == name and all(event.get(key) == value for key, value in facts.items()):
                return self.events.pop(index)
        return None

    def event(self, name, deadline_s=30, **facts):
        """Waits for such an event, and takes it."""
        return self._wait(lambda: self.seen(name, **facts), f"event {name} {facts or ''}", deadline_s)

    def close(self):
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.reader.join(10)
        self.process.stdout.close()


class Run:
    """A millrace process: its report, its progress and what it says are at hand while it works."""

    def __init__(self, rig, words, ready=True):
        self.name = words[0]
        self.log_path = os.path.join(rig.folder, f"run{rig.number()}.log")
        self.log = open(self.log_path, "w+b")
        self.started = time.monotonic()
        self.process = subprocess.Popen([MILLRACE, *words], stdout=subprocess.PIPE, stderr=self.log, stdin=subprocess.DEVNULL)
        self.total = {}
        self.report = None
        self.lines = []
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        rig.runs.append(self)

    def _read(self):
        for raw in self.process.stdout:
            line = raw.decode("utf-8", "replace")
            self.lines.append(line)
            try:
                value = json.loads(line)
            except ValueError:
                continue
            if isinstance(value, dict) and value.get("type") == "progress":
                self.total = value["total"]
            if isinstance(value, dict) and value.get("type") == "report":
                self.report = value
                self.total = value

    def err(self):
        with open(self.log_path, "rb") as file:
            return file.read().decode("utf-8", "replace")

    def out(self):
        return "".join(self.lines)

    def records_out(self):
        return self.total.get("records_out", 0) + self.total.get("records_dead", 0)

    def wait_out(self, count, deadline_s=60):
        def reached():
            expect(self.process.poll() is None or self.records_out() >= count,
                   f"it ended with {self.process.returncode} after {self.records_out()} records:\n{self.err()[-2000:]}")
            return self.records_out() >= count
        wait_for(reached, f"{count} records out (now {self.records_out()})", deadline_s)

    def wait_log(self, text, deadline_s=30):
        wait_for(lambda: text in self.err() or self.process.poll() is not None, f"\"{text}\" in its log", deadline_s)
        expect(text in self.err(), f"it ended with {self.process.returncode} without saying \"{text}\":\n{self.err()[-2000:]}")

    def signal(self, number):
        if self.process.poll() is None:
            self.process.send_signal(number)

    def end(self, deadline_s=60):
        """Waits for its end; the exit code."""
        try:
            code = self.process.wait(deadline_s)
        except subprocess.TimeoutExpired:
            raise Wrong(f"it did not end within {deadline_s} s:\n{self.err()[-2000:]}") from None
        self.reader.join(10)
        return code

    def expect_end(self, code, deadline_s=60):
        got = self.end(deadline_s)
        expect(got == code, f"exit code {got}, not {code}:\n{self.err()[-3000:]}")
        return self

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.reader.join(10)
        self.process.stdout.close()
        self.log.close()


class Rig:
    def __init__(self, settings=()):
        self.folder = tempfile.mkdtemp(prefix="millrace-test-")
        self.broker = Broker(os.path.join(self.folder, "broker"), settings)
        self.runs = []
        self.senders = []
        self.count = 0
        self.prefix = ""
        seed = int(os.environ.get("MILLRACE_SEED", "0")) or random.randrange(1, 1 << 30)
        self.random = random.Random(seed)
        print(f"seed {seed} (MILLRACE_SEED repeats it)", flush=True)

    def number(self):
        self.count += 1
        return self.count

    def oracle(self, *words, check=True):
        done = subprocess.run([ORACLE, *map(str, words), "--servers", self.broker.address], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if check:
            expect(done.returncode == 0, f"oracle {' '.join(map(str, words))}:\n{done.stdout}{done.stderr}")
        return done

    def topics(self, *names):
        """Creates them; a name is NAME:PARTITIONS[:KEY=VALUE]..."""
        self.oracle("topic", *names)

    def trio(self, name, partitions=4, out=None, dead=None):
        """Topics NAME.in, NAME.out and NAME.dead."""
        self.topics(f"{name}.in:{partitions}", f"{name}.out:{out or partitions}", f"{name}.dead:{dead or 1}")

    def job(self, name, **changes):
        """Writes a job that reads NAME.in; keys such as source__start=... change it. Its path."""
        job = {
            "job": name,
            "source": {"type": "kafka", "topics": [f"{name}.in"], "group": name, "properties": {"bootstrap.servers": self.broker.address}},
            "record": {"format": "json", "features": ["Temperature"]},
            "models": [{"name": "regime", "type": "mlp", "file": MODEL}],
            "emit": {"fields": {"id": "id", "prediction": "regime.class"}},
            "sinks": [{"type": "kafka", "topic": f"{name}.out"}],
            "bad_records": {"topic": f"{name}.dead"},
            "progress_interval": "100ms",
            "commit_interval": "200ms",
        }
        for key, value in changes.items():
            place = job
            *path, last = key.split("__")
            for step in path:
                place = place.setdefault(step, {})
            place[last] = value
        path = os.path.join(self.folder, f"{name}-{self.number()}.json")
        with open(path, "w", encoding="utf-8") as file:
            json.dump(job, file, indent=1)
        return path

    def run(self, job, *flags):
        return Run(self, ["run", job, "--json", *flags])

    def produce(self, name, count, *flags, first=0):
        self.oracle("produce", "--topic", f"{name}.in", "--count", count, "--first", first, *flags)

    def producing(self, name, count, rate, *flags, first=0):
        """Sends in the background; the process."""
        process = subprocess.Popen([ORACLE, "produce", "--topic", f"{name}.in", "--count", str(count), "--first", str(first), "--rate", str(rate),
                                    *map(str, flags), "--servers", self.broker.address], stderr=subprocess.PIPE, text=True)
        self.senders.append(process)
        return process

    def check(self, name, *flags, group=None, dead=None):
        words = ["check", "--in", f"{name}.in", "--out", f"{name}.out", "--dead", dead or f"{name}.dead", *flags]
        done = self.oracle(*words, *(["--group", group] if group else []), check=False)
        expect(done.returncode == 0, f"oracle {' '.join(map(str, words))}:\n{done.stdout}{done.stderr}")
        return json.loads(done.stdout)

    def kafka(self, tool, *words):
        done = subprocess.run([KAFKA, "run", tool, "--bootstrap-server", self.broker.address, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        expect(done.returncode == 0, f"{tool}: {done.stdout}{done.stderr}")
        return done.stdout

    def end_all(self):
        for run in self.runs:
            run.close()
        self.runs = []
        for sender in self.senders:
            if sender.poll() is None:
                sender.kill()
            sender.wait()
            sender.stderr.close()
        self.senders = []

    def close(self):
        self.end_all()
        self.broker.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


def main(cases, settings=()):
    """Runs the cases (or those named on the command line) on one broker; exits 0, 1 or 77."""
    wanted = sys.argv[1:]
    failed, skipped = [], []
    rig = Rig(settings)
    try:
        try:
            rig.broker.start()
        except Skip as reason:
            print(f"SKIP: {reason}")
            sys.exit(77)
        for case in cases:
            name = case.__name__.removeprefix("case_")
            if wanted and name not in wanted:
                continue
            started = time.monotonic()
            try:
                facts = case(rig) or ""
                print(f"ok    {name} ({time.monotonic() - started:.1f} s) {facts}", flush=True)
            except Skip as reason:
                skipped.append(name)
                print(f"SKIP: {name}: {reason}", flush=True)
            except Exception as error:  # pylint: disable=broad-except
                failed.append(name)
                print(f"FAIL  {name} ({time.monotonic() - started:.1f} s)", flush=True)
                if isinstance(error, Wrong):
                    print(f"      {error}", flush=True)
                else:
                    traceback.print_exc(file=sys.stdout)
            rig.end_all()
    finally:
        rig.close()
    print(f"{len(failed)} failed{': ' + ' '.join(failed) if failed else ''}")
    sys.exit(1 if failed else 0)
