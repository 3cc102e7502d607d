#!/usr/bin/env bash
# inspect and backends: what they say of a known model, as text and as JSON, and how they refuse.
set -euo pipefail
millrace=${MILLRACE:?} model=datasets/temperature/regime.safetensors
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "FAILED: $*"; exit 1; }

"$millrace" inspect "$model" >"$work/text"
grep -q "mlp, version 1, 1 feature -> 6 classes" "$work/text" || fail "inspect: first line"
grep -q "6 -> 8 sigmoid" "$work/text" || fail "inspect: layers"
grep -q "122 parameters, 204 operations a row" "$work/text" || fail "inspect: cost"
grep -q "sha256 $(sha256sum "$model" | cut -d' ' -f1)" "$work/text" || fail "inspect: sha256"

"$millrace" inspect "$model" --json >"$work/json"
grep -q '"parameter_count":122,"flops_per_row":204' "$work/json" || fail "inspect --json: cost"
grep -q '"labels":\["0","1",' "$work/json" || fail "inspect --json: labels"

code=0; "$millrace" inspect README.md >"$work/out" 2>"$work/err" || code=$?
[ $code = 65 ] && grep -q "not a safetensors file" "$work/err" && [ ! -s "$work/out" ] || fail "inspect of a text file: $code"
code=0; "$millrace" inspect /nonexistent 2>"$work/err" || code=$?
[ $code = 66 ] && grep -q "/nonexistent" "$work/err" || fail "inspect of nothing: $code"

"$millrace" backends >"$work/text"
grep -Eq "^cpu +cpu:[a-z0-9]+, [0-9]+ core" "$work/text" || fail "backends: cpu"
grep -Eq "mlp_forward +uses [a-z0-9]+; can also run .*ref" "$work/text" || fail "backends: operations"
"$millrace" backends "$model" --json >"$work/json"
grep -q '"backend":"cpu:ref","rows":8192,"ns":[0-9]' "$work/json" || fail "backends --json: figures"
code=0; "$millrace" backends README.md 2>"$work/err" || code=$?
[ $code = 65 ] || fail "backends with a text file: $code"
