#!/usr/bin/env python3
"""How good models of `millrace fit` are on rows that they have not seen, beside scikit-learn's, Spark ML's and Surprise's of the same rows.

    python3 -m venv .cache/bench/venv-accuracy
    .cache/bench/venv-accuracy/bin/pip install -r bench/peers/accuracy/requirements.txt      # Spark also needs Java 17
    .cache/bench/venv-accuracy/bin/python bench/peers/accuracy/compare.py [--seeds N] [--folder DIR] [--markdown FILE]

The split is written once, as train.csv and held_out.csv, and everybody reads those files. What a library predicts for the rows of
held_out.csv is judged here, by one formula for all; `millrace eval` must then say the same of millrace's. Every fit is made with several
seeds; a table has the median and the range. Settings are each library's own except where a table names them: the same network, number
of factors and of iterations for all.

  temperature   the stand-in, and the real series where datasets/temperature/get has brought it. scikit-learn's k-means, not millrace's,
                gives the labels. 60 % of the rows train.
  ratings       datasets/ratings/build cuts them: every fifth rating is held out, if user and item have one before it.
"""
import argparse
import csv
import datetime
import gzip
import itertools
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile
import warnings

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"

import numpy as np  # noqa: E402
import pyspark  # noqa: E402
import sklearn  # noqa: E402
import surprise  # noqa: E402
from pyspark.ml.classification import MultilayerPerceptronClassifier  # noqa: E402
from pyspark.ml.clustering import KMeans as SparkKMeans  # noqa: E402
from pyspark.ml.feature import StandardScaler as SparkScaler, VectorAssembler  # noqa: E402
from pyspark.ml.recommendation import ALS  # noqa: E402
from pyspark.sql import SparkSession  # noqa: E402
from sklearn.cluster import KMeans  # noqa: E402
from sklearn.neural_network import MLPClassifier  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[3]
MILLRACE = os.environ.get("MILLRACE", str(ROOT / "build/millrace"))
TEMPERATURE, RATINGS = ROOT / "datasets/temperature", ROOT / "datasets/ratings"
REGIMES, LAYERS, ITERATIONS, FACTORS, EPOCHS, TOP, LIKED = 6, [1, 6, 8, 6], 1000, 12, (20, 200), 10, 3.5


