#!/usr/bin/env python3
"""millrace score: every format gives the scores of a plain Python forward pass; blocks, bad rows, long lines and exit codes."""
import json
import math
import os
import random
import struct
import subprocess
import sys
import tempfile

PROGRAM = os.environ["MILLRACE"]
MODEL = "datasets/temperature/regime.safetensors"


def fail(text):
    print("FAIL:", text)
    sys.exit(1)


def score(data, *flags, exit_code=0):
    done = subprocess.run([PROGRAM, "score", MODEL, *flags], input=data, capture_output=True)
    if done.returncode != exit_code:
        fail(f"{flags}: exit {done.returncode}, expected {exit_code}: {done.stderr[:500]}")
    return done.stdout.decode(), done.stderr.decode()


def tensors(path):
    data = open(path, "rb").read()
    header_bytes = struct.unpack("<Q", data[:8])[0]
    header, rest = json.loads(data[8 : 8 + header_bytes]), data[8 + header_bytes :]
    out = {}
    for name, tensor in header.items():
        if name != "__metadata__":
            first, last = tensor["data_offsets"]
            item = {"F32": "f", "F64": "d"}[tensor["dtype"]]
            out[name] = tensor["shape"], struct.unpack(f"<{(last - first) // struct.calcsize(item)}{item}", rest[first:last])
    return out


def forward(model, temperature):
    """Probabilities in double precision."""
    x = [(temperature - model["input.mean"][1][0]) / model["input.scale"][1][0]]
    for layer in range(3):
        (rows, cols), w = model[f"layer.{layer}.weight"]
        z = [sum(w[r * cols + c] * x[c] for c in range(cols)) + model[f"layer.{layer}.bias"][1][r] for r in range(rows)]
        x = [1 / (1 + math.exp(-v)) for v in z] if layer < 2 else [math.exp(v - max(z)) for v in z]
    return [v / sum(x) for v in x]


def check_formats(model):
    random.seed(3)
    values = [round(random.uniform(0, 120), 3) for _ in range(10007)]
    values = [struct.unpack("<f", struct.pack("<f", v))[0] for v in values]
    flags = ["-e", "p=model.probabilities", "-e", "c=model"]
    lines = "".join('{"id":%d,"Temperature":%.9g}\n' % (i, v) for i, v in enumerate(values))
    from_json, _ = score(lines.encode(), *flags)
    rows = [json.loads(line) for line in from_json.splitlines()]
    if len(rows) != len(values):
        fail(f"{len(rows)} rows for {len(values)}")
    for value, row in zip(values, rows):
        want = forward(model, value)
        if max(abs(a - b) for a, b in zip(want, row["p"])) > 1e-4:
            fail(f"{value}: {row['p']}, expected {want}")
        if want[row["c"]] < max(want) - 1e-4:
            fail(f"{value}: class {row['c']}, expected {want}")
    csv = "id,Temperature\r\n" + "".join("%d,%.9g\r\n" % (i, v) for i, v in enumerate(values))
    named = score(csv.encode(), "-f", "csv", *flags)[0]
    numbered = score(csv.split("\n", 1)[1].encode(), "-f", "csv", "-F", "2", *flags)[0]
    columns = score(csv.split("\n", 1)[1].encode(), "-f", "csv", "--record", "columns=id,Temperature", *flags)[0]
    packed = score(struct.pack(f"<{len(values)}f", *values), "-f", "f32", *flags)[0]
    for name, other in ("csv by name", named), ("csv by number", numbered), ("csv with columns", columns), ("f32", packed):
        if other != from_json:
            fail(f"{name} gives other scores than json")
    # A file says by its name what it is.
    for end, text in ((".jsonl", lines), (".csv", csv), (".tsv", csv.replace(",", "\t")), (".txt", lines)):
        with tempfile.NamedTemporaryFile(suffix=end) as file:
            file.write(text.encode())
            file.flush()
            if score(b"", file.name, *flags)[0] != from_json:
                fail(f"a {end} file gives other scores than a pipe")
    with tempfile.NamedTemporaryFile(suffix=".csv") as file:
        if "it is empty: the first line must name the columns" not in score(b"", file.name, exit_code=65)[1]:
            fail("an empty CSV file is not told")


def check_blocks():
    """Rows of all lengths across the ends of blocks; quoted line breaks; the last line without its end."""
    random.seed(5)
    lines, want = ["id,text,Temperature\n"], []
    for i in range(60000):
        pad = random.choice(["a" * random.randrange(300), '"x\n' + "y" * random.randrange(300) + '\n,""\n"'])
        lines.append(f"{i},{pad},50\n")
        want.append(f'{{"id":{i}}}')
    data = "".join(lines).rstrip("\n").encode()
    if len(data) < 9 << 20:
        fail("too little data for three blocks")
    got = score(data, "-f", "csv", "-e", "id=id")[0]
    if got.splitlines() != want:
        fail("rows are lost, doubled or cut at the end of a block")


