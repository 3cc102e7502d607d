#!/usr/bin/env python3
"""Scores a Kafka topic in Python: confluent-kafka in batches, orjson, ONNX Runtime on the whole batch.

    peer.py --brokers HOST:PORT --in TOPIC --out TOPIC --model PATH [--processes N] [--follow]

PATH.onnx gives the class of each row, PATH.json names the features in order. Reads what the topic holds at start, then ends;
with --follow it goes on until it is terminated (for latency).
"""
import argparse
import gc
import itertools
import json
import multiprocessing
import operator
import signal
import sys

import numpy as np
import onnxruntime
import orjson
from confluent_kafka import Consumer, Message, Producer, TopicPartition

BATCH = 10_000


def open_consumer(options):
    return Consumer({
        "bootstrap.servers": options.brokers, "group.id": "python-peer", "enable.auto.commit": False,
        "enable.auto.offset.store": False, "auto.offset.reset": "earliest",
        "fetch.message.max.bytes": 4_000_000, "queued.min.messages": 1_000_000, "queued.max.messages.kbytes": 256_000,
        "fetch.queue.backoff.ms": 5, "fetch.wait.max.ms": 5 if options.follow else 100})


def open_producer(options):
    return Producer({
        "bootstrap.servers": options.brokers, "acks": 1, "linger.ms": 1 if options.follow else 5, "batch.size": 1_000_000,
        "batch.num.messages": 100_000, "queue.buffering.max.messages": 1_000_000, "queue.buffering.max.kbytes": 128_000})


def assign(consumer, options, index):
    """Takes every N-th partition; returns how many messages wait there."""
    partitions = consumer.list_topics(options.topic_in, timeout=30).topics[options.topic_in].partitions
    mine, left = [], 0
    for partition in sorted(partitions)[index::options.processes]:
        low, high = consumer.get_watermark_offsets(TopicPartition(options.topic_in, partition), timeout=30)
        mine.append(TopicPartition(options.topic_in, partition, low))
        left += high - low
    consumer.assign(mine)
    return left


def send(producer, topic, records):
    sent = 0
    while sent < len(records):
        try:
            sent += producer.produce_batch(topic, records[sent:])
        except BufferError:
            pass
        producer.poll(0 if sent == len(records) else 0.05)


def work(options, index):
    with open(options.model + ".json", encoding="utf-8") as file:
        names = json.load(file)["features"]
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = settings.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(options.model + ".onnx", settings, providers=["CPUExecutionProvider"])
    pick = operator.itemgetter(*names)
    flat = (lambda rows: rows) if len(names) == 1 else itertools.chain.from_iterable
    consumer, producer = open_consumer(options), open_producer(options)
    left = assign(consumer, options, index)
    while options.follow or left:
        # When following, what is there goes on as soon as one record is there: consume() would wait for a full batch.
        messages = consumer.consume(BATCH if not options.follow else 100, 0.001 if options.follow else 0.1)
        if not messages:
            producer.poll(0)
            continue
        for message in messages:
            if message.error():
                raise SystemExit(f"consume: {message.error()}")
        left -= len(messages)
        # One pass: each document is parsed, picked from and freed while it is in the cache (half the time of a list of them).
        numbers = flat(map(pick, map(orjson.loads, map(Message.value, messages))))
        x = np.fromiter(numbers, np.float32, len(messages) * len(names)).reshape(-1, len(names))
        offsets = map(Message.offset, messages)
        classes = session.run(None, {"x": x})[0].tolist()
        send(producer, options.topic_out, [{"value": b'{"id":%d,"prediction":%d}' % (offset, c)}
                                           for offset, c in zip(offsets, classes)])
    if producer.flush(60):
        raise SystemExit("flush: not everything was delivered within 60 s")
    consumer.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--brokers", required=True)
    parser.add_argument("--in", dest="topic_in", required=True)
    parser.add_argument("--out", dest="topic_out", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--follow", action="store_true")
    options = parser.parse_args()
    gc.disable()  # nothing here makes cycles, and the collector would walk every batch
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    others = [multiprocessing.Process(target=work, args=(options, i)) for i in range(1, options.processes)]
    for process in others:
        process.start()
    work(options, 0)
    for process in others:
        process.join()
    return max((process.exitcode for process in others), default=0)


if __name__ == "__main__":
    sys.exit(main())
