#!/usr/bin/env python3
"""The job of datasets/ab on a real broker and without one, its page in a real browser: Welch's and Student's test as scipy has them of the persons so
far, the always valid interval as numpy has it by its formula, at many moments and at the end."""
import json
import math
import os
import signal
import subprocess
import sys

from rig import ROOT, expect, main
from shipped import answers_of, copied, demo, lines, replayed
from watched import address_of, browsing, look

sys.path.insert(0, os.path.join(ROOT, "tests", "pipeline"))
import libraries  # noqa: E402

libraries.need("numpy", "scipy")
import numpy as np  # noqa: E402
from scipy import stats  # noqa: E402

VISITS = os.path.join(ROOT, "datasets", "ab", "visits.jsonl")
ALPHA, TIGHTEST, BLOCK = 0.05, 2000, 100


def always(free, shared):
    """The interval of Waudby-Smith et al. (2024), theorem 2.2, for a difference of means: with s^2 = v0 / n0 + v1 / n1 and n = n0 + n1,
    s sqrt(2 (n r^2 + 1) / (n r^2) log(sqrt(n r^2 + 1) / alpha)), tightest near TIGHTEST persons; and the least alpha at which 0 is outside."""
    count, apart = len(free) + len(shared), shared.mean() - free.mean()
    variance = free.var(ddof=1) / len(free) + shared.var(ddof=1) / len(shared)
    grown = count * (-2 * math.log(ALPHA) + math.log(1 - 2 * math.log(ALPHA))) / TIGHTEST + 1
    factor = 2 * grown / (grown - 1)
    reach = math.sqrt(variance * factor * math.log(math.sqrt(grown) / ALPHA))
    return {"always_low": apart - reach, "always_high": apart + reach, "always_p": min(1, math.sqrt(grown) * math.exp(-apart ** 2 / (variance * factor))),
            "decision": 0 if abs(apart) <= reach else int(math.copysign(1, apart))}


def known(rows):
    """What is known of these persons."""
    free, shared = (np.array([row["visits"] for row in rows if row["plan"] == plan], dtype=float) for plan in ("free", "shared"))
    welch, student = (stats.ttest_ind(shared, free, equal_var=equal) for equal in (False, True))
    low, high = welch.confidence_interval(1 - ALPHA)
    return {"difference": shared.mean() - free.mean(), "t": welch.statistic, "df": welch.df, "p": welch.pvalue, "low": low, "high": high,
            "student_t": student.statistic, "student_df": student.df, "student_p": student.pvalue, **always(free, shared)}


def same(got, want, what, tolerance):
    for key, value in want.items():
        expect(got[key] is not None and abs(got[key] - value) <= tolerance * max(abs(value), 1e-30), f"{what}: {key} is {got[key]}, not {value}")


def from_report(report):
    """The state at the end, in float64, under the names of the answers."""
    welch, student = ({model["name"]: model["outputs"] for model in report["models"]}[name] for name in ("welch", "student"))
    names = {"t": "statistic", **{name: name for name in ("difference", "df", "p", "low", "high", "always_low", "always_high", "always_p", "decision")}}
    return {**{name: welch[key] for name, key in names.items()}, **{f"student_{name}": student[names[name]] for name in ("t", "df", "p")}}


def case_ab(rig):
    """Person by person: what each was told is what was known of all before its block."""
    folder, rows = copied(rig, "ab"), lines(VISITS)
    rig.topics("visits:1", "ab:1", "visits.dead:1")
    first, second = (os.path.join(rig.folder, f"visits.{i}.jsonl") for i in range(2))
    for path, part in ((first, rows[:3000]), (second, rows[3000:])):
        with open(path, "w", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in part)
    replayed(rig, first, "visits")
    run = rig.run(os.path.join(folder, "job.json"), "-X", f"bootstrap.servers={rig.broker.address}", "--http", "127.0.0.1:0")
    with browsing() as browser:
        address_of(run)  # it is at work
        replayed(rig, second, "visits", len(rows) / 6)  # three seconds
        run.wait_out(len(rows))
        seen = look(browser, run, "ab", empty=("loss",))
    run.signal(signal.SIGTERM)
    run.expect_end(0)
    expect(not answers_of(rig, "visits.dead"), "there are dead letters")
    answers = answers_of(rig, "ab")
    expect([{key: answer[key] for key in ("person", "plan", "visits")} for answer in answers] ==
           [{key: row[key] for key in ("person", "plan", "visits")} for row in rows], "answers are not to these persons, in their order")
    expect(all(answer["difference"] is None and answer["decision"] == 0 for answer in answers[:BLOCK]), "something is known before there was anybody")
    for at in range(BLOCK, len(rows), BLOCK):
        want = known(rows[:at])
        for answer in answers[at:at + BLOCK]:
            same(answer, want, f"person {at}", 1e-5)  # float32 of numbers that are float64
    want = known(rows)
    same(from_report(run.report), want, "the report", 1e-9)
    first_told = next(i for i, answer in enumerate(answers) if answer["decision"])
    looked = sum(answers[at]["p"] < ALPHA for at in range(BLOCK, first_told, BLOCK))
    expect(want["decision"] == -1 and looked > 0, f"{want}")
    return (f"{len(rows)} persons: {want['difference']:.4f} visits in {want['always_low']:.4f} to {want['always_high']:.4f}, decided after {first_told}; "
            f"p was below {ALPHA} at {looked} looks before; {seen} panels")


def case_extract(_rig):
    """What is stored is the first year of each person, in the order that the card states; both arms are whole."""
    rows = lines(VISITS)
    expect(len(rows) == 5638 and len({row["person"] for row in rows}) == 5638, f"{len(rows)} persons")
    expect(all((row["coinsurance"] == 0) == (row["plan"] == "free") for row in rows), "a plan is not what its share says")
    done = subprocess.run([sys.executable, "-c", "import sys; sys.path.insert(0, sys.argv[1]); import extract; "
                           "print([extract.mixed(int(text)) for text in sys.argv[2:]])", os.path.join(ROOT, "datasets", "ab"),
                           *(str(row["person"]) for row in rows[:200])], stdout=subprocess.PIPE, text=True, check=True)
    order = json.loads(done.stdout)
    expect(order == sorted(order), "another order")
    return f"{sum(row['plan'] == 'free' for row in rows)} with free care"


def case_demo_ab(rig):
    """Without a broker, from the stored file."""
    return demo(rig, "ab", 100, empty=("loss", "lag"))


main([case_ab, case_extract, case_demo_ab])
