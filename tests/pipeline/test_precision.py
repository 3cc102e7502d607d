#!/usr/bin/env python3
"""A wide perceptron in bf16 and int8 from outside: its error is measured and reported, a tolerance of 0 refuses it and the outputs are
those of fp32; what cannot have it says so."""
import json
import os
import pathlib
import random
import struct
import subprocess
import sys
import tempfile

from examples import wait_for_address

ROOT = pathlib.Path(__file__).resolve().parents[2]
MILLRACE = os.environ.get("MILLRACE", str(ROOT / "build/millrace"))
WIDTHS = [40, 96, 64, 5]
ROWS = 3000


def fail(text):
    sys.exit(f"FAIL: {text}")


def call(*command, codes=(0,), data=None):
    done = subprocess.run([str(word) for word in command], text=True, capture_output=True, timeout=120, input=data)
    if done.returncode not in codes:
        fail(f"{' '.join(map(str, command))}: exit code {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    return done


def available():
    """Which precisions this CPU has, as `millrace backends` says."""
    kernels = json.loads(call(MILLRACE, "backends", "--json").stdout)["kernels"]
    return [name for name in ("bf16", "int8")
            if any(k["operation"] == f"mlp_{name}" and k["variant"] == "avx512" and k["is_available"] for k in kernels)]


def model_write(path):
    random.seed(7)
    header, data = {"__metadata__": {"millrace.type": "mlp", "millrace.format": "1", "millrace.activations": '["relu","relu","softmax"]'}}, b""
    for i, (width, out) in enumerate(zip(WIDTHS, WIDTHS[1:])):
        for name, shape, count, size in (("weight", [out, width], out * width, 2 / width ** 0.5), ("bias", [out], out, 0.5)):
            values = struct.pack(f"<{count}f", *(random.uniform(-size, size) for _ in range(count)))
            header[f"layer.{i}.{name}"] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + len(values)]}
            data += values
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def job_write(folder, name, **entry):
    rest = {key: entry.pop(key) for key in ("backend", "cross_check") if key in entry}
    path = folder / f"{name}.json"
    path.write_text(json.dumps({
        "job": name,
        "source": {"type": "kafka", "topics": [f"in-{name}"], "properties": {"bootstrap.servers": "embedded"}},
        "record": {"format": "json", "features": [f"x[0..{WIDTHS[0] - 1}]"]},
        "models": [{"name": "m", "type": "mlp", "file": "wide.safetensors", **entry}],
        "emit": {"fields": {"i": "i", "p": "m.probabilities", "c": "m.class"}},
        "sinks": [{"type": "kafka", "topic": f"out-{name}"}],
        "bad_records": {"drop": True},
        **{"backend": "cpu", **rest}}))
    return path


def run(folder, address, rows, name, **entry):
    """Report and outputs, by the records' number."""
    done = call(MILLRACE, "run", job_write(folder, name, **entry), "-X", f"bootstrap.servers={address}", "--lanes", "1", "--feed", rows,
                "--until", "end", "--json")
    outputs = [json.loads(line) for line in call(MILLRACE, "tap", f"out-{name}", "-b", address, "-e").stdout.splitlines()]
    if sorted(o["i"] for o in outputs) != list(range(ROWS)):
        fail(f"{name}: {len(outputs)} outputs of {ROWS} records")
    return json.loads(done.stdout.splitlines()[-1]), {o["i"]: (o["p"], o["c"]) for o in outputs}, done.stderr


def difference(one, other):
    return max(abs(a - b) for i in one for a, b in zip(one[i][0], other[i][0]))


