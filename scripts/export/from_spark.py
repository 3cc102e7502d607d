#!/usr/bin/env python3
"""Writes a model directory of Spark ML as a model file of millrace: what model.save(DIR) or pipelineModel.save(DIR) wrote, by Spark 2, 3 or 4.

    ./from_spark.py DIR model.safetensors

From a program:

    from from_spark import export
    export("DIR", "model.safetensors")

Known: MultilayerPerceptronClassificationModel, LogisticRegressionModel, LinearRegressionModel, KMeansModel; StandardScalerModel,
MinMaxScalerModel, MaxAbsScalerModel. In a PipelineModel, VectorAssembler (which gives the features their names), these scalers, and
StringIndexerModel and IndexToString of the labels may stand around one model. What is not known is refused with a reason.

Spark itself is not needed; its Parquet files are read with pyarrow (pip install pyarrow). Exit codes: 0 done, 64 usage, 65 the directory
is refused, 66 it does not exist, 69 pyarrow is missing, 74 the model file could not be written.
"""
import json
import math
import pathlib
import sys
import zlib

from model_file import Missing, Refused, metadata, numbers, program, write

SPARK = "org.apache.spark.ml."
NUMBERS_MAX = 1 << 26  # of a sparse vector or matrix, so that a broken size takes no memory
KNOWN = {"classification.MultilayerPerceptronClassificationModel", "classification.LogisticRegressionModel", "regression.LinearRegressionModel",
         "clustering.KMeansModel", "feature.StandardScalerModel", "feature.MinMaxScalerModel", "feature.MaxAbsScalerModel"}
AROUND = {"feature.VectorAssembler", "feature.StringIndexerModel", "feature.IndexToString"}


class Saved:
    """A directory in which Spark has saved a stage: metadata/, one line of JSON, and mostly data/, Parquet."""

    def __init__(self, path):
        self.path = pathlib.Path(path)
        if not self.path.is_dir():
            raise Missing(f"{path}: no such directory: give the one that model.save() wrote, with metadata/ and data/ in it")
        self.facts = self._metadata()
        self.kind = self.facts["class"].removeprefix(SPARK)
        self.name = self.kind.rsplit(".", 1)[-1]

    def _metadata(self):
        parts = sorted((self.path / "metadata").glob("part-*"))
        if not parts:
            raise Refused(f"{self.path / 'metadata'}: no part-* file here: this is no directory that Spark ML saved, or not all of it was copied")
        try:
            facts = json.loads(b"".join(part.read_bytes() for part in parts))
            if isinstance(facts["class"], str) and isinstance(facts["paramMap"], dict):
                return facts
        except (ValueError, KeyError, TypeError):
            pass
        raise Refused(f"{parts[0]}: not the metadata of Spark ML, one object of JSON with \"class\" and \"paramMap\": copy the directory again")

    def refuse(self, reason):
        raise Refused(f"{self.path}: {self.name}: {reason}")

    def param(self, name, otherwise=None):
        return self.facts["paramMap"].get(name, self.facts.get("defaultParamMap", {}).get(name, otherwise))

    def rows(self, *columns):
        """All rows of data/, each a dict that has these columns."""
        parquet, arrow_error = pyarrow_import()
        files = sorted((self.path / "data").glob("part-*.parquet"))
        if not files:
            raise Refused(f"{self.path / 'data'}: no part-*.parquet file here: copy the whole directory that {self.name}.save() wrote")
        rows = []
        for file in files:
            checksum_check(file)
            try:
                rows += parquet.ParquetFile(file).read().to_pylist()
            except (arrow_error, OSError, ValueError) as reason:
                raise Refused(f"{file}: not a whole Parquet file ({reason}): copy the directory again") from None
        missing = [column for column in columns if any(row.get(column) is None for row in rows)]
        if missing or not rows:
            found = f"its columns are {', '.join(rows[0])}" if rows else "it has no rows"
            raise Refused(f"{files[0]}: {self.name} of Spark {self.facts.get('sparkVersion')} has no {', '.join(missing) or 'data'}; {found}: "
                          "load and save it with a newer Spark")
        return rows

    def row(self, *columns):
        return self.rows(*columns)[0]

    def vector(self, value, what, size=None):
        """VectorUDT: type 1 holds all values, type 0 those at its indices."""
        try:
            found = value["values"] if value["type"] == 1 else zeros(value["size"])
            if value["type"] == 0:
                for index, number in zip(value["indices"], value["values"], strict=True):
                    found[index] = number
        except (KeyError, TypeError, IndexError, ValueError):
            self.refuse(f"{what} is no vector of Spark ML: {str(value)[:100]}")
        if size is not None and len(found) != size:
            self.refuse(f"{what} has {len(found)} numbers, not {size}: copy the directory again")
        bad = next((index for index, number in enumerate(found) if number is None or not math.isfinite(number)), None)
        if bad is not None:
            self.refuse(f"{what}[{bad}] is {found[bad]}: the model has diverged; fit it again on scaled features")
        return found

    def matrix(self, value, what):
        """MatrixUDT, by columns unless it is transposed; type 0 is compressed the same way. Its rows."""
        try:
            rows, cols, by_rows = value["numRows"], value["numCols"], value["isTransposed"]
            inner, outer = (cols, rows) if by_rows else (rows, cols)
            if value["type"] == 0:
                starts, flat = value["colPtrs"], zeros(rows * cols)
                for line in range(outer):
                    for place in range(starts[line], starts[line + 1]):
                        flat[line * inner + value["rowIndices"][place]] = value["values"][place]
            else:
                flat = value["values"]
        except (KeyError, TypeError, IndexError, ValueError):
            self.refuse(f"{what} is no matrix of Spark ML: {str(value)[:100]}")
        flat = self.vector({"type": 1, "values": flat}, what, rows * cols)
        return [[flat[r * cols + c] if by_rows else flat[c * rows + r] for c in range(cols)] for r in range(rows)]


