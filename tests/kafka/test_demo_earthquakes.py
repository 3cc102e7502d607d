#!/usr/bin/env python3
"""The job of datasets/earthquakes on a real broker and without one, its page in a real browser: each answer and the centres as a few lines of numpy
of Spark's formula have them, and hardly worse than what scikit-learn makes of all quakes at once."""
import os

from centres import apart, demo_moves, nearest, np, on_broker, same_centres, spark_follows
from rig import ROOT, expect, main
from shipped import lines
from sklearn.cluster import KMeans


def case_earthquakes(rig):
    """A week of real ones: six regions of the map."""
    path = os.path.join(ROOT, "datasets", "earthquakes", "quakes.jsonl")
    answers, centres, seen = on_broker(rig, "earthquakes", ("quakes", "regions", "quakes.dead"), path, "regions.safetensors")
    points = np.array([(one["longitude"], one["latitude"]) for one in lines(path)], dtype=np.float32).astype(np.float64)
    same_centres(centres, spark_follows(points, answers, "region", 6, 40, 800), "numpy by Spark's formula")
    fit = KMeans(6, n_init=10, random_state=0).fit(points)
    largest = fit.cluster_centers_[np.argsort(np.bincount(fit.labels_))[-2:]]  # California and Alaska: nine of ten quakes
    off, cost = apart(centres, largest), nearest(points, centres)[1].min(axis=1).sum() / fit.inertia_
    expect(off < 5, f"{off} degrees from the two large regions of scikit-learn")
    expect(cost < 2, f"{cost} times the inertia of scikit-learn")
    return f"{len(answers)} quakes, {off:.1f} degrees and {cost:.2f} times the inertia of scikit-learn; {seen} panels"


def case_demo_earthquakes(rig):
    """Without a broker, from the stored file."""
    return demo_moves(rig, "earthquakes", 6, 130)


main([case_earthquakes, case_demo_earthquakes])
