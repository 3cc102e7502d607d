"""Rows R: partitions change hands."""
import signal

from frame import LATE, SOON, Gate, hooks_of, lose, row
from points import COMMIT, OPENING, RESTARTING, REVOKING, times_of

RATE = 2000
EVENTS = 15


def storm(trial, kind, has_kills):
    """Members come and go."""
    settings = {"source__membership": kind}
    trial.note(kind)
    trial.flow(RATE, partitions=6)
    members, number = {}, 1

    def join(name):
        members[name] = trial.start(*SOON, instance=name, **settings)

    join("m0")
    trial.progress(members["m0"], 1)
    for _ in range(6 if trial.is_short else EVENTS):
        if len(members) < 2 or (len(members) < 4 and trial.random.random() < 0.5):
            join(f"m{number}")
            number += 1
        else:
            name = trial.random.choice(sorted(members))
            leaver = members.pop(name)
            if has_kills:
                leaver.signal(signal.SIGKILL)
                leaver.end()
                join(name)
            else:
                trial.leave(leaver)
        trial.fault()
        trial.pause(0.3, 1.7)
        for silent_s in trial.silence.of_members():
            trial.measure(f"silence of a {kind} member between two changes", silent_s)


@row("R1", "processes join and leave all the time", f"two to four members, one more or one less every second, {EVENTS} times a run; static members (missed after 3 s) "
     "or dynamic ones", ci=1, full=20, seconds=23, short_seconds=11)
def calm_storm(trial):
    storm(trial, trial.random.choice(("dynamic", "static")), False)


@row("R1-kill", "processes join and are killed all the time", "the same, but with kill -9, and another one in its place: it is missed after 3 s if dynamic, and every kill in "
     "these makes the others wait anew", ci=0, full=10, seconds=23)
def rough_storm(trial):
    storm(trial, trial.random.choice(("dynamic", "static")), True)


PHASES = OPENING + COMMIT + REVOKING + RESTARTING


@row("R2", "another member joins while a process is in each phase of a transaction", f"it is held there, the other one asks to join, 0 to 1 s later it is let on: "
     f"{', '.join(PHASES)}", ci=1, full=20, seconds=52, short_seconds=19)
def joins(trial):
    proxy, number = trial.rig.proxy, iter(range(1000))
    trial.settings = {"source__membership": "dynamic"}
    trial.flow(RATE, partitions=6)

    def member(*flags, hooks=None):
        return trial.start(*(flags or SOON), instance=f"m{next(number)}", hooks=hooks)

    first = member()
    trial.progress(first, 1)
    for point in trial.random.sample(PHASES, 4 if trial.is_short else len(PHASES)):
        gate, away, others = Gate(trial, point, times_of(point, trial.random)), None, []
        if point in RESTARTING:
            away = Gate(trial, "batch.polled", 2)
            under = member(*LATE, hooks=hooks_of(away, gate))
            lose(under, away)
        else:
            under = member(hooks=hooks_of(gate))
        if point in REVOKING:
            trial.progress(under, 1)
            others.append(member())
        gate.wait(under)
        rule = proxy.rule("watch", "request", "JoinGroup", "id", trial.name)
        others.append(member())
        proxy.event("seen", rule=rule)
        proxy.command("clear", rule)
        trial.fault()
        trial.pause(0, 1)
        gate.open()
        for run in (under, others[-1]):
            trial.progress(run, 1)
        trial.leave(first, under, *others[:-1])
        first = others[-1]


AWAY = tuple(point for point in COMMIT if point != "batch.sent")  # there it is the lane's own thread that waits


@row("R3", "a process does not poll for longer than max.poll.interval.ms", f"its thread is held until the client has left the group, four times a run; alone or with another "
     f"member, static or dynamic: {', '.join(AWAY)}", ci=1, full=20, seconds=24, short_seconds=8)
def away(trial):
    trial.flow(RATE)
    other = None
    if trial.random.random() < 0.5:
        other = trial.start(*SOON, instance="other")
        trial.progress(other, 1)
    for point in trial.random.sample(AWAY, 2 if trial.is_short else 4):
        kind, gate = trial.random.choice(("static", "dynamic")), Gate(trial, point, times_of(point, trial.random))
        run = trial.start(*LATE, instance="main", hooks=hooks_of(gate), source__membership=kind)
        lose(run, gate)
        trial.fault()
        trial.note(kind)
        trial.progress(run, 1)
        trial.leave(run)
    if other:
        trial.alive(other)


@row("R5", "nobody tells the offsets of partitions that come", "OffsetFetch is lost for 16 to 18 s when a member gets those of one that leaves", ci=0, full=10, seconds=45)
def untold(trial):
    trial.flow(RATE)
    stays, leaves = (trial.start(instance=name, source__membership="dynamic") for name in ("m0", "m1"))
    trial.progress(leaves, 1)
    trial.progress(stays, 1)
    trial.rig.proxy.rule("drop", "request", "OffsetFetch", "silent", "client", "millrace")
    trial.leave(leaves)
    trial.fault()
    trial.pause(16, 18)
    trial.rig.proxy.command("clear", "all")
    trial.progress(stays, 1)
    trial.alive(stays)
