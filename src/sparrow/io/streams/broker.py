"""The only module that meets confluent-kafka: one consumer with partitions assigned by hand, and what its errors mean."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, final

from sparrow.errors import BackendError, ConfigError, DataError
from sparrow.io.streams.partitions import Partition

# Makes a consumer from librdkafka's settings. What it returns has the methods of confluent_kafka.Consumer used below.
Connect = Callable[[dict[str, Any]], Any]

_LOG = logging.getLogger(__name__)

# A position must never move by itself, nor be kept by the broker: the checkpoint is the one truth.
_FIXED = {
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "auto.offset.reset": "error",
    "enable.partition.eof": True,
    "allow.auto.create.topics": False,
}
_DEFAULTS = {
    "group.id": "sparrow",  # required by librdkafka; without subscribe or commit no group exists
    "check.crcs": True,
    "queued.max.messages.kbytes": 16_384,  # of memory, read ahead by librdkafka
    "fetch.queue.backoff.ms": 50,
    "reconnect.backoff.max.ms": 2_000,
}
# Errors a broker that is away, restarting or electing causes: they end by themselves. The rest of librdkafka's are for good.
_PASSING = (
    "_TRANSPORT", "_ALL_BROKERS_DOWN", "_TIMED_OUT", "_TIMED_OUT_QUEUE", "_RESOLVE", "_WAIT_CACHE", "_WAIT_COORD", "_INTR",
    "LEADER_NOT_AVAILABLE", "NOT_LEADER_FOR_PARTITION", "REQUEST_TIMED_OUT", "BROKER_NOT_AVAILABLE", "REPLICA_NOT_AVAILABLE",
    "NETWORK_EXCEPTION", "COORDINATOR_LOAD_IN_PROGRESS", "OFFSET_NOT_AVAILABLE", "FENCED_LEADER_EPOCH", "UNKNOWN_LEADER_EPOCH",
    "KAFKA_STORAGE_ERROR", "PREFERRED_LEADER_NOT_AVAILABLE",
)  # fmt: skip
_MAX_MESSAGES_A_POLL = 1_000


class AwayError(Exception):
    """The brokers cannot be reached now; trying again is right."""


class OffsetGoneError(Exception):
    """The broker does not hold the position of `partition`."""

    def __init__(self, partition: Partition) -> None:
        super().__init__(str(partition))
        self.partition = partition


class Message(NamedTuple):
    """A message, or the end of what a partition holds now where `is_end`: `offset` is then the next there will be."""

    partition: Partition
    offset: int
    value: bytes | None
    is_end: bool


def settings_of(servers: str | Sequence[str] | None, config: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return librdkafka's settings. Raises `ConfigError` where the caller's would break exactness, or name no broker."""
    given = dict(config or {})
    if servers is not None:
        if "bootstrap.servers" in given:
            raise ConfigError("give servers or config['bootstrap.servers'], not both")
        given["bootstrap.servers"] = servers if isinstance(servers, str) else ",".join(servers)
    if not given.get("bootstrap.servers"):
        raise ConfigError('no brokers; give servers="host:port,host:port", or config={"bootstrap.servers": ...}')
    for key, fixed in _FIXED.items():
        if given.get(key, fixed) != fixed:
            raise ConfigError(
                f"config[{key!r}] is {given[key]!r}, but positions are kept in checkpoints, which needs {fixed!r}; leave it out"
            )
    return {**_DEFAULTS, **given, **_FIXED}


def connect_confluent(settings: dict[str, Any]) -> Any:
    """Return a `confluent_kafka.Consumer`. librdkafka's log goes to the logger of this module."""
    kafka = import_confluent()
    try:
        return kafka.Consumer(settings, logger=_LOG)
    except (kafka.KafkaException, ValueError, TypeError) as error:
        raise ConfigError(f"Kafka's settings are refused: {_words(error)}; see the settings librdkafka knows") from None


def import_confluent() -> Any:
    """Return the module `confluent_kafka`. Raises `BackendError` naming the extra where it is missing."""
    try:
        return importlib.import_module("confluent_kafka")
    except ImportError as error:
        raise BackendError(f"reading Kafka needs confluent-kafka ({error}); install it: pip install 'sparrow-rec[stream]'") from None


