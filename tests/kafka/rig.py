"""What the tests on a real broker share: a broker in a temporary folder, topics, job files, the program under test, the oracle.

A test is a file of functions case_...(rig), run by main(). Each prints one line. Nothing waits by the clock: every wait is for an
event, and ends with an error when its deadline passes.
"""
import contextlib
import json
import os
import random
import re
import shutil
import signal
import socket
import struct
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
DOCTOR = os.path.join(BUILD, "tests", "doctor")
PROXY = os.path.join(BUILD, "tests", "proxy")
HOOKED = os.path.join(BUILD, "tests", "millrace_hooks")
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


def table(text):
    """Rows of what a tool of Kafka's printed under a line of headings."""
    lines = [line.split("\t") if "\t" in line else line.split() for line in text.splitlines() if line.strip()]
    return [dict(zip((word.strip() for word in lines[0]), (word.strip() for word in line))) for line in lines[1:]]


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


class Cluster(Broker):
    """Several nodes, numbered from 1; with a proxy, clients reach them through it only."""

    def __init__(self, folder, nodes, settings=(), proxy=None):
        super().__init__(folder, settings)
        self.nodes = nodes
        self.proxy = proxy
        self.settings += ["--nodes", str(nodes)]
        if proxy:
            self.settings += ["--advertise", ",".join(map(str, proxy.ports))]

    def start(self):
        super().start()
        if self.proxy:
            for index, address in enumerate(self.listeners()):
                self.proxy.command("target", index + 1, address.rsplit(":", 1)[1])

    def listeners(self):
        """Where the nodes themselves are."""
        done = subprocess.run([KAFKA, "listeners", "--dir", self.folder], stdout=subprocess.PIPE, text=True, check=True)
        return done.stdout.strip().split(",")

    def start_node(self, node):
        done = subprocess.run([KAFKA, "start", "--dir", self.folder, "--node", str(node)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        expect(done.returncode == 0, f"node {node} did not start: {done.stderr}")

    def stop_node(self, node):
        """In good order."""
        subprocess.run([KAFKA, "stop", "--dir", self.folder, "--node", str(node)], check=True)

    def kill_node(self, node):
        subprocess.run([KAFKA, "stop", "--dir", self.folder, "--node", str(node), "--kill"], check=True)

    def pause_node(self, node):
        self._signal(node, signal.SIGSTOP)

    def resume_node(self, node):
        self._signal(node, signal.SIGCONT)

    def _signal(self, node, number):
        with open(os.path.join(self.folder, f"node{node}", "pid"), encoding="ascii") as file:
            os.kill(int(file.read()), number)

    def group_coordinator(self, group):
        """The node that it is now."""
        return self._coordinator(group, 0)

    def transaction_coordinator(self, name):
        return self._coordinator(name, 1)

    def _coordinator(self, name, kind):
        return wait_for(lambda: self._find(name, kind), f"a coordinator of {name}", 60, 0.2)

    def _find(self, name, kind):
        """FindCoordinator (key 10, version 2), past the proxy, at the first node that answers; None when there is none yet."""
        head = struct.pack(">hhih", 10, 2, 1, -1)
        body = struct.pack(">h", len(name)) + name.encode() + struct.pack(">b", kind)
        for address in self.listeners():
            try:
                with socket.create_connection(("127.0.0.1", int(address.rsplit(":", 1)[1])), 5) as link, link.makefile("rb") as answers:
                    link.sendall(struct.pack(">i", len(head + body)) + head + body)
                    answer = answers.read(struct.unpack(">i", answers.read(4))[0])
            except (OSError, struct.error):
                continue
            _, _, error, text_bytes = struct.unpack(">iihh", answer[:12])
            return None if error else struct.unpack(">i", answer[12 + max(text_bytes, 0):][:4])[0]
        return None


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

    def heal(self):
        """No fault any more, and what was held goes its way."""
        for line in ("clear all", "release all", "accept", "pass", "rate 0"):
            self.command(line)
        self.events.clear()

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

    def __init__(self, rig, words, hooks=None):
        """hooks: variables of src/base/test_hook.h, for the program that has them."""
        self.name = words[0]
        self.log_path = os.path.join(rig.folder, f"run{rig.number()}.log")
        self.log = open(self.log_path, "w+b")
        self.started = time.monotonic()
        self.process = subprocess.Popen([HOOKED if hooks else MILLRACE, *words], stdout=subprocess.PIPE, stderr=self.log, stdin=subprocess.DEVNULL,
                                        env={**os.environ, **(hooks or {})})
        self.total = {}
        self.models = self.sinks = None
        self.report = None
        self.roles = {}  # of a job with scorers: role -> its last progress or report
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
            if isinstance(value, dict) and value.get("role"):
                self.roles[value["role"]] = value
                if value["role"] == "trainer":
                    continue
            if isinstance(value, dict) and value.get("type") == "progress":
                self.total = value["total"]
                self.models = value.get("models")
                self.sinks = value.get("sinks")
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

    def wait_commits(self, count, deadline_s=60):
        """Waits for so many, or for its end."""
        wait_for(lambda: self.process.poll() is not None or self.total.get("commits", 0) >= count, f"{count} commits; {self.err()[-2000:]}", deadline_s)

    def first_commit(self, deadline_s=60):
        """Waits for it; the seconds from its start (to a progress interval)."""
        self.wait_commits(1, deadline_s)
        return time.monotonic() - self.started

    def wait_log(self, text, deadline_s=30):
        wait_for(lambda: text in self.err() or self.process.poll() is not None, f"\"{text}\" in its log", deadline_s)
        expect(text in self.err(), f"it ended with {self.process.returncode} without saying \"{text}\":\n{self.err()[-2000:]}")

    def pids(self):
        """Of a job with scorers: role -> process."""
        self.wait_log("a trainer and scorers")
        return {role: int(pid) for role, pid in re.findall(r"\b(trainer|scorers)=(\d+)", self.err())}

    def signal(self, number):
        if self.process.poll() is None:
            self.process.send_signal(number)

    def pause(self):
        """Frozen until resume(): a process that nobody hears of."""
        self.signal(signal.SIGSTOP)

    def resume(self):
        self.signal(signal.SIGCONT)

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
    """One broker; or a cluster of so many nodes; with proxy=True behind a fault proxy."""

    def __init__(self, settings=(), nodes=0, proxy=False):
        self.folder = tempfile.mkdtemp(prefix="millrace-test-")
        self.proxy = Proxy(nodes or 1) if proxy else None
        folder = os.path.join(self.folder, "broker")
        self.broker = Cluster(folder, nodes or 1, settings, self.proxy) if nodes or proxy else Broker(folder, settings)
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

    def run(self, job, *flags, hooks=None):
        return Run(self, ["run", job, "--json", *flags], hooks)

    def produce(self, name, count, *flags, first=0):
        self.oracle("produce", "--topic", f"{name}.in", "--count", count, "--first", first, *flags)

    def producing(self, name, count, rate, *flags, first=0):
        """Sends in the background; the process. SIGTERM ends it early: then it says how many it has sent."""
        process = subprocess.Popen([ORACLE, "produce", "--topic", f"{name}.in", "--count", str(count), "--first", str(first), "--rate", str(rate),
                                    *map(str, flags), "--servers", self.broker.address], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.senders.append(process)
        return process

    @contextlib.contextmanager
    def other_member(self, group, topic, *flags):
        """A member of the group that is no millrace and commits nothing; it has left behind the block."""
        try:
            process = subprocess.Popen(["kcat", "-b", self.broker.address, "-q", "-G", group, "-X", "enable.auto.commit=false", *flags, topic],
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        except FileNotFoundError:
            raise Skip("kcat is not installed") from None
        try:
            yield
        finally:
            process.terminate()
            process.wait(20)

    def stop_producing(self, process):
        """Ends a sender; how many records it has sent, all of which are in the topic then."""
        process.send_signal(signal.SIGTERM)
        text, errors = process.communicate(timeout=200)
        expect(process.returncode == 0 and text.strip().isdigit(), f"the sender failed: {errors}")
        return int(text)

    def check(self, name, *flags, group=None, dead=None):
        words = ["check", "--in", f"{name}.in", "--out", f"{name}.out", "--dead", dead or f"{name}.dead", *flags]
        done = self.oracle(*words, *(["--group", group] if group else []), check=False)
        expect(done.returncode == 0, f"oracle {' '.join(map(str, words))}:\n{done.stdout}{done.stderr}")
        return json.loads(done.stdout)

    def kafka(self, tool, *words):
        done = subprocess.run([KAFKA, "run", tool, "--bootstrap-server", self.broker.address, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        expect(done.returncode == 0, f"{tool}: {done.stdout}{done.stderr}")
        return done.stdout

    def grow(self, topic, partitions):
        """So many partitions from now on."""
        self.oracle("grow", topic, partitions)

    def trim(self, topic, offset):
        """Deletes the records before the offset in every partition."""
        self.oracle("trim", topic, offset)

    def delete(self, topic):
        self.oracle("delete", topic)

    def doctored(self, source, target, *words, partitions=1, config=""):
        """A new topic: the source with a fault planted (tests/kafka/doctor)."""
        self.topics(f"{target}:{partitions}{config}")
        subprocess.run([DOCTOR, self.broker.address, source, target, *map(str, words)], check=True)
        return target

    def transactions(self):
        """Transactional id -> what Kafka's own tool says of it: ProducerId, TransactionState, Coordinator."""
        return {row["TransactionalId"]: row for row in table(self.kafka("TransactionsCommand", "list"))}

    def transaction(self, name):
        """More of one: ProducerEpoch, TopicPartitions, ..."""
        return table(self.kafka("TransactionsCommand", "describe", "--transactional-id", name))[0]

    def end_all(self):
        for run in self.runs:
            run.close()
        self.runs = []
        for sender in self.senders:
            if sender.poll() is None:
                sender.kill()
            sender.wait()
            for pipe in filter(None, (sender.stdout, sender.stderr)):
                pipe.close()
        self.senders = []

    def close(self):
        self.end_all()
        self.broker.stop()
        if self.proxy:
            self.proxy.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def client_version():
    """The librdkafka that the program under test runs on: another one than it was linked with where MILLRACE_NEW_CLIENT says so."""
    text = subprocess.run([MILLRACE, "version"], stdout=subprocess.PIPE, text=True, check=True).stdout
    version = next(line.split()[1] for line in text.splitlines() if line.startswith("librdkafka"))
    expect(version == os.environ.get("MILLRACE_NEW_CLIENT", version), f"it runs on librdkafka {version}")
    return version


def main(cases, settings=(), nodes=0, proxy=False):
    """Runs the cases (or those named on the command line, or in MILLRACE_CASES) on one broker, or cluster; exits 0, 1 or 77."""
    wanted = sys.argv[1:] or os.environ.get("MILLRACE_CASES", "").split()
    failed, skipped = [], []
    print(f"librdkafka {client_version()}", flush=True)
    rig = Rig(settings, nodes, proxy)
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
            if rig.proxy:
                rig.proxy.heal()
    finally:
        rig.close()
    print(f"{len(failed)} failed{': ' + ' '.join(failed) if failed else ''}")
    sys.exit(1 if failed else 0)
