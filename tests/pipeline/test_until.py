#!/usr/bin/env python3
"""SIGTERM and Ctrl-C: a run without a limit ends with 0, one that is not yet where --until ends it with 75, in every phase; started again it goes on."""
import fcntl
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

from examples import wait_for_address

ROOT = pathlib.Path(__file__).resolve().parents[2]
MILLRACE = os.environ.get("MILLRACE", str(ROOT / "build/millrace"))
RECORDS = 30_000
DEADLINE_S = 60


def fail(text):
    sys.exit(f"FAIL: {text}")


class Run:
    """A millrace run: its progress is read while it works."""

    def __init__(self, job, *flags):
        self.flags = flags
        self.log = tempfile.TemporaryFile(mode="a+")
        self.process = subprocess.Popen([MILLRACE, "run", str(job), "--json", *flags], text=True, stdout=subprocess.PIPE, stderr=self.log)
        self.out = 0
        self.has_news = threading.Condition()
        self.reader = threading.Thread(target=self._read)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            value = json.loads(line)
            with self.has_news:
                self.out = value.get("total", value).get("records_out", self.out)
                self.has_news.notify()
        with self.has_news:
            self.has_news.notify()

    def said(self):
        self.log.seek(0)
        return self.log.read()

    def wait_out(self, count):
        with self.has_news:
            if not self.has_news.wait_for(lambda: self.out >= count or self.process.poll() is not None, DEADLINE_S):
                fail(f"{self.flags}: {self.out} records out after {DEADLINE_S} s: {self.said()}")

    def wait_said(self, text):
        deadline = time.monotonic() + DEADLINE_S
        while text not in self.said():
            if self.process.poll() is not None or time.monotonic() > deadline:
                fail(f"{self.flags}: it did not say \"{text}\", exit code {self.process.poll()}: {self.said()}")
            time.sleep(0.02)  # between two looks

    def stop(self, number, code):
        self.process.send_signal(number)
        return self.end(code)

    def end(self, code):
        got = self.process.wait(DEADLINE_S)
        self.reader.join()
        said = self.said()
        if got != code:
            fail(f"{self.flags}: exit code {got}, not {code}: {said}")
        return said


def job_write(folder, name, servers, sink):
    """A job whose sink sends one record a request, so that its input lasts for seconds."""
    job = {
        "job": name,
        "source": {"type": "kafka", "topics": ["in"], "properties": {"bootstrap.servers": servers}},
        "record": {"format": "json", "features": ["Temperature"]},
        "models": [{"name": "m", "type": "mlp", "file": str(ROOT / "datasets/temperature/regime.safetensors")}],
        "emit": {"fields": {"prediction": "m.class"}},
        "sinks": [{"type": "kafka", "topic": "out", "properties": {"bootstrap.servers": servers, **sink}}],
        "bad_records": {"topic": "dead"},
        "batch": {"records_max": 64},
        "lanes": 1,
        "progress_interval": "100ms",
    }
    path = folder / f"{name}.json"
    path.write_text(json.dumps(job))
    return path


def while_running(folder, servers):
    lines = folder / "lines"
    lines.write_text("".join(f'{{"Temperature":{index % 100}}}\n' for index in range(RECORDS)))
    subprocess.run([MILLRACE, "replay", str(lines), "--topic", "in", "-b", servers], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    slow = job_write(folder, "slow", servers, {"batch.num.messages": "1", "max.in.flight": "1"})
    done = 0
    for number, flags, code in (
        (signal.SIGTERM, ("--until", "end"), 75),
        (signal.SIGINT, ("--until", "end"), 75),
        (signal.SIGTERM, ("--until", str(10 * RECORDS)), 75),
        (signal.SIGTERM, ("--until", "10h"), 75),
        (signal.SIGTERM, (), 0),
    ):
        run = Run(slow, *flags)
        run.wait_out(1)
        said = run.stop(number, code)
        if (code == 75) != ("start again" in said):
            fail(f"{flags}: exit code {code}, but it says: {said}")
        done += run.out
        if done >= RECORDS:
            fail(f"{flags}: the input is at its end: the test shows nothing")
    run = Run(slow, "--until", "end")
    run.end(0)
    if done + run.out != RECORDS:
        fail(f"{done} + {run.out} records out, not {RECORDS}")


def while_ending(folder, servers):
    """A run that ends by itself takes its first signal as news, not as the second one: what it has under way is delivered."""
    fifo = folder / "fifo"
    os.mkfifo(fifo)
    job = job_write(folder, "ending", servers, {})
    value = json.loads(job.read_text())
    value["sinks"] = [{"type": "file", "path": str(fifo)}]
    value["emit"]["fields"]["t"] = "Temperature"
    job.write_text(json.dumps(value))
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, 4096)
    try:
        run = Run(job, "--until", "2s")  # more comes than the pipe holds, and nobody reads it yet
        run.wait_said("the time of --until is over")
        run.process.send_signal(signal.SIGTERM)
        run.wait_said("ending already")
        os.set_blocking(reader, True)
        while os.read(reader, 1 << 16):
            pass
        run.end(0)
        if "leaving at once" in run.said():
            fail(f"a signal while it ends: {run.said()}")
    finally:
        os.close(reader)


def while_reading(folder):
    """A job file that does not come: a signal ends the process."""
    fifo = folder / "job-fifo"
    os.mkfifo(fifo)
    process = subprocess.Popen([MILLRACE, "run", str(fifo)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with open(fifo, "w"):  # it is reading
        process.send_signal(signal.SIGTERM)
        code = process.wait(DEADLINE_S)
    if code != -signal.SIGTERM:
        fail(f"SIGTERM while the job file is read: exit code {code}")


def while_starting(folder):
    """A broker that takes the connection and says nothing."""
    for flags, code in ((("--until", "end"), 75), ((), 0)):
        with socket.create_server(("127.0.0.1", 0)) as listener:  # of its own: the one before may have left connections behind
            job = job_write(folder, "mute", "127.0.0.1:%d" % listener.getsockname()[1], {})
            run = Run(job, *flags)
            listener.accept()[0].close()  # it is asking: signals are taken by now
            run.stop(signal.SIGTERM, code)


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        broker = subprocess.Popen([MILLRACE, "broker", "--topic", "in", "--topic", "out", "--topic", "dead", "--partitions", "1",
                                   "--address-file", str(folder / "address")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            servers = wait_for_address(broker, folder / "address")
            while_running(folder, servers)
            while_ending(folder, servers)
        finally:
            broker.terminate()
            broker.wait(DEADLINE_S)
        while_reading(folder)
        while_starting(folder)


if __name__ == "__main__":
    main()
