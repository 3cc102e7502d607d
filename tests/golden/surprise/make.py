#!/usr/bin/env python3
"""Trains Surprise's SVD on the ratings of datasets/ratings, with biases and without, and writes both models and what Surprise itself says.

The best 10 unseen items of every third user, by the estimates that are not clipped; clipped estimates of pairs, unknown ids among them;
and a user who is folded in, by numpy.

    python3 -m venv venv && venv/bin/pip install -r tests/golden/surprise/requirements.txt
    venv/bin/python tests/golden/surprise/make.py
"""
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy
import surprise

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[2] / "scripts/export"))
from from_surprise import export  # noqa: E402

TOP = 10
LIST = [["3", 5], ["17", 1], ["40", 4], ["77", 2], ["5", 5], ["no such item", 3]]


def trained(**settings):
    with tempfile.NamedTemporaryFile("w", suffix=".csv") as file:
        file.write(subprocess.run([sys.executable, HERE.parents[2] / "datasets/ratings/generate.py"], capture_output=True, text=True, check=True).stdout)
        file.flush()
        reader = surprise.Reader(line_format="user item rating", sep=",", rating_scale=(1, 5))
        data = surprise.Dataset.load_from_file(file.name, reader)
    return surprise.SVD(n_factors=12, n_epochs=30, random_state=1, **settings).fit(data.build_full_trainset())


def best(algo, user):
    train, scores = algo.trainset, []
    known = train.knows_user(user)
    seen = {item for item, _ in train.ur[user]} if known else set()
    for item in range(train.n_items):
        if item not in seen:
            raw = train.to_raw_uid(user) if known else "nobody"
            scores.append((-algo.predict(raw, train.to_raw_iid(item), clip=False).est, item))
    scores.sort()
    return {"items": [int(train.to_raw_iid(item)) for _, item in scores[:TOP]], "scores": [round(-score, 7) for score, _ in scores[:TOP]]}


def folded(algo):
    train = algo.trainset
    known = [(train.to_inner_iid(item), rating) for item, rating in LIST if item.isdigit()]
    rows = numpy.array([numpy.concatenate(([1], algo.qi[item])) for item, _ in known])
    target = numpy.array([rating - train.global_mean - algo.bi[item] for item, rating in known])
    solved = numpy.linalg.solve(rows.T @ rows + algo.reg_pu * len(known) * numpy.eye(rows.shape[1]), rows.T @ target)
    scores = train.global_mean + algo.bi + solved[0] + algo.qi @ solved[1:]
    scores[[item for item, _ in known]] = -numpy.inf
    order = sorted(range(train.n_items), key=lambda item: (-scores[item], item))[:TOP]
    return {"items": [int(train.to_raw_iid(item)) for item in order], "scores": [round(float(scores[item]), 7) for item in order]}


def answers(algo):
    train = algo.trainset
    pairs = [(train.to_raw_uid(i * 7 % train.n_users), train.to_raw_iid(i * 13 % train.n_items)) for i in range(200)]
    pairs += [("nobody", train.to_raw_iid(3)), (train.to_raw_uid(3), "nothing"), ("nobody", "nothing")]
    return {"best": {train.to_raw_uid(user): best(algo, user) for user in range(0, train.n_users, 3)},
            "nobody": best(algo, -1),
            "pairs": [[user, item, round(algo.predict(user, item).est, 7)] for user, item in pairs]}


biased, unbiased = trained(), trained(biased=False, init_mean=0.5, init_std_dev=0.1)
export(biased, HERE / "biased.safetensors", "1")
export(unbiased, HERE / "unbiased.safetensors")
expected = {"biased": answers(biased), "unbiased": answers(unbiased), "list": LIST, "folded": folded(biased)}
(HERE / "expected.json").write_text(json.dumps(expected, separators=(",", ":")) + "\n")
