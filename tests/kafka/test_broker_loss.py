#!/usr/bin/env python3
"""The broker goes away: for a while, for good, or was never there."""
import os
import signal
import socket
import time

from rig import LONG, expect, main, wait_for

RECORDS = 60_000


def broker_signal(rig, number):
    with open(os.path.join(rig.broker.folder, "pid"), encoding="ascii") as file:
        os.kill(int(file.read()), number)


def case_restart(rig):
    """Broker killed and started again while records flow: the same process goes on, and nothing is missing."""
    rig.trio("back")
    job = rig.job("back")
    run = rig.run(job)
    sender = rig.producing("back", RECORDS, RECORDS / 25, "--bad-every", 50)
    stalls = []
    for round_number in range(3 if LONG else 2):
        run.wait_out(min(run.records_out() + 5000, RECORDS))
        rig.broker.kill()
        rig.broker.start()
        before, started = run.records_out(), time.monotonic()
        run.wait_out(min(before + 1, RECORDS), 60)
        stalls.append(f"{time.monotonic() - started:.1f} s")
    expect(sender.wait(120) == 0, f"the sender failed: {sender.stderr.read()}")
    run.wait_out(RECORDS)
    run.signal(signal.SIGTERM)
    code = run.end(15)
    expect(code in (0, 75), f"exit code {code}:\n{run.err()[-2000:]}")
    if code:  # the group's coordinator was not found again yet: said so, and the next run commits
        expect("committed" in run.err(), f"75, and it does not say why:\n{run.err()[-2000:]}")
        rig.run(job, "--until", "end").expect_end(0)
    found = rig.check("back", "--count", RECORDS, "--ordered", group="back")
    return f"exit code {code}; first record after the broker answers again: {', '.join(stalls)}; {found['repeats']} repeated"


def case_pause(rig):
    """Broker frozen while records flow and Ctrl-C comes twice: 75, promptly. SIGTERM alone: 75 within 10 s, or 0 when it wakes in time."""
    rig.trio("ice")
    job = rig.job("ice")
    rig.produce("ice", 300_000)
    facts = []
    for name, numbers, deadline_s in (("twice", (signal.SIGINT, signal.SIGINT), 8), ("once", (signal.SIGTERM,), 15)):
        run = rig.run(job)
        run.wait_out(1)
        broker_signal(rig, signal.SIGSTOP)
        try:
            started = time.monotonic()
            for number in numbers:
                run.signal(number)
                said = "finishing" if number == numbers[0] else "leaving"
                wait_for(lambda: said in run.err(), f"\"{said}\" in its log", 5)
            code = run.end(deadline_s)
            facts.append(f"{name}: {code} in {time.monotonic() - started:.1f} s")
            expect(code in (0, 75), f"{name}: exit code {code}:\n{run.err()[-2000:]}")
        finally:
            broker_signal(rig, signal.SIGCONT)
    rig.run(job, "--until", "end").expect_end(0)
    rig.check("ice", "--count", 300_000, "--ordered", group="ice")
    return "; ".join(facts)


def case_unreachable(rig):
    """No broker there at start: 69 within the connect timeout, and the message names the address. Ctrl-C meanwhile ends it at once."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"  # bound, not listening: refused
        job = rig.job("none", source__properties={"bootstrap.servers": address}, source__connect_timeout="2s")
        started = time.monotonic()
        run = rig.run(job).expect_end(69, 20)
        took_s = time.monotonic() - started
        expect(address in run.err(), f"the message does not name {address}:\n{run.err()}")
        job = rig.job("none", source__properties={"bootstrap.servers": address}, source__connect_timeout="60s")
        codes = []
        for number in (signal.SIGTERM, signal.SIGINT):
            run = rig.run(job)
            run.wait_log("backend")
            at = time.monotonic()
            run.signal(number)
            codes.append(run.end(10))
            expect(codes[-1] == 0, f"signal {number} while it waits for a broker: exit code {codes[-1]}\n{run.err()}")
    return f"69 after {took_s:.1f} s of connect_timeout 2s; a signal meanwhile: {codes}, the last in {time.monotonic() - at:.2f} s"


def case_silent(rig):
    """A port that takes connections and never answers: the same."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        started = time.monotonic()
        run = rig.run(rig.job("mute", source__properties={"bootstrap.servers": address}, source__connect_timeout="2s")).expect_end(69, 20)
        expect(address in run.err(), f"the message does not name {address}:\n{run.err()}")
    return f"69 after {time.monotonic() - started:.1f} s of connect_timeout 2s"


def case_gone(rig):
    """The broker vanishes for good: SIGTERM ends the program within 10 s with 75 and says why; afterwards nothing is missing."""
    rig.trio("gone")
    job = rig.job("gone")
    run = rig.run(job)
    sender = rig.producing("gone", 60_000, 15_000)
    run.wait_out(10_000)
    rig.broker.kill()
    run.wait_log("no broker can be reached")
    started = time.monotonic()
    run.signal(signal.SIGTERM)
    code = run.end(15)
    took_s = time.monotonic() - started
    log_bytes = len(run.err())
    rig.broker.start()
    expect(code in (0, 75), f"exit code {code}:\n{run.err()[-3000:]}")
    if code == 75:
        expect("repeated" in run.err(), f"it does not say what becomes of the rest:\n{run.err()[-3000:]}")
    expect(sender.wait(120) == 0, "the sender failed")
    rig.run(job, "--until", "end").expect_end(0)
    rig.check("gone", "--count", 60_000, "--ordered", group="gone")
    expect(log_bytes < 200_000, f"it logged {log_bytes} bytes")
    return f"{code} in {took_s:.1f} s, {log_bytes} bytes of log"


if __name__ == "__main__":
    main([case_unreachable, case_silent, case_restart, case_pause, case_gone])
