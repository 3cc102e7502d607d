#!/usr/bin/env python3
"""scripts/export/from_surprise.py on models that Surprise itself has trained now: estimates and best items of a job are what they predict."""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import libraries

ROOT = pathlib.Path(__file__).resolve().parents[2]
MILLRACE = os.environ.get("MILLRACE", str(ROOT / "build/millrace"))
EXPORT = ROOT / "scripts/export/from_surprise.py"
sys.path[:0] = [str(EXPORT.parent), str(ROOT / "tests/golden/surprise")]
libraries.need("surprise")

import surprise.dump  # noqa: E402
from from_surprise import export  # noqa: E402
from make import trained  # noqa: E402

TOLERANCE = 1e-5  # of ratings from 1 to 5: float32 factors
BEST = 10


def fail(text):
    sys.exit(f"FAIL: {text}")


def run(folder, model, lines, features, fields, **settings):
    """The answers of a job on the embedded broker."""
    (folder / "in.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    job = {"job": "ratings", "source": {"type": "kafka", "topics": ["asked"], "group": "ratings", "properties": {"bootstrap.servers": "embedded"}},
           "record": {"format": "json", "features": features}, "models": [{"name": "best", "type": "mf", "file": str(model), **settings}],
           "emit": {"fields": fields}, "sinks": [{"type": "file", "path": str(folder / "out.jsonl")}], "bad_records": {"file": str(folder / "bad.jsonl")}}
    (folder / "job.json").write_text(json.dumps(job))
    (folder / "out.jsonl").unlink(missing_ok=True)
    done = subprocess.run([MILLRACE, "run", folder / "job.json", "--feed", folder / "in.jsonl", "--until", "end", "--lanes", "1"],
                          capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        fail(f"millrace run: exit code {done.returncode}\n{done.stderr[-4000:]}")
    answers = [json.loads(line) for line in (folder / "out.jsonl").read_text().splitlines()]
    if len(answers) != len(lines):
        fail(f"{len(answers)} answers to {len(lines)} records")
    return answers


def estimates(folder, model, algo):
    """Of pairs, with users and items that are not known."""
    train = algo.trainset
    pairs = [(train.to_raw_uid(i * 7 % train.n_users), train.to_raw_iid(i * 13 % train.n_items)) for i in range(300)]
    pairs += [("nobody", train.to_raw_iid(3)), (train.to_raw_uid(3), "nothing"), ("nobody", "nothing")]
    lines = [{"n": n, "user": user, "item": item} for n, (user, item) in enumerate(pairs)]
    for answer in run(folder, model, lines, ["user", "item"], {"n": "n", "rating": "best.score"}, output="rating"):
        want = algo.predict(*pairs[answer["n"]]).est
        if not abs(answer["rating"] - want) <= TOLERANCE:
            fail(f"{pairs[answer['n']]}: {answer['rating']}, Surprise says {want}")


def best(folder, model, algo):
    """Everybody's best items that they have not rated."""
    train = algo.trainset
    users = range(0, train.n_users, 5)
    answers = run(folder, model, [{"uid": train.to_raw_uid(user)} for user in users], ["uid"], {"uid": "uid", "items": "best.items", "scores": "best.scores"}, top=BEST)
    by_user = {str(answer["uid"]): answer for answer in answers}
    for user in users:
        raw, seen = train.to_raw_uid(user), {item for item, _ in train.ur[user]}
        scores = {train.to_raw_iid(item): algo.predict(raw, train.to_raw_iid(item), clip=False).est for item in range(train.n_items) if item not in seen}
        want, got = sorted(scores.values(), reverse=True)[:BEST], by_user[raw]
        items = [str(item) for item in got["items"]]
        if len(items) != BEST or len(set(items)) != BEST or any(not abs(scores.get(item, 9e9) - w) <= TOLERANCE for item, w in zip(items, want)):
            fail(f"user {raw}: {got}, Surprise says {want}")


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        for kind, settings in ("biased", {}), ("unbiased", {"biased": False, "init_mean": 0.5, "init_std_dev": 0.1}):
            algo, model = trained(**settings), folder / f"{kind}.safetensors"
            export(algo, model)
            estimates(folder, model, algo)
            best(folder, model, algo)
        surprise.dump.dump(str(folder / "model.dump"), algo=algo)
        done = subprocess.run([sys.executable, EXPORT, "--trust-pickle", folder / "model.dump", folder / "dumped.safetensors"], check=False, timeout=120)
        if done.returncode or (folder / "dumped.safetensors").read_bytes() != model.read_bytes():
            fail("a dumped model is exported otherwise")
        print(f"Surprise {surprise.__version__}: 2 models")


main()
