"""Which partitions a rank reads, and from where: a pure function of what exists, what was saved, and by whom."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sparrow.errors import CheckpointError, ConfigError
from sparrow.io.streams.shapes import pack, unpack

STATE_VERSION = 1
MAX_STATE_BYTES = 100_000


class Partition(NamedTuple):
    """One partition of a topic; they sort by topic, then number."""

    topic: str
    number: int

    def __str__(self) -> str:
        return f"{self.topic}[{self.number}]"


class Position(NamedTuple):
    """The next row to hand out: a message, and a row of it."""

    offset: int
    row: int


def owned(num_partitions: Mapping[str, int], rank: int, world_size: int) -> tuple[Partition, ...]:
    """Return the partitions of a rank: every `world_size`-th of all of them, sorted."""
    return tuple(_all_of(num_partitions)[rank::world_size])


def owner(partition: Partition, num_partitions: Mapping[str, int], world_size: int) -> int:
    """Return the rank that reads `partition`."""
    return _all_of(num_partitions).index(partition) % world_size


def _all_of(num_partitions: Mapping[str, int]) -> list[Partition]:
    return [Partition(topic, number) for topic in sorted(num_partitions) for number in range(num_partitions[topic])]


@dataclass(frozen=True, slots=True)
class SavedRank:
    """The state of one rank.

    num_partitions: topic -> its partitions when the state was saved: with rank and world size it says who read which.
    positions:      of the partitions the rank had begun.
    shapes:         column -> what it becomes, in words.
    """

    rank: int
    world_size: int
    epoch: int
    columns: tuple[str, ...]
    num_partitions: dict[str, int]
    positions: dict[Partition, Position]
    shapes: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        """Return the state as JSON values. Raises `ConfigError` above 100 kB."""
        by_topic: dict[str, list[list[int]]] = {}
        for partition, position in sorted(self.positions.items()):
            by_topic.setdefault(partition.topic, []).append([partition.number, position.offset, position.row])
        state = {
            "version": STATE_VERSION,
            "rank": self.rank,
            "world_size": self.world_size,
            "epoch": self.epoch,
            "columns": list(self.columns),
            "num_partitions": self.num_partitions,
            "positions": by_topic,
            "shapes": pack(self.shapes, self.columns),
        }
        num_bytes = len(json.dumps(state))
        if num_bytes > MAX_STATE_BYTES:
            raise ConfigError(
                f"the state of {len(self.positions)} partitions and {len(self.columns)} columns takes {num_bytes} bytes, at most "
                f"{MAX_STATE_BYTES} are allowed; read with more ranks, or fewer topics"
            )
        return state

    @staticmethod
    def of_json(state: Any) -> SavedRank:
        """Return a state that `to_json` made. Raises `CheckpointError` for anything else."""
        if not isinstance(state, dict):
            raise _unknown(f"is a {type(state).__name__}, expected a dict")
        if state.get("version") != STATE_VERSION:
            raise _unknown(f"has version {state.get('version')!r}, expected {STATE_VERSION}")
        rank, world_size, epoch = (_count(state, key) for key in ("rank", "world_size", "epoch"))
        if rank >= world_size:
            raise _unknown(f"has rank={rank} of world_size={world_size}")
        columns = state.get("columns")
        if not isinstance(columns, list) or not all(isinstance(name, str) for name in columns):
            raise _unknown(f"has columns={columns!r}, expected a list of names")
        try:
            shapes = unpack(state.get("shapes"), columns)
        except ValueError as error:
            raise _unknown(str(error)) from None
        counts = state.get("num_partitions")
        if not isinstance(counts, dict) or not all(isinstance(topic, str) for topic in counts):
            raise _unknown(f"has num_partitions={counts!r}, expected a number by topic")
        num_partitions = {topic: _count(counts, topic) for topic in counts}
        positions = _positions(state.get("positions"), num_partitions)
        return SavedRank(rank, world_size, epoch, tuple(columns), num_partitions, positions, shapes)


def _positions(saved: Any, num_partitions: Mapping[str, int]) -> dict[Partition, Position]:
    if not isinstance(saved, dict):
        raise _unknown(f"has positions={saved!r}, expected lists by topic")
    positions: dict[Partition, Position] = {}
    for topic, rows in saved.items():
        for row in rows if isinstance(rows, list) else [rows]:
            is_triple = (
                isinstance(row, list) and len(row) == 3 and all(isinstance(n, int) and not isinstance(n, bool) and n >= 0 for n in row)
            )
            if not is_triple or row[0] >= num_partitions.get(topic, 0) or Partition(topic, row[0]) in positions:
                raise _unknown(f"has {row!r} among the positions of {topic!r}; expected [partition, offset, row], each partition once")
            positions[Partition(topic, row[0])] = Position(row[1], row[2])
    return positions


def _count(state: Mapping[str, Any], key: str) -> int:
    value = state.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise _unknown(f"has {key}={value!r}, expected a whole number of at least 0")
    return value


def _unknown(what: str) -> CheckpointError:
    return CheckpointError(f"the stream's state {what}; load what KafkaDataset.state_dict returned, or a list of these")


def merge(states: Sequence[SavedRank]) -> SavedRank:
    """Return one state of all the partitions that `states`, of ranks of one run, had begun; its rank is the first one's.

    Raises `ConfigError` where they cannot be of one run: they differ in what is read or in world size, or two are of one rank.
    """
    first = states[0]
    positions: dict[Partition, Position] = {}
    ranks: set[int] = set()
    counts = dict(first.num_partitions)
    shapes = dict(first.shapes)
    for state in states:
        for what in ("world_size", "columns"):
            if getattr(state, what) != getattr(first, what):
                raise ConfigError(
                    f"the states of ranks {first.rank} and {state.rank} differ in {what}: {getattr(first, what)} and "
                    f"{getattr(state, what)}; load states that were saved together"
                )
        if state.num_partitions.keys() != counts.keys():
            raise ConfigError(
                f"the states of ranks {first.rank} and {state.rank} are of other topics: {sorted(counts)} and "
                f"{sorted(state.num_partitions)}; load states that were saved together"
            )
        # A partition may have been added while the ranks started: some saw it, some did not.
        counts = {topic: max(count, state.num_partitions[topic]) for topic, count in counts.items()}
        if state.rank in ranks:
            raise ConfigError(f"two of the states are of rank {state.rank}; load one of each rank")
        ranks.add(state.rank)
        for partition, position in state.positions.items():
            if partition in positions:
                raise ConfigError(f"two of the states hold a position of {partition}; load states that were saved together")
            positions[partition] = position
        for name, shape in state.shapes.items():
            if shapes.setdefault(name, shape) != shape:
                raise ConfigError(f"column {name!r} is {shapes[name]} in one state and {shape} in that of rank {state.rank}")
    epoch = max(state.epoch for state in states)
    return SavedRank(first.rank, first.world_size, epoch, first.columns, counts, positions, shapes)


def continue_from(states: Sequence[SavedRank], mine: Sequence[Partition]) -> dict[Partition, Position]:
    """Return the saved positions of the partitions `mine`; those that nobody had begun are left out, to begin where new ones begin.

    Raises `ConfigError` where the rank that read one of `mine` is not among `states`.
    """
    merged = merge(states)
    ranks = {state.rank for state in states}
    positions: dict[Partition, Position] = {}
    for partition in mine:
        if partition in merged.positions:
            positions[partition] = merged.positions[partition]
        elif partition.number < merged.num_partitions.get(partition.topic, 0) and len(ranks) < merged.world_size:
            readers = {owner(partition, state.num_partitions, state.world_size) for state in states if _knows(state, partition)}
            if not readers & ranks:
                raise ConfigError(
                    f"{partition} was read by rank {min(readers)} of {merged.world_size}, and the states given are of rank "
                    f"{', '.join(map(str, sorted(ranks)))}; load a list of the states of all {merged.world_size} ranks"
                )
    return positions


def _knows(state: SavedRank, partition: Partition) -> bool:
    return partition.number < state.num_partitions.get(partition.topic, 0)
