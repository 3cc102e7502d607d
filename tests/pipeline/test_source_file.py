#!/usr/bin/env python3
"""The sources file and stdin in real runs: formats, where reading goes on, kill -9, rotation, files that shrink, are replaced, unreadable or
full of junk, records that are too long, and jobs that learn and go on where their state ends."""
import gzip
import json
import os
import pathlib
import random
import signal
import struct
import subprocess
import sys
import tempfile
import time

from examples import MILLRACE, ROOT, call, embedded_broker, fail
from sources import HOOKED, Job, line, lines, must_say


def once(folder):
    """All of a file, then nothing, then what was appended; the last line needs no line break."""
    job = Job(folder, {"type": "file", "path": "in.jsonl"})
    source = job.folder / "in.jsonl"
    source.write_text(lines(0, 5000).rstrip("\n"))
    report = job.run()
    if report["records_in"] != 5000:
        fail(f"{report}")
    job.run("--until", "end")
    job.is_all(5000)
    with open(source, "a") as file:
        file.write("\n" + lines(5000, 5010))
    job.run()
    job.is_all(5010)
    (job.folder / "in.jsonl.t.positions").unlink()
    job.run()
    if len(job.numbers()) != 10020:
        fail("without positions it must begin anew")


def formats(folder):
    """CSV with a header and quoted line breaks, packed rows, blocks, gzip: the same numbers; dead letters name file and line."""
    for name, record, content in (
            ("csv", {"format": "csv", "header": "file"}, b"\xef\xbb\xbfn,note,x\r\n" + b"".join(b'%d,"a ""quoted""\nline",%d\r\n' % (i, i % 10) for i in range(3000))),
            ("columns", {"format": "csv", "columns": ["n", "note", "x"]}, b"".join(b"%d,plain,%d\n" % (i, i % 10) for i in range(3000))),
            ("lines", {"format": "json", "framing": "lines"}, lines(0, 3000).encode()),
            ("csvlines", {"format": "csv", "header": "file", "framing": "lines"}, b"n,x\n" + b"".join(b"%d,%d\n" % (i, i % 10) for i in range(3000))),
            ("gz", {"format": "json"}, lines(0, 3000).encode())):
        path = "in.gz" if name == "gz" else "in"
        job = Job(folder / name, {"type": "file", "path": path}, record={"features": ["x"], **record})
        if name not in ("gz", "lines"):  # captured text of CSV is text
            job.job["emit"]["fields"] = {"n": "n"}
        job.write()
        (job.folder / path).write_bytes(gzip.compress(content) if name == "gz" else content)
        job.run()
        if [int(answer["n"]) for answer in job.answers()] != list(range(3000)):
            fail(f"{name}: {job.answers()[:3]} ... of {len(job.answers())}")
    rows = [(float(i), float(i % 10)) for i in range(3000)]
    for framing in ("single", "packed"):
        job = Job(folder / framing, {"type": "file", "path": "in"}, record={"format": "f32", "framing": framing, "stride": 8, "features": ["[1]"]},
                  emit={"fields": {"x": "[1]"}})
        (job.folder / "in").write_bytes(b"".join(struct.pack("<ff", *row) for row in rows) + b"\1\2\3")
        job.run()
        if [answer["x"] for answer in job.answers()] != [x for _, x in rows]:
            fail(f"f32 {framing}: {len(job.answers())} rows")
        if [dead["error"] for dead in job.deads()] != ["length"] or "row 3001" not in job.deads()[0]["place"]:
            fail(f"f32 {framing}: {job.deads()}")


def places(folder):
    """A dead letter says file and line, whichever way records are cut."""
    for name, record in (("single", {}), ("lines", {"framing": "lines"})):
        job = Job(folder / name, {"type": "file", "path": "in"}, record={"format": "json", "features": ["x"], **record})
        bad = [7, 8, 400, 19999]
        (job.folder / "in").write_text("".join("\n" + ("{bad\n" if i in bad else line(i)) for i in range(20000)))
        job.run()
        want = [f"{job.folder / 'in'}:{2 * i + 2}" for i in bad]
        if [dead["place"] for dead in job.deads()] != want:
            fail(f"{name}: {[dead['place'] for dead in job.deads()]}, not {want}")


