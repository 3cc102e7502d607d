"""datasets/labels, computed again: the line that is learned from `train` in the order of its offsets, and what it says of each record."""
import gzip
import pathlib

ROOT = pathlib.Path(__file__).resolve().parents[2]
STEP = 0.01  # as its jobs have it


class Wrong(Exception):
    """An answer that is not what it should be."""


def lines(topic, count=None):
    return gzip.decompress((ROOT / "datasets/labels" / f"{topic}.tsv.gz").read_bytes()).decode().splitlines()[:count]


def line_learned(found):
    """version -> slope and intercept: one step for each batch of train records, in the order of their offsets."""
    slope = intercept = 0.0
    weights, batches = {0: (slope, intercept)}, {}
    for offset in sorted(found["train"]):
        batches.setdefault(found["train"][offset]["version"], []).append(found["train"][offset])
    if sorted(batches) != list(range(len(batches))):
        raise Wrong(f"versions of train records are {sorted(batches)}: a batch without them was learned from")
    for version in sorted(batches):
        batch = batches[version]
        errors = [slope * one["x"] + intercept - one["y"] for one in batch]
        slope -= STEP * sum(error * one["x"] for error, one in zip(errors, batch)) / len(batch)
        intercept -= STEP * sum(errors) / len(batch)
        weights[version + 1] = slope, intercept
    return weights, batches


def predictions_check(found, records):
    """found: topic -> offset -> answer. Each record once, with its label and value (records: topic -> pairs in order), and the prediction of the
    version that it names. Answers the batches."""
    for topic, sent in records.items():
        got = [(found[topic].get(i, {}).get("y"), found[topic].get(i, {}).get("x")) for i in range(len(sent))]
        if got != sent or len(found[topic]) != len(sent):
            raise Wrong(f"{topic}: {len(found[topic])} answers of {len(sent)} records, or not theirs: {got[:3]} of {sent[:3]}")
    weights, batches = line_learned(found)
    for topic, sent in records.items():
        for offset in range(len(sent)):
            answer = found[topic][offset]
            slope, intercept = weights[answer["version"]]
            if abs(answer["pred"] - (slope * answer["x"] + intercept)) > 1e-4:
                raise Wrong(f"{topic} {offset}: {answer}, and version {answer['version']} is {slope} x + {intercept}")
    return weights, batches
