"""Rows L: the same faults on a job that learns: what comes out must be, byte for byte, what a run without faults gives."""
import os
import re
import signal
import subprocess

from frame import SOON, Gate, hooks_of, row
from points import COMMIT, LEARNING, OPENING, RESTARTING, times_of
from processes import crash_at
from rig import MILLRACE, expect, wait_for

RATE = 2500
STATE_FAULTS = ("no-chunk", "no-manifest", "foreign", "newer", "flip", "cut")


def committed(trial, topic):
    """All committed values of a topic of one partition, in their order."""
    return subprocess.run([MILLRACE, "tap", topic, "-b", trial.rig.broker.address, "-e"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                          check=True).stdout.splitlines()


def learn(trial, **state):
    """A k-means that learns in blocks of offsets, its records, and the verdict."""
    name, calm = trial.name, f"{trial.name}-calm"
    trial.rig.topics(f"{name}.near:1:cleanup.policy=compact", f"{calm}.near:1:cleanup.policy=compact", f"{calm}.out:1", f"{calm}.dead:1")
    saved = os.path.join(trial.rig.folder, f"{name}.safetensors")

    def settings(job):
        return {"backend": "cpu", "batch": {"records_max": 256, "by": "offsets"}, **({"state": state} if state else {}),
                "emit": {"fields": {"id": "id", "prediction": "near.class", "far": "near.score"}},
                "models": [{"name": "near", "type": "kmeans", "learn": True, "k": 6, "save": saved, "topic": f"{job}.near"}]}

    def compare():
        with open(saved, "rb") as file:
            learned = file.read()
        job = trial.rig.job(calm, delivery="exactly-once", source__topics=[f"{name}.in"], **settings(calm))
        trial.rig.run(job, "--until", "end").expect_end(0, 120)
        with open(saved, "rb") as file:
            wanted = file.read()
        found, right = committed(trial, f"{name}.out"), committed(trial, f"{calm}.out")
        lost, more = len(set(right) - set(found)), len(found) - len(set(found))
        wrong = "" if learned == wanted else "other weights than those of a run without faults; "
        if found != right:
            wrong += f"{len(found)} predictions, not the {len(right)} of a run without faults"
        return {"lost": lost, "duplicated": more, "reordered": 0, "wrong": wrong}

    trial.settings, trial.judge = settings(name), compare
    trial.flow(RATE, partitions=1)


@row("L-K1", "kill -9 of a job that learns", "ten kills a run, 0 to 2 s after the process is ready; a snapshot with every commit", ci=0, full=100, seconds=16)
def killed(trial):
    learn(trial)
    trial.kill(10)


@row("L-K1s", "the same, whole models written seldom", "a start learns again from the input what came since", ci=1, full=20, seconds=16, short_seconds=6)
def killed_seldom(trial):
    learn(trial, bytes_per_s="1KiB")
    trial.kill(5 if trial.is_short else 10)


POINTS = OPENING + COMMIT + LEARNING + RESTARTING


@row("L-K2", "a job that learns is killed at each named point", f"each the first to fourth time: {', '.join(POINTS)}", ci=1, full=20, seconds=17, points=POINTS)
def killed_at(trial):
    learn(trial)
    for point in trial.random.sample(POINTS, len(POINTS)):
        crash_at(trial, point)


@row("L-B1", "the broker dies under a job that learns", "kill -9 of the only broker, 0 to 3 s later it is back; three times a run", ci=0, full=10, seconds=25)
def broker_dies(trial):
    learn(trial)
    run = trial.start()
    for _ in range(3):
        trial.progress(run, 1)
        trial.rig.broker.kill_node(1)
        trial.fault()
        trial.pause(0, 3)
        trial.rig.broker.start_node(1)
    trial.progress(run, 1)
    trial.alive(run)


@row("R4", "a job that learns goes from process to process", "20 moves a run: the old one leaves, works on, or waits at a named point when the new one starts, which has its "
     "instance (static members) or one of its own (dynamic ones); one of the two ends with 73", ci=1, full=10, seconds=28, short_seconds=6)
def handed_over(trial):
    is_static = trial.random.random() < 0.5
    learn(trial, **({} if trial.random.random() < 0.5 else {"bytes_per_s": "1KiB"}))
    if not is_static:
        trial.settings["source__membership"] = "dynamic"
    trial.flags = SOON
    old = old_gate = None
    moves = 4 if trial.is_short else 20
    for move in range(moves + 1):
        how = trial.random.choice(("leaves", "works", "waits")) if move < moves else "works"
        point = trial.random.choice(COMMIT + LEARNING[1:])
        gate = Gate(trial, point, times_of(point, trial.random)) if how == "waits" else None
        new = trial.start(instance="one" if is_static else f"i{move}", hooks=hooks_of(gate) if gate else None)
        if old_gate:
            trial.pause(0, 2)
            old_gate.open()
        if old:
            left = one_ends(old, new)
            trial.note(f"the {'new' if left is new else 'old'} one ends with {left.process.returncode}")
            new = old if left is new else new
            gate = None if left is new else gate
        if gate and new.process.poll() is None:
            gate.wait(new)
        else:
            trial.measure("hand-over to first commit", new.first_commit())
        trial.pause(0, 0.5)
        trial.fault()
        if how == "leaves":
            new.signal(signal.SIGTERM)
        old, old_gate = new, gate
    trial.progress(old, 1)


def one_ends(old, new):
    """Of two that write the same model one ends: fenced, or because it was to leave. A dynamic member without a partition learns nothing of being
    fenced; it stands by, and is told to leave: the old one that had committed all it took, or the new one whose place the old one has taken back.
    The latter shows in commits of the old one; before, it may be about to find out that it is fenced, and leave its partition to the new one."""
    both, commits = (old, new), []

    def is_settled():
        now = old.total.get("commits", 0)
        if not stands_by(new):
            commits.clear()
        elif not commits or now > commits[-1]:
            commits.append(now)
        return any(run.process.poll() is not None for run in both) or stands_by(old) or len(commits) > 2

    wait_for(is_settled, f"one of two to end:\n{old.err()[-1500:]}\n{new.err()[-1500:]}", 60)
    if all(run.process.poll() is None for run in both):
        left = old if stands_by(old) else new
        left.signal(signal.SIGTERM)
        left.expect_end(0)
    left = old if old.process.poll() is not None else new
    expect(left.process.returncode in ((0, 73, 75) if left is old else (0, 73)), f"it left with {left.process.returncode}:\n{left.err()[-2000:]}")
    return left


def stands_by(run):
    """Its last partition has gone to another member."""
    told = re.findall(r"reads (\d+) partitions?", run.err())
    return bool(told) and told[-1] == "0"


@row("D6", "the state topic is broken", f"a copy of it, with one fault, in its place: {', '.join(STATE_FAULTS)}: refused with 70, and the offset named", ci=1, full=5, seconds=9)
def state_broken(trial):
    learn(trial, bytes_per_s="1KiB")
    run = trial.start()
    trial.progress(run, 6000)
    run.signal(signal.SIGKILL)
    run.end()
    right = trial.settings["models"]
    for fault in trial.random.sample(STATE_FAULTS, len(STATE_FAULTS)):
        topic = trial.rig.doctored(f"{trial.name}.near", f"{trial.name}.{fault}", fault, config=":cleanup.policy=compact")
        run = trial.start(models=[{**right[0], "topic": topic}]).expect_end(70)
        expect(f'"{topic}"' in run.err() and re.search(r"offset \d+", run.err()), f"{fault}: where it is broken is not said:\n{run.err()[-1500:]}")
        trial.fault()
    trial.progress(trial.start(), 1)
