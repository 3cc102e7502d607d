#!/usr/bin/env python3
"""Data sets from their raw files to a job with millrace alone, on a real Apache Kafka broker: datasets/temperature/build and
datasets/ratings/build, their records replayed, their jobs run to the end, every answer as the model alone gives it."""
import os
import pathlib
import sys

import rig

sys.path.insert(0, os.path.join(rig.ROOT, "tests", "pipeline"))
import built  # noqa: E402


def on_broker(dataset, topics):
    def case(test):
        test.topics(*(f"{topic}:4" for topic in topics))
        return dataset(pathlib.Path(test.folder) / dataset.__name__, test.broker.address)

    case.__name__ = f"case_{dataset.__name__}"
    return case


if __name__ == "__main__":
    rig.main([on_broker(built.temperature, built.TEMPERATURE), on_broker(built.ratings, built.RATINGS)])
