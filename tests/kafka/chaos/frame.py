"""What the rows of the chaos matrix share: a table of rows, and one run of a row: a job under exactly-once, records that flow, a verdict."""
import json
import os
import random
import shutil
import signal
import subprocess
import threading
import time
import traceback

import rig as base
from rig import Wrong, expect, wait_for

ROWS = []
KEEP = "MILLRACE_CHAOS_KEEP"  # a folder for what is left of runs that failed
ENDLESS = 100_000_000  # records: more than any row sends before it is over
SOON = ("-X", "session.timeout.ms=3000", "-X", "heartbeat.interval.ms=300")  # a member that is gone is missed after 3 s, not after 45
LATE = ("-X", "session.timeout.ms=1500", "-X", "heartbeat.interval.ms=300", "-X", "max.poll.interval.ms=1500")
LOST = "maximum poll interval"  # what the client says when its thread has not polled for that long


class Row:
    def __init__(self, name, fault, how, function, **facts):
        self.name, self.fault, self.how, self.function = name, fault, how, function
        self.ci, self.full, self.seconds, self.nodes = facts["ci"], facts["full"], facts["seconds"], facts["nodes"]
        self.short_seconds = facts["short_seconds"] or self.seconds
        self.points, self.must_fail = frozenset(facts["points"]), facts["must_fail"]


def row(name, fault, how, ci, full, seconds, short_seconds=0, nodes=1, points=(), must_fail=False):
    """Declares a row: ci and full say how many runs each has, seconds how long one took on two cores, short_seconds how long in the
    shorter form that it has among the tests of every day; nodes, on how many brokers (behind the proxy); points, which hooks of the code it uses. must_fail: it shows that another row can fail, and passes when records are lost
    or doubled."""
    def declare(function):
        ROWS.append(Row(name, fault, how, function, ci=ci, full=full, seconds=seconds, short_seconds=short_seconds, nodes=nodes, points=points, must_fail=must_fail))
        return function
    return declare


class Silence(threading.Thread):
    """How long no record came out: of all processes of a run together, from the first one on, and of each of them."""

    def __init__(self, trial):
        super().__init__(daemon=True)
        self.trial, self.longest_s, self.ending = trial, 0.0, threading.Event()
        self.lock, self.members = threading.Lock(), {}  # run -> records out, when, longest silence since it was asked for

    def run(self):
        last, at = 0, None
        while not self.ending.wait(0.05):
            now_s, now = time.monotonic(), self.trial.out()
            if now > last:
                if at is not None:
                    self.longest_s = max(self.longest_s, now_s - at)
                last, at = now, now_s
            with self.lock:
                self._members(now_s)

    def _members(self, now_s):
        for run in list(self.trial.runs):
            now = run.records_out()
            if run.process.poll() is not None or not now:
                self.members.pop(run, None)
                continue
            before, at, longest = self.members.get(run, (now, now_s, 0.0))
            self.members[run] = (now, now_s if now > before else at, max(longest, now_s - at))

    def of_members(self):
        """The longest silence of each process that lives and has put out something, since this was asked last."""
        with self.lock:
            longest = [facts[2] for facts in self.members.values()]
            self.members = {run: (now, at, 0.0) for run, (now, at, _) in self.members.items()}
        return longest

    def end(self):
        self.ending.set()
        self.join()


