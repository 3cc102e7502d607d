#!/usr/bin/env python3
"""The page of a job, without a browser: what it answers, what it refuses, what it tells of the run, and that strangers cost it nothing."""
import base64
import contextlib
import http.client
import json
import os
import pathlib
import re
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

ROOT = pathlib.Path(__file__).resolve().parents[2]
MILLRACE = os.environ.get("MILLRACE", str(ROOT / "build/millrace"))
DEADLINE_S = 60
RATE = 400
TOKEN = "a-token-of-24-characters"
PAGE_BYTES = 60_000  # of all that a browser fetches to draw the page, compressed
SURPRISE = json.loads((ROOT / "tests/golden/surprise/expected.json").read_text())["biased"]


def fail(text):
    sys.exit(f"FAIL: {text}")


def expect(is_true, text):
    if not is_true:
        fail(text)


def point(i):
    x1, x2 = i % 97, i % 31
    return {"x1": "text" if i % 50 == 49 else x1, "x2": x2, "y": 3.2 * x1 + 0.6 * x2 + 5}


class Run:
    """millrace run with a page, fed with points of a plane, every 50th record broken; more: what the job has instead."""

    def __init__(self, folder, count, rate=RATE, http=None, name="paged", more=None, make=point, is_fed=True, files=None):
        self.folder = folder
        data = folder / f"{name}.jsonl"
        with open(data, "w", encoding="utf-8") as file:
            for i in range(count):
                file.write(json.dumps(make(i)) + "\n")
        job = {"job": name, "source": {"type": "kafka", "topics": ["points"], "group": "page", "properties": {"bootstrap.servers": "embedded"}},
               "record": {"format": "json", "features": ["x1", "x2"], "label": "y"},
               "models": [{"name": "std", "type": "scaler", "learn": True}, {"name": "sgd", "type": "linear", "input": "std", "learn": True, "step": 0.3}],
               "emit": {"fields": {"y": "sgd.score"}}, "sinks": [{"type": "kafka", "topic": "out"}], "bad_records": {"drop": True},
               "progress_interval": "1s", "http": {"listen": "127.0.0.1:0", **(http or {})}, **(more or {})}
        path = folder / f"{name}.json"
        path.write_text(json.dumps(job))
        self.log_path = folder / f"{name}.log"
        with open(self.log_path, "w", encoding="utf-8") as log:
            self.process = subprocess.Popen([MILLRACE, "run", str(path), "--json", *(["--feed", str(data), "--rate", str(rate), "--until", "end"] if is_fed else [])],
                                            stdout=subprocess.PIPE, stderr=log, text=True,
                                            preexec_fn=files and (lambda: resource.setrlimit(resource.RLIMIT_NOFILE, files)))
        self.lines = []
        self.reader = threading.Thread(target=self._read)
        self.reader.start()
        self.port = int(self.said(r"the page of this job: http://127\.0\.0\.1:(\d+)/").group(1))

    def _read(self):
        for line in self.process.stdout:
            self.lines.append(json.loads(line))

    def said(self, pattern):
        """Waits for a line of the log."""
        deadline = time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline:
            found = re.search(pattern, self.log_path.read_text(encoding="utf-8"))
            if found:
                return found
            if self.process.poll() is not None:
                break
            threading.Event().wait(0.01)
        return fail(f"\"{pattern}\" is not in the log: {self.log_path.read_text()[-1500:]}")

    def ask(self, path, headers=None, method="GET"):
        """Status, headers and body of a request."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE_S)
        connection.request(method, path, headers=headers or {})
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return answer.status, dict(answer.getheaders()), body

    def json(self, path, headers=None):
        status, kept, body = self.ask(path, headers)
        expect(status == 200 and kept["Content-Type"] == "application/json", f"{path}: {status} {body[:200]}")
        return json.loads(body)

    def raw(self, data):
        """What comes back for bytes that may be no request; b"" when the connection is closed without a word."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=DEADLINE_S) as peer:
            with contextlib.suppress(ConnectionError):
                peer.sendall(data)
            got = b""
            with contextlib.suppress(ConnectionError):
                while part := peer.recv(65536):
                    got += part
                    if b"\r\n\r\n" in got and re.search(rb"content-length: (\d+)", got, re.I):
                        head, body = got.split(b"\r\n\r\n", 1)
                        if len(body) >= int(re.search(rb"content-length: (\d+)", head, re.I).group(1)):
                            break
            return got

    def wait_records(self, count):
        deadline = time.monotonic() + DEADLINE_S
        while self.json("/status").get("total", {}).get("records_in", 0) < count:
            expect(time.monotonic() < deadline and self.process.poll() is None, f"never {count} records")
            threading.Event().wait(0.02)

    def finish(self, code=0):
        expect(self.process.wait(DEADLINE_S) == code, f"exit code {self.process.returncode}: {self.log_path.read_text()[-1500:]}")
        self.reader.join()
        return self.lines[-1] if self.lines else None  # stopped while it was starting: there is no report

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.reader.join()


