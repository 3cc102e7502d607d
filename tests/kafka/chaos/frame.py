"""What the rows of the chaos matrix share: a table of rows, and one run of a row: a job under exactly-once, records that flow, a verdict."""
import json
import random
import subprocess
import threading
import time

import rig as base
from rig import Wrong, expect, wait_for

ROWS = []


class Row:
    def __init__(self, name, fault, how, function, ci, full, nodes, must_fail):
        self.must_fail = must_fail
        self.name, self.fault, self.how, self.function = name, fault, how, function
        self.ci, self.full, self.nodes = ci, full, nodes


def row(name, fault, how, ci, full, nodes=1, must_fail=False):
    """Declares a row: ci and full say how many runs each has; nodes, on how many brokers (behind the proxy). must_fail: it shows
    that another row can fail, and passes when records are lost or doubled."""
    def declare(function):
        ROWS.append(Row(name, fault, how, function, ci, full, nodes, must_fail))
        return function
    return declare


class Stall(threading.Thread):
    """The longest time in which no process of a run put a record out, from the first one on."""

    def __init__(self, trial):
        super().__init__(daemon=True)
        self.trial, self.longest_s, self.ending = trial, 0.0, threading.Event()

    def run(self):
        last, at = 0, None
        while not self.ending.wait(0.05):
            now = self.trial.out()
            if now > last:
                if at is not None:
                    self.longest_s = max(self.longest_s, time.monotonic() - at)
                last, at = now, time.monotonic()

    def end(self):
        self.ending.set()
        self.join()


class Trial:
    """One run of a row."""

    def __init__(self, rig, row_, seed):
        self.rig, self.seed = rig, seed
        self.random = random.Random(seed)
        self.name = f"{row_.name.lower()}-{seed}-{rig.number()}"
        self.count, self.sender, self.runs, self.instance = 0, None, [], None
        self.faults, self.notes, self.job = 0, {}, None
        self.settings, self.judge = {}, self.count_outputs  # of every process; what says whether all is well
        self.stall = Stall(self)

    def flow(self, count, rate, *flags, partitions=4):
        """Records begin to flow."""
        self.rig.trio(self.name, partitions)
        self.count = count
        self.sender = self.rig.producing(self.name, count, rate, "--bad-every", 50, *flags)
        self.stall.start()

    def start(self, *flags, instance=None, hooks=None, **changes):
        """A process of the job; without a name of its own it has that of the one before, and so takes its partitions up at once."""
        settings = {"delivery": "exactly-once", "commit_interval": "100ms", "source__connect_timeout": "60s", **self.settings, **changes}
        self.instance = instance or self.instance
        if self.instance:
            settings["source__instance"] = self.instance
        self.job = self.rig.job(self.name, **settings)
        run = self.rig.run(self.job, "-X", "topic.metadata.refresh.interval.ms=5000", *flags, hooks=hooks)
        self.runs.append(run)
        return run

    def out(self):
        return sum(run.records_out() for run in self.runs)

    def fault(self):
        self.faults += 1

    def note(self, text):
        self.notes[text] = self.notes.get(text, 0) + 1

    def pause(self, least_s, most_s):
        """A moment of the seed's choice."""
        threading.Event().wait(self.random.uniform(least_s, most_s))

    def progress(self, run, records=500, deadline_s=60):
        """Until the process has put so many more out, or all have been sent and it has nothing to do."""
        wanted = run.records_out() + records

        def done():
            expect(run.process.poll() is None, f"it ended with {run.process.returncode}:\n{run.err()[-3000:]}")
            return run.records_out() >= wanted or self.sender.poll() is not None
        wait_for(done, f"{records} more records out (now {run.records_out()})\n{run.err()[-1500:]}", deadline_s)

    def flowing(self):
        """Whether records are still being sent."""
        return self.sender.poll() is None

    def finish(self):
        """The faults are over: those that live end in good order, a last process does the rest. The verdict."""
        expect(self.sender.wait(180) == 0, f"the sender failed: {self.sender.stderr.read()}")
        for run in self.runs:
            if run.process.poll() is None:
                run.signal(base.signal.SIGTERM)
                code = run.end(60)
                expect(code in (0, 75), f"at the end it left with {code}:\n{run.err()[-3000:]}")
        self.start("--until", "end").expect_end(0, 120)
        self.stall.end()
        verdict = self.judge()
        verdict["wrong"] += self.verify()
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

    def close(self):
        if self.stall.is_alive():
            self.stall.end()


def attempt(rig, row_, seed):
    """One run of a row; what became of it. Never raises but for Skip and what a person presses."""
    trial = Trial(rig, row_, seed)
    verdict = {"lost": 0, "duplicated": 0, "reordered": 0, "stall_s": 0.0, "wrong": ""}
    try:
        row_.function(trial)
        verdict.update(trial.finish())
    except (Wrong, OSError, subprocess.SubprocessError) as error:
        verdict["wrong"] = str(error) or repr(error)
    finally:
        trial.close()
        verdict["stall_s"] = trial.stall.longest_s
        rig.proxy.heal()
        rig.end_all()
    return {**verdict, "faults": trial.faults, "notes": trial.notes}
