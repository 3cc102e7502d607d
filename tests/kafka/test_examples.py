#!/usr/bin/env python3
"""The worked examples that learn or recommend, on a real Apache Kafka broker, as their READMEs say: the plane is found, the centres follow,
everybody's best items are Surprise's. tests/kafka/test_temperature.py has the fourth."""
import os
import pathlib
import sys

import rig

sys.path.insert(0, os.path.join(rig.ROOT, "tests", "pipeline"))
import examples  # noqa: E402


def on_broker(example, *topics):
    def case(test):
        test.topics(*(f"{topic}:1" for topic in topics))  # of one partition: what is learned depends on the order of the records
        example(pathlib.Path(test.folder), test.broker.address)

    case.__name__ = f"case_{example.__name__}"
    return case


if __name__ == "__main__":
    rig.main([on_broker(examples.plane, "points", "estimates", "points.dead", "again"),
              on_broker(examples.later, "plane-records", "plane-answers", "plane-estimates", "plane-dead"),
              on_broker(examples.clusters, "places", "clusters", "places.dead"),
              on_broker(examples.ratings, "quickstart-events", "recommendation-events", "quickstart-events.dead")])