class Viewer:
    """An event stream."""

    def __init__(self, run, headers=None):
        self.connection = http.client.HTTPConnection("127.0.0.1", run.port, timeout=DEADLINE_S)
        self.connection.request("GET", "/events", headers=headers or {})
        self.answer = self.connection.getresponse()

    def event(self):
        """The next one: (id, name, data); None when the stream is over."""
        fields = {}
        while line := self.answer.readline():
            line = line.decode().rstrip("\n")
            if not line:
                return int(fields["id"]), fields["event"], json.loads(fields["data"])
            name, _, value = line.partition(": ")
            fields[name] = value
        return None

    def close(self):
        self.connection.close()


def metrics_parse(text):
    """Samples by name and labels; each must stand behind its HELP and TYPE, with its name once."""
    samples, types, seen = {}, {}, None
    for line in text.splitlines():
        if line.startswith("# HELP "):
            continue
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            expect(name not in types, f"{name} has its type twice")
            types[name], seen = kind, name
            continue
        found = re.fullmatch(r'([a-z_]+)(\{[a-z]+="(?:[^"\\\n]|\\.)*"(?:,[a-z]+="(?:[^"\\\n]|\\.)*")*\})? (\S+)', line)
        expect(found, f"no sample: {line}")
        base = re.sub(r"_(bucket|sum|count)$", "", found.group(1)) if types.get(seen) == "histogram" else found.group(1)
        expect(base == seen, f"{found.group(1)} stands behind the type of {seen}")
        expect(types[seen] != "counter" or found.group(1).endswith("_total"), f"{seen} is a counter without _total")
        samples[(found.group(1), found.group(2) or "")] = float(found.group(3))
    for name, kind in types.items():
        if kind != "histogram":
            continue
        buckets = [value for (sample, _), value in samples.items() if sample == f"{name}_bucket"]
        expect(buckets == sorted(buckets) and buckets[-1] == samples[(f"{name}_count", "")], f"{name}: {buckets}")
    return samples


