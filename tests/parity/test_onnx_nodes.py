#!/usr/bin/env python3
"""The node tests of the onnx package, for the operators that millrace computes.

The package is onnx 1.22.0, the last release that has these tests; scripts/setup --tests brings it into .cache/onnx. Its cases are
made here from its own source and given to tests/onnx/nodes.c. Every case of a known operator is computed, or named with the
reason why not."""
import collections
import os
import pathlib
import struct
import subprocess
import sys
import tempfile
import warnings

ROOT = pathlib.Path(__file__).parents[2]
VERSION = "1.22.0"
LEAST = 758  # cases that must have passed: so that a package with fewer of them does not pass for this one

# Element types that no model which is scored here has.
UNREAD = {"FLOAT8E4M3FN", "FLOAT8E4M3FNUZ", "FLOAT8E5M2", "FLOAT8E5M2FNUZ", "FLOAT8E8M0", "FLOAT4E2M1", "UINT4", "INT4", "UINT2", "INT2",
          "COMPLEX64", "COMPLEX128"}
# Cases that must be refused: a part of their name, and what the refusal must say.
REFUSED = [("_ver26", "its opset is 26")]


def skip(reason):
    print(f"SKIP: {reason}")
    sys.exit(77)


def package_find():
    sys.path.insert(0, str(ROOT / ".cache" / "onnx" / VERSION))
    try:
        import onnx
    except ImportError:
        skip(f"the Python package onnx {VERSION} is not there (scripts/setup --tests)")
    if onnx.__version__ != VERSION:
        skip(f"onnx is {onnx.__version__} here, not {VERSION}")
    return onnx


def text(value):
    value = value.encode() if isinstance(value, str) else value
    return struct.pack("<I", len(value)) + value


def proto_of(onnx, value, info):
    """TensorProto bytes of a value; None when it is no tensor."""
    if isinstance(value, onnx.TensorProto):
        return value.SerializeToString()
    if not hasattr(value, "dtype"):
        return None
    tensor = onnx.numpy_helper.from_array(value)
    tensor.data_type = info.type.tensor_type.elem_type
    return tensor.SerializeToString()


def opset_raise(onnx, model):
    """A case that names the opset in which its operator came, as one of opset 9, where that operator is still the same."""
    first = model.opset_import[0]
    schemas = [onnx.defs.get_schema(node.op_type, 9, node.domain) for node in model.graph.node if first.version < 9]
    if schemas and not first.domain and all(schema.since_version <= first.version for schema in schemas):
        first.version = 9


def why_not(onnx, case, known):
    """Why a case is not computed at all; None when it is."""
    model = case.model
    ops = {node.op_type for node in model.graph.node}
    if ops - known:
        return "operator " + ", ".join(sorted(ops - known))
    if any(not port.type.HasField("tensor_type") for port in [*model.graph.input, *model.graph.output]):
        return "a sequence, map or optional value"
    ports = [*model.graph.input, *model.graph.output]
    unread = {onnx.TensorProto.DataType.Name(port.type.tensor_type.elem_type) for port in ports} & UNREAD
    if unread:
        return "type " + ", ".join(sorted(unread))
    if any(node.op_type in ("Dropout", "BatchNormalization") and "train" in case.name for node in model.graph.node):
        return "training mode"
    if model.functions:
        return "functions"
    return None


def main():
    onnx = package_find()
    warnings.simplefilter("ignore")
    from onnx.backend.test.case.node import collect_testcases

    runner = pathlib.Path(os.environ["BUILD_DIR"]) / "tests" / "onnx_nodes"
    known = set(subprocess.run([runner, "--operators"], check=True, capture_output=True, text=True).stdout.split())
    left, unknown, out, count = [], collections.Counter(), bytearray(), 0
    for case in collect_testcases(None):
        reason = why_not(onnx, case, known)
        if reason and reason.startswith("operator"):
            unknown[reason] += 1
            continue
        graph = case.model.graph
        inputs, outputs = case.data_sets[0]
        protos = [] if reason else [proto_of(onnx, value, info) for value, info in
                                    [*zip(inputs, graph.input), *zip(outputs, graph.output)]]
        if not reason and None in protos:
            reason = "a value that is no tensor"
        if reason:
            left.append(f"{case.name}: {reason}")
            continue
        refusal = next((says for part, says in REFUSED if part in case.name), "")
        opset_raise(onnx, case.model)
        out += text(case.name) + text(refusal) + struct.pack("<dd", case.rtol, case.atol)
        out += text(case.model.SerializeToString()) + struct.pack("<II", len(inputs), len(outputs))
        out += b"".join(text(proto) for proto in protos)
        count += 1
    for reason, cases in sorted(unknown.items()):
        print(f"left out {cases} of {reason}: not on the list")
    for line in left:
        print(f"left out {line}")
    with tempfile.NamedTemporaryFile(suffix=".cases") as file:
        file.write(out)
        file.flush()
        result = subprocess.run([runner, file.name], capture_output=True, text=True)
    print(result.stdout, result.stderr, end="", sep="")
    assert result.returncode == 0, "a case is not as expected"
    passed = int(result.stdout.splitlines()[-1].split()[0])
    assert passed >= LEAST, f"only {passed} of at least {LEAST} cases have passed"


main()
