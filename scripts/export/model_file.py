"""Writes model files of millrace (safetensors) with the standard library alone: what the exporters beside this share."""
import array
import json
import struct
import sys


def arguments(text, *first):
    """Source and target of the command line, behind the words that must come first. Ends with the text where they are not there (64) or
    where it was asked for (0)."""
    words = sys.argv[1:]
    if words in (["-h"], ["--help"]):
        print(text.strip())
        sys.exit(0)
    if tuple(words[:-2]) != first or len(words) < 2 or words[-2].startswith("--"):
        sys.stderr.write(text)
        sys.exit(64)
    return words[-2:]


class Refused(ValueError):
    """A model that has no form in millrace, or is none; with the reason."""


class Missing(FileNotFoundError):
    """A model that is not there."""


def program(text, export, *first):
    """The program of an exporter: export(source, target) reads a model and writes it. The exit code."""
    source, target = arguments(text, *first)
    try:
        export(source, target)
    except Refused as reason:
        sys.stderr.write(f"{reason}\n")
        return 65
    except Missing as reason:
        sys.stderr.write(f"{reason}\n")
        return 66
    except ImportError as reason:
        sys.stderr.write(f"{sys.argv[0]}: {reason}\n")
        return 69
    except OSError as reason:
        sys.stderr.write(f"{target}: could not be written: {reason.strerror or reason}\n")
        return 74
    return 0


def pickle_program(text, load, export):
    """The same where the source is a pickle: load(path) gives the model, export(model, target) writes it."""
    def read(source):
        try:
            return load(source)
        except ImportError:
            raise
        except OSError as reason:
            raise Missing(f"{source}: {reason.strerror}") from None
        except Exception as reason:  # a broken pickle may raise anything
            raise Refused(f"{source}: not a whole pickle of a model: {type(reason).__name__}: {reason}") from None

    def whole(source, target):
        model = read(source)
        try:
            export(model, target)
        except Refused as reason:
            raise Refused(f"{source}: {reason}") from None
        except AttributeError as reason:  # what fit() would have made
            raise Refused(f"{source}: no model that was fitted: {reason}") from None
    return program(text, whole, "--trust-pickle")


def write(path, tensors, metadata):
    """tensors: (name, dtype, shape, array.array or bytes) one behind the other; metadata: texts."""
    header, position = {"__metadata__": metadata}, 0
    for name, dtype, shape, values in tensors:
        size = memoryview(values).nbytes
        header[name] = {"dtype": dtype, "shape": [int(n) for n in shape], "data_offsets": [position, position + size]}
        position += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for _, _, _, values in tensors:
            file.write(values if isinstance(values, bytes) else values.tobytes())


def numbers(name, values, shape):
    """Any numbers as a float64 tensor, the last dimension first."""
    return (name, "F64", shape, array.array("d", [float(value) for value in values]))


def metadata(kind, version="", features=None, labels=None, activations=None):
    """What all models say of themselves. labels: left out where they are 0, 1, 2 ..."""
    found = {"millrace.type": kind, "millrace.version": version}
    if features is not None:
        found["millrace.features"] = json.dumps([str(name) for name in features], ensure_ascii=False)
    if labels is not None and [str(label) for label in labels] != [str(i) for i in range(len(labels))]:
        found["millrace.labels"] = json.dumps([str(label) for label in labels], ensure_ascii=False)
    if activations is not None:
        found["millrace.activations"] = json.dumps(activations)
    return found