def answers(folder):
    """Every path answers, and its numbers are those of the report."""
    count = 2000
    run = Run(folder, count)
    try:
        status, headers, body = run.ask("/livez")
        expect(status == 200 and body == b"ok\n", f"livez: {status} {body}")
        expect(headers["X-Content-Type-Options"] == "nosniff" and "default-src 'none'" in headers["Content-Security-Policy"], f"{headers}")
        run.wait_records(200)
        status, _, body = run.ask("/readyz?verbose")
        expect(status == 200 and body.endswith(b"\nready\n") and b"[-]" not in body, f"readyz: {status} {body}")
        job = run.json("/api/v1/job")
        expect([model["name"] for model in job["models"]] == ["std", "sgd"] and job["features"] == ["x1", "x2"], f"{job}")
        keys = [column["key"] for column in job["columns"]]
        expect(len(keys) == len(set(keys)) and all(column["label"] for column in job["columns"]), f"{keys}")
        page_answers(run)
        events(run, len(keys))
        run.wait_records(1000)
        history = run.json("/api/v1/history")
        rows = history["recent"]["rows"]
        expect(rows and all(len(row) == len(keys) for row in rows) and rows == sorted(rows), f"{len(rows)} rows of the past")
        since = run.json(f"/api/v1/history?since={rows[1][0]}")["recent"]["rows"]
        expect(since[0] == rows[2], f"{since[0]} is not the first behind {rows[1][0]}")
        weight = [row[keys.index("model.1.w0")] for row in rows]
        expect(len(set(weight)) > 2 and abs(weight[-1] - 3.2) < 0.3, f"the coefficient, by the feature as it comes: {weight}")
        points = run.json("/api/v1/points")["rows"]
        expect(len(points) > 20 and all(len(point) == 4 + 2 * 2 + 2 + 1 for point in points), f"{points[:2]}")
        for time_ms, partition, offset, label, *_, x1, x2, topic in points:
            expect(abs(3.2 * x1 + 0.6 * x2 + 5 - label) < 1e-2 and partition == topic == 0 and time_ms > 1e12 and offset >= 0, f"{offset}: {x1} {x2} {label}")
        dead = run.json("/api/v1/dead")["rows"]
        expect(dead and all(one["topic"] == "points" and one["offset"] % 50 == 49 and one["reason"] == "type" and one["field"] == "x1" for one in dead), f"{dead}")
        errors_by_offset(run)
        expect(len(run.json("/status?history=60")) > 1, "no progress of before")
        viewer = Viewer(run)
        before = metrics_parse(run.ask("/metrics")[2].decode())
        expect(before[("millrace_records_consumed_total", "")] >= 1000, f"{before}")
        last = None
        while event := viewer.event():
            last = event
        expect(last[1] == "end" and last[2] == {"status": "ok", "exit_code": 0}, f"the last event: {last}")
        report = run.finish()
        expect(report["records_in"] == count and report["records_dead"] == count // 50, f"{report}")
        viewer.close()
    finally:
        run.close()
    for name in ("millrace_batch_records_count", "millrace_batches_total"):
        expect(before[(name, "")] > 0, f"{name}: {before[(name, '')]}")
    expect(0 < before[("process_open_fds", "")] < before[("process_max_fds", "")] and before[("process_resident_memory_bytes", "")] > 1e6, f"{before}")
    return f"{len(keys)} columns, {len(rows)} rows, {len(points)} points"


def page_answers(run):
    """The files of the page: compressed for who takes it so, the same bytes for who does not, unchanged when known."""
    for path, kind in (("/", "text/html"), ("/main.js", "text/javascript"), ("/style.css", "text/css"), ("/icon.svg", "image/svg+xml")):
        status, headers, plain = run.ask(path)
        expect(status == 200 and headers["Content-Type"].startswith(kind), f"{path}: {status} {headers}")
        name = "index.html" if path == "/" else path[1:]
        expect(plain == (ROOT / "src/live/page" / name).read_bytes(), f"{path} is not the file")
        _, packed, body = run.ask(path, {"Accept-Encoding": "gzip"})
        expect(packed.get("Content-Encoding") == "gzip" and len(body) < len(plain), f"{path} is not compressed: {packed}")
        status, _, body = run.ask(path, {"If-None-Match": headers["ETag"]})
        expect(status == 304 and not body, f"{path}: known already, and answered with {status}")
        status, headers, body = run.ask(path, method="HEAD")
        expect(status == 200 and not body, f"HEAD {path}: {status} {len(body)} bytes")
    fetched = {"", *re.findall(r'(?:href|src)="([^"]+\.(?:css|js|svg))"', run.ask("/")[2].decode())}
    waiting = [name for name in fetched if name.endswith(".js")]
    while waiting:
        for name in re.findall(r'from "\./([^"]+)"', run.ask(f"/{waiting.pop()}")[2].decode()):
            if name not in fetched:
                fetched.add(name)
                waiting.append(name)
    size = sum(len(run.ask(f"/{name}", {"Accept-Encoding": "gzip"})[2]) for name in fetched)
    expect({"main.js", "card.js", "results.js", "style.css"} < fetched and size < PAGE_BYTES, f"{sorted(fetched)} are {size} bytes")
    for word in (b"<script>", b"style=", b"onclick", b"http://", b"https://"):
        expect(word not in run.ask("/")[2], f"the page holds {word}")


def events(run, columns):
    viewer = Viewer(run)
    first, second = viewer.event(), viewer.event()
    viewer.close()
    expect(first[1] == second[1] == "frame" and second[0] > first[0], f"{first[:2]} {second[:2]}")
    expect(len(first[2]["values"]) == columns and first[2]["state"] == "ok" and first[2]["records"]["in"] > 0, f"{first}")
    again = Viewer(run, {"Last-Event-ID": str(second[0])})
    third = again.event()
    again.close()
    expect(third[0] > second[0], f"after {second[0]} comes {third[0]} again")


def errors_by_offset(run):
    """What is said of errors by offset is what the sampled points say, as far as they are still there."""
    points = run.json("/api/v1/points")
    model = run.json("/api/v1/offsets")["models"]
    expect(points["topics"] == ["points"] and [one["model"] for one in model] == ["sgd"], f"{points['topics']} {model}")
    (topic,) = model[0]["topics"]
    bins = topic["bins"]
    expect(topic["topic"] == "points" and topic["rows"] == sum(rows for _, _, rows in bins) >= len(points["rows"]), f"{topic}")
    expect(abs(topic["mean"] - sum(mean * rows for _, mean, rows in bins) / topic["rows"]) < 1e-3 * topic["mean"], f"{topic}")
    expect(bins == sorted(bins) and all((at - bins[0][0]) % topic["step"] == 0 for at, _, _ in bins), f"{bins}")
    sums = {at: [0, 0] for at, _, _ in bins}
    for _, _, offset, label, _, _, y, *_ in points["rows"]:
        at = max(at for at in sums if at <= offset)
        sums[at][0] += (y - label) ** 2
        sums[at][1] += 1
    same = [at for at, _, rows in bins if sums[at][1] == rows]
    expect(len(same) > len(bins) // 2, f"{len(same)} of {len(bins)} stretches have their points")
    for at, mean, rows in bins:
        expect(at not in same or abs(sums[at][0] / rows - mean) <= 1e-3 * mean + 2e-3 * mean ** 0.5 + 1e-5, f"from {at} on {mean}, not {sums[at][0] / rows}")


RECOMMENDER = {"record": {"format": "json", "features": ["uid"]},
               "models": [{"name": "best", "type": "mf", "file": str(ROOT / "tests/golden/surprise/biased.safetensors"), "top": 10}],
               "emit": {"fields": {"uid": "uid", "items": "best.items", "scores": "best.scores"}}}


def recommends(folder):
    """An id that is typed gets what Surprise itself gives it; what is no id, or about no recommender, is refused."""
    users = list(SURPRISE["best"])
    run = Run(folder, 40000, name="recommends", more=RECOMMENDER, make=lambda i: {"uid": users[i % len(users)]})
    try:
        run.wait_records(100)
        for user in (*users, "no such user", "301", "Zoë", '"', "\\", "\n"):
            answer = run.json(f"/api/v1/recommend?model=best&user={urllib.parse.quote(user)}")
            want = SURPRISE["best"].get(user, SURPRISE["nobody"])
            expect(answer["user"] == user and answer["is_known"] == (user in users), f"{answer}")
            expect([one["item"] for one in answer["items"]] == want["items"], f"{user}: {answer}, Surprise says {want}")
            expect(all(abs(one["score"] - score) < 1e-4 for one, score in zip(answer["items"], want["scores"], strict=True)), f"{user}: {answer}, Surprise says {want}")
        ids = run.json("/api/v1/recommend")
        expect(ids["model"] == "best" and ids["top"] == 10 and ids["ids"] and set(ids["ids"]) <= set(users) and len(set(ids["ids"])) == len(ids["ids"]), f"{ids}")
        for query, code in (("user=", 400), ("user", 400), ("user=" + "9" * 513, 400), ("user=" + "9" * 20000, 400), ("model=&user=1", 404), ("model=bes&user=1", 404),
                            ("model=" + "b" * 5000, 404)):
            status, _, body = run.ask(f"/api/v1/recommend?{query}")
            expect(status == code and json.loads(body)["error"], f"{query[:40]}: {status} {body[:200]}")
        status, _, body = run.ask("/api/v1/recommend?user=%ff%fe")
        expect(status == 200 and not json.loads(body)["is_known"], f"no UTF-8: {status} {body[:200]}")
        expect(run.ask("/api/v1/recommend?user=1", method="POST")[0] == 405, "it can be posted to")
        run.process.send_signal(signal.SIGTERM)
        run.finish(75)
    finally:
        run.close()
    run = Run(folder, 40000, name="recommends-not")
    try:
        for query in ("user=1", "", "model=sgd&user=1"):
            expect(run.ask(f"/api/v1/recommend?{query}")[0] == 404, f"{query}: a plane recommends")
        run.process.send_signal(signal.SIGTERM)
        run.finish(75)
    finally:
        run.close()
    return f"{len(users)} users"


def says(folder):
    """What is true moves with the records; what a test finds, its words and its warning; a warning of the log."""
    rate = {"source": {"type": "rate", "stream": "plane", "rate": 1000, "drift": ["50", "0"]}, "record": {"format": "json", "features": ["x1", "x2"], "label": "y"},
            "sinks": [{"type": "file", "path": str(folder / "truth.out")}]}
    run = Run(folder, 0, name="truth", more=rate, http={"truth": {"intercept": 0.25}}, is_fed=False)
    try:
        run.wait_records(1500)
        columns, rows = run.json("/api/v1/job")["columns"], run.json("/api/v1/history")["recent"]["rows"]
        at = {column["key"]: i for i, column in enumerate(columns)}
        true = [row[at["model.1.true0"]] for row in rows if row[1]]
        expect(len(true) > 2 and true == sorted(true) and true[-1] > true[0] + 20, f"3.2 + 50 for 1,000 records: {true}")
        expect(columns[at["model.1.true0"]]["of"] == at["model.1.w0"] and {row[at["model.1.true2"]] for row in rows} == {0.25}, f"{columns}")
        run.process.send_signal(signal.SIGTERM)
        run.finish()
    finally:
        run.close()
    ab = {"record": {"format": "json", "features": ["arm", "value"]}, "models": [{"name": "lift", "type": "abtest", "learn": True, "arms": ["old", "new"], "ratio": "9:1"}],
          "emit": {"fields": {"difference": "lift.difference"}}}
    run = Run(folder, 40000, name="says", more=ab, http={"truth": {"arm[0]": 1, "arm[new]": 3}}, make=lambda i: {"arm": ("old", "new")[i % 2], "value": i % 2 * 2 + i % 5})
    try:
        run.wait_records(1000)
        rows = run.json("/api/v1/history")["recent"]["rows"]
        at = {column["key"]: i for i, column in enumerate(run.json("/api/v1/job")["columns"])}
        last = {key[len("model.0.found."):]: rows[-1][i] for key, i in at.items() if key.startswith("model.0.found.")}
        expect(abs(last["difference"] - 2) < 0.2 and last["always_low"] < last["low"] < 2 < last["high"] < last["always_high"] and last["p"] < 1e-6 and last["decision"] == 1, f"{last}")
        expect(abs(last["count.old"] - last["count.new"]) < 30 and last["mismatch_p"] < 1e-6 and "df" not in last, f"{last}")
        expect(rows[-1][at["model.0.true1"]] == 2, f"{rows[-1]}")
        words = run.json("/api/v1/models")[0]["found"]
        expect(any("SAMPLE RATIO MISMATCH" in line for line in words) and any(line.startswith("new against old") for line in words), f"{words}")
        log = run.json("/api/v1/log")["rows"]
        expect(log and log[0]["level"] == "warn" and log[0]["component"] == "abtest" and "sample ratio mismatch" in log[0]["text"], f"{log}")
        expect(all(log[0]["text"][:60] in text for text in (run.log_path.read_text(),)), "the log says something else")
        viewer = Viewer(run)
        frame = viewer.event()[2]
        viewer.close()
        expect(isinstance(frame["log"], list) and frame["topics"] == ["points"], f"{list(frame)}")
        run.process.send_signal(signal.SIGTERM)
        run.finish(75)
    finally:
        run.close()
    return f"{len(last)} numbers of a test"


def refusals(folder):
    """What is no request of ours is answered with the right number, and the next one is served."""
    run = Run(folder, 40000, name="refused")
    try:
        host = f"Host: 127.0.0.1:{run.port}\r\n".encode()
        for text, codes in (
            (b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n", "403"), (b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1.evil.example\r\n\r\n", "403"),
            (b"GET / HTTP/1.1\r\nHost: localhost@evil\r\n\r\n", "403"), (b"GET / HTTP/1.1\r\n\r\n", "400"), (b"GET / HTTP/1.0\r\n\r\n", "400"),
            (b"GET /../../etc/passwd HTTP/1.1\r\n" + host + b"\r\n", "404"), (b"GET /%2e%2e/%2e%2e/etc/passwd HTTP/1.1\r\n" + host + b"\r\n", "404"),
            (b"GET /livez%00.html HTTP/1.1\r\n" + host + b"\r\n", "404"), (b"GET //livez HTTP/1.1\r\n" + host + b"\r\n", "404"),
            (b"POST /livez HTTP/1.1\r\n" + host + b"Content-Length: 3\r\n\r\nabc", "405"), (b"DELETE / HTTP/1.1\r\n" + host + b"\r\n", "405"),
            (b"GET / HTTP/1.1\r\n" + host + b"".join(b"X-%d: y\r\n" % i for i in range(70)) + b"\r\n", "431"),
            (b"GET / HTTP/1.1\r\n" + host + b"X: " + b"y" * 100_000 + b"\r\n\r\n", "431 400 close"),
            (b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n" + host + b"\r\n", "414 431 400 close"),
            (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", "400 close"), (b"\0\0\0\0\r\n\r\n", "400 close"), (b"GET\r\n\r\n", "400 close"),
        ):
            got = run.raw(text)
            code = got.split(b" ", 2)[1].decode() if got.startswith(b"HTTP/1") else "close"
            expect(code in codes.split(), f"{text[:60]}: {code}, not {codes}: {got[:200]}")
        two = run.raw(b"GET /livez HTTP/1.1\r\n" + host + b"\r\nGET /livez HTTP/1.1\r\n" + host + b"\r\n")
        expect(two.startswith(b"HTTP/1.1 200"), f"pipelined: {two[:100]}")
        status, _, body = run.ask("/livez")
        expect(status == 200, f"afterwards: {status} {body}")
        for host_name in ("localhost", f"localhost:{run.port}", "[::1]", "127.0.0.1"):
            expect(run.ask("/livez", {"Host": host_name})[0] == 200, f"Host: {host_name} is refused")
        silent(run)
        run.process.send_signal(signal.SIGTERM)
        run.finish(75)
    finally:
        run.close()
    return "17 kinds"


def silent(run):
    """Many that connect and say nothing, or hardly anything: others are served meanwhile, and they are put out."""
    peers = [socket.create_connection(("127.0.0.1", run.port), timeout=DEADLINE_S) for _ in range(300)]
    for peer in peers[::2]:
        with contextlib.suppress(ConnectionError):
            peer.sendall(b"GET / HTTP/1.1\r\nHost: ")
    for _ in range(20):
        expect(run.ask("/livez")[0] == 200, "nobody is served while others are silent")
    for peer in peers:
        with contextlib.suppress(ConnectionError):
            while peer.recv(4096):
                pass
        peer.close()


def token(folder):
    """With a token only probes are open; it is taken as bearer and as password."""
    path = folder / "token"
    path.write_text(TOKEN + "\n")
    run = Run(folder, 40000, http={"token_file": str(path)}, name="token")
    try:
        for path in ("/livez", "/readyz"):
            expect(run.ask(path)[0] in (200, 503), f"{path} asks for a token")
        for path in ("/", "/metrics", "/status", "/events", "/api/v1/job", "/api/v1/recommend?user=1", "/api/v1/offsets", "/api/v1/log", "/nothing"):
            status, headers, _ = run.ask(path)
            expect(status == 401 and headers["WWW-Authenticate"].startswith("Basic"), f"{path}: {status}")
        good = {"Bearer": TOKEN, "Basic": base64.b64encode(f"anybody:{TOKEN}".encode()).decode()}
        for kind, value in good.items():
            expect(run.ask("/api/v1/job", {"Authorization": f"{kind} {value}"})[0] == 200, f"{kind} is refused")
        for value in (f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", "Bearer ", "Basic " + base64.b64encode(b"anybody:wrong").decode(), "Basic !!!", f"Digest {TOKEN}",
                      "Bearer " + TOKEN * 2):
            expect(run.ask("/api/v1/job", {"Authorization": value})[0] == 401, f"{value} is taken")
        expect(run.ask(f"/api/v1/job?token={TOKEN}")[0] == 401, "a token in the URL is taken")
        expect(TOKEN not in run.log_path.read_text(), "the token is in the log")
        run.process.send_signal(signal.SIGTERM)
        run.finish(75)
    finally:
        run.close()
    return "7 wrong ones"


def viewers(folder):
    """Many viewers get their events; one more than may come is told so, and a place that is left is given again."""
    most = 200
    run = Run(folder, 40000, http={"viewers_max": most}, name="viewers")
    try:
        run.wait_records(100)
        all_of_them = [Viewer(run) for _ in range(most)]
        late = Viewer(run)
        expect(late.answer.status == 503 and late.answer.getheader("Retry-After"), f"one too many: {late.answer.status}")
        late.close()
        for viewer in all_of_them:
            event = viewer.event()
            expect(event and event[1] == "frame", f"{event}")
        for viewer in all_of_them[:50]:
            viewer.close()
        deadline = time.monotonic() + DEADLINE_S
        while True:
            again = Viewer(run)
            status = again.answer.status
            again.close()
            if status == 200:
                break
            expect(time.monotonic() < deadline, "places that were left are not given again")
            threading.Event().wait(0.05)
        for viewer in all_of_them[50:]:
            viewer.close()
        run.process.send_signal(signal.SIGTERM)
        run.finish(75)
    finally:
        run.close()
    return f"{most} viewers"


def files(folder):
    """Few files may be open: the limit is raised as far as it may be, and fewer viewers come."""
    run = Run(folder, 40000, name="files", files=(200, 600))
    try:
        fits = int(run.said(r"(\d+) viewers at once, not 1024").group(1))
        most = metrics_parse(run.ask("/metrics")[2].decode())[("process_max_fds", "")]
        expect(most == 600 and 0 < fits < 600, f"{fits} viewers with {most} files")
        viewer = Viewer(run)
        expect(viewer.event()[1] == "frame", "a viewer sees nothing")
        viewer.close()
        run.process.send_signal(signal.SIGTERM)
        run.finish(75)
    finally:
        run.close()
    return f"{fits} viewers"


def taken(folder):
    """A port that is taken ends the start before anything is read."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        job = json.loads((folder / "viewers.json").read_text())
        job["http"] = {"listen": f"127.0.0.1:{port}"}
        (folder / "taken.json").write_text(json.dumps(job))
        done = subprocess.run([MILLRACE, "run", str(folder / "taken.json"), "--until", "end"], capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    expect(done.returncode == 74 and f"127.0.0.1:{port}" in done.stderr and "another program" in done.stderr, f"{done.returncode}: {done.stderr[-400:]}")
    return f"exit code {done.returncode}"


def main():
    with tempfile.TemporaryDirectory() as name:
        for case in (answers, recommends, says, refusals, token, viewers, files, taken):
            began = time.monotonic()
            told = case(pathlib.Path(name))
            print(f"ok    {case.__name__} ({time.monotonic() - began:.1f} s) {told}", flush=True)


if __name__ == "__main__":
    main()
