#!/usr/bin/env python3
"""The opencl backend from outside: the outputs of cpu within float32, the same learned state from the same records, programs kept in
the cache and broken ones made anew, devices that are not there named with those that are."""
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
MILLRACE = os.environ.get("MILLRACE", str(ROOT / "build/millrace"))
DEADLINE_S = 60


def fail(text):
    sys.exit(f"FAIL: {text}")


def call(*command, codes=(0,), data=None, **environment):
    done = subprocess.run([str(word) for word in command], text=True, capture_output=True, timeout=120, input=data,
                          env={**os.environ, **environment})
    if done.returncode not in codes:
        fail(f"{' '.join(map(str, command))}: exit code {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    return done


def score(rows, backend, **environment):
    done = call(MILLRACE, "score", ROOT / "datasets/temperature/regime.safetensors", "--backend", backend, "-e", "p=model.probabilities",
                "-e", "c=model", data=rows, **environment)
    return [json.loads(line) for line in done.stdout.splitlines()]


def check_scores():
    rows = "".join('{"Temperature":%.6g}\n' % (i * 0.0117) for i in range(10007))
    want = score(rows, "cpu")
    for environment in ({}, {"MILLRACE_OPENCL_AS": "gpu"}):
        got = score(rows, "opencl", **environment)
        if len(got) != len(want):
            fail(f"{len(got)} rows, want {len(want)}")
        for i, (one, other) in enumerate(zip(want, got)):
            off = max(abs(a - b) for a, b in zip(one["p"], other["p"]))
            if off > 5e-6:  # both sides round logits of up to 40, where a probability is steep
                fail(f"row {i}: off by {off}: {other}, want {one} ({environment})")
            ordered = sorted(one["p"])
            if one["c"] != other["c"] and ordered[-1] - ordered[-2] > 1e-5:
                fail(f"row {i}: class {other['c']}, want {one['c']}")


def check_cache(folder):
    rows = '{"Temperature":20}\n'
    cache = folder / "cache"
    cache.mkdir()
    first = score(rows, "opencl", XDG_CACHE_HOME=str(cache))
    kept = list((cache / "millrace").glob("opencl-*.bin"))
    if len(kept) != 1:
        fail(f"the program was not kept: {kept}")
    whole = kept[0].read_bytes()
    stamp = kept[0].stat().st_mtime_ns
    if score(rows, "opencl", XDG_CACHE_HOME=str(cache)) != first or kept[0].stat().st_mtime_ns != stamp:
        fail("the kept program was not used, or scores otherwise")
    for broken in (b"", whole[:1000], whole[:-1], whole[:-1] + bytes([whole[-1] ^ 1]), b"x" * 5000):
        kept[0].write_bytes(broken)
        if score(rows, "opencl", XDG_CACHE_HOME=str(cache)) != first:
            fail("a broken cache gives other scores")
        if kept[0].read_bytes()[64:] == broken[64:]:
            fail("a broken cache was not made anew")
    if list((cache / "millrace").iterdir()) != kept:
        fail(f"left behind: {list((cache / 'millrace').iterdir())}")
    score(rows, "opencl", XDG_CACHE_HOME="/proc/none", HOME="/proc/none", POCL_CACHE_DIR=str(folder))  # no place for a cache


def check_errors():
    job = call(MILLRACE, "score", ROOT / "datasets/temperature/regime.safetensors", "--backend", "opencl:nosuch", data="", codes=(69, 70, 78))
    if "nosuch" not in job.stderr or "0 (" not in job.stderr:
        fail(f"the error does not list the devices: {job.stderr}")
    job = call(MILLRACE, "score", ROOT / "datasets/temperature/regime.safetensors", "--backend", "opencl", data="", codes=(69, 70, 78),
               MILLRACE_OPENCL_LIBRARY="/nonexistent.so")
    if "nonexistent" not in job.stderr or "ocl-icd-libopencl1" not in job.stderr:
        fail(f"the error does not say what to install: {job.stderr}")


def check_look(folder):
    """"auto" loads no driver where there is no device, and asks it where there may be one; a forced name always does."""
    job = job_read(ROOT / "datasets/clusters/job.json")
    job["backend"] = "auto"
    job["sinks"] = [{"type": "file", "path": str(folder / "look.out")}]
    job["models"][0]["save"] = str(folder / "look.safetensors")
    path, lines, nodes = folder / "look.json", folder / "look.jsonl", folder / "nodes"
    path.write_text(json.dumps(job))
    lines.write_text('{"x":1,"y":2}\n')
    nodes.mkdir()

    def is_loaded(*flags):
        """Whether the run has opened OpenCL's loader: the dynamic linker tells."""
        for told in folder.glob("linker.*"):
            told.unlink()
        call(MILLRACE, "run", path, "--feed", lines, "--until", "end", *flags, MILLRACE_DEVICE_NODES=str(nodes), LD_DEBUG="files",
             LD_DEBUG_OUTPUT=str(folder / "linker"))
        return any("libOpenCL" in told.read_text(errors="replace") for told in folder.glob("linker.*"))

    if is_loaded():
        fail("auto loads OpenCL on a machine without a device")
    if not is_loaded("--backend", "opencl"):
        fail("a forced backend was not opened")
    (nodes / "dri").mkdir()
    (nodes / "dri/renderD128").touch()
    if not is_loaded():
        fail("auto does not ask the driver where there is a device")


def job_read(path):
    return json.loads("\n".join(line for line in path.read_text().splitlines() if not line.strip().startswith("//")))


def check_learning(folder, address, name, topic, model_file):
    """About what cpu gives, and the same file from the same records."""
    lines = folder / f"{name}.jsonl"
    lines.write_text(call(sys.executable, ROOT / "datasets" / name / "generate.py").stdout)
    call(MILLRACE, "replay", lines, "--topic", topic, "-b", address)
    files, losses = {}, {}
    for run, backend in (("cpu", "cpu"), ("a", "opencl"), ("b", "opencl")):
        job = job_read(ROOT / "datasets" / name / "job.json")
        job["backend"] = backend
        job["batch"]["wait_max"] = "2s"  # full batches from one partition: what is learned depends on both
        job["source"]["group"] = f"{name}-{run}"
        job["sinks"] = [{"type": "file", "path": str(folder / f"{name}-{run}.out")}]
        for model in job["models"]:
            if "save" in model:
                model["save"] = str(folder / f"{run}-{model['save']}")
        path = folder / f"{name}-{run}.json"
        path.write_text(json.dumps(job))
        done = call(MILLRACE, "run", path, "-X", f"bootstrap.servers={address}", "--until", "end", "--json")
        report = json.loads(done.stdout.splitlines()[-1])
        losses[run] = [model.get("loss_mean", model.get("loss")) for model in report["models"]]
        files[run] = (folder / f"{run}-{model_file}").read_bytes()
    if (files["a"] != files["b"] or losses["a"] != losses["b"]):
        fail(f"{name}: the same records gave other states, losses {losses}")
    if len(files["a"]) != len(files["cpu"]):
        fail(f"{name}: states of other sizes")
    for want, got in zip(losses["cpu"], losses["a"]):
        if want is not None and abs(got - want) > 0.02 * want + 1e-6:
            fail(f"{name}: losses {losses}")


def main():
    probe = call(MILLRACE, "backends")
    line = next((line for line in probe.stdout.splitlines() if line.startswith("opencl")), "opencl is not built in")
    if "does not start" in line or "opencl:" not in line:
        print("SKIP:", line)
        sys.exit(77)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        check_scores()
        check_cache(folder)
        check_errors()
        check_look(folder)
        address_file = folder / "address"
        topics = [word for topic in ("places", "places.dead", "points", "points.dead") for word in ("--topic", topic)]
        broker = subprocess.Popen([MILLRACE, "broker", *topics, "--partitions", "1", "--address-file", str(address_file)],
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + DEADLINE_S
            while not (address_file.exists() and address_file.read_text().strip()):
                if broker.poll() is not None or time.monotonic() > deadline:
                    fail("millrace broker wrote no address")
                time.sleep(0.02)  # between two looks
            address = address_file.read_text().strip()
            check_learning(folder, address, "clusters", "places", "centers.safetensors")
            check_learning(folder, address, "plane", "points", "sgd.safetensors")
        finally:
            broker.terminate()
            broker.wait()
    print("opencl: scores, cache, errors and learning are as they should be")


main()
