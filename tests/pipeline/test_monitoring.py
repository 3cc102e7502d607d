#!/usr/bin/env python3
"""monitoring/ with a real Prometheus: /metrics is as promtool wants it, the alerts load and fire when they should, and every expression of the dashboard finds data of a run
that learns, rejects records and has a sink that fails. Grafana itself is not there: its file is checked for what Grafana asks of it."""
import http.server
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
MILLRACE = os.environ.get("MILLRACE", str(ROOT / "build/millrace"))
CACHE = pathlib.Path(os.environ.get("MILLRACE_CACHE", ROOT / ".cache"))
PROMETHEUS, PROMTOOL = CACHE / "prometheus/prometheus", CACHE / "prometheus/promtool"
MONITORING = ROOT / "monitoring"
DASHBOARD = json.loads((MONITORING / "grafana/dashboards/millrace.json").read_text())
DEADLINE_S = 60


def fail(text):
    sys.exit(f"FAIL: {text}")


def expect(is_true, text):
    if not is_true:
        fail(text)


def wait_for(condition, what):
    deadline = time.monotonic() + DEADLINE_S
    while not (found := condition()):
        expect(time.monotonic() < deadline, f"waited {DEADLINE_S} s for {what() if callable(what) else what}")
        threading.Event().wait(0.05)
    return found


def get(address):
    with urllib.request.urlopen(address, timeout=10) as answer:
        return answer.read().decode()


def promtool(*words, **more):
    done = subprocess.run([PROMTOOL, *map(str, words)], capture_output=True, text=True, check=False, **more)
    expect(done.returncode == 0 and not done.stderr.strip(), f"promtool {' '.join(map(str, words))}:\n{done.stdout}{done.stderr}")
    return done.stdout


def rules(folder):
    """They load, and fire when they should and only then."""
    promtool("check", "config", MONITORING / "prometheus/prometheus.yml")
    tests = folder / "alerts.yml"
    tests.write_text((ROOT / "tests/pipeline/alerts.yml").read_text().replace("RULES", str(MONITORING / "prometheus/alerts.yml")))
    promtool("test", "rules", tests)
    names = re.findall(r"- alert: (\w+)", (MONITORING / "prometheus/alerts.yml").read_text())
    for name in names:
        expect(tests.read_text().count(f"alertname: {name}") == 2, f"{name} is not tested both ways")
    return f"{len(names)} alerts"


def file_fits(_folder):
    """What Grafana asks of a dashboard's file: ids, places that do not overlap, a unit and a data source for each panel."""
    panels = DASHBOARD["panels"]
    expect(len({panel["id"] for panel in panels}) == len(panels), "two panels have one id")
    taken = set()
    for panel in panels:
        place = panel["gridPos"]
        expect(place["x"] >= 0 and place["x"] + place["w"] <= 24, f"{panel['title']} is too wide: {place}")
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        expect(not cells & taken, f"{panel['title']} lies on another one")
        taken |= cells
        if panel["type"] == "row":
            continue
        expect(panel["fieldConfig"]["defaults"].get("unit") and panel["datasource"]["uid"] == "${DS}", f"{panel['title']}: {panel}")
        expect(len({target["refId"] for target in panel["targets"]}) == len(panel["targets"]), f"{panel['title']}: refIds")
    names = [variable["name"] for variable in DASHBOARD["templating"]["list"]]
    expect(names == ["DS", "instance"] and DASHBOARD["uid"] == "millrace", f"{names}")
    return f"{len(panels)} panels"


class Deaf(http.server.BaseHTTPRequestHandler):
    """An InfluxDB that is out of order."""

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_error(503)

    do_GET = do_POST

    def log_message(self, *_words):
        pass


