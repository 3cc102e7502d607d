#!/usr/bin/env python3
"""The job of datasets/clusters on a real broker and without one, its page in a real browser: each answer and the centres as a few lines of numpy of
Spark's formula have them, the centres where the truth is, and where scikit-learn finds them in the last points."""
import os
import subprocess
import sys

from centres import apart, demo_moves, np, on_broker, same_centres, spark_follows
from rig import ROOT, expect, main
from shipped import lines
from sklearn.cluster import KMeans


def case_clusters(rig):
    """Four centres that walk: the job follows them."""
    path = os.path.join(rig.folder, "places.jsonl")
    generate = os.path.join(ROOT, "datasets", "clusters", "generate.py")
    with open(path, "wb") as file:
        subprocess.run([sys.executable, generate], stdout=file, check=True)
    answers, centres, seen = on_broker(rig, "clusters", ("places", "clusters", "places.dead"), path, "centers.safetensors")
    points = np.array([(one["x"], one["y"]) for one in lines(path)], dtype=np.float32).astype(np.float64)
    same_centres(centres, spark_follows(points, answers, "cluster", 4, 100, 1000), "numpy by Spark's formula")
    truth = [tuple(map(float, line.split())) for line in subprocess.run([sys.executable, generate, "--truth"], stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()]
    # A centre is a mean over the past, 1,443 points long on average: a centre walks 0.6 in them, and a point lies within 1.
    off, far = apart(centres, truth), apart(centres, KMeans(4, n_init=4, random_state=0).fit(points[-3000:]).cluster_centers_)
    expect(off < 0.9, f"{off} from where the centres are")
    expect(far < 0.5, f"{far} from what scikit-learn finds in the last 3,000 points")
    right = sum(len({answer["from"] for answer in answers[-5000:] if answer["cluster"] == k}) == 1 for k in range(4))
    expect(right == 4, "clusters are mixed")
    return f"{len(answers)} points, {off:.2f} from the truth, {far:.2f} from scikit-learn; {seen} panels"


def case_demo_clusters(rig):
    """Without a broker, from the rate source."""
    return demo_moves(rig, "clusters", 4, 1500)


main([case_clusters, case_demo_clusters])
