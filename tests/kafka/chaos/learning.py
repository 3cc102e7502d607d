"""Rows L: the same faults on a job that learns: what comes out must be, byte for byte, what a run without faults gives."""
import os
import subprocess

from frame import row
from points import COMMIT, LEARNING, OPENING, RESTARTING
from processes import crash_at
from rig import MILLRACE

RATE = 2500


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


@row("L-K1", "kill -9 of a job that learns", "ten kills a run, 0 to 2 s after the process is ready; a snapshot with every commit", ci=0, full=100, seconds=20)
def killed(trial):
    learn(trial)
    trial.kill(10)


@row("L-K1s", "the same, whole models written seldom", "a start learns again from the input what came since", ci=1, full=20, seconds=20)
def killed_seldom(trial):
    learn(trial, bytes_per_s="1KiB")
    trial.kill(10)


POINTS = OPENING + COMMIT + LEARNING + RESTARTING


@row("L-K2", "a job that learns is killed at each named point", f"each the first to fourth time: {', '.join(POINTS)}", ci=1, full=20, seconds=30, points=POINTS)
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
