"""What a page shows, seen by a browser that is on it: whether panels draw, whether charts have units; pictures of it."""
import json
import os
import pathlib
import sys
import threading
import time

DEADLINE_S = 60


def fail(text):
    sys.exit(f"FAIL: {text}")


def expect(is_true, text):
    if not is_true:
        fail(text)


def drawn(browser, panel):
    """Whether a panel shows something: marks on its canvas beside axes, or cells in its table."""
    return browser.run(f"""(() => {{
      const panel = document.getElementById({json.dumps(panel)});
      if (!panel) return "is not there";
      const canvas = panel.querySelector("canvas");
      if (!canvas && panel.querySelector("table")) return panel.querySelectorAll("td").length || panel.textContent.includes("none so far") ? "" : "has no cells";
      if (!canvas) return "has no picture";
      const pen = canvas.getContext("2d"), bits = pen.getImageData(0, 0, canvas.width, canvas.height).data, colours = new Set();
      for (let i = 0; i < bits.length; i += 4) if (bits[i + 3] > 60 && Math.max(bits[i], bits[i + 1], bits[i + 2]) - Math.min(bits[i], bits[i + 1], bits[i + 2]) > 60)
        colours.add(`${{bits[i] >> 5}},${{bits[i + 1] >> 5}},${{bits[i + 2] >> 5}}`);
      return colours.size ? "" : "has axes alone";
    }})()""")


def wait_drawn(browser, panel):
    """Brings the panel into view, for others are not drawn, and waits until it shows something."""
    deadline = time.monotonic() + DEADLINE_S
    browser.run(f"document.getElementById({json.dumps(panel)})?.scrollIntoView()")
    while trouble := drawn(browser, panel):
        expect(time.monotonic() < deadline, f"panel {panel} {trouble}")
        threading.Event().wait(0.1)


def units_shown(browser):
    """Panels whose axes have no words."""
    return browser.run("""[...document.querySelectorAll(".panel")].filter(panel => panel.querySelector(".u-wrap") && panel.querySelectorAll(".u-axis").length < 2).map(panel => panel.id)""")


def picture(browser, name):
    folder = os.environ.get("MILLRACE_PICTURES")
    if folder:
        browser.run("scrollTo(0, 0)")
        browser.picture(pathlib.Path(folder) / f"{name}.png")
