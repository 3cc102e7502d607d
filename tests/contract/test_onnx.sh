#!/usr/bin/env bash
# ONNX files where model files stand: score, inspect, convert, backends and a job read them as what they are imported to.
set -euo pipefail
millrace=${MILLRACE:?} golden=tests/golden/onnx
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "FAILED: $*"; exit 1; }

rows='{"f0":0.5,"f1":-1,"f2":2,"f3":0.1,"f4":-0.3,"f5":1.5}
{"f0":-2,"f1":1,"f2":0,"f3":3,"f4":0.25,"f5":-1}'
features=f0,f1,f2,f3,f4,f5

# The name does not matter, and what convert writes scores the same, byte for byte.
for name in mlp_labels logistic_binary linear kmeans scaler; do
    cp "$golden/$name.onnx" "$work/$name"
    "$millrace" convert "$golden/$name.onnx" -o "$work/$name.safetensors" 2>"$work/err"
    for model in "$golden/$name.onnx" "$work/$name" "$work/$name.safetensors"; do
        "$millrace" score "$model" -F $features <<<"$rows" >"$work/scores"
        [ "$(wc -l <"$work/scores")" = 2 ] || fail "score $model"
        if [ -e "$work/first" ]; then cmp "$work/first" "$work/scores" || fail "$model scores something else"; fi
        cp "$work/scores" "$work/first"
    done
    rm "$work/first"
done
"$millrace" score "$golden/logistic_binary.onnx" -F $features <<<"$rows" | grep -q '"label":"5"' || fail "labels that are numbers"
"$millrace" score "$golden/columns.onnx" <<<"$rows" | grep -Eq '"label":"(low|mid|high)"' || fail "names of inputs as features"

"$millrace" inspect "$golden/mlp_labels.onnx" >"$work/text"
grep -q "origin    ONNX of skl2onnx .* nodes: Scaler, Cast, MatMul 3" "$work/text" || fail "inspect: origin"
grep -q "classes   high, low, mid" "$work/text" || fail "inspect: classes"
grep -q "layer 2   5 -> 3 softmax" "$work/text" || fail "inspect: layers"
grep -q "sha256 $(sha256sum "$golden/mlp_labels.onnx" | cut -d' ' -f1)" "$work/text" || fail "inspect: sha256"
"$millrace" inspect "$work/mlp_labels.safetensors" --json | grep -q '"origin":"ONNX of skl2onnx' || fail "convert: origin"
"$millrace" backends "$golden/linear.onnx" | grep -q "cpu:ref" || fail "backends"

# A job: the type is checked against what the graph is.
job='{"job":"j","source":{"type":"kafka","topics":["in"],"group":"g","properties":{"bootstrap.servers":"embedded"}},
"record":{"format":"json","features":["f0","f1","f2","f3","f4","f5"]},
"models":[{"name":"m","type":"TYPE","file":"'$PWD/$golden'/columns.onnx"}],
"emit":{"fields":{"label":"m.label"}},"sinks":[{"type":"console"}],"bad_records":{"drop":true}}'
echo "${job/TYPE/logistic}" >"$work/job.json"
"$millrace" check "$work/job.json" >"$work/out" 2>&1 || { cat "$work/out"; fail "check of a job with an ONNX model"; }
echo "${job/TYPE/kmeans}" >"$work/job.json"
code=0; "$millrace" check "$work/job.json" >"$work/out" 2>&1 || code=$?
[ $code = 78 ] && grep -q 'its millrace.type is "logistic", the job says "kmeans"' "$work/out" || fail "a type that the graph is not: $code"

# What is refused, and that no file is written then.
head -c 700 "$golden/mlp_labels.onnx" >"$work/cut.onnx"
code=0; "$millrace" convert "$work/cut.onnx" -o "$work/cut.safetensors" 2>"$work/err" || code=$?
[ $code = 65 ] && grep -q "cut.onnx.*not a whole ONNX file" "$work/err" && [ ! -e "$work/cut.safetensors" ] || fail "a file that is cut off: $code"
echo "no model" >"$work/text.onnx"
code=0; "$millrace" inspect "$work/text.onnx" 2>"$work/err" || code=$?
[ $code = 65 ] && grep -q "not a whole ONNX file" "$work/err" || fail "a text file: $code"
cp "$golden/torch_gelu.onnx" "$work/lonely.onnx"
code=0; "$millrace" inspect "$work/lonely.onnx" 2>"$work/err" || code=$?
[ $code = 66 ] && grep -q "torch_gelu.onnx.data.*Keep the file beside" "$work/err" || fail "external data that is missing: $code"
"$millrace" inspect "$golden/torch_gelu.onnx" | grep -q "6 -> 16 gelu" || fail "external data, GELU written out"
