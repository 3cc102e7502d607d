#!/usr/bin/env python3
"""Makes the model directories beside this file, as real Spark saves them, with what Spark itself predicts: expected.json in each.

    python3 -m venv .venv
    .venv/bin/pip install -r tests/golden/spark_models/requirements.txt     (Java 17)
    .venv/bin/python tests/golden/spark_models/make.py

Once with Spark 3.5, once more after `pip install pyspark==4.2.0`; make_2_4.sh makes those of Spark 2.4. rows.csv are the rows that the
models were fitted on and predict: column e is constant. Checksums (*.crc) and marks
(_SUCCESS) of Hadoop are left out, but for `linear`."""
import json
import pathlib
import shutil

import numpy as np
import pyspark
from pyspark.ml import Pipeline
from pyspark.ml.classification import LogisticRegression, MultilayerPerceptronClassifier
from pyspark.ml.clustering import KMeans
from pyspark.ml.feature import IndexToString, MaxAbsScaler, MinMaxScaler, Normalizer, StandardScaler, StringIndexer, VectorAssembler
from pyspark.ml.regression import LinearRegression
from pyspark.sql import SparkSession
from pyspark.sql.functions import expr

FOLDER = pathlib.Path(__file__).resolve().parent
OUT = FOLDER / ("spark-" + ".".join(pyspark.__version__.split(".")[:2]))
COLUMNS = ["a", "b", "c", "d"]
ROWS = 48
FEW = ("mlp", "kmeans", "logistic", "softmax_sparse", "linear", "minmax", "pipeline_mlp")  # of Spark 3.5: there the files are as in 4.2


def rows_write():
    """Numbers that float32 holds exactly, so that both programs compute from the same ones."""
    random = np.random.default_rng(20261122)
    cloud = random.integers(0, 3, ROWS)
    x = np.array([[0, 50, 0, -2], [2, 54, 1, 1], [4, 47, 0, 3]], dtype=float)[cloud] + random.normal(size=(ROWS, 4)) * [1, 3, 0, 1]
    x = np.round(x * 64) / 64
    y = np.round((x @ [2.0, -0.25, 5.0, 1.0] + 10 + random.normal(size=ROWS)) * 64) / 64
    with open(FOLDER / "rows.csv", "w", encoding="ascii") as file:
        file.write("a,b,c,d,e,label,two,y\n")
        for row, label, target in zip(x, cloud, y):
            file.write(",".join(f"{value:.10g}" for value in [*row, 7.25, label, label == 1, target]) + "\n")


def assembler(*columns, name="features"):
    return VectorAssembler(inputCols=list(columns), outputCol=name)


def pipeline(scaler, model, *columns):
    scaler.setInputCol("features").setOutputCol("scaled")
    return Pipeline(stages=[assembler(*columns), scaler, model.setFeaturesCol("scaled")])


def fits():
    """Each is fitted on `features` (a, b, c, d), perceptrons on `small` (a, c, d), pipelines on the columns; e is constant."""
    def scaled(scaler):
        return scaler.setInputCol("features").setOutputCol("scaled")

    every = [*COLUMNS, "e"]
    yield "mlp", MultilayerPerceptronClassifier(layers=[3, 5, 3], maxIter=15, seed=1, featuresCol="small")
    yield "mlp_deep", MultilayerPerceptronClassifier(layers=[3, 3, 4, 2], labelCol="two", maxIter=20, seed=2, featuresCol="small")
    yield "kmeans", KMeans(k=3, seed=1)
    yield "kmeans_cosine", KMeans(k=2, seed=1, distanceMeasure="cosine")
    yield "logistic", LogisticRegression(labelCol="two", regParam=0.05)
    yield "logistic_threshold", LogisticRegression(labelCol="two", regParam=0.05, threshold=0.3)
    yield "softmax", LogisticRegression(regParam=0.05)
    yield "softmax_two", LogisticRegression(labelCol="two", regParam=0.05, family="multinomial")
    yield "softmax_sparse", LogisticRegression(regParam=0.25, elasticNetParam=1.0)
    yield "linear", LinearRegression(labelCol="y")
    yield "linear_sparse", LinearRegression(labelCol="y", regParam=4.0, elasticNetParam=1.0)
    yield "linear_huber", LinearRegression(labelCol="y", loss="huber")
    yield "standard", scaled(StandardScaler(withMean=True))
    yield "standard_std_only", scaled(StandardScaler())
    yield "minmax", scaled(MinMaxScaler(min=-1.0, max=2.0))
    yield "maxabs", scaled(MaxAbsScaler())
    yield "pipeline_mlp", pipeline(StandardScaler(withMean=True), MultilayerPerceptronClassifier(layers=[5, 4, 3], maxIter=15, seed=3), *every)
    yield "pipeline_minmax", pipeline(MinMaxScaler(min=1.0, max=3.0), MultilayerPerceptronClassifier(layers=[5, 3, 2], labelCol="two", maxIter=10, seed=4), *every)
    yield "pipeline_linear", pipeline(MaxAbsScaler(), LinearRegression(labelCol="y"), *COLUMNS)
    yield "pipeline_kmeans", pipeline(StandardScaler(), KMeans(k=3, seed=1), *COLUMNS)
    yield "pipeline_normalizer", Pipeline(stages=[assembler(*COLUMNS), Normalizer(inputCol="features", outputCol="n"), LinearRegression(labelCol="y", featuresCol="n")])
    yield "pipeline_names", Pipeline(stages=[StringIndexer(inputCol="tree", outputCol="index", stringOrderType="alphabetDesc"), assembler(*COLUMNS),
                                             LogisticRegression(labelCol="index", regParam=0.05),
                                             IndexToString(inputCol="prediction", outputCol="tree_found", labels=["yew", "beech, \"red\"", "ash"])])


def answers(model, rows):
    """What it predicts of each row; nine digits are more than float32 has."""
    found = model.transform(rows).collect()
    names = [name for name in ("prediction", "probability", "scaled") if name in found[0]]
    said = {name: [[float(f"{value:.9g}") for value in (row[name] if hasattr(row[name], "toArray") else [row[name]])] for row in found] for name in names}
    if "prediction" in said:
        said["prediction"] = [value[0] for value in said["prediction"]]
        said.pop("scaled", None)
    return said


def main():
    rows_write()
    spark = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").getOrCreate()
    rows = spark.read.csv(str(FOLDER / "rows.csv"), header=True, inferSchema=True).coalesce(1)
    rows = rows.withColumn("tree", expr("element_at(array('ash', 'beech, \"red\"', 'yew'), label + 1)")).cache()
    ready = assembler("a", "c", "d", name="small").transform(assembler(*COLUMNS).transform(rows)).cache()
    shutil.rmtree(OUT, ignore_errors=True)
    expected = {}
    for name, model in fits():
        if spark.version.startswith("3.") and name not in FEW:
            continue
        data = rows if name.startswith("pipeline") else ready
        fitted = model.fit(data)
        fitted.save(str(OUT / name))
        expected[name] = answers(fitted, data)
    for path in [*OUT.rglob("*.crc"), *OUT.rglob("_SUCCESS")]:
        if path.parent != OUT / "linear" / "data":
            path.unlink()
    text = json.dumps({"spark": spark.version, "models": expected}, separators=(",", ":"))
    (OUT / "expected.json").write_text(text.replace('},"', '},\n"') + "\n")
    print(f"{len(expected)} models of Spark {spark.version}")


main()