def run_start(folder, influx):
    """A run that learns, rejects and has a sink that fails; (process, address of its page)."""
    data = folder / "data.jsonl"
    with open(data, "w", encoding="utf-8") as file:
        for i in range(200_000):
            file.write(json.dumps({"x": i % 97 if i % 20 else "text", "y": 3 * (i % 97) + 1}) + "\n")
    job = {"job": "watched", "source": {"type": "kafka", "topics": ["in"], "group": "g", "properties": {"bootstrap.servers": "embedded"}},
           "record": {"format": "json", "features": ["x"], "label": "y"},
           "models": [{"name": "std", "type": "scaler", "learn": True}, {"name": "line", "type": "linear", "input": "std", "learn": True}],
           "emit": {"fields": {"y": "line.score"}}, "bad_records": {"drop": True},
           "sinks": [{"type": "kafka", "topic": "out"}, {"type": "influx", "url": influx, "database": "d", "measurement": "m"}],
           "http": {"listen": "127.0.0.1:0"}}
    path, log_path = folder / "job.json", folder / "log"
    path.write_text(json.dumps(job))
    with open(log_path, "w", encoding="utf-8") as log:
        process = subprocess.Popen([MILLRACE, "run", str(path), "-q", "--feed", str(data), "--rate", "2000"], stdout=subprocess.DEVNULL, stderr=log)
    found = wait_for(lambda: re.search(r"the page of this job: http://(\S+)/", log_path.read_text()), lambda: f"the page: {log_path.read_text()[-800:]}")
    return process, found.group(1)


def prometheus_start(folder, target):
    """One that scrapes the run; (process, address)."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
    config = (MONITORING / "prometheus/prometheus.yml").read_text().replace("127.0.0.1:8420", target).replace("_interval: 5s", "_interval: 250ms")
    (folder / "prometheus.yml").write_text(config)
    (folder / "alerts.yml").write_text((MONITORING / "prometheus/alerts.yml").read_text())
    with open(folder / "prometheus.log", "w", encoding="utf-8") as log:
        process = subprocess.Popen([PROMETHEUS, f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/tsdb", f"--web.listen-address=127.0.0.1:{port}"],
                                   stdout=log, stderr=log)
    return process, f"http://127.0.0.1:{port}"


def answer(address, path, **words):
    try:
        got = json.loads(get(f"{address}{path}?{urllib.parse.urlencode(words)}"))
    except OSError:
        return None
    expect(got["status"] == "success", f"{path} {words}: {got}")
    return got["data"]


def served(folder):
    """Scraped: no complaint of the format, every rule is evaluated, every expression of the dashboard finds data."""
    deaf = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Deaf)
    threading.Thread(target=deaf.serve_forever, args=(0.05,), daemon=True).start()
    run, target = run_start(folder, f"http://127.0.0.1:{deaf.server_address[1]}")
    prometheus, address = prometheus_start(folder, target)
    try:
        wait_for(lambda: 'millrace_sink_failing{sink="1",type="influx"} 1' in get(f"http://{target}/metrics"), "a sink that fails")
        promtool("check", "metrics", input=get(f"http://{target}/metrics"))
        count = 0
        for panel in DASHBOARD["panels"]:
            for one in panel.get("targets", []):
                text = one["expr"].replace("$__rate_interval", "3s").replace("$instance", ".*")
                wait_for(lambda query=text: (answer(address, "/api/v1/query", query=query) or {}).get("result"), f"data of \"{panel['title']}\": {text}")
                count += 1
        groups = wait_for(lambda: [rule for group in (answer(address, "/api/v1/rules") or {}).get("groups", []) for rule in group["rules"]], "rules")
        wait_for(lambda: all(rule["health"] == "ok" for group in answer(address, "/api/v1/rules")["groups"] for rule in group["rules"]), "all rules to be evaluated")
        states = {rule["name"]: rule["state"] for group in answer(address, "/api/v1/rules")["groups"] for rule in group["rules"]}
        expect(states["MillraceSinkFails"] == "pending" and states["MillraceDown"] == "inactive", f"{states}")
        run.send_signal(signal.SIGTERM)
        run.wait(DEADLINE_S)
    finally:
        for process in (run, prometheus):
            if process.poll() is None:
                process.kill()
            process.wait()
        deaf.shutdown()
        deaf.server_close()
    return f"{count} expressions, {len(groups)} rules"


def main():
    if not PROMTOOL.exists():
        print("SKIP: Prometheus is not in .cache/prometheus (scripts/setup --tests brings it)")
        sys.exit(77)
    with tempfile.TemporaryDirectory() as name:
        for case in (rules, file_fits, served):
            began = time.monotonic()
            told = case(pathlib.Path(name))
            print(f"ok    {case.__name__} ({time.monotonic() - began:.1f} s) {told}", flush=True)


if __name__ == "__main__":
    main()
