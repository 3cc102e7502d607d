#!/usr/bin/env python3
"""millrace compare and score --expect: errors, worst rows, classes, exit codes; against numbers that are worked out here."""
import json
import os
import pathlib
import random
import struct
import subprocess
import sys
import tempfile

PROGRAM = os.environ["MILLRACE"]
MODELS = pathlib.Path("tests/golden/models")
MLP = MODELS / "mlp_relu.safetensors"
ROWS = 5000  # more than a block


def fail(text):
    print("FAIL:", text)
    sys.exit(1)


def run(*arguments, data=b"", code=0):
    done = subprocess.run([PROGRAM, *map(str, arguments)], input=data, capture_output=True)
    if done.returncode != code:
        fail(f"{arguments}: exit {done.returncode}, expected {code}: {done.stdout[-300:]} {done.stderr.decode()[-600:]}")
    return done.stdout.decode(), done.stderr.decode()


def rows_make(folder):
    random.seed(4)
    path = folder / "rows.csv"
    lines = ["f5,f4,f3,f2,f1,f0"] + [",".join("%.4f" % random.gauss(0, 2) for _ in range(6)) for _ in range(ROWS)]
    path.write_text("\n".join(lines) + "\n")
    return path


def probabilities(model, rows):
    out, _ = run("score", model, rows, "-f", "csv", "-e", "p=model.probabilities", "-e", "c=model.class")
    return [json.loads(line) for line in out.splitlines()]


def check_models(folder, rows):
    """Two models against the scores of each by itself."""
    other = MODELS / "mlp_tanh.safetensors"
    out = json.loads(run("compare", MLP, other, rows, "--json", "--worst", "7", code=1)[0])
    a, b = probabilities(MLP, rows), probabilities(other, rows)
    errors = [max(abs(p - q) for p, q in zip(x["p"], y["p"])) for x, y in zip(a, b)]
    relative = [e / max(*x["p"], *y["p"]) for e, x, y in zip(errors, a, b)]
    for key, want in (("error_max", max(errors)), ("error_mean", sum(errors) / ROWS), ("relative_max", max(relative)),
                      ("relative_mean", sum(relative) / ROWS)):
        if abs(out[key] - want) > 1e-6 * want:
            fail(f"{key} {out[key]}, worked out {want}")
    worst = sorted(range(ROWS), key=lambda i: -relative[i])[:7]
    if [w["row"] for w in out["worst"]] != [i + 1 for i in worst]:
        fail(f"worst rows {out['worst']}, worked out {worst}")
    if [w["class_b"] for w in out["worst"]] != [b[i]["c"] for i in worst]:
        fail("classes of the worst rows")
    same = sum(x["c"] == y["c"] for x, y in zip(a, b))
    if out["rows"] != ROWS or out["classes_same"] != same or same + out["classes_other"] + out["classes_undecided"] != ROWS:
        fail(f"classes {out}, the same {same}")
    if out["rows_past"] != sum(r > 1e-5 for r in relative):
        fail("rows past the tolerance")
    wide = json.loads(run("compare", MLP, other, rows, "--json", "--tolerance", "1")[0])
    if wide["classes_undecided"] != ROWS - same or wide["classes_other"]:
        fail("with a tolerance of 1 each class is undecided")
    text, talk = run("compare", MLP, other, rows, code=1)
    if "further apart than --tolerance 1e-05 allows" not in talk or f"row {worst[0] + 1}:" not in text:
        fail(f"{text} {talk}")


def check_backends(rows):
    out = json.loads(run("compare", MLP, rows, "--backend", "cpu:base,cpu:ref", "--json")[0])
    if "cpu:base" not in out["a"] or "cpu:ref" not in out["b"] or out["classes_same"] != ROWS or out["relative_max"] == 0:
        fail(f"backends: {out}")
    run("compare", MLP, rows, "--backend", "cpu:base,cpu:ref", "--tolerance", "1e-12", code=1)
    run("compare", MLP, MLP, rows, "--tolerance", "0")


def check_names(folder):
    """Features are matched by name: a model that reads the same ones in another order."""
    def linear(name, features, weight):
        header = json.dumps({"__metadata__": {"millrace.type": "linear", "millrace.features": json.dumps(features)},
                             "weight": {"dtype": "F32", "shape": [1, len(weight)], "data_offsets": [0, 4 * len(weight)]},
                             "bias": {"dtype": "F32", "shape": [1], "data_offsets": [4 * len(weight), 4 * len(weight) + 4]}}).encode()
        header += b" " * (-len(header) % 8)
        path = folder / name
        path.write_bytes(struct.pack("<Q", len(header)) + header + struct.pack(f"<{len(weight) + 1}f", *weight, 0.5))
        return path
    a, b = linear("a.safetensors", ["x", "y"], [1, 2]), linear("b.safetensors", ["y", "x"], [2, 1])
    wide = linear("c.safetensors", ["y", "z", "x"], [2, 0, 1])
    data = folder / "names.csv"
    data.write_text("z,y,x\n7,1,2\n8,3,4\n")
    for other in (b, wide):
        run("compare", a, other, data, "--tolerance", "0")
    run("compare", a, b, data, "-F", "x,y", code=1)  # by place
    if "reads 2 features" not in run("compare", a, wide, data, "-F", "x,y", code=64)[1]:
        fail("another number of features")
    if "nothing to compare" not in run("compare", a, MLP, data, code=64)[1]:
        fail("other outputs")


