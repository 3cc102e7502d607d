#!/usr/bin/env python3
"""scripts/export/from_spark.py on directories that Spark 2.4, 3.5 and 4.2 saved: what `millrace score` gives is what Spark predicted; and on broken ones."""
import json
import os
import pathlib
import shutil
import struct
import subprocess
import sys
import tempfile

import libraries

ROOT = pathlib.Path(__file__).resolve().parents[2]
MILLRACE = os.environ.get("MILLRACE", str(ROOT / "build/millrace"))
EXPORT = ROOT / "scripts/export/from_spark.py"
GOLDEN = ROOT / "tests/golden/spark_models"
TOLERANCE = 1e-6  # of a probability: float32 against the doubles of Spark
# What each directory must be refused for.
REFUSED = {"kmeans_cosine": "\"cosine\" is not known", "logistic_threshold": "threshold is 0.3", "pipeline_kmeans": "behind a scaler",
           "pipeline_normalizer": "class org.apache.spark.ml.feature.Normalizer is not known"}
COLUMNS = {"mlp": "a,c,d", "mlp_deep": "a,c,d"}
LABELS = {"pipeline_names": ["yew", "beech, \"red\"", "ash"]}

libraries.need("pyarrow")
sys.path.insert(0, str(EXPORT.parent))
from from_spark import Refused, export  # noqa: E402


def fail(text):
    sys.exit(f"FAIL: {text}")


def call(folder, out, code=0):
    done = subprocess.run([sys.executable, EXPORT, folder, out], capture_output=True, text=True, timeout=60, check=False)
    if done.returncode != code:
        fail(f"{folder}: exit code {done.returncode}, not {code}\n{done.stderr}")
    if code and pathlib.Path(out).exists():
        fail(f"{folder}: refused, but a file was written")
    return done.stderr


