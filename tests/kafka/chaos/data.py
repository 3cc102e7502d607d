"""Rows D: what happens to the topics themselves."""
import collections
import json
import re
import signal
import subprocess

from frame import hooks_of, row
from rig import MILLRACE, expect, wait_for

RATE = 2000
NO_BAD = ("--bad-every", 0)  # so that the records of an output name those of the input


@row("D1", "the input gets more partitions", "4, then 8, between records; the output has 8 already, or grows at the same moment; killed then or not", ci=1, full=10,
     seconds=6)
def grown(trial):
    is_out_ready = trial.random.random() < 0.5
    trial.note("the output had 8 already" if is_out_ready else "the output grew, too")
    if is_out_ready:
        trial.settings["emit__partition"] = "same"
    trial.flow(RATE, partitions=4, out=8 if is_out_ready else 4)
    run = trial.start()
    trial.progress(run)
    trial.stop_flow()
    if not is_out_ready:
        trial.rig.grow(f"{trial.name}.out", 8)
    trial.rig.grow(f"{trial.name}.in", 8)
    trial.fault()
    if trial.random.random() < 0.3:
        trial.pause(0, 3)
        run.signal(signal.SIGKILL)
        run.end()
        run = trial.start()
        trial.note("killed")
    before = trial.out()
    trial.send(RATE, count=2000)
    trial.sent(2000)
    wait_for(lambda: run.process.poll() is not None or trial.out() >= before + 2000, f"the records of the new partitions\n{run.err()[-1500:]}", 30)  # looks every 5 s
    trial.alive(run)


