#!/usr/bin/env python3
"""Writes ratings of 300 users for 400 items, one to five stars, or the events of a day on which users come by.

12,000 ratings at most, one a user and item at most. A user has tastes and a mood, an item has a kind and a standing; a rating is
their sum, rounded. All arithmetic is on whole numbers: every machine writes the same bytes.

    ./generate.py > ratings.csv           # user,item,rating
    ./generate.py --events > events.jsonl # {"uid":196}
"""
import sys

USERS, ITEMS, DRAWS, EVENTS, TASTES = 300, 400, 12000, 1000, 4


def mixed(*counters):
    """splitmix64 (Steele, Lea, Flood 2014) of some counters."""
    z = 0
    for counter in counters:
        z = (z + counter + 1) * 0x9E3779B97F4A7C15 & (1 << 64) - 1
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & (1 << 64) - 1
        z = (z ^ z >> 27) * 0x94D049BB133111EB & (1 << 64) - 1
        z ^= z >> 31
    return z


def spread(limit, *counters):
    """A whole number from -limit to limit."""
    return mixed(*counters) % (2 * limit + 1) - limit


def rating(user, item):
    """In hundredths, then rounded to stars."""
    tastes = sum(spread(10, 1, user, t) * spread(10, 2, item, t) for t in range(TASTES))
    value = 350 + spread(60, 3, user) + spread(90, 4, item) + tastes + spread(40, 5, user, item)
    return min(5, max(1, (value + 50) // 100))


def main():
    if sys.argv[1:] == ["--events"]:
        for event in range(EVENTS):
            print(f'{{"uid":{196 if event == 0 else 1 + mixed(7, event) % (USERS + 5)}}}')
        return 0
    if sys.argv[1:]:
        sys.stderr.write(__doc__)
        return 64
    seen = set()
    for draw in range(DRAWS):
        pair = 1 + mixed(8, draw) % USERS, 1 + min(mixed(9, draw) % ITEMS, mixed(10, draw) % ITEMS)
        if pair not in seen:
            print(f"{pair[0]},{pair[1]},{rating(*pair)}")
        seen.add(pair)
    return 0


if __name__ == "__main__":
    sys.exit(main())