@final
class Broker:
    """A connection: metadata, positions, messages. Every call returns within about `timeout` seconds or raises `AwayError`."""

    def __init__(self, settings: dict[str, Any], connect: Connect) -> None:
        self._kafka = import_confluent()
        self._passing = {getattr(self._kafka.KafkaError, name) for name in _PASSING if hasattr(self._kafka.KafkaError, name)}
        self._servers = str(settings["bootstrap.servers"])
        self._fatal: Any = None
        self.is_down = False
        self._consumer = connect({**settings, "error_cb": self._on_error})

    def _on_error(self, error: Any) -> None:
        if error.fatal() or error.code() == self._kafka.KafkaError._AUTHENTICATION:
            self._fatal = error
        elif error.code() == self._kafka.KafkaError._ALL_BROKERS_DOWN:
            self.is_down = True

    def close(self) -> None:
        self._consumer.close()

    def num_partitions(self, topic: str, timeout: float) -> int:
        """Return how many partitions a topic has. Raises `DataError` where there is no such topic."""
        found = self._ask(lambda: self._consumer.list_topics(topic, timeout=timeout)).topics.get(topic)
        if found is None or found.error is not None:
            error = None if found is None else found.error
            if error is not None and error.code() in self._passing:
                raise AwayError(error.str())
            why = "unknown" if error is None else error.str()
            raise DataError(f"topic {topic!r} cannot be read from {self._servers} ({why}); check its name, and that it may be read")
        self.is_down = False
        return len(found.partitions)

    def watermarks(self, partition: Partition, timeout: float) -> tuple[int, int]:
        """Return the first offset a partition still holds, and the next it will give."""
        asked = self._kafka.TopicPartition(*partition)
        found: tuple[int, int] | None = self._ask(lambda: self._consumer.get_watermark_offsets(asked, timeout=timeout, cached=False))
        if found is None:
            raise AwayError("no answer")
        return found

    def offset_at(self, partition: Partition, timestamp_ms: int, timeout: float) -> int | None:
        """Return the first offset whose message is of that time or later, None where there is none."""
        wanted = self._kafka.TopicPartition(partition.topic, partition.number, timestamp_ms)
        (found,) = self._ask(lambda: self._consumer.offsets_for_times([wanted], timeout=timeout))
        if found.error is not None:
            self._raise(found.error, f"{partition}: its offset at {timestamp_ms} ms")
        return None if found.offset < 0 else int(found.offset)

    def assign(self, offsets: Mapping[Partition, int]) -> None:
        """Read these partitions from these offsets, and no others."""
        self._consumer.assign([self._kafka.TopicPartition(*partition, offset) for partition, offset in offsets.items()])

    def pause(self, partition: Partition) -> None:
        self._consumer.pause([self._kafka.TopicPartition(*partition)])

    def poll(self, timeout: float) -> list[Message]:
        """Return what has arrived: as soon as there is something, nothing after `timeout` seconds.

        Errors that pass set `is_down`. Raises `OffsetGoneError` for a partition whose position the broker does not hold, `DataError` for
        errors for good.
        """
        first = self._consumer.poll(timeout)
        if self._fatal is not None:
            raise DataError(f"{self._servers}: {self._fatal.str()}; check the brokers, and the credentials in config")
        if first is None:
            return []
        arrived = [self._message(raw) for raw in (first, *self._consumer.consume(_MAX_MESSAGES_A_POLL, 0))]
        return [message for message in arrived if message is not None]

    def _message(self, raw: Any) -> Message | None:
        partition, error = Partition(raw.topic(), raw.partition()), raw.error()
        is_end = error is not None and error.code() == self._kafka.KafkaError._PARTITION_EOF
        if error is not None and not is_end:
            if error.code() == self._kafka.KafkaError._AUTO_OFFSET_RESET:
                raise OffsetGoneError(partition)
            try:
                self._raise(error, str(partition))
            except AwayError:
                # Messages that came with it must not be lost, and librdkafka tries again by itself.
                self.is_down = True
                return None
        self.is_down = False
        return Message(partition, raw.offset(), None if is_end else raw.value(), is_end)

    def _ask(self, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except self._kafka.KafkaException as error:
            self._raise(error.args[0], self._servers)

    def _raise(self, error: Any, what: str) -> None:
        if error.code() in self._passing or (error.retriable() and not error.fatal()):
            raise AwayError(error.str())
        raise DataError(f"{what}: {error.str()} ({error.name()}); check the brokers, the topic, and what config may read")


def _words(error: Exception) -> str:
    inner = error.args[0] if error.args else error
    return str(inner.str() if hasattr(inner, "str") else inner)
