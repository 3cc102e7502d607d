#!/usr/bin/env python3
"""The sinks influx and elastic against a server that fails as it is told, with the real program. The server proves what the client does, not
what servers do: for that see test_sinks.py."""
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import urllib.parse

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "kafka"))
from rig import Wrong, expect, wait_for  # noqa: E402
from servers import Fake  # noqa: E402
from examples import MILLRACE, ROOT, call, embedded_broker  # noqa: E402

RECORDS = 3000
OK = (204, {}, b"")


class Job:
    """A run of a job with one sink; its report."""

    def __init__(self, bench, sink, count=RECORDS, flags=("--until", "end"), **changes):
        job = {
            "job": "faults",
            "source": {"type": "kafka", "topics": ["in"], "group": bench.group(), "properties": {"bootstrap.servers": bench.address}},
            "record": {"format": "json", "features": ["Temperature"]},
            "models": [{"name": "m", "type": "mlp", "file": str(ROOT / "datasets/temperature/regime.safetensors")}],
            "emit": {"fields": {"id": "id", "text": "text"}},
            "sinks": [sink],
            "bad_records": {"drop": True},
            "lanes": 1,
            "progress_interval": "100ms",
            **changes,
        }
        self.path = bench.folder / f"{job['source']['group']}.json"
        self.path.write_text(json.dumps(job))
        self.count = count
        self.log = tempfile.TemporaryFile("a+")
        self.out = tempfile.TemporaryFile("a+")
        self.process = subprocess.Popen([MILLRACE, "run", str(self.path), "--json", *flags], text=True, stdout=self.out, stderr=self.log)

    def said(self):
        self.log.seek(0)
        return self.log.read()

    def progress(self):
        """The last line of progress, or the report."""
        self.out.seek(0)
        lines = [line for line in self.out.read().splitlines(keepends=True) if line.endswith("\n")]
        return json.loads(lines[-1]) if lines else {}

    def wait(self, condition, what):
        def look():
            value = self.progress()
            return condition(value) if value else None
        try:
            wait_for(lambda: look() or self.process.poll() is not None, what, 60)
        except Wrong as error:
            raise Wrong(f"{error}; {self.progress()}; {self.said()[-1000:]}") from None
        expect(condition(self.progress()), f"it ended before: {what}; {self.said()[-2000:]}")

    def wait_said(self, text):
        wait_for(lambda: text in self.said() or self.process.poll() is not None, text, 60)
        expect(text in self.said(), f"it ended without saying \"{text}\": {self.said()[-2000:]}")

    def end(self, code=0, deadline_s=60):
        got = self.process.wait(deadline_s)
        expect(got == code, f"exit code {got}, not {code}: {self.said()[-3000:]}")
        return self.progress()

    def finish(self):
        """All is acknowledged, or dead: then it is asked to end. (At the end of an input a required sink is waited for no longer than 5 s.)"""
        self.wait(lambda value: value["total"]["records_out"] + value["total"]["records_dead"] == RECORDS, "all acknowledged")
        self.process.send_signal(signal.SIGTERM)
        return self.end()

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


class Bench:
    def __init__(self, folder, address):
        self.folder, self.address, self.groups, self.jobs = folder, address, 0, []

    def group(self):
        self.groups += 1
        return f"faults{self.groups}"

    def send(self, count=RECORDS, pad=0, first=0):
        path = self.folder / "in.jsonl"
        path.write_text("".join(json.dumps({"id": index, "Temperature": 70, "text": "x" * pad}) + "\n" for index in range(first, first + count)))
        call(MILLRACE, "replay", path, "--topic", "in", "-b", self.address)

    def start(self, sink, **words):
        self.jobs.append(Job(self, sink, **words))
        return self.jobs[-1]

    def close(self):
        for job in self.jobs:
            job.kill()


def influx_of(fake, **options):
    return {"type": "influx", "url": fake.url, "database": "d", "measurement": "m", "integers": ["id"], "linger": "10ms", **options}


def elastic_of(fake, **options):
    return {"type": "elastic", "urls": [fake.url], "index": "i", "template": "none", "linger": "10ms", **options}


def ids_of(body):
    """Numbers of the records in lines, or in documents."""
    return [int(number) for number in re.findall(rb'[ ,]id=(\d+)i|"id":(\d+)', body) for number in number if number]


def script(*answers, then=OK):
    """Answers the first requests so, all others with `then`, which may be a function of the request."""
    left = list(answers)

    def answer(request):
        one = left.pop(0) if left else then
        return one(request) if callable(one) else one
    return answer