def call(*words):
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False, env={**os.environ, "MILLRACE": MILLRACE})
    if done.returncode:
        sys.exit(f"{' '.join(map(str, words))}: exit code {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


def same(what, ours, said, relative=1e-6):
    """What `millrace eval` says, against this file's formula."""
    if abs(ours - said) > relative * max(abs(ours), 1e-3):
        sys.exit(f"{what}: {ours} by this script, {said} by millrace eval")


# --- The rows ---


def temperature_split(folder, path):
    """train.csv and held_out.csv of a series: Temperature,label."""
    with gzip.open(path, "rt") if path.suffix == ".gz" else open(path, encoding="ascii") as lines:
        texts = [line.split(":", 1)[1].rstrip("}\n") for line in lines]
    values = np.array([float(text) for text in texts])[:, None]
    clusters = KMeans(REGIMES, n_init=10, random_state=1).fit(values)
    labels = np.argsort(np.argsort(clusters.cluster_centers_[:, 0]))[clusters.labels_]
    order = np.random.default_rng(1234).permutation(len(texts))
    cut = len(texts) * 6 // 10
    for name, rows in (("train", order[:cut]), ("held_out", order[cut:])):
        with open(folder / f"{name}.csv", "w", encoding="ascii") as file:
            file.write("Temperature,label\n" + "".join(f"{texts[row]},{labels[row]}\n" for row in rows))


def temperature_read(path):
    rows = np.loadtxt(path, delimiter=",", skiprows=1)
    return rows[:, :1], rows[:, 1].astype(int)


def ratings_read(path):
    with open(path, newline="", encoding="ascii") as file:
        return [(int(row["uid"]), int(row["item"]), float(row["stars"])) for row in csv.DictReader(file)]


# --- The formulas ---


def inertia(centres, values):
    return {"inertia a row": float(((values - np.asarray(centres).reshape(1, -1)) ** 2).min(axis=1).mean())}


def classes(probabilities, labels):
    """Probabilities are clipped as scikit-learn's log_loss() clips those of float32."""
    p = np.asarray(probabilities, dtype=float)
    p = p / p.sum(axis=1, keepdims=True)
    least = float(np.finfo(np.float32).eps)
    return {"accuracy": float((p.argmax(axis=1) == labels).mean()),
            "log loss": float(-np.log(np.clip(p[np.arange(len(labels)), labels], least, 1 - least)).mean())}


def estimates(values, ratings):
    """RMSE and MAE of estimates, clipped to the scale; precision and recall at 10 as Surprise's FAQ defines them (an item is recommended when
    its estimate is 3.5 or more); and without such a bound: of two ratings of a user that differ, how often the estimates say which is higher."""
    values = [min(5.0, max(1.0, value)) for value in values]
    errors = np.array([value - stars for value, (_, _, stars) in zip(values, ratings, strict=True)])
    users = {}
    for value, (user, _, stars) in zip(values, ratings):
        users.setdefault(user, []).append((value, stars))
    precisions, recalls, right, pairs = [], [], 0.0, 0
    for rated in users.values():
        rated.sort(key=lambda pair: -pair[0])
        liked = sum(stars >= LIKED for _, stars in rated)
        listed = [stars for value, stars in rated[:TOP] if value >= LIKED]
        hits = sum(stars >= LIKED for stars in listed)
        precisions.append(hits / len(listed) if listed else 0)
        recalls.append(hits / liked if liked else 0)
        for (above, more), (below, less) in itertools.combinations(rated, 2):
            if more != less:
                right += 0.5 if above == below else more > less
                pairs += 1
    return {"RMSE": float(np.sqrt((errors ** 2).mean())), "MAE": float(np.abs(errors).mean()),
            f"precision at {TOP}": statistics.mean(precisions), f"recall at {TOP}": statistics.mean(recalls), "pairs in order": right / pairs}


# --- millrace ---


def millrace_kmeans(folder, seed):
    model, held = folder / "kmeans.safetensors", folder / "held_out.csv"
    call(MILLRACE, "fit", "kmeans", folder / "train.csv", "-F", "Temperature", "--k", REGIMES, "--seed", seed, "--silhouette", 0, "-q", "-o", model)
    call(MILLRACE, "export", model, "--to", "npz", "-o", folder / "kmeans.npz")
    values, _ = temperature_read(held)
    centres = np.load(folder / "kmeans.npz")["centers"]
    found = inertia(centres, values)
    said = json.loads(call(MILLRACE, "eval", model, held, "-F", "Temperature", "--json"))["metrics"]
    same("inertia", found["inertia a row"] * len(values), said["inertia"], 1e-5)
    return found


def millrace_mlp(folder, seed, *more):
    model, held = folder / "mlp.safetensors", folder / "held_out.csv"
    call(MILLRACE, "fit", "mlp", folder / "train.csv", "-F", "Temperature", "-l", "label", "--layers", ",".join(map(str, LAYERS)), "--activation", "sigmoid",
         "--solver", "lbfgs", "--iterations", ITERATIONS, "--held-out", 0, "--seed", seed, "-q", *more, "-o", model)
    lines = call(MILLRACE, "score", model, "-f", "csv", held, "-e", "p=model.probabilities").splitlines()
    _, labels = temperature_read(held)
    found = classes([json.loads(line)["p"] for line in lines], labels)
    said = json.loads(call(MILLRACE, "eval", model, held, "-l", "label", "--json"))["metrics"]
    same("accuracy", found["accuracy"], said["accuracy"], 1e-12)
    same("log loss", found["log loss"], said["log_loss"], 1e-4)
    return found


def millrace_mf(folder, seed, *more):
    """The estimates come from a job, as a user gets them."""
    model, held = folder / "mf.safetensors", ratings_read(folder / "held_out.csv")
    call(MILLRACE, "fit", "mf", folder / "train.csv", "-F", "uid,item", "-l", "stars", "--factors", FACTORS, "--held-out", 0, "--seed", seed, "-q", *more, "-o", model)
    job = {"job": "estimates", "source": {"type": "kafka", "topics": ["in"], "group": "g", "properties": {"bootstrap.servers": "embedded"}},
           "record": {"format": "json", "features": ["uid", "item"]}, "models": [{"name": "m", "type": "mf", "file": str(model), "output": "rating"}],
           "emit": {"fields": {"row": "row", "rating": "m.score"}}, "sinks": [{"type": "file", "path": str(folder / "out.jsonl")}],
           "bad_records": {"file": str(folder / "bad.jsonl")}}
    (folder / "job.json").write_text(json.dumps(job))
    (folder / "out.jsonl").unlink(missing_ok=True)
    (folder / "in.jsonl").write_text("".join(json.dumps({"row": row, "uid": user, "item": item}) + "\n" for row, (user, item, _) in enumerate(held)))
    call(MILLRACE, "run", folder / "job.json", "--feed", folder / "in.jsonl", "--until", "end", "--lanes", 1)
    answers = {answer["row"]: answer["rating"] for answer in map(json.loads, (folder / "out.jsonl").read_text().splitlines())}
    found = estimates([answers[row] for row in range(len(held))], held)
    said = json.loads(call(MILLRACE, "eval", model, folder / "held_out.csv", "-F", "uid,item", "-l", "stars", "--top", TOP, "--relevant", LIKED, "--json"))["metrics"]
    for ours, theirs in (("RMSE", "rmse"), ("MAE", "mae"), (f"precision at {TOP}", "precision"), (f"recall at {TOP}", "recall")):
        same(ours, found[ours], said[theirs])
    return found


# --- The others ---


def sklearn_kmeans(folder, seed):
    model = KMeans(REGIMES, n_init=1, random_state=seed).fit(temperature_read(folder / "train.csv")[0])
    return inertia(model.cluster_centers_, temperature_read(folder / "held_out.csv")[0])


def sklearn_mlp(folder, seed, **more):
    x, y = temperature_read(folder / "train.csv")
    model = make_pipeline(StandardScaler(), MLPClassifier(LAYERS[1:-1], activation="logistic", solver="lbfgs", max_iter=ITERATIONS, random_state=seed, **more))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the iterations were used up
        model.fit(x, y)
    x, y = temperature_read(folder / "held_out.csv")
    return classes(model.predict_proba(x), y)


def spark_rows(spark, path, scaler=None):
    rows = spark.read.csv(str(path), header=True, inferSchema=True).withColumnRenamed("Temperature", "value")
    rows = VectorAssembler(inputCols=["value"], outputCol="raw").transform(rows)
    scaler = scaler or SparkScaler(inputCol="raw", outputCol="features", withMean=True).fit(rows)
    return scaler.transform(rows).cache(), scaler


def spark_kmeans(spark, folder, seed):
    rows, _ = spark_rows(spark, folder / "train.csv")
    model = SparkKMeans(k=REGIMES, seed=seed, featuresCol="raw").fit(rows)
    return inertia([centre[0] for centre in model.clusterCenters()], temperature_read(folder / "held_out.csv")[0])


def spark_mlp(spark, folder, seed, column, iterations):
    rows, scaler = spark_rows(spark, folder / "train.csv")
    held, _ = spark_rows(spark, folder / "held_out.csv", scaler)
    model = MultilayerPerceptronClassifier(featuresCol=column, layers=LAYERS, maxIter=iterations, blockSize=128, seed=seed).fit(rows)
    answers = model.transform(held).select("probability", "label").collect()
    return classes([answer["probability"].toArray() for answer in answers], np.array([answer["label"] for answer in answers]))


def surprise_svd(folder, seed, epochs):
    reader = surprise.Reader(rating_scale=(1, 5))
    data = surprise.Dataset.load_from_folds([(str(folder / "train.tsv"), str(folder / "held_out.tsv"))], reader)
    train, _ = next(surprise.model_selection.PredefinedKFold().split(data))
    model = surprise.SVD(n_factors=FACTORS, n_epochs=epochs, random_state=seed).fit(train)
    held = ratings_read(folder / "held_out.csv")
    return estimates([model.predict(str(user), str(item)).est for user, item, _ in held], held)


def spark_als(spark, folder, seed):
    train, held = (spark.read.csv(str(folder / f"{name}.csv"), header=True, inferSchema=True) for name in ("train", "held_out"))
    model = ALS(rank=FACTORS, maxIter=15, regParam=0.1, userCol="uid", itemCol="item", ratingCol="stars", seed=seed).fit(train)
    answers = model.transform(held).select("uid", "item", "stars", "prediction").collect()
    return estimates([answer["prediction"] for answer in answers], [(answer["uid"], answer["item"], float(answer["stars"])) for answer in answers])


# --- The tables ---


def table(title, contestants, seeds):
    """Rows of Markdown; contestants: name -> what gives the figures of a seed."""
    lines, heads = [], None
    for name, judged in contestants.items():
        found = [judged(seed) for seed in range(1, seeds + 1)]
        if not heads:
            heads = list(found[0])
            lines += [f"## {title}", "", "| | " + " | ".join(heads) + " |", "|---" * (len(heads) + 1) + "|"]
        cells = []
        for head in heads:
            values = sorted(figures[head] for figures in found)
            cells.append(f"{statistics.median(values):.6g} ({values[0]:.6g} to {values[-1]:.6g})")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
        print(lines[-1], file=sys.stderr, flush=True)
    return [*lines, ""]


def temperature(spark, folder, path, seeds):
    folder.mkdir(parents=True, exist_ok=True)
    temperature_split(folder, path)
    counts = " and ".join(f"{len(temperature_read(folder / f'{name}.csv')[1])} {what}" for name, what in (("train", "rows train"), ("held_out", "are held out")))
    which = "the real series" if path.name.startswith("real") else "the stand-in"
    yield from table(f"Temperature, {which}: k-means, k = {REGIMES}, one start ({counts})", {
        "millrace fit kmeans (k-means++)": lambda seed: millrace_kmeans(folder, seed),
        "scikit-learn KMeans (k-means++)": lambda seed: sklearn_kmeans(folder, seed),
        "Spark KMeans (k-means\\|\\|)": lambda seed: spark_kmeans(spark, folder, seed),
    }, seeds)
    layers = "-".join(map(str, LAYERS))
    yield from table(f"Temperature, {which}: network {layers}, sigmoid, L-BFGS, at most {ITERATIONS} iterations ({counts})", {
        "millrace fit mlp": lambda seed: millrace_mlp(folder, seed),
        "millrace fit mlp --validation 0": lambda seed: millrace_mlp(folder, seed, "--validation", 0),
        "millrace fit mlp --l2 7e-6, as datasets/temperature/build": lambda seed: millrace_mlp(folder, seed, "--l2", 7e-6),
        "scikit-learn MLPClassifier, standardised": lambda seed: sklearn_mlp(folder, seed),
        "the same, alpha 0.1 (an l2 of 7e-6)": lambda seed: sklearn_mlp(folder, seed, alpha=0.1),
        "Spark MultilayerPerceptronClassifier, standardised": lambda seed: spark_mlp(spark, folder, seed, "features", ITERATIONS),
        "the same, raw temperatures, at most 200 iterations": lambda seed: spark_mlp(spark, folder, seed, "raw", 200),
    }, seeds)


def ratings(spark, folder, seeds):
    call(RATINGS / "build", folder)
    for name in ("train", "held_out"):
        rows = (folder / f"{name}.csv").read_text().splitlines()[1:]
        (folder / f"{name}.tsv").write_text("".join(row.replace(",", "\t") + "\t0\n" for row in rows))
    counts = f"{len(ratings_read(folder / 'train.csv'))} ratings train, {len(ratings_read(folder / 'held_out.csv'))} are held out"
    yield from table(f"Ratings: {FACTORS} factors ({counts})", {
        "millrace fit mf --solver als, 15 iterations, l2 0.1, as datasets/ratings/build": lambda seed: millrace_mf(folder, seed, "--solver", "als"),
        f"millrace fit mf, {EPOCHS[0]} epochs": lambda seed: millrace_mf(folder, seed),
        f"millrace fit mf --order sequential, {EPOCHS[0]} epochs": lambda seed: millrace_mf(folder, seed, "--order", "sequential"),
        f"millrace fit mf, {EPOCHS[1]} epochs": lambda seed: millrace_mf(folder, seed, "--iterations", EPOCHS[1]),
        f"millrace fit mf --order sequential, {EPOCHS[1]} epochs": lambda seed: millrace_mf(folder, seed, "--iterations", EPOCHS[1], "--order", "sequential"),
        f"Surprise SVD, {EPOCHS[0]} epochs": lambda seed: surprise_svd(folder, seed, EPOCHS[0]),
        f"Surprise SVD, {EPOCHS[1]} epochs": lambda seed: surprise_svd(folder, seed, EPOCHS[1]),
        "Spark ALS, 15 iterations, regParam 0.1": lambda seed: spark_als(spark, folder, seed),
    }, seeds)


def head(seeds):
    java = subprocess.run(["java", "-version"], capture_output=True, text=True, check=True).stderr.split('"')[1]
    commit = call("git", "-C", ROOT, "rev-parse", "--short", "HEAD").strip()
    return ["# Accuracy on rows that the models have not seen", "",
            f"`bench/peers/accuracy/compare.py --seeds {seeds}`, {datetime.date.today()}: millrace {commit}, scikit-learn {sklearn.__version__}, Spark {pyspark.__version__} on Java {java}, "
            f"Surprise {surprise.__version__}, numpy {np.__version__}, Python {platform.python_version()}.",
            f"Median (least to most) of the seeds 1 to {seeds}. One split for all, one formula for all; `millrace eval` said the same of each of millrace's models.", ""]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--folder", type=pathlib.Path, help="keeps the split and the last models there")
    parser.add_argument("--markdown", type=pathlib.Path)
    options = parser.parse_args()
    spark = SparkSession.builder.master("local[2]").appName("accuracy").config("spark.ui.enabled", False).config("spark.sql.shuffle.partitions", 2).getOrCreate()
    spark.sparkContext.setLogLevel("OFF")
    lines = head(options.seeds)
    with tempfile.TemporaryDirectory() as name:
        folder = options.folder or pathlib.Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        lines += ratings(spark, folder / "ratings", options.seeds)
        for path in (TEMPERATURE / "real.jsonl", TEMPERATURE / "standin.jsonl.gz"):
            if path.exists():
                lines += temperature(spark, folder / path.name.split(".")[0], path, options.seeds)
    spark.stop()
    print("\n".join(lines))
    if options.markdown:
        options.markdown.write_text("\n".join(lines).rstrip() + "\n")


if __name__ == "__main__":
    main()
