#!/usr/bin/env python3
"""The source rate: its streams against the generators of datasets/ byte for byte, against what their options say (moments, least squares, low
rank), so many records a second, and going on where a run was killed."""
import json
import pathlib
import signal
import statistics
import sys
import tempfile

from examples import MILLRACE, ROOT, call, fail
from sources import HOOKED, Job, must_say


def near(what, got, want, within):
    if abs(got - want) > within:
        fail(f"{what}: {got}, expected {want} +- {within}")


ANY = [{"name": "m", "type": "kmeans", "learn": True, "k": 1}]  # takes whatever features there are


def stream(folder, name, fields, count=20_000, **source):
    """All records of a stream, as objects."""
    job = Job(folder / name, {"type": "rate", "rate": 0, "count": count, **source}, models=ANY, emit={"fields": {field: field for field in fields}})
    job.job["record"] = {"format": source.get("format", "json"), "features": [fields[1]]}
    if source.get("format") == "csv":
        job.job["record"]["columns"] = fields
    job.write()
    job.run()
    return job.answers()


def solve(matrix, right):
    """Gauss, with pivots."""
    rows = [list(row) + [value] for row, value in zip(matrix, right)]
    for i in range(len(rows)):
        rows[i:] = sorted(rows[i:], key=lambda row: -abs(row[i]))
        for other in rows[i + 1:]:
            factor = other[i] / rows[i][i]
            other[:] = [a - factor * b for a, b in zip(other, rows[i])]
    solution = [0.0] * len(rows)
    for i in reversed(range(len(rows))):
        solution[i] = (rows[i][-1] - sum(rows[i][j] * solution[j] for j in range(i + 1, len(rows)))) / rows[i][i]
    return solution


def least_squares(records, names, label):
    matrix = [[sum(r[a] * r[b] for r in records) for b in names] for a in names]
    return solve(matrix, [sum(r[a] * r[label] for r in records) for a in names])


def as_datasets(folder):
    """plane and clusters with the noise of datasets/ are what its generators write."""
    wanted = [json.loads(text) for text in call(sys.executable, ROOT / "datasets/plane/generate.py").stdout.splitlines()]
    got = stream(folder, "plane", ["x1", "x2", "y"], noise_in="x", unlabelled_every=10)
    if got != [{"y": None, **record} if "y" not in record else record for record in wanted]:
        fail(f"plane: {got[:2]}, not {wanted[:2]}")
    wanted = [json.loads(text) for text in call(sys.executable, ROOT / "datasets/clusters/generate.py").stdout.splitlines()]
    got = stream(folder, "clusters", ["from", "x", "y"], stream="clusters", noise_shape="uniform")
    if got != wanted:
        fail(f"clusters: {got[:2]}, not {wanted[:2]}")


def plane(folder):
    """Least squares finds the coefficients, the residuals have the noise; with drift and jump, those of that part."""
    records = stream(folder, "still", ["x1", "x2", "x3", "y"], coefficients=["3.2", "-0.6", "1.25"], noise=2, seed=7)
    found = least_squares(records, ["x1", "x2", "x3"], "y")
    for got, want in zip(found, (3.2, -0.6, 1.25), strict=True):
        near("coefficient", got, want, 0.003)
    residuals = [r["y"] - 3.2 * r["x1"] + 0.6 * r["x2"] - 1.25 * r["x3"] for r in records]
    near("mean of the noise", statistics.fmean(residuals), 0, 0.06)
    near("deviation of the noise", statistics.pstdev(residuals), 2, 0.05)
    for name in ("x1", "x2", "x3"):
        near(f"mean of {name}", statistics.fmean(r[name] for r in records), 50, 1)
        near(f"deviation of {name}", statistics.pstdev([r[name] for r in records]), 100 / 12 ** 0.5, 0.5)
    moving = stream(folder, "moving", ["x1", "x2", "y"], drift=["0.1", "-0.05"], jump_at=10_000, jump_to=["1", "2"])
    for first, want in ((0, (3.2, 0.6)), (9_000, (4.1, 0.15)), (10_000, (1, 2)), (19_000, (1.9, 1.55))):
        found = least_squares(moving[first:first + 200], ["x1", "x2"], "y")
        for got, truth, slope in zip(found, want, (0.1, -0.05), strict=True):
            near(f"coefficient at {first}", got, truth + 0.1 * slope, 0.02)  # the middle of the window
    if stream(folder, "other", ["x1", "y"], count=10, seed=8) == stream(folder, "same", ["x1", "y"], count=10, seed=9):
        fail("two seeds make the same stream")
    in_csv = stream(folder, "csv", ["x1", "x2", "y"], count=10, format="csv")
    if [float(r["y"]) for r in in_csv] != [r["y"] for r in stream(folder, "json", ["x1", "x2", "y"], count=10)]:
        fail(f"CSV is another stream: {in_csv[:2]}")


