"""Other people's Python libraries, for the tests that compare with them: those that scripts/setup --tests has brought into .cache, else this Python's own."""
import importlib
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
# The second takes numpy, onnx and protobuf from the first. scripts/setup has the same numbers.
FOLDERS = [ROOT / ".cache/onnx/1.22.0", ROOT / ".cache/libraries/2"]
TORCH = ROOT / ".cache/torch"


def skip(reason):
    print(f"SKIP: {reason}")
    sys.exit(77)


def need(*names):
    """Makes them importable, here and in the Python programs that are started from here; or the test is skipped."""
    paths = [str(folder) for folder in FOLDERS if folder.is_dir()]
    sys.path[:0] = paths
    os.environ["PYTHONPATH"] = os.pathsep.join([*paths, *filter(None, [os.environ.get("PYTHONPATH")])])
    for name in names:
        try:
            importlib.import_module(name)
        except ImportError as reason:
            skip(f"the Python package {name} is not there (scripts/setup --tests brings it): {reason}")


def torch():
    """A Python that has PyTorch, and its environment; or the test is skipped. It may be another Python, with another numpy, so it gets none of the folders above."""
    plain = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    brought = {**plain, "PYTHONPATH": str(TORCH / "python"), "LD_LIBRARY_PATH": str(TORCH / "lib")}
    reason = "no Python"
    for python, environment in (sys.executable, plain), ("/usr/bin/python3", plain), ("/usr/bin/python3", brought):
        if not os.path.exists(python):
            continue
        done = subprocess.run([python, "-c", "import torch.onnx"], env=environment, capture_output=True, text=True, timeout=120, check=False)
        if done.returncode == 0:
            return python, environment
        reason = done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"exit code {done.returncode}"
    return skip(f"PyTorch is not there (scripts/setup --tests brings the distribution's): {reason}")
