#!/usr/bin/env python3
"""Data sets from their raw files to a job with millrace alone, on the embedded broker: datasets/temperature/build, datasets/ratings/build."""
import pathlib
import tempfile

import built
from examples import embedded_broker


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        with embedded_broker(folder, built.TEMPERATURE + built.RATINGS) as address:
            print("temperature:", built.temperature(folder / "temperature", address))
            print("ratings:", built.ratings(folder / "ratings", address))


main()
