#!/usr/bin/env python3
"""The worked example on the in-memory broker: fed, scored to the end, every class and digit compared with scikit-learn's answers."""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

from examples import wait_for_address

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/golden/temperature"))
import check  # noqa: E402

MILLRACE = os.environ.get("MILLRACE", str(ROOT / "build/millrace"))


def call(*command):
    done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120)
    if done.returncode != 0:
        raise SystemExit(f"FAIL: {' '.join(command)}: exit code {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    return done.stdout


def digits(record):
    """The temperature of a record or an answer, as it is written."""
    return record.split('"Temperature":', 1)[1].split(",")[0].rstrip("}")


def run(address, folder):
    expected = check.Expected()
    readings = folder / "readings.jsonl"
    readings.write_text("".join(line + "\n" for line in expected.lines))
    path = pathlib.Path(check.job_with_probabilities(folder))
    path.write_text(json.dumps(json.loads(path.read_text()) | {"cross_check": 0.5}))
    report = call(MILLRACE, "run", path, "-X", f"bootstrap.servers={address}", "--lanes", "1",
                  "--feed", str(readings), "--until", "end", "--json")
    answers = call(MILLRACE, "tap", "probabilities", "-b", address, "-e").splitlines()

    # Each answer carries its reading, and equal readings have equal answers.
    index_of = {digits(line): index for index, line in enumerate(expected.lines)}
    order = [index_of.get(digits(text), -1) for text in answers]
    if sorted(order) != sorted(index_of[digits(line)] for line in expected.lines):
        raise SystemExit(f"FAIL: {len(answers)} answers are not to the {len(expected.lines)} readings; report:\n{report[-2000:]}")
    complaints = check.compare(expected, order, answers)
    if complaints:
        raise SystemExit("FAIL: " + "\n".join(complaints[:20]) + f"\n{len(complaints)} complaints in all")
    checked = json.loads(report.splitlines()[-1])["cross_check"]
    if not checked["batches"] or not checked["rows"] or not 0 < checked["error_max"] < 1e-5:
        raise SystemExit(f"FAIL: the reference was to score every second batch as well: {checked}")
    print(f"{len(answers)} readings ({expected.name}): every class as {expected.made_by} says")


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        topics = [word for topic in ("example_1", "probabilities", "example_1.dead") for word in ("--topic", topic)]
        broker = subprocess.Popen([MILLRACE, "broker", *topics, "--address-file", str(folder / "address")],
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            run(wait_for_address(broker, folder / "address"), folder)
        finally:
            broker.terminate()
            broker.wait(30)


if __name__ == "__main__":
    main()
