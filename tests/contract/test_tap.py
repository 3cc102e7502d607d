#!/usr/bin/env python3
"""millrace tap ends when its output is lost, and on Ctrl-C while a broker does not answer."""
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
MILLRACE = os.environ.get("MILLRACE", str(ROOT / "build/millrace"))
DEADLINE_S = 8  # below the 10 s for which tap asks a broker for its topic


def fail(text):
    sys.exit(f"FAIL: {text}")


def silent_broker():
    """A listener takes the connection and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        tap = subprocess.Popen([MILLRACE, "tap", "topic", "-b", f"127.0.0.1:{listener.getsockname()[1]}"])
        listener.settimeout(DEADLINE_S)
        connection, _ = listener.accept()  # it asks now
        tap.send_signal(signal.SIGINT)
        try:
            code = tap.wait(DEADLINE_S)
        except subprocess.TimeoutExpired:
            tap.kill()
            fail(f"tap did not end within {DEADLINE_S} s of Ctrl-C")
        connection.close()
        if code:
            fail(f"tap, Ctrl-C while starting: exit code {code}")


def full_output(folder):
    """More than a buffer of lines into /dev/full, of a topic that would be followed for ever."""
    address = folder / "address"
    rows = folder / "rows"
    broker = subprocess.Popen([MILLRACE, "broker", "--topic", "in", "--address-file", str(address)], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while not (address.exists() and address.read_text().strip()):
            if time.monotonic() > deadline:
                fail("no broker")
            time.sleep(0.02)  # between two looks
        where = address.read_text().strip()
        rows.write_text(("0123456789" * 10 + "\n") * 1000)
        subprocess.run([MILLRACE, "replay", str(rows), "--topic", "in", "-b", where], check=True, capture_output=True)
        with open("/dev/full", "w") as full:
            try:
                tap = subprocess.run([MILLRACE, "tap", "in", "-b", where], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
            except subprocess.TimeoutExpired:
                fail("tap goes on though its output is lost")
        if tap.returncode != 74 or "tap" not in tap.stderr:
            fail(f"tap into /dev/full: exit code {tap.returncode}, {tap.stderr!r}")
    finally:
        broker.terminate()
        broker.wait()


def main():
    if not os.path.exists("/dev/full"):
        print("SKIP: no /dev/full")
        sys.exit(77)
    silent_broker()
    with tempfile.TemporaryDirectory() as folder:
        full_output(pathlib.Path(folder))


if __name__ == "__main__":
    main()
