#!/usr/bin/env python3
"""The sinks influx and elastic with the real program and real servers, fed by a broker in memory: counts and values in the server, asked for
through its own interface, equal what was sent."""
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import traceback

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "kafka"))
from rig import Skip, Wrong, expect, wait_for  # noqa: E402
from servers import Influx, Search, free_ports  # noqa: E402
from examples import MILLRACE, ROOT, call, embedded_broker  # noqa: E402

RECORDS = 20_000
HOSTILE = ["plain", "a b", "a,b=c", 'say "x"', "back\\slash", "ends\\", "\\", "ünï ☃ 𝄞", "tab\there", "line\nbreak", "", "a\\,b", "#hash", "'single'", " lead",
           "trail ", "\\\"", "=", ",", "null", "1i", "true"]


class Bench:
    """A broker in memory, with what a case needs around it."""

    def __init__(self, folder, address):
        self.folder, self.address = folder, address
        self.count = 0

    def send(self, topic, lines, *flags):
        path = self.folder / f"{topic}.jsonl"
        path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
        call(MILLRACE, "replay", path, "--topic", topic, "-b", self.address, *flags)

    def job(self, topic, sinks, **changes):
        self.count += 1
        job = {
            "job": topic,
            "source": {"type": "kafka", "topics": [topic], "group": f"{topic}{self.count}", "properties": {"bootstrap.servers": self.address}},
            "record": {"format": "json", "features": ["Temperature"]},
            "models": [{"name": "regime", "type": "mlp", "file": str(ROOT / "datasets/temperature/regime.safetensors")}],
            "emit": {"fields": {"id": "id", "prediction": "regime.class", "Temperature": "Temperature"}},
            "sinks": sinks,
            "bad_records": {"drop": True},
            "progress_interval": "100ms",
            **changes,
        }
        path = self.folder / f"{topic}{self.count}.json"
        path.write_text(json.dumps(job))
        return path

    def run(self, path, count):
        """Until its sinks have done with so many records; its report, what it said. (At the end of an input, sinks are waited for a few
        seconds, however slow they are.)"""
        with open(f"{path}.out", "w+", encoding="utf-8") as out, open(f"{path}.log", "w+", encoding="utf-8") as log:
            process = subprocess.Popen([MILLRACE, "run", str(path), "--json"], stdout=out, stderr=log)

            def said(file):
                file.seek(0)
                return file.read()

            def last():
                lines = [line for line in said(out).splitlines(keepends=True) if line.endswith("\n")]
                return json.loads(lines[-1]) if lines else {}

            def is_done():
                value = last()
                total, sinks = value.get("total", {}), value.get("sinks", [])
                scored = total and total["records_out"] + total["records_dead"] >= count
                return process.poll() is not None or (scored and all(one["records_delivered"] + one["records_refused"] >= total["messages_out"] for one in sinks))
            try:
                wait_for(is_done, f"{count} records; {last()}; {said(log)[-2000:]}", 120)
                process.terminate()
                expect(process.wait(60) == 0, f"exit code {process.returncode}: {said(log)[-2000:]}")
            finally:
                process.kill()
                process.wait()
            return last(), said(log)

    def tap(self, topic):
        """Messages of a topic, their values read as JSON."""
        messages = [json.loads(line) for line in call(MILLRACE, "tap", topic, "-b", self.address, "-e", "--json").stdout.splitlines()]
        return [{**message, "value": json.loads(message["value"])} for message in messages]


def readings(count, first=0):
    return [json.dumps({"id": index, "Temperature": 60 + index % 500 / 10}) for index in range(first, first + count)]