def junk(folder):
    """Binary junk, records of any length, an empty file: dead letters and nothing worse."""
    job = Job(folder, {"type": "file", "path": "in"}, record={"format": "json", "features": ["x"], "bytes_max": "1kB"})
    noise = random.Random(5).randbytes(3_000_000)
    (job.folder / "in").write_bytes(lines(0, 100).encode() + noise + b"\n" + b'{"n":1,"x":"' + b"y" * 2_000_000 + b'"}\n' + lines(100, 200).encode())
    report = job.run()
    job.is_all(200)
    if report["records_in"] != 200 + len(job.deads()) or not any(dead["error"] == "size" for dead in job.deads()):
        fail(f"{report}, {len(job.deads())} dead letters")
    must_say(job.said, "longer than record.bytes_max")
    empty = Job(folder / "empty", {"type": "file", "path": "in"})
    (empty.folder / "in").write_text("")
    empty.run()
    headless = Job(folder / "headless", {"type": "file", "path": "in"}, record={"format": "csv", "header": "file", "features": ["x"], "bytes_max": "1kB"}, emit={"fields": {"x": "x"}})
    (headless.folder / "in").write_bytes(b"x" * 500_000)
    headless.run(codes=(65,))
    must_say(headless.said, "must name the columns")
    torn = Job(folder / "torn", {"type": "file", "path": "in.gz"})
    (torn.folder / "in.gz").write_bytes(gzip.compress(os.urandom(50_000).hex().encode())[:-2000])
    torn.run(codes=(65,))
    must_say(torn.said, "no whole gzip file")


def refused(folder):
    """What cannot be read, or is not what was read, is said by name; nothing is begun."""
    job = Job(folder, {"type": "file", "path": "in"})
    job.run(codes=(66,))
    must_say(job.said, str(job.folder / "in"), "give the path of a file")
    (job.folder / "in").mkdir()
    job.run(codes=(66,))
    must_say(job.said, "source.type dir")
    (job.folder / "in").rmdir()
    (job.folder / "in").write_text(lines(0, 100))
    job.run()
    (job.folder / "in").unlink()
    (job.folder / "in").write_text(lines(200, 400))
    job.run(codes=(65,))
    must_say(job.said, "is not the file that was read before", "positions")
    job.is_all(100)
    (job.folder / "in").chmod(0)
    job.run(codes=(66,), **job.as_nobody())
    must_say(job.said, "right to read")
    (job.folder / "in").chmod(0o644)
    for change, words in (({"delivery": "exactly-once"}, ("offsets go into transactions", "at-least-once", "millrace replay")),
                          ({"record": {"format": "csv", "header": "message", "features": ["x"]}}, ("stands once a file",)),
                          ({"sinks": [{"type": "kafka", "topic": "o"}]}, ("names no broker",)),
                          ({"bad_records": {"topic": "d"}}, ("names no broker",)),
                          ({"sinks": [{"type": "file", "path": "in"}]}, ("a file that the job reads",)),
                          ({"lanes": 2}, ("one lane",))):
        other = Job(folder / "other", {"type": "file", "path": str(job.folder / "in")}, **change)
        if "sinks" in change and "path" in change["sinks"][0]:
            other.job["sinks"][0]["path"] = str(job.folder / "in")
            other.write()
        done = call(MILLRACE, *(("run",) if "lanes" in change else ("check",)), other.path, codes=(78,))
        must_say(done.stderr, *words)
    done = call(MILLRACE, "run", job.path, "--feed", job.folder / "in", codes=(64,))
    must_say(done.stderr, "give the file to the source itself")
    with job_following(folder / "two") as run:
        run.out(10)
        done = call(MILLRACE, "run", run.job.path, codes=(66,))
        must_say(done.stderr, "another run of job")
        run.stop()


def long_halves(folder):
    """A run that ends within a record that is too long: the next one passes over its rest, too, which looks like a record."""
    job = Job(folder, {"type": "file", "path": "in", "follow": True}, record={"format": "json", "features": ["x"], "bytes_max": "1kB"})
    path = job.folder / "in"
    path.write_text(lines(0, 10))
    with job.start() as run:
        run.out(10)
        append(path, "y" * 200_000)
        run.until("its dead letter", lambda: job.dead.exists() and job.dead.read_text().endswith("\n"))
        run.until("its commit", lambda: "\n0\t11\t" in (job.folder / "in.t.positions").read_text())
        append(path, "y" * 200_000)
        run.stop()
    append(path, line(999) + lines(11, 20))
    with job.start() as run:
        run.out(19).stop()
    if job.numbers() != [*range(10), *range(11, 20)] or [answer["o"] for answer in job.answers()] != job.numbers():
        fail(f"{job.answers()}")
    if len(job.deads()) != 1:
        fail(f"{len(job.deads())} dead letters")


