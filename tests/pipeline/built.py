"""The data sets that millrace builds by itself, from their raw files to a job on whatever broker an address names: what tests/pipeline and
tests/kafka both run."""
import csv
import functools
import json
import os
import struct

from examples import MILLRACE, ROOT, call, fail

TEMPERATURE = ("example_1", "example_2", "example_1.dead")
RATINGS = ("quickstart-events", "recommendation-events", "quickstart-events.dead")
os.environ["MILLRACE"] = MILLRACE  # what datasets/*/build calls


def answers_of(folder, address, records, topics):
    """What the job of a folder answers: lines, in no order."""
    call(MILLRACE, "replay", folder / records, "--topic", topics[0], "-b", address)
    call(MILLRACE, "run", folder / "job.json", "-X", f"bootstrap.servers={address}", "--until", "end")
    if call(MILLRACE, "tap", topics[2], "-b", address, "-e").stdout:
        fail(f"there are dead letters in {topics[2]}")
    return call(MILLRACE, "tap", topics[1], "-b", address, "-e").stdout.splitlines()


def float32(value):
    return struct.unpack("<f", struct.pack("<f", float(value)))[0]


def temperature(folder, address):
    """The bend of the curve is at 6, the network tells the regimes, and the job answers as `millrace score` does."""
    said = call(ROOT / "datasets/temperature/build", folder).stdout
    knee = next(line.split()[0] for line in said.splitlines() if line.endswith("<- knee"))
    accuracy = float(next(line.split()[-1] for line in said.splitlines() if line.startswith("accuracy (held out)")))
    if knee != "6" or accuracy < 0.999 or "<svg" not in (folder / "elbow.svg").read_text():
        fail(f"{knee} regimes, accuracy {accuracy}")
    answers = answers_of(folder, address, "series.jsonl", TEMPERATURE)
    scored = call(MILLRACE, "score", folder / "regime.safetensors", folder / "series.jsonl", "-e", "prediction=model.class", "-e", "Temperature=Temperature").stdout
    if sorted(answers) != sorted(scored.splitlines()):
        fail(f"{len(answers)} answers of the job are not the {len(scored.splitlines())} of millrace score")
    with open(folder / "labelled.csv", newline="", encoding="ascii") as rows:
        labels = {float32(row["Temperature"]): int(row["label"]) for row in csv.DictReader(rows)}
    right = sum(answer["prediction"] == labels[float32(answer["Temperature"])] for answer in map(json.loads, answers))
    if len(answers) != 22695 or right < 0.999 * len(answers):
        fail(f"the job answers {right} of {len(answers)} right")
    return f"{knee} regimes, {accuracy:.6f} of held-out readings, the job {right} of {len(answers)}"


class Recommender:
    """A model of type mf in plain Python: `millrace score` has no rows of ids."""

    def __init__(self, path):
        exported = path.with_suffix(".json")
        call(MILLRACE, "export", path, "--to", "json", "-o", exported)
        model = json.loads(exported.read_text())
        tensors = {name: tensor["data"] for name, tensor in model["tensors"].items()}
        self.mean, self.width = float(model["metadata"]["millrace.mean"]), model["tensors"]["user_factors"]["shape"][1]
        self.users = dict(zip(tensors["user_ids"], self._rows(tensors["user_bias"], tensors["user_factors"])))
        self.items = dict(zip(tensors["item_ids"], self._rows(tensors["item_bias"], tensors["item_factors"])))

    def _rows(self, biases, factors):
        return [(bias, factors[i * self.width:(i + 1) * self.width]) for i, bias in enumerate(biases)]

    @functools.lru_cache(None)
    def scores(self, user):
        bias, factors = self.users.get(user, (0, [0] * self.width))
        return {item: self.mean + bias + other + sum(a * b for a, b in zip(factors, values)) for item, (other, values) in self.items.items()}

    def check(self, answer, seen):
        """Ten items that the user has not rated, none left out that is better, scores to their three digits."""
        user, items = answer["uid"], answer["items"]
        scores = self.scores(user)
        best = sorted((score for item, score in scores.items() if item not in seen.get(user, ())), reverse=True)[:10]
        found = [scores[item] for item in items]
        if len(set(items)) != 10 or seen.get(user, set()) & set(items):
            fail(f"user {user} gets {items}, and has rated {sorted(seen.get(user, ()))}")
        for got, own, want in zip(answer["scores"], found, best, strict=True):
            if abs(got - own) > 6e-4 or abs(own - want) > 1e-5:
                fail(f"user {user} gets {items} with {answer['scores']}; by the formula the scores are {found}, the best {best}")


def ratings(folder, address):
    """Estimates of held-out ratings are near, the stored model is what comes out, and the job answers by the formula."""
    said = call(ROOT / "datasets/ratings/build", folder).stdout
    rmse = next(float(line.split()[1]) for line in said.splitlines() if line.startswith("  RMSE"))
    if rmse > 0.54:
        fail(f"ratings that were held out are estimated with an RMSE of {rmse}")
    model, stored = Recommender(folder / "ratings.safetensors"), folder / "stored.safetensors"
    stored.write_bytes((ROOT / "datasets/ratings/ratings.safetensors").read_bytes())
    stored = Recommender(stored)
    if max(abs(stored.scores(user)[item] - score) for user in (1, 196, 300) for item, score in model.scores(user).items()) > 1e-3:
        fail("datasets/ratings/ratings.safetensors is not what datasets/ratings/build makes")
    seen = {}
    with open(folder / "ratings.csv", newline="", encoding="ascii") as rows:
        for row in csv.DictReader(rows):
            seen.setdefault(int(row["uid"]), set()).add(int(row["item"]))
    answers = [json.loads(line) for line in answers_of(folder, address, "events.jsonl", RATINGS)]
    asked = [json.loads(line)["uid"] for line in (folder / "events.jsonl").read_text().splitlines()]
    if sorted(answer["uid"] for answer in answers) != sorted(asked) or 196 not in asked:
        fail(f"{len(answers)} answers to {len(asked)} users, or to others")
    for answer in answers:
        model.check(answer, seen)
    first = next(answer for answer in answers if answer["uid"] == 196)
    return f"RMSE {rmse:.4f} of held-out ratings, user 196 gets {first['items']}"
