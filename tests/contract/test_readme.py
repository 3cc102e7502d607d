#!/usr/bin/env python3
"""The job files in README.md are right: `millrace check` takes them."""
import os
import re
import subprocess
import sys

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
MILLRACE = os.path.abspath(os.environ.get("MILLRACE") or os.path.join(os.environ.get("BUILD_DIR", "."), "millrace"))

with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as readme:
    jobs = re.findall(r"^```jsonc\n(.*?)^```$", readme.read(), re.MULTILINE | re.DOTALL)
failed = 0 if len(jobs) >= 2 else f"{len(jobs)} job files: the README has more"
for job in jobs:
    done = subprocess.run([MILLRACE, "check", "-"], input=job, capture_output=True, text=True, check=False,
                          cwd=os.path.join(ROOT, "datasets", "temperature"))  # where the first one's model is
    print(done.stdout, done.stderr, sep="", end="")
    if done.returncode or "warning" in done.stderr:
        failed = f"exit code {done.returncode}:\n{job}"
print(failed or f"{len(jobs)} job files are right")
sys.exit(1 if failed else 0)
