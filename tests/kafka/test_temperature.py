#!/usr/bin/env python3
"""The worked example on a real Apache Kafka broker: replay, run to the end, every class as scikit-learn's, read by Kafka's own tools."""
import os
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/golden/temperature"))
import check  # noqa: E402

MILLRACE = os.environ.get("MILLRACE", str(ROOT / "build/millrace"))
KAFKA = str(ROOT / "scripts/kafka")
PARTITIONS = 4


def call(*command, **options):
    """Output of a command that must end well."""
    done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120, **options)
    if done.returncode != 0:
        raise SystemExit(f"FAIL: {' '.join(command)}: exit code {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    return done.stdout


def read_topic(broker, topic):
    """[partition][position] -> value, by kcat."""
    rows = [[] for _ in range(PARTITIONS)]
    for line in call("kcat", "-C", "-e", "-q", "-b", broker, "-t", topic, "-o", "beginning", "-f", "%p %s\n").splitlines():
        partition, value = line.split(" ", 1)
        rows[int(partition)].append(value)
    return rows


def check_answers(expected, inputs, broker, topic):
    """Partition by partition: the answers in the order of the questions."""
    position = {}
    for index, line in enumerate(expected.lines):
        position.setdefault(line, []).append(index)
    complaints = []
    answers = read_topic(broker, topic)
    for partition in range(PARTITIONS):
        order = [position[line][0] for line in inputs[partition]]
        complaints += [f"{topic}/{partition}: {text}" for text in check.compare(expected, order, answers[partition])]
    if complaints:
        raise SystemExit("FAIL: " + "\n".join(complaints[:20]) + f"\n{len(complaints)} complaints in all")
    return sum(answers, [])


def check_console_consumer(broker, topic, answers):
    out = call(KAFKA, "run", "ConsoleConsumer", "--bootstrap-server", broker, "--topic", topic, "--from-beginning",
               "--max-messages", str(len(answers)), "--timeout-ms", "60000")
    if sorted(out.splitlines()) != sorted(answers):
        raise SystemExit("FAIL: Kafka's console consumer reads other records than kcat")


def check_lag(broker, group):
    """Offsets are committed where ordinary tools look for them."""
    out = call(KAFKA, "run", "ConsumerGroupCommand", "--bootstrap-server", broker, "--describe", "--group", group)
    lags = re.findall(rf"^{group}\s+example_1\s+\d+\s+\d+\s+\d+\s+(\S+)", out, re.M)
    if lags != ["0"] * PARTITIONS:
        raise SystemExit(f"FAIL: lag of group {group} is {lags}, not 0 in each of {PARTITIONS} partitions:\n{out}")


def run(broker, folder):
    expected = check.Expected()
    readings = pathlib.Path(folder) / "readings.jsonl"
    readings.write_text("".join(line + "\n" for line in expected.lines))
    for topic in ("example_1", "example_2", "example_1.dead", "probabilities"):
        call(KAFKA, "run", "TopicCommand", "--bootstrap-server", broker, "--create", "--topic", topic, "--partitions",
             str(PARTITIONS))
    where = ("-X", f"bootstrap.servers={broker}")
    # Records of no key stay in one partition for a while by default; here each goes to any.
    call(MILLRACE, "replay", str(readings), "--topic", "example_1", "-b", broker, "-X", "sticky.partitioning.linger.ms=0")
    inputs = read_topic(broker, "example_1")
    if sorted(sum(inputs, [])) != sorted(expected.lines):
        raise SystemExit(f"FAIL: replay wrote {sum(map(len, inputs))} records that are not the {len(expected.lines)} of the file")

    call(MILLRACE, "run", str(check.DATA / "job.json"), *where, "--until", "end")
    answers = check_answers(expected, inputs, broker, "example_2")
    call(MILLRACE, "run", check.job_with_probabilities(folder), *where, "--until", "end")
    check_answers(expected, inputs, broker, "probabilities")
    check_console_consumer(broker, "example_2", answers)
    check_lag(broker, "regimes")
    if any(read_topic(broker, "example_1.dead")):
        raise SystemExit("FAIL: there are dead letters")
    print(f"{len(answers)} readings ({expected.name}): every class as {expected.made_by} says")


def main():
    ready = subprocess.run([KAFKA, "fetch"], stderr=subprocess.PIPE, text=True)
    if ready.returncode == 77:
        print(ready.stderr.strip().removeprefix("scripts/kafka: "))
        sys.exit(77)
    if subprocess.run(["sh", "-c", "command -v kcat"], stdout=subprocess.DEVNULL).returncode != 0:
        print("SKIP: kcat is not installed (scripts/setup --tests installs it)")
        sys.exit(77)
    with tempfile.TemporaryDirectory() as folder:
        try:
            run(call(KAFKA, "start", "--dir", f"{folder}/broker").strip(), folder)
        finally:
            subprocess.run([KAFKA, "stop", "--dir", f"{folder}/broker", "--kill", "--clean"])


if __name__ == "__main__":
    main()
