#!/usr/bin/env python3
"""On a terminal there are colours; NO_COLOR, TERM=dumb and --no-color take them away."""
import os
import pty
import sys
import tempfile


def on_terminal(arguments, **environment):
    """Output of millrace whose stdin, stdout and stderr are a terminal."""
    try:
        pid, fd = pty.fork()
    except OSError as reason:  # a folder with a system in it, without /dev/pts
        print(f"SKIP: no terminal to be had: {reason}")
        sys.exit(77)
    if pid == 0:
        for name in ("NO_COLOR", "TERM"):
            os.environ.pop(name, None)
        os.environ.update(environment)
        os.execv(os.environ["MILLRACE"], ["millrace", *arguments])
    output = b""
    while True:
        try:
            chunk = os.read(fd, 65536)
        except OSError:  # Linux says EIO when the other end is closed
            chunk = b""
        if not chunk:
            break
        output += chunk
    os.waitpid(pid, 0)
    os.close(fd)
    return output


failed = False


def check(is_good, what, output):
    global failed
    if not is_good:
        print(f"{what}: {output[:300]!r}")
        failed = True


with tempfile.NamedTemporaryFile("w", suffix=".json") as job:
    job.write('{ "job": 1 }\n')
    job.flush()
    for command in (["check", job.name], ["--help"], ["nonsense"]):
        output = on_terminal(command, TERM="xterm")
        check(b"\033[" in output, f"{command} has no colours on a terminal", output)
        check(output.count(b"\033[0m") * 2 >= output.count(b"\033["), f"{command} leaves a colour on", output)
        for name, environment, flags in (
            ("NO_COLOR", {"TERM": "xterm", "NO_COLOR": "1"}, []),
            ("TERM=dumb", {"TERM": "dumb"}, []),
            ("no TERM", {}, []),
            ("--no-color", {"TERM": "xterm"}, ["--no-color"]),
        ):
            output = on_terminal(flags + command, **environment)
            check(b"\033" not in output and output, f"{command} with {name}", output)
    output = on_terminal(["check", job.name, "--no-color"], TERM="xterm")
    check(b"\033" not in output, "check JOB --no-color", output)
sys.exit(failed)
