"""The named moments of the code (src/base/test_hook.h), and that the rows use all of them."""
import os
import re

from rig import ROOT

OPENING = ("open.before-init", "open.after-init", "open.restored")
COMMIT = ("batch.polled", "batch.sent", "commit.begin", "commit.after-state", "commit.before-offsets", "commit.after-offsets", "commit.end-sent",
          "commit.end-answered", "commit.after-end", "commit.done")
LEARNING = ("restore.read", "batch.learned", "state.sent")  # of a job that learns, beside those
ROTATING = ("file.copied", "file.rotated", "file.restarted")  # of a file that is full
REVOKING = ("revoke.begin", "revoke.done")  # when another member comes
FOLLOWING = ("follower.written", "file.synced", "follower.marked")  # of a job with a file beside Kafka
ELSEWHERE = ("positions.begin", "positions.written")  # of sources without a broker: tests/pipeline/test_source_*.py kill there
RESTARTING = ("restart.dropped", "restart.rebuilt")  # when a transaction was given up


def in_code():
    found = set()
    for folder, _, names in os.walk(os.path.join(ROOT, "src")):
        for name in names:
            if name.endswith((".c", ".h")):
                with open(os.path.join(folder, name), encoding="utf-8") as file:
                    found |= set(re.findall(r'\bMR_TEST_HOOK\("([^"]+)"\)', file.read()))
    return found


def unlike(rows):
    """What is wrong with the rows' crash points, a line each."""
    code, killed = in_code(), set().union(*(row.points for row in rows))
    return ([f"the hook {name} of the code is killed at in no row" for name in sorted(code - killed - set(ELSEWHERE))]
            + [f"a row names the hook {name}, which is not in the code" for name in sorted(killed - code)])


def times_of(point, random):
    """Which time of a point: those of a start come once a process."""
    return 1 if point in OPENING + REVOKING + RESTARTING or point == "restore.read" else random.randint(1, 4)