def bulk_answer(request, judge=lambda number: (201, None), delay=None):
    """What a bulk request is answered; judge: record number -> status and error."""
    items, numbers = [], ids_of(request.body)
    for number in numbers:
        status, error = judge(number)
        items.append({"index": {"status": status, **({"error": {"type": error, "reason": f"because of {number}"}} if error else {})}})
    return 200, {"Content-Type": "application/json"}, json.dumps({"errors": any("error" in item["index"] for item in items), "items": items}).encode()


def delivered_once(fake, count=RECORDS, good=lambda index: True):
    """The answers that the script called good covered every record, some more than once where it had to be sent again."""
    numbers = {number for index, request in enumerate(fake.requests) if good(index) for number in ids_of(request.body)}
    expect(numbers == set(range(count)), f"{len(numbers)} of {count} records came, in {len(fake.requests)} requests")


def required_survives(bench, sink, *faults, good):
    """A required sink delivers all, whatever the first answers were; the report has nothing dropped."""
    then = OK if sink is influx_of else bulk_answer
    fake = Fake(script(*faults, then=then))
    try:
        report = bench.start(sink(fake, required=True), flags=()).finish()
        delivered_once(fake, good=good)
        told = report["sinks"][0]
        expect(told["records_delivered"] == RECORDS == report["records_out"] and not told["records_dropped"] + told["records_refused"], f"{told}")
        expect(not told["is_failing"], f"{told}")
        return fake.requests
    finally:
        fake.close()


def case_errors(bench):
    """503, 500, 429, a connection that is closed, half an answer: sent again, all of it."""
    bench.send()
    for sink in (influx_of, elastic_of):
        faults = [(503, {}, b"later"), (500, {}, b""), (429, {}, b""), "cut", "half"]
        required_survives(bench, sink, *faults, good=lambda index: index >= 5)


def case_retry_after(bench):
    """What the server says is heeded."""
    bench.send()
    requests = required_survives(bench, influx_of, (429, {"Retry-After": "2"}, b"{}"), good=lambda index: index >= 1)
    waited = requests[1].at - requests[0].at
    expect(waited >= 2, f"it waited {waited:.2f} s")
    return f"{waited:.2f} s after 2 s were asked for"


def case_backoff(bench):
    """Waits grow."""
    bench.send()
    requests = required_survives(bench, influx_of, *[(503, {}, b"")] * 6, good=lambda index: index >= 6)
    gaps = [after.at - before.at for before, after in zip(requests, requests[1:7])]
    expect(all(gap >= 0.05 * 2 ** index for index, gap in enumerate(gaps)), f"{gaps}")  # at least half of 100 ms, 200 ms, ...


def case_timeout(bench):
    """A server that hangs: the request is given up and sent again."""
    bench.send()
    fake = Fake(script("hang"))
    try:
        report = bench.start(influx_of(fake, required=True, timeout="300ms"), flags=()).finish()
        delivered_once(fake, good=lambda index: index >= 1)
        expect(report["sinks"][0]["retries"] >= 1 and "timed out" in report["sinks"][0]["last_error"].lower(), f"{report['sinks']}")
    finally:
        fake.close()


def case_cut_body(bench):
    """The connection ends in the middle of a body."""
    bench.send(pad=500)
    fake = Fake(script())
    fake.cut_bodies = 2
    try:
        report = bench.start(influx_of(fake, required=True, gzip=False), flags=()).finish()
        delivered_once(fake)
        expect(report["sinks"][0]["retries"] == 2, f"{report['sinks']}")
    finally:
        fake.close()


def case_one_bad_row(bench):
    """A 400 because of some points: the others arrive, the bad ones are refused, each by itself; a text that says that all are bad is believed."""
    bench.send()
    bad = {0, 1500, 1501, 2999}

    def judge(request):
        wrong = [number for number in ids_of(request.body) if number in bad]
        return (400, {}, json.dumps({"error": f"partial write: wrong dropped={len(wrong)}"}).encode()) if wrong else OK
    fake = Fake(judge)
    try:
        report = bench.start(influx_of(fake, required=True), flags=()).finish()
        good = {number for request in fake.requests if judge(request) is OK for number in ids_of(request.body)}
        expect(good == set(range(RECORDS)) - bad, f"{len(good)} records")
        expect(report["records_dead"] == 4 and report["reasons"] == {"refused": 4}, f"{report['reasons']}")
    finally:
        fake.close()
    fake = Fake(lambda request: (400, {}, json.dumps({"error": f"dropped={len(ids_of(request.body))}"}).encode()))
    try:
        job = bench.start(influx_of(fake))
        report = job.end()
        expect(report["sinks"][0]["records_refused"] == RECORDS and report["records_out"] == RECORDS, f"{report}")
        expect(len(fake.requests) < 30, f"{len(fake.requests)} requests")
        expect("is left out: " in job.said(), job.said()[-1000:])
    finally:
        fake.close()


