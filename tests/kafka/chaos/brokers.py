"""Rows B1 to B5, B9: brokers that die, stop, stand still and come back."""
import os
import signal
import threading

from frame import row
from rig import expect, wait_for

RATE = 3000


@row("B1", "the only broker is killed and comes back", "kill -9, wait 1 to 5 s, start; twice a run, every third time together with the job", ci=1, full=20,
     seconds=30, short_seconds=18)
def restarted(trial):
    trial.flow(RATE)
    run = trial.start()
    for _ in range(1 if trial.is_short else 2):
        trial.progress(run)
        trial.rig.broker.kill_node(1)
        trial.fault()
        both = trial.random.random() < 0.34
        if both:
            run.signal(signal.SIGKILL)
            run.end()
        trial.pause(1, 5)
        trial.rig.broker.start_node(1)
        if both:
            run = trial.start()
        trial.progress(run, 1)
        trial.alive(run)


@row("B1-rolling", "a rolling restart of three brokers", "each is stopped in good order and started again", ci=0, full=10, seconds=45, nodes=3)
def rolling(trial):
    trial.flow(RATE)
    run = trial.start()
    trial.progress(run)
    nodes = [1, 2, 3]
    trial.random.shuffle(nodes)
    for node in nodes:
        trial.rig.broker.stop_node(node)
        trial.fault()
        trial.rig.broker.start_node(node)
        trial.progress(run, 1)
    trial.alive(run)


@row("B2", "one of three brokers is killed", "kill -9 of a random node, wait, start; twice a run", ci=0, full=30, seconds=40, nodes=3)
def node_killed(trial):
    trial.flow(RATE)
    run = trial.start()
    for _ in range(2):
        trial.progress(run)
        node = trial.random.randint(1, 3)
        trial.rig.broker.kill_node(node)
        trial.fault()
        trial.pause(0, 3)
        trial.rig.broker.start_node(node)
        trial.progress(run, 1)
    trial.alive(run)


@row("B4", "a coordinator moves", "the coordinator of the group, or of the transactions, is killed and comes back", ci=1, full=20, seconds=31, nodes=3)
def coordinator(trial):
    trial.flow(RATE)
    run = trial.start(instance="one")
    trial.progress(run)
    broker = trial.rig.broker
    if trial.random.random() < 0.5:
        find, name = broker.group_coordinator, trial.name
    else:
        find, name = broker.transaction_coordinator, f"{trial.name}-one-0"
    node = find(name)
    broker.kill_node(node)
    trial.fault()
    try:
        moved = wait_for(lambda: (now := find(name)) != node and now, "another coordinator", 60, 0.2)
        trial.note("moved" if moved else "stayed")
        trial.progress(run, 1)
    finally:
        broker.start_node(node)
    trial.alive(run)


@row("B9", "the broker stands still for longer than a transaction may be open", "SIGSTOP for 7 to 9 s, three times a run; a transaction may be open for 6 s", ci=1, full=20,
     seconds=40, short_seconds=15)
def still(trial):
    trial.flow(RATE)
    run = trial.start("-X", "transaction.timeout.ms=6000")
    for _ in range(1 if trial.is_short else 3):
        trial.progress(run)
        trial.pause(0, 0.2)
        trial.rig.broker.pause_node(1)
        try:
            trial.fault()
            trial.pause(7, 9)
        finally:
            trial.rig.broker.resume_node(1)
        trial.progress(run, 1)
    trial.alive(run)


def memory_kib(run):
    """The most that a process has had."""
    with open(f"/proc/{run.process.pid}/status", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM"))


@row("B5", "all three brokers are gone for a while", "kill -9 of all, 60 s (15 s among the tests of every day), start; the job goes on by itself, in its memory and with a short log",
     ci=0, full=5, seconds=100, nodes=3)
def all_gone(trial):
    broker = trial.rig.broker
    trial.flow(RATE)
    run = trial.start()
    trial.progress(run, 3000)
    memory, log_bytes = memory_kib(run), os.path.getsize(run.log_path)
    for node in (1, 2, 3):
        broker.kill_node(node)
    trial.fault()
    threading.Event().wait(15 if trial.is_short else 60)
    starts = [threading.Thread(target=broker.start_node, args=(node,)) for node in (1, 2, 3)]  # each answers when two are there
    for start in starts:
        start.start()
    for start in starts:
        start.join()
    trial.progress(run, 3000, 90)
    more, said = (memory_kib(run) - memory) / 1024, (os.path.getsize(run.log_path) - log_bytes) / 1024
    trial.measure("more memory than before", more, "MiB")
    trial.measure("log", said, "KiB")
    expect(more < 128 and said < 1024, f"{more:.0f} MiB more memory, {said:.0f} KiB of log")
