"""Rows K: what happens to the program's own processes."""
import signal

from frame import LATE, SOON, Gate, hooks_of, lose, row
from points import COMMIT, OPENING, RESTARTING, REVOKING, times_of
from rig import expect, wait_for

RATE = 2000


@row("K1", "kill -9 at a random moment", "ten kills a run, 0 to 2 s after the process is ready", ci=0, full=100, seconds=15)
def killed(trial):
    trial.flow(RATE)
    trial.kill(10)


def crash_at(trial, point, **changes):
    """A process that dies at the point, and what makes it come there."""
    name, flags, gates = trial.instance or "main", (), []
    if point in RESTARTING:
        flags, gates = LATE, [Gate(trial, "batch.polled", 2)]
    if point in REVOKING:
        flags = SOON
    run = trial.start(*flags, instance=name, hooks=hooks_of(*gates, crash=f"{point}:{times_of(point, trial.random)}"), **changes)
    other = None
    if point in RESTARTING:
        lose(run, gates[0])
    if point in REVOKING and trial.is_at_work(run):
        other = trial.start(*flags, instance="other", source__membership="dynamic", **changes)
        trial.instance = name
    code = run.end(60)
    expect(code == -signal.SIGKILL and f"crash point {point}" in run.err(), f"{point}: it left with {code}:\n{run.err()[-2000:]}")
    trial.fault()
    if other:
        trial.leave(other)


POINTS = OPENING + COMMIT + REVOKING + RESTARTING


@row("K2", "killed at each named point of a transaction", f"hooks of the program for tests, each the first to fourth time: {', '.join(POINTS)}", ci=1, full=20,
     seconds=33, short_seconds=19, points=POINTS)
def killed_at(trial):
    trial.flow(RATE)
    points = [*REVOKING, *trial.random.sample(COMMIT, 3)] if trial.is_short else POINTS  # L-K2 has the others
    for point in trial.random.sample(points, len(points)):
        crash_at(trial, point)


@row("K4", "SIGTERM in the middle of a batch", "ten stops a run, every third by two signals", ci=1, full=20, seconds=8, short_seconds=4)
def stopped(trial):
    trial.flow(RATE)
    for index in range(4 if trial.is_short else 10):
        run = trial.start()
        run.wait_log("backend")
        trial.progress(run, 1)
        trial.pause(0, 0.5)
        twice = index % 3 == 2
        for _ in range(1 + twice):
            run.signal(signal.SIGTERM)
        code = run.end(30)
        expect(code in ((0, 75) if twice else (0,)), f"it left with {code}:\n{run.err()[-3000:]}")
        trial.note(f"exit code {code}")
        trial.fault()


@row("K5", "a process frozen beyond its session, then awake again", "SIGSTOP; another one takes its partitions; SIGCONT", ci=1, full=20, seconds=12)
def frozen(trial):
    trial.flow(RATE)
    one = trial.start(*SOON, instance="one")
    trial.progress(one)
    two = trial.start(*SOON, instance="two")
    trial.progress(two, 200)
    trial.pause(0, 0.5)
    two.pause()
    trial.fault()
    trial.pause(4, 8)  # its session ends after 3 s
    trial.progress(one, 1000)
    two.resume()
    trial.progress(one, 1000)
    trial.pause(0, 2)
    code = two.process.poll()
    expect(code in (None, 0, 73, 75), f"the frozen one left with {code}:\n{two.err()[-3000:]}")
    trial.note("the frozen one goes on" if code is None else f"the frozen one left with {code}")
    trial.alive(one)


@row("K6", "two processes with one transactional id", "the second starts while the first works", ci=1, full=50,
     seconds=3)
def twins(trial):
    trial.flow(RATE)
    first = trial.start(instance="one")
    trial.progress(first)
    trial.pause(0, 1)
    second = trial.start(instance="one")
    trial.fault()
    wait_for(lambda: first.process.poll() is not None or second.process.poll() is not None, "one of the two to leave", 60)
    fenced = first if first.process.poll() is not None else second
    expect(fenced.process.returncode == 73, f"it left with {fenced.process.returncode}, not 73:\n{fenced.err()[-3000:]}")
    trial.note(f"the {'older' if fenced is first else 'newer'} one left with 73")
    other = second if fenced is first else first
    trial.progress(other, 1)
    expect(other.process.poll() is None, f"both left: {other.err()[-3000:]}")
