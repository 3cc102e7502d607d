#!/usr/bin/env python3
"""Recommendations and a perceptron that learns, as jobs on devices: the answers of cpu within rounding, and the same state, bit for bit, from
the same records on the same backend. CUDA runs on the double of its driver; OpenCL on the first device, and on it as if it were a GPU."""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import examples as rig

DOUBLE = pathlib.Path(os.environ.get("BUILD_DIR", str(rig.ROOT / "build"))) / "tests/fake_cuda/libcuda.so.1"
EXPECTED = json.loads((rig.ROOT / "tests/golden/surprise/expected.json").read_text())


def environments():
    """Backends that start here, each with the environment that it needs."""
    found = []
    candidates = [("opencl", {}), ("opencl", {"MILLRACE_OPENCL_AS": "gpu"})]
    if DOUBLE.exists():
        candidates.append(("cuda", {"MILLRACE_CUDA_LIBRARY": str(DOUBLE)}))
    for backend, environment in candidates:
        done = subprocess.run([rig.MILLRACE, "backends", "--json"], text=True, capture_output=True, timeout=120,
                              env={**os.environ, **environment})
        rows = json.loads(done.stdout)["backends"]
        row = next((row for row in rows if row["name"] == backend), {})
        if row.get("starts"):
            found.append((backend, environment))
        else:
            print(f"not here: {backend}: {row.get('reason', 'not built in')}")
    return found


def job_run(folder, job, lines, environment):
    """The answers, the report and the log of a job on the embedded broker, whose batches are full."""
    job["batch"] = {"records_max": 128, "wait_max": "2s"}
    job["sinks"] = [{"type": "file", "path": str(folder / "out.jsonl")}]
    (folder / "out.jsonl").unlink(missing_ok=True)
    (folder / "job.json").write_text(json.dumps(job))
    done = subprocess.run([rig.MILLRACE, "run", folder / "job.json", "--feed", lines, "--until", "end", "--json"], text=True,
                          capture_output=True, timeout=120, env={**os.environ, **environment})
    if done.returncode:
        rig.fail(f"{job['job']} on {job['backend']}: exit code {done.returncode}\n{done.stderr[-4000:]}")
    for trouble in ("is left", "summed by the CPU"):
        if trouble in done.stderr:
            rig.fail(f"{job['job']} on {job['backend']}: {done.stderr[-2000:]}")
    answers = [json.loads(line) for line in (folder / "out.jsonl").read_text().splitlines()]
    return answers, json.loads(done.stdout.splitlines()[-1])


def recommend(folder, backend, environment):
    users = list(EXPECTED["biased"]["best"]) * 40 + ["no such user"] * 9
    lines = folder / "users.jsonl"
    lines.write_text("".join(json.dumps({"uid": user}) + "\n" for user in users))
    job = rig.job_read(rig.ROOT / "datasets/ratings/job.json")
    job["backend"] = backend
    job["models"][0]["file"] = str(rig.ROOT / "tests/golden/surprise/biased.safetensors")
    job["emit"]["floats"] = "shortest"
    answers, _ = job_run(folder, job, lines, environment)
    if len(answers) != len(users):
        rig.fail(f"{len(answers)} answers to {len(users)} users on {backend}")
    for answer in answers:
        want = EXPECTED["biased"]["best"].get(str(answer["uid"]), EXPECTED["biased"]["nobody"])
        if answer["items"] != want["items"] or max(abs(a - b) for a, b in zip(answer["scores"], want["scores"], strict=True)) > 1e-5:
            rig.fail(f"user {answer['uid']} on {backend}: {answer}, Surprise says {want}")


def estimate(folder, backend, environment):
    pairs = EXPECTED["biased"]["pairs"]
    lines = folder / "pairs.jsonl"
    lines.write_text("".join(json.dumps({"user": user, "item": item}) + "\n" for user, item, _ in pairs))
    job = rig.job_read(rig.ROOT / "datasets/ratings/job.json")
    job["backend"] = backend
    job["record"]["features"] = ["user", "item"]
    job["models"][0].update(file=str(rig.ROOT / "tests/golden/surprise/biased.safetensors"), output="rating")
    job["emit"] = {"fields": {"user": "user", "item": "item", "rating": "best.score"}, "floats": "shortest"}
    answers, _ = job_run(folder, job, lines, environment)
    got = {(answer["user"], answer["item"]): answer["rating"] for answer in answers}
    for user, item, want in pairs:
        if abs(got[user, item] - want) > 1e-5:
            rig.fail(f"{user} would give {item} {got[user, item]} on {backend}, Surprise says {want}")


def learn(folder, lines, backend, environment):
    """What a perceptron has learned: its file and its mean loss."""
    job = rig.job_read(rig.ROOT / "datasets/plane/job.json")
    saved = folder / "net.safetensors"
    job["backend"] = backend
    job["models"] = [{"name": "std", "type": "scaler", "learn": True},
                     {"name": "net", "type": "mlp", "input": "std", "learn": True, "hidden": "24-70", "step": 0.01, "save": str(saved)}]
    job["emit"] = {"fields": {"actual": "y", "net": "net.score"}}
    answers, report = job_run(folder, job, lines, environment)
    return saved.read_bytes(), {model["name"]: model for model in report["models"]}["net"], len(answers)


def main():
    backends = environments()
    if not backends:
        print("SKIP: neither a device of OpenCL nor CUDA")
        sys.exit(77)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        lines = folder / "points.jsonl"
        lines.write_text(rig.call(sys.executable, rig.ROOT / "datasets/plane/generate.py").stdout)
        _, want, count = learn(folder, lines, "cpu", {})
        for backend, environment in backends:
            recommend(folder, backend, environment)
            estimate(folder, backend, environment)
            state, got, got_count = learn(folder, lines, backend, environment)
            if got_count != count or got["rows_learned"] != want["rows_learned"] or abs(got["loss"] / want["loss"] - 1) > 0.02:
                rig.fail(f"{backend}: {got}, on the CPU {want}")
            if learn(folder, lines, backend, environment)[0] != state:
                rig.fail(f"{backend}: the same records gave another state")
            print(f"{backend} {environment}: recommendations, estimates and a perceptron that learns are as they should be")


if __name__ == "__main__":
    main()
