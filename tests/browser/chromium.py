"""A real Chromium without a window, driven over its debugging pipe: no driver, no socket, no package."""
import base64
import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import threading
import time

DEADLINE_S = 60


class Missing(Exception):
    """There is no Chromium here."""


def find():
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if path := shutil.which(name):
            return path
    raise Missing("there is no Chromium here (scripts/setup --tests brings it)")


class Chromium:
    """One browser with one page."""

    def __init__(self, width=1280, height=900):
        self.folder = tempfile.TemporaryDirectory(prefix="millrace-browser-", ignore_cleanup_errors=True)
        to_browser, self.out = os.pipe()
        self.back, from_browser = os.pipe()

        def pipes():
            # The browser reads at 3 and writes at 4. Either pipe may have one of these numbers already.
            read, write = os.dup(to_browser), os.dup(from_browser)
            while read in (3, 4):
                read = os.dup(read)
            while write in (3, 4):
                write = os.dup(write)
            os.dup2(read, 3)
            os.dup2(write, 4)
        words = [find(), "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars", "--mute-audio", "--no-first-run",
                 "--disable-background-networking", "--disable-component-update", "--disable-extensions", "--remote-debugging-pipe",
                 f"--user-data-dir={self.folder.name}", f"--window-size={width},{height}", "about:blank"]
        self.process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, close_fds=False, preexec_fn=pipes)
        os.close(to_browser)
        os.close(from_browser)
        self.number, self.answers, self.events = 0, {}, []
        self.news = threading.Condition()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        target = next(one for one in self.call("Target.getTargets")["targetInfos"] if one["type"] == "page")
        self.session = self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network", "Performance"):
            self.call(f"{domain}.enable")

    session = None

    def _read(self):
        held = b""
        while part := os.read(self.back, 1 << 16):
            *whole, held = (held + part).split(b"\0")
            with self.news:
                for text in whole:
                    message = json.loads(text)
                    if "id" in message:
                        self.answers[message["id"]] = message
                    else:
                        self.events.append(message)
                self.news.notify_all()
        with self.news:
            self.answers[None] = True
            self.news.notify_all()

    def call(self, method, **params):
        self.number += 1
        number = self.number
        message = {"id": number, "method": method, "params": params, **({"sessionId": self.session} if self.session else {})}
        os.write(self.out, json.dumps(message).encode() + b"\0")
        with self.news:
            if not self.news.wait_for(lambda: number in self.answers or None in self.answers, DEADLINE_S) or number not in self.answers:
                raise RuntimeError(f"{method}: no answer from the browser")
            answer = self.answers.pop(number)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    def run(self, text):
        """The value of an expression in the page; a promise is waited for."""
        done = self.call("Runtime.evaluate", expression=text, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in done:
            raise RuntimeError(f"{text}: {done['exceptionDetails'].get('exception', {}).get('description', done['exceptionDetails'])}")
        return done["result"].get("value")

    def wait(self, text, what):
        """Until an expression is true; while a page is being loaded it may be about nothing."""
        deadline, value, reason = time.monotonic() + DEADLINE_S, None, ""
        while not value:
            try:
                value = self.run(f"Promise.resolve({text}).then(Boolean)")
            except RuntimeError as error:
                reason = error
            if not value and time.monotonic() > deadline:
                raise RuntimeError(f"never: {what} ({text}) {reason}")
            threading.Event().wait(0 if value else 0.05)
        return value

    def open(self, address):
        self.call("Page.navigate", url=address)

    def size(self, width, height):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 500)

    def complaints(self):
        """What the page has logged as an error or a warning, thrown, or failed to load."""
        found = []
        for event in list(self.events):
            params = event.get("params", {})
            if event["method"] == "Runtime.exceptionThrown":
                details = params["exceptionDetails"]
                found.append(details.get("exception", {}).get("description", details["text"]))
            elif event["method"] == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
                found.append(" ".join(str(one.get("value", one.get("description"))) for one in params["args"]))
            elif event["method"] == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
                found.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")
        return [text for text in found if "willReadFrequently" not in text]  # that is what the tests do with a canvas

    def forget(self):
        self.events.clear()

    def picture(self, path, whole=True):
        data = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)["data"]
        with open(path, "wb") as file:
            file.write(base64.b64decode(data))

    def task_seconds(self):
        """CPU time that the page's main thread has worked."""
        return next(one["value"] for one in self.call("Performance.getMetrics")["metrics"] if one["name"] == "TaskDuration")

    def close(self):
        with contextlib.suppress(RuntimeError, OSError):
            self.session = None
            self.call("Browser.close")
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(10)
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.out)
        self.reader.join(10)
        os.close(self.back)
        self.folder.cleanup()
