#!/usr/bin/env python3
"""Runs sections of the benchmarks, compares their figures with the targets, writes a result file. Called by scripts/bench."""
import argparse
import datetime
import json
import os
import platform
import re
import statistics
import subprocess
import sys
from pathlib import Path

import contestants as who
import latency
import measure

SECTIONS = ("kernels", "decode", "encode", "pipeline", "latency", "peers", "commands")
NEED_BROKER = {"pipeline", "latency", "peers"}


def said(*argv):
    """First line of what a command says, or None."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    text = (done.stdout or done.stderr).strip()
    return text.splitlines()[0] if text else None


def facts():
    """What the figures were measured on and with."""
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    flags = re.search(r"^flags\s*: (.*)", Path("/proc/cpuinfo").read_text(), re.M)
    system = re.search(r'PRETTY_NAME="(.*)"', Path("/etc/os-release").read_text())
    memory = int(re.search(r"MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text())[1])
    python = said(str(who.PYTHON), "-c", "import confluent_kafka as k, onnxruntime as o, orjson as j, numpy as n;"
                  "print('confluent-kafka', k.__version__, '(librdkafka', k.libversion()[0] + '), orjson', j.__version__,"
                  "'onnxruntime', o.__version__, 'numpy', n.__version__)") if who.PYTHON.exists() else None
    kafka = next((jar.name for jar in (who.ROOT / ".cache/kafka/jars").glob("kafka_2.13-*.jar")), None)
    return {
        "cpu": cpu[1] if cpu else platform.machine(), "cores": os.cpu_count(),
        "simd": [flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if flags and flag in flags[1].split()],
        "memory_gib": round(memory / 2**20, 1), "system": system[1] if system else platform.system(), "kernel": platform.release(),
        "compiler": said("cc", "--version"), "librdkafka": said("pkg-config", "--modversion", "rdkafka"), "kafka": kafka,
        "java": said("java", "-version"), "python": platform.python_version(), "python_peer": python,
        "millrace": said(str(who.BUILD / "millrace"), "version"),
        "commit": said("git", "-C", str(who.ROOT), "rev-parse", "--short", "HEAD"),
    }


# ------------------------------------------------------------------------------------------------------ sections

def program(name, *words):
    """Runs a benchmark program of the build; None when it is not there or fails."""
    path = who.BUILD / "bench" / name
    if not path.exists():
        print(f"SKIP: {name} is not built", file=sys.stderr)
        return None
    done = subprocess.run([path, *words], capture_output=True, text=True)
    if done.returncode:
        print(f"FAILED: {name} {' '.join(words)}: {done.stderr.strip()}", file=sys.stderr)
        return None
    return done.stdout


def section_kernels(options):
    path = who.CACHE / "kernels.json"
    words = ["--filter", "(1-6-8-6|16-32-8)/.*/1024$", "--json", str(path)]
    text = program("bench_kernels", *words, *(["--repetitions", "3", "--min-time", "0.05"] if options.quick else []))
    return text and {"text": text, "data": json.loads(path.read_text()), "command": "bench_kernels " + " ".join(words[:2])}


def section_decode(options):
    words = ["--repeats", "5" if options.quick else "31"]
    data = program("bench_decode", "--json", *words)
    if not data:
        return None
    data = json.loads(data)
    lines = [f"{'workload':10} {'variant':8} {'median ns':>9} {'best ns':>9} {'GB/s':>7}"]
    lines += [f"{row['name']:10} {row['variant']:8} {row['median_ns']:9.1f} {row['best_ns']:9.1f} {row['record_bytes'] / row['median_ns']:7.2f}"
              for row in data["benchmarks"]]
    return {"text": "\n".join(lines) + "\n", "data": data, "command": "bench_decode " + " ".join(words)}


def section_encode(_options):
    text = program("bench_encode")
    rows = text and {m[1].strip(): float(m[2]) for m in re.finditer(r"^(\S.*?)\s+([\d.]+) ns median", text, re.M)}
    return text and {"text": text, "data": rows, "command": "bench_encode"}


def section_pipeline(options, broker):
    """millrace beside the pass-through, one and two lanes, all workloads."""
    rounds = 2 if options.quick else 7
    result = {"workloads": {}, "text": ""}
    for workload in ("A", "B", "BL"):
        names = ["pass-1", "millrace-1", "pass-2", "millrace-2"]
        got = measure.measure(broker, workload, names, rounds, options.records or measure.RECORDS[workload], options.lock)
        result["workloads"][workload] = got
        result["text"] += f"Workload {workload}, {got['records']} records, {rounds} rounds in turns:\n\n"
        result["text"] += measure.table(workload, got["summary"]) + "\n\n" + stages(got["summary"]) + "\n"
    result["command"] = "measure.py --contestants " + ",".join(names)
    return result


def stages(summaries):
    """CPU nanoseconds a record by stage and by thread, as each program accounts for itself."""
    lines = []
    for name, summary in summaries.items():
        report = summary.get("report") or {}
        for title, key in (("stage", "stage_cpu_ns_per_record"), ("thread", "thread_cpu_ns_per_record")):
            if report.get(key):
                lines.append(f"- {name}, CPU ns a record by {title}: " + ", ".join(f"{k} {v:.0f}" for k, v in report[key].items()))
        if "cpu_ns_by_thread" in report:
            records = report["messages"]
            lines.append(f"- {name}, CPU ns a message by thread: " +
                         ", ".join(f"{k} {v / records:.0f}" for k, v in report["cpu_ns_by_thread"].items()))
    return "\n".join(lines) + "\n" if lines else ""


def section_latency(options, broker):
    given = argparse.Namespace(rounds=1 if options.quick else 3, rate=20000, seconds=5 if options.quick else 10, warm_s=5,
                               lock=options.lock)
    got = latency.measure_all(broker, list(who.LATENCY), given)
    return {**got, "text": latency.table(got["summary"]), "command": f"latency.py --rounds {given.rounds} --seconds {given.seconds}"}


def section_peers(options, broker):
    """Every peer beside the floor and millrace; then a topic four times as long for those that warm up."""
    result = {"workloads": {}, "text": ""}
    names = ["pass-1", "millrace-1", "millrace-2", "java-1", "java-2", "python-1", "python-2", "spark-ml", "spark-ort", "c-cjson"]
    for workload in ("B", "A"):
        rounds = 1 if options.quick else 3
        got = measure.measure(broker, workload, names, rounds, options.records or measure.RECORDS[workload], options.lock)
        result["workloads"][workload] = got
        result["text"] += f"Workload {workload}, {got['records']} records, {rounds} rounds in turns:\n\n"
        result["text"] += measure.table(workload, got["summary"]) + "\n\n"
    if not options.quick:
        records = 4 * measure.RECORDS["B"]
        long = measure.measure(broker, "B", ["pass-1", "millrace-1", "java-2", "python-2", "spark-ml"], 1, records, options.lock)
        result["workloads"]["B x 4"] = long
        result["warm"] = warm(result["workloads"]["B"], long)
        result["text"] += f"Workload B, {records} records, one round:\n\n{measure.table('B', long['summary'])}\n\n"
        result["text"] += "Warm CPU a record, (CPU of the long run - CPU of the short one) / records between, ns: " + \
            ", ".join(f"{name} {ns:.0f}" for name, ns in result["warm"].items()) + "\n"
    result["command"] = "measure.py --contestants " + ",".join(names)
    return result


def warm(short, long):
    """CPU nanoseconds a record without start-up and warm-up."""
    found = {}
    for name, s in long["summary"].items():
        before = short["summary"].get(name, {}).get("cpu_ns_per_record")
        if before and "cpu_ns_per_record" in s:
            total = s["cpu_ns_per_record"]["median"] * long["records"] - before["median"] * short["records"]
            found[name] = total / (long["records"] - short["records"])
    return found


def section_commands(options):
    """Whole commands with hyperfine: what a person waits for."""
    millrace, job = str(who.BUILD / "millrace"), str(who.ROOT / "datasets/temperature/job.json")
    rows = who.CACHE / "score-rows.jsonl"
    rows.write_bytes(subprocess.run([who.BUILD / "bench" / "bench_load", "show", "A", "1000000"], capture_output=True).stdout)
    model = str(who.ROOT / "bench/models/mlp_a.safetensors")
    commands = {"version": f"{millrace} version", "check": f"{millrace} check {job}", "config schema": f"{millrace} config schema",
                "inspect": f"{millrace} inspect {model}", "backends": f"{millrace} backends",
                "score, 1 M rows": f"{millrace} score {model} {rows}"}
    path = who.CACHE / "commands.json"
    found = {}
    for name, command in commands.items():
        trial = subprocess.run(command.split(), capture_output=True, text=True, stdin=subprocess.DEVNULL)
        if trial.returncode:
            print(f"SKIP: {command}: exit {trial.returncode}: {trial.stderr.strip()[:200]}", file=sys.stderr)
            continue
        subprocess.run(["hyperfine", "-N", "--warmup", "1" if "score" in name else "3", "--runs", "5" if "score" in name or options.quick else "30",
                        "--export-json", str(path), command], check=True, capture_output=True)
        one = json.loads(path.read_text())["results"][0]
        found[name] = {key: one[key] * 1000 for key in ("median", "min", "max")} | {"command": command}
    text = "| command | median ms | min | max |\n|---|---|---|---|\n" + "\n".join(
        f"| millrace {name} | {c['median']:.1f} | {c['min']:.1f} | {c['max']:.1f} |" for name, c in found.items())
    return {"text": text, "data": found, "command": "hyperfine -N"}


# ------------------------------------------------------------------------------------------------------- targets

def median(results, section, workload, contestant, figure):
    return results[section]["workloads"][workload]["summary"][contestant][figure]["median"]


def paired_ratio(results, section, workload, one, other, figure="cpu_ns_per_record"):
    """Median over rounds of one / other: each pair ran within a minute of each other."""
    runs = results[section]["workloads"][workload]["runs"]
    pairs = [(a, b) for a, b in zip(runs[one], runs[other]) if "error" not in a and "error" not in b]
    return statistics.median(a[figure] / b[figure] for a, b in pairs)


def kernel_ns(results, shape):
    rows = results["kernels"]["data"]["benchmarks"]
    return min(row["ns_per_row"] for row in rows if f"/{shape}/sigmoid-softmax/y/" in row["name"])


def decode_ns(results, name):
    rows = results["decode"]["data"]["benchmarks"]
    return min(row["median_ns"] for row in rows if row["name"] == name and row.get("is_right"))


def warm_ratio(results, peer):
    """Both without start-up and warm-up; only where the long run was made."""
    return results["peers"]["warm"][peer] / results["peers"]["warm"]["millrace-1"]


def lanes_rate(results):
    """Only where a broker, two lanes and their client threads all have cores."""
    if os.cpu_count() < 6:
        raise ValueError
    return paired_ratio(results, "pipeline", "B", "millrace-2", "millrace-1", "steady_records_per_s")


def least(results, workload, *names):
    return min(median(results, "peers", workload, name, "cpu_ns_per_record") for name in names)


# what, limit, is a larger figure better, digits, figure
TARGETS = (
    ("A: CPU a record, x pass-through, one lane", 1.15, False, 2, lambda r: paired_ratio(r, "pipeline", "A", "millrace-1", "pass-1")),
    ("B: CPU a record, x pass-through, one lane", 1.3, False, 2, lambda r: paired_ratio(r, "pipeline", "B", "millrace-1", "pass-1")),
    ("B: CPU a record, ns, one lane", 780, False, 0, lambda r: median(r, "pipeline", "B", "millrace-1", "cpu_ns_per_record")),
    ("B: records/s over the whole run, two cores", 1.7e6, True, 0,
     lambda r: max(median(r, "pipeline", "B", f"millrace-{n}", "records_per_s") for n in (1, 2))),
    ("B, 100 a message: CPU a record, ns", 330, False, 0, lambda r: median(r, "pipeline", "BL", "millrace-1", "cpu_ns_per_record")),
    ("B: two lanes, CPU a record, x one lane", 1.1, False, 2, lambda r: paired_ratio(r, "pipeline", "B", "millrace-2", "millrace-1")),
    ("A: first scored record on a live broker, s", 0.5, False, 2, lambda r: median(r, "pipeline", "A", "millrace-1", "first_output_s")),
    ("B: first scored record, two lanes, s", 0.5, False, 2, lambda r: median(r, "pipeline", "B", "millrace-2", "first_output_s")),
    ("peak memory at full speed, MiB, the most of A, B, BL", 256, False, 0,
     lambda r: max(median(r, "pipeline", w, f"millrace-{n}", "rss_mib") for w in ("A", "B", "BL") for n in (1, 2))),
    ("B: two lanes, records/s, x one lane, six cores or more", 1.8, True, 2, lanes_rate),
    ("B: warm Java peer's CPU a record, x millrace's", 3, True, 1, lambda r: warm_ratio(r, "java-2")),
    ("B: Python peer's CPU a record, x millrace's", 5, True, 1,
     lambda r: least(r, "B", "python-1", "python-2") / median(r, "peers", "B", "millrace-1", "cpu_ns_per_record")),
    ("B: Spark's CPU a record, x millrace's", 20, True, 1,
     lambda r: least(r, "B", "spark-ml", "spark-ort") / median(r, "peers", "B", "millrace-1", "cpu_ns_per_record")),
    ("decode A, ns", 15, False, 1, lambda r: decode_ns(r, "A")),
    ("decode B, ns", 150, False, 1, lambda r: decode_ns(r, "B")),
    ("encode with fixed:4, ns", 15, False, 1, lambda r: r["encode"]["data"]["encode/fixed:4"]),
    ("encode shortest, ns", 45, False, 1, lambda r: r["encode"]["data"]["encode/shortest"]),
    ("kernel MLP 1-6-8-6, ns a row", 6.5, False, 2, lambda r: kernel_ns(r, "1-6-8-6")),
    ("kernel MLP 16-32-8, ns a row", 15, False, 2, lambda r: kernel_ns(r, "16-32-8")),
    ("latency sticky p50, ms", 3.0, False, 2, lambda r: r["latency"]["summary"]["millrace-sticky-300us"]["p50_ms"]["median"]),
    ("latency sticky p99, ms", 6.0, False, 2, lambda r: r["latency"]["summary"]["millrace-sticky-300us"]["p99_ms"]["median"]),
    ("latency same p50, ms", 4.0, False, 2, lambda r: r["latency"]["summary"]["millrace-same-300us"]["p50_ms"]["median"]),
    ("latency same p99, ms", 6.5, False, 2, lambda r: r["latency"]["summary"]["millrace-same-300us"]["p99_ms"]["median"]),
)


def judge(results):
    """One row a target whose section ran."""
    rows = []
    for what, limit, larger, digits, figure in TARGETS:
        try:
            value = figure(results)
        except (KeyError, ValueError, TypeError, statistics.StatisticsError):
            continue  # its section was not asked for, or a contestant of it did not run
        rows.append({"figure": what, "value": value, "target": limit, "at_least": larger,
                     "reached": value >= limit if larger else value <= limit, "digits": digits})
    return rows


def judged_table(rows):
    lines = ["| figure | measured | target | |", "|---|---|---|---|"]
    for row in rows:
        lines.append(f"| {row['figure']} | {row['value']:.{row['digits']}f} | at {'least' if row['at_least'] else 'most'} "
                     f"{row['target']:g} | {'reached' if row['reached'] else '**not reached**'} |")
    return "\n".join(lines)


# --------------------------------------------------------------------------------------------------------- output

def markdown(results):
    f = results["facts"]
    text = [f"# Benchmarks of {results['date']}", "", "Made by `scripts/bench" + "".join(f" {word}" for word in results["words"]) + "`. "
            "Ratios and ranges are from this one run; contestants took turns. Every answer of every scoring run was compared.", ""]
    text += [f"- {key}: {', '.join(value) if isinstance(value, list) else value}" for key, value in f.items() if value]
    if results["targets"]:
        text += ["", "## Figures and their targets", "", judged_table(results["targets"])]
    for name in SECTIONS:
        section = results.get(name)
        if section:
            body = section["text"].strip()
            fence = "" if body.startswith(("|", "Workload")) else "```\n"
            text += ["", f"## {name}", "", f"`{section['command']}`", "", f"{fence}{body}{chr(10) + '```' if fence else ''}"]
    return "\n".join(text) + "\n"


def save(results, folder):
    """Both files are whole after every section, so that a run that is cut short leaves what it has."""
    name = re.sub(r"[^a-z0-9]+", "-", f"{results['date'][:10]} {results['facts']['cpu']} {results['facts']['cores']}c".lower()).strip("-")
    folder.mkdir(parents=True, exist_ok=True)
    here = f"{who.ROOT}/"  # where the checkout lies is nobody's business
    (folder / f"{name}.json").write_text(json.dumps(results, indent=1).replace(here, "") + "\n")
    (folder / f"{name}.md").write_text(markdown(results).replace(here, ""))
    return folder / f"{name}.md"


def slim(section):
    """The result file keeps each run's figures, not the paths of this machine."""
    for workload in section.get("workloads", {}).values():
        for runs in workload["runs"].values():
            for run in runs:
                run.pop("command", None)
                run.pop("report", None)
    return section


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sections", nargs="*", choices=[*SECTIONS, []], default=list(SECTIONS))
    parser.add_argument("--brokers", help="host:port of a broker on this machine, for " + ", ".join(sorted(NEED_BROKER)))
    parser.add_argument("--broker-pid", type=int)
    parser.add_argument("--quick", action="store_true", help="fewer rounds: to see that all works, not to quote")
    parser.add_argument("--records", type=int, help="fewer records, with the same purpose")
    parser.add_argument("--lock", help="file to hold locked during each timed run, where a machine is shared")
    parser.add_argument("--results", type=Path, default=who.ROOT / "bench/results")
    options = parser.parse_args()
    sections = options.sections or list(SECTIONS)
    broker = measure.Broker(options.brokers, options.broker_pid) if options.brokers else None
    words = [word for word, given in (("--quick", options.quick),) if given] + (sections if sections != list(SECTIONS) else [])
    results = {"date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"), "words": words, "facts": facts()}
    path = None
    for name in [name for name in SECTIONS if name in sections]:
        print(f"== {name}", file=sys.stderr, flush=True)
        run = globals()[f"section_{name}"]
        if name in NEED_BROKER:
            got = run(options, broker)
        else:
            with measure.machine_alone(options.lock):
                got = run(options)
        if got:
            results[name] = got
            print(got["text"], flush=True)
        results["targets"] = judge(results)
        path = save({**results, **{n: slim(json.loads(json.dumps(results[n]))) for n in SECTIONS if n in results}}, options.results)
    print(judged_table(results["targets"]))
    print(f"\nwritten: {path.resolve().relative_to(who.ROOT) if path.resolve().is_relative_to(who.ROOT) else path} and .json beside it")
    return 0


if __name__ == "__main__":
    sys.exit(main())
