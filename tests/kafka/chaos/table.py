"""What came of runs: sums a row, the table, and the list of runs from which an interrupted matrix goes on."""
import datetime
import json
import os
import platform
import re
import subprocess

from rig import ROOT, median

HEAD = ("row", "fault", "seed", "runs", "faults", "lost", "duplicated", "reordered", "longest stall", "pass")
# What decides how a run ends: the program and the tests. Other changes do not make runs obsolete.
TESTED = ("src", "include", "kernels", "cmake", "CMakeLists.txt", "CMakePresets.json", "tests/kafka/chaos", "tests/kafka/oracle",
          "tests/kafka/proxy", "tests/kafka/rig.py", "tests/kafka/kills.py", "tests/hooks", "scripts/kafka", "scripts/kafka.d")


def git(*words):
    return subprocess.run(["git", "-C", ROOT, *words], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False).stdout.strip()


def commit():
    """The last one that changed what is tested; "+" behind it: and files here differ from it."""
    return (git("log", "-1", "--format=%h", "--", *TESTED) or "unknown") + ("+" if git("status", "--porcelain", "--", *TESTED) else "")


def machine():
    """Processor, cores, memory."""
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        model = next((line.split(":", 1)[1].strip() for line in file if line.startswith("model name")), platform.machine())
    gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{model}, {os.cpu_count()} cores, {gib:.0f} GiB"


def kafka():
    """The version of its jars."""
    with open(os.path.join(ROOT, "scripts", "kafka.d", "pom.xml"), encoding="utf-8") as file:
        return re.search(r"<kafka.version>([^<]+)<", file.read()).group(1)


class Result:
    """Sums over the runs of a row."""

    def __init__(self, row):
        self.row, self.seeds = row, []
        self.runs = self.faults = self.lost = self.duplicated = self.reordered = self.failed = 0
        self.seconds = self.stall_s = 0.0
        self.notes, self.measured = {}, {}

    def add(self, verdict):
        self.runs += 1
        self.seeds.append(verdict["seed"])
        for key in ("faults", "lost", "duplicated", "reordered", "seconds"):
            setattr(self, key, getattr(self, key) + verdict[key])
        self.failed += bool(verdict["wrong"])
        self.stall_s = max(self.stall_s, verdict["stall_s"])
        for text, count in verdict["notes"].items():
            self.notes[text] = self.notes.get(text, 0) + count
        for what, more in verdict["measured"].items():
            self.measured.setdefault(what, {"unit": more["unit"], "values": []})["values"].extend(more["values"])

    def passed(self):
        return self.lost + self.duplicated > 0 if self.row.must_fail else not self.failed

    def first_seed(self):
        """They count up from the first; another beginning after each interruption."""
        starts = [seed for seed in sorted(self.seeds) if seed - 1 not in self.seeds]
        return " ".join(map(str, starts))

    def cells(self):
        passed = "yes" if self.passed() else f"no: {self.failed} of {self.runs}"
        if self.row.must_fail:
            passed = "yes, it fails" if self.passed() else "no, it does not fail"
        return (self.row.name, self.row.fault, self.first_seed(), self.runs, self.faults, self.lost, self.duplicated, self.reordered,
                f"{self.stall_s:.1f} s", passed)

    def seen(self):
        """What else is to be told."""
        texts = [f"{text}: {count}" for text, count in sorted(self.notes.items())]
        for what, measured in sorted(self.measured.items()):
            ordered, unit = sorted(measured["values"]), measured["unit"]
            texts.append(f"{what}: median {median(ordered):.2f} {unit}, 99 of 100 within {ordered[int(len(ordered) * 0.99)]:.2f} {unit}, "
                         f"at most {ordered[-1]:.2f} {unit} ({len(ordered)} times)")
        return "; ".join(texts)

    def line(self):
        words = "  ".join(f"{head} {cell}" for head, cell in zip(HEAD[2:], self.cells()[2:]))
        return f"{'ok   ' if self.passed() else 'FAIL '} {self.row.name} ({self.seconds:.0f} s)  {words}  {self.seen()}"


class Runs:
    """What came of the runs of one commit with one client; kept: in a file, too, a line each, where an interrupted matrix finds them."""

    def __init__(self, client, kept, resume):
        self.facts = {"commit": commit(), "client": client, "machine": machine()}
        self.verdicts, self.path = [], None
        if not kept:
            return
        folder = os.path.join(ROOT, ".cache", "chaos")
        os.makedirs(folder, exist_ok=True)
        self.path = os.path.join(folder, f"{self.facts['commit']}-{client}.runs")
        if resume and os.path.exists(self.path):
            with open(self.path, encoding="utf-8") as file:
                self.verdicts = [json.loads(line) for line in file]
        elif os.path.exists(self.path):
            os.replace(self.path, self.path + ".old")

    def result(self, row):
        result = Result(row)
        for verdict in self.verdicts:
            if verdict["row"] == row.name:
                result.add(verdict)
        return result

    def add(self, verdict):
        self.verdicts.append(verdict)
        if self.path:
            with open(self.path, "a", encoding="utf-8") as file:
                file.write(json.dumps(verdict) + "\n")


def write(path, rows, runs, wanted):
    """The table of all rows that have runs; wanted: how many each is to have."""
    results = [runs.result(row) for row in rows]
    at_once = sorted({verdict.get("at_once", 1) for verdict in runs.verdicts}) or [1]
    facts, done = runs.facts, [result for result in results if result.runs]
    missing = [f"{result.row.name} ({result.runs} of {wanted(result.row)})" for result in results if result.runs < wanted(result.row)]
    with open(path + ".new", "w", encoding="utf-8") as file:
        file.write("# Chaos\n\nExactly-once jobs under faults, on real brokers. A run passes when each record was answered once and in its order (an oracle that shares no\n"
                   "code with millrace counts), a job that learns has the weights and predictions of a run without faults, and `millrace verify` proves it. Each run\n"
                   "has a seed of its own, counted up from the row's; `scripts/chaos --row ROW --seed N` replays one.\n\n")
        file.write(f"{datetime.date.today()}, commit {facts['commit']}, Apache Kafka {kafka()}, librdkafka {facts['client']}, {facts['machine']}; "
                   f"{sum(result.runs for result in done)} runs, {sum(result.seconds for result in done) / 3600:.1f} hours end to end; {' or '.join(map(str, at_once))} at once"
                   f"{', which stall for longer than one alone' if at_once[-1] > 1 else ''}.\n\n")
        if missing:
            file.write(f"Not complete: {', '.join(missing)}.\n\n")
        file.write("| " + " | ".join(HEAD) + " |\n|" + "---|" * len(HEAD) + "\n")
        for result in done:
            file.write("| " + " | ".join(map(str, result.cells())) + " |\n")
        file.write("\n| row | how | seen |\n|---|---|---|\n")
        for result in done:
            file.write(f"| {result.row.name} | {result.row.how} | {result.seen()} |\n")
    os.replace(path + ".new", path)
