#!/usr/bin/env python3
"""The job of datasets/ratings on a real broker and without one, its page in a real browser: users come by, and what each gets is what plain Python
computes from the same factors, never something that he or she has rated; and, with a model that Surprise has trained, what Surprise says."""
import json
import os
import pathlib
import re
import signal
import subprocess
import sys

from rig import MILLRACE, ROOT, Skip, expect, main
from shipped import answers_of, copied, demo, lines, replayed
from watched import address_of, browsing, look

sys.path[:0] = [os.path.join(ROOT, "tests", "pipeline"), os.path.join(ROOT, "tests", "golden", "surprise"), os.path.join(ROOT, "scripts", "export")]
import built  # noqa: E402
import libraries  # noqa: E402

TOPICS = ("quickstart-events", "recommendation-events", "quickstart-events.dead")
GENERATE = os.path.join(ROOT, "datasets", "ratings", "generate.py")


def rated():
    """User -> items, as the ratings have it that the model was made of."""
    seen = {}
    for line in subprocess.run([sys.executable, GENERATE], stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines():
        user, item, _ = map(int, line.split(","))
        seen.setdefault(user, set()).add(item)
    return seen


def recommender(rig):
    """The stored model, exported, in plain Python."""
    path = pathlib.Path(rig.folder) / "stored.safetensors"
    path.write_bytes(pathlib.Path(ROOT, "datasets", "ratings", "ratings.safetensors").read_bytes())
    return built.Recommender(path)


def case_ratings(rig):
    """Who comes by on one topic gets ten items on the other."""
    folder, (asked, told, dead) = copied(rig, "ratings"), TOPICS
    rig.topics(f"{asked}:4", f"{told}:4", f"{dead}:1")
    events = os.path.join(rig.folder, "events.jsonl")
    with open(events, "wb") as file:
        subprocess.run([sys.executable, GENERATE, "--events"], stdout=file, check=True)
    users = [event["uid"] for event in lines(events)]
    run = rig.run(os.path.join(folder, "job.json"), "-X", f"bootstrap.servers={rig.broker.address}", "--http", "127.0.0.1:0")
    with browsing() as browser:
        address_of(run)  # it is at work
        replayed(rig, events, asked, len(users) / 3)  # three seconds
        run.wait_out(len(users))
        seen = look(browser, run, "ratings")
    run.signal(signal.SIGTERM)
    run.expect_end(0)
    expect(not answers_of(rig, dead), "there are dead letters")
    answers, model, have = answers_of(rig, told), recommender(rig), rated()
    expect(sorted(answer["uid"] for answer in answers) == sorted(users), f"{len(answers)} answers to {len(users)} users, or to others")
    for answer in answers:
        model.check(answer, have)
    strangers = [answer for answer in answers if answer["uid"] not in have]
    expect(strangers and all(answer["items"] == strangers[0]["items"] for answer in strangers), "users whom the model does not know get different items")
    return f"{len(answers)} users, {len(strangers)} of them unknown; {seen} panels"


def case_surprise(rig):
    """The same job with a model that Surprise has trained now: the best items of everybody are those that Surprise predicts."""
    try:
        libraries.need("surprise")
    except SystemExit:
        raise Skip("Surprise is not there (scripts/setup --tests brings it)") from None
    from from_surprise import export
    from make import trained
    algo, folder = trained(), copied(rig, "ratings")
    export(algo, pathlib.Path(folder) / "ratings.safetensors")
    rig.topics("asked:1", "told:1", "asked.dead:1")
    users = range(0, algo.trainset.n_users, 3)
    asked = os.path.join(rig.folder, "asked.jsonl")
    with open(asked, "w", encoding="utf-8") as file:
        file.writelines(json.dumps({"uid": int(algo.trainset.to_raw_uid(user))}) + "\n" for user in users)
    replayed(rig, asked, "asked")
    text = pathlib.Path(folder, "job.json").read_text(encoding="utf-8")
    for name, other in ((TOPICS[2], "asked.dead"), (TOPICS[0], "asked"), (TOPICS[1], "told"), ('"group": "ratings"', '"group": "surprise"')):
        expect(name in text, f"{name} is not in the job")
        text = text.replace(name, other)
    pathlib.Path(folder, "job.json").write_text(text, encoding="utf-8")
    rig.run(os.path.join(folder, "job.json"), "-X", f"bootstrap.servers={rig.broker.address}", "--until", "end").expect_end(0)
    answers = {str(answer["uid"]): answer for answer in answers_of(rig, "told")}
    for user in users:
        raw, train = algo.trainset.to_raw_uid(user), algo.trainset
        have = {item for item, _ in train.ur[user]}
        scores = {int(train.to_raw_iid(item)): algo.predict(raw, train.to_raw_iid(item), clip=False).est for item in range(train.n_items) if item not in have}
        best, got = sorted(scores.values(), reverse=True)[:10], answers[raw]
        expect(len(set(got["items"])) == 10 and set(got["items"]) <= scores.keys(), f"user {raw} gets {got['items']}")
        for item, score, want in zip(got["items"], got["scores"], best):
            expect(abs(scores[item] - want) <= 1e-5 and abs(score - want) <= 6e-4, f"user {raw}: {got}, Surprise says {best}")
    return f"{len(answers)} users"


def case_demo_ratings(rig):
    """Without a broker, from the rate source; what comes out is read from the broker inside the process."""
    model, have, told = recommender(rig), rated(), []

    def read(run):
        address = re.search(r"embedded broker at ([\d.:]+)", run.err()).group(1).rstrip(":")
        done = subprocess.run([MILLRACE, "tap", TOPICS[1], "-b", address, "-e"], stdout=subprocess.PIPE, text=True, check=True)
        told.extend(json.loads(line) for line in done.stdout.splitlines())
        for answer in told:
            model.check(answer, have)

    facts = demo(rig, "ratings", 60, read, empty=("lag",))
    expect(len(told) >= 60, f"{len(told)} answers")
    return f"{facts}; {len(told)} answers"


main([case_ratings, case_surprise, case_demo_ratings])
