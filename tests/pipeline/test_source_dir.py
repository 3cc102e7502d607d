#!/usr/bin/env python3
"""The source dir in real runs: order of arrival, a file a batch, what was read survives restarts and kill -9, what becomes of files that are
done, and whatever can happen to files and their folder meanwhile. A folder of 100,000 files."""
import os
import pathlib
import shutil
import signal
import sys
import tempfile
import time

from examples import call, fail
from sources import HOOKED, Job, line, lines, must_say


def arrive(folder, name, text, stamp=None):
    """Written under another name, then moved in."""
    hidden = folder / f".{name}"
    hidden.write_bytes(text if isinstance(text, bytes) else text.encode())
    if stamp is not None:
        os.utime(hidden, ns=(stamp, stamp))
    hidden.rename(folder / name)


def make(folder, source=None, **others):
    job = Job(folder, {"type": "dir", "path": "in", **(source or {})}, **others)
    (job.folder / "in").mkdir(exist_ok=True)
    return job, job.folder / "in"


def order(folder):
    """At the start by time of writing, then by name; then as they come. Temporary names, folders, links and other patterns are not read."""
    job, inbox = make(folder, {"pattern": "*.jsonl"})
    arrive(inbox, "b.jsonl", lines(0, 60), 2_000)
    arrive(inbox, "z.jsonl", lines(60, 120), 3_000)
    arrive(inbox, "a.jsonl", lines(120, 180), 4_000)
    arrive(inbox, "c.jsonl", lines(180, 240), 4_000)
    for name in (".x.jsonl", "_y.jsonl", "x.jsonl.tmp", "y.part", "z~", "other.txt"):
        (inbox / name).write_text(lines(1000, 1001))
    (inbox / "folder.jsonl").mkdir()
    (folder / "target").write_text(lines(1000, 1001))
    (inbox / "link.jsonl").symlink_to(folder / "target")
    with job.start() as run:
        run.out(240).says("is a link, and links are not read")
        arrive(inbox, "1.jsonl", lines(240, 300), 1)
        run.out(300)
        (inbox / "0.jsonl").write_text(lines(300, 360))  # closed after writing
        run.out(360)
        arrive(inbox, "empty.jsonl", "")
        arrive(inbox, "2.jsonl", lines(360, 420).rstrip("\n"))
        run.out(420).stop()
    job.is_all(420)
    job.run("--until", "end")
    job.is_all(420)


def step_a_file(folder):
    """batch "file": 60 records a file are one step of learning each, whatever waits; a file that is too large is told."""
    job, inbox = make(folder, {"batch": "file"}, models=[{"name": "m", "type": "linear", "learn": True, "step": 0.001}])
    job.job["record"]["label"] = "x"
    job.write()
    for i in range(40):
        arrive(inbox, f"{i:02}.jsonl", lines(60 * i, 60 * i + 60), i)
    report = job.run("--until", "end")
    if report["models"][0]["batches_learned"] != 40:
        fail(f"{report['models']}")
    job.is_all(2400)
    mixed, inbox = make(folder / "mixed", {"batch": "any"}, models=job.job["models"])
    mixed.job["record"]["label"] = "x"
    mixed.write()
    for i in range(40):
        arrive(inbox, f"{i:02}.jsonl", lines(60 * i, 60 * i + 60), i)
    report = mixed.run("--until", "end")
    if report["models"][0]["batches_learned"] >= 40:
        fail(f"mixed: {report['models']}")
    large, inbox = make(folder / "large", {"batch": "file"}, batch={"records_max": 64})
    arrive(inbox, "a.jsonl", lines(0, 200))
    large.run("--until", "end")
    must_say(large.said, "makes several batches", "batch.records_max")
    large.is_all(200)


