#!/usr/bin/env python3
"""Writes a trained SVD of Surprise (scikit-surprise) as a model file of type mf.

From a program that has the model, which is the safe way:

    from from_surprise import export
    export(algo, "ratings.safetensors")

From a file that surprise.dump wrote. Such a file is a pickle: reading it runs whatever program is in it. Do this only with a file
that you made yourself:

    ./from_surprise.py --trust-pickle model.dump ratings.safetensors
"""
import array
import sys

from model_file import metadata, pickle_program, write


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


def export(algo, path, version=""):
    """algo: a surprise.SVD that fit() has trained."""
    train = algo.trainset
    users, items, rank = train.n_users, train.n_items, algo.pu.shape[1]
    seen, offsets = array.array("i"), array.array("q", [0])
    for user in range(users):
        seen.extend(sorted({item for item, _ in train.ur[user]}))
        offsets.append(len(seen))
    low, high = train.rating_scale
    facts = {**metadata("mf", version), "millrace.mean": repr(float(train.global_mean)), "millrace.scale_min": repr(float(low)),
             "millrace.scale_max": repr(float(high)), "millrace.regularisation": repr(float(algo.reg_pu))}
    tensors = [("user_factors", "F32", [users, rank], array.array("f", algo.pu.ravel())),
               ("item_factors", "F32", [items, rank], array.array("f", algo.qi.ravel())),
               ("seen.items", "I32", [len(seen)], seen)]
    if algo.biased:
        tensors[2:2] = [("user_bias", "F32", [users], array.array("f", algo.bu)),
                        ("item_bias", "F32", [items], array.array("f", algo.bi))]
    tensors += [("seen.offsets", "I64", [users + 1], offsets)]
    tensors += ids_of("user_ids", [train.to_raw_uid(user) for user in range(users)])
    tensors += ids_of("item_ids", [train.to_raw_iid(item) for item in range(items)])
    write(path, tensors, facts)


def load(path):
    import surprise.dump
    return surprise.dump.load(path)[1]


if __name__ == "__main__":
    sys.exit(pickle_program(__doc__, load, export))
