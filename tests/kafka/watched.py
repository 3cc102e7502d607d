"""The page of a job on a real broker, watched by a real Chromium: what the tests of the shipped jobs share."""
import contextlib
import os
import re
import sys

from rig import ROOT, Skip, expect

sys.path.insert(0, os.path.join(ROOT, "tests", "browser"))
import chromium  # noqa: E402
import panels  # noqa: E402


@contextlib.contextmanager
def browsing():
    """A browser; without one the case is skipped."""
    try:
        browser = chromium.Chromium()
    except chromium.Missing as reason:
        raise Skip(str(reason)) from None
    try:
        yield browser
    finally:
        browser.close()


def address_of(run):
    """Of a run that was started with --http."""
    run.wait_log("the page of this job")
    return re.search(r"the page of this job: (http://[0-9.:]+/)", run.err()).group(1)


def look(browser, run, name, empty=()):
    """While records come: every panel draws (but those of what such a job does not have), has units, and nothing is complained of, nor at 360 pixels,
    where nothing is wider than the page. How many there are."""
    browser.size(1280, 2400)
    browser.forget()
    browser.open(address_of(run))
    browser.wait("['ok', 'idle'].includes(document.getElementById('state').dataset.state) && document.querySelectorAll('.panel').length > 5", f"{name} runs")
    there = browser.run("[...document.querySelectorAll('.panel')].filter(panel => panel.getClientRects().length).map(panel => panel.id)")
    for panel in set(there).difference(empty):
        panels.wait_drawn(browser, panel)
    expect(not panels.units_shown(browser), f"{name}: without axes: {panels.units_shown(browser)}")
    expect(not browser.complaints(), f"{name}: {browser.complaints()}")
    panels.picture(browser, f"job-{name}")
    browser.size(360, 740)
    browser.wait("[...document.querySelectorAll('.panel canvas')].every(canvas => canvas.getBoundingClientRect().right <= 361)", f"{name}: charts fit 360 px")
    expect(browser.run("document.documentElement.scrollWidth") <= 360, f"{name}: the page is {browser.run('document.documentElement.scrollWidth')} px wide")
    expect(not browser.complaints(), f"{name}, at 360 px: {browser.complaints()}")
    return len(there)