def case_too_large(bench):
    """413: smaller requests."""
    bench.send(pad=200)
    fake = Fake(lambda request: (413, {}, b"too large") if len(request.body) > 20_000 else OK)
    try:
        bench.start(influx_of(fake, required=True), flags=()).finish()
        delivered_once(fake, good=lambda index: len(fake.requests[index].body) <= 20_000)
    finally:
        fake.close()


def case_items(bench):
    """Of a bulk answer, items that say later are sent again, and no others; items that are refused are dead letters."""
    bench.send()
    late = set(range(100, 150))

    def answer(request):
        def judge(number):
            if number in late:
                late.discard(number)
                return [(429, "rejected_execution_exception"), (503, "unavailable_shards_exception"), (400, "index_closed_exception"),
                        (403, "cluster_block_exception")][number % 4]
            return (400, "mapper_parsing_exception") if number in (7, 2000) else (201, None)
        return bulk_answer(request, judge)
    fake = Fake(answer)
    try:
        report = bench.start(elastic_of(fake, required=True), flags=()).finish()
        times = {}
        for request in fake.requests:
            for number in ids_of(request.body):
                times[number] = times.get(number, 0) + 1
        expect(set(times) == set(range(RECORDS)) and {number for number, count in times.items() if count == 2} == set(range(100, 150)), "others were sent again")
        expect(max(times.values()) == 2 and report["records_dead"] == 2 and report["reasons"] == {"refused": 2}, f"{report}")
        text = fake.requests[0].body.split(b"\n")
        expect(re.fullmatch(rb'\{"index":\{"_index":"i","_id":"in-\d-\d+"\}\}', text[0]) and b'"@timestamp":"20' in text[1], f"{text[:2]}")
    finally:
        fake.close()


def case_wrong_answers(bench):
    """A 200 that is not what a bulk request gets: nothing counts as delivered, and it is sent again."""
    bench.send()
    faults = [(200, {}, b"<html>welcome</html>"), (200, {}, b"{}"), (200, {}, b'{"errors":false,"items":[]}'), (200, {}, b'{"items":[{"index":{"status":"x"}}]}'),
              (200, {}, b'{"items":' + b"[" * 5000), (200, {}, b"")]
    required_survives(bench, elastic_of, *faults, good=lambda index: index >= len(faults))


def case_strangers(bench):
    """What no server of data says is no verdict on records: a page of a proxy, whatever its status, and plain HTTP sent to a TLS port."""
    bench.send()
    pages = [(200, {"Content-Type": "text/html"}, b"\n<!doctype html><p>Please log in"), (400, {}, b"Client sent an HTTP request to an HTTPS server.\n")]
    for make, faults in ((influx_of, pages), (elastic_of, pages[1:] + [(400, {}, b"<html>The plain HTTP request was sent to HTTPS port</html>")])):
        required_survives(bench, make, *faults, good=lambda index: index >= 2)
    fake = Fake(script(then=pages[1]))
    try:
        job = bench.start(influx_of(fake, required=True))
        job.end(69)
        expect("check http or https" in job.said(), job.said()[-1000:])
    finally:
        fake.close()


def case_redirect(bench):
    """No credentials go to another server, and the remedy is told."""
    bench.send()
    other = Fake(lambda _: OK)
    fake = Fake(lambda _: (302, {"Location": other.url}, b""))
    try:
        job = bench.start(influx_of(fake, required=True, user="u", password="p"))
        job.end(69)
        expect("redirects are not followed" in job.said() and not other.requests, job.said()[-1000:])
    finally:
        fake.close()
        other.close()


def case_drop(bench):
    """A sink that is not required, and a server that hangs: everything is scored; what does not fit is dropped and told."""
    bench.send(pad=200)
    fake = Fake(lambda _: "hang")
    try:
        job = bench.start(influx_of(fake, queue="64KiB", timeout="60s"), flags=())
        job.wait(lambda value: value.get("total", value).get("records_out") == RECORDS, "all scored")
        started = time.monotonic()
        job.process.send_signal(signal.SIGTERM)
        report = job.end(0, 30)
        took = time.monotonic() - started
        told = report["sinks"][0]
        expect(told["records_dropped"] == RECORDS and not told["records_delivered"] and took < 10, f"{told}, {took:.1f} s")
        return f"{took:.1f} s to end"
    finally:
        fake.close()


