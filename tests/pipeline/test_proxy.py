#!/usr/bin/env python3
"""The fault proxy does what its README says, command by command, between clients and brokers of bytes: neither is Kafka."""
import os
import socket
import struct
import sys
import threading
import time
import traceback

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "kafka"))
import rig  # noqa: E402
from rig import expect, wait_for  # noqa: E402

PRODUCE, METADATA, FIND, ADD, END = 0, 3, 10, 24, 26


def text(value):
    return struct.pack(">h", -1) if value is None else struct.pack(">h", len(value)) + value.encode()


def compact(value):
    return bytes([len(value) + 1]) + value.encode()


def request(api, version, correlation, client, body=b""):
    frame = struct.pack(">hhi", api, version, correlation) + text(client) + body
    return struct.pack(">i", len(frame)) + frame


def end_txn(correlation, client="c", name="job-1-0", commit=True, epoch=7):
    return request(END, 1, correlation, client, text(name) + struct.pack(">qhb", 4000, epoch, commit))


def read_frame(connection):
    """A whole frame without its prefix; None at the end."""
    data = b""
    while len(data) < 4 or len(data) < 4 + struct.unpack(">i", data[:4])[0]:
        wanted = 4 - len(data) if len(data) < 4 else 4 + struct.unpack(">i", data[:4])[0] - len(data)
        got = connection.recv(min(wanted, 1 << 20))
        if not got:
            return None
        data += got
    return data[4:]


