#!/usr/bin/env python3
"""Writes labels and what was measured of them, for a model to find one from the other while it scores.

Each line is a key, a tab and a value: the label, uniform in 0..10, and the label with noise of standard deviation 1 (the sum of twelve
uniform numbers less 6). The noise sits in what is measured, so the best line is not label = value but what --least-squares prints. All
arithmetic is on whole numbers (ten-thousandths): every machine writes the same bytes.

    ./generate.py train    # 6,000 to learn from: train.tsv.gz
    ./generate.py test     # 1,500 others, to be scored alone: test.tsv.gz
    ./generate.py --least-squares
"""
import sys

COUNTS = {"train": 6000, "test": 1500}
UNIT = 10000  # fractions of one


def mixed(counter):
    """splitmix64 (Steele, Lea, Flood 2014) of a counter."""
    z = (counter + 1) * 0x9E3779B97F4A7C15 & (1 << 64) - 1
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & (1 << 64) - 1
    z = (z ^ z >> 27) * 0x94D049BB133111EB & (1 << 64) - 1
    return z ^ z >> 31


def record(topic, index):
    """Label and value in units."""
    at = 13 * (index + (1 << 20) * list(COUNTS).index(topic))
    label = mixed(at) % (10 * UNIT + 1)
    return label, label + sum(mixed(at + i) % UNIT for i in range(1, 13)) - 6 * UNIT


def text(value):
    sign, value = ("-", -value) if value < 0 else ("", value)
    return f"{sign}{value // UNIT}.{value % UNIT:04d}"


def least_squares():
    """Slope, intercept and mean squared error of the best line over the train records."""
    pairs = [(value / UNIT, label / UNIT) for label, value in (record("train", i) for i in range(COUNTS["train"]))]
    mean_x, mean_y = (sum(column) / len(pairs) for column in zip(*pairs))
    slope = sum((x - mean_x) * (y - mean_y) for x, y in pairs) / sum((x - mean_x) ** 2 for x, _ in pairs)
    intercept = mean_y - slope * mean_x
    return slope, intercept, sum((slope * x + intercept - y) ** 2 for x, y in pairs) / len(pairs)


def main():
    if sys.argv[1:] == ["--least-squares"]:
        print("slope %.6f, intercept %.6f, mean squared error %.6f" % least_squares())
        return 0
    if len(sys.argv) != 2 or sys.argv[1] not in COUNTS:
        sys.stderr.write(__doc__)
        return 64
    for index in range(COUNTS[sys.argv[1]]):
        print("\t".join(map(text, record(sys.argv[1], index))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