def clusters(folder):
    """A Gaussian mixture: points lie around their centre of that moment with the deviation asked for; shares are equal."""
    records = stream(folder, "four", ["from", "x", "y"], count=40_000, stream="clusters", noise=0.5)
    start, end = ((-10, 0), (10, 0), (0, 10), (0, -10)), ((-10, 8), (10, -8), (8, 10), (-8, -10))
    for which in range(4):
        own = [(i, r) for i, r in enumerate(records) if r["from"] == which]
        near("share", len(own), 10_000, 300)
        for axis, name in enumerate(("x", "y")):
            def centre(i):
                way = i / 20_000 if i < 20_000 else 2 - i / 20_000  # there, and back
                return start[which][axis] + (end[which][axis] - start[which][axis]) * way
            residuals = [r[name] - centre(i) for i, r in own]
            near("mean", statistics.fmean(residuals), 0, 0.02)
            near("deviation", statistics.pstdev(residuals), 0.5, 0.02)
            near("4th moment", statistics.fmean(value ** 4 for value in residuals) / 0.5 ** 4, 2.9, 0.35)  # 3 of a normal, less by 12 terms
    more = stream(folder, "more", ["from", "x1", "x2", "x3"], count=6_000, stream="clusters", clusters=3, dimensions=3, walk=0, noise=0.1)
    for which in range(3):
        for name in ("x1", "x2", "x3"):
            near("deviation", statistics.pstdev([r[name] for r in more if r["from"] == which]), 0.1, 0.01)


def ratings(folder):
    """Of rank one and without noise, products of ratings less the mean cross over; with noise they have its deviation."""
    records = stream(folder, "one", ["uid", "item", "rating"], stream="ratings", users=20, items=15, rank=1, noise=0)
    table = {(r["uid"], r["item"]): r["rating"] for r in records}
    if len(table) != 300 or any(table[r["uid"], r["item"]] != r["rating"] for r in records):
        fail(f"{len(table)} ratings of 20 users and 15 items")
    checked = 0
    for u in range(19):
        for i in range(14):
            four = [table[u, i], table[u + 1, i + 1], table[u, i + 1], table[u + 1, i]]
            if any(value in (1, 5) for value in four):
                continue  # clipped
            a, b, c, d = (value - 3 for value in four)
            near("a minor", a * b, c * d, 0.03)
            checked += 1
    if checked < 50:
        fail(f"only {checked} minors")
    noisy = stream(folder, "noisy", ["uid", "item", "rating"], stream="ratings", users=20, items=15, rank=1, noise=0.2)
    differences = [r["rating"] - table[r["uid"], r["item"]] for r in noisy if 2 < table[r["uid"], r["item"]] < 4]
    near("deviation of the noise", statistics.pstdev(differences), 0.2, 0.01)
    near("mean of the noise", statistics.fmean(differences), 0, 0.01)


