#!/usr/bin/env python3
"""Trains ratings.safetensors with Surprise's SVD on the ratings of generate.py.

    python3 -m venv venv && venv/bin/pip install -r requirements.txt
    venv/bin/python train.py
"""
import pathlib
import subprocess
import sys
import tempfile

import surprise

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "scripts/export"))
from from_surprise import export  # noqa: E402


def trained(**settings):
    with tempfile.NamedTemporaryFile("w", suffix=".csv") as file:
        file.write(subprocess.run([sys.executable, HERE / "generate.py"], capture_output=True, text=True, check=True).stdout)
        file.flush()
        reader = surprise.Reader(line_format="user item rating", sep=",", rating_scale=(1, 5))
        data = surprise.Dataset.load_from_file(file.name, reader)
    return surprise.SVD(n_factors=12, n_epochs=30, random_state=1, **settings).fit(data.build_full_trainset())


if __name__ == "__main__":
    export(trained(), HERE / "ratings.safetensors", "1")