def job_following(folder, source=(), **more):
    job = Job(folder, {"type": "file", "path": "in", "follow": True, **dict(source)}, **more)
    (job.folder / "in").write_text(lines(0, 10))
    return job.start()


def append(path, text):
    with open(path, "a") as file:
        file.write(text)


def followed(folder):
    """tail -F: what is appended, half lines, rotation by renaming and by cutting off; also while nobody looks."""
    with job_following(folder) as run:
        job, path = run.job, run.job.folder / "in"
        run.out(10)
        append(path, lines(10, 20) + line(20)[:5])
        run.out(20)
        append(path, line(20)[5:])
        run.out(21)
        path.rename(job.folder / "in.1")
        append(job.folder / "in.1", line(21))  # its writer does not know yet
        path.write_text(lines(22, 30))
        run.out(30).says("was rotated")
        path.unlink()
        run.says("waiting for it to come back")
        path.write_text(lines(30, 40))
        run.out(40)
        path.write_text("")  # cut off, as copytruncate does
        run.says("was cut off and written anew")
        append(path, lines(40, 50))
        run.out(50)
        append(path, '{"n":99')  # never ended
        run.stop()
    job.is_all(50)
    append(path, "\n" + lines(50, 55))  # the half line is a dead letter now
    path.rename(job.folder / "in.2")
    path.write_text(lines(55, 60))
    job.run("--until", "end")
    job.is_all(60)
    must_say(job.said, "was renamed to", "in.2")
    if [dead["error"] for dead in job.deads()] != ["syntax"]:
        fail(f"{job.deads()}")
    path.write_text("#" + lines(60, 61))  # written anew, while nobody looked: shorter
    job.run("--until", "end")
    must_say(job.said, "was written anew since", "lost")
    (job.folder / "in").rename(folder / "elsewhere")
    path.write_text(lines(61, 62))
    (folder / "elsewhere").rename(folder.parent / "far away")
    job.run("--until", "end")
    must_say(job.said, "is not in its folder any more", "lost")
    if job.numbers()[-1] != 61:
        fail(f"{job.numbers()[-5:]}")
    late = Job(folder / "late", {"type": "file", "path": "in", "follow": True, "start": "latest"})
    (late.folder / "in").write_text(lines(0, 10) + line(10)[:4])
    with late.start() as run:
        run.says("backend")
        run.until("positions", lambda: (late.folder / "in.t.positions").exists())
        append(late.folder / "in", line(10)[4:])
        for number in range(11, 2000):  # until the first that comes after the start
            append(late.folder / "in", line(number))
            if late.answers():
                break
            run.process.poll() is None or fail(run.said())
        run.out(1).stop()
    if late.numbers()[0] <= 10:
        fail(f"start latest began with {late.numbers()[:3]}")


def shrinks(folder):
    """A file that shrinks under a run that does not follow it ends that run: neither is it read again nor passed over."""
    job = Job(folder, {"type": "file", "path": "in"}, batch={"records_max": 64})
    (job.folder / "in").write_text(lines(0, 200_000))
    hold = job.folder / "hold"
    environment = {"MILLRACE_WAIT_AT": f"batch.learned:1:{hold}"}
    job.job["models"] = [{"name": "m", "type": "linear", "learn": True}]
    job.job["record"]["label"] = "x"
    job.write()
    with job.start(program=HOOKED, environment=environment) as run:
        run.until("hold.reached", lambda: (job.folder / "hold.reached").exists())
        os.truncate(job.folder / "in", 2000)
        hold.write_text("")
        must_say(run.end(65), "has shrunk to 2000 bytes", "follow")
    numbers = job.numbers()
    if numbers != list(range(len(numbers))) or not numbers:
        fail("what was read before must stand")


