#!/usr/bin/env python3
"""What learning costs a stream: linear regression on 16 features that only scores, beside the same that learns from every record.

    bench/online.py [--records N] [--rounds N] [--markdown FILE]

Starts a broker of its own (scripts/kafka --bench), fills one topic of one partition, and lets the jobs take turns, each in a group and on
an output topic of its own. Ratios are medians over the rounds. CPU is that of the whole process, from the program's own report.
"""
import argparse
import json
import pathlib
import random
import statistics
import struct
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[1]
MILLRACE, KAFKA = ROOT / "build/millrace", ROOT / "scripts/kafka"
FEATURES = [f"f{i:02d}" for i in range(16)]
KINDS = {"scores": {}, "scores, label read": {"label": "y"}, "scores and learns": {"label": "y"}}


def call(*command):
    return subprocess.run([str(word) for word in command], check=True, stdout=subprocess.PIPE, text=True).stdout


def records_write(path, count):
    draw = random.Random(11)
    with open(path, "w", encoding="ascii") as out:
        for _ in range(count):
            x = [round(draw.gauss(0, 3), 4) for _ in FEATURES]
            y = sum((i % 5 - 2) * value for i, value in enumerate(x)) + draw.gauss(0, 1)
            fields = ",".join(f'"{name}":{value}' for name, value in zip(FEATURES, x))
            out.write(f'{{{fields},"y":{y:.4f}}}\n')


def job_write(folder, kind, number, address, model):
    entry = {"name": "m", "type": "linear", "file": str(model)}
    if kind == "scores and learns":
        entry |= {"learn": True, "step": 0.01}
    job = {"job": "online", "source": {"type": "kafka", "topics": ["in"], "group": f"online{number}", "properties": {"bootstrap.servers": address}},
           "record": {"format": "json", "features": FEATURES} | KINDS[kind], "models": [entry], "lanes": 1,
           "emit": {"fields": {"id": "@offset", "score": "m.score"}}, "sinks": [{"type": "kafka", "topic": f"out{number}"}],
           "bad_records": {"drop": True}}
    path = folder / f"job{number}.json"
    path.write_text(json.dumps(job))
    return path


def first_model(folder):
    """Weights that are nearly right: all jobs print numbers of as many digits."""
    path = folder / "first.safetensors"
    header = json.dumps({"__metadata__": {"millrace.type": "linear"}, "weight": {"dtype": "F32", "shape": [1, 16], "data_offsets": [0, 64]},
                         "bias": {"dtype": "F32", "shape": [1], "data_offsets": [64, 68]}}).encode()
    header += b" " * (-len(header) % 8)
    path.write_bytes(len(header).to_bytes(8, "little") + header + struct.pack("<17f", *(i % 5 - 1.9 for i in range(17))))
    return path


def measure(folder, address, options):
    model, reports, number = first_model(folder), {kind: [] for kind in KINDS}, 0
    for turn in range(options.rounds + 1):
        for kind in KINDS:
            number += 1
            call(KAFKA, "run", "TopicCommand", "--bootstrap-server", address, "--create", "--topic", f"out{number}", "--partitions", 1)
            path = job_write(folder, kind, number, address, model)
            report = json.loads(call(MILLRACE, "run", path, "--until", "end", "--json").splitlines()[-1])
            if report["records_out"] != options.records:
                raise SystemExit(f"{kind}: {report['records_out']} answers to {options.records} records")
            if kind == "scores and learns" and report["models"][0]["rows_learned"] != options.records:
                raise SystemExit(f"learned from {report['models'][0]['rows_learned']} of {options.records}")
            if turn:  # the first warms the broker
                reports[kind].append(report)
    return reports


def table(reports, options):
    base = reports["scores"]
    lines = [f"{options.records:,} records of 16 features as JSON, one a message, one partition, one lane; {options.rounds} rounds.", "",
             "| job | records/s | CPU a record, ns | records/s, x scoring | CPU, x scoring |", "|---|---|---|---|---|"]
    for kind, found in reports.items():
        rate, cpu = ([one[key] for one in found] for key in ("records_per_second", "cpu_ns_per_record"))
        rates = [a / b["records_per_second"] for a, b in zip(rate, base)]
        cpus = [a / b["cpu_ns_per_record"] for a, b in zip(cpu, base)]
        lines.append(f"| {kind} | {statistics.median(rate):,.0f} | {statistics.median(cpu):.0f} | {statistics.median(rates):.3f} | "
                     f"{statistics.median(cpus):.3f} |")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--markdown")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        address = call(KAFKA, "start", "--bench", "--dir", folder / "broker").strip()
        try:
            records_write(folder / "records.jsonl", options.records)
            call(KAFKA, "run", "TopicCommand", "--bootstrap-server", address, "--create", "--topic", "in", "--partitions", 1)
            call(MILLRACE, "replay", folder / "records.jsonl", "--topic", "in", "-b", address)
            text = table(measure(folder, address, options), options)
        finally:
            call(KAFKA, "stop", "--dir", folder / "broker", "--clean")
    if options.markdown:
        pathlib.Path(options.markdown).write_text(text)
    print(text)


if __name__ == "__main__":
    main()
