"""Rows B6 to B8 and K7: what a network does to requests and answers; by the fault proxy."""
from frame import row
from rig import Wrong, expect, wait_for

RATE = 2000


@row("B6", "the network is cut", "both directions, one of them, or every connection reset and new ones refused; 1 to 8 s, twice a run", ci=1, full=20,
     seconds=9)
def cut(trial):
    proxy = trial.rig.proxy
    trial.flow(RATE)
    run = trial.start()
    for _ in range(2):
        trial.progress(run)
        kind = trial.random.choice(("requests", "responses", "both", "refused"))
        if kind == "refused":
            proxy.command("refuse")
            proxy.command("reset")
        else:
            proxy.command("blackhole", kind)
        trial.fault()
        trial.note(kind)
        trial.pause(1, 8)
        proxy.command("accept")
        proxy.command("pass")
        trial.progress(run, 1)
    trial.alive(run)


@row("B7", "a slow and unreliable network", "20 to 200 ms more each way, 1 Mbit/s, one request in a hundred resets its connection", ci=0, full=10,
     seconds=20)
def slow(trial):
    proxy = trial.rig.proxy
    trial.flow(400, count=4000)
    run = trial.start()
    trial.progress(run, 100)
    for side in ("request", "response"):
        proxy.command("delay", side, "any", trial.random.randint(20, 200), "client", "millrace")
    rule = proxy.rule("drop", "request", "any", "reset", "client", "millrace", "probability", 0.01, "seed", trial.random.randrange(1 << 30))
    proxy.command("rate", 125_000)
    trial.sent(4000)
    proxy.command("rate", 0)
    trial.faults += fired(proxy, rule)
    trial.alive(run)


def fired(proxy, rule):
    """How often a rule was carried out."""
    return proxy.command("rules")["rules"][str(rule)]["fired"]


@row("K7", "answers to Produce are lost", "one in twenty, its connection reset; 25 a run", ci=1, full=20, seconds=4)
def lost_answers(trial):
    proxy = trial.rig.proxy
    trial.flow(RATE)
    rule = proxy.rule("drop", "response", "Produce", "reset", "id", trial.name, "probability", 0.05, "seed", trial.random.randrange(1 << 30), "times", 25)
    run = trial.start()
    wait_for(lambda: run.process.poll() is not None or fired(proxy, rule) == 25, "25 lost answers", 120, 0.2)
    trial.faults += fired(proxy, rule)
    trial.alive(run)


def held(trial, api):
    """One request of a transaction is held while the client is cut off and tries again; it arrives one to three commits later."""
    proxy = trial.rig.proxy
    trial.flow(RATE)
    run = trial.start(instance="one")
    trial.progress(run, 1)
    for _ in range(5 if trial.is_short else 50):
        rule = proxy.rule("hold", "request", api, trial.random.choice(("cut", "reset")), "id", f"{trial.name}-one", "skip", trial.random.randrange(4))
        event = proxy.event("held", rule=rule)
        trial.fault()
        ends = proxy.rule("watch", "response", "EndTxn", "id", event["id"])
        for _ in range(1 + trial.random.randint(1, 3)):  # the first ends the transaction that the held request is of
            proxy.event("seen", rule=ends)
        expect(proxy.command("release", rule)["frames"] == 1, "it is held no more")
        answer = proxy.event("late_answer", 30, api=api)
        trial.note(f"late {api} answered {answer.get('error', '')}".rstrip())
        proxy.command("clear", "all")
    trial.alive(run)


@row("B8-proof", "as B8, with the recycling of producers switched off: must fail", "the late EndTxn comes when the next transaction has records", ci=1, full=5,
     seconds=3, must_fail=True)
def proof(trial):
    proxy = trial.rig.proxy
    hooks = {"MILLRACE_KEEP_DIRTY": "1"}
    trial.flow(RATE)
    run = trial.start(instance="one", hooks=hooks)
    for _ in range(60):
        if run.process.poll() is not None:
            trial.note(f"left with {run.process.returncode}")
            run = trial.start(instance="one", hooks=hooks)
            break
        if "INVALID_TXN_STATE" in run.err():
            break  # the late one has committed a part of the next transaction, which is made again
        try:
            rule = proxy.rule("hold", "request", "EndTxn", "cut", "id", f"{trial.name}-one", "skip", 1)
            event = proxy.event("held", 5, rule=rule)
            trial.fault()
            again = proxy.rule("watch", "response", "EndTxn", "id", event["id"], "times", 1)
            proxy.event("seen", 5, rule=again)
            more = proxy.rule("watch", "response", "Produce", "id", event["id"], "times", 1)
            proxy.event("seen", 5, rule=more)
            proxy.command("release", rule)
            trial.note(f"late EndTxn answered {proxy.event('late_answer', 5, api='EndTxn')['error']}")
        except Wrong:
            pass  # it has left
        proxy.command("release", "all")
        proxy.command("clear", "all")


for NAME, API, CI in (("B8", "EndTxn", 1), ("B8-produce", "Produce", 0), ("B8-partitions", "AddPartitionsToTxn", 0), ("B8-offsets", "AddOffsetsToTxn", 0),
                      ("B8-commit", "TxnOffsetCommit", 0)):
    row(NAME, f"{API} held, delivered after its retry has succeeded", "50 a run; one to three commits later", ci=CI, full=4, seconds=60, short_seconds=4)(
        lambda trial, api=API: held(trial, api))
