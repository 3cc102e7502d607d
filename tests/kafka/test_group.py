#!/usr/bin/env python3
"""Several processes in one group, members that freeze, partitions that appear: each record is answered, and once where all went well."""
import signal

from rig import LONG, Skip, expect, main, wait_for


def hand_over(rig, name, *flags):
    """Two processes; the second joins and leaves again and again while records flow, in good order."""
    rig.trio(name, 6)
    first = rig.run(rig.job(name, source__instance="one"), *flags)
    sender = rig.producing(name, 60_000, 3_000)
    first.wait_out(1)
    turns = 6 if LONG else 3
    shared = 0
    for _ in range(turns):
        second = rig.run(rig.job(name, source__instance="two", source__membership="dynamic"), *flags)
        second.wait_out(1)
        second.signal(signal.SIGTERM)
        second.expect_end(0, 15)
        shared += second.records_out()
        before = first.records_out()
        first.wait_out(min(before + 1, 60_000 - shared))
    expect(sender.wait(60) == 0, "the sender failed")
    wait_for(lambda: first.records_out() + shared >= 60_000, f"all records out ({first.records_out()} + {shared})", 60)
    first.signal(signal.SIGTERM)
    first.expect_end(0, 15)
    found = rig.check(name, "--count", 60_000, "--ordered", "--once", group=name)
    return f"{turns} joins and leaves, {shared} of 60000 records by the second process, {found['repeats']} repeated"


def case_eager(rig):
    """range,roundrobin: the default."""
    return hand_over(rig, "eager")


def case_cooperative(rig):
    """cooperative-sticky by -X. librdkafka before 2.1 loses records then (seen here: 2 of 60,000): so the program refuses it there."""
    flags = ("-X", "partition.assignment.strategy=cooperative-sticky")
    rig.trio("refused", 1)
    run = rig.run(rig.job("refused"), *flags, "--until", "end")
    if run.end(20) == 78:
        expect("librdkafka 2.1 or later" in run.err(), f"it does not name the remedy:\n{run.err()}")
        raise Skip("this librdkafka is older than 2.1; that it is refused was seen")
    return hand_over(rig, "coop", *flags)


def case_broker_side(rig):
    """KIP-848."""
    run = rig.run(rig.job("new", source__topics=["none"]), "-X", "group.protocol=consumer")
    run.end(20)
    if "No such configuration property" in run.err():
        raise Skip("group.protocol=consumer needs librdkafka 2.4 or later, this one does not know it")
    return hand_over(rig, "kip848", "-X", "group.protocol=consumer")


def case_same_instance(rig):
    """Two processes with one identity: exactly one survives, the other ends with 73 and says what to do."""
    rig.trio("twin")
    sender = rig.producing("twin", 30_000, 6_000)
    first = rig.run(rig.job("twin", source__instance="one"))
    first.wait_out(1)
    second = rig.run(rig.job("twin", source__instance="one"))
    wait_for(lambda: first.process.poll() is not None or second.process.poll() is not None, "one of the two to end", 30)
    fenced, alive = (first, second) if first.process.poll() is not None else (second, first)
    fenced.expect_end(73, 5)
    expect("source.instance" in fenced.err(), f"it does not name the remedy:\n{fenced.err()}")
    expect(sender.wait(60) == 0, "the sender failed")
    alive.wait_out(1)
    expect(alive.process.poll() is None, f"both ended: {alive.err()}")
    alive.signal(signal.SIGTERM)
    alive.expect_end(0, 15)
    rig.run(rig.job("twin", source__instance="one"), "--until", "end").expect_end(0)
    found = rig.check("twin", "--count", 30_000, "--ordered", group="twin")
    return f"the {'older' if fenced is first else 'newer'} one ended with 73; {found['repeats']} repeated"


