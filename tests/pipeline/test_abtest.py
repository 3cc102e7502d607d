#!/usr/bin/env python3
"""An A/B test as a job, on the in-memory broker: each record gets the test as it was before its block, worked out here a second time; the
report and `millrace inspect` tell the same; answers that come later on a topic of their own count when they come."""
import json
import math
import pathlib
import random
import tempfile

from examples import MILLRACE, call, embedded_broker, fail

BLOCK, RECORDS = 256, 3000
FIELDS = {name: f"ab.{name}" for name in ("difference", "low", "high", "statistic", "df", "p", "always_low", "always_high", "always_p", "decision",
                                          "mean.new", "count.control", "mismatch_p")}


def records():
    rng = random.Random(7)
    for i in range(RECORDS):
        arm = "new" if rng.random() < 0.5 else "control"
        yield {"id": i, "arm": arm, "value": round(rng.gauss(10, 2) + (0.4 if arm == "new" else 0), 3)}


def job_write(folder, name, **changes):
    job = {
        "job": name,
        "source": {"type": "kafka", "topics": ["visits"], "group": name, "properties": {"bootstrap.servers": "embedded"}},
        "record": {"format": "json", "features": ["arm", "value"]},
        "models": [{"name": "ab", "type": "abtest", "learn": True, "arms": ["control", "new"], "save": str(folder / f"{name}.safetensors")}],
        "batch": {"by": "offsets", "records_max": BLOCK},
        "backend": "cpu",
        "emit": {"fields": {"id": "id", "arm": "arm", **FIELDS}},
        "sinks": [{"type": "file", "path": str(folder / f"{name}.out")}],
        "bad_records": {"drop": True},
        **changes,
    }
    path = folder / f"{name}.json"
    path.write_text(json.dumps(job))
    return path


def lines_write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def moments(rows, arm):
    values = [row["value"] for row in rows if row["arm"] == arm]
    mean = math.fsum(values) / len(values)
    return len(values), mean, math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)


def state_after(rows):
    """The numbers that need no distribution."""
    (n0, m0, v0), (n1, m1, v1) = moments(rows, "control"), moments(rows, "new")
    a, b, n = v0 / n0, v1 / n1, n0 + n1
    rho2 = (-2 * math.log(0.05) + math.log(1 - 2 * math.log(0.05))) / 10000
    reach = math.sqrt((a + b) * 2 * (n * rho2 + 1) / (n * rho2) * math.log(math.sqrt(n * rho2 + 1) / 0.05))
    return {"difference": m1 - m0, "statistic": (m1 - m0) / math.sqrt(a + b), "df": (a + b) ** 2 / (a ** 2 / (n0 - 1) + b ** 2 / (n1 - 1)),
            "always_low": m1 - m0 - reach, "always_high": m1 - m0 + reach, "mean.new": m1, "count.control": n0,
            "decision": (m1 > m0) - (m1 < m0) if abs(m1 - m0) > reach else 0}


def same(got, want, what, tolerance=2e-6):  # float32, of values with three decimals
    if got is None or abs(got - want) > tolerance * max(1, abs(want)):
        fail(f"{what}: {got} instead of {want}")


def by_blocks(folder):
    rows = list(records())
    path = job_write(folder, "blocks")
    done = call(MILLRACE, "run", path, "--feed", lines_write(folder / "visits.jsonl", rows), "--until", "end", "--json")
    answers = [json.loads(line) for line in (folder / "blocks.out").read_text().splitlines()]
    if len(answers) != RECORDS:
        fail(f"{len(answers)} answers to {RECORDS} records")
    if any(answers[0][name] is not None for name in FIELDS if name not in ("decision", "count.control")) or answers[0]["count.control"] != 0:
        fail(f"the first record was told of a test that nothing is known of: {answers[0]}")
    for at in range(BLOCK, RECORDS, BLOCK):
        want = state_after(rows[:at])
        for answer in (answers[at], answers[min(at + BLOCK, RECORDS) - 1]):
            for name, value in want.items():
                same(answer[name], value, f"record {answer['id']}, {name}")
            if not answer["low"] < answer["difference"] < answer["high"] or not answer["always_low"] < answer["low"]:
                fail(f"intervals: {answer}")
    want, model = state_after(rows), json.loads(done.stdout.splitlines()[-1])["models"][0]
    for name, value in want.items():
        same(model["outputs"][name], value, f"report, {name}")
    if want["decision"] != 1 or not any("new against control: +" in line and line.endswith("new is higher") for line in model["found"]):
        fail(f"the report does not tell what was found: {model}")
    told = call(MILLRACE, "inspect", folder / "blocks.safetensors").stdout
    if f"arm control: {want['count.control']} records, mean of value" not in told or "new is higher" not in told:
        fail(f"inspect: {told}")
    if json.loads(call(MILLRACE, "inspect", folder / "blocks.safetensors", "--json").stdout)["outputs"] != model["outputs"]:
        fail("inspect and the report tell of two tests")
    return model["outputs"]