def read(trial, topic):
    """The committed records of a topic, by their id: how often each is there."""
    done = subprocess.run([MILLRACE, "tap", topic, "-b", trial.rig.broker.address, "-e"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=True)
    return collections.Counter(json.loads(line)["id"] for line in done.stdout.splitlines())


def judge_ids(trial, wanted):
    """Each of the wanted ids answered once, no other one more than once; for topics whose records are gone."""
    found = read(trial, f"{trial.name}.out")
    lost, more = len(set(wanted) - set(found)), sum(found.values()) - len(found)
    return {"lost": lost, "duplicated": more, "reordered": 0, "wrong": f"{lost} records lost, {more} too many" if lost or more else ""}


def stopped_for(run, *reasons):
    """It must end by itself, saying one of these."""
    code = run.end(60)
    expect(code not in (0, -signal.SIGKILL) and any(reason in run.err() for reason in reasons), f"it left with {code}, without one of {reasons}:\n{run.err()[-2500:]}")
    return code


@row("D2", "the input topic is deleted, and made anew", "while the job runs, or between two processes; made anew at once or later, with more or fewer records than before: each record of the "
     "new one is answered once, or a process stops and says why", ci=1, full=20, seconds=6)
def deleted(trial):
    name, when = trial.name, trial.random.choice(("running", "running, made anew", "stopped"))
    trial.note(when)
    trial.verify = lambda: ""  # what the outputs are of is not there any more
    trial.flow(RATE, *NO_BAD, partitions=2)
    run = trial.start("-X", "socket.timeout.ms=6000")  # brokers may leave a request for a topic that is being deleted without an answer
    trial.progress(run, trial.random.randint(500, 3000))
    trial.stop_flow()
    old, run_out = trial.count, run.records_out()
    wait_for(lambda: run.records_out() >= old, f"all out, not only {run_out}", 30)
    trial.pause(0.5, 1)  # what is made anew while a transaction is open that has the old one's offsets cannot be told from it
    if when == "stopped":
        trial.leave(run)
    trial.rig.delete(f"{name}.in")
    trial.fault()
    if when == "running":
        trial.note(f"left with {stopped_for(run, f'{name}.in')}")
    create(trial, f"{name}.in:2")
    new = trial.random.randint(old // 4, old * 2)
    trial.rig.produce(name, new, *NO_BAD, first=old)
    if when == "running, made anew":
        wait_for(lambda: run.process.poll() is not None or run.records_out() >= old + new,
                 f"an end, or {new} new records behind {old}, not only {run.records_out() - old}:\n{run.err()[-2500:]}", 60)
        code = run.process.poll()
        trial.note("went on" if code is None else f"left with {code}")
        if code is not None:
            stopped_for(run, f"{name}.in")
    if run.process.poll() is None:
        trial.leave(run)
    run = trial.start("--until", "end")
    if run.end(120) == 65:  # offsets of the old one were on their way when it was deleted, and outlived it
        expect("lost_offsets" in run.err(), run.err()[-1500:])
        trial.note("refused at the start with 65")
        trial.start("--until", "end", source__lost_offsets="earliest").expect_end(0)
    trial.judge = lambda: judge_ids(trial, range(old, old + new))


def create(trial, words):
    """Makes a topic whose name the broker may still be deleting."""
    wait_for(lambda: trial.rig.oracle("topic", words, check=False).returncode == 0, f"topic {words}", 30, 0.1)


@row("D3", "records are deleted that the job has not read", "behind the offset that is committed, while it is stopped or frozen: it stops and says so, and goes on when it is told to", ci=1,
     full=20, seconds=7)
def trimmed(trial):
    name, when = trial.name, trial.random.choice(("stopped", "killed", "frozen"))
    trial.note(when)
    trial.verify = lambda: ""  # what the outputs are of is not there any more
    trial.flow(RATE, *NO_BAD, partitions=2)
    run = trial.start("-X", "queued.min.messages=1", "-X", "fetch.message.max.bytes=1000")
    trial.progress(run, trial.random.randint(500, 2000))
    if when == "frozen":
        run.pause()
    else:
        run.signal(signal.SIGTERM if when == "stopped" else signal.SIGKILL)
        run.end()
    trial.pause(1, 2)
    trial.stop_flow()
    gone = trial.count // 2 - trial.random.randint(10, 500)  # of each partition
    trial.rig.trim(f"{name}.in", gone)
    trial.fault()
    if when == "frozen":
        run.resume()
    else:
        run = trial.start()
    trial.note(f"left with {stopped_for(run, 'lost_offsets')}")
    told = re.search(rf"offsets (\d+) to {gone - 1} of {name}\.in\[\d\], (\d+) of them, were deleted", run.err())
    expect(told and int(told[2]) == gone - int(told[1]), f"what is lost is not said:\n{run.err()[-1500:]}")
    done = read(trial, f"{name}.out")
    trial.start("--until", "end", source__lost_offsets="earliest").expect_end(0)
    trial.judge = lambda: judge_ids(trial, [number for number in range(trial.count) if number in done or number // 2 >= gone])


@row("D5", "nine records in ten are of aborted transactions", "transactions of 50 records, behind each one of 450 that is aborted and one of nothing; five kills", ci=1, full=20, seconds=7)
def aborted(trial):
    trial.flow(0, "--transaction", f"{trial.name}-source", "--transaction-records", 50, "--aborted-records", 450)
    trial.kill(5)


@row("D5-holes", "the input is compacted", "1,000 keys in some 200,000 records, of which compaction leaves a few thousand with holes between them; killed at three points", ci=0, full=10, seconds=10)
def compacted(trial):
    name = trial.name
    trial.rig.topics(f"{name}.in:2:cleanup.policy=compact:segment.bytes=1048576:min.cleanable.dirty.ratio=0.01", f"{name}.out:2", f"{name}.dead:1")
    trial.rig.produce(name, 200_000, "--keys", *NO_BAD)
    trial.count = wait_for(lambda: settled(trial), "compaction", 120, 1)
    trial.note(f"{trial.count} records left")
    for point in ("batch.sent", "commit.end-sent", "commit.after-offsets"):
        run = trial.start(hooks=hooks_of(crash=f"{point}:1"), batch={"records_max": 256})
        expect(run.end(60) == -signal.SIGKILL, f"{point}: it left with {run.process.returncode}:\n{run.err()[-2000:]}")
        trial.fault()


def settled(trial):
    """How many records compaction has left, when they do not become fewer any more; else 0."""
    before, trial.left = getattr(trial, "left", None), sum(read(trial, f"{trial.name}.in").values())
    return trial.left if trial.left == before and trial.left < 100_000 else 0
