#!/usr/bin/env python3
"""How long a newcomer waits: from the command `millrace demo NAME` to its page, to the first chart in it, and to one that has moved, in a real
Chromium that is open already. Of each demo a few runs; seconds, least to most.

    bench/demo.py [NAME...] [--runs N]
"""
import argparse
import os
import pathlib
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
MILLRACE = os.environ.get("MILLRACE", str(ROOT / "build/millrace"))
DEADLINE_S = 30
sys.path.insert(0, str(ROOT / "tests/browser"))
import chromium  # noqa: E402

# A sum over the bits of the panels' pictures; 0 while none of them shows a colour.
DRAWN = """(() => {
  let sum = 0;
  for (const canvas of document.querySelectorAll(".panel canvas")) {
    if (!canvas.width) continue;
    const bits = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
    for (let i = 0; i < bits.length; i += 4)
      if (bits[i + 3] > 60 && Math.max(bits[i], bits[i + 1], bits[i + 2]) - Math.min(bits[i], bits[i + 1], bits[i + 2]) > 60) sum = (sum * 31 + i) >>> 0;
  }
  return sum;
})()"""


def picture(browser):
    """Of what is drawn; 0 where there is nothing, or no page yet."""
    try:
        return browser.run(DRAWN)
    except RuntimeError:
        return 0


def run(browser, name):
    """Seconds from the command to the address, to a chart, and to one that is another."""
    began = time.monotonic()
    process = subprocess.Popen([MILLRACE, "demo", name, "-q", "--http", "127.0.0.1:0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        browser.open(process.stdout.readline().strip())
        told = time.monotonic() - began
        first, moved, before = None, None, 0
        while not moved:
            if time.monotonic() - began > DEADLINE_S:
                sys.exit(f"{name}: no chart moves within {DEADLINE_S} s")
            now = picture(browser)
            if now and not first:
                first, before = time.monotonic() - began, now
            elif now and now != before:
                moved = time.monotonic() - began
        return told, first, moved
    finally:
        process.terminate()
        process.stdout.read()
        process.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=sorted(path.parent.name for path in ROOT.glob("datasets/*/demo.json")))
    parser.add_argument("--runs", type=int, default=5)
    words = parser.parse_args()
    try:
        browser = chromium.Chromium()
    except chromium.Missing as reason:
        print(f"SKIP: {reason}")
        sys.exit(77)
    print(f"{'demo':12} {'page':>13} {'first chart':>13} {'it has moved':>13}   seconds, target of the last: 3")
    try:
        for name in words.names:
            runs = list(zip(*(run(browser, name) for _ in range(words.runs))))
            print(f"{name:12} " + " ".join(f"{min(one):5.2f} to {max(one):4.2f}" for one in runs))
    finally:
        browser.close()


if __name__ == "__main__":
    main()
