#!/usr/bin/env python3
"""The schema that `millrace config schema` prints: it is one, good jobs pass it, and jobs that `millrace check` refuses for their
shape are refused by it too. What no schema can say (topics that differ, models that exist) is left to `check`."""
import json
import os
import re
import subprocess
import sys
from pathlib import Path

try:
    from jsonschema import Draft202012Validator
except ImportError:
    print("SKIP: python3-jsonschema 4 is not installed")
    sys.exit(77)

MILLRACE = os.environ["MILLRACE"]
schema = json.loads(subprocess.run([MILLRACE, "config", "schema"], check=True, capture_output=True).stdout)
Draft202012Validator.check_schema(schema)
validator = Draft202012Validator(schema)

version = json.loads(subprocess.run([MILLRACE, "version", "--json"], check=True, capture_output=True).stdout)
names = {key.split(".")[0]: [] for key in schema["$defs"]}
for key in schema["$defs"]:
    if "." in key:
        names[key.split(".")[0]].append(key.split(".")[1])
for section, name in (("source", "kafka"), ("record", "json"), ("models", "mlp"), ("sinks", "kafka")):
    if name not in names.get(section, []):
        print(f"SKIP: this build has no {section} {name}")
        sys.exit(77)

GOOD = {
    "$schema": "x.json", "x-note": {"free": [1]},
    "job": "a", "lanes": 2, "memory": "64MiB", "commit_interval": 0.5, "progress_interval": "${env:PROGRESS}",
    "source": {"type": "kafka", "topics": ["in"], "properties": {"bootstrap.servers": "a:1", "fetch.min.bytes": 1, "log.queue": True}},
    "record": {"format": "json", "features": ["a", "b[0..3]"], "missing": "default", "defaults": {"a": 0}},
    "models": [{"type": "mlp", "file": "m.safetensors"}],
    "emit": {"fields": {"y": "mlp.class"}, "key": False},
    "sinks": [{"type": "kafka", "topic": "out"}],
    "bad_records": {"drop": True},
    "batch": {"wait_max": "5ms", "records_max": 100},
    "labels": {"topics": ["truth"], "key": "id", "label": "y", "wait_max": "1h"},
}


def checked(job):
    """Errors of millrace check; a model file that is not there is none of the schema's business."""
    run = subprocess.run([MILLRACE, "check", "--json", "-"], input=json.dumps(job).encode(), capture_output=True,
                         env={**os.environ, "PROGRESS": "5s"})
    findings = json.loads(run.stdout)["findings"]
    return [f for f in findings if f["severity"] == "error" and "No such file" not in f["message"]]


def changed(path, value):
    job = json.loads(json.dumps(GOOD))
    at = job
    *folders, last = path
    for key in folders:
        at = at[key]
    if value is None:
        del at[last]
    else:
        at[last] = value
    return job


failed = False


def expect(is_good, name, job):
    global failed
    by_schema = [error.message for error in validator.iter_errors(job)]
    by_check = checked(job)
    if (not by_schema) != is_good or (not by_check) != is_good:
        print(f"{name}: wanted {'good' if is_good else 'bad'}\n  schema: {by_schema[:2]}\n  check: {by_check[:2]}")
        failed = True


expect(True, "good", GOOD)
for path, value in (
    (("lanes",), 0), (("memory",), 67108864), (("memory",), "1.5GiB"), (("batch",), None), (("batch", "wait_max"), 0.25),
    (("batch", "wait_max"), "0"), (("record", "features"), "a"), (("bad_records",), {"topic": "dead"}), (("bad_records",), {"file": "d"}),
    (("x-",), 1), (("source", "x-why"), "note"), (("emit", "headers"), ["trace"]),
    (("record", "framing"), "lines"), (("delivery",), "at-least-once"), (("backend",), "auto"), (("http",), {"listen": "127.0.0.1:8420"}),
    (("http",), {"listen": "127.0.0.1:8420", "truth": {}}),
):
    expect(True, f"good {path} = {value!r}", changed(path, value))
for path, value in (
    (("surce",), {}), (("source",), None), (("source", "type"), None), (("source", "type"), "carrier pigeon"),
    (("source", "topics"), None), (("source", "topiks"), ["in"]), (("source", "topics"), [1]), (("source", "topics"), []),
    (("source", "properties"), {"a": [1]}), (("source", "properties"), {}), (("source",), "kafka"),
    (("record", "features"), None), (("record", "framing"), "line"), (("record", "depth_max"), 0), (("record", "depth_max"), 1.5),
    (("record", "depth_max"), "32"), (("record", "bytes_max"), "1 megabyte"), (("record", "bytes_max"), 0),
    (("models",), []), (("models",), {"type": "mlp", "file": "m"}), (("models", 0, "flie"), "m"),
    (("models", 0, "type"), "forest"), (("emit", "fields"), {}), (("emit", "key"), "yes"), (("emit", "partition"), "random"),
    (("sinks",), []), (("sinks", 0, "topic"), None), (("sinks", 0), "kafka"), (("sinks", 0, "topic"), 5), (("sinks", 0, "topic"), ""),
    (("bad_records",), None), (("bad_records",), {}), (("bad_records",), {"drop": False}), (("bad_records",), {"topic": "a", "file": "b"}),
    (("batch", "records_max"), 0), (("batch", "wait_max"), "5 ms."), (("batch", "wait_max"), -1), (("lanes",), -1), (("lanes",), "2"),
    (("batch", "by"), "time"), (("labels", "key"), None), (("labels", "wait_max"), "1d"), (("labels", "records_max"), 0), (("labels", "topic"), "a"),
    (("delivery",), "exactly-twice"), (("http",), {"listen": 8420}), (("http",), {}), (("http",), {"listen": "127.0.0.1:8420", "truth": [3.2]}), (("memory",), "64mib"), (("job",), 5),
):
    expect(False, f"bad {path} = {value!r}", changed(path, value))

# The jobs that come with millrace.
for job_file in sorted(Path("datasets").glob("*/*.json")):
    text = job_file.read_text()
    if '"source"' not in text:
        continue
    blanked = re.sub(r'("(?:\\.|[^"\\])*")|//[^\n]*|/\*.*?\*/', lambda m: m.group(1) or "", text, flags=re.S)
    blanked = re.sub(r'("(?:\\.|[^"\\])*")|,(?=\s*[}\]])', lambda m: m.group(1) or "", blanked, flags=re.S)
    errors = [error.message for error in validator.iter_errors(json.loads(blanked))]
    if errors:
        print(f"{job_file}: {errors}")
        failed = True
sys.exit(failed)
