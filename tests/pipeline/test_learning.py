#!/usr/bin/env python3
"""Jobs that learn while they score, on the in-memory broker: the worked examples find what is to be found, predict before they learn, and
go on from what they saved; a scaler feeds the model behind it; a diverging update is undone and said."""
import json
import pathlib
import tempfile

from examples import MILLRACE, TOPICS, Learning, call, clusters, embedded_broker, fail, later, plane


def embedded(folder):
    """A perceptron learns from a feed into the broker of the same process: the records come as they were fed."""
    def to_file(job):
        job["job"] = "embedded"
        job["models"] = [{"name": "net", "type": "mlp", "learn": True, "hidden": "8", "step": 0.01, "save": str(folder / "net.safetensors")}]
        job["emit"] = {"fields": {"x1": "x1", "net": "net.score"}}
        job["sinks"] = [{"type": "file", "path": str(folder / "net.jsonl")}]

    lines = folder / "points.jsonl"
    path = Learning(folder, None, "plane", to_file).path
    report = json.loads(call(MILLRACE, "run", path, "--feed", lines, "--until", "end", "--json").stdout.splitlines()[-1])
    fed = [json.loads(line)["x1"] for line in lines.read_text().splitlines()]
    written = [json.loads(line)["x1"] for line in (folder / "net.jsonl").read_text().splitlines()]
    if written != fed:
        fail(f"{len(written)} answers to {len(fed)} points, or not in their order")
    learned = report["models"][0]
    if not learned["rows_learned"] or learned["updates_undone"] or not learned["loss_batch"] < learned["loss"]:
        fail(f"net: {learned}")
    call(MILLRACE, "inspect", folder / "net.safetensors")
    scored = call(MILLRACE, "score", folder / "net.safetensors", lines).stdout.splitlines() # which names its features
    if len(scored) != len(fed):
        fail(f"score: {len(scored)} answers to {len(fed)} points")


def more_than_the_broker_keeps(folder):
    """A feed of 17 MB through a partition that keeps 5 MiB: it stays less than that ahead of the job."""
    def change(job):
        job["job"] = "large"
        job["models"] = [{"name": "std", "type": "scaler", "learn": True}]
        job["emit"] = {"fields": {"x": "std.scores[0]"}}
        job["sinks"] = [{"type": "file", "path": str(folder / "large.jsonl")}]

    lines = folder / "large.in"
    with open(lines, "w", encoding="ascii") as out:
        for i in range(12000):
            out.write(json.dumps({"x1": i, "x2": -i, "y": 1, "more": "m" * 1350}) + "\n")
    path = Learning(folder, None, "plane", change).path
    report = json.loads(call(MILLRACE, "run", path, "--feed", lines, "--until", "end", "--json").stdout.splitlines()[-1])
    if report["records_out"] != 12000:
        fail(f"{report['records_out']} of 12000 fed records came out")


def kept_when_it_ends_badly(folder):
    """Too many bad records end a run with an error: what was learned until then is saved all the same."""
    def change(job):
        job["job"] = "badly"
        job["models"] = [{"name": "net", "type": "linear", "learn": True, "standardise": True, "save": str(folder / "badly.safetensors")}]
        job["emit"] = {"fields": {"net": "net.score"}}
        job["sinks"] = [{"type": "file", "path": str(folder / "badly.jsonl")}]
        job["bad_records"] = {"drop": True, "run_max": 5}

    good = (folder / "points.jsonl").read_text().splitlines()[:600]
    lines = folder / "badly.in"
    lines.write_text("\n".join(good + ["{"] * 50) + "\n")
    path = Learning(folder, None, "plane", change).path
    done = call(MILLRACE, "run", path, "--feed", lines, "--until", "end", codes=(65,))
    if not (folder / "badly.safetensors").exists() or "saved to" not in done.stderr:
        fail(f"what was learned is lost: {done.stderr}")


def wrong_jobs(folder, address):
    def no_label(job):
        del job["record"]["label"]

    def no_such_input(job):
        job["models"][2]["input"] = "sdt"

    def too_wide(job):
        job["models"][2]["input"] = "spark"

    def saves_nothing(job):
        job["models"][0]["learn"] = False

    def wrong_in_front(job):
        job["models"][1]["file"] = "no-such-model"

    def in_a_circle(job):
        job["models"][1]["input"] = "sgd"

    def saved_twice(job):
        job["models"][0]["save"] = job["models"][2]["save"]

    def no_folder(job):
        job["models"][0]["save"] = "/no such folder/model"

    def a_device(job):
        job["models"][0]["save"] = "/dev/null"

    for change, text in ((wrong_in_front, "No such file"), (in_a_circle, 'models[1].input: "sgd" is no model before'),
                         (saved_twice, "the same file as models[0].save"), (no_folder, "there is no folder"),
                         (a_device, "no regular file"), (no_label, "learns from labels"), (no_such_input, 'models[2].input: "sdt" is no model before'),
                         (saves_nothing, "needs a file, or"), (too_wide, None)):
        path = Learning(folder, address, "plane", change).path
        done = call(MILLRACE, "check", path, codes=(0, 78))
        if (done.returncode == 0) != (text is None) or (text and text not in done.stderr + done.stdout):
            fail(f"{change.__name__}: {done.returncode}: {done.stdout}{done.stderr}")


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        with embedded_broker(folder, TOPICS) as address:
            plane(folder, address)
            clusters(folder, address)
            later(folder, address)
            embedded(folder)
            kept_when_it_ends_badly(folder)
            more_than_the_broker_keeps(folder)
            wrong_jobs(folder, address)


if __name__ == "__main__":
    main()