def arms(folder):
    """ab: the means of the arms differ by their lift."""
    records = stream(folder, "three", ["arm", "value"], count=30_000, stream="ab", lift=["0", "0.5", "-1"], noise=2)
    for arm, lift in enumerate((0, 0.5, -1)):
        values = [r["value"] for r in records if r["arm"] == arm]
        near("share", len(values), 10_000, 300)
        near(f"mean of arm {arm}", statistics.fmean(values), 10 + lift, 0.06)
        near(f"deviation of arm {arm}", statistics.pstdev(values), 2, 0.05)


def on_time(folder):
    """So many records a second: never one before it is due, and after a pause those that were due at once. No clock of this test decides."""
    job = Job(folder, {"type": "rate", "rate": 2000, "count": 3000}, models=ANY, emit={"fields": {"o": "@offset", "n": "@offset", "due": "@timestamp"}})
    job.job["record"] = {"format": "json", "features": ["x1"]}
    job.write()
    report = job.run()
    if report["seconds"] < 1.4995:
        fail(f"3,000 records at 2,000/s were there after {report['seconds']} s")
    dues = [answer["due"] for answer in job.answers()]
    if len(dues) != 3000 or any(abs((due - dues[0]) - i / 2) > 1 for i, due in enumerate(dues)):
        fail("timestamps are not the schedule")
    with job.start() as run:
        run.out(3100)
        run.process.send_signal(signal.SIGSTOP)
        run.process.send_signal(signal.SIGCONT)
        run.end()
    if [answer["n"] for answer in job.answers()] != [*range(3000)] * 2:
        fail("records are missing")
    for change, words in (({"coefficients": ["a"]}, ("is no number",)), ({"drift": ["1"]}, ("as many as",)), ({"format": "csv"}, ("read as json",))):
        bad = Job(folder / "bad", {"type": "rate", **change})
        bad.job["record"]["features"] = ["x1"]
        bad.write()
        must_say(call(MILLRACE, "check", bad.path, codes=(78,)).stderr, *words)
    endless = Job(folder / "endless", {"type": "rate"}, models=ANY, record={"format": "json", "features": ["x1"]}, emit={"fields": {"n": "@offset"}})
    endless.run("--until", "end", codes=(64,))
    must_say(endless.said, "source.count")
    endless.run("--until", "500")
    if len(endless.answers()) != 500:
        fail(f"{len(endless.answers())} records of --until 500")


def killed(folder):
    """With positions a run goes on after kill -9, and what it makes is what one run makes."""
    def make(name):
        job = Job(folder / name, {"type": "rate", "rate": 0, "count": 20_000, "positions": "p"}, commit_interval="1ms", batch={"records_max": 100},
                  emit={"fields": {"n": "@offset", "y": "y", "o": "@offset"}}, models=[{"name": "m", "type": "linear", "learn": True, "step": 0.00001}])
        job.job["record"] = {"format": "json", "features": ["x1", "x2"], "label": "y"}
        job.write()
        return job

    whole, parts = make("whole"), make("parts")
    whole.run()
    for moment in ("batch.learned:30", "positions.written:2", "positions.begin:1"):
        with parts.start(program=HOOKED, environment={"MILLRACE_CRASH_AT": moment}) as run:
            run.end(-signal.SIGKILL)
    parts.run()
    want = {answer["n"]: answer["y"] for answer in whole.answers()}
    if len(want) != 20_000 or {answer["n"]: answer["y"] for answer in parts.answers()} != want:
        fail("a run that was killed made other records")
    parts.job["source"]["seed"] = 5
    parts.write()
    parts.run(codes=(65,))
    must_say(parts.said, "seed 0")


CASES = (as_datasets, plane, clusters, ratings, arms, on_time, killed)


def main():
    chosen = [case for case in CASES if not sys.argv[1:] or case.__name__ in sys.argv[1:]]
    for case in chosen:
        with tempfile.TemporaryDirectory() as folder:
            case(pathlib.Path(folder) / case.__name__)
        print(f"ok  {case.__name__}: {case.__doc__.splitlines()[0]}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