def check_logits():
    """A network that ends in sums has scores, and nothing that is called a probability."""
    with tempfile.TemporaryDirectory() as folder:
        path, rows = os.path.join(folder, "logits.safetensors"), os.path.join(folder, "rows.csv")
        header = {"__metadata__": {"millrace.type": "mlp", "millrace.activations": '["identity"]', "millrace.labels": '["u","v","w"]',
                                   "millrace.features": '["a","b"]'},
                  "layer.0.weight": {"dtype": "F32", "shape": [3, 2], "data_offsets": [0, 24]}, "layer.0.bias": {"dtype": "F32", "shape": [3], "data_offsets": [24, 36]}}
        text = json.dumps(header).encode()
        with open(path, "wb") as file:
            file.write(struct.pack("<Q", len(text)) + text + struct.pack("<9f", 1, 0, 0, 1, 0.5, 0.5, 0, 0, 0))
        with open(rows, "w", encoding="ascii") as file:
            file.write("a,b,y\n1,2,v\n3,1,w\n")

        def call(*words):
            return subprocess.run([PROGRAM, *words], capture_output=True, text=True, check=False)
        done = call("score", path, rows)
        if done.stdout != '{"prediction":1,"label":"v","scores":[1,2,1.5]}\n{"prediction":0,"label":"u","scores":[3,1,2]}\n':
            fail(f"logits: {done.stdout}{done.stderr}")
        done = call("score", path, rows, "-e", "p=model.probability")
        if done.returncode != 64 or "are no probabilities" not in done.stderr:
            fail(f"logits: exit {done.returncode}: {done.stderr}")
        done = call("eval", path, rows, "--label", "y")
        if "accuracy                      0.5" not in done.stdout or "no log loss" not in done.stdout:
            fail(f"eval of logits: {done.stdout}{done.stderr}")


def check_bad_rows():
    long = b'{"Temperature":1,"pad":"' + b"x" * (9 << 20) + b'"}\n'
    data = b'{"Temperature":1}\n\nnonsense\n' + long + b'{"Temperature":"warm"}\n{"Temperature":2}\n{}\n{"Temperature":1e39}\n{"Temperature":3}'
    out, talk = score(data, "-e", "t=Temperature", "--json", exit_code=65)
    if [json.loads(line)["t"] for line in out.splitlines()] != [1, 2, 3]:
        fail(f"good rows among bad ones: {out}")
    talk = talk.splitlines()
    for line in ("line 3: syntax", "line 4: size", 'line 5: type: field "Temperature"', "line 7: missing", "line 8: range"):
        if not any(line in t for t in talk):
            fail(f"expected {line!r} in {talk}")
    report = json.loads(next(t for t in talk if t.startswith("{")))
    if (report["scored"], report["bad"], report["reasons"]) != (3, 5, {"syntax": 1, "missing": 1, "type": 1, "range": 1, "size": 1}):
        fail(f"report: {report}")
    talk = score(b"x\n" * 1000, "--errors-max", "2", exit_code=65)[1].splitlines()
    if sum("syntax" in t for t in talk) != 2 or "1000 of 1000" not in talk[-1]:
        fail(f"many bad rows: {talk[:5]} ... {talk[-1]}")
    talk = score(struct.pack("<3f", 1, math.nan, 2) + b"ab", "-f", "f32", exit_code=65)[1]
    if "row 2: range" not in talk:
        fail(f"packed rows: {talk}")


def check_errors():
    for flags, code, text in (
        (["-F", "a,b"], 64, "takes 1 features, record.features gives 2"),
        (["-F", "Temprature"], 64, "Temperature"),
        (["-e", "p=model.clas"], 64, 'did you mean "model.class"'),
        (["--floats", "many"], 64, "fixed:N"),
        (["--backend", "cpu:none"], 69, "no such variant"),
        (["--record", "delimiter=;"], 64, ""),
        (["-f", "csv", "--record", "delimter=;"], 64, "delimiter"),
        (["/nonexistent/rows"], 66, "No such file"),
    ):
        talk = score(b'{"Temperature":1}\n', *flags, exit_code=code)[1]
        if text not in talk:
            fail(f"{flags}: expected {text!r} in {talk!r}")
    done = subprocess.run([PROGRAM, "score", "/nonexistent.safetensors"], input=b"", capture_output=True)
    if done.returncode != 66:
        fail(f"no model: exit {done.returncode}: {done.stderr}")
    if score(b"")[0] != "":
        fail("no input gives no output")


def check_distance():
    """A k-means model has classes, and a squared distance that is no probability."""
    header = json.dumps({"__metadata__": {"millrace.type": "kmeans", "millrace.features": '["x","y"]'},
                         "centers": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}}).encode()
    with tempfile.NamedTemporaryFile(suffix=".safetensors") as file:
        file.write(struct.pack("<Q", len(header)) + header + struct.pack("<4f", 0, 0, 10, 10))
        file.flush()
        command = [PROGRAM, "score", file.name]
        done = subprocess.run(command, input=b'{"x":3,"y":4}\n{"x":10,"y":8}\n', capture_output=True)
        rows = [json.loads(line) for line in done.stdout.splitlines()]
        if rows != [{"prediction": 0, "distance": 25}, {"prediction": 1, "distance": 4}]:
            fail(f"k-means: {rows} {done.stderr}")
        done = subprocess.run([*command, "-e", "p=model.probability"], input=b"", capture_output=True)
        if done.returncode != 64 or b'use "model.class"' not in done.stderr:
            fail(f"a probability of k-means: exit {done.returncode}: {done.stderr}")


check_formats(tensors(MODEL))
check_logits()
check_blocks()
check_bad_rows()
check_errors()
check_distance()
print("ok")