def case_spill(bench):
    """Down for long: records go to the disk, and come back in their order when the server is there again; none is lost."""
    bench.send(20_000, pad=100)
    fake = Fake(script())
    fake.stop()
    folder = bench.folder / "spill"
    try:
        job = bench.start(influx_of(fake, queue="64KiB", overflow="spill", spill=str(folder), batch_records=500), flags=())
        job.wait(lambda value: value["sinks"][0]["spill_bytes"] > 2_000_000 and value["total"]["records_out"] == 20_000, "all on the disk")
        fake.start()
        job.wait(lambda value: value["sinks"][0]["records_delivered"] == 20_000, "all delivered")
        job.process.send_signal(signal.SIGTERM)
        report = job.end()
        delivered_once(fake, 20_000)
        numbers = [number for request in fake.requests for number in ids_of(request.body)]
        expect(numbers == list(range(20_000)), f"{len(numbers)} lines, not in the order of their records")
        expect(report["sinks"][0]["records_spilled"] > 15_000 and not report["sinks"][0]["records_dropped"], f"{report['sinks']}")
        left = [name for name in os.listdir(folder) if name.endswith(".spill")]
        expect(not left, f"{left} are left")
        return f"{report['sinks'][0]['records_spilled']} of 20000 were spilled"
    finally:
        fake.close()


def case_spill_restart(bench):
    """What is on the disk at the end, or at a kill, the next run delivers first; a second process has no right to it; the bound holds."""
    bench.send(20_000, pad=100)
    fake = Fake(script())
    fake.stop()
    folder = bench.folder / "kept"
    sink = influx_of(fake, queue="64KiB", overflow="spill", spill=str(folder), spill_max="64MiB")
    try:
        job = bench.start(sink)
        report = job.end()
        expect(not report["sinks"][0]["records_dropped"] and "the next run delivers them" in job.said(), f"{report['sinks']} {job.said()[-1000:]}")
        fake.start()
        bench.send(10, first=20_000)  # the topic's end: the next run has little to do of its own
        second = bench.start(sink, flags=())
        second.wait(lambda value: value["sinks"][0]["records_delivered"] >= 20_010, "all delivered")
        third = bench.start(sink, flags=())
        third.end(69)
        expect("another process spills to" in third.said(), third.said()[-1000:])
        second.process.send_signal(signal.SIGTERM)
        second.end()
        numbers = {number for request in fake.requests for number in ids_of(request.body)}
        expect(numbers >= set(range(20_010)), f"{len(numbers)} of 20010 came")
        fake.stop()
        job = bench.start(influx_of(fake, queue="64KiB", overflow="spill", spill=str(bench.folder / "small"), spill_max="1MiB"))
        report = job.end()
        told = report["sinks"][0]
        size = sum(entry.stat().st_size for entry in os.scandir(bench.folder / "small"))
        expect(told["records_dropped"] > 0 and told["records_spilled"] + told["records_dropped"] == 20_010 and size <= 1 << 20, f"{told}, {size} bytes")
        fake.start()
    finally:
        fake.close()


def case_runs(bench):
    """A source that cannot be read again counts from 0 in each run: no document of one run replaces one of another; within a run ids repeat."""
    refused_once = script((503, {}, b""), then=bulk_answer)
    fake = Fake(refused_once)
    path = bench.folder / "runs.json"
    path.write_text(json.dumps({
        "job": "runs", "source": {"type": "stdin"}, "record": {"format": "json", "features": ["Temperature"]}, "bad_records": {"drop": True},
        "models": [{"name": "m", "type": "mlp", "file": str(ROOT / "datasets/temperature/regime.safetensors")}],
        "emit": {"fields": {"id": "id"}}, "sinks": [elastic_of(fake, required=True)]}))
    try:
        for run in range(2):
            text = "".join(json.dumps({"id": 100 * run + index, "Temperature": 70}) + "\n" for index in range(100))
            done = subprocess.run([MILLRACE, "run", str(path), "--json"], input=text, text=True, capture_output=True, timeout=60)
            expect(done.returncode == 0, done.stderr[-1000:])
        ids = [name for request in fake.requests for name in re.findall(rb'"_id":"<stdin>@[0-9a-f]+-0-\d+"', request.body)]
        expect(len(ids) == 300 and len(set(ids)) == 200, f"{len(ids)} ids, {len(set(ids))} of them different: {ids[:3]}")
    finally:
        fake.close()


