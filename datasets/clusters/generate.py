#!/usr/bin/env python3
"""Writes points around four centres that wander, for a k-means that follows them.

20,000 points of two numbers. Every centre moves in a straight line from where it starts to where it ends (--truth); a point lies
within +-1 of its centre's place at that moment, in both directions. All arithmetic is on whole numbers (thousandths): every machine
writes the same bytes.

    ./generate.py > points.jsonl
    ./generate.py --truth             # where the centres are at the end
"""
import sys

POINTS = 20000
UNIT = 1000
START = ((-10, 0), (10, 0), (0, 10), (0, -10))
END = ((-10, 8), (10, -8), (8, 10), (-8, -10))


def mixed(counter):
    """splitmix64 (Steele, Lea, Flood 2014) of a counter."""
    z = (counter + 1) * 0x9E3779B97F4A7C15 & (1 << 64) - 1
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & (1 << 64) - 1
    z = (z ^ z >> 27) * 0x94D049BB133111EB & (1 << 64) - 1
    return z ^ z >> 31


def point(index):
    """Number of the centre, x, y in units."""
    which = mixed(3 * index) % len(START)
    place = [a * UNIT + (b - a) * UNIT * index // POINTS for a, b in zip(START[which], END[which])]
    return which, *(p + mixed(3 * index + 1 + axis) % (2 * UNIT + 1) - UNIT for axis, p in enumerate(place))


def text(value):
    sign, value = ("-", -value) if value < 0 else ("", value)
    return f"{sign}{value // UNIT}.{value % UNIT:03d}"


def main():
    if sys.argv[1:] == ["--truth"]:
        for x, y in END:
            print(x, y)
        return 0
    if sys.argv[1:]:
        sys.stderr.write(__doc__)
        return 64
    for index in range(POINTS):
        which, x, y = point(index)
        print(f'{{"from":{which},"x":{text(x)},"y":{text(y)}}}')
    return 0


if __name__ == "__main__":
    sys.exit(main())
