#!/usr/bin/env python3
"""Recommendations as a job, against what Surprise itself says (tests/golden/surprise): the best items of known and unknown users,
clipped estimates, a user who brings ratings, ids of every spelling, and bad records."""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
MILLRACE = os.environ.get("MILLRACE", str(ROOT / "build/millrace"))
EXPECTED = json.loads((ROOT / "tests/golden/surprise/expected.json").read_text())
MODELS = {"biased": ROOT / "tests/golden/surprise/biased.safetensors", "unbiased": ROOT / "tests/golden/surprise/unbiased.safetensors"}


def fail(text):
    sys.exit(f"FAIL: {text}")


def job_read():
    text = (ROOT / "datasets/ratings/job.json").read_text()
    return json.loads("\n".join(line for line in text.splitlines() if not line.strip().startswith("//")))


def run(records, kind, change, bad=0):
    """The answers to records, and the reasons of the bad ones; the job of datasets/ratings with changes, on the embedded broker."""
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        job = job_read()
        job["models"][0]["file"] = str(MODELS[kind])
        job["sinks"] = [{"type": "file", "path": str(folder / "out.jsonl")}]
        job["bad_records"] = {"file": str(folder / "bad.jsonl")}
        job["emit"]["floats"] = "shortest"
        change(job)
        (folder / "job.json").write_text(json.dumps(job))
        (folder / "in.jsonl").write_text("".join(record + "\n" for record in records))
        done = subprocess.run([MILLRACE, "run", folder / "job.json", "--feed", folder / "in.jsonl", "--until", "end"],
                              text=True, capture_output=True, timeout=120)
        if done.returncode:
            fail(f"exit code {done.returncode}\n{done.stderr[-4000:]}")
        answers = [json.loads(line) for line in (folder / "out.jsonl").read_text().splitlines()]
        dead = (folder / "bad.jsonl").read_text().splitlines() if bad else []
        if len(answers) + bad != len(records) or len(dead) != bad:
            fail(f"{len(answers)} answers and {len(dead)} bad ones to {len(records)} records")
        return answers, dead


def lists_agree(got, want, who):
    if got["items"] != want["items"]:
        fail(f"user {who}: {got['items']}, Surprise says {want['items']}")
    worst = max(abs(a - b) for a, b in zip(got["scores"], want["scores"], strict=True))
    if worst > 1e-5:
        fail(f"user {who}: scores off by {worst}")


def best(kind):
    users = [*EXPECTED[kind]["best"], "no such user", "301"]
    records = [f'{{"uid":{user if user.isdigit() and i % 2 else json.dumps(user)}}}' for i, user in enumerate(users)]
    answers, _ = run(records, kind, lambda job: None)
    by_user = {str(answer["uid"]): answer for answer in answers}
    for user in users:
        lists_agree(by_user[user], EXPECTED[kind]["best"].get(user, EXPECTED[kind]["nobody"]), f"{user} ({kind})")


def estimates(kind):
    def change(job):
        job["record"]["features"] = ["user", "movie.id"]
        job["models"][0]["output"] = "rating"
        job["emit"]["fields"] = {"user": "user", "item": "movie.id", "rating": "best.score"}

    pairs = EXPECTED[kind]["pairs"]
    answers, _ = run([json.dumps({"user": user, "movie": {"id": item}}) for user, item, _ in pairs], kind, change)
    got = {(answer["user"], answer["item"]): answer["rating"] for answer in answers}
    for user, item, want in pairs:
        if abs(got[user, item] - want) > 1e-5:
            fail(f"{user} would give {item} {got[user, item]}, Surprise says {want}")


def fold_in():
    def change(job):
        job["record"]["features"] = ["uid", "ratings"]
        job["models"][0]["ratings_max"] = 6

    listed = EXPECTED["list"]
    records = [json.dumps({"uid": "a", "ratings": [{"item": item, "rating": stars} for item, stars in listed]}),
               json.dumps({"uid": "b", "ratings": [[item, stars] for item, stars in reversed(listed)]}),
               json.dumps({"uid": "c", "ratings": [{"when": 7, "rating": stars, "item": int(item) if item.isdigit() else item}
                                                   for item, stars in listed]}),
               '{"uid":"d","ratings":[]}', '{"uid":1.96e2}', '{"uid":"196","ratings":null}',
               '{"uid":1,"ratings":[[1,2],[2,2],[3,2],[4,2],[5,2],[6,2],[7,2]]}', '{"uid":1,"ratings":[[1]]}',
               '{"uid":1,"ratings":7}', '{"uid":[1]}', '{"uid":null}', '{"u":1}']
    answers, dead = run(records, "biased", change, bad=6)
    by_user = {json.dumps(answer["uid"]): answer for answer in answers}
    for user in '"a"', '"b"', '"c"':
        lists_agree(by_user[user], EXPECTED["folded"], f"{user}, folded in")
    lists_agree(by_user['"d"'], EXPECTED["biased"]["nobody"], "d")
    if by_user["196.0"]["items"] != by_user['"196"']["items"] or by_user['"196"']["items"] == by_user['"d"']["items"]:
        fail("196 is known however it is written")
    for reason in "length", "type", "missing":
        if not any(f'"{reason}"' in line for line in dead):
            fail(f"no bad record for the reason {reason}: {dead}")


def one_item():
    def change(job):
        job["emit"]["fields"] = {"first": "best.item", "third": "best.items[2]", "all": "best", "score": "best.scores[2]"}

    answers, _ = run(['{"uid":1}'], "biased", change)
    answer = answers[0]
    if answer["first"] != answer["all"][0] or answer["third"] != answer["all"][2] or len(answer["all"]) != 10:
        fail(f"{answer}")


def comparison():
    """Estimates held against Surprise's, and two models that know the same ids by other numbers."""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        pairs = EXPECTED["biased"]["pairs"]
        (folder / "pairs.csv").write_text("user,item\n" + "".join(f"{user},{item}\n" for user, item, _ in pairs))
        (folder / "ratings.csv").write_text("rating\n" + "".join(f"{rating}\n" for _, _, rating in pairs))
        rows = [folder / "pairs.csv", "--features", "user,item", "--json"]
        for other, code in ([*rows, "--expect", folder / "ratings.csv"], 0), ([MODELS["unbiased"], *rows], 1), ([ROOT / "datasets/temperature/regime.safetensors", *rows], 64):
            done = subprocess.run([MILLRACE, "compare", MODELS["biased"], *other], capture_output=True, text=True, timeout=60, check=False)
            if done.returncode != code:
                fail(f"compare {other[0]}: exit code {done.returncode}, not {code}: {done.stderr}")


def main():
    comparison()
    for kind in MODELS:
        best(kind)
        estimates(kind)
    fold_in()
    one_item()


if __name__ == "__main__":
    main()
