"""Room for a step that a CUDA graph repeats. It is made between replays: a graph keeps to the addresses it was captured with."""

from __future__ import annotations

import weakref

import torch
from torch import Tensor

from sparrow.errors import DataError
from sparrow.tables import placement
from sparrow.tables.blocks import MAX_ROWS
from sparrow.tables.device_map import DeviceIdMap
from sparrow.tables.group import TableGroup
from sparrow.tables.recording import Recording


class LateRefusal(DataError):
    """Values that operators refused in an earlier replay, which has been taken.

    ago: how many replays ago that was, as far as known, the first possible first: 0 is the last replay.
    """

    def __init__(self, message: str, ago: range) -> None:
        super().__init__(message)
        self.ago = ago


class Room:
    """What a captured step may use of its tables, as they lie when this is made.

    recording: of the step, captured.
    """

    def __init__(self, recording: Recording) -> None:
        self._inserts, self._operators = recording.inserts, recording.operators
        # What operators flagged, on its way to the host, and after how many replays: one copy at a time, as flags are never set back.
        self._flagged: tuple[placement.LateCopy, int] | None = None
        # Replays that were submitted, and those of which it is known that nothing was refused that was not told.
        self._num_replays = self._num_checked = 0
        # Weak: what grew must not be kept by a graph that is of no use any more.
        self._addresses = [(group, [weakref.ref(tensor) for tensor in _tensors_of(group)]) for group in recording.groups]

    def lacking(self) -> str:
        """Return what keeps the step from being replayed, in words; nothing where it may be. Waits where tables may have to grow.

        Raises `TableError` where an earlier step's ids found no room, and `LateRefusal` for what operators of earlier replays refused, by
        now known.
        """
        if self._flagged is not None and self._flagged[0].is_done():
            self._look(*self._flagged)
        lacking = self._lacking()
        if lacking:
            self.check()  # the graph is about to be dropped, and with it what its replays flagged
        return lacking

    def _lacking(self) -> str:
        for group, num_ids in self._inserts.items():
            group.prepare_insert()
            if lacking := _map_of(group).lacking(_offsets_of(group, num_ids), group.blocks.capacity):
                return f"group {group.name!r} on {group.device} must grow, which a captured step cannot: {lacking}"
        for group, tensors in self._addresses:
            now = _tensors_of(group)
            if len(now) != len(tensors) or any(reference() is not tensor for reference, tensor in zip(tensors, now, strict=True)):
                return (
                    f"group {group.name!r} on {group.device} does not lie where it did when the step was captured: it grew, or was changed"
                )
        return ""

    def take(self) -> None:
        """Count the ids of one step as inserted."""
        for group, num_ids in self._inserts.items():
            _map_of(group).submit(_offsets_of(group, num_ids))

    def count_later(self) -> None:
        """Hear later what the step inserted, and what its operators flagged."""
        self._num_replays += 1
        for group in self._inserts:
            _map_of(group).count_later()
        if self._flagged is None and (watched := self._operators.watched()):
            self._flagged = placement.LateCopy(watched), self._num_replays

    def check(self) -> None:
        """Raise `LateRefusal` for what operators of replays so far refused. Waits for the device."""
        if watched := self._operators.watched():
            copy = placement.LateCopy(watched)
            copy.wait()
            self._look(copy, self._num_replays)

    def _look(self, flagged: placement.LateCopy, num_replays: int) -> None:
        """Look at what was flagged in the first `num_replays` replays."""
        self._flagged = None
        try:
            self._operators.check(flagged.values)
        except DataError as error:
            ago = range(self._num_replays - self._num_checked - 1, self._num_replays - num_replays - 1, -1)
            raise LateRefusal(str(error), ago) from error
        self._num_checked = num_replays


def make_room(inserts: dict[TableGroup, Tensor], num_steps: int) -> None:
    """Let every group have room for `num_steps` steps, each of as many new ids as `inserts` say (see `Recording`). Waits for the device."""
    for group, num_ids in inserts.items():
        group.prepare_insert()
        group.reserve(min(_map_of(group).reserve_more(_offsets_of(group, num_ids * num_steps)), MAX_ROWS))


def _map_of(group: TableGroup) -> DeviceIdMap:
    assert isinstance(group.map, DeviceIdMap), "a recording refuses groups on the CPU"
    return group.map


def _offsets_of(group: TableGroup, num_ids: Tensor) -> Tensor:
    """Return table offsets of so many ids a table; tables added since get none."""
    offsets = torch.zeros(len(group.tables) + 1, dtype=torch.int64)
    offsets[1 : 1 + num_ids.numel()] = num_ids
    return offsets.cumsum(0)


def _tensors_of(group: TableGroup) -> list[Tensor]:
    """Return every tensor of the group that kernels of a step may read or write."""
    map, blocks = group.map, group.blocks
    rows = [*blocks.weights, *blocks.element_slots, *blocks.row_slots, blocks.row_ids, blocks.meta, group.default_row]
    return [*map.tensors(), map.counters, map.free_rows, *rows, *group.first_values.tensors(group.seeds)]