def zeros(count):
    if not 0 <= count <= NUMBERS_MAX:
        raise ValueError(f"{count} numbers")
    return [0.0] * count


def checksum_check(file):
    """Parquet as Spark writes it has none inside; on a local disk Hadoop lays one of each 512 bytes beside it."""
    sums = file.with_name(f".{file.name}.crc")
    if not sums.is_file():
        return
    told, data = sums.read_bytes(), file.read_bytes()
    size = int.from_bytes(told[4:8], "big")
    if told[:4] != b"crc\0" or not size:
        return
    found = b"".join(zlib.crc32(data[at:at + size]).to_bytes(4, "big") for at in range(0, len(data), size))
    if found != told[8:]:
        raise Refused(f"{file}: its checksum is not that of {sums.name}: it was changed or cut; copy the directory again")


def pyarrow_import():
    """Late, so that usage and what is refused by the metadata alone need nothing."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as reason:
        raise ImportError(f"Spark keeps the numbers of a model as Parquet, which is read with pyarrow: pip install pyarrow ({reason})") from None
    return pyarrow.parquet, pyarrow.ArrowException


def perceptron(saved):
    """Weights lie layer by layer: the matrix [out, in] by columns, then the biases."""
    row = saved.row("weights")
    sizes = saved.param("layers") or row.get("layers")  # a column before Spark 3
    if not isinstance(sizes, list) or len(sizes) < 2 or not all(isinstance(size, int) and size > 0 for size in sizes):
        saved.refuse(f"\"layers\" is {sizes} in metadata/ and data/: it must be the sizes of at least two layers")
    pairs = list(zip(sizes, sizes[1:]))
    need = sum((inputs + 1) * outputs for inputs, outputs in pairs)
    flat = saved.vector(row["weights"], "weights")
    if len(flat) != need:
        saved.refuse(f"layers {sizes} need {need} weights, data/ has {len(flat)}: metadata/ and data/ are of two models; copy the directory again")
    layers, at = [], 0
    for inputs, outputs in pairs:
        end = at + inputs * outputs
        layers.append(([flat[at + o:end:outputs] for o in range(outputs)], flat[end:end + outputs]))
        at = end + outputs
    thresholds_refuse(saved, sizes[-1])
    return "mlp", layers, {"classes": sizes[-1], "activations": ["sigmoid"] * (len(layers) - 1) + ["softmax"]}


def thresholds_refuse(saved, classes):
    """A class is the most probable one here; thresholds move that."""
    thresholds = saved.param("thresholds")
    if thresholds is None and classes == 2 and saved.param("threshold", 0.5) != 0.5:
        thresholds = saved.param("threshold")
    if thresholds is not None and (not isinstance(thresholds, list) or len(set(thresholds)) > 1):
        saved.refuse(f"its threshold is {thresholds}, and a class here is the most probable one: save it without (clear the parameter), "
                     "emit \"probability\", and decide behind the job")


def logistic(saved):
    row = saved.row("numClasses", "interceptVector", "coefficientMatrix", "isMultinomial")
    weight = saved.matrix(row["coefficientMatrix"], "coefficientMatrix")
    outputs = row["numClasses"] if row["isMultinomial"] else 1
    if len(weight) != outputs:
        saved.refuse(f"coefficientMatrix has {len(weight)} rows for {row['numClasses']} classes: copy the directory again")
    thresholds_refuse(saved, row["numClasses"])
    return "logistic", [(weight, saved.vector(row["interceptVector"], "interceptVector", outputs))], {"classes": row["numClasses"]}


def linear(saved):
    row = saved.row("intercept", "coefficients")
    weight, bias = saved.vector(row["coefficients"], "coefficients"), saved.vector({"type": 1, "values": [row["intercept"]]}, "intercept")
    return "linear", [([weight], bias)], {}


def kmeans(saved):
    if saved.param("distanceMeasure", "euclidean") != "euclidean":
        saved.refuse(f"distanceMeasure \"{saved.param('distanceMeasure')}\" is not known, clusters here are by squared Euclidean distance: scale "
                     "each row to length 1 (Normalizer), where both give the same order, and fit with \"euclidean\"")
    rows = sorted(saved.rows("clusterIdx", "clusterCenter"), key=lambda row: row["clusterIdx"])
    if [row["clusterIdx"] for row in rows] != list(range(len(rows))):
        saved.refuse(f"data/ has the clusters {[row['clusterIdx'] for row in rows]}: a part is missing; copy the directory again")
    centers = [saved.vector(row["clusterCenter"], f"clusterCenter of cluster {row['clusterIdx']}") for row in rows]
    if len({len(center) for center in centers}) > 1:
        saved.refuse("its centres are of different widths: copy the directory again")
    return "kmeans", [(centers, None)], {}


MODELS = {"MultilayerPerceptronClassificationModel": perceptron, "LogisticRegressionModel": logistic, "LinearRegressionModel": linear, "KMeansModel": kmeans}


def scaling(saved):
    """What the scaler makes of each column: x * factor + offset. Of a column without spread, factor 0 and what Spark answers."""
    if saved.name == "StandardScalerModel":
        row = saved.row("std", "mean")
        std = saved.vector(row["std"], "std")
        mean = saved.vector(row["mean"], "mean", len(std)) if saved.param("withMean", False) else [0.0] * len(std)
        factor = [(1 / s if s else 0.0) for s in std] if saved.param("withStd", True) else [1.0] * len(std)
        return factor, [-m * f for m, f in zip(mean, factor)]
    if saved.name == "MaxAbsScalerModel":
        most = saved.vector(saved.row("maxAbs")["maxAbs"], "maxAbs")
        return [1 / m if m else 1.0 for m in most], [0.0] * len(most)
    row = saved.row("originalMin", "originalMax")
    least = saved.vector(row["originalMin"], "originalMin")
    most = saved.vector(row["originalMax"], "originalMax", len(least))
    low, high = saved.param("min", 0.0), saved.param("max", 1.0)
    factor = [(high - low) / (b - a) if b != a else 0.0 for a, b in zip(least, most)]
    return factor, [low - a * f if f else (low + high) / 2 for a, f in zip(least, factor)]


def scaling_of(scalers, columns):
    """All of them, one behind the other."""
    factor, offset = [1.0] * columns, [0.0] * columns
    for saved in scalers:
        by, add = scaling(saved)
        if len(by) != columns:
            saved.refuse(f"it scales {len(by)} columns, the model behind it has {columns}")
        factor = [f * b for f, b in zip(factor, by)]
        offset = [o * b + a for o, b, a in zip(offset, by, add)]
    return factor, offset


def constants_fold(layer, factor, offset):
    """A column that is scaled to the same number always goes into the bias."""
    weight, bias = layer
    still = [column for column, f in enumerate(factor) if f == 0]
    bias = [b + sum(line[column] * offset[column] for column in still) for line, b in zip(weight, bias)]
    weight = [[0.0 if column in still else value for column, value in enumerate(line)] for line in weight]
    return weight, bias


def input_tensors(factor, offset):
    """x * factor + offset as (x - mean) / scale."""
    mean = [-o / f if f else 0.0 for f, o in zip(factor, offset)]
    scale = [1 / f if f else 1.0 for f in factor]
    return [numbers("input.mean", mean, [len(mean)]), numbers("input.scale", scale, [len(scale)])]


def dense(prefix, weight, bias):
    flat = [value for row in weight for value in row]
    return [numbers(prefix + "weight", flat, [len(weight), len(weight[0])]), numbers(prefix + "bias", bias, [len(bias)])]


def scaler_tensors(saved):
    """A scaler alone: (x - mean) / sqrt(variance)."""
    factor, offset = scaling(saved)
    still = next((column for column, f in enumerate(factor) if f == 0), None)
    if still is not None:
        saved.refuse(f"column {still} had one value only when it was fitted, and Spark scales such a column to one number: leave it out, and fit again")
    mean, variance = [-o / f for f, o in zip(factor, offset)], [1 / f ** 2 for f in factor]
    return [numbers("mean", mean, [len(mean)]), numbers("variance", variance, [len(variance)])]


def model_tensors(saved, scalers):
    kind, layers, facts = MODELS[saved.name](saved)
    columns = len(layers[0][0][0])
    if kind == "kmeans":
        if scalers:
            saved.refuse("k-means behind a scaler: distances here are of the features as they come. Export the scaler and the k-means each from "
                         "its own folder in stages/, and let the scaler stand before it in the job")
        centers = layers[0][0]
        return kind, [numbers("centers", [value for row in centers for value in row], [len(centers), columns])], facts, columns
    more = []
    if scalers:
        factor, offset = scaling_of(scalers, columns)
        layers[0] = constants_fold(layers[0], factor, offset)
        more = input_tensors(factor, offset)
    tensors = [tensor for i, layer in enumerate(layers) for tensor in dense(f"layer.{i}." if kind == "mlp" else "", *layer)]
    return kind, tensors + more, facts, columns


def stages_of(saved):
    """The stages of a pipeline in their order; of a single stage itself."""
    if saved.kind != "PipelineModel":
        return [saved]
    folders = {}
    for folder in (saved.path / "stages").glob("[0-9]*_*"):
        folders[folder.name.split("_", 1)[1]] = folder
    uids = saved.param("stageUids", [])
    missing = [uid for uid in uids if uid not in folders]
    if missing or not uids:
        raise Refused(f"{saved.path / 'stages'}: no folder of stage {', '.join(missing) or 'any'}: copy the whole directory that PipelineModel.save() wrote")
    return [stage for uid in uids for stage in stages_of(Saved(folders[uid]))]


def known_check(stage):
    if stage.kind in KNOWN | AROUND:
        return
    known = ", ".join(sorted(kind.rsplit(".", 1)[1] for kind in KNOWN | AROUND | {".PipelineModel"}))
    hint = " For a CrossValidatorModel or TrainValidationSplitModel give its folder bestModel." if (stage.path / "bestModel").is_dir() else ""
    raise Refused(f"{stage.path}: class {stage.facts['class']} is not known: {known} are.{hint}")


def labels_of(stages, model, classes):
    """Names of the classes: those of IndexToString behind the model, else of the StringIndexer that made its labels."""
    for stage in reversed(stages):
        labels = None
        if stage.name == "IndexToString" and stage.param("inputCol") == model.param("predictionCol", "prediction"):
            labels = stage.param("labels")
        elif stage.name == "StringIndexerModel" and stage.param("outputCol") == model.param("labelCol", "label"):
            row = stage.row()
            labels = row["labelsArray"][0] if row.get("labelsArray") else row.get("labels")
        if labels:
            if len(labels) != classes:
                stage.refuse(f"it has {len(labels)} labels, the model {classes} classes: fit without handleInvalid=\"keep\"")
            return labels
    return None


def chain_of(stages, place):
    """Scalers, the model, and the names of the features. Each must read what the one before it made."""
    chain = [stage for stage in stages if stage.kind in KNOWN]
    if not chain or any(stage.name in MODELS for stage in chain[:-1]):
        raise Refused(f"{place}: a pipeline must end in one model, or one scaler; this one is {', '.join(stage.name for stage in stages)}")
    assembler = next((stage for stage in stages if stage.name == "VectorAssembler"), None)
    column = assembler.param("outputCol") if assembler else None
    for stage in chain:
        reads = stage.param("featuresCol" if stage.name in MODELS else "inputCol", "features")
        if column is not None and reads != column:
            stage.refuse(f"it reads the column \"{reads}\", and the stage before it makes \"{column}\": stages that are not in one line are not known")
        column = stage.param("outputCol")
    if chain[-1].name not in MODELS and len(chain) > 1:
        raise Refused(f"{place}: scalers without a model behind them: export each from its own folder in stages/")
    return chain[:-1], chain[-1], assembler.param("inputCols") if assembler else None


def export(folder, path, version="", features=None):
    """folder: as Spark saved it; features: names, where no VectorAssembler has them. Refused (a ValueError) says what stands in the way."""
    saved = Saved(folder)
    stages = stages_of(saved)
    for stage in stages:
        known_check(stage)
    scalers, model, names = chain_of(stages, saved.path)
    facts = {}
    if model.name in MODELS:
        kind, tensors, facts, columns = model_tensors(model, scalers)
    else:
        kind, tensors = "scaler", scaler_tensors(model)
        columns = tensors[0][2][0]
    if names is not None and len(names) != columns:
        names = None  # some of the assembler's columns are vectors
    if kind in ("mlp", "logistic"):
        facts["labels"] = labels_of(stages, model, facts.pop("classes"))
    write(path, tensors, metadata(kind, version, features=features or names, **facts))


if __name__ == "__main__":
    sys.exit(program(__doc__, export))