def taken(folder):
    """take "moved": what is written in place is not read, but by the next start; a file that somebody has open for writing waits."""
    job, inbox = make(folder, {"take": "moved"})
    with job.start() as run:
        run.until("positions", lambda: (inbox / ".t.positions").exists())
        arrive(inbox, "a", lines(0, 10))
        run.out(10)
        (inbox / "w").write_text(lines(20, 30))
        arrive(inbox, "b", lines(10, 20))
        run.out(20).stop()
    job.is_all(20)
    with open(inbox / "open", "w") as writer:
        writer.write(lines(30, 35))
        writer.flush()
        with job.start() as run:
            run.out(30).says("is open for writing")
            arrive(inbox, "later", lines(99, 100))
            run.out(31)
            writer.write(lines(35, 40))
            writer.close()
            run.out(41).stop()
    if job.numbers() != [*range(30), 99, *range(30, 40)]:
        fail(f"{job.numbers()[25:]}")
    closed, inbox = make(folder / "closed")
    with open(inbox / "open", "w") as writer, closed.start() as run:
        writer.write(lines(0, 5))
        writer.flush()
        arrive(inbox, "other", lines(100, 101))
        run.out(1)
        writer.write(lines(5, 10))
        writer.close()
        run.out(11).stop()
    if closed.numbers() != [100, *range(10)]:
        fail(f"{closed.numbers()}")


def changed(folder):
    """Files that grow, shrink, are replaced or written again: each is told or read, nothing twice and nothing in silence."""
    job, inbox = make(folder)
    with job.start() as run:
        arrive(inbox, "a", lines(0, 10))
        run.out(10)
        with open(inbox / "a", "a") as file:
            file.write(line(90))
        run.says("was changed after it was read")
        arrive(inbox, "a", lines(10, 20))  # another file of that name
        run.out(20)
        (inbox / "a").unlink()
        (inbox / "a").write_text(lines(20, 30))  # and one that may have its inode
        run.out(30)
        (inbox / "a").rename(inbox / "b")  # renamed: it was read
        os.utime(inbox / "b")
        arrive(inbox, "c", lines(30, 40))
        run.out(40).stop()
    job.is_all(40)
    for name in ("grows", "shrinks"):
        other, inbox = make(folder / name, models=[{"name": "m", "type": "linear", "learn": True, "step": 0.001}], batch={"records_max": 64})
        other.job["record"]["label"] = "x"
        other.write()
        arrive(inbox, "big", lines(0, 100_000))
        hold = folder / f"{name}.hold"
        with other.start(program=HOOKED, environment={"MILLRACE_WAIT_AT": f"batch.learned:1:{hold}"}) as run:
            run.until("hold", lambda path=hold: path.with_name(path.name + ".reached").exists())
            if name == "shrinks":
                os.truncate(inbox / "big", 100)
                hold.write_text("")
                run.says("has shrunk")
            else:
                with open(inbox / "big", "a") as file:
                    file.write(lines(100_000, 101_000))
                hold.write_text("")
                run.out(101_000)  # it is read to where it ends then
            arrive(inbox, "next", lines(500, 510))
            run.until("the next file", lambda job=other: job.numbers()[-1:] == [509]).stop()


def junk(folder):
    """Binary junk, no header, half a gzip file, files without rights or that vanish: the rest is read."""
    job, inbox = make(folder, record={"format": "csv", "header": "file", "features": ["x"], "bytes_max": "1kB"}, emit={"fields": {"n": "n", "o": "@offset"}})
    arrive(inbox, "a.csv", "n,x\n1,1\n2,2\n", 1)
    arrive(inbox, "b.csv", b"x" * 200_000, 2)
    arrive(inbox, "c.csv", os.urandom(100_000), 3)
    arrive(inbox, "d.gz", b"\x1f\x8b\x08\x00garbage" * 100, 4)
    arrive(inbox, "e.csv", "x,n\n3,3\n4,4\n", 5)  # its own header
    (inbox / "f.csv").write_text("n,x\n9,9\n")
    (inbox / "f.csv").chmod(0)
    os.utime(inbox / "f.csv", ns=(6, 6))
    user = job.as_nobody()
    job.run("--until", "end", **user)
    if [int(n) for n in job.numbers() if str(n).isdigit()] != [1, 2, 3, 4]:
        fail(f"{job.answers()}")
    must_say(job.said, "b.csv: the first line must name the columns", "d.gz", "f.csv is not read: Permission denied")
    with job.start(**user) as run:
        run.says("f.csv is not read")
        (inbox / "f.csv").chmod(0o644)  # it may be read now
        run.until("record 9", lambda: int(job.numbers()[-1]) == 9).stop()


