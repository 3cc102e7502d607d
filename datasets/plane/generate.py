#!/usr/bin/env python3
"""Writes points of a noisy plane, y = 3.2 x1 + 0.6 x2, for a model to find the two numbers while it scores.

Each record has x1 and x2; nine of ten have y, the label. y is uniform in 1..1000, x2 in 1..100, x1 = (y - 0.6 x2) / 3.2 times
1 +- 0.1: the noise sits in x1, so least squares does not find 3.2 and 0.6 but what --least-squares prints. All arithmetic is on whole
numbers (ten-thousandths): every machine writes the same bytes.

    ./generate.py > plane.jsonl            # 20,000 points
    ./generate.py --records, --answers     # the same in two: an id, x1 and x2; and the id with y where there is one
    ./generate.py --csv                    # the first 9,000 as y,x1,x2, all with y: points.csv.gz
    ./generate.py --files FOLDER           # these in files of 60, two a second, each moved in as a whole
    ./generate.py --least-squares          # what the coefficients converge to
"""
import os
import sys
import time

POINTS = 20000
CSV_POINTS = 9000
FILE_POINTS, FILE_SECONDS = 60, 0.5
UNIT = 10000  # fractions of one


def mixed(counter):
    """splitmix64 (Steele, Lea, Flood 2014) of a counter."""
    z = (counter + 1) * 0x9E3779B97F4A7C15 & (1 << 64) - 1
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & (1 << 64) - 1
    z = (z ^ z >> 27) * 0x94D049BB133111EB & (1 << 64) - 1
    return z ^ z >> 31


def point(index):
    """y, x1, x2 in units."""
    y = (1 + mixed(4 * index) % 1000) * UNIT
    x2 = UNIT + mixed(4 * index + 1) % (99 * UNIT)
    noise = mixed(4 * index + 2) % 200001 - 100000  # millionths
    x1 = (10 * y - 6 * x2) * (1000000 + noise) // 32000000
    return y, x1, x2


def text(value):
    sign, value = ("-", -value) if value < 0 else ("", value)
    return f"{sign}{value // UNIT}.{value % UNIT:04d}"


def least_squares():
    a = b = c = d = e = 0
    for index in range(POINTS):
        y, x1, x2 = (value / UNIT for value in point(index))
        a, b, c, d, e = a + x1 * x1, b + x1 * x2, c + x2 * x2, d + x1 * y, e + x2 * y
    return (c * d - b * e) / (a * c - b * b), (a * e - b * d) / (a * c - b * b)


def files(folder):
    """Written under a hidden name and renamed: who watches the folder never sees half a file."""
    for first in range(0, CSV_POINTS, FILE_POINTS):
        hidden = os.path.join(folder, ".points")
        with open(hidden, "w", encoding="ascii") as file:
            for index in range(first, first + FILE_POINTS):
                file.write(",".join(map(text, point(index))) + "\n")
        os.rename(hidden, os.path.join(folder, f"points-{first // FILE_POINTS:03}.csv"))
        time.sleep(FILE_SECONDS)


def main():
    if sys.argv[1:] == ["--least-squares"]:
        print("%.6f %.6f" % least_squares())
        return 0
    if sys.argv[1:2] == ["--files"] and len(sys.argv) == 3:
        files(sys.argv[2])
        return 0
    if sys.argv[1:] == ["--csv"]:
        for index in range(CSV_POINTS):
            print(",".join(map(text, point(index))))
        return 0
    if sys.argv[1:] not in ([], ["--records"], ["--answers"]):
        sys.stderr.write(__doc__)
        return 64
    for index in range(POINTS):
        y, x1, x2 = point(index)
        has_label = index % 10 != 9
        if sys.argv[1:] == ["--records"]:
            print(f'{{"id":{index},"x1":{text(x1)},"x2":{text(x2)}}}')
        elif sys.argv[1:] == ["--answers"]:
            if has_label:
                print(f'{{"id":{index},"y":{text(y)}}}')
        else:
            label = f',"y":{text(y)}' if has_label else ""
            print(f'{{"x1":{text(x1)},"x2":{text(x2)}{label}}}')
    return 0


if __name__ == "__main__":
    sys.exit(main())
