#!/usr/bin/env python3
"""The whole program with "backend": "cuda", on the double of the driver: the same answers as the CPU's within rounding, and when the device
fails or runs out of memory the job goes on without losing a record or what it has learned."""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import examples as rig

DOUBLE = pathlib.Path(os.environ.get("BUILD_DIR", str(rig.ROOT / "build"))) / "tests/fake_cuda/libcuda.so.1"
MODEL = rig.ROOT / "datasets/temperature/regime.safetensors"


def backend_of(log):
    return [line for line in log.splitlines() if "backend" in line]


def score(rows, backend, code=0):
    command = [rig.MILLRACE, "score", MODEL, "--backend", backend, "-e", "p=model.probabilities", "-e", "c=model.class"]
    done = subprocess.run([str(word) for word in command], input=rows, text=True, capture_output=True, timeout=120)
    if done.returncode != code:
        rig.fail(f"score --backend {backend}: exit code {done.returncode}: {done.stderr[-2000:]}")
    return [json.loads(line) for line in done.stdout.splitlines()], done.stderr


def scores_agree():
    rows = "".join('{"Temperature":%g}\n' % (i / 25) for i in range(3000))
    want, got = score(rows, "cpu")[0], score(rows, "cuda")[0]
    if len(got) != 3000:
        rig.fail(f"{len(got)} scores of 3000 rows")
    for a, b in zip(want, got):
        if max(abs(p - q) for p, q in zip(a["p"], b["p"])) > 1e-5 or (a["c"] != b["c"] and max(a["p"]) - sorted(a["p"])[-2] > 1e-5):
            rig.fail(f"cpu: {a}, cuda: {b}")


def job_runs(folder, address, name, faults, says):
    """A learning job on the device, or on what is left when it fails: as many answers, and as good ones, as the CPU alone."""
    runs = {}
    for backend in ("cpu", "cuda"):
        group = f"{name}-{backend}-{faults or 'sound'}"

        def change(job):
            job["backend"] = backend
            job["job"] = job["source"]["group"] = group.replace(":", "-")
            job["sinks"][0]["topic"] = name + ("-cpu" if backend == "cpu" else "-cuda") + str(len(faults))
            job["batch"] = {"records_max": 256}
            for model in job["models"]:
                model.pop("save", None)

        if backend == "cuda":
            os.environ["MILLRACE_FAKE_CUDA_FAIL"] = faults
        runs[backend] = rig.Learning(folder, address, name, change).run()
        os.environ.pop("MILLRACE_FAKE_CUDA_FAIL", None)
    cpu, cuda = runs["cpu"], runs["cuda"]
    if "double of a GPU" not in cuda.log:
        rig.fail(f"{name} did not run on the double: {backend_of(cuda.log)}")
    for text in says:
        if text not in cuda.log:
            rig.fail(f"{name} with {faults}: no word of \"{text}\": {backend_of(cuda.log)}")
    if not says and "is left" in cuda.log:
        rig.fail(f"{name}: {backend_of(cuda.log)}")
    want, got = cpu.answers(), cuda.answers()
    if len(want) != len(got) or not got:
        rig.fail(f"{name} with {faults}: {len(got)} answers, {len(want)} of the CPU")
    for model, learned in cpu.learned.items():
        other = cuda.learned[model]
        if learned["rows_learned"] != other["rows_learned"]:
            rig.fail(f"{name} with {faults}: {model} learned from {other['rows_learned']} rows, on the CPU {learned['rows_learned']}")
        if learned.get("loss") and abs(other["loss"] / learned["loss"] - 1) > 0.5:  # batches differ from run to run, and steps with them
            rig.fail(f"{name} with {faults}: {model} has loss {other['loss']}, on the CPU {learned['loss']}")


def main():
    if not DOUBLE.exists():
        print(f"SKIP: {DOUBLE} is not built")
        sys.exit(77)
    os.environ["MILLRACE_CUDA_LIBRARY"] = str(DOUBLE)
    listed = json.loads(rig.call(rig.MILLRACE, "backends", "--json").stdout)
    if "built without CUDA" in json.dumps(listed):
        print("SKIP: built without CUDA: no nvcc was found; scripts/setup --cuda installs it")
        sys.exit(77)
    print("runs on: the double of the driver, no GPU")
    scores_agree()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        broker = subprocess.Popen([rig.MILLRACE, "broker", "--topic", "points", "--topic", "places", "--partitions", "1",
                                   "--address-file", str(folder / "address")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            address = rig.wait_for_address(broker, folder / "address")
            rig.feed(folder, address, "plane", "points")
            rig.feed(folder, address, "clusters", "places")
            for job in ("plane", "clusters"):
                job_runs(folder, address, job, "", [])
            job_runs(folder, address, "clusters", "400:719:late", ["is left", "CUDA_ERROR_LAUNCH_FAILED", "going on with cpu"])
            job_runs(folder, address, "plane", "500:2", ["out of memory"])
        finally:
            broker.terminate()
            broker.wait(rig.DEADLINE_S)


if __name__ == "__main__":
    main()