def vanishes(folder):
    """A folder that is deleted or moved away, and comes back: waited for, and told."""
    job, inbox = make(folder)
    arrive(inbox, "a", lines(0, 10))
    with job.start() as run:
        run.out(10)
        shutil.rmtree(inbox)
        run.says("is gone: waiting")
        fresh = folder / "fresh"
        fresh.mkdir()
        arrive(fresh, "b", lines(10, 20))
        fresh.rename(inbox)
        run.out(20).says("is back")
        inbox.rename(folder / "away")
        run.until("gone again", lambda: run.said().count("is gone: waiting") == 2)
        arrive(folder / "away", "c", lines(20, 30))
        (folder / "away").rename(inbox)
        run.out(30)
        arrive(inbox, "d", lines(30, 40))
        run.out(40).stop()
    job.is_all(40)
    job.run("--until", "end")
    job.is_all(40)
    shutil.rmtree(inbox)
    job.run(codes=(66,))
    must_say(job.said, "make the folder, or name another")
    moving, inbox = make(folder / "moving", {"done": "move"})
    with moving.start() as run:
        arrive(inbox, "a", lines(0, 10))
        run.until("a moved", (inbox / "done/a").exists)
        shutil.rmtree(inbox)
        run.says("is gone: waiting")
        inbox.mkdir()
        run.says("is back")
        arrive(inbox, "b", lines(10, 20))
        run.until("b moved", (inbox / "done/b").exists).stop()
    moving.is_all(20)