def check_job(folder, address, rows, kinds):
    want = run(folder, address, rows, "fp32")[1]
    for kind in kinds:
        report, got, talk = run(folder, address, rows, kind, precision=kind, precision_tolerance=0.2)
        said = report["precision"][0]
        if said["name"] != "m" or said["precision"] != kind or said["is_refused"] or said["rows"] < 1000:
            fail(f"{kind}: report {said}")
        if not 1e-6 < said["error_max"] < 0.2 or f"in {kind}: off by at most" not in talk:
            fail(f"{kind}: error {said['error_max']}; log:\n{talk[-2000:]}")
        off = difference(want, got)
        if not 1e-6 < off < 2 * said["error_max"] + 0.01:
            fail(f"{kind}: outputs are off by {off}, reported was {said['error_max']}")
        report, got, talk = run(folder, address, rows, f"{kind}-refused", precision=kind, precision_tolerance=0)
        said = report["precision"][0]
        if not said["is_refused"] or not said["error_max"] > 0 or f"{kind} is refused" not in talk:
            fail(f"{kind} with tolerance 0: report {said}; log:\n{talk[-2000:]}")
        if got != want:
            fail(f"{kind} was refused, but the outputs are not those of fp32: off by {difference(want, got)}")
        report = run(folder, address, rows, f"{kind}-checked", precision=kind, precision_tolerance=0.2, cross_check=1)[0]
        if report["precision"][0]["is_refused"] or any(b["is_left"] for b in report["backends"]) or not report["cross_check"]["error_max"] > 1e-3:
            fail(f"{kind} beside a cross-check, whose tolerance is smaller: {report}")
        print(f"{kind}: off by at most {said['error_max']:.2g}, outputs by {off:.2g}")


def check_score(folder, rows, kinds):
    score = [MILLRACE, "score", folder / "wide.safetensors", rows, "-F", f"x[0..{WIDTHS[0] - 1}]", "-e", "p=model.probabilities", "--json"]
    want = call(*score).stdout
    for kind in kinds:
        done = call(*score, "--precision", kind, "--precision-tolerance", "0.2")
        report = json.loads(next(line for line in done.stderr.splitlines() if line.startswith("{")))["precision"]
        if report["name"] != kind or report["is_refused"] or not report["error_max"] > 1e-6 or done.stdout == want:
            fail(f"score --precision {kind}: {report}")
        done = call(*score, "--precision", kind, "--precision-tolerance", "0")
        if done.stdout != want or "is refused" not in done.stderr:
            fail(f"score --precision {kind} with tolerance 0: {done.stderr}")
        table = call(MILLRACE, "backends", job_write(folder, "table", precision=kind)).stdout
        if f'"m" in {kind}: off by at most' not in table:
            fail(f"backends: {table}")


def check_errors(folder, kinds):
    for kind in ("bf16", "int8"):
        talk = call(MILLRACE, "check", job_write(folder, "learns", precision=kind, learn=True), codes=(78,)).stderr
        if "a model that learns is scored in fp32" not in talk:
            fail(f"a model that learns: {talk}")
        talk = call(MILLRACE, "check", job_write(folder, "device", precision=kind, backend="opencl"), codes=(78,)).stderr
        if f'"{kind}" is not for backend "opencl"' not in talk or "models[0].precision" not in talk:
            fail(f"a backend that has no such kernels: {talk}")
        job = job_write(folder, "base", precision=kind, backend="cpu:base" if kind in kinds else "cpu")
        talk = call(MILLRACE, "run", job, "--until", "end", codes=(78,)).stderr
        if "models[0].precision" not in talk or 'precision" to "fp32"' not in talk:
            fail(f"a variant that has no such kernels: {talk}")


def main():
    kinds = available()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        model_write(folder / "wide.safetensors")
        check_errors(folder, kinds)
        if not kinds:
            print("SKIP: this CPU has neither AVX512-BF16 nor AVX512-VNNI: only the refusal was tested")
            sys.exit(77)
        random.seed(11)
        rows = folder / "rows.jsonl"
        rows.write_text("".join(json.dumps({"i": i, "x": [round(random.uniform(-1, 1), 4) for _ in range(WIDTHS[0])]}) + "\n" for i in range(ROWS)))
        check_score(folder, rows, kinds)
        topics = [word for job in ["fp32"] + [k + s for k in kinds for s in ("", "-refused", "-checked")] for side in ("in", "out")
                  for word in ("--topic", f"{side}-{job}")]
        broker = subprocess.Popen([MILLRACE, "broker", *topics, "--address-file", str(folder / "address")],
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            check_job(folder, wait_for_address(broker, folder / "address"), rows, kinds)
        finally:
            broker.terminate()
            broker.wait(30)


if __name__ == "__main__":
    main()