def score(path, name, *emit):
    """Rows as objects. The fields of a pipeline are named by the model file itself."""
    words = ["-F", COLUMNS.get(name, "a,b,c,d")] if not name.startswith("pipeline") else []
    done = subprocess.run([MILLRACE, "score", path, GOLDEN / "rows.csv", "-f", "csv", *words, *(word for pair in emit for word in ("-e", pair))],
                          capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        fail(f"{path}: millrace score: exit code {done.returncode}\n{done.stderr}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def near(place, got, want, scale=1.0):
    if len(got) != len(want) or any(not abs(a - b) <= TOLERANCE * max(scale, abs(b)) for a, b in zip(got, want)):
        fail(f"{place}: {got}, Spark says {want}")


def classes_compare(place, name, rows, want):
    labels = LABELS.get(name)
    for i, (row, found) in enumerate(zip(rows, want["prediction"], strict=True)):
        if row["class"] != found or (labels and row["label"] != labels[int(found)]):
            fail(f"{place}, row {i}: {row}, Spark says {found}")
        if "probability" in want:
            near(f"{place}, row {i}", row["p"], want["probability"][i])


def model_compare(place, path, name, want):
    if "scaled" in want:
        for i, (row, scaled) in enumerate(zip(score(path, name), want["scaled"], strict=True)):
            near(f"{place}, row {i}", row["prediction"], scaled, 60)  # of terms as large as column b
    elif "linear" in name:
        largest = max(map(abs, want["prediction"]))
        near(place, [row["prediction"] for row in score(path, name)], want["prediction"], largest)
    else:
        emit = ["class=model.class"] + (["label=model.label"] if name in LABELS else []) + (["p=model.probabilities"] if "probability" in want else [])
        classes_compare(place, name, score(path, name, *emit), want)


def refused(source, out, reason):
    try:
        export(source, out)
    except Refused as why:
        if reason not in str(why) or str(source) not in str(why) or out.exists():
            fail(f"{source}: refused because: {why}")
        return
    fail(f"{source} was not refused")


def versions(folder):
    """Every directory that Spark has made, against its own predictions."""
    count = 0
    for version in sorted(GOLDEN.glob("spark-*")):
        said = json.loads((version / "expected.json").read_text())
        for name, want in said["models"].items():
            out = folder / f"{version.name}-{name}.safetensors"
            if name in REFUSED:
                refused(version / name, out, REFUSED[name])
                continue
            export(version / name, out)
            model_compare(f"{name} of Spark {said['spark']}", out, name, want)
            count += 1
    if count < 26:
        fail(f"only {count} models")
    if not list((GOLDEN / "spark-4.2/linear/data").glob(".*.crc")):
        fail("no directory with checksums")
    return count


def broken(folder, source, reason, change, code=65):
    """A copy of a directory, with a fault: what it is refused for names the fault's place."""
    copy = folder / "broken"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(GOLDEN / source, copy)
    change(copy)
    said = call(copy, folder / "broken.safetensors", code)
    if reason not in said or str(copy) not in said or "Traceback" in said:
        fail(f"{source}: \"{reason}\" is not said, or no place: {said}")


def facts_change(path, **facts):
    part = next((path / "metadata").glob("part-*"))
    said = json.loads(part.read_text())
    said["paramMap"].update({name: value for name, value in facts.items() if name != "class"})
    said["class"] = facts.get("class", said["class"])
    part.write_text(json.dumps(said))


def data_of(path):
    return next((path / "data").glob("part-*.parquet"))


def data_swap(path, other):
    shutil.copy(data_of(GOLDEN / other), data_of(path))


def intercept_change(file):
    """One bit of it, which Parquet itself does not notice."""
    import pyarrow.parquet
    value = struct.pack("<d", pyarrow.parquet.ParquetFile(file).read()["intercept"][0].as_py())
    data = bytearray(file.read_bytes())
    data[data.index(value)] ^= 1
    file.write_bytes(data)


def faults(folder):
    mlp = "spark-4.2/mlp"
    broken(folder, mlp, "no part-*.parquet file here", lambda path: shutil.rmtree(path / "data"))
    broken(folder, mlp, "not a whole Parquet file", lambda path: data_of(path).write_bytes(data_of(path).read_bytes()[:-200]))
    broken(folder, mlp, "not a whole Parquet file", lambda path: data_of(path).write_bytes(b""))
    broken(folder, mlp, "no part-* file here", lambda path: shutil.rmtree(path / "metadata"))
    broken(folder, mlp, "not the metadata of Spark ML", lambda path: next((path / "metadata").glob("part-*")).write_text("{\"class\":"))
    broken(folder, mlp, "layers [3, 6, 3] need 45 weights, data/ has 38", lambda path: facts_change(path, layers=[3, 6, 3]))
    broken(folder, mlp, "\"layers\" is 7", lambda path: facts_change(path, layers=7))
    broken(folder, mlp, "threshold is [0.1, 0.2, 0.7]", lambda path: facts_change(path, thresholds=[0.1, 0.2, 0.7]))
    broken(folder, mlp, "has no weights; its columns are intercept, coefficients, scale", lambda path: data_swap(path, "spark-4.2/linear"))
    broken(folder, mlp, "class org.apache.spark.ml.classification.GBTClassificationModel is not known",
           lambda path: facts_change(path, **{"class": "org.apache.spark.ml.classification.GBTClassificationModel"}))
    broken(folder, "spark-4.2/pipeline_mlp", "no folder of stage StandardScaler_",
           lambda path: shutil.rmtree(next((path / "stages").glob("1_*"))))
    broken(folder, "spark-4.2/pipeline_mlp", "stages that are not in one line", lambda path: facts_change(next((path / "stages").glob("2_*")), featuresCol="features"))
    broken(folder, "spark-4.2/pipeline_mlp", "no part-*.parquet file here", lambda path: shutil.rmtree(next((path / "stages").glob("2_*")) / "data"))
    broken(folder, "spark-4.2/linear", "its checksum is not that of .part-", lambda path: intercept_change(data_of(path)))
    broken(folder, mlp, "no such directory", shutil.rmtree, 66)
    if "could not be written" not in call(GOLDEN / mlp, folder / "no" / "such" / "folder", 74):
        fail("a model file in a folder that does not exist")
    call(GOLDEN / mlp, folder / "called.safetensors")
    model_compare("on the command line", folder / "called.safetensors", "mlp", json.loads((GOLDEN / "spark-4.2/expected.json").read_text())["models"]["mlp"])
    if subprocess.run([sys.executable, EXPORT], stderr=subprocess.DEVNULL, check=False, timeout=60).returncode != 64:
        fail("no arguments are not wrong usage")


def without_pyarrow(folder):
    """The message says what to install."""
    done = subprocess.run([sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {str(EXPORT.parent)!r}); "
                           "import from_spark as it; sys.exit(it.program(it.__doc__, it.export))", GOLDEN / "spark-4.2/mlp", folder / "none.safetensors"],
                          capture_output=True, text=True, check=False, timeout=60)
    if done.returncode != 69 or "pip install pyarrow" not in done.stderr:
        fail(f"without pyarrow: exit code {done.returncode}\n{done.stderr}")


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        count = versions(folder)
        faults(folder)
        without_pyarrow(folder)
        print(f"{count} models of Spark")


main()
