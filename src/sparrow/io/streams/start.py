"""Where partitions begin that no checkpoint has a position of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from sparrow.errors import ConfigError, DataError
from sparrow.io.streams.broker import Broker
from sparrow.io.streams.partitions import Partition, Position

Start = Literal["earliest", "latest", "checkpoint"] | Mapping[Any, int]


@dataclass(frozen=True, slots=True)
class StartRule:
    """kind: earliest, latest, checkpoint, timestamp or offsets."""

    kind: str
    timestamp_ms: int = 0
    offsets: dict[Partition, int] = field(default_factory=dict)

    @property
    def needs_state(self) -> bool:
        return self.kind == "checkpoint"

    def position(self, partition: Partition, broker: Broker, low: int, high: int, timeout: float) -> Position:
        """Return where `partition`, which holds offsets [low, high), begins."""
        if self.kind == "latest":
            return Position(high, 0)
        if self.kind == "timestamp":
            found = broker.offset_at(partition, self.timestamp_ms, timeout)
            return Position(high if found is None else found, 0)
        if self.kind == "offsets":
            if partition not in self.offsets:
                raise ConfigError(f"start names no offset for {partition}; name one for every partition, or begin at a word or a timestamp")
            return Position(self.offsets[partition], 0)
        return Position(low, 0)


def parse_start(start: Start, topics: Sequence[str]) -> StartRule:
    """Return the rule `start` stands for. Raises `ConfigError`."""
    if isinstance(start, str):
        if start not in ("earliest", "latest", "checkpoint"):
            raise ConfigError(f"start is {start!r}; expected {_EXPECTED}")
        return StartRule(start)
    if not isinstance(start, Mapping) or not start:
        raise ConfigError(f"start is {start!r}; expected {_EXPECTED}")
    for key, value in start.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise ConfigError(f"start[{key!r}] is {value!r}; expected a whole number of at least 0")
    if set(start) == {"timestamp_ms"}:
        return StartRule("timestamp", timestamp_ms=start["timestamp_ms"])
    return StartRule("offsets", offsets={_partition(key, topics): offset for key, offset in start.items()})


_EXPECTED = '"earliest", "latest", "checkpoint", {"timestamp_ms": T} or {partition: offset}'


def _partition(key: Any, topics: Sequence[str]) -> Partition:
    if isinstance(key, int) and not isinstance(key, bool) and key >= 0:
        if len(topics) > 1:
            raise ConfigError(f"start names partition {key} of no topic, and there are {len(topics)}; write (topic, {key})")
        return Partition(topics[0], key)
    if isinstance(key, tuple) and len(key) == 2 and key[0] in topics and isinstance(key[1], int) and key[1] >= 0:
        return Partition(*key)
    raise ConfigError(f"start has the key {key!r}; expected {_EXPECTED}, partitions of several topics as (topic, partition)")


def require_held(partition: Partition, position: Position, low: int, high: int) -> None:
    """Raise `DataError` where the broker, which holds offsets [low, high), does not hold `position`. `high` itself is the end, and held."""
    if position.offset < low:
        raise DataError(
            f"{partition}: offset {position.offset} is wanted next, but the broker holds only offsets from {low} on: retention deleted "
            f"{low - position.offset} offsets unread; keep messages longer, and to go on without them start with "
            f"start={{({partition.topic!r}, {partition.number}): {low}, ...}} and no state"
        )
    if position.offset > high:
        raise DataError(
            f"{partition}: offset {position.offset} is wanted next, but the broker holds only offsets before {high} (from {low} on): "
            "the topic was truncated or made anew; name the topic the position belongs to, or start anew with no state"
        )
