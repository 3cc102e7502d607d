#!/usr/bin/env python3
"""Writes a made-up temperature series shaped like the machine temperature series of the Numenta Anomaly Benchmark.

22,695 readings at five minutes: six regimes of different level and fluctuation, a day's rhythm, a slow drift and four failure
windows. Nothing in it was measured. All arithmetic is on whole numbers (micro-degrees), so that every machine and every Python
writes the same bytes.

    ./standin.py | gzip -9n > standin.jsonl.gz     # what is stored
    ./standin.py --check standin.jsonl.gz          # is what is stored what this script writes?
"""
import gzip
import sys

READINGS = 22695
SEED = 20131202
DEGREE = 1_000_000
DAY = 288  # readings

# level, fluctuation (degrees), how long it lasts at least and at most (readings), how often it is chosen
REGIMES = (
    (55, 4, 60, 240, 8),
    (70, 3, 60, 300, 10),
    (84, 2, 120, 700, 25),
    (91, 2, 200, 900, 35),
    (99, 2, 120, 700, 22),
)
FAILURES = ((2290, 567), (3746, 567), (16102, 567), (19277, 567))  # first reading, length


class Random:
    """splitmix64: whole numbers only."""

    def __init__(self, seed):
        self.state = seed

    def bits(self):
        mask = (1 << 64) - 1
        self.state = (self.state + 0x9E3779B97F4A7C15) & mask
        z = self.state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        return z ^ (z >> 31)

    def below(self, limit):
        return self.bits() % limit

    def bell(self, amplitude):
        """Roughly normal with standard deviation amplitude: twelve even draws."""
        return sum(self.below(2 * amplitude + 1) - amplitude for _ in range(12)) * 1000 // 2000


def triangle(position, period, height):
    """0 at the start, height at half of the period, 0 at its end."""
    position %= period
    return height * 2 * min(position, period - position) // period


def series():
    random = Random(SEED)
    weights = [regime[4] for regime in REGIMES]
    level, swing, left = REGIMES[0][0], REGIMES[0][1], 120
    base, noise = level * DEGREE, 0
    for reading in range(READINGS):
        if left == 0:
            draw, chosen = random.below(sum(weights)), 0
            while draw >= weights[chosen]:
                draw -= weights[chosen]
                chosen += 1
            level, swing, shortest, longest, _ = REGIMES[chosen]
            left = shortest + random.below(longest - shortest)
        left -= 1
        target, amplitude = level, swing
        for first, length in FAILURES:
            # The first third of a window wavers, the second collapses, the last recovers.
            if first <= reading < first + length // 3:
                target, amplitude = level - 6, 3 * swing
            elif first + length // 3 <= reading < first + 2 * length // 3:
                target, amplitude = 26, 5
        base += (target * DEGREE - base) // 24
        noise = noise * 7 // 8 + random.bell(amplitude * DEGREE // 4)
        rhythm = triangle(reading, DAY, 3 * DEGREE) - 3 * DEGREE // 2
        drift = triangle(reading, 2 * READINGS, 4 * DEGREE) - 2 * DEGREE
        yield max(2 * DEGREE, min(108 * DEGREE + 999_999, base + noise + rhythm + drift))


def text(value):
    """Micro-degrees as the shortest decimal."""
    return f"{value // DEGREE}.{value % DEGREE:06d}".rstrip("0").ljust(len(str(value // DEGREE)) + 2, "0")


def lines():
    return "".join(f'{{"Temperature":{text(value)}}}\n' for value in series()).encode()


if __name__ == "__main__":
    if len(sys.argv) == 3 and sys.argv[1] == "--check":
        with gzip.open(sys.argv[2]) as stored:
            same = stored.read() == lines()
        print(sys.argv[2], "is" if same else "IS NOT", "what this script writes")
        sys.exit(0 if same else 1)
    if len(sys.argv) != 1:
        sys.exit(__doc__)
    sys.stdout.buffer.write(lines())