def case_frozen(rig):
    """One of two members frozen beyond its session, then awake again: nothing acknowledged is lost."""
    rig.trio("frozen", 6)
    flags = ("-X", "session.timeout.ms=6000", "-X", "heartbeat.interval.ms=500")
    one = rig.run(rig.job("frozen", source__instance="one"), *flags)
    sender = rig.producing("frozen", 80_000, 6_000)
    two = rig.run(rig.job("frozen", source__instance="two"), *flags)
    one.wait_out(1)
    two.wait_out(1)
    two.signal(signal.SIGSTOP)
    try:
        # The other one takes all partitions over: what is sent from now on comes out all the same.
        expect(sender.wait(60) == 0, "the sender failed")
        rig.produce("frozen", 6000, first=80_000)

        def taken_over():
            got = rig.oracle("check", "--in", "frozen.in", "--out", "frozen.out", "--dead", "frozen.dead", "--recent", 80_000, check=False)
            return got.returncode == 0
        wait_for(taken_over, "the records of the frozen member's partitions", 60, 0.5)
    finally:
        two.signal(signal.SIGCONT)
    rig.produce("frozen", 6000, first=86_000)
    one.signal(signal.SIGTERM)
    one.expect_end(0, 20)
    if two.process.poll() is None:
        two.signal(signal.SIGTERM)
    code = two.end(20)
    expect(code in (0, 73, 75), f"the frozen one ended with {code}:\n{two.err()[-2000:]}")
    rig.run(rig.job("frozen", source__instance="one"), "--until", "end", *flags).expect_end(0)
    found = rig.check("frozen", "--count", 92_000, group="frozen")
    return f"the frozen one ended with {code}; {found['repeats']} repeated"


def case_more_partitions(rig):
    """Partitions added while it runs are read from their beginning, whatever source.start says."""
    rig.trio("more", 2, out=2)
    rig.produce("more", 1000)
    run = rig.run(rig.job("more", source__start="latest", emit__partition="sticky"), "-X", "topic.metadata.refresh.interval.ms=2000")
    run.wait_log("reads")
    rig.oracle("grow", "more.in", 5)
    rig.produce("more", 5000, "--partitions", 5, first=1000)
    run.wait_out(3000, 60)  # those of the three new partitions at least: latest may have begun behind others
    wait_for(lambda: run.records_out() >= 5000, f"all 5000 records out (now {run.records_out()})", 30)
    run.signal(signal.SIGTERM)
    run.expect_end(0, 15)
    words = ["check", "--in", "more.in", "--out", "more.out", "--dead", "more.dead", "--recent", 1000, "--once"]
    rig.oracle(*words)
    return "2 -> 5 partitions, all 5000 new records answered once"


def case_more_partitions_away(rig):
    """Partitions added while a static member is away are read when it comes back in its session: it gets its old share, and sees that there is more."""
    rig.trio("away", 2, out=2)
    rig.produce("away", 1000)
    job = rig.job("away", emit__partition="sticky")
    run = rig.run(job)
    for lane in (0, 1):
        run.wait_log(f"lane {lane} reads 1 partition")
    run.wait_out(1000)
    run.signal(signal.SIGKILL)
    run.end()
    rig.oracle("grow", "away.in", 5)
    rig.produce("away", 4000, "--partitions", 5, first=1000)  # every broker has heard of the five
    run = rig.run(job, "--until", "end").expect_end(0, 60)
    expect('no member of group \\"away\\" has 3 of its 5 partitions' in run.err(), run.err()[-3000:])
    rig.check("away", "--count", 5000)
    return "3 of 5 partitions were nobody's"


def case_more_partitions_in_order(rig):
    """The input grows more than the output: what has its partition stays in it, the rest goes by key, and the log says so."""
    rig.trio("wider", 2, out=2)
    rig.produce("wider", 2000, "--keys")
    run = rig.run(rig.job("wider"), "-X", "topic.metadata.refresh.interval.ms=2000")
    run.wait_out(2000)
    rig.oracle("grow", "wider.out", 3)
    rig.oracle("grow", "wider.in", 4)
    rig.produce("wider", 8000, "--keys", "--partitions", 4, first=2000)
    run.wait_out(10_000, 60)
    run.wait_log('topic \\"wider.out\\" has grown: 2 partitions, now 3')
    run.wait_log('the input has grown, topic \\"wider.out\\" has 3 partitions')
    rig.oracle("grow", "wider.out", 4)
    rig.produce("wider", 4000, "--keys", "--partitions", 4, first=10_000)
    run.wait_out(14_000, 60)
    run.signal(signal.SIGTERM)
    run.expect_end(0, 15)
    rig.check("wider", "--count", 14_000, "--ordered", "--partitions", 3, "--once")
    expect(run.err().count("the input has grown") == run.err().count("has grown: 2"), f"it says so more than once a lane:\n{run.err()}")
    return "input 2 -> 4, output 2 -> 3 partitions: 3 in order"


