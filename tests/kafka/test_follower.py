#!/usr/bin/env python3
"""Sinks outside Kafka in an exactly-once job: a follower gives them what is committed. A file holds each output once, whatever is killed."""
import ctypes
import ctypes.util
import json
import os
import re
import shutil
import signal
import subprocess
import threading
import time

from rig import HOOKED, LONG, MILLRACE, Skip, expect, main, wait_for
from kills import group_lag, more_to_do, random_moment

RECORDS = 50_000
KILLS = 200 if LONG else 15


def exact(rig, name, *others, **changes):
    """A job with outputs in NAME.out and, from there, in NAME.jsonl; the two paths."""
    path = os.path.join(rig.folder, f"{name}.jsonl")
    sinks = [{"type": "kafka", "topic": f"{name}.out"}, {"type": "file", "path": path}, *others]
    return rig.job(name, delivery="exactly-once", commit_interval="100ms", sinks=sinks, **changes), path


def outputs(rig, topic):
    """Value -> partition and offset, of the committed records of a topic."""
    done = subprocess.run([MILLRACE, "tap", topic, "-b", rig.broker.address, "-e", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=True)
    found = {}
    for line in done.stdout.splitlines():
        message = json.loads(line)
        value = message["value"] if isinstance(message["value"], str) else json.dumps(message["value"], separators=(",", ":"))
        expect(value not in found, f"twice in {topic}: {value}")
        found[value] = (message["partition"], message["offset"])
    return found


def same(rig, topic, *paths):
    """The file, or all of several, must hold each committed record of the topic once, each in the order of its partition. How many."""
    want = outputs(rig, topic)
    files = []
    for path in paths:
        with open(path, encoding="utf-8") as file:
            files.append(file.read().splitlines())
    lines = sum(files, [])
    foreign = [line for line in lines if line not in want]
    expect(not foreign, f"{len(foreign)} lines are not in {topic}, such as {foreign[:2]}")
    expect(len(set(lines)) == len(lines), f"{len(lines) - len(set(lines))} lines stand there twice")
    expect(len(lines) == len(want), f"{len(want) - len(lines)} of {len(want)} records of {topic} are not in the file")
    for some in files:
        last = {}
        for line in some:
            partition, offset = want[line]
            expect(last.get(partition, -1) < offset, f"{topic}[{partition}] offset {offset} stands behind offset {last.get(partition)}")
            last[partition] = offset
    return len(lines)


def followed(run, index=0):
    return run.report["followers"][index]


def verified(job, code):
    """The report of verify, which must end so."""
    done = subprocess.run([MILLRACE, "verify", job, "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    expect(done.returncode == code, f"exit code {done.returncode}, not {code}: {done.stdout[-2000:]}{done.stderr[-1000:]}")
    return json.loads(done.stdout)


def mark_edit(path, change):
    """Changes the text of a mark, under a checksum that is right."""
    with open(path + ".offsets", encoding="ascii") as file:
        text = change(file.read().rsplit("checksum ", 1)[0])
    library = ctypes.util.find_library("xxhash")
    if not library:
        raise Skip("libxxhash is not there as a library")
    xxh3 = ctypes.CDLL(library).XXH3_64bits
    xxh3.restype, xxh3.argtypes = ctypes.c_uint64, (ctypes.c_char_p, ctypes.c_size_t)
    with open(path + ".offsets", "w", encoding="ascii") as file:
        file.write(f"{text}checksum {xxh3(text.encode(), len(text)):016x}\n")


def case_plain(rig):
    """From start to end: what was committed last is in the file, too; the group has no lag, and the report says so."""
    rig.trio("plain")
    rig.produce("plain", RECORDS, "--bad-every", 50)
    job, path = exact(rig, "plain", {"type": "console"}, lanes=1)
    done = subprocess.run([MILLRACE, "check", job], stdout=subprocess.PIPE, text=True, check=True)
    expect('file is fed from topic "plain.out" by group "plain.file.plain.jsonl"' in done.stdout, done.stdout)
    run = rig.run(job, "--until", "end", "--quiet").expect_end(0)  # progress would come between the lines of the console
    count = same(rig, "plain.out", path)
    expect(followed(run)["records_out"] == followed(run)["records_in"] == count and followed(run)["lag"] == 0, f"{run.report['followers']}")
    said = [line for line in run.lines if line.startswith('{"id"')]
    expect(len(said) == count and followed(run, 1)["records_out"] == count, f"{len(said)} lines from the console sink, not {count}")
    lags = group_lag(rig, "plain.file.plain.jsonl")
    expect(len(lags) == 4 and set(lags.values()) == {"0"}, f"{lags}")
    before = os.path.getsize(path)
    run = rig.run(job, "--until", "end").expect_end(0)
    expect(os.path.getsize(path) == before and not followed(run)["records_in"], "a run without input has written something")
    return f"{count} records"


def case_kill(rig):
    """kill -9 at random moments; the file then holds exactly what is committed, once, in order."""
    rig.trio("kill")
    job, path = exact(rig, "kill", lanes=1)
    sender = rig.producing("kill", RECORDS, RECORDS / (KILLS * 0.7), "--bad-every", 50)
    count, cut = RECORDS, 0
    for index in range(KILLS):
        count = more_to_do(rig, "kill", sender, count)
        run = rig.run(job)
        random_moment(rig, run, index)
        expect(run.process.poll() is None, f"it ended by itself: {run.err()[-2000:]}")
        run.signal(signal.SIGKILL)
        run.end()
        cut += "behind its mark are cut off" in run.err()
    expect(sender.wait(120) == 0, "the sender failed")
    run = rig.run(job, "--until", "end").expect_end(0)
    cut += "behind its mark are cut off" in run.err()
    written = same(rig, "kill.out", path)
    rig.check("kill", "--count", count, "--ordered", "--once", group="kill")
    return f"{KILLS} kills, {written} lines of {count} records; {cut} starts cut something off"


def case_verify(rig):
    """millrace verify holds the file against the topic; a line that is removed, doubled, out of order or changed is found."""
    rig.trio("ver")
    rig.oracle("produce", "--topic", "ver.out", "--count", 100)  # of before: gone when the job begins
    rig.trim("ver.out", 25)
    rig.produce("ver", 10_000, "--bad-every", 50)
    job, path = exact(rig, "ver", lanes=1)
    rig.run(job, "--until", "end").expect_end(0)
    where = outputs(rig, "ver.out")
    with open(path, encoding="utf-8") as file:
        lines = file.read().splitlines(keepends=True)

    def finds(kind, text, changed):
        with open(path, "w", encoding="utf-8") as file:
            file.write("".join(changed))
        report = verified(job, 70)
        expect(kind in report["kinds"] and report["violations"] <= 2, f"no {kind}, or more than that: {report}")
        expect(any(one["kind"] == kind and text in one["text"] for one in report["findings"]), f"not \"{text}\": {report['findings']}")

    report = verified(job, 0)
    expect(any(f"{len(lines)} lines, each once" in fact for fact in report["proved"]) and not report["not_proved"], f"{report}")
    at = 5000
    near = next(i for i in range(at + 1, len(lines)) if where[lines[i].strip()][0] == where[lines[at].strip()][0])
    finds("missing", lines[at].strip(), lines[:at] + lines[at + 1:])
    finds("duplicated", f"line {at + 2} ", lines[:at + 1] + lines[at:])
    swapped = lines[:]
    swapped[at], swapped[near] = lines[near], lines[at]
    finds("reordered", "behind a later record", swapped)
    finds("different", f"line {at + 1} ", lines[:at] + [lines[at].replace("prediction", "Prediction")] + lines[at + 1:])
    with open(path, "w", encoding="utf-8") as file:
        file.write("".join(lines) + "what is behind the mark does not count\n")
    verified(job, 0)
    return f"{len(lines)} lines"


def case_gaps(rig):
    """What a file's mark leaves out, verify says: a hole that no other file has is wrong, what may be elsewhere, gone or not written yet is not proved."""
    rig.trio("gap", partitions=2)
    rig.produce("gap", 4000)
    job, path = exact(rig, "gap", lanes=1)
    rig.run(job, "--until", "end").expect_end(0)
    where = outputs(rig, "gap.out")
    with open(path, encoding="utf-8") as file:
        lines = file.read().splitlines(keepends=True)
    with open(path + ".offsets", encoding="ascii") as file:
        mark = file.read()

    def has(kept, change):
        """The file with some of its lines only, and a mark that fits; kept: of partition and offset."""
        with open(path + ".offsets", "w", encoding="ascii") as file:
            file.write(mark)
        some = "".join(line for line in lines if kept(*where[line.strip()]))
        with open(path, "w", encoding="utf-8") as file:
            file.write(some)
        mark_edit(path, lambda text: re.sub("bytes .*", f"bytes {len(some)}", change(text)))

    def notes(report, words):
        expect(any(words in one for one in report["not_proved"]), f"\"{words}\" is not in {report['not_proved']}")
        expect(any("each once" in one for one in report["proved"]), f"{report['proved']}")

    report = verified(job, 0)
    expect(not report["not_proved"] and any("in the order of topic" in one for one in report["proved"]), f"{report}")
    split = lambda text: re.sub("range 0 0 ", "range 0 0 500\nrange 0 1000 ", text)
    has(lambda partition, offset: partition or not 500 <= offset < 1000, split)
    report = verified(job, 70)
    expect(report["kinds"] == {"missing": 1} and report["findings"][0]["offset"] == 500 and not any(path in one for one in report["proved"]), f"{report}")
    expect("leave out 500 records from here to offset 1000" in report["findings"][0]["text"], f"{report['findings']}")
    mark_edit(path, lambda text: re.sub("file .*", "file 00000000000000ab", text))  # as if another one's had it, by the group
    notes(verified(job, 0), "the file of another process may have them")
    has(lambda partition, offset: partition or offset >= 1000, lambda text: text.replace("range 0 0 ", "range 0 1000 "))
    notes(verified(job, 0), "are not in it (partition 0, 0 to 999): its first range begins behind them")
    has(lambda partition, offset: partition, lambda text: re.sub("range 0 .*\n", "", text))
    notes(verified(job, 0), "it has no range of the partition")
    has(lambda partition, offset: partition or offset < 1000, lambda text: re.sub("range 0 0 .*", "range 0 0 1000", text))
    notes(verified(job, 0), "its mark is that far behind the end of the topic")
    rig.trim("gap.out", 1200)
    has(lambda partition, offset: offset >= 1200, lambda text: re.sub("range 0 0 ", "range 0 0 0\nrange 0 1200 ", text.replace("range 1 0 ", "range 1 1200 ")))
    done = subprocess.run([MILLRACE, "verify", job], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    expect("1200 offsets of topic" in done.stdout and "the topic does not have them any more" in done.stdout, f"{done.stdout}{done.stderr}")
    rig.trio("alike")  # of 2 partitions, none would be alike
    rig.produce("alike", 1000)
    job, _ = exact(rig, "alike", emit={"fields": {"prediction": "regime.class"}})
    rig.run(job, "--until", "end").expect_end(0)
    report = verified(job, 0)
    notes(report, "their order is not judged")
    expect(not any(".jsonl" in one and "in the order" in one for one in report["proved"]), f"{report}")
    return ""


def case_moments(rig):
    """Killed between the steps of a mark: written, synced, marked; each at its second time, while records come."""
    if not os.path.exists(HOOKED):
        raise Skip(f"{HOOKED} is not built")
    rig.trio("moment")
    job, path = exact(rig, "moment")
    count = 0
    for moment in ("follower.written", "file.synced", "follower.marked"):
        sender = rig.producing("moment", 10_000, 20_000, first=count)
        count += 10_000
        rig.run(job, hooks={"MILLRACE_CRASH_AT": f"{moment}:2"}).expect_end(-signal.SIGKILL)
        expect(sender.wait(60) == 0, "the sender failed")
    rig.run(job, "--until", "end").expect_end(0)
    expect(same(rig, "moment.out", path) == count, "not all records have an output")
    rig.check("moment", "--count", count, "--ordered", "--once", group="moment")
    return f"{count} records"


def rotated(path):
    """All files of a sink that rotates, in their order."""
    folder, base = os.path.split(path)
    return [os.path.join(folder, name) for name in sorted(os.listdir(folder)) if re.fullmatch(re.escape(base) + r"\.\d{6}", name)] + [path]


def case_rotate(rig):
    """Killed between the steps of leaving a full file, and at random: each record is in exactly one of the files, verify proves it, and finds
    a line that is moved from one to another."""
    if not os.path.exists(HOOKED):
        raise Skip(f"{HOOKED} is not built")
    rig.trio("rot")
    path = os.path.join(rig.folder, "rot.jsonl")
    sinks = [{"type": "kafka", "topic": "rot.out"}, {"type": "file", "path": path, "rotate_bytes": 20000}]
    job = rig.job("rot", delivery="exactly-once", commit_interval="100ms", sinks=sinks)
    count, each = 0, 10_000
    moments = ("follower.written", "file.synced", "file.copied", "file.rotated", "file.restarted", "follower.marked")
    for turn in range(len(moments) * (10 if LONG else 1)):
        sender = rig.producing("rot", each, 20_000, first=count)
        count += each
        rig.run(job, hooks={"MILLRACE_CRASH_AT": f"{moments[turn % len(moments)]}:2"}).expect_end(-signal.SIGKILL)
        expect(sender.wait(60) == 0, "the sender failed")
    for turn in range(200 if LONG else 5):
        sender = rig.producing("rot", each, 20_000, first=count)
        count += each
        run = rig.run(job)
        random_moment(rig, run, turn)
        run.signal(signal.SIGKILL)
        run.end()
        expect(sender.wait(60) == 0, "the sender failed")
    rig.run(job, "--until", "end").expect_end(0)
    files = rotated(path)
    expect(len(files) > 5, f"{files}")
    expect(same(rig, "rot.out", *files) == count, "not all records have an output")
    report = verified(job, 0)
    told = [fact for fact in report["proved"] if "each once" in fact and ".jsonl" in fact]
    expect(len(told) == len(files) and not report["not_proved"], f"{len(files)} files: {report}")
    with open(files[1], encoding="utf-8") as file:
        lines = file.readlines()
    with open(files[1], "w", encoding="utf-8") as file:
        file.writelines(lines[:10] + lines[11:])
    with open(files[2], "a", encoding="utf-8") as file:
        file.write(lines[10])
    report = verified(job, 70)
    expect({"missing", "foreign"} >= set(report["kinds"]) and report["violations"] >= 1, f"{report}")
    with open(files[1], "w", encoding="utf-8") as file:
        file.writelines(lines)
    rig.check("rot", "--count", count, "--ordered", "--once", group="rot")
    return f"{count} records in {len(files)} files"


def case_columns(rig):
    """CSV by a follower, with rotation and keep: each file begins with the columns; verify says what it cannot check."""
    rig.trio("csv", partitions=1)
    path = os.path.join(rig.folder, "out.csv")
    sinks = [{"type": "kafka", "topic": "csv.out"}, {"type": "file", "path": path, "format": "csv", "rotate_bytes": 20000, "keep": 2}]
    job = rig.job("csv", delivery="exactly-once", commit_interval="50ms", sinks=sinks)
    count = 0
    for turn in range(6):
        rig.produce("csv", 3000, first=count)
        count += 3000
        if turn % 2:
            rig.run(job, hooks={"MILLRACE_CRASH_AT": "file.rotated:1"}).expect_end(-signal.SIGKILL)
        else:
            rig.run(job, "--until", "end").expect_end(0)
    rig.run(job, "--until", "end").expect_end(0)
    files = rotated(path)
    expect(len(files) in (3, 4), f"{files}")  # one that was killed before it deleted has left one more
    rows = []
    for name in files:
        with open(name, encoding="utf-8") as file:
            head, *lines = file.read().splitlines() or [None]
        expect(head == "id,prediction" or (head is None and name == path), f"{name}: {head}")  # just begun: nothing yet
        rows += [int(line.split(",")[0]) for line in lines]
    expect(rows == list(range(rows[0], count)), f"{len(rows)} rows, from {rows[0]} to {rows[-1]}")
    report = verified(job, 0)
    expect(sum("because it is CSV" in note for note in report["not_proved"]) == len(files), f"{report}")
    return f"{len(rows)} of {count} rows are kept"


def case_late(rig):
    """A follower that is held until the lanes have done all: --until end waits until it has written that."""
    if not os.path.exists(HOOKED):
        raise Skip(f"{HOOKED} is not built")
    rig.trio("late")
    rig.produce("late", 30_000)
    job, path = exact(rig, "late")
    gate = os.path.join(rig.folder, "late.gate")
    run = rig.run(job, "--until", "end", hooks={"MILLRACE_WAIT_AT": f"follower.written:1:{gate}"})
    run.wait_out(30_000)
    run.wait_log("the lanes have ended")
    expect(os.path.exists(gate + ".reached"), "the moment did not come")
    with open(gate, "w", encoding="ascii"):
        pass
    run.expect_end(0)
    expect(same(rig, "late.out", path) == 30_000, "not all were written")
    return ""


def case_stalled(rig):
    """A sink that nobody reads: scoring goes on, the report tells of the lag, and SIGTERM ends the process in time. Then somebody reads it."""
    rig.trio("stall")
    job, path = exact(rig, "stall", lanes=1)
    os.mkfifo(path)
    run = rig.run(job)
    run.wait_log("does not open yet")
    rig.produce("stall", RECORDS)
    run.wait_out(RECORDS)
    started = time.monotonic()
    run.signal(signal.SIGTERM)
    run.expect_end(75, 10)
    took = time.monotonic() - started
    expect(followed(run)["records_out"] == 0 and not followed(run)["is_open"], f"{run.report['followers']}")
    rig.check("stall", "--count", RECORDS, "--ordered", "--once", group="stall")
    run = rig.run(job)
    run.wait_log("does not open yet")
    started = time.monotonic()
    for _ in range(2):
        run.signal(signal.SIGINT)
        threading.Event().wait(0.05)  # else they are one
    run.expect_end(75, 10)
    left = time.monotonic() - started
    expect(left < took, f"two signals took {left:.1f} s, one {took:.1f} s")
    read = []
    reader = threading.Thread(target=lambda: read.extend(open(path, encoding="utf-8").read().splitlines()), daemon=True)
    reader.start()
    run = rig.run(job, "--until", "end").expect_end(0)
    reader.join(30)
    expect(len(read) == len(set(read)) == RECORDS == followed(run)["records_out"], f"{len(read)} lines read")
    return f"{RECORDS} records scored meanwhile; SIGTERM took {took:.1f} s, two signals {left:.1f} s"


def case_open(rig):
    """A transaction of another producer is open in the output topic: what is behind it waits, and is written when it is decided."""
    if not os.path.exists(HOOKED):
        raise Skip(f"{HOOKED} is not built")
    rig.trio("open", partitions=1)
    rig.topics("someone.in:1")
    job, path = exact(rig, "open")
    rig.produce("someone", 10, first=1_000_000)
    someone = rig.job("someone", delivery="exactly-once", sinks=[{"type": "kafka", "topic": "open.out"}], bad_records={"drop": True})
    rig.run(someone, hooks={"MILLRACE_CRASH_AT": "commit.begin:1"}).expect_end(-signal.SIGKILL)
    rig.produce("open", 1000)
    run = rig.run(job)
    run.wait_out(1000)
    expect(os.path.getsize(path) == 0, "something was written before it was decided")
    run.signal(signal.SIGTERM)
    run.expect_end(0, 10)
    expect("are left for the next run" in run.err() and followed(run)["lag"] > 1000, f"{run.err()[-1000:]}")
    rig.run(someone, "--until", "end").expect_end(0)  # aborts what was open, and does it again
    rig.run(job, "--until", "end").expect_end(0)
    expect(same(rig, "open.out", path) == 1010, "not all were written")
    return ""


def case_refused(rig):
    """A file that does not fit its mark is left alone, and the error says what to do; so is one that has none."""
    rig.trio("ref", partitions=1)
    rig.produce("ref", 100)
    job, path = exact(rig, "ref")
    rig.run(job, "--until", "end").expect_end(0)
    with open(path, "rb") as file:
        whole = file.read()
    with open(path + ".offsets", "rb") as file:
        mark = file.read()

    def refused(content, marked, words, code=65):
        for name, data in ((path, content), (path + ".offsets", marked)):
            if data is None:
                os.unlink(name)
                continue
            with open(name, "wb") as file:
                file.write(data)
        run = rig.run(job, "--until", "end").expect_end(code)
        expect(words in run.err(), f"\"{words}\" is not in: {run.err()[-1500:]}")
        expect(not run.report["records_in"], "something was scored before")
        left = open(path, "rb").read() if os.path.exists(path) else None
        expect(left == content, "the file was changed")

    refused(whole[:-5], mark, "records are gone")
    refused(whole, mark[:-3], "is cut off")
    refused(whole, mark.replace(b"bytes ", b"bytes 1"), "checksum is wrong")
    refused(whole, None, "is not empty")
    with open(path + ".offsets", "wb") as file:
        file.write(mark)
    other = rig.job("ref", delivery="exactly-once", sinks=[{"type": "kafka", "topic": "ref.dead"}, {"type": "file", "path": path}], bad_records={"drop": True})
    run = rig.run(other, "--until", "end").expect_end(65)
    expect('holds records of topic "ref.out"' in run.err(), run.err()[-1500:])
    plain = rig.job("ref", sinks=[{"type": "kafka", "topic": "ref.out"}, {"type": "file", "path": path}])
    run = rig.run(plain, "--until", "end").expect_end(65)
    expect("belongs to a job with delivery" in run.err(), run.err()[-1500:])
    rig.run(job, "--until", "end").expect_end(0)  # as it was, it is good
    same(rig, "ref.out", path)
    return ""


def case_shared(rig):
    """Two processes share the topic, each with a file of its own: partitions come and go between marks, and together the files hold each output
    once. A third one writes the topic, more often than they mark."""
    rig.trio("share")
    rig.topics("writer.in:4")
    writer = rig.run(rig.job("writer", delivery="exactly-once", commit_interval="50ms", lanes=1, sinks=[{"type": "kafka", "topic": "share.out"}],
                             bad_records={"drop": True}))
    jobs, paths = [], []
    for name in ("one", "two"):
        os.mkdir(os.path.join(rig.folder, name))
        paths.append(os.path.join(rig.folder, name, "share.jsonl"))
        jobs.append(rig.job("share", delivery="exactly-once", commit_interval="10s", lanes=1, source__membership="dynamic", source__instance=name,
                            sinks=[{"type": "kafka", "topic": "share.out"}, {"type": "file", "path": paths[-1]}]))
    sender = rig.producing("writer", 20_000, 8000)
    first = rig.run(jobs[0])
    wait_for(lambda: os.path.exists(paths[0]) and os.path.getsize(paths[0]) > 50_000, "records in the first file")
    second = rig.run(jobs[1])
    wait_for(lambda: os.path.exists(paths[1]) and os.path.getsize(paths[1]), "records in the second file")
    first.signal(signal.SIGTERM)
    first.expect_end(0, 15)
    expect(sender.wait(60) == 0, "the sender failed")
    writer.wait_out(20_000)
    for run in (writer, second):
        run.signal(signal.SIGTERM)
        run.expect_end(0, 15)
    rig.run(jobs[1], "--until", "end").expect_end(0)
    expect(same(rig, "share.out", *paths) == 20_000, "not all were written")
    return " and ".join(f"{os.path.getsize(path)} bytes" for path in paths)


def case_taken(rig):
    """A process is killed, another one with a file of its own takes its partitions over, and the first one comes back: its mark is behind the group
    rightly, and each output is in one of the files."""
    rig.trio("take", partitions=2)
    jobs, paths = [], []
    for name in ("one", "two"):
        os.mkdir(os.path.join(rig.folder, f"take-{name}"))
        paths.append(os.path.join(rig.folder, f"take-{name}", "take.jsonl"))
        job = rig.job("take", delivery="exactly-once", lanes=1, source__membership="dynamic", source__instance=name,
                      sinks=[{"type": "kafka", "topic": "take.out"}, {"type": "file", "path": paths[-1]}],
                      source__properties={"bootstrap.servers": rig.broker.address, "session.timeout.ms": "6000"})
        jobs.append(job)
    rig.produce("take", 1000)
    first = rig.run(jobs[0])
    first.wait_out(1000)
    lags = lambda: set(group_lag(rig, "take.file.take.jsonl").values())
    wait_for(lambda: lags() == {"0"}, "all written and committed", 30, 0.5)
    first.signal(signal.SIGKILL)
    first.end()
    rig.produce("take", 1000, first=1000)
    rig.run(jobs[1], "--until", "end").expect_end(0)
    rig.produce("take", 1000, first=2000)
    again = rig.run(jobs[0], "--until", "end").expect_end(0)
    expect("what is between was given to another process" in again.err() and "level=warn component=file" not in again.err(), again.err()[-2000:])
    expect(same(rig, "take.out", *paths) == 3000, "not all were written")
    left = verified(jobs[0], 0)["not_proved"]
    expect(len(left) == 1 and "1000 offsets of topic" in left[0] and "the file of another process may have them" in left[0], f"{left}")
    return ""


def case_full(rig):
    """An error of the sink ends the job with the sink's error; what is committed comes when it works again."""
    rig.trio("full", partitions=1)
    rig.produce("full", 5000)
    job, path = exact(rig, "full")
    os.symlink("/dev/full", path)
    run = rig.run(job).expect_end(74)
    expect("No space left on device" in run.err(), run.err()[-1500:])
    os.unlink(path)
    rig.run(job, "--until", "end").expect_end(0)
    expect(same(rig, "full.out", path) == 5000, "not all were written")
    return ""


def case_moved(rig):
    """The file is moved away while the job works: the next mark ends it, and another one is begun; together they hold all."""
    rig.trio("move", partitions=2)
    job, path = exact(rig, "move")
    run = rig.run(job)
    rig.produce("move", 2000)
    wait_for(lambda: os.path.exists(path) and os.path.getsize(path), "the first lines")
    os.rename(path, path + ".1")
    rig.produce("move", 2000, first=2000)
    run.wait_log("was moved: a new one is begun")
    rig.produce("move", 2000, first=4000)
    run.wait_out(6000)
    run.signal(signal.SIGTERM)
    run.expect_end(0, 10)
    rig.run(job, "--until", "end").expect_end(0)
    with open(path + ".1", "rb") as old, open(path, "rb") as new, open(path + ".all", "wb") as both:
        first, second = old.read(), new.read()
        both.write(first + second)
    expect(first and second, "one of them is empty")
    expect(same(rig, "move.out", path + ".all") == 6000, "not all were written")
    return f"{len(first)} and {len(second)} bytes"


def case_old(rig):
    """An old mark, put back beside a newer file, or with the file of its time: what came since comes again, each once. Nothing is cut off that the
    topic does not have any more; then the error's remedy works."""
    rig.trio("old", partitions=1)
    job, path = exact(rig, "old")
    rig.produce("old", 1000)
    rig.run(job, "--until", "end").expect_end(0)
    for name in (path, path + ".offsets"):
        shutil.copy(name, name + ".then")
    rig.produce("old", 3000, first=1000)
    rig.run(job, "--until", "end").expect_end(0)
    for names in ([path + ".offsets"], [path, path + ".offsets"]):
        for name in names:
            shutil.copy(name + ".then", name)
        run = rig.run(job, "--until", "end").expect_end(0)
        expect("no other file has what is between" in run.err(), run.err()[-1500:])
        expect(same(rig, "old.out", path) == 4000, "not all were written")
    with open(path, "rb") as file:
        whole = file.read()
    rig.trim("old.out", 2000)
    shutil.copy(path + ".offsets.then", path + ".offsets")
    run = rig.run(job, "--until", "end").expect_end(65)
    expect("does not have all of them any more: nothing was changed" in run.err(), run.err()[-1500:])
    with open(path, "rb") as file:
        expect(file.read() == whole, "the file was changed")
    for name in (path, path + ".offsets"):
        os.rename(name, name + ".away")
    rig.produce("old", 1000, first=4000)
    rig.run(job, "--until", "end").expect_end(0)
    with open(path, "rb") as file:
        lines = whole.splitlines() + file.read().splitlines()
    expect(len(lines) == len(set(lines)) == 5000, f"{len(lines)} lines in both, {len(set(lines))} different ones")
    return ""


def case_anew(rig):
    """The output topic is deleted and made anew, or loses records before they are written: an error of the sink whose remedy works, whatever the input
    does about lost offsets."""
    rig.trio("anew", partitions=1)
    job, path = exact(rig, "anew", {"type": "console"}, source__lost_offsets="earliest", source__membership="dynamic")
    rig.produce("anew", 1000)
    rig.run(job, "--until", "end", "--quiet").expect_end(0)
    rig.delete("anew.out")
    rig.topics("anew.out:1")
    rig.produce("anew", 100, first=1000)
    for _ in range(2):
        run = rig.run(job, "--until", "end", "--quiet").expect_end(65)
        expect(f'file sink: "{path}" holds records of anew.out[0] up to offset 100' in run.err() and "move the file and its .offsets away" in run.err(), run.err()[-1500:])
        expect("kafka source:" not in run.err(), run.err()[-1500:])
    with open(path, "rb") as file:
        expect(len(file.read().splitlines()) == 1000, "the file was changed")
    for name in (path, path + ".offsets"):
        os.rename(name, name + ".away")
    rig.run(job, "--until", "end", "--quiet").expect_end(0)
    expect(same(rig, "anew.out", path) == 100, "not all were written")

    os.rename(path, path + ".aside")  # a sink that is a folder ends the run before anything is written
    os.mkdir(path)
    rig.produce("anew", 1000, first=1100)
    rig.run(job, "--until", "end", "--quiet").expect_end(74)
    os.rmdir(path)
    os.rename(path + ".aside", path)
    rig.run(rig.job("anew", delivery="exactly-once", source__membership="dynamic"), "--until", "end").expect_end(0)
    rig.trim("anew.out", 500)
    run = rig.run(job, "--until", "end", "--quiet").expect_end(65)
    expect("were deleted before they were written to it" in run.err() and "kafka source:" not in run.err(), run.err()[-1500:])
    for group in ("anew.file.anew.jsonl", "anew.console"):
        rig.kafka("ConsumerGroupCommand", "--reset-offsets", "--to-earliest", "--group", group, "--topic", "anew.out", "--execute")
    run = rig.run(job, "--until", "end", "--quiet").expect_end(0)
    with open(path, encoding="utf-8") as file:
        lines = file.read().splitlines()
    want = outputs(rig, "anew.out")
    expect(lines[100:] == sorted(want, key=want.get), f"{len(lines)} lines, {len(want)} records")
    return ""


def case_deleted(rig):
    """The file is deleted, while the job works and while it does not: a new one begins where the old one's mark ends."""
    rig.trio("del", partitions=2)
    job, path = exact(rig, "del")
    rig.produce("del", 1000)
    rig.run(job, "--until", "end").expect_end(0)
    first = same(rig, "del.out", path)
    with open(path, encoding="utf-8") as file:
        lines = file.read().splitlines()
    os.unlink(path)
    run = rig.run(job)
    run.wait_log("is not there, and had")
    rig.produce("del", 1000, first=1000)
    wait_for(lambda: os.path.exists(path) and len(open(path, "rb").read().splitlines()) == 1000, "the second thousand")
    wait_for(lambda: f"bytes {os.path.getsize(path)}\n" in open(path + ".offsets", encoding="ascii").read(), "its mark")
    with open(path, encoding="utf-8") as file:
        lines += file.read().splitlines()
    os.unlink(path)
    rig.produce("del", 1000, first=2000)
    run.wait_out(2000)
    wait_for(lambda: os.path.exists(path) and len(open(path, "rb").read().splitlines()) == 1000, "the third thousand")
    run.signal(signal.SIGTERM)
    run.expect_end(0, 10)
    with open(path, encoding="utf-8") as file:
        lines += file.read().splitlines()
    with open(path + ".all", "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")
    expect(same(rig, "del.out", path + ".all") == first + 2000 == 3000, "not all were written")
    return ""


if __name__ == "__main__":
    main([case_plain, case_kill, case_verify, case_gaps, case_moments, case_rotate, case_columns, case_late, case_stalled, case_open, case_refused, case_shared, case_taken, case_full, case_moved, case_old,
          case_anew, case_deleted])