def overflow(folder):
    """More notices than the system keeps: all files are looked at, none is lost or doubled."""
    kept = int(pathlib.Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    job, inbox = make(folder)
    with job.start() as run:
        arrive(inbox, "first", lines(0, 1))
        run.out(1)
        run.process.send_signal(signal.SIGSTOP)
        for i in range(1, kept + 500):
            arrive(inbox, f"{i:06}", line(i), i)
        run.process.send_signal(signal.SIGCONT)
        run.says("more files came than the system tells of")
        run.out(kept + 500).stop()
    numbers = job.numbers()
    if sorted(numbers) != list(range(kept + 500)):
        fail(f"{len(numbers)} of {kept + 500}")


def done(folder):
    """Files that are committed are moved or deleted; a kill between the two leaves nothing behind."""
    job, inbox = make(folder, {"done": "move"})
    for i in range(20):
        arrive(inbox, f"{i:02}", lines(10 * i, 10 * i + 10), i)
    (inbox / "done").mkdir()
    (inbox / "done/03").write_text("another")
    job.run("--until", "end")
    job.is_all(200)
    moved = sorted(path.name for path in (inbox / "done").iterdir())
    if moved != sorted([f"{i:02}" for i in range(20)] + ["03.1"]) or (inbox / "done/03").read_text() != "another":
        fail(f"{moved}")
    gone, inbox = make(folder / "gone", {"done": "delete"})
    for i in range(5):
        arrive(inbox, f"{i:02}", lines(10 * i, 10 * i + 10), i)
    with gone.start("--until", "end", program=HOOKED, environment={"MILLRACE_CRASH_AT": "positions.written:1"}) as run:
        run.end(-signal.SIGKILL)
    gone.run("--until", "end")
    left = [path.name for path in inbox.iterdir() if not path.name.startswith(".")]
    if left or sorted(set(gone.numbers())) != list(range(50)):
        fail(f"{left} are left, {len(set(gone.numbers()))} records")
    state = Job(folder / "state", {"type": "dir", "path": "in", "done": "delete"}, state={"file": "t.state"},
                models=[{"name": "m", "type": "linear", "learn": True}])
    state.job["record"]["label"] = "x"
    state.write()
    must_say(call(os.environ.get("MILLRACE", "build/millrace"), "check", state.path, codes=(78,)).stderr, 'source.done "keep"')


def killed(folder):
    """kill -9 at named moments, with files of many sizes: nothing lost, order kept; learned state goes on bit for bit."""
    def learner(name):
        job, inbox = make(folder / name, {"batch": "any"}, batch={"records_max": 64, "by": "offsets"}, commit_interval="1ms",
                          models=[{"name": "m", "type": "linear", "learn": True, "step": 0.001, "save": "learned.safetensors"}],
                          state={"file": "t.state", "interval": "1ms"})
        job.job["record"]["label"] = "x"
        job.write()
        first = 0
        for i in range(200):
            count = i * 37 % 211
            arrive(inbox, f"{(i * 77) % 200:03}", lines(first, first + count), 10_000 + i)
            first += count
        return job, first

    whole, end = learner("whole")
    whole.run("--until", "end")
    whole.is_all(end)
    job, end = learner("parts")
    for moment in ("batch.learned:1", "positions.begin:1", "positions.written:1", "batch.learned:80", "batch.learned:120", "positions.written:2"):
        with job.start("--until", "end", program=HOOKED, environment={"MILLRACE_CRASH_AT": moment}) as run:
            run.end(-signal.SIGKILL)
    job.run("--until", "end")
    if set(job.numbers()) != set(range(end)):
        fail(f"{end - len(set(job.numbers()))} records are lost")
    if (job.folder / "learned.safetensors").read_bytes() != (whole.folder / "learned.safetensors").read_bytes():
        fail("what was learned in parts is something else")
    state = job.folder / "t.state"
    early = state.read_bytes()
    arrive(job.folder / "in", "new", lines(end, end + 500))
    job.run("--until", "end")
    state.write_bytes(early)  # older than the positions: goes back
    before = len(job.numbers())
    job.run("--until", "end")
    again = job.numbers()[before:]
    if not 500 <= len(again) <= 564 or again != list(range(end + 500 - len(again), end + 500)):
        fail(f"going back repeated {again[:3]} ... {len(again)}")
    state.write_bytes(early)
    (job.folder / "in/new").unlink()
    job.run("--until", "end", codes=(65,))
    must_say(job.said, "not there any more", "put it back")


def many(folder):
    """A folder of 100,000 small files: it starts, is read, starts again, and its positions do not grow for ever."""
    job, inbox = make(folder)
    for i in range(100_000):
        (inbox / f"{i:06}").write_text(line(i))
    began = time.monotonic()
    report = job.run("--until", "end")
    if report["records_in"] != 100_000 or sorted(job.numbers()) != list(range(100_000)):
        fail(f"{report['records_in']} records")
    first_s, began = time.monotonic() - began, time.monotonic()
    size = (inbox / ".t.positions").stat().st_size
    report = job.run("--until", "end")
    again_s = time.monotonic() - began
    if report["records_in"] or (inbox / ".t.positions").stat().st_size != size:
        fail("it was read again")
    for i in range(99_900):
        (inbox / f"{i:06}").unlink()
    arrive(inbox, "new", line(100_000))
    job.run("--until", "end")
    if (inbox / ".t.positions").stat().st_size > size / 20 or job.numbers()[-1] != 100_000:
        fail(f"positions of {(inbox / '.t.positions').stat().st_size} bytes for 101 files")
    print(f"    100,000 files: read in {first_s:.1f} s, started again in {again_s:.1f} s, positions {size / 1e6:.1f} MB")


CASES = (order, step_a_file, taken, changed, junk, vanishes, overflow, done, killed, many)


def main():
    chosen = [case for case in CASES if not sys.argv[1:] or case.__name__ in sys.argv[1:]]
    for case in chosen:
        with tempfile.TemporaryDirectory() as folder:
            case(pathlib.Path(folder) / case.__name__)
        print(f"ok  {case.__name__}: {case.__doc__.splitlines()[0]}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
