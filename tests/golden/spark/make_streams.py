#!/usr/bin/env python3
"""Makes streams.json: small streams and what Spark's own streaming learners make of them, batch by batch.

    python3 -m venv v && v/bin/pip install -r tests/golden/spark/requirements.txt   # needs a JDK 17
    v/bin/python tests/golden/spark/make_streams.py > tests/golden/spark/streams.json

The classes are those of pyspark.mllib. trainOn() is given a stand-in for a stream that hands over its batches one after the other: what
learns is Spark. Every batch is one partition, so that sums are in order. All numbers are exact in float32.
"""
import json
import os
import random
import sys

os.environ["PYSPARK_PYTHON"] = sys.executable  # workers, too

from pyspark import SparkConf, SparkContext
from pyspark.mllib.classification import StreamingLogisticRegressionWithSGD
from pyspark.mllib.clustering import StreamingKMeansModel
from pyspark.mllib.linalg import Vectors
from pyspark.mllib.regression import LabeledPoint, LinearRegressionWithSGD, StreamingLinearRegressionWithSGD
from pyspark.streaming import DStream


class Batches(DStream):
    """What trainOn needs of a stream."""

    def __init__(self):
        pass

    def foreachRDD(self, update):
        self.update = update


def eighths(rng, low, high):
    return rng.randrange(low * 8, high * 8 + 1) / 8


def regression_batches(rng, count, rows, cols, label):
    batches = []
    for _ in range(count):
        xs = [[eighths(rng, -4, 4) for _ in range(cols)] for _ in range(rows)]
        batches.append({"x": xs, "y": [label(x, rng) for x in xs]})
    return batches


def points(context, batch):
    return context.parallelize([LabeledPoint(y, x) for x, y in zip(batch["x"], batch["y"])], 1)


def streamed(context, model, batches):
    """Weights after each batch."""
    stream, after = Batches(), []
    model.trainOn(stream)
    for batch in batches:
        stream.update(points(context, batch))
        after.append({"weights": [float(w) for w in model.latestModel().weights]})
    return after


def linear(context):
    rng = random.Random(1)
    batches = regression_batches(rng, 8, 40, 3, lambda x, r: 3 * x[0] - 2 * x[1] + x[2] / 2 + eighths(r, -1, 1))
    options = {"step": 0.05, "iterations": 50, "tolerance": 0.001}
    model = StreamingLinearRegressionWithSGD(stepSize=0.05, numIterations=50, convergenceTol=0.001)
    model.setInitialWeights([0.0, 0.0, 0.0])
    return {"name": "linear", "type": "linear", "options": options, "batches": batches, "after": streamed(context, model, batches)}


def linear_plane(context):
    """The settings of a step that only the square root keeps stable (large features), and batches that end early."""
    rng = random.Random(2)
    batches = []
    for _ in range(6):
        ys = [float(rng.randrange(1, 1001)) for _ in range(60)]
        x2 = [eighths(rng, 1, 100) for _ in ys]
        batches.append({"x": [[round((y - 0.6 * b) / 3.2 * rng.uniform(0.9, 1.1) * 8) / 8, b] for y, b in zip(ys, x2)], "y": ys})
    options = {"step": 0.0001, "iterations": 50, "tolerance": 0.001}
    model = StreamingLinearRegressionWithSGD(stepSize=0.0001, numIterations=50, convergenceTol=0.001)
    model.setInitialWeights([0.0, 0.0])
    return {"name": "plane", "type": "linear", "options": options, "batches": batches, "after": streamed(context, model, batches)}


def linear_intercept(context):
    """setIntercept(true), which the streaming class does not offer in Python: its loop, batch by batch."""
    rng = random.Random(3)
    batches = regression_batches(rng, 5, 40, 2, lambda x, r: 2 * x[0] - x[1] + 5 + eighths(r, -1, 1))
    weights, after = [0.0, 0.0], []
    for batch in batches:
        model = LinearRegressionWithSGD.train(points(context, batch), 30, 0.1, 1.0, weights, intercept=True, convergenceTol=0.001)
        weights = [float(w) for w in model.weights]
        after.append({"weights": weights, "intercept": float(model.intercept)})
    options = {"step": 0.1, "iterations": 30, "tolerance": 0.001, "intercept": True}
    return {"name": "intercept", "type": "linear", "options": options, "batches": batches, "after": after}


def logistic(context):
    rng = random.Random(4)
    batches = regression_batches(rng, 8, 50, 3, lambda x, r: float(x[0] - 2 * x[1] + r.gauss(0, 1) > 0))
    options = {"step": 0.5, "iterations": 50, "tolerance": 0.001, "l2": 0.01}
    model = StreamingLogisticRegressionWithSGD(stepSize=0.5, numIterations=50, regParam=0.01, convergenceTol=0.001)
    model.setInitialWeights([0.0, 0.0, 0.0])
    return {"name": "logistic", "type": "logistic", "options": options, "batches": batches, "after": streamed(context, model, batches)}


def kmeans(context, name, decay, unit, centers, weights, count):
    rng = random.Random(sum(map(ord, name)))
    batches, after = [], []
    model = StreamingKMeansModel([Vectors.dense(c) for c in centers], weights)
    for b in range(count):
        xs = [[eighths(rng, -2, 2) + (6 if rng.random() < 0.5 else -6), eighths(rng, -2, 2) + b / 4] for _ in range(24)]
        batches.append({"x": xs})
        model.update(context.parallelize([Vectors.dense(x) for x in xs], 1), decay, unit)
        after.append({"centers": [[float(v) for v in c] for c in model.clusterCenters], "weights": [float(w) for w in model.clusterWeights]})
    return {"name": name, "type": "kmeans", "options": {"decay": decay, "unit": unit}, "centers": centers, "weights": weights,
            "batches": batches, "after": after}


def main():
    context = SparkContext(conf=SparkConf().setMaster("local[1]").set("spark.ui.enabled", "false").set("spark.driver.host", "127.0.0.1"))
    context.setLogLevel("ERROR")
    two, far = [[-5.0, 0.0], [5.0, 0.0]], [[-5.0, 0.0], [5.0, 0.0], [100.0, 100.0]]
    streams = [
        linear(context), linear_plane(context), linear_intercept(context), logistic(context),
        kmeans(context, "batches", 0.5, "batches", two, [1.0, 1.0], 6),
        kmeans(context, "points", 0.95, "points", two, [1.0, 1.0], 6),
        kmeans(context, "remembers", 1.0, "batches", two, [0.0, 0.0], 6),
        kmeans(context, "forgets", 0.0, "batches", two, [3.0, 4.0], 6),
        kmeans(context, "dying", 0.25, "batches", far, [1.0, 1.0, 1.0], 20),  # the third gets nothing and is given half of another
    ]
    json.dump({"made_by": f"Spark {context.version}", "streams": streams}, sys.stdout, indent=None, separators=(",", ":"))
    print()
    context.stop()


if __name__ == "__main__":
    main()