def case_fewer_lanes(rig):
    """A bounded run with fewer lanes than the one before reads all, with members of either kind."""
    rig.trio("fewer")
    flags = ("-X", "session.timeout.ms=3000", "-X", "heartbeat.interval.ms=300")  # its end is waited for
    for index, changes in enumerate(({}, {"source__instance": "one"})):
        rig.produce("fewer", 2000, first=2000 * index)
        job = rig.job("fewer", **changes)
        rig.run(job, "--until", "500", "--lanes", "2", *flags).expect_end(0)
        rig.run(job, "--until", "end", "--lanes", "1", *flags).expect_end(0)
    rig.check("fewer", "--count", 4000, group="fewer")
    return "2 lanes, then 1: all 4000 records"


def case_bounded_pair(rig):
    """Two bounded runs share a group: both end with 0, with all records answered between them."""
    rig.trio("pair", 6)
    rig.produce("pair", 60_000)
    flags = ("-X", "session.timeout.ms=3000", "-X", "heartbeat.interval.ms=300")  # the end of one member's is waited for
    runs = [rig.run(rig.job("pair", source__instance=name), "--until", "end", *flags) for name in ("one", "two")]
    for run in runs:
        run.expect_end(0)
    rig.check("pair", "--count", 60_000, group="pair")
    return f"{runs[0].records_out()} and {runs[1].records_out()} records"


def case_more_partitions_alone(rig):
    """Without a group added partitions are not read, and a warning says so once."""
    rig.trio("alone", 2)
    run = rig.run(rig.job("alone", source__membership="none"), "-X", "topic.metadata.refresh.interval.ms=500")
    rig.produce("alone", 100)
    run.wait_out(100)
    rig.oracle("grow", "alone.in", 4)
    run.wait_log('alone.in\\" changed from 2 to 4')
    rig.oracle("grow", "alone.in", 5)
    run.wait_log('alone.in\\" changed from 4 to 5')
    run.signal(signal.SIGTERM)
    run.expect_end(0, 15)
    expect(run.err().count("without a group") == 2, f"not once for each growth:\n{run.err()}")
    return "2 -> 5 partitions: two warnings"


def case_deleted(rig):
    """A topic that is deleted under a bounded run ends it with 66, in a group and without one."""
    for membership in ("dynamic", "none"):
        name = f"deleted-{membership}"
        rig.trio(name, 2)
        rig.produce(name, 100_000)
        run = rig.run(rig.job(name, source__membership=membership), "--until", "end", "-X", "queued.min.messages=100",
                      "-X", "queued.max.messages.kbytes=64", "-X", "fetch.message.max.bytes=20000", "-X", "topic.metadata.refresh.interval.ms=2000")
        run.wait_out(1)
        run.signal(signal.SIGSTOP)
        rig.kafka("TopicCommand", "--delete", "--topic", f"{name}.in")
        run.signal(signal.SIGCONT)
        run.expect_end(66, 40)
        expect("was deleted" in run.err(), f"it does not say why:\n{run.err()}")
        expect(run.records_out() < 100_000, "it had read all before")
    # Offsets of a topic that is gone are given up, not sent for ever. The first commit is at once, the second late.
    rig.trio("given-up", 1)
    run = rig.run(rig.job("given-up", commit_interval="1m", source__membership="none"))
    for first in (0, 100):
        rig.produce("given-up", 100, first=first)
        run.wait_out(first + 100)
    rig.kafka("TopicCommand", "--delete", "--topic", "given-up.in")
    run.signal(signal.SIGTERM)
    run.expect_end(0, 15)
    expect("was deleted" in run.err(), f"it does not say that offsets were given up:\n{run.err()}")
    return "66, and offsets given up"


if __name__ == "__main__":
    main([case_eager, case_cooperative, case_broker_side, case_same_instance, case_frozen, case_more_partitions, case_more_partitions_away, case_more_partitions_in_order, case_fewer_lanes,
          case_bounded_pair, case_deleted, case_more_partitions_alone], settings=("group.min.session.timeout.ms=1000",))
