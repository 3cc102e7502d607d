"""Other people's Python libraries, for the tests that compare with them: those that scripts/setup --tests has brought into .cache, else this Python's own."""
import importlib
import os
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
# The second takes numpy, onnx and protobuf from the first. scripts/setup has the same numbers.
FOLDERS = [ROOT / ".cache/onnx/1.22.0", ROOT / ".cache/libraries/1"]


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