class Trial:
    """One run of a row."""

    def __init__(self, rig, row_, seed, is_short):
        self.rig, self.seed, self.is_short = rig, seed, is_short  # is_short: among the tests of every day
        self.random = random.Random(seed)
        self.name = f"{row_.name.lower()}-{seed}-{rig.number()}"
        self.count, self.sender, self.runs, self.instance = 0, None, [], None
        self.faults, self.notes, self.measured, self.job = 0, {}, {}, None
        self.settings, self.flags, self.judge = {}, (), self.count_outputs  # of every process; what says whether all is well
        self.silence = Silence(self)

    def flow(self, rate, *flags, partitions=4, out=None, count=ENDLESS):
        """Records begin to flow, so many, or until the row is over."""
        self.rig.trio(self.name, partitions, out=out)
        self.send(rate, *flags, count=count)

    def send(self, rate, *flags, count=ENDLESS):
        """Records flow on, behind those that were sent."""
        self.sender = self.rig.producing(self.name, count, rate, "--bad-every", 50, *flags, first=self.count)

    def stop_flow(self):
        """All that were sent are in the input."""
        if self.sender and self.sender.poll() is None:
            self.count += self.rig.stop_producing(self.sender)

    def sent(self, count):
        """Waits until a flow of so many has ended by itself."""
        expect(self.sender.wait(180) == 0, f"the sender failed: {self.sender.stderr.read()}")
        self.count += count

    def start(self, *flags, instance=None, hooks=None, **changes):
        """A process of the job; without a name of its own it has that of the one before, and so takes its partitions up at once."""
        settings = {"delivery": "exactly-once", "commit_interval": "100ms", "source__connect_timeout": "60s", **self.settings, **changes}
        self.instance = instance or self.instance
        if self.instance:
            settings["source__instance"] = self.instance
        self.job = self.rig.job(self.name, **settings)
        run = self.rig.run(self.job, "-X", "topic.metadata.refresh.interval.ms=5000", *self.flags, *flags, hooks=hooks)
        self.runs.append(run)
        return run

    def out(self):
        return sum(run.records_out() for run in self.runs)

    def fault(self):
        self.faults += 1

    def note(self, text):
        self.notes[text] = self.notes.get(text, 0) + 1

    def measure(self, what, value, unit="s"):
        """One of those whose median and 99th percentile the row tells."""
        self.measured.setdefault(what, {"unit": unit, "values": []})["values"].append(value)

    def pause(self, least_s, most_s):
        """A moment of the seed's choice."""
        threading.Event().wait(self.random.uniform(least_s, most_s))

    def alive(self, run):
        expect(run.process.poll() is None, f"it left with {run.process.returncode}:\n{run.err()[-3000:]}")

    def progress(self, run, records=500, deadline_s=60):
        """Until the process has put so many more out, or has nothing to do."""
        wanted = run.records_out() + records

        def done():
            self.alive(run)
            return run.records_out() >= wanted or self.sender.poll() is not None
        wait_for(done, f"{records} more records out (now {run.records_out()})\n{run.err()[-1500:]}", deadline_s)

    def is_at_work(self, run, deadline_s=60):
        """Once it has put something out. False: it has died at its crash point; a group that is new may be shared out twice, with nobody else in it."""
        wait_for(lambda: run.process.poll() is not None or run.records_out() > 0, f"the first record out\n{run.err()[-1500:]}", deadline_s)
        return run.process.poll() is None

    def kill(self, times):
        """Started and killed at a random moment, so many times."""
        for _ in range(times):
            run = self.start()
            if self.random.random() < 0.7:
                self.measure("restart to first commit", run.first_commit())
            self.pause(0, 2 if self.random.random() < 0.2 else 0.6)
            self.alive(run)
            run.signal(signal.SIGKILL)
            run.end()
            self.fault()

    def leave(self, *runs):
        """In good order."""
        for run in runs:
            run.signal(signal.SIGTERM)
        for run in runs:
            code = run.end(60)
            expect(code in (0, 75), f"at the end it left with {code}:\n{run.err()[-3000:]}")

    def finish(self):
        """The faults are over: those that live end in good order, a last process does the rest. The verdict."""
        self.stop_flow()
        self.leave(*(run for run in self.runs if run.process.poll() is None))
        self.start("--until", "end").expect_end(0, 120)
        self.silence.end()
        verdict = self.judge()
        verdict["wrong"] += self.verify()
        if verdict["wrong"]:
            verdict["wrong"] += f"\nthe last process said:\n{self.runs[-1].err()[-3000:]}"
        return verdict

    def verify(self):
        """What `millrace verify` says against it, from the topics alone; nothing when it proves all."""
        done = subprocess.run([base.MILLRACE, "verify", self.job, "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=120)
        return "" if done.returncode == 0 else f"millrace verify exits with {done.returncode}: {done.stdout[-1500:]}{done.stderr[-1500:]}"

    def count_outputs(self):
        """Each record answered once, in its order, as the oracle sees it."""
        words = ["check", "--in", f"{self.name}.in", "--out", f"{self.name}.out", "--dead", f"{self.name}.dead", "--count", self.count,
                 "--ordered", "--once", "--group", self.name]
        done = self.rig.oracle(*words, check=False)
        try:
            found = json.loads(done.stdout.splitlines()[-1])
        except (ValueError, IndexError):
            raise Wrong(f"the oracle says nothing: {done.stdout}{done.stderr}") from None
        verdict = {"lost": found["missing"], "duplicated": found["duplicates"], "reordered": found["reordered"]}
        verdict["wrong"] = "" if done.returncode == 0 else f"{done.stdout[-1500:]}{done.stderr[-1500:]}"
        return verdict

    def keep(self, folder):
        """What is left of a run that failed: the job, what its processes and brokers said, and the files of its topics and of the groups' offsets."""
        folder = os.path.join(folder, self.name)
        os.makedirs(folder, exist_ok=True)
        if self.job:
            shutil.copy(self.job, folder)
        for number, run in enumerate(self.runs):
            with open(os.path.join(folder, f"run-{number}.log"), "w", encoding="utf-8") as file:
                file.write(f"exit code {run.process.returncode}\n{run.err()}")
        for path, names, files in os.walk(self.rig.broker.folder):
            into = os.path.join(folder, os.path.relpath(path, self.rig.broker.folder))
            for name in names:
                if name.startswith((self.name, "__consumer_offsets", "__transaction_state")):
                    shutil.copytree(os.path.join(path, name), os.path.join(into, name), dirs_exist_ok=True)
            if "log" in files and not os.path.basename(path).startswith("data"):
                os.makedirs(into, exist_ok=True)
                shutil.copy(os.path.join(path, "log"), into)

    def close(self):
        if self.silence.is_alive():
            self.silence.end()


class Gate:
    """A named moment of the code at which a process waits until it is let on."""

    def __init__(self, trial, point, times=1):
        self.path = os.path.join(trial.rig.folder, f"gate{trial.rig.number()}")
        self.point, self.words = point, f"{point}:{times}:{self.path}"

    def reached(self):
        return os.path.exists(self.path + ".reached")

    def wait(self, run, deadline_s=60):
        def done():
            expect(run.process.poll() is None, f"{self.point}: it ended with {run.process.returncode}:\n{run.err()[-2000:]}")
            return self.reached()
        wait_for(done, f"{self.point}\n{run.err()[-1500:]}", deadline_s)

    def open(self):
        with open(self.path, "w", encoding="ascii"):
            pass


def hooks_of(*gates, crash=None):
    """The variables of tests/hooks/test_hook.c."""
    hooks = {"MILLRACE_WAIT_AT": ",".join(gate.words for gate in gates)} if gates else {}
    return {**hooks, "MILLRACE_CRASH_AT": crash} if crash else hooks


def lose(run, gate):
    """Holds a process, one with LATE, at the gate until its client has given its partitions up."""
    gate.wait(run)
    run.wait_log(LOST)
    gate.open()


def attempt(rig, row_, seed, is_short):
    """One run of a row; what became of it. Never raises but for Skip and what a person presses."""
    trial = Trial(rig, row_, seed, is_short)
    verdict = {"lost": 0, "duplicated": 0, "reordered": 0, "wrong": ""}
    started = time.monotonic()
    trial.silence.start()
    try:
        row_.function(trial)
        verdict.update(trial.finish())
    except Wrong as error:
        verdict["wrong"] = str(error)
    except base.Skip:
        raise
    except Exception:  # pylint: disable=broad-except
        verdict["wrong"] = traceback.format_exc()  # a fault of the test's own: the other rows go on
    finally:
        trial.close()
        if verdict["wrong"] and os.environ.get(KEEP) and not row_.must_fail:
            trial.keep(os.environ[KEEP])
        rig.proxy.heal()
        rig.end_all()
    return {"row": row_.name, "seed": seed, **verdict, "faults": trial.faults, "stall_s": round(trial.silence.longest_s, 3), "notes": trial.notes,
            "measured": trial.measured, "seconds": round(time.monotonic() - started, 1)}