def killed(folder):
    """kill -9 at many moments, and a restart: nothing is lost, order is kept, and no more is repeated than was not committed."""
    job = Job(folder, {"type": "file", "path": "in"}, batch={"records_max": 100}, commit_interval="1ms",
              models=[{"name": "m", "type": "linear", "learn": True, "step": 0.001}])  # a learner, for its moments
    job.job["record"]["label"] = "x"
    job.write()
    (job.folder / "in").write_text(lines(0, 60_000))
    moments = ("batch.learned:1", "batch.learned:50", "positions.begin:1", "positions.begin:3", "positions.written:2", "positions.written:1", "batch.learned:99")
    for moment in moments:
        with job.start(program=HOOKED, environment={"MILLRACE_CRASH_AT": moment}) as run:
            run.end(-signal.SIGKILL)
    job.run()
    numbers = job.numbers()
    if set(numbers) != set(range(60_000)):
        fail(f"{60_000 - len(set(numbers))} records are lost")
    steps = [(a, b) for a, b in zip(numbers, numbers[1:]) if b != a + 1]
    if len(steps) > len(moments) or any(b > a for a, b in steps):
        fail(f"order is broken: {steps}")
    if len(numbers) > 60_000 + 100 * 250 or not steps:
        fail(f"{len(numbers) - 60_000} records came again")


def most_once(folder):
    """At most once: what was taken is committed first; a kill loses it and repeats nothing."""
    job = Job(folder, {"type": "file", "path": "in"}, batch={"records_max": 100}, delivery="at-most-once")
    job.job["models"], job.job["record"]["label"] = [{"name": "m", "type": "linear", "learn": True, "step": 0.001}], "x"
    job.write()
    (job.folder / "in").write_text(lines(0, 30_000))
    with job.start(program=HOOKED, environment={"MILLRACE_CRASH_AT": "batch.learned:20"}) as run:
        run.end(-signal.SIGKILL)
    job.run()
    numbers = job.numbers()
    if not 29_000 < len(numbers) < 30_000:
        fail(f"{len(numbers)} of 30,000: a batch was lost, and no more")
    if len(numbers) != len(set(numbers)) or numbers != sorted(numbers):
        fail("at most once, and something came twice")


def learned(folder):
    """A job with a state file goes on where its state ends, killed or not: the model is that of one run, bit for bit."""
    def learner(name, by):
        job = Job(folder / name, {"type": "file", "path": str(folder / "plane.jsonl")},
                  record={"format": "json", "features": ["x1", "x2"], "label": "y"},
                  models=[{"name": "std", "type": "scaler", "learn": True, "save": "std.safetensors"},
                          {"name": "m", "type": "linear", "input": "std", "learn": True, "step": 0.1, "save": "m.safetensors"}],
                  emit={"fields": {"n": "@offset", "o": "@offset"}}, batch={"records_max": 64, "by": by},
                  state={"file": "t.state", "interval": "50ms"})
        job.job["source"]["positions"] = f"{name}.positions"
        job.write()
        return job

    folder.mkdir()
    points = call(sys.executable, ROOT / "datasets/plane/generate.py").stdout
    (folder / "plane.jsonl").write_text(points)
    whole = learner("whole", "offsets")
    whole.run()
    whole.is_all(20_000)
    parts = learner("parts", "offsets")
    for until in ("1000", "37", "5000", "1", "end"):
        parts.run("--until", until)
    for kind in ("std", "m"):
        if (parts.folder / f"{kind}.safetensors").read_bytes() != (whole.folder / f"{kind}.safetensors").read_bytes():
            fail(f"{kind}: a run in parts has learned something else")
    if set(parts.numbers()) != set(range(20_000)):
        fail("records are missing")
    crashed = learner("crashed", "offsets")
    for moment in ("batch.learned:20", "batch.learned:60", "batch.learned:33"):
        with crashed.start(program=HOOKED, environment={"MILLRACE_CRASH_AT": moment}) as run:
            run.end(-signal.SIGKILL)
    crashed.run()
    for kind in ("std", "m"):
        if (crashed.folder / f"{kind}.safetensors").read_bytes() != (whole.folder / f"{kind}.safetensors").read_bytes():
            fail(f"{kind}: a run that was killed has learned something else")
    (crashed.folder / "t.state").write_bytes((whole.folder / "t.state").read_bytes())
    (crashed.folder / "crashed.positions").unlink(missing_ok=True)
    short = folder / "plane.jsonl"
    short.write_text("".join(points.splitlines(True)[:100]))
    crashed.run(codes=(65,))
    must_say(crashed.said, "not the file that this was learned from")


