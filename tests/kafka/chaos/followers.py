"""Rows F: sinks outside Kafka, fed by followers: what is in a file is what is committed, once."""
import os
import signal

from frame import hooks_of, row
from points import FOLLOWING, ROTATING, times_of
from rig import Wrong, expect
from test_follower import rotated, same


def with_file(trial, **options):
    """Every process of the trial writes its outputs to a file, too; the verdict looks there as well."""
    path = os.path.join(trial.rig.folder, f"{trial.name}.jsonl")
    trial.settings["sinks"] = [{"type": "kafka", "topic": f"{trial.name}.out"}, {"type": "file", "path": path, **options}]
    judge = trial.judge

    def both():
        verdict = judge()
        try:
            same(trial.rig, f"{trial.name}.out", *rotated(path))
        except Wrong as error:
            verdict["wrong"] += str(error)
        return verdict
    trial.judge = both


@row("F1", "killed while a file is fed", f"a kill at each of {', '.join(FOLLOWING)}, and ten at random moments", ci=0, full=50, seconds=20, points=FOLLOWING)
def fed(trial):
    with_file(trial)
    trial.flow(2000)
    for point in trial.random.sample(FOLLOWING, len(FOLLOWING)):
        run = trial.start(hooks=hooks_of(crash=f"{point}:{times_of(point, trial.random)}"))
        code = run.end(60)
        expect(code == -signal.SIGKILL and f"crash point {point}" in run.err(), f"{point}: it left with {code}:\n{run.err()[-2000:]}")
        trial.fault()
    trial.kill(10)


@row("F2", "killed while a full file is left", f"a kill at each of {', '.join(ROTATING)}, and ten at random moments", ci=0, full=20, seconds=20, points=ROTATING)
def left(trial):
    with_file(trial, rotate_bytes=2000)
    trial.flow(2000)
    for point in trial.random.sample(ROTATING, len(ROTATING)):
        run = trial.start(hooks=hooks_of(crash=f"{point}:{times_of(point, trial.random)}"))
        code = run.end(60)
        expect(code == -signal.SIGKILL and f"crash point {point}" in run.err(), f"{point}: it left with {code}:\n{run.err()[-2000:]}")
        trial.fault()
    trial.kill(10)