def wrong_arms(folder):
    """A record with another arm is a bad record, with a reason and a field; one without a value, too."""
    rows = [{"id": 0, "arm": "new", "value": 1}, {"id": 1, "arm": "gnu", "value": 1}, {"id": 2, "arm": "new"}, {"id": 3, "arm": None, "value": 2}]
    path = job_write(folder, "wrong", bad_records={"file": str(folder / "wrong.dead")})
    call(MILLRACE, "run", path, "--feed", lines_write(folder / "wrong.jsonl", rows), "--until", "end")
    dead = [json.loads(line) for line in (folder / "wrong.dead").read_text().splitlines()]
    reasons = [(row["error"], row.get("field")) for row in dead]
    if reasons != [("range", "arm"), ("missing", "value"), ("missing", "arm")]:
        fail(f"bad records: {reasons}: {dead}")


def values_that_come_later(folder):
    """The arm on one topic, what came of it on another, as labels: by arrival of the answers, and all of them count."""
    rows = list(records())
    with embedded_broker(folder, ["visits", "answers"]) as address:
        for topic, keys in (("visits", ("id", "arm")), ("answers", ("id", "value"))):
            lines = lines_write(folder / f"{topic}.part", ({key: row[key] for key in keys} for row in rows if topic == "visits" or row["id"] % 4))
            call(MILLRACE, "replay", lines, "--topic", topic, "-b", address)
        path = job_write(folder, "later", record={"format": "json", "features": ["arm"]}, batch={"records_max": 100},
                         labels={"topics": ["answers"], "key": "id", "label": "value"})
        done = call(MILLRACE, "run", path, "-X", f"bootstrap.servers={address}", "--until", "end", "--json")
    model = json.loads(done.stdout.splitlines()[-1])["models"][0]
    want = state_after([row for row in rows if row["id"] % 4])
    for name, value in want.items():  # labels are float64 all the way
        same(model["outputs"][name], value, f"labels, {name}", 1e-12)


def two_methods(folder):
    """Two models of the same arms in one job: each is what it is alone, with its own window and method."""
    rows, arms = lines_write(folder / "both.jsonl", records()), ["control", "new"]
    ways = {"welch": {}, "student": {"method": "student", "window": 3}}
    models = {name: {"name": name, "type": "abtest", "learn": True, "arms": arms, **more} for name, more in ways.items()}
    keys = ("difference", "df", "p", "always_low")

    def answers(name, *chosen):
        path = job_write(folder, name, models=[models[one] for one in chosen], emit={"fields": {f"{one}.{key}": f"{one}.{key}" for one in chosen for key in keys}})
        call(MILLRACE, "run", path, "--feed", rows, "--until", "end")
        return [json.loads(line) for line in (folder / f"{name}.out").read_text().splitlines()]

    both = answers("both", "welch", "student")
    for name in ways:
        alone = answers(f"alone-{name}", name)
        if [{key: answer[key] for key in one} for answer, one in zip(both, alone)] != alone or len(both) != RECORDS:
            fail(f"{name} beside another model is not what it is alone")
    if both[-1]["welch.df"] == both[-1]["student.df"] or both[-1]["welch.always_low"] != both[-1]["student.always_low"]:
        fail(f"two methods are one: {both[-1]}")


def wrong_jobs(folder):
    for change, text in (({"emit": {"fields": {"d": "ab.diference"}}}, 'did you mean "ab.difference"'),
                         ({"record": {"format": "json", "features": ["arm"]}}, "learns from labels"),
                         ({"models": [{"name": "ab", "type": "abtest", "learn": True, "metod": "student"}]}, "method"),
                         ({"models": [{"name": "ab", "type": "abtest", "learn": True, "ratio": "1:1:1"}]}, "expected 2 shares"),
                         ({"models": [{"name": name, "type": "abtest", "learn": True, "arms": arms} for name, arms in (("ab", ["control", "new"]), ("ba", ["new", "control"]))]},
                          "that read the same arms")):
        done = call(MILLRACE, "check", job_write(folder, "bad", **change), codes=(78,))
        if text not in done.stderr + done.stdout:
            fail(f"{change}: {done.stderr}{done.stdout}")


def main():
    with tempfile.TemporaryDirectory(prefix="millrace-ab-") as name:
        folder = pathlib.Path(name)
        found = by_blocks(folder)
        wrong_arms(folder)
        values_that_come_later(folder)
        two_methods(folder)
        wrong_jobs(folder)
    print(f"{RECORDS} records: {found['difference']:.4f} in {found['always_low']:.4f} to {found['always_high']:.4f}, p {found['p']:.2g}")


main()
