#!/usr/bin/env python3
"""From a notebook to a job: pipelines of scikit-learn through skl2onnx, as .onnx files in a job; its answers are the pipelines' own and ONNX Runtime's."""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import libraries
import notebook

ROOT = pathlib.Path(__file__).resolve().parents[2]
MILLRACE = os.environ.get("MILLRACE", str(ROOT / "build/millrace"))
libraries.need("numpy", "sklearn", "skl2onnx", "onnxruntime")


def job_run(folder, x, models):
    """The answers of a job on the broker in the process."""
    (folder / "rows.jsonl").write_text(notebook.records(x))
    source = {"type": "kafka", "topics": ["rows"], "group": "notebook", "properties": {"bootstrap.servers": "embedded"}}
    job = notebook.job(models, "notebook", source, {"type": "file", "path": str(folder / "answers.jsonl")})
    job["bad_records"] = {"file": str(folder / "bad.jsonl")}
    (folder / "job.json").write_text(json.dumps(job))
    done = subprocess.run([MILLRACE, "run", folder / "job.json", "--feed", folder / "rows.jsonl", "--until", "end", "--lanes", "1"],
                          capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        sys.exit(f"FAIL: millrace run: exit code {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    return [json.loads(line) for line in (folder / "answers.jsonl").read_text().splitlines()]


def main(make, what):
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        x, models = make(folder)
        difference = notebook.compare(job_run(folder, x, models), x, models)
        if difference:
            sys.exit(f"FAIL: {difference}")
        print(f"{len(models)} models of {what}, {len(x)} rows each")


if __name__ == "__main__":
    main(notebook.fitted, "scikit-learn")
