#!/usr/bin/env python3
"""Makes datasets/*/dashboard.png anew: each demo's page as it is after a while, in a real Chromium. By hand, after the page has changed: tests/browser/pictures.py [NAME...]"""
import os
import pathlib
import signal
import subprocess
import sys
import threading

import chromium

ROOT = pathlib.Path(__file__).resolve().parents[2]
MILLRACE = os.environ.get("MILLRACE", str(ROOT / "build/millrace"))
SECONDS = {"ab": 100, "plane": 40}  # until there is something to see; 30 of the others
TYPED = {"ratings": "196"}  # into the page's field


def picture(browser, name):
    demo = subprocess.Popen([MILLRACE, "demo", name, "-q", "--http", "127.0.0.1:0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        address = demo.stdout.readline().strip()
        browser.size(1280, 1000)
        browser.open(address)
        browser.wait("document.getElementById('state').dataset.state === 'ok' && document.querySelectorAll('.panel').length > 5", f"{name} runs")
        if name in TYPED:
            browser.run(f"(() => {{ const field = document.querySelector('.panel input'); field.value = '{TYPED[name]}'; field.form.requestSubmit(); }})()")
        threading.Event().wait(SECONDS.get(name, 30))
        path = ROOT / "datasets" / name / "dashboard.png"
        browser.picture(path, whole=False)
        print(f"{path.relative_to(ROOT)}: {path.stat().st_size / 1000:.0f} kB")
    finally:
        demo.send_signal(signal.SIGINT)
        demo.wait(30)


def main():
    names = sys.argv[1:] or sorted(path.parent.name for path in (ROOT / "datasets").glob("*/demo.json"))
    browser = chromium.Chromium()
    try:
        for name in names:
            picture(browser, name)
    finally:
        browser.close()


main()
