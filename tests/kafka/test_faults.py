#!/usr/bin/env python3
"""Three brokers behind a proxy: nodes go, coordinators move, connections break, answers are lost and requests come late."""
import signal
import subprocess

from rig import ORACLE, expect, main, wait_for

RECORDS = 60_000


def flow(rig, name, fault, *flags, rate=6_000):
    """Records flow through a job while fault(run) happens; all are out afterwards, in order. What the check found."""
    rig.trio(name)
    run = rig.run(rig.job(name))
    sender = rig.producing(name, RECORDS, rate, "--bad-every", 50)
    run.wait_out(2000)
    fault(run)
    expect(sender.wait(120) == 0, f"the sender failed: {sender.stderr.read()}")
    run.wait_out(RECORDS, 90)
    run.signal(signal.SIGTERM)
    run.expect_end(0, 15)
    return rig.check(name, "--count", RECORDS, "--ordered", *flags, group=name)


def case_rolling(rig):
    """Each node is restarted in good order."""
    def fault(run):
        for node in (1, 2, 3):
            rig.broker.stop_node(node)
            rig.broker.start_node(node)
            run.wait_out(min(run.records_out() + 1, RECORDS))
    found = flow(rig, "rolling", fault)
    return f"{found['repeats']} repeated"


def case_coordinator(rig):
    """The group's coordinator is killed: another one takes over."""
    moved = []

    def fault(run):
        before = rig.broker.group_coordinator("moves")
        rig.broker.kill_node(before)
        try:
            moved.append(before)
            moved.append(wait_for(lambda: (now := rig.broker.group_coordinator("moves")) != before and now, "another coordinator", 60, 0.2))
            run.wait_out(min(run.records_out() + 2000, RECORDS))
        finally:
            rig.broker.start_node(before)
    found = flow(rig, "moves", fault)
    return f"from node {moved[0]} to {moved[1]}, {found['repeats']} repeated"


def case_outage(rig):
    """No node can be reached, by clients alone: connections are reset, new ones refused, until it is over."""
    def fault(run):
        rig.proxy.command("refuse")
        expect(rig.proxy.command("reset")["connections"] > 0, "there was no connection")
        run.wait_log("no broker can be reached")
        rig.proxy.command("accept")
    found = flow(rig, "outage", fault)
    return f"{found['repeats']} repeated"


def case_lost_answers(rig):
    """One Produce answer in ten is lost with its connection: the producers try again, and nothing is there twice."""
    def fault(run):
        rule = rig.proxy.rule("drop", "response", "Produce", "reset", "probability", 0.1, "seed", rig.random.randrange(1 << 30), "times", 20)
        run.wait_out(RECORDS * 2 // 3)
        dropped.append(rig.proxy.command("rules")["rules"][str(rule)]["fired"])
        rig.proxy.command("clear", rule)
    dropped = []
    flow(rig, "deaf", fault, "--once")
    expect(dropped[0] > 0, "no answer was dropped")
    return f"{dropped[0]} answers lost, no record repeated"


def case_late_commit(rig):
    """KAFKA-17754 is real: a commit that was held while its client tried again commits, when it comes, the NEXT transaction,
    which the client aborts. It is what exactly-once jobs step around, and the proof that the proxy makes the fault."""
    rig.topics("late.in:1", "late.out:1", "late.dead:1")
    proxy = rig.proxy
    first = proxy.rule("hold", "request", "EndTxn", "cut", "id", "late-txn")
    abort = proxy.rule("hold", "request", "EndTxn", "skip", 1, "id", "late-txn")  # of those that pass: the repeated commit, the abort
    sender = subprocess.Popen([ORACLE, "produce", "--topic", "late.in", "--count", "500", "--transaction", "late-txn", "--servers", rig.broker.address],
                              stderr=subprocess.PIPE, text=True)
    rig.senders.append(sender)
    held = proxy.event("held", rule=first)
    expect(held["commit"] and held["client"] == "oracle", f"another request: {held}")
    aborting = proxy.event("held", rule=abort)
    expect(not aborting["commit"] and aborting["epoch"] == held["epoch"], f"another request: {aborting}")
    state = rig.transaction("late-txn")
    expect(state["TransactionState"] == "Ongoing" and rig.transactions()["late-txn"]["TransactionState"] == "Ongoing", f"not open: {state}")
    proxy.command("release", first)
    late = proxy.event("late_answer")
    expect(late["error"] == 0, f"the broker refuses it with {late['error']}")
    proxy.command("release", abort)
    sender.wait(60)
    read = subprocess.run(["kcat", "-C", "-e", "-q", "-b", rig.broker.address, "-t", "late.in", "-X", "isolation.level=read_committed"],
                          stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()
    expect(len(read) > 500, f"a reader of what is committed sees {len(read)} records, none of the transaction that was to be aborted")
    return f"{len(read) - 500} records that were to be aborted are committed (node {held['node']}, epoch {held['epoch']})"


def case_end_undone(rig):
    """What a bounded run has read to the end cannot be committed, and somebody else has a part of it next: that part is waited for."""
    rig.trio("undone", 2)
    rig.produce("undone", 2000)
    rule = rig.proxy.rule("drop", "request", "TxnOffsetCommit", "silent", "times", 1)
    run = rig.run(rig.job("undone", delivery="exactly-once", commit_interval="1s", source__membership="dynamic"), "--until", "end", "--lanes", "1",
                  "-X", "transaction.timeout.ms=10000")
    rig.proxy.event("dropped", rule=rule)
    with rig.other_member("undone", "undone.in", "-X", "partition.assignment.strategy=range,roundrobin"):
        wait_for(lambda: "PreparingRebalance" in rig.kafka("ConsumerGroupCommand", "--describe", "--state", "--group", "undone"), "the other one to join", 30)
        run.wait_log("1 of 2 partitions belong to other members")
    run.expect_end(0)
    rig.check("undone", "--count", 2000, "--ordered", "--once", group="undone")
    return "not committed, shared, left, read"


if __name__ == "__main__":
    main([case_rolling, case_coordinator, case_outage, case_lost_answers, case_late_commit, case_end_undone], nodes=3, proxy=True)
