#!/usr/bin/env python3
"""Scores a Kafka topic with Spark Structured Streaming, all that is there now, then ends.

    peer.py --brokers HOST:PORT --in TOPIC --out TOPIC --model PATH --jars FOLDER --engine ml|ort [--cores N]

ml: from_json, VectorAssembler, Spark ML's multi-layer perceptron, all in the JVM. ort: from_json in the JVM, then mapInPandas with
ONNX Runtime on Arrow batches. PATH.json holds the features and the weights, PATH.onnx the same model.
"""
import argparse
import json
import os
import sys
import tempfile
from pathlib import Path


def session(options, checkpoint):
    jars = ",".join(str(jar) for jar in sorted(Path(options.jars).glob("*.jar")))
    os.environ["PYSPARK_SUBMIT_ARGS"] = f"--driver-memory 4g --jars {jars} pyspark-shell"
    os.environ["PYSPARK_PYTHON"] = sys.executable
    from pyspark.sql import SparkSession
    return (SparkSession.builder.master(f"local[{options.cores}]").appName("peer")
            .config("spark.ui.enabled", "false").config("spark.ui.showConsoleProgress", "false")
            .config("spark.driver.host", "127.0.0.1").config("spark.driver.bindAddress", "127.0.0.1")
            .config("spark.sql.streaming.checkpointLocation", checkpoint)
            .config("spark.sql.execution.arrow.maxRecordsPerBatch", "10000")
            .getOrCreate())


def read(spark, options, features):
    """The topic as columns: id and the features."""
    from pyspark.sql.functions import col, from_json
    from pyspark.sql.types import FloatType, StructField, StructType
    schema = StructType([StructField(name, FloatType(), False) for name in features])
    source = (spark.readStream.format("kafka").option("kafka.bootstrap.servers", options.brokers)
              .option("subscribe", options.topic_in).option("startingOffsets", "earliest")
              .option("kafka.max.partition.fetch.bytes", 4 << 20).option("kafka.max.poll.records", 10000).load())
    return (source.select(col("offset").alias("id"), from_json(col("value").cast("string"), schema).alias("record"))
            .select("id", "record.*"))


def mlp_model(spark, layers):
    """Spark's model object. Its weights lie in one vector: of each layer the matrix column by column, then the biases."""
    from pyspark.ml.classification import MultilayerPerceptronClassificationModel
    weights, sizes = [], [len(layers[0]["weight"][0])]
    for layer in layers:
        for column in range(len(layer["weight"][0])):
            weights += [row[column] for row in layer["weight"]]
        weights += layer["bias"]
        sizes.append(len(layer["bias"]))
    jvm = spark.sparkContext._jvm  # the constructor has no Python form; a trained model would come from load()
    gateway = spark.sparkContext._gateway
    values, widths = gateway.new_array(gateway.jvm.double, len(weights)), gateway.new_array(gateway.jvm.int, len(sizes))
    for i, value in enumerate(weights):
        values[i] = float(value)
    for i, size in enumerate(sizes):
        widths[i] = size
    made = jvm.org.apache.spark.ml.classification.MultilayerPerceptronClassificationModel(
        "mlp", jvm.org.apache.spark.ml.linalg.Vectors.dense(values))
    made.set(made.layers(), widths)
    return MultilayerPerceptronClassificationModel(made)


def score_ml(spark, frame, model):
    from pyspark.ml.feature import VectorAssembler
    from pyspark.sql.functions import col
    assembled = VectorAssembler(inputCols=model["features"], outputCol="features").transform(frame)
    mlp = mlp_model(spark, model["layers"])
    mlp.setProbabilityCol("").setRawPredictionCol("")  # only the class is asked for
    return mlp.transform(assembled).select("id", col("prediction").cast("int").alias("prediction"))


def score_ort(frame, model, onnx):
    features = model["features"]

    def score(batches):
        import numpy as np
        import onnxruntime
        import pandas as pd
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = settings.inter_op_num_threads = 1
        ort = onnxruntime.InferenceSession(onnx, settings, providers=["CPUExecutionProvider"])
        for batch in batches:
            x = np.column_stack([batch[name].to_numpy(np.float32) for name in features])
            yield pd.DataFrame({"id": batch["id"], "prediction": ort.run(None, {"x": x})[0].astype(np.int32)})

    return frame.mapInPandas(score, "id long, prediction int")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--brokers", required=True)
    parser.add_argument("--in", dest="topic_in", required=True)
    parser.add_argument("--out", dest="topic_out", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--jars", required=True)
    parser.add_argument("--engine", choices=("ml", "ort"), default="ml")
    parser.add_argument("--cores", type=int, default=2)
    options = parser.parse_args()
    model = json.loads(Path(options.model + ".json").read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory(prefix="spark-peer-") as checkpoint:
        spark = session(options, checkpoint)
        spark.sparkContext.setLogLevel("ERROR")
        from pyspark.sql.functions import struct, to_json
        frame = read(spark, options, model["features"])
        scored = score_ml(spark, frame, model) if options.engine == "ml" else score_ort(frame, model, options.model + ".onnx")
        query = (scored.select(to_json(struct("id", "prediction")).alias("value")).writeStream.format("kafka")
                 .option("kafka.bootstrap.servers", options.brokers).option("topic", options.topic_out)
                 .option("kafka.acks", "1").option("kafka.enable.idempotence", "false").option("kafka.linger.ms", "5")
                 .option("kafka.batch.size", 256 << 10).trigger(availableNow=True).start())
        query.awaitTermination()
        spark.stop()


if __name__ == "__main__":
    main()