def case_influx(bench):
    """Every record is one point with its values, at its time; a second run over the same input changes nothing."""
    server = Influx().start()
    try:
        server.database("example")
        bench.send("flow", readings(RECORDS))
        sink = {"type": "influx", "url": server.url, "database": "example", "measurement": "new table", "tags": ["prediction", "@partition"], "integers": ["id"]}
        job = bench.job("flow", [sink])
        report, said = bench.run(job, RECORDS)
        told = report["sinks"][0]
        expect(told["records_delivered"] == RECORDS and not told["records_dropped"] + told["records_refused"], f"{told} {said}")
        points = server.points("example", "new table")
        expect(sorted(point["id"] for point in points) == list(range(RECORDS)), f"{len(points)} points, not {RECORDS}")
        for point in points:
            expect(point["Temperature"] == 60 + point["id"] % 500 / 10 and point["prediction"] in "012345" and point["partition"] in "0123", f"{point}")
        times = {message["value"]["id"]: message["timestamp"] for message in bench.tap("flow")}
        wrong = [point for point in points if point["time"] // 1_000_000 != times[point["id"]]]
        expect(not wrong, f"{len(wrong)} points are not at the time of their records, such as {wrong[:1]}")
        bench.run(bench.job("flow", [sink]), RECORDS)
        expect(server.points("example", "new table") == points, "written again, the points are others")
        return f"{len(points)} points"
    finally:
        server.close()


def case_influx_hostile(bench):
    """Texts as tags, fields and names arrive as they are, but for what the protocol cannot hold."""
    server = Influx().start()
    try:
        server.database("example")
        bench.send("hostile", [json.dumps({"id": index, "Temperature": 70, "text": text}) for index, text in enumerate(HOSTILE)])
        sink = {"type": "influx", "url": server.url, "database": "example", "measurement": "a,b c\"\\d", "tags": ["ta g"], "integers": ["id"]}
        emit = {"fields": {"id": "id", "ta g": "text", "fi=e,l d\\": "text"}}
        report, said = bench.run(bench.job("hostile", [sink], emit=emit), len(HOSTILE))
        expect(report["sinks"][0]["records_delivered"] == len(HOSTILE), f"{report['sinks']} {said}")
        points = {point["id"]: point for point in server.query('SELECT * FROM /.*/', "example")}
        expect(len(points) == len(HOSTILE), f"{len(points)} points of {len(HOSTILE)}")
        for index, text in enumerate(HOSTILE):
            spaced = text.replace("\n", " ").replace("\t", " ")
            got = points[index]
            expect(got["fi=e,l d"] == spaced, f"field {text!r} became {got['fi=e,l d']!r}")
            want = spaced.rstrip("\\") or None
            expect((got["ta g"] or None) == want, f"tag {text!r} became {got['ta g']!r}")
        names = [row["name"] for row in server.query("SHOW MEASUREMENTS", "example")]
        expect(names == ['a,b c"\\d'], f"{names}")
        return f"{len(points)} texts"
    finally:
        server.close()


def case_influx_partial(bench):
    """One point of another type: all others of its batch are there, and the report says how many were refused."""
    server = Influx().start()
    try:
        server.database("example")
        server.query("CREATE RETENTION POLICY short ON example DURATION 4h REPLICATION 1")
        lines = [json.dumps({"id": index, "Temperature": 70, "v": "text" if index in (3, 777, 1999) else 1.5}) for index in range(2000)]
        bench.send("partial", lines)
        sink = {"type": "influx", "url": server.url, "database": "example", "retention_policy": "short", "measurement": "m", "integers": ["id"], "required": True}
        report, said = bench.run(bench.job("partial", [sink], emit={"fields": {"id": "id", "v": "v"}}, lanes=1), 2000)
        points = server.points("example", 'short"."m')
        expect({point["id"] for point in points} == set(range(2000)) - {3, 777, 1999}, f"{len(points)} points; {said[-1000:]}")
        expect(report["records_dead"] == 3 and report["reasons"] == {"refused": 3}, f"{report}")
        expect(report["sinks"][0]["records_refused"] == 3, f"{report['sinks']}")
        return f"3 of 2000 refused in {report['sinks'][0]['requests']} requests"
    finally:
        server.close()


def case_influx_comes_late(bench):
    """The server, and its database, are not there when a required sink begins; nothing is lost when they come."""
    port = free_ports(1)[0]
    bench.send("late", readings(2000))
    job = bench.job("late", [{"type": "influx", "url": f"http://127.0.0.1:{port}", "database": "later", "measurement": "m", "required": True, "integers": ["id"]}])
    with open(bench.folder / "late.log", "w+", encoding="utf-8") as log:
        process = subprocess.Popen([MILLRACE, "run", str(job), "--json"], stdout=log, stderr=log)
        server = Influx(port)
        try:
            def says(text):
                log.seek(0)
                return text in log.read()
            wait_for(lambda: says("onnection refused") or says("connect to"), "a word about the connection")
            server.start()
            wait_for(lambda: says("database not found"), "a word about the database", 60)
            wait_for(lambda: says("create the database"), "the remedy")
            server.database("later")
            wait_for(lambda: len(server.points("later", "m")) == 2000, "all points", 60, 0.1)
            process.terminate()
            expect(process.wait(60) == 0, "it failed")
            points = server.points("later", "m")
            expect(sorted(point["id"] for point in points) == list(range(2000)), f"{len(points)} points")
            expect(says("takes records again"), "it does not say that all is well again")
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
            server.close()


def case_elastic(bench):
    """Every record is one document, called for where it stood; a second run over the same input makes no second one."""
    server = SEARCH
    bench.send("docs", readings(RECORDS))
    sink = {"type": "elastic", "urls": [f"http://127.0.0.1:{free_ports(1)[0]}", server.url], "index": "scores"}
    report, said = bench.run(bench.job("docs", [sink]), RECORDS)
    told = report["sinks"][0]
    expect(told["records_delivered"] == RECORDS and not told["records_dropped"] + told["records_refused"], f"{told} {said}")
    found = server.documents("scores")
    sent = {f"docs-{message['partition']}-{message['offset']}": message for message in bench.tap("docs")}
    expect(found.keys() == sent.keys(), f"{len(found)} documents of {len(sent)} records")
    for name, document in found.items():
        message = sent[name]
        expect(document["id"] == message["value"]["id"] and document["Temperature"] == message["value"]["Temperature"], f"{document} of {message}")
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(message["timestamp"] // 1000)) + f".{message['timestamp'] % 1000:03}Z"
        expect(document["@timestamp"] == stamp, f"{document['@timestamp']} of {stamp}")
    mapping = server.ask("/scores/_mapping")["scores"]["mappings"]["properties"]
    expect({name: field["type"] for name, field in mapping.items()} == {"@timestamp": "date", "id": "double", "Temperature": "double", "prediction": "double"}, f"{mapping}")
    bench.run(bench.job("docs", [sink]), RECORDS)
    expect(server.documents("scores") == found, "written again, the documents are others")
    return f"{len(found)} documents"


def case_elastic_items(bench):
    """One document that the mapping does not take is refused alone; a template that is another one stays and is told of."""
    server = SEARCH
    own = {"index_patterns": ["strict"], "template": {"mappings": {"properties": {"v": {"type": "long"}}}}}
    server.ask("/_index_template/millrace-strict", own, "PUT")
    bench.send("items", [json.dumps({"id": index, "Temperature": 70, "v": "no number" if index in (5, 600) else index}) for index in range(1000)])
    sink = {"type": "elastic", "urls": [server.url], "index": "strict", "required": True}
    report, said = bench.run(bench.job("items", [sink], emit={"fields": {"id": "id", "v": "v"}}, lanes=1), 1000)
    found = server.documents("strict")
    expect({document["id"] for document in found.values()} == set(range(1000)) - {5, 600}, f"{len(found)} documents")
    expect(report["records_dead"] == 2 and report["sinks"][0]["records_refused"] == 2, f"{report}")
    expect("another one than the job would put: it stays" in said, said)
    kept = server.ask("/_index_template/millrace-strict")["index_templates"][0]["index_template"]
    expect(kept["template"]["mappings"] == own["template"]["mappings"], f"{kept}")
    return f"2 of 1000 refused in {report['sinks'][0]['requests']} requests"


def case_elastic_stream(bench):
    """A data stream: documents are created, and those that are there already count as delivered."""
    server = SEARCH
    bench.send("stream", readings(500))
    sink = {"type": "elastic", "urls": [server.url], "index": "scores-stream", "data_stream": True}
    for _ in range(2):
        report, said = bench.run(bench.job("stream", [sink]), 500)
        expect(report["sinks"][0]["records_delivered"] == 500 and not report["sinks"][0]["records_refused"], f"{report['sinks']} {said}")
    expect(len(server.documents("scores-stream")) == 500, "documents are missing, or twice there")
    streams = server.ask("/_data_stream/scores-stream")["data_streams"]
    expect(streams[0]["timestamp_field"]["name"] == "@timestamp", f"{streams}")


def case_rows(bench):
    """Messages of several rows, answers joined or one a row: each row is a document and a point of its own, also when read again."""
    server, influx = SEARCH, Influx().start()
    try:
        influx.database("rows")
        bench.send("rows", readings(3000), "--lines", "7")
        for framing in ("single", "lines", "array"):
            sinks = [{"type": "elastic", "urls": [server.url], "index": f"rows-{framing}"},
                     {"type": "influx", "url": influx.url, "database": "rows", "measurement": framing, "tags": ["@partition"], "integers": ["id"]}]
            job = {"record": {"format": "json", "framing": "lines", "features": ["Temperature"]},
                   "emit": {"fields": {"id": "id", "prediction": "regime.class"}, "framing": framing}}
            for records_max in (5000, 64):  # batches are cut elsewhere the second time: the ids must not follow
                bench.run(bench.job("rows", sinks, batch={"records_max": records_max}, **job), 3000)
                found = server.documents(f"rows-{framing}")
                expect(sorted(document["id"] for document in found.values()) == list(range(3000)), f"{framing}: {len(found)} documents")
                points = influx.points("rows", framing)
                expect(sorted(point["id"] for point in points) == list(range(3000)), f"{framing}: {len(points)} points")
    finally:
        influx.close()


SEARCH = None
CASES = [case_influx, case_influx_hostile, case_influx_partial, case_influx_comes_late, case_elastic, case_elastic_items, case_elastic_stream, case_rows]


def run_case(case):
    """True when it held; None when it cannot run here."""
    with tempfile.TemporaryDirectory() as path:
        folder = pathlib.Path(path)
        started = time.monotonic()
        try:
            with embedded_broker(folder, (), 4) as address:
                facts = case(Bench(folder, address)) or ""
            print(f"ok    {case.__name__} ({time.monotonic() - started:.1f} s) {facts}", flush=True)
            return True
        except Skip as reason:
            print(f"SKIP: {case.__name__}: {reason}", flush=True)
            return None
        except Wrong as error:
            print(f"FAIL  {case.__name__}\n      {error}", flush=True)
        except Exception:  # pylint: disable=broad-except
            print(f"FAIL  {case.__name__}", flush=True)
            traceback.print_exc(file=sys.stdout)
        return False


def main():
    global SEARCH  # pylint: disable=global-statement
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    wanted = [case for case in CASES if not sys.argv[1:] or case.__name__.removeprefix("case_") in sys.argv[1:]]
    results = []
    try:
        if any("elastic" in case.__name__ or "rows" in case.__name__ for case in wanted):
            SEARCH = Search()
            try:
                SEARCH.start()
            except Skip as reason:
                print(f"SKIP: {reason}")
                wanted = [case for case in wanted if "influx" in case.__name__]
        results = [run_case(case) for case in wanted]
    finally:
        if SEARCH:
            SEARCH.close()
    sys.exit(1 if False in results else 77 if not any(results) else 0)


main()
