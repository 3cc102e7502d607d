#!/usr/bin/env python3
"""The source socket in real runs: as a client and as a listener, TCP and unix; a peer that goes, stalls, breaks off within a record, comes
back, sends records that are too long; what cannot be reached."""
import pathlib
import socket
import sys
import tempfile

from examples import MILLRACE, call, fail
from sources import Job, line, lines, must_say


def server(path=None):
    """A listening socket, and its address as the job names it."""
    if path:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        address = f"unix:{path}"
    else:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{listener.getsockname()[1]}"
    listener.listen()
    listener.settimeout(30)
    return listener, address


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def client(folder):
    """Until the peer closes, over TCP and unix sockets; half a record at the end is told and dropped."""
    for kind in ("tcp", "unix"):
        folder.mkdir(exist_ok=True)
        listener, address = server(folder / "socket" if kind == "unix" else None)
        job = Job(folder / kind, {"type": "socket", "address": address})
        with job.start("--until", "end") as run:
            peer, _ = listener.accept()
            peer.sendall(lines(0, 5000).encode())
            run.out(5000)
            peer.sendall(line(5000)[:7].encode())
            peer.sendall(line(5000)[7:].encode() + b'{"n":5001,"x":')
            run.out(5001)
            peer.close()
            must_say(run.end(), "within one: 14 bytes of it are dropped", "cannot be read again")
        job.is_all(5001)
        if job.deads():
            fail(f"{job.deads()}")
        listener.close()


def again(folder):
    """A peer that goes is connected to again, with longer and longer pauses; numbers of records go on."""
    listener, address = server()
    job = Job(folder, {"type": "socket", "address": address, "retry_max": "200ms"})
    with job.start() as run:
        peer, _ = listener.accept()
        peer.sendall(lines(0, 10).encode())
        run.out(10)
        peer.close()
        peer, _ = listener.accept()
        peer.sendall(lines(10, 20).encode())
        run.out(20).says("connected again")
        listener.close()
        peer.close()
        run.says("trying again")
        port = int(address.rpartition(":")[2])
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen()
        listener.settimeout(30)
        peer, _ = listener.accept()
        peer.sendall(lines(20, 30).encode())
        run.out(30).stop()
    job.is_all(30)
    listener.close()


def tiny(folder):
    """A first record of one byte is no beginning of a byte order mark: it waits for nothing."""
    listener, address = server()
    job = Job(folder, {"type": "socket", "address": address}, record={"format": "csv", "columns": ["x"], "features": ["x"]},
              emit={"fields": {"n": "m", "o": "@offset"}})
    with job.start() as run:
        peer, _ = listener.accept()
        peer.sendall(b"7\n")
        run.out(1)
        peer.close()
        peer, _ = listener.accept()
        peer.sendall(b"\xef")
        peer.sendall(b"\xbb\xbf8\n")
        run.out(2).stop()
    if [round(answer["n"]) for answer in job.answers()] != [7, 8] or job.deads():
        fail(f"{job.answers()} {job.deads()}")
    listener.close()


def stalls(folder):
    """A peer that says nothing within a record: closed after quiet_max, and connected to again; others are not held up by it."""
    listener, address = server()
    job = Job(folder / "one", {"type": "socket", "address": address, "quiet_max": "300ms"})
    with job.start() as run:
        peer, _ = listener.accept()
        peer.sendall((lines(0, 3) + '{"n":').encode())
        run.out(3).says("said nothing for too long")
        other, _ = listener.accept()
        other.sendall(lines(3, 6).encode())
        run.out(6).stop()
        peer.close()
    job.is_all(6)
    listener.close()
    port = free_port()
    many = Job(folder / "many", {"type": "socket", "listen": str(port)})
    with many.start() as run:
        run.says("cannot be read again")
        slow, quick = (socket.create_connection(("127.0.0.1", port), 30) for _ in range(2))
        slow.sendall(b'{"n":0,"x"')
        quick.sendall(lines(100, 1100).encode())
        run.out(1000)
        slow.sendall(b":1}\n")
        run.out(1001).stop()
    if many.numbers() != [*range(100, 1100), 0]:
        fail(f"{many.numbers()[:3]} ... {many.numbers()[-3:]}")


def listens(folder):
    """Peers at once, each with its own header; too long records and junk are dead letters with the connection's line."""
    path = folder / "socket"
    job = Job(folder, {"type": "socket", "listen": f"unix:{path}"}, record={"format": "csv", "header": "file", "features": ["x"], "bytes_max": "1kB"},
              emit={"fields": {"n": "n", "o": "@offset"}})
    with job.start("--until", "end") as run:
        run.says("cannot be read again")
        peers = [socket.socket(socket.AF_UNIX) for _ in range(3)]
        for i, peer in enumerate(peers):
            peer.connect(str(path))
            peer.sendall(b"n,x\n" if i % 2 else b"x,n\n")
            for row in range(100):
                n, x = 1000 * i + row, row % 10
                peer.sendall((f"{n},{x}\n" if i % 2 else f"{x},{n}\n").encode())
        run.out(300)
        peers[0].sendall(b"y" * 3_000_000 + b"\n5,99\n")
        peers[1].sendall(b"\x00\xff\x01\n")
        run.out(301)
        for peer in peers:
            peer.close()
        run.end()
    if sorted(int(n) for n in job.numbers()) != sorted([*range(100), *range(1000, 1100), *range(2000, 2100), 99]):
        fail(f"{len(job.numbers())} records")
    if sorted(dead["error"] for dead in job.deads())[-1] != "size" or "connection 1:102" not in next(dead["place"] for dead in job.deads() if dead["error"] == "size"):
        fail(f"{[(dead['error'], dead['place']) for dead in job.deads()]}")
    if path.exists():
        fail("the socket file is left behind")
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(path))
    stale.close()  # as a crash leaves it
    with job.start() as run:
        run.says("cannot be read again").stop()


def refused(folder):
    """What cannot be reached, or is in use, ends the run at the start with its address."""
    port = free_port()
    job = Job(folder, {"type": "socket", "address": f"127.0.0.1:{port}", "connect_timeout": "1s"})
    job.run(codes=(66,))
    must_say(job.said, f"127.0.0.1:{port}", "Connection refused")
    listener, address = server()
    job.job["source"] = {"type": "socket", "listen": address}
    job.write()
    job.run(codes=(66,))
    must_say(job.said, address, "in use")
    listener.close()
    for source, words in (({"address": "nowhere"}, "HOST:PORT"), ({}, "either address"), ({"address": "a:1", "listen": "2"}, "either address"), ({"listen": "unix:" + "x" * 200}, "107 bytes")):
        job.job["source"] = {"type": "socket", **source}
        job.write()
        must_say(call(MILLRACE, "check", job.path, codes=(78,)).stderr, words)
    job.job.update(source={"type": "socket", "listen": str(port)}, state={"file": "s"}, batch={"by": "offsets"}, models=[{"name": "m", "type": "linear", "learn": True}])
    job.job["record"]["label"] = "x"
    job.write()
    must_say(call(MILLRACE, "check", job.path, codes=(78,)).stderr, 'expected batch.by "arrival"')


CASES = (client, again, tiny, stalls, listens, refused)


def main():
    chosen = [case for case in CASES if not sys.argv[1:] or case.__name__ in sys.argv[1:]]
    for case in chosen:
        with tempfile.TemporaryDirectory() as folder:
            case(pathlib.Path(folder) / case.__name__)
        print(f"ok  {case.__name__}: {case.__doc__.splitlines()[0]}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
