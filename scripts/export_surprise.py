#!/usr/bin/env python3
"""Writes a trained SVD of Surprise (scikit-surprise) as a model file of type mf.

From a program that has the model, which is the safe way:

    from export_surprise import export
    export(algo, "ratings.safetensors")

From a file that surprise.dump wrote. Such a file is a pickle: reading it runs whatever program is in it. Do this only with a file
that you made yourself:

    ./export_surprise.py --trust-pickle model.dump ratings.safetensors
"""
import array
import json
import struct
import sys


def ids_of(name, raw):
    """Tensors of ids: I64 where all are whole numbers, else text."""
    texts = [str(raw_id) for raw_id in raw]
    try:
        numbers = [int(text) for text in texts]
        if all(str(number) == text and abs(number) < 1 << 63 for number, text in zip(numbers, texts)):
            return [(name, "I64", [len(numbers)], array.array("q", numbers))]
    except ValueError:
        pass
    parts = [text.encode() for text in texts]
    offsets = [0]
    for part in parts:
        offsets.append(offsets[-1] + len(part))
    return [(name + ".text", "U8", [offsets[-1]], array.array("B", b"".join(parts))),
            (name + ".offsets", "I64", [len(offsets)], array.array("q", offsets))]


def write(path, tensors, metadata):
    """A safetensors file: 8 bytes of header size, the header, the data."""
    header, position = {"__metadata__": metadata}, 0
    for name, dtype, shape, values in tensors:
        size = len(values) * values.itemsize
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [position, position + size]}
        position += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for _, _, _, values in tensors:
            file.write(values.tobytes())


def export(algo, path, version=""):
    """algo: a surprise.SVD that fit() has trained."""
    train = algo.trainset
    users, items, rank = train.n_users, train.n_items, algo.pu.shape[1]
    seen, offsets = array.array("i"), array.array("q", [0])
    for user in range(users):
        seen.extend(sorted({item for item, _ in train.ur[user]}))
        offsets.append(len(seen))
    low, high = train.rating_scale
    metadata = {"millrace.type": "mf", "millrace.version": version, "millrace.mean": repr(float(train.global_mean)),
                "millrace.scale_min": repr(float(low)), "millrace.scale_max": repr(float(high)),
                "millrace.regularisation": repr(float(algo.reg_pu))}
    tensors = [("user_factors", "F32", [users, rank], array.array("f", algo.pu.ravel())),
               ("item_factors", "F32", [items, rank], array.array("f", algo.qi.ravel())),
               ("seen.items", "I32", [len(seen)], seen)]
    if algo.biased:
        tensors[2:2] = [("user_bias", "F32", [users], array.array("f", algo.bu)),
                        ("item_bias", "F32", [items], array.array("f", algo.bi))]
    tensors += [("seen.offsets", "I64", [users + 1], offsets)]
    tensors += ids_of("user_ids", [train.to_raw_uid(user) for user in range(users)])
    tensors += ids_of("item_ids", [train.to_raw_iid(item) for item in range(items)])
    write(path, tensors, metadata)


def main():
    if len(sys.argv) != 4 or sys.argv[1] != "--trust-pickle":
        sys.stderr.write(__doc__)
        return 64
    import surprise.dump
    export(surprise.dump.load(sys.argv[2])[1], sys.argv[3])
    return 0


if __name__ == "__main__":
    sys.exit(main())
