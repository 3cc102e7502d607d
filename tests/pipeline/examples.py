"""The worked examples of datasets/ as jobs, on whatever broker an address names: what tests/pipeline and tests/kafka both run. Each finds
what is known to be in its data."""
import contextlib
import json
import os
import pathlib
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
MILLRACE = os.environ.get("MILLRACE", str(ROOT / "build/millrace"))
DEADLINE_S = 60


def fail(text):
    sys.exit(f"FAIL: {text}")


def call(*command, codes=(0,)):
    done = subprocess.run([str(word) for word in command], text=True, capture_output=True, timeout=120)
    if done.returncode not in codes:
        fail(f"{' '.join(map(str, command))}: exit code {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    return done


def wait_for_address(broker, path):
    deadline = time.monotonic() + DEADLINE_S
    while not (path.exists() and path.read_text().strip()):
        if broker.poll() is not None or time.monotonic() > deadline:
            fail("millrace broker wrote no address")
        time.sleep(0.02)  # between two looks
    return path.read_text().strip()


def job_read(path):
    return json.loads("\n".join(line for line in path.read_text().splitlines() if not line.strip().startswith("//")))


@contextlib.contextmanager
def embedded_broker(folder, topics, partitions=1):
    """A broker in memory, as a process; its address."""
    words = [word for topic in topics for word in ("--topic", topic)]
    path = folder / "address"
    broker = subprocess.Popen([MILLRACE, "broker", *words, "--partitions", str(partitions), "--address-file", str(path)],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield wait_for_address(broker, path)
    finally:
        broker.terminate()
        broker.wait(DEADLINE_S)


class Learning:
    """A job of datasets/, its models saved in a folder of its own."""

    def __init__(self, folder, address, name, change=lambda job: None, file="job.json"):
        self.folder, self.address = folder, address
        self.job = job_read(ROOT / "datasets" / name / file)
        for model in self.job["models"]:
            if "save" in model:
                model["save"] = str(folder / model["save"])
        change(self.job)
        self.path = folder / f"{self.job['job']}.json"
        self.path.write_text(json.dumps(self.job))

    def run(self, until="end"):
        done = call(MILLRACE, "run", self.path, "-X", f"bootstrap.servers={self.address}", "--until", until, "--json")
        self.log = done.stderr
        self.report = json.loads(done.stdout.splitlines()[-1])
        self.learned = {model["name"]: model for model in self.report["models"]}
        return self

    def answers(self):
        topic = self.job["sinks"][0]["topic"]
        return [json.loads(line) for line in call(MILLRACE, "tap", topic, "-b", self.address, "-e").stdout.splitlines()]


def tensors(path):
    described = json.loads(call(MILLRACE, "inspect", path, "--json").stdout)
    return {tensor["name"]: tensor for tensor in described["tensors"]}


def feed(folder, address, generator, topic):
    lines = folder / f"{topic}.jsonl"
    lines.write_text(call(sys.executable, ROOT / "datasets" / generator / "generate.py").stdout)
    call(MILLRACE, "replay", lines, "--topic", topic, "-b", address)
    return lines.read_text().splitlines()


def plane(folder, address):
    records = feed(folder, address, "plane", "points")
    learning = Learning(folder, address, "plane").run()
    answers = learning.answers()
    unlabelled = sum('"y"' not in record for record in records)
    if len(answers) != len(records) or sum(answer["actual"] is None for answer in answers) != unlabelled:
        fail(f"{len(answers)} answers to {len(records)} points, {unlabelled} of them without a label")
    if any(answer["spark"] != 0 for answer in answers[:20]):
        fail(f"a model that starts from nothing predicted {answers[0]} before it had learned")
    labelled = [answer for answer in answers if answer["actual"] is not None]
    for name in ("spark", "sgd"):  # side by side, whatever they learn by
        error = sum((answer[name] - answer["actual"]) ** 2 for answer in labelled) / len(labelled)
        told = learning.learned[name]
        if told["rows_labelled"] != len(labelled) or abs(told["squared_error"] - error) > 1e-3 * error:
            fail(f"{name}: mean squared error {error}, told {told}")
    spark, sgd = learning.learned["spark"], learning.learned["sgd"]
    if spark["rows_learned"] != len(records) - unlabelled or not spark["loss_batch"] < 1500:
        fail(f"spark: {spark}")
    if sgd["updates_undone"] and "would be stable" not in learning.log:
        fail(f"updates were undone, and nothing is said: {learning.log}")
    if not sgd["loss"] < 3000:
        fail(f"sgd: {sgd}")
    truth = [float(word) for word in call(sys.executable, ROOT / "datasets/plane/generate.py", "--least-squares").stdout.split()]
    weight = tensors(folder / "spark.safetensors")["weight"]  # two numbers: the larger and the smaller
    if abs(weight["max"] - truth[0]) > 0.2 or abs(weight["min"] - truth[1]) > 0.4:
        fail(f"spark found {weight}, least squares {truth}")
    late = [answer for answer in answers[len(answers) // 2:] if answer["actual"] is not None]
    for name in ("spark", "sgd"):
        error = sum((answer[name] - answer["actual"]) ** 2 for answer in late) / len(late)
        if error > 2500:  # of labels that vary by 83,000
            fail(f"{name}: mean squared error {error}")

    def goes_on(job):
        for model in job["models"]:
            model["file"] = model.pop("save")
        job["source"]["group"], job["sinks"][0]["topic"] = "again", "again"

    first = Learning(folder, address, "plane", goes_on).run("60").answers()[0]
    if abs(first["spark"] - first["actual"]) > 300 or first["spark"] == 0 or first["sgd"] == 0:
        fail(f"a model that was saved and read again begins with {first}")


def later(folder, address):
    """Answers on a topic of their own: what is predicted goes out without them, and is judged by them."""
    for kind in ("records", "answers"):
        path = folder / f"{kind}.jsonl"
        path.write_text(call(sys.executable, ROOT / "datasets/plane/generate.py", f"--{kind}").stdout)
        call(MILLRACE, "replay", path, "--topic", f"plane-{kind}", "-b", address)
    learning = Learning(folder, address, "plane", file="later.json").run()
    truth = {label["id"]: label["y"] for label in map(json.loads, (folder / "answers.jsonl").read_text().splitlines())}
    answers, labels = learning.answers(), learning.report["labels"]
    if len(answers) != 20000 or (labels["labels_in"], labels["matched"]) != (18000, 18000) or labels["records_waiting"] != 2000:
        fail(f"{len(answers)} answers: {labels}")
    sgd = learning.learned["sgd"]
    error = sum((answer["sgd"] - truth[answer["id"]]) ** 2 for answer in answers if answer["id"] in truth) / 18000
    if sgd["rows_learned"] != 18000 or sgd["rows_labelled"] != 18000 or abs(sgd["squared_error"] - error) > 1e-5 * error:
        fail(f"the predictions that went out have a mean squared error of {error}: {sgd}")
    if not sgd["loss_batch"] < 1500 or learning.learned["std"]["rows_learned"] != 20000:
        fail(f"what was learned from late answers: {learning.learned}")

    def small(job):
        job["labels"]["records_max"], job["memory"] = 10000000, "64MiB"
        job["job"] = "small"

    done = call(MILLRACE, "run", Learning(folder, address, "plane", small, "later.json").path, "-X", f"bootstrap.servers={address}", codes=(78,))
    if "what waits for labels" not in done.stderr or "labels.records_max" not in done.stderr:
        fail(f"a store that does not fit into memory: {done.stderr}")
    report = call(MILLRACE, "run", learning.path, "-X", f"bootstrap.servers={address}", "--until", "end").stdout
    if "unmatched" not in report or "labels" not in report:
        fail(report)


def clusters(folder, address):
    records = feed(folder, address, "clusters", "places")
    learning = Learning(folder, address, "clusters").run()
    answers = learning.answers()
    pairs = {}
    for answer in answers[len(answers) // 2:]:
        pairs.setdefault(answer["from"], set()).add(answer["cluster"])
    if len(answers) != len(records) or len({min(found) for found in pairs.values()}) != 4 or any(len(found) > 1 for found in pairs.values()):
        fail(f"{len(answers)} answers to {len(records)} points; clusters of each origin: {pairs}")
    if not learning.learned["near"]["loss_batch"] < 3:
        fail(f"the centres did not follow: {learning.learned}")


def ratings(folder, address):
    """With Surprise's model everybody's ten best are Surprise's own."""
    expected = json.loads((ROOT / "tests/golden/surprise/expected.json").read_text())["biased"]
    events = folder / "events.jsonl"
    events.write_text(call(sys.executable, ROOT / "datasets/ratings/generate.py", "--events").stdout)
    call(MILLRACE, "replay", events, "--topic", "quickstart-events", "-b", address)
    job = job_read(ROOT / "datasets/ratings/job.json")
    job["models"][0]["file"] = str(ROOT / "tests/golden/surprise/biased.safetensors")
    path = folder / "ratings.json"
    path.write_text(json.dumps(job))
    call(MILLRACE, "run", path, "-X", f"bootstrap.servers={address}", "--until", "end")
    asked = sorted(str(json.loads(line)["uid"]) for line in events.read_text().splitlines())
    answers = [json.loads(line) for line in call(MILLRACE, "tap", "recommendation-events", "-b", address, "-e").stdout.splitlines()]
    if sorted(str(answer["uid"]) for answer in answers) != asked:
        fail(f"{len(answers)} answers to {len(asked)} users, or to others")
    known = 0
    for answer in answers:
        want = expected["best"].get(str(answer["uid"]))
        known += want is not None
        if want and answer["items"] != want["items"]:
            fail(f"user {answer['uid']}: {answer['items']}, Surprise says {want['items']}")
    if not known:
        fail("none of the users is one whose best are known")


TOPICS = ("points", "estimates", "points.dead", "places", "clusters", "places.dead", "again", "plane-records", "plane-answers", "plane-estimates", "plane-dead",
          "quickstart-events", "recommendation-events", "quickstart-events.dead")
