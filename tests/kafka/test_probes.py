#!/usr/bin/env python3
"""What a run says of itself to those who look after it: ready and alive while brokers and required sinks come and go, held up, and how far each partition is read."""
import json
import re
import signal
import urllib.error
import urllib.request

from rig import expect, main, wait_for
from servers import Fake


def page(run):
    run.wait_log("the page of this job: ")
    return re.search(r"the page of this job: (http://\S+/)", run.err()).group(1)


def ask(address, path):
    """Code and text of the answer."""
    try:
        with urllib.request.urlopen(address + path, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as answer:
        return answer.code, answer.read().decode()


def state(address):
    return json.loads(ask(address, "status")[1])["state"]


def wait_ready(address, code, line, deadline_s=60):
    """Until /readyz answers so, with that line."""
    def is_so():
        got, text = ask(address, "readyz?verbose")
        return got == code and line in text.splitlines()
    wait_for(is_so, f"{code} with \"{line}\"; now {ask(address, 'readyz?verbose')}", deadline_s)
    expect(ask(address, "livez") == (200, "ok\n"), "it is alive all the time")


def metrics(address, name):
    """Labels -> value of all samples of that name."""
    found = {}
    for line in ask(address, "metrics")[1].splitlines():
        match = re.fullmatch(re.escape(name) + r"(?:\{(.*)\})? (\S+)", line)
        if match:
            found[match.group(1)] = float(match.group(2))
    return found


def case_brokers(rig):
    """The broker killed and started again: not ready while it is away, alive all the time, ready again."""
    rig.trio("ready")
    rig.produce("ready", 1000)
    run = rig.run(rig.job("ready"), "--http", "127.0.0.1:0")
    address = page(run)
    wait_ready(address, 200, "[+] brokers answer")
    run.wait_out(1000)
    rig.broker.kill()
    wait_ready(address, 503, "[-] brokers answer")
    rig.broker.start()
    wait_ready(address, 200, "[+] brokers answer")
    rig.produce("ready", 1000, first=1000)
    run.wait_out(2000)
    run.signal(signal.SIGTERM)
    run.end()


def case_held(rig):
    """A required sink whose server refuses: held up, not ready, lag by partition as it is; when it answers, all of it goes."""
    rig.trio("held")
    is_well = False
    server = Fake(lambda request: (204, {}, b"") if is_well else (503, {}, b"not now"))
    sink = {"type": "influx", "url": server.url, "database": "d", "measurement": "m", "required": True, "queue": "1MiB"}
    job = rig.job("held", sinks=[sink], batch__records_max=100)
    count = 100_000
    rig.produce("held", count)
    run = rig.run(job, "--http", "127.0.0.1:0")
    try:
        address = page(run)
        wait_for(lambda: state(address) == "held", f"held; now {state(address)}")
        wait_ready(address, 503, "[-] required sinks reached")
        wait_for(lambda: len(metrics(address, "millrace_consumer_lag_records")) == 4, "the lag of four partitions")
        lag, position = (metrics(address, f"millrace_consumer_{name}") for name in ("lag_records", "position"))
        expect(sum(lag.values()) + sum(position.values()) == count and 0 < sum(lag.values()) < count, f"{lag} {position}")
        expect(set(lag) == {f'topic="held.in",partition="{i}"' for i in range(4)}, f"{lag}")
        failing, retries = (metrics(address, f"millrace_sink_{name}")['sink="0",type="influx"'] for name in ("failing", "retries_total"))
        expect(failing == 1 and retries > 0, f"failing {failing}, {retries} retries")
        is_well = True
        run.wait_out(count)
        wait_ready(address, 200, "[+] required sinks reached")
        delivered = metrics(address, "millrace_sink_records_delivered_total")
        expect(delivered == {'sink="0",type="influx"': count}, f"{delivered}")
        wait_for(lambda: sum(metrics(address, "millrace_consumer_lag_records").values()) == 0, "no lag")
        run.signal(signal.SIGTERM)
        run.expect_end(0)
    finally:
        server.close()
    return f"lag {sum(lag.values()):.0f} of {count} while held"


if __name__ == "__main__":
    main([case_brokers, case_held])