class FakeBroker:
    """Answers each request with its correlation id, error code 47 where EndTxn has one, and the request's size; keeps what it got."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.frames = []
        self.connections = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connections.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        try:
            while (frame := read_frame(connection)) is not None:
                self.frames.append(frame)
                if frame[:4] == struct.pack(">hh", PRODUCE, 2):  # acks=0
                    continue
                answer = frame[4:8] + struct.pack(">ihi", 0, 47, len(frame))
                connection.sendall(struct.pack(">i", len(answer)) + answer)
        except OSError:
            pass
        connection.close()

    def got(self):
        """Correlation ids in the order of arrival."""
        return [struct.unpack(">i", frame[4:8])[0] for frame in self.frames]

    def close(self):
        for each in (self.listener, *self.connections):
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # it is closed already
            each.close()


class Client:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.settimeout(30)

    def send(self, data):
        self.socket.sendall(data)

    def answer(self):
        """Correlation id of the next answer; None when the connection was closed, "reset" when it was reset."""
        try:
            frame = read_frame(self.socket)
        except ConnectionResetError:
            return "reset"
        return frame and struct.unpack(">i", frame[:4])[0]

    def ask(self, data):
        self.send(data)
        return self.answer()


class Between:
    """A proxy with two brokers behind it, and clients that are closed at the end."""

    def __init__(self):
        self.brokers = [FakeBroker(), FakeBroker()]
        self.proxy = rig.Proxy(2)
        for index, broker in enumerate(self.brokers):
            self.proxy.command("target", index + 1, broker.port)
        self.clients = []

    def client(self, node=0):
        self.clients.append(Client(self.proxy.ports[node]))
        return self.clients[-1]

    def close(self):
        for client in self.clients:
            client.socket.close()
        self.proxy.close()
        for broker in self.brokers:
            broker.close()


def case_relay(at):
    """Bytes arrive as they were sent, at the node that the port is of: whole, split, many at once, 5 MB; and they are counted."""
    for node in (0, 1):
        client = at.client(node)
        expect(client.ask(request(METADATA, 9, 5 + node, "me", b"\0abc")) == 5 + node, "another answer")
        expect(at.brokers[node].frames[-1] == request(METADATA, 9, 5 + node, "me", b"\0abc")[4:], "the bytes differ")
    for byte in request(METADATA, 1, 9, None):
        client.send(bytes([byte]))
    expect(client.answer() == 9, "split into bytes")
    client.send(b"".join(request(METADATA, 1, index, "x" * 200) for index in range(100)))
    expect([client.answer() for _ in range(100)] == list(range(100)), "a hundred at once")
    client.send(request(PRODUCE, 2, 300, "none"))  # never answered
    expect(client.ask(request(PRODUCE, 7, 301, "big", text(None) + bytes(5 << 20))) == 301, "5 MB")
    counts = at.proxy.command("counts", "zero")
    expect(counts["requests"] == {"Produce": 2, "Metadata": 103} and counts["responses"] == {"Produce": 1, "Metadata": 103}, counts)
    expect(counts["connects"] == 2 and counts["open"] == 2, counts)
    expect(at.proxy.command("counts")["requests"] == {}, "zero")
    client.socket.close()
    wait_for(lambda: at.proxy.command("counts")["open"] == 1, "the end of a connection")


def case_seen(at):
    """What is read of a request: client, transactional id in the layouts of old and new versions, and what EndTxn ends."""
    at.proxy.command("watch", "request", "any")
    client = at.client()
    tagged = b"\0"
    for correlation, data, name in ((1, end_txn(1), "job-1-0"),
                                    (2, request(END, 3, 2, "c", tagged + compact("new") + struct.pack(">qhb", 1, 2, 0)), "new"),
                                    (3, request(PRODUCE, 7, 3, "c", text("old")), "old"),
                                    (4, request(PRODUCE, 9, 4, "c", tagged + compact("newer")), "newer"),
                                    (5, request(ADD, 0, 5, "c", text("add")), "add"),
                                    (6, request(ADD, 4, 6, "c", tagged + b"\2" + compact("many")), "many"),
                                    (7, request(FIND, 2, 7, "c", text("who") + b"\1"), "who"),
                                    (8, request(FIND, 4, 8, "c", tagged + b"\1\2" + compact("whose")), "whose"),
                                    (9, request(PRODUCE, 7, 9, "c", text(None)), None)):
        expect(client.ask(data) == correlation, "no answer")
        event = at.proxy.event("seen", correlation=correlation)
        expect(event["client"] == "c" and event.get("id") == name, f"{event}, not {name}")
        if correlation == 1:
            expect(event["commit"] and event["epoch"] == 7 and event["producer"] == 4000 and event["api"] == "EndTxn", event)
        if correlation == 2:
            expect(not event["commit"] and event["epoch"] == 2, event)


def case_delay(at):
    """Requests, or answers, of one api come no earlier than said; the others at once, and none overtakes another."""
    client = at.client()
    for side in ("request", "response"):
        rule = at.proxy.rule("delay", side, "EndTxn", 300)
        started = time.monotonic()
        expect(client.ask(request(METADATA, 1, 1, "c")) == 1, "no answer")
        client.send(end_txn(2) + request(METADATA, 1, 3, "c"))
        expect([client.answer(), client.answer()] == [2, 3], "another order")
        expect(time.monotonic() - started >= 0.3, "too early")
        at.proxy.command("clear", rule)
    rules = [at.proxy.rule("delay", "request", "any", 100) for _ in range(2)]
    started = time.monotonic()
    client.ask(request(METADATA, 1, 4, "c"))
    expect(time.monotonic() - started >= 0.2, "two delays do not add up")
    expect(at.proxy.command("rules")["rules"][str(rules[0])] == {"matched": 1, "fired": 1}, "rules")
    at.proxy.command("clear", "all")


def case_hold(at):
    """Held until released, with what is behind it; then it goes its way."""
    client, other = at.client(), at.client()
    rule = at.proxy.rule("hold", "request", "EndTxn")
    client.send(end_txn(1) + request(METADATA, 1, 2, "c"))
    event = at.proxy.event("held", rule=rule)
    expect(event["direction"] == "request" and event["id"] == "job-1-0" and event["node"] == 1, event)
    expect(other.ask(end_txn(3)) == 3, "it holds one, not two")
    expect(at.brokers[0].got() == [3], at.brokers[0].got())
    expect(at.proxy.command("release", rule)["frames"] == 1, "release")
    expect([client.answer(), client.answer()] == [1, 2] and at.brokers[0].got() == [3, 1, 2], at.brokers[0].got())
    at.proxy.event("released", rule=rule)
    rule = at.proxy.rule("hold", "response", "EndTxn")
    client.send(end_txn(4))
    expect(at.proxy.event("held", rule=rule)["error"] == 47 and at.brokers[0].got()[-1] == 4, "the broker did not get it")
    at.proxy.command("release", "all")
    expect(client.answer() == 4, "the answer")
    at.proxy.command("hold", "request", "EndTxn", "for", 200)
    started = time.monotonic()
    expect(client.ask(end_txn(5)) == 5 and time.monotonic() - started >= 0.2, "hold for")


def case_hold_and_cut(at):
    """KAFKA-17754: the client is cut off, tries again on a new connection, and what it sent first reaches the broker last."""
    for ending, seen in (("cut", None), ("reset", "reset")):
        at.brokers[0].frames.clear()
        client = at.client()
        rule = at.proxy.rule("hold", "request", "EndTxn", ending, "client", "prod", "id", "job-1")
        expect(client.ask(request(METADATA, 1, 1, "producer")) == 1, "no answer")
        expect(at.client().ask(end_txn(8, "producer", "job-2-0")) == 8, "of another id")
        expect(at.client().ask(end_txn(9, "other", "job-1-0")) == 9, "of another client")
        client.send(end_txn(2, "producer") + request(METADATA, 1, 99, "producer"))
        at.proxy.event("held", rule=rule)
        expect(client.answer() == seen, "the client is not cut off")
        again = at.client()
        expect(again.ask(end_txn(2, "producer")) == 2 and again.ask(end_txn(3, "producer", epoch=8)) == 3, "the second time")
        expect(at.brokers[0].got() == [1, 8, 9, 2, 3], at.brokers[0].got())
        expect(at.proxy.command("release", rule)["frames"] == 1, "release")
        event = at.proxy.event("late_answer")
        expect(event["correlation"] == 2 and event["epoch"] == 7 and event["error"] == 47, event)
        expect(at.brokers[0].got() == [1, 8, 9, 2, 3, 2], at.brokers[0].got())
        wait_for(lambda: at.proxy.command("connections")["connections"][-1]["is_cut"] is False, "the end of what was cut")


def case_drop(at):
    """An answer never comes, or a request: the connection is closed, or reset, or stays; every third; by chance, the same by the same seed."""
    for words, seen in ((["cut"], None), (["reset"], "reset"), ([], None)):
        client = at.client()
        rule = at.proxy.rule("drop", "response", "EndTxn", *words, "times", 1)
        client.send(request(METADATA, 1, 1, "c") + end_txn(2) + request(METADATA, 1, 3, "c"))
        expect([client.answer(), client.answer()] == [1, seen], f"drop {words}")
        expect(at.proxy.event("dropped", rule=rule)["correlation"] == 2 and 2 in at.brokers[0].got(), "the broker did not do it")
    client = at.client()
    at.proxy.command("drop", "response", "EndTxn", "silent", "skip", 1, "every", 3)
    for correlation in range(10, 20):
        client.send(end_txn(correlation))
    expect([client.answer() for _ in range(7)] == [10, 11, 12, 14, 15, 17, 18], "every third after the first")
    at.proxy.command("clear", "all")
    at.proxy.command("drop", "request", "EndTxn", "times", 1)
    client.send(end_txn(30))
    expect(client.answer() is None and 30 not in at.brokers[0].got(), "a request that is dropped arrives")
    rounds = []
    for seed in (5, 5, 6):
        rule = at.proxy.rule("drop", "response", "Metadata", "silent", "probability", 0.3, "seed", seed)
        client = at.client()
        client.send(b"".join(request(METADATA, 1, index, "c") for index in range(200)))
        client.send(end_txn(200))
        kept = []
        while (correlation := client.answer()) != 200:
            kept.append(correlation)
        rounds.append(kept)
        at.proxy.command("clear", rule)
    expect(rounds[0] == rounds[1] != rounds[2] and 100 < len(rounds[0]) < 180, f"kept {[len(kept) for kept in rounds]}")


def case_cut(at):
    """All connections, those of a client, those of a node."""
    one, two, three = at.client(), at.client(), at.client(1)
    for index, client in enumerate((one, two, three)):
        expect(client.ask(request(METADATA, 1, 1, f"name-{index}")) == 1, "no answer")
    expect(at.proxy.command("cut", "client", "name-1")["connections"] == 1 and two.answer() is None, "by client")
    expect(at.proxy.command("reset", "node", 2)["connections"] == 1 and three.answer() == "reset", "by node")
    expect(at.proxy.command("cut")["connections"] == 1 and one.answer() is None, "all")


def case_refuse(at):
    """New connections are refused, as by a port where nobody listens; old ones live."""
    old = at.client()
    at.proxy.command("refuse", "node", 1)
    try:
        at.client()
        raise rig.Wrong("it is not refused")
    except ConnectionRefusedError:
        pass
    expect(old.ask(request(METADATA, 1, 1, "c")) == 1 and at.client(1).ask(request(METADATA, 1, 1, "c")) == 1, "the others")
    at.proxy.command("accept")
    expect(at.client().ask(request(METADATA, 1, 2, "c")) == 2, "accepted again")


def case_blackhole(at):
    """One direction is silent; what was sent meanwhile arrives afterwards."""
    client = at.client()
    at.proxy.command("blackhole", "requests", "node", 1)
    at.proxy.command("watch", "request", "any")
    client.send(request(METADATA, 1, 1, "c"))
    at.proxy.event("seen")
    expect(at.client(1).ask(request(METADATA, 1, 1, "c")) == 1, "the other node")
    expect(at.proxy.command("connections")["connections"][-1]["waiting_bytes"][0] > 0 and not at.brokers[0].frames, "it went through")
    at.proxy.command("pass")
    expect(client.answer() == 1, "no answer afterwards")
    at.proxy.command("blackhole", "responses")
    client.send(request(METADATA, 1, 2, "c"))
    wait_for(lambda: at.brokers[0].got() == [1, 2], "the request at the broker")
    wait_for(lambda: at.proxy.command("connections")["connections"][-1]["waiting_bytes"][1] > 0, "the answer at the proxy")
    at.proxy.command("blackhole", "both")
    at.proxy.command("pass")
    expect(client.answer() == 2, "no answer afterwards")


def case_rate(at):
    """Bytes take their time; those of a node share it."""
    at.proxy.command("rate", 200_000)
    client = at.client()
    started = time.monotonic()
    expect(client.ask(request(PRODUCE, 7, 1, "c", text(None) + bytes(100_000))) == 1, "no answer")
    expect(time.monotonic() - started >= 0.4, f"100 kB at 200 kB/s took {time.monotonic() - started:.2f} s")
    at.proxy.command("rate", 0)
    expect(client.ask(request(PRODUCE, 7, 2, "c", text(None) + bytes(1 << 20))) == 2, "unlimited again")


def case_broken(at):
    """A broker that is gone closes its clients; what is no Kafka is told; commands that are wrong change nothing."""
    client = at.client()
    expect(client.ask(request(METADATA, 1, 1, "c")) == 1, "no answer")
    at.brokers[0].close()
    expect(client.ask(request(METADATA, 1, 2, "c")) in (None, "reset"), "the broker is gone")
    expect(at.client().answer() in (None, "reset"), "a new connection to a broker that is gone")
    at.client(1).send(b"GET / HTTP/1.1\r\n\r\n")
    at.proxy.event("not_kafka")
    for line in ("hold", "hold request", "hold request Nothing", "hold request EndTxn for", "delay request any", "drop response any cut never",
                 "target 3 9092", "target 1 70000", "release", "clear 99", "fly", "hold response EndTxn cut", "rate -1", "blackhole left", "cut node 0"):
        try:
            at.proxy.command(line)
        except rig.Wrong:
            continue
        raise rig.Wrong(f"\"{line}\" was taken")
    expect(at.proxy.command("rules")["rules"] == {}, "a wrong command made a rule")


def main():
    failed = 0
    for name, case in sorted((name, case) for name, case in globals().items() if name.startswith("case_")):
        if sys.argv[1:] and name.removeprefix("case_") not in sys.argv[1:]:
            continue
        at = Between()
        try:
            case(at)
            print(f"ok    {name.removeprefix('case_')}", flush=True)
        except Exception:  # pylint: disable=broad-except
            failed += 1
            print(f"FAIL  {name.removeprefix('case_')}", flush=True)
            traceback.print_exc(file=sys.stdout)
        finally:
            at.close()
    sys.exit(1 if failed else 0)


main()