def piped(folder):
    """stdin: until it ends, however it comes; half a line at the end is a record."""
    job = Job(folder, {"type": "stdin"})
    job.run(input=lines(0, 3000).rstrip("\n"))
    job.is_all(3000)
    with job.start(stdin=subprocess.PIPE) as run:
        job.out.unlink()
        for part in (lines(0, 10), line(10)[:6], line(10)[6:], lines(11, 50)):
            os.write(run.process.stdin.fileno(), part.encode())
            run.out({6: 10}.get(len(part), 0))
        run.out(50)
        run.process.stdin.close()
        run.end()
    job.is_all(50)
    with job.start(stdin=subprocess.PIPE) as run:  # it says nothing: SIGTERM ends it at once
        run.says("backend").stop()


def to_kafka(folder):
    """Into topics of a broker that the sink names; dead letters have file and line among their headers."""
    folder.mkdir()
    with embedded_broker(folder, ("out", "dead")) as address:
        job = Job(folder, {"type": "file", "path": "in"}, sinks=[{"type": "kafka", "topic": "out", "properties": {"bootstrap.servers": address}}],
                  bad_records={"topic": "dead"}, emit={"fields": {"n": "n"}})
        (job.folder / "in").write_text(lines(0, 500) + "{bad\n" + lines(500, 1000))
        call(MILLRACE, "check", job.path)
        job.run("--until", "end")
        answers = [json.loads(text)["n"] for text in call(MILLRACE, "tap", "out", "-b", address, "-e").stdout.splitlines()]
        if sorted(answers) != list(range(1000)):
            fail(f"{len(answers)} answers")
        must_say(call(MILLRACE, "tap", "dead", "-b", address, "-e", "-J").stdout, f"{job.folder / 'in'}:501", "millrace-source-place", "{bad")


def paced(folder):
    """At a rate: never a record before it is due, each with the time at which it was; also behind a restart, and in a file that is followed."""
    fields, commits = {"n": "n", "o": "@offset", "due": "@timestamp"}, {"commit_interval": "1ms"}
    job = Job(folder / "read", {"type": "file", "path": "in", "rate": 1000}, emit={"fields": fields})
    (job.folder / "in").write_text(lines(0, 1500))
    report = job.run()
    if report["seconds"] < 1.4985:
        fail(f"1,500 records at 1,000/s were there after {report['seconds']} s")
    job.is_all(1500)
    dues = [answer["due"] for answer in job.answers()]
    if any(abs(due - dues[0] - i) > 1 for i, due in enumerate(dues)):
        fail("timestamps are not the schedule")
    again = Job(folder / "again", {"type": "file", "path": "in", "rate": 1000}, emit={"fields": fields}, batch={"records_max": 10}, **commits)
    (again.folder / "in").write_text(lines(0, 2000))
    again.run("--until", "1000")
    report = again.run()
    again.is_all(2000)
    if not 0.9985 <= report["seconds"]:
        fail(f"the second 1,000 records at 1,000/s were there after {report['seconds']} s")
    with job_following(folder / "following", {"rate": 1000}, emit={"fields": fields}) as run:  # what was not there yet is not late: the schedule begins anew
        job = run.job
        run.out(10).until("100 ms in which nothing is due", lambda: time.time() > job.answers()[-1]["due"] / 1000 + 0.1)
        began = time.time()
        append(job.folder / "in", lines(10, 500))
        run.out(500).stop()
        job.is_all(500)
    dues = [answer["due"] for answer in job.answers()]
    if dues[10] < 1000 * began - 1 or any(abs(due - dues[10] - i) > 1 for i, due in enumerate(dues[10:])):
        fail(f"after a pause records are due at {dues[8:12]}; they were written at {began}")


CASES = (once, formats, paced, places, junk, long_halves, refused, followed, shrinks, killed, most_once, learned, piped, to_kafka)


def main():
    chosen = [case for case in CASES if not sys.argv[1:] or case.__name__ in sys.argv[1:]]
    for case in chosen:
        with tempfile.TemporaryDirectory() as folder:
            case(pathlib.Path(folder) / case.__name__)
        print(f"ok  {case.__name__}: {case.__doc__.splitlines()[0]}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
