"""Who is measured: the floor, millrace, the peers. A contestant is a command that reads one topic to its end and writes another."""
import os
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".cache" / "bench"
DATA = CACHE / "data"
BUILD = Path(os.environ.get("BENCH_BUILD", ROOT / "build"))
PYTHON = CACHE / "venv" / "bin" / "python"
PYTHON_SPARK = CACHE / "venv-spark" / "bin" / "python"
JAVA_JAR = CACHE / "java" / "target" / "peer.jar"
SPARK_JARS = CACHE / "spark-jars"
MODEL = {"A": "mlp_a", "B": "mlp_b", "BL": "mlp_b"}
PER_MESSAGE = {"A": 1, "B": 1, "BL": 100}


@dataclass
class Contestant:
    name: str
    argv: list[str]
    summary: str
    workloads: tuple = ("A", "B", "BL")
    env: dict = field(default_factory=dict)
    needs: tuple = ()            # files without which it can not run
    scores: bool = True          # False: writes a constant class, only its counts are compared
    timeout_s: float = 180


def expand(contestant, workload, brokers, topic_in, topic_out, group):
    """argv and environment of one run."""
    place = {"brokers": brokers, "in": topic_in, "out": topic_out, "group": group, "workload": workload,
             "job": str(ROOT / "bench" / "jobs" / f"{workload.lower()}.json"), "model": str(DATA / MODEL[workload]),
             "per_message": str(PER_MESSAGE[workload])}
    env = {"BENCH_BROKERS": brokers, "BENCH_IN": topic_in, "BENCH_OUT": topic_out, "BENCH_GROUP": group}
    return [word.format(**place) for word in contestant.argv], {**env, **contestant.env}


def _pass(lanes):
    program = str(BUILD / "bench" / "bench_passthrough")
    return Contestant(
        f"pass-{lanes}", [program, "--brokers", "{brokers}", "--in", "{in}", "--out", "{out}", "--lanes", str(lanes),
                          "--records-per-message", "{per_message}"],
        f"librdkafka in batches, no decoding, no model, {lanes} lane{'s' * (lanes > 1)}: the floor", needs=(program,), scores=False)


def _millrace(lanes):
    program = str(BUILD / "millrace")
    return Contestant(f"millrace-{lanes}", [program, "run", "{job}", "--until", "end", "--json", "--lanes", str(lanes)],
                      f"millrace, {lanes} lane{'s' * (lanes > 1)}", needs=(program,))


def _python(processes):
    return Contestant(
        f"python-{processes}", [str(PYTHON), str(ROOT / "bench/peers/python/peer.py"), "--brokers", "{brokers}", "--in", "{in}",
                                "--out", "{out}", "--model", "{model}", "--processes", str(processes)],
        f"confluent-kafka + orjson + ONNX Runtime in batches, {processes} process{'es' * (processes > 1)}",
        workloads=("A", "B"), needs=(str(PYTHON),))


def _java(threads):
    return Contestant(
        f"java-{threads}", ["java", "-Xmx1g", "-cp", f"{JAVA_JAR}:{JAVA_JAR.parent}/lib/*", "millrace.bench.Peer", "--brokers", "{brokers}",
                            "--in", "{in}", "--out", "{out}", "--model", "{model}", "--threads", str(threads)],
        f"plain poll loop + Jackson + ONNX Runtime in batches, {threads} thread{'s' * (threads > 1)}",
        workloads=("A", "B"), needs=(str(JAVA_JAR),))


def _spark(engine, summary):
    return Contestant(
        f"spark-{engine}", [str(PYTHON_SPARK), str(ROOT / "bench/peers/spark/peer.py"), "--brokers", "{brokers}", "--in", "{in}",
                            "--out", "{out}", "--model", "{model}", "--engine", engine, "--jars", str(SPARK_JARS)],
        summary, workloads=("A", "B"), timeout_s=300, needs=(str(PYTHON_SPARK), str(SPARK_JARS / ".done")))


ALL = {c.name: c for c in (
    _pass(1), _pass(2), _millrace(1), _millrace(2), _python(1), _python(2), _java(1), _java(2),
    _spark("ml", "Structured Streaming, availableNow, from_json + Spark ML MLP, local[2]"),
    _spark("ort", "Structured Streaming, availableNow, mapInPandas + ONNX Runtime, local[2]"),
    Contestant("c-cjson", [str(BUILD / "bench" / "bench_peer_cjson"), "--brokers", "{brokers}", "--in", "{in}", "--out", "{out}",
                           "--model", "{model}"],
               "librdkafka + cJSON + plain loops, one message at a time", workloads=("A", "B"),
               needs=(str(BUILD / "bench" / "bench_peer_cjson"),)),
)}


def _follow(name, base, extra=(), **changes):
    """A contestant that goes on until it is told to end, with the settings of low latency."""
    argv = [word for word in base.argv if word not in ("--until", "end")] + list(extra)
    return Contestant(name, argv, base.summary, workloads=("B",), needs=base.needs, **changes)


def _millrace_follow(partition, wait, once=None):
    """once: the interval of commits, exactly once; the generator reads read_committed, as librdkafka does by default."""
    env = {"BENCH_PARTITION": partition, "BENCH_WAIT": wait, "BENCH_DELIVERY": "exactly-once" if once else "at-least-once", "BENCH_COMMIT": once or "1s"}
    base = _follow(f"millrace-once-{once}" if once else f"millrace-{partition}-{wait}", _millrace(1), env=env)
    base.argv = [str(ROOT / "bench/jobs/latency.json") if word == "{job}" else word for word in base.argv]
    base.summary = f"millrace, one lane, emit.partition {partition}, batch.wait_max {wait}" + (f", exactly once, commits every {once}" if once else "")
    return base


LATENCY = {c.name: c for c in (
    Contestant("floor", [], "no contestant: the generator reads its own input, one broker hop"),
    _follow("pass", _pass(1), ("--follow", "--linger-ms", "1")),
    _millrace_follow("sticky", "300us"), _millrace_follow("same", "300us"), _millrace_follow("same", "5ms"),
    _millrace_follow("sticky", "300us", "100ms"), _millrace_follow("sticky", "300us", "1s"),
    _follow("python", _python(1), ("--follow",)), _follow("java", _java(1), ("--follow",)),
)}
