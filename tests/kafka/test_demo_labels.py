#!/usr/bin/env python3
"""datasets/labels/job.json as shipped, on a real broker: records of two topics, one learned from; every prediction is in Kafka and, by its
topic, partition and offset, in a real OpenSearch, and is what a few lines of Python compute; the page is watched by a browser."""
import json
import os
import re
import signal
import subprocess
import sys
import urllib.error

from rig import MILLRACE, ROOT, expect, main, wait_for
from servers import Search
from watched import browsing, look

sys.path.insert(0, os.path.join(ROOT, "tests", "pipeline"))
import line  # noqa: E402

LABELS = os.path.join(ROOT, "datasets", "labels")
RATES = {"train": 600, "test": 150}  # ten seconds
STRETCH = 100  # offsets


def job_text(rig, search):
    """The shipped file, with the address of this server."""
    with open(os.path.join(LABELS, "job.json"), encoding="utf-8") as file:
        text = file.read()
    expect("http://localhost:9200" in text, "the job writes elsewhere")
    path = os.path.join(rig.folder, "labels.json")
    with open(path, "w", encoding="utf-8") as file:
        file.write(text.replace("http://localhost:9200", search.url))
    return path


def sending(rig, topic):
    """All of a topic, at its rate; the process."""
    path = os.path.join(rig.folder, f"{topic}.tsv")
    with open(path, "w", encoding="ascii") as file:
        file.writelines(one + "\n" for one in line.lines(topic))
    return subprocess.Popen([MILLRACE, "replay", path, "--topic", topic, "--keys", "--rate", str(RATES[topic]), "-b", rig.broker.address],
                            stderr=subprocess.PIPE, text=True)


def answers(rig):
    """topic -> offset -> what stands in predict."""
    done = subprocess.run([MILLRACE, "tap", "predict", "-b", rig.broker.address, "-e"], stdout=subprocess.PIPE, check=True)
    found = {"train": {}, "test": {}}
    for value in map(json.loads, done.stdout.splitlines()):
        expect(value["offset"] not in found[value["topic"]], f"twice: {value}")
        found[value["topic"]][value["offset"]] = value
    return found


def documents_check(search, found):
    """Each record is one document, under its name, with what stands in Kafka."""
    documents = search.documents("labels")
    wanted = {f"{topic}-{one['partition']}-{offset}": one for topic, held in found.items() for offset, one in held.items()}
    expect(documents.keys() == wanted.keys(), f"{len(documents)} documents for {len(wanted)} records: {sorted(documents)[:2]}")
    for name, one in wanted.items():
        expect({key: documents[name][key] for key in one} == one, f"{name}: {documents[name]} for {one}")
    return documents


def by_offset(documents, topic):
    """Mean squared error of each stretch of offsets."""
    stretches = {}
    for one in documents.values():
        if one["topic"] == topic:
            stretches.setdefault(one["offset"] // STRETCH, []).append((one["pred"] - one["y"]) ** 2)
    return [sum(stretches[i]) / len(stretches[i]) for i in sorted(stretches)]


def without_scripts(question):
    """The same, for a server that has no scripts: how many documents."""
    if not isinstance(question, dict):
        return question
    return {key: without_scripts(value) for key, value in question.items() if key != "mse"}


def asked(search, documents):
    """The question of the README: topic -> mean squared error, where the server has scripts; and how many documents each stretch has."""
    with open(os.path.join(LABELS, "README.md"), encoding="utf-8") as file:
        question = json.loads(re.search(r"-d '(\{.*?\})'\n", file.read(), re.S).group(1))
    try:
        answer = search.ask("/labels/_search", question)
    except urllib.error.HTTPError as error:
        expect(b"script" in error.read(), f"the server refuses the question: {error}")
        answer = search.ask("/labels/_search", without_scripts(question))
    buckets = answer["aggregations"]["topic"]["buckets"]
    counts = {bucket["key"]: [part["doc_count"] for part in bucket["by offset"]["buckets"]] for bucket in buckets}
    want = {topic: [STRETCH] * (len(line.lines(topic)) // STRETCH) for topic in RATES}
    expect(counts == want, f"{counts} documents by topic and offset, of {len(documents)}")
    return {bucket["key"]: bucket["mse"]["value"] for bucket in buckets if "mse" in bucket}


def errors_check(search, documents, weights):
    """The error falls to that of the best line, on both topics; and it is what the server says."""
    records = [tuple(map(float, one.split("\t"))) for one in line.lines("train")]
    mean_y, mean_x = (sum(column) / len(records) for column in zip(*records))
    slope = sum((x - mean_x) * (y - mean_y) for y, x in records) / sum((x - mean_x) ** 2 for _, x in records)
    best = sum((slope * (x - mean_x) + mean_y - y) ** 2 for y, x in records) / len(records)
    told = {}
    for topic in ("train", "test"):
        curve = by_offset(documents, topic)
        late = curve[len(curve) // 2:]
        expect(sum(late) / len(late) < 1.2 * best, f"{topic}: mean squared errors {curve}, at best {best}")
        expect(topic == "test" or curve[0] > 2 * best, f"{topic}: nothing was to be learned: {curve}, at best {best}")
        squares = [(one["pred"] - one["y"]) ** 2 for one in documents.values() if one["topic"] == topic]
        told[topic] = sum(squares) / len(squares)
    said = asked(search, documents)
    if said:
        expect(said.keys() == told.keys() and all(abs(said[topic] - told[topic]) < 1e-9 * told[topic] for topic in told), f"{said}, not {told}")
    last = weights[max(weights)]
    expect(abs(last[0] - slope) < 0.1 and abs(last[1] - (mean_y - slope * mean_x)) < 0.3, f"{last} was learned, the best line has slope {slope}")
    return told, best, "as the server says" if said else "the server has no scripts"


def case_labels(rig):
    """Two topics in, answers to Kafka and OpenSearch, and a page."""
    rig.topics("train:1", "test:1", "predict:1", "labels.dead:1")
    search, senders = Search(), []
    try:
        search.start()
        with browsing() as browser:
            run = rig.run(job_text(rig, search), "-X", f"bootstrap.servers={rig.broker.address}", "--http", "127.0.0.1:0")
            senders = [sending(rig, topic) for topic in RATES]
            count = look(browser, run, "labels")
            for sender in senders:
                said = sender.communicate(timeout=60)[1]
                expect(sender.returncode == 0, f"replay: {said}")
            total = sum(len(line.lines(topic)) for topic in RATES)
            run.wait_out(total)
            run.signal(signal.SIGTERM)
            run.expect_end(0)
        wait_for(lambda: search.ask("/labels/_refresh", method="POST") and search.ask("/labels/_count")["count"] >= total, "all documents")
        found = answers(rig)
        records = {topic: [tuple(map(float, one.split("\t"))) for one in line.lines(topic)] for topic in RATES}
        weights, batches = line.predictions_check(found, records)
        told, best, said = errors_check(search, documents_check(search, found), weights)
        return (f"{total} documents, {len(batches)} batches, {count} panels; mean squared error of train {told['train']:.3f}, of test {told['test']:.3f}, "
                f"at best {best:.3f}; {said}")
    finally:
        for sender in senders:
            if sender.poll() is None:
                sender.kill()
                sender.wait()
        search.close()


main([case_labels])