def check_expected(folder, rows):
    values = probabilities(MLP, rows)
    jsonl, csv, packed = folder / "p.jsonl", folder / "p.csv", folder / "p.f32"
    jsonl.write_text("".join(json.dumps(v) + "\n" for v in values))
    csv.write_text("a,b,c,d\n" + "".join(",".join(map(repr, v["p"])) + "\n" for v in values))
    packed.write_bytes(b"".join(struct.pack("<4f", *v["p"]) for v in values))
    for flags in ((jsonl, "--expect-fields", "p[0..3]"), (csv,), (packed,)):
        out = json.loads(run("compare", MLP, rows, "--json", "--expect", *flags)[0])
        if out["rows"] != ROWS or out["error_max"] > 1e-7 or out["classes_same"] != ROWS:
            fail(f"{flags}: {out}")
        scored, talk = run("score", MLP, rows, "-f", "csv", "--json", "--expect", *flags)
        if len(scored.splitlines()) != ROWS or json.loads(talk.splitlines()[-1])["error_max"] > 1e-7:
            fail(f"score {flags}: {talk}")
    values[4321]["p"][2] += 0.25
    jsonl.write_text("".join(json.dumps(v) + "\n" for v in values))
    for command in (("compare", MLP, rows), ("score", MLP, rows, "-f", "csv")):
        text, talk = run(*command, "--expect", jsonl, "--expect-fields", "p[0..3]", code=1)
        if "row 4322 most" not in talk or "row 4322: 0.25 apart" not in text + talk:
            fail(f"{command}: {talk}")
    csv.write_text("a,b,c,d\n" + "".join(",".join(map(repr, v["p"])) + "\n" for v in values[:-1]))
    for command in (("compare", MLP, rows), ("score", MLP, rows, "-f", "csv")):
        if "fewer rows" not in run(*command, "--expect", csv, code=65)[1]:
            fail("a row is missing")
    packed.write_bytes(packed.read_bytes() + bytes(16))
    if "more rows" not in run("compare", MLP, rows, "--expect", packed, code=65)[1]:
        fail("a row too many")
    if "--expect-fields" not in run("compare", MLP, rows, "--expect", csv, "--expect-fields", "a,b", code=64)[1]:
        fail("too few fields")
    run("compare", MLP, rows, "--expect", csv, "--bad-rows", "skip", code=64)
    bad = rows.read_bytes() + b"1,2,3,4,5,x\n"
    if "nothing to hold against" not in run("score", MLP, "-f", "csv", "--expect", jsonl, "--expect-fields", "p[0..3]", data=bad, code=65)[1]:
        fail("a bad row under --expect")


def check_single(folder):
    """One output for two classes: the probability of the second, or of both, may be expected."""
    model = MODELS / "logistic_binary.safetensors"
    header = json.loads(model.read_bytes()[8 : 8 + struct.unpack("<Q", model.read_bytes()[:8])[0]])
    names = json.loads(header["__metadata__"]["millrace.features"])
    rows, one, two = folder / "one.csv", folder / "p1.csv", folder / "p2.csv"
    random.seed(5)
    rows.write_text("\n".join([",".join(names)] + [",".join("%.3f" % random.gauss(0, 1) for _ in names) for _ in range(100)]) + "\n")
    out, _ = run("score", model, rows, "-f", "csv", "-e", "p=model.scores[0]")
    values = [json.loads(line)["p"] for line in out.splitlines()]
    one.write_text("p\n" + "".join(f"{p!r}\n" for p in values))
    two.write_text("n,p\n" + "".join(f"{1 - p!r},{p!r}\n" for p in values))
    for path in (one, two):
        out = json.loads(run("compare", model, rows, "--expect", path, "--json")[0])
        if out["classes_same"] != 100:
            fail(f"{path}: {out}")


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        rows = rows_make(folder)
        check_models(folder, rows)
        check_backends(rows)
        check_names(folder)
        check_expected(folder, rows)
        check_single(folder)
        if "compare with what" not in run("compare", MLP, code=64)[1]:
            fail("one word alone")
        if "no rows" not in run("compare", MLP, MLP, "-f", "csv", data=rows.read_bytes().split(b"\n")[0] + b"\n", code=65)[1]:
            fail("no rows")


main()
