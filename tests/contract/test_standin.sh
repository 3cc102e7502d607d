#!/usr/bin/env bash
# The stored stand-in series is what its script writes, and the golden answers are about it and about the stored network.
set -euo pipefail
cd "$(dirname "$0")/../.."

command -v python3 >/dev/null || { echo "SKIP: python3 is not installed"; exit 77; }
datasets/temperature/standin.py --check datasets/temperature/standin.jsonl.gz

expected=tests/golden/temperature/expected.json
for bytes in "$(sha256sum <datasets/temperature/regime.safetensors)" "$(gunzip -c datasets/temperature/standin.jsonl.gz | sha256sum)"; do
    grep -q "\"${bytes%% *}\"" "$expected" || {
        echo "FAIL: $expected was made from other data or weights; run tests/golden/temperature/make.py" >&2
        exit 1
    }
done
echo "stand-in, network and golden answers belong together"
