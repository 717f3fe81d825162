"""What tests of streams share: a Kafka broker inside librdkafka, messages, and waiting for a condition."""

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

import pyarrow as pa
from confluent_kafka import Producer

_CHILD = """
import sys
from confluent_kafka import Producer
producer = Producer({"bootstrap.servers": "mock", "test.mock.num.brokers": 1, "log_level": 2})
print(",".join(f"{broker.host}:{broker.port}" for broker in producer.list_topics(timeout=10).brokers.values()), flush=True)
sys.stdin.read()
"""


class MockKafka:
    """A broker in a process of its own, so that it can be stopped like one that is away. Topics come into being with 4 partitions."""

    def __init__(self) -> None:
        self.process = subprocess.Popen([sys.executable, "-c", _CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.servers = self.process.stdout.readline().strip()
        self._producer = Producer({"bootstrap.servers": self.servers, "log_level": 2, "linger.ms": 0})

    def produce(self, topic: str, messages: Iterable[tuple[int, bytes | None]]) -> None:
        """Append (partition, value) messages; they can be read when this returns."""
        failed: list[Any] = []
        for partition, value in messages:
            self._producer.produce(topic, value, partition=partition, on_delivery=lambda error, _: error and failed.append(error))
        assert self._producer.flush(30) == 0
        assert not failed

    def stop_answering(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def answer_again(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        self.answer_again()
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(30)
        assert self.process.stdout is not None
        self.process.stdout.close()


def arrow_message(*tables: pa.Table) -> bytes:
    """One Arrow IPC stream; one record batch a table."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, tables[0].schema) as writer:
        for table in tables:
            writer.write_table(table)
    return bytes(sink.getvalue().to_pybytes())


def ids_message(ids: Iterable[int]) -> bytes:
    return arrow_message(pa.table({"id": pa.array(list(ids), pa.int64())}))


def json_message(row: Any) -> bytes:
    return json.dumps(row).encode()


def wait_until(condition: Callable[[], Any], seconds: float = 60.0) -> None:
    """Return once `condition()` holds; fail after `seconds`."""
    tick, deadline = threading.Event(), time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came to hold"
        tick.wait(0.01)
