#!/usr/bin/env python3
"""Writes quakes.jsonl, which is stored here already, from the file that the npm package vega-datasets brings: data/earthquakes.json.

All earthquakes that the U.S. Geological Survey reported between January 31 and February 7, 2018, the oldest first: time (milliseconds since 1970,
UTC), longitude and latitude in degrees, depth in kilometres, magnitude, and where that is in words. Explosions and quarry blasts, which that
report has too, are left out. The digits are those of the report; the same bytes everywhere.

    ./extract.py                    # fetches vega-datasets with npm, writes quakes.jsonl beside this script
    ./extract.py earthquakes.json   # from a file that is there
    ./extract.py earthquakes.json - # to standard output, or another file
"""
import glob
import hashlib
import json
import pathlib
import subprocess
import sys
import tarfile
import tempfile

PACKAGE, INSIDE = "vega-datasets@3.2.1", "package/data/earthquakes.json"
SHA256 = "a42702a83ffbae679f95d1fa53e2cae0bae13b21e599a68cdd50a44fc52129f7"


def fetched():
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["npm", "pack", "--silent", PACKAGE], cwd=folder, stdout=subprocess.DEVNULL, check=True)
        with tarfile.open(glob.glob(f"{folder}/*.tgz")[0]) as package:
            return package.extractfile(INSIDE).read()


def lines(content):
    quakes = [one for one in json.loads(content, parse_float=str)["features"] if one["properties"]["type"] == "earthquake"]
    for one in sorted(quakes, key=lambda one: (one["properties"]["time"], one["id"])):
        longitude, latitude, depth = one["geometry"]["coordinates"]
        facts = one["properties"]
        place = json.dumps(facts["place"])
        yield (f'{{"time":{facts["time"]},"longitude":{longitude},"latitude":{latitude},"depth":{depth},"magnitude":{facts["mag"]},'
               f'"place":{place}}}')


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
        pathlib.Path(*sys.argv[2:] or [pathlib.Path(__file__).parent / "quakes.jsonl"]).write_text(text, encoding="ascii")
    return 0


if __name__ == "__main__":
    sys.exit(main())
