"""Rows K and R: what happens to the program's own processes."""
import signal

from frame import row
from rig import expect, wait_for

RECORDS = 40_000


@row("K1", "kill -9 at a random moment", "ten kills a run, 0 to 2 s after the process is ready", ci=0, full=100)
def killed(trial):
    trial.flow(RECORDS, RECORDS / 15)
    for _ in range(10):
        run = trial.start()
        if trial.random.random() < 0.7:
            trial.progress(run, 1)
        trial.pause(0, 2 if trial.random.random() < 0.2 else 0.6)
        expect(run.process.poll() is None, f"it ended by itself: {run.err()[-2000:]}")
        run.signal(signal.SIGKILL)
        run.end()
        trial.fault()


POINTS = ("open.before-init", "open.after-init", "batch.polled", "batch.sent", "commit.begin", "commit.before-offsets", "commit.after-offsets",
          "commit.end-sent", "commit.end-answered", "commit.after-end", "commit.done")


@row("K2", "killed at each named point of a transaction", f"hooks of the program for tests, each the first to fourth time: {', '.join(POINTS)}", ci=1, full=20)
def killed_at(trial):
    trial.flow(RECORDS, RECORDS / 20)
    count = RECORDS
    for point in trial.random.sample(POINTS, len(POINTS)):
        if not trial.flowing():  # each needs records
            trial.rig.produce(trial.name, 2000, first=count)
            count += 2000
            trial.count = count
        times = 1 if point.startswith("open") else trial.random.randint(1, 4)
        run = trial.start(hooks={"MILLRACE_CRASH_AT": f"{point}:{times}"})
        code = run.end(60)
        expect(code == -signal.SIGKILL and f"crash point {point}" in run.err(), f"{point}: it left with {code}:\n{run.err()[-2000:]}")
        trial.fault()


@row("K4", "SIGTERM in the middle of a batch", "ten stops a run, every third by two signals", ci=1, full=20)
def stopped(trial):
    trial.flow(RECORDS, RECORDS / 15)
    for index in range(10):
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


@row("K5", "a process frozen beyond its session, then awake again", "SIGSTOP; another one takes its partitions; SIGCONT", ci=1, full=20)
def frozen(trial):
    flags = ("-X", "session.timeout.ms=6000", "-X", "heartbeat.interval.ms=500")
    trial.flow(RECORDS, RECORDS / 20)
    one = trial.start(*flags, instance="one")
    trial.progress(one)
    two = trial.start(*flags, instance="two")
    trial.progress(two, 200)
    trial.pause(0, 0.5)
    two.pause()
    trial.fault()
    before = one.records_out()
    wait_for(lambda: one.records_out() > before + RECORDS / 4 or not trial.flowing(), "the other one to go on", 60)
    two.resume()
    trial.sender.wait(120)
    trial.pause(0, 2)
    code = two.process.poll()
    expect(code in (None, 0, 73, 75), f"the frozen one left with {code}:\n{two.err()[-3000:]}")
    trial.note("the frozen one goes on" if code is None else f"the frozen one left with {code}")
    expect(one.process.poll() is None, f"the other one left with {one.process.returncode}:\n{one.err()[-3000:]}")


@row("K6", "two processes with one transactional id", "the second starts while the first works", ci=1, full=50)
def twins(trial):
    trial.flow(RECORDS // 2, RECORDS / 20)
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


@row("R1", "processes join and leave all the time", "two to four members, one more or one less every second; static or dynamic", ci=1, full=20)
def storm(trial):
    # A static member that leaves keeps its partitions until its session ends: a short one, else that is all that is seen.
    flags = ("-X", "session.timeout.ms=3000", "-X", "heartbeat.interval.ms=300")
    settings = {"source__membership": "dynamic"} if trial.random.random() < 0.5 else {}
    trial.note("dynamic" if settings else "static")
    trial.flow(RECORDS, RECORDS / 20, partitions=6)
    members = {}

    def join(name):
        members[name] = trial.start(*flags, instance=name, **settings)

    join("m0")
    trial.progress(members["m0"], 1)
    number = 1
    while trial.flowing():
        if len(members) < 2 or (len(members) < 4 and trial.random.random() < 0.5):
            join(f"m{number}")
            number += 1
        else:
            name = trial.random.choice(sorted(members))
            leaver = members.pop(name)
            if trial.random.random() < 0.5:
                leaver.signal(signal.SIGTERM)
                leaver.expect_end(0, 30)
            else:
                leaver.signal(signal.SIGKILL)
                leaver.end()
                join(name)
        trial.fault()
        trial.pause(0.3, 1.7)
