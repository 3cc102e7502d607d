"""A process that makes runs with brokers, a proxy and a folder of its own: what it shares with others is the machine. As a program: a line
in is a run to make, a line out is what became of it, until there is no line any more."""
import fcntl
import json
import os
import signal
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
import frame  # noqa: E402
import brokers  # noqa: E402
import data  # noqa: E402
import followers  # noqa: E402
import groups  # noqa: E402
import learning  # noqa: E402
import network  # noqa: E402
import processes  # noqa: E402
from rig import Rig, Skip, Wrong  # noqa: E402

MODULES = (network, brokers, processes, groups, data, learning, followers)  # each declares its rows
SETTINGS = ("transaction.abort.timed.out.transaction.cleanup.interval.ms=1000", "group.min.session.timeout.ms=1000", "log.cleaner.backoff.ms=100")
RUNS_MAX = 60  # that the same brokers serve: each leaves topics, and a broker that is started again reads them all
PORTS, PORTS_EACH, WORKERS_MAX = 10000, 1000, 22  # of brokers: a worker's is never another's, not even while the broker that has it is dead


def window_claim():
    """The first of a window of ports that no other worker on this machine has; the file stays locked while it is open."""
    for number in range(WORKERS_MAX):
        lock = open(os.path.join(tempfile.gettempdir(), f"millrace-chaos-ports-{number}.lock"), "w", encoding="utf-8")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return PORTS + number * PORTS_EACH, lock
        except OSError:
            lock.close()
    raise Wrong(f"all {WORKERS_MAX} windows of ports are taken: so many processes make runs on this machine")


class Worker:
    """Seen from outside. One thread at a time."""

    def __init__(self):
        first, self.lock = window_claim()
        self.process = subprocess.Popen([sys.executable, os.path.abspath(__file__)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        start_new_session=True,  # what a person presses is for the one that sits there, who tells
                                        env={**os.environ, "MILLRACE_KAFKA_PORTS": f"{first} {first + PORTS_EACH - 1}"})

    def attempt(self, row, seed, is_short):
        """frame.attempt() over there."""
        try:
            self.process.stdin.write(json.dumps([row.name, seed, is_short]) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # nothing to read then either
        line = self.process.stdout.readline()
        if not line:
            raise Wrong(f"row {row.name}, seed {seed}: the process that makes the runs ended with {self.process.wait()}")
        verdict = json.loads(line)
        if "skip" in verdict:
            raise Skip(verdict["skip"])
        return verdict

    def interrupt(self):
        """In the middle of a run."""
        self.process.send_signal(signal.SIGINT)

    def end(self):
        """After the run that it is at."""
        self.process.stdin.close()

    def close(self):
        self.process.wait()
        self.process.stdout.close()
        self.lock.close()


class Brokers:
    """Those of this process, of as many nodes as the row wants; others after a run that failed, which may have left them in any state, and after
    many."""

    def __init__(self):
        self.rig, self.nodes, self.runs = None, 0, 0

    def of(self, row):
        self.runs += 1
        if self.nodes != row.nodes or self.runs > RUNS_MAX:
            self.close()
            self.rig = Rig(SETTINGS, row.nodes, proxy=True)
            self.rig.broker.start()
            self.nodes, self.runs = row.nodes, 1
        return self.rig

    def close(self):
        if self.rig:
            self.rig.close()
        self.rig, self.nodes = None, 0


def serve():
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores it for what it starts in the background
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what is printed besides is no answer
    rows, mine = {row.name: row for row in frame.ROWS}, Brokers()
    try:
        for line in sys.stdin:
            name, seed, is_short = json.loads(line)
            verdict = frame.attempt(mine.of(rows[name]), rows[name], seed, is_short)
            print(json.dumps(verdict), file=answers, flush=True)
            if verdict["wrong"] and not rows[name].must_fail:
                mine.close()
    except Skip as reason:
        print(json.dumps({"skip": str(reason)}), file=answers, flush=True)
    except KeyboardInterrupt:
        pass
    finally:
        mine.close()


if __name__ == "__main__":
    serve()