def case_addresses(bench):
    """An address or a name that no request can be made of is found before anything runs: a server that is asked would refuse each record."""
    path = bench.folder / "checked.json"
    model = str(ROOT / "datasets/temperature/regime.safetensors")

    def check(code, words, **sink):
        path.write_text(json.dumps({
            "job": "checked", "source": {"type": "stdin"}, "record": {"format": "json", "features": ["Temperature"]}, "bad_records": {"drop": True},
            "models": [{"name": "m", "type": "mlp", "file": model}], "emit": {"fields": {"id": "id"}}, "sinks": [sink]}))
        done = subprocess.run([MILLRACE, "check", str(path)], text=True, capture_output=True, timeout=60)
        expect(done.returncode == code and words in done.stdout + done.stderr, f"{sink}: {done.returncode} {done.stdout}{done.stderr}")

    influx = {"type": "influx", "measurement": "m"}
    for url in ("http://h", "http://h:8086", "https://[::1]:8086/base", "http://[::1]", "http://h/a:b"):
        check(0, "ok", **influx, database="d", url=url)
    for url in ("http://h:80x6", "http://h:99999", "http://h:0", "http://h:", "http://:8086", "http://", "http://[::1]:x/"):
        check(78, "a port of 1 to 65535", **influx, database="d", url=url)
        check(78, "a port of 1 to 65535", type="elastic", index="i", urls=["http://h:9200", url])
    check(78, "database: must not be empty", **influx, database="")
    check(78, "bucket: must not be empty", **influx, org="o", bucket="")
    check(78, "expected database", **influx)


def case_requests(bench):
    """What a request looks like: path, headers, compression, token of version 2 from a file; nothing secret is told."""
    bench.send(pad=10)
    secret = bench.folder / "token"
    secret.write_text("t0ken-word\n")
    fake = Fake(lambda _: OK)
    try:
        sink = {"type": "influx", "url": fake.url + "/base/", "org": "my org", "bucket": "b&c", "measurement": "m", "token_file": str(secret),
                "precision": "ms", "same_time": "overwrite", "integers": ["id"]}
        job = bench.start(sink)
        report = job.end()
        request = fake.requests[0]
        path = urllib.parse.urlsplit(request.path)
        expect(path.path == "/base/api/v2/write" and urllib.parse.parse_qs(path.query) == {"org": ["my org"], "bucket": ["b&c"], "precision": ["ms"]}, request.path)
        expect(request.headers["Authorization"] == "Token t0ken-word" and request.headers["Content-Encoding"] == "gzip", f"{request.headers}")
        expect(re.fullmatch(rb'm id=\d+i,text="x{10}" 1\d{12}', request.body.splitlines()[0]), f"{request.body[:100]}")
        expect(0 < report["sinks"][0]["bytes_sent"] < len(b"".join(one.body for one in fake.requests)) / 3, f"{report['sinks']}")
        sink["token"] = "${env:SECRET_WORD}"
        del sink["token_file"]
        path = bench.folder / "shown.json"
        path.write_text(json.dumps({**json.loads(job.path.read_text()), "sinks": [sink]}))
        shown = subprocess.run([MILLRACE, "config", "show", str(path)], text=True, capture_output=True, env={**os.environ, "SECRET_WORD": "t0ken-word"})
        expect(shown.returncode == 0 and '"[set]"' in shown.stdout and "t0ken-word" not in shown.stdout + shown.stderr + job.said(), shown.stdout + shown.stderr)
    finally:
        fake.close()


CASES = [case_errors, case_retry_after, case_backoff, case_timeout, case_cut_body, case_one_bad_row, case_too_large, case_items, case_wrong_answers, case_strangers,
         case_redirect, case_drop, case_spill, case_spill_restart, case_runs, case_addresses, case_requests]


def run_case(case):
    with tempfile.TemporaryDirectory() as path:
        folder = pathlib.Path(path)
        started = time.monotonic()
        try:
            with embedded_broker(folder, ("in",), 1) as address:
                bench = Bench(folder, address)
                try:
                    facts = case(bench) or ""
                finally:
                    bench.close()
            print(f"ok    {case.__name__} ({time.monotonic() - started:.1f} s) {facts}", flush=True)
            return True
        except Wrong as error:
            print(f"FAIL  {case.__name__}\n      {error}", flush=True)
        except Exception:  # pylint: disable=broad-except
            print(f"FAIL  {case.__name__}", flush=True)
            traceback.print_exc(file=sys.stdout)
        return False


def main():
    wanted = [case for case in CASES if not sys.argv[1:] or case.__name__.removeprefix("case_") in sys.argv[1:]]
    sys.exit(0 if all([run_case(case) for case in wanted]) else 1)


main()
