"""Rows B1 to B5: brokers that die, stop and come back."""
import signal

from frame import row
from rig import expect, wait_for

RECORDS = 60_000


def alive(run):
    expect(run.process.poll() is None, f"it left with {run.process.returncode}:\n{run.err()[-3000:]}")


@row("B1", "the only broker is killed and comes back", "kill -9, wait 1 to 5 s, start; every third time together with the job", ci=1, full=20)
def restarted(trial):
    trial.flow(RECORDS, RECORDS / 20)
    run = trial.start()
    for index in range(2):
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
        alive(run)


@row("B1-rolling", "a rolling restart of three brokers", "each is stopped in good order and started again", ci=0, full=10, nodes=3)
def rolling(trial):
    trial.flow(RECORDS, RECORDS / 30)
    run = trial.start()
    trial.progress(run)
    nodes = [1, 2, 3]
    trial.random.shuffle(nodes)
    for node in nodes:
        trial.rig.broker.stop_node(node)
        trial.fault()
        trial.rig.broker.start_node(node)
        trial.progress(run, 1)
    alive(run)


@row("B2", "one of three brokers is killed", "kill -9 of a random node, wait, start; twice a run", ci=1, full=30, nodes=3)
def node_killed(trial):
    trial.flow(RECORDS, RECORDS / 25)
    run = trial.start()
    for _ in range(2):
        trial.progress(run)
        node = trial.random.randint(1, 3)
        trial.rig.broker.kill_node(node)
        trial.fault()
        trial.pause(0, 3)
        trial.rig.broker.start_node(node)
        trial.progress(run, 1)
    alive(run)


@row("B4", "a coordinator moves", "the coordinator of the group, or of the transactions, is killed and comes back", ci=1, full=20, nodes=3)
def coordinator(trial):
    trial.flow(RECORDS, RECORDS / 20)
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
    alive(run)
