"""kafka: messages to batches of tensors, beside the plain confluent-kafka consumer, and beside it with each message decoded by pyarrow.

    python -m benchmarks kafka [--rows N] [--message-rows N]

Four partitions of librdkafka's mock broker, in a process of its own, hold messages of Arrow IPC: a label, 4 numbers and 8 ragged columns of
ids. All read from the first offsets to the end with equal settings; consumers are connected and closed within the time. The plain consumer
makes nothing of the bytes: a bound. Sparrow also checks every value, cuts batches of tensors, and keeps a place for every row.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from benchmarks.harness import Options, Result, interleaved, rate
from sparrow.errors import BackendError
from sparrow.io.streams import KafkaDataset
from sparrow.types import Ragged

_BATCH_SIZE = 1024
_NUMBERS = tuple(f"i{index}" for index in range(1, 5))
_IDS = tuple(f"c{index}" for index in range(1, 9))
_COLUMNS = ["label", *_NUMBERS, *_IDS]
# At a time, by the peers as by Sparrow.
_MAX_MESSAGES = 1000
_SETTINGS = {
    "fetch.wait.max.ms": 10,
    "queued.max.messages.kbytes": 16_384,
    "fetch.queue.backoff.ms": 50,
    "check.crcs": True,
    "log_level": 2,
}
_TOPIC = "rows"
_NUM_PARTITIONS = 4
# The mock broker keeps 5 MB of a partition.
_MAX_BYTES = 4_500_000 * _NUM_PARTITIONS
_BROKER = """
import sys
from confluent_kafka import Producer
producer = Producer({"bootstrap.servers": "mock", "test.mock.num.brokers": 1, "log_level": 2})
print(",".join(f"{broker.host}:{broker.port}" for broker in producer.list_topics(timeout=10).brokers.values()), flush=True)
sys.stdin.read()
"""
Totals = tuple[int, int]


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rows", type=int, default=100_000, help="rows in all (default 100,000), or as many as the broker keeps")
    parser.add_argument("--message-rows", type=int, default=0, help="rows a message (default: 1, 32 and 512, one after the other)")


def run(options: Options) -> Iterable[Result]:
    try:
        import confluent_kafka
    except ImportError as error:
        raise BackendError(f"this needs confluent-kafka ({error}); install it: pip install 'sparrow-rec[stream]'") from None
    sizes = [options.more.message_rows] if options.more.message_rows else [1, 32, 512]
    for message_rows in sizes:
        messages = list(_messages(options.more.rows, message_rows))
        with _broker(messages) as servers:
            settings = {**_SETTINGS, "bootstrap.servers": servers, "group.id": "peer", "enable.auto.commit": False}
            yield from _measured(confluent_kafka, settings, servers, messages, message_rows, options.runs)


def _messages(num_rows: int, message_rows: int) -> Iterator[bytes]:
    """Yield messages of together `num_rows` rows, or as many as the broker keeps."""
    random, num_bytes = np.random.default_rng(0), 0
    for _ in range(max(1, num_rows // message_rows)):
        columns: dict[str, Any] = {"label": pa.array((random.random(message_rows) < 0.1).astype(np.float32))}
        columns.update({name: pa.array(random.normal(size=message_rows).astype(np.float32)) for name in _NUMBERS})
        for name in _IDS:
            offsets = np.concatenate([[0], random.integers(0, 6, message_rows).cumsum()]).astype(np.int32)
            columns[name] = pa.ListArray.from_arrays(pa.array(offsets), pa.array(random.integers(0, 1 << 40, offsets[-1])))
        sink = pa.BufferOutputStream()
        table = pa.table(columns)
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        message = sink.getvalue().to_pybytes()
        num_bytes += len(message)
        if num_bytes > _MAX_BYTES:
            return
        yield message


@contextmanager
def _broker(messages: list[bytes]) -> Iterator[str]:
    """Give the address of a broker that holds the messages, dealt to its partitions in turn."""
    from confluent_kafka import Producer

    child = subprocess.Popen([sys.executable, "-c", _BROKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdin is not None
    try:
        servers = child.stdout.readline().strip()
        failed: list[Any] = []
        producer = Producer({"bootstrap.servers": servers, "log_level": 2, "linger.ms": 5})
        for number, message in enumerate(messages):
            producer.produce(
                _TOPIC, message, partition=number % _NUM_PARTITIONS, on_delivery=lambda error, _: failed.append(error) if error else None
            )
            producer.poll(0)
        assert producer.flush(60) == 0
        assert not failed
        yield servers
    finally:
        child.stdin.close()
        child.wait(30)
        child.stdout.close()


def _consumed(kafka: Any, settings: dict[str, Any], num_messages: int) -> Iterator[bytes]:
    """Yield the messages by a plain consumer, which is made and closed here: so does an iteration of Sparrow's."""
    consumer = kafka.Consumer(settings)
    try:
        consumer.assign([kafka.TopicPartition(_TOPIC, partition, 0) for partition in range(_NUM_PARTITIONS)])
        num_left = num_messages
        while num_left:
            for message in consumer.consume(min(num_left, _MAX_MESSAGES), 1.0):
                assert message.error() is None
                num_left -= 1
                yield message.value()
    finally:
        consumer.close()


def plain_bytes(kafka: Any, settings: dict[str, Any], num_messages: int) -> int:
    """Return the bytes of the messages, of which nothing is made."""
    return sum(map(len, _consumed(kafka, settings, num_messages)))


def decoded_totals(kafka: Any, settings: dict[str, Any], num_messages: int) -> Totals:
    """Return rows and the sum of a column's ids, each message read into a table by pyarrow; no tensors, no batches."""
    rows, ids = 0, 0
    for message in _consumed(kafka, settings, num_messages):
        table = pa.ipc.open_stream(message).read_all()
        rows += table.num_rows
        ids += int(table.column(_IDS[-1]).combine_chunks().flatten().to_numpy().sum())
    return rows, ids


def sparrow_totals(dataset: KafkaDataset, start: dict[str, Any]) -> Totals:
    """The same, from batches of tensors."""
    dataset.load_state_dict(start)
    rows, ids = 0, torch.zeros((), dtype=torch.int64)
    for batch in dataset:
        last = batch[_IDS[-1]]
        assert isinstance(last, Ragged)
        rows += batch.num_samples
        ids += last.values.sum()
    return rows, int(ids)


def _measured(kafka: Any, settings: dict[str, Any], servers: str, messages: list[bytes], message_rows: int, runs: int) -> Iterator[Result]:
    expected = decoded_totals(kafka, settings, len(messages))
    assert expected[0] == len(messages) * message_rows
    assert plain_bytes(kafka, settings, len(messages)) == sum(map(len, messages))
    dataset = KafkaDataset(_TOPIC, _COLUMNS, batch_size=_BATCH_SIZE, servers=servers, config=_SETTINGS, end="now")
    start = dataset.state_dict()
    assert sparrow_totals(dataset, start) == expected
    case = f"{len(messages):,} messages of {message_rows} rows, {sum(map(len, messages)) / 1e6:.1f} MB"
    for peer, function in (
        ("confluent-kafka, bytes", lambda: plain_bytes(kafka, settings, len(messages))),
        ("confluent-kafka + pyarrow", lambda: decoded_totals(kafka, settings, len(messages))),
    ):
        times = interleaved({"sparrow": lambda: sparrow_totals(dataset, start), peer: function}, runs)
        yield rate(case, expected[0], times, unit="k rows/s", scale=1e3)
