"""The id map of a group that lives on a device: the host makes room by bounds, and hears of the counts later."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import torch
from torch import Tensor

from sparrow.errors import TableError
from sparrow.ops import id_map
from sparrow.ops.find_or_insert.op import find_or_insert_
from sparrow.ops.rehash.op import rehash_
from sparrow.tables.growth import IdMap, capacity, share
from sparrow.tables.placement import LateCopy, sent

# Before anything grows, the host waits for counts that are more calls behind than this: else what it submitted ahead would take memory.
MOST_CALLS_BEHIND = 2


@dataclass(frozen=True, slots=True)
class _Count:
    """What the map holds after a call, when `copy` is done: `counters` and `ranges`.

    submitted: int64 [R], the ids each range may have got until then. num_submitted: of all ranges.
    """

    copy: LateCopy
    submitted: Tensor
    num_submitted: int


class DeviceIdMap(IdMap):
    """A map whose operators nobody waits for.

    `headers` and `ranges` stay on the host, which decides where ranges lie and how long they are. Numbers of keys there are bounds: no
    range has more keys, or more keys less dead ones, than its row says. What operators read and write is `tensors`, `counters` and
    `free_rows`. `settle` waits, and then all is exact; asking for numbers, erasing and reading rows do so, a step does not.

    salts: of the tables, int64. device: not the host. names: of the tables, for errors.
    """

    def __init__(self, salts: list[int], device: torch.device, group: str, names: list[str]) -> None:
        self._device, self._group, self.names = device, group, names
        self._there = [sent(id_map.make_headers([], []), device), torch.empty(0, 4, dtype=torch.int64, device=device)]
        self._late: deque[_Count] = deque()
        self._submitted, self._num_submitted, self._most_rows = torch.zeros(0, dtype=torch.int64), 0, 0
        super().__init__([], device)
        self.counters, self.free_rows = (sent(tensor, device) for tensor in id_map.empty_rows())
        for salt in salts:
            self.add_table(salt)

    def tensors(self) -> tuple[Tensor, Tensor, Tensor]:
        headers, ranges = self._there
        return self.lines, headers, ranges

    def add_table(self, salt: int) -> None:
        super().add_table(salt)
        mine = self.headers[-1:], self.ranges[-1:]
        self._there = [torch.cat([there, sent(tensor, self._device)]) for there, tensor in zip(self._there, mine, strict=True)]
        self._forget_counts()

    def set_salts(self, salts: list[int]) -> None:
        super().set_salts(salts)
        self._there[0][:, id_map.HEADER_SALT] = sent(torch.tensor(salts), self._device)

    # A step.

    def make_room(self, table_offsets: Tensor, num_rows: int) -> int:
        """Make room for `table_offsets.diff()` new ids and return how many rows there may then be, at most. Does not wait for the device.

        table_offsets: int64 [T + 1], on the host. num_rows: there is memory for so many.
        Raises `TableError` where an earlier call's ids found no room.
        """
        self._hear()
        if self._is_due(table_offsets, num_rows):
            self._hear(MOST_CALLS_BEHIND)
        self._make_room(table_offsets)
        return self.submit(table_offsets)

    def submit(self, table_offsets: Tensor) -> int:
        """Count `table_offsets.diff()` new ids as there, and return how many rows there may then be, at most."""
        num_ids, shares = int(table_offsets[-1]), self._shares(table_offsets)
        self.ranges[:, id_map.RANGE_NUM_KEYS] += shares
        self._submitted += shares
        self._num_submitted += num_ids
        self._most_rows += num_ids
        return self._most_rows

    def _is_due(self, table_offsets: Tensor, num_rows: int) -> bool:
        """Return whether something must grow before `table_offsets.diff()` more ids are inserted, as far as bounds tell."""
        full = self.ranges[:, id_map.RANGE_NUM_KEYS] + self._shares(table_offsets) > capacity(self.ranges)
        return self._most_rows + int(table_offsets[-1]) > num_rows or bool(full.any())

    def lacking(self, table_offsets: Tensor, num_rows: int) -> str:
        """Return what must grow before `table_offsets.diff()` more ids are inserted, in words; nothing where they have room.

        num_rows: as of `make_room`. Waits for the device only where something may have to grow.
        """
        for most_behind in (None, MOST_CALLS_BEHIND, 0):
            self._hear(most_behind)
            if not self._is_due(table_offsets, num_rows):
                return ""
        wanted, shares = table_offsets.diff(), self._shares(table_offsets)
        left = capacity(self.ranges) - self.ranges[:, id_map.RANGE_NUM_KEYS]
        lacks = []
        for table, name in enumerate(self.names):
            own = self._ranges_of(table)
            if bool((left[own] < shares[own]).any()):
                fullest = min(own, key=lambda index: int(left[index] - shares[index]))
                part = "" if len(own) == 1 else f"in the fullest of its {len(own)} ranges "
                lacks.append(f"table {name!r} has room {part}for {max(int(left[fullest]), 0)} ids more, {int(wanted[table])} may come")
        if self._most_rows + int(table_offsets[-1]) > num_rows:
            tables = [name for table, name in enumerate(self.names) if wanted[table] > 0]
            lacks.append(
                f"there is memory for {num_rows - self._most_rows} rows more of tables {tables}, {int(table_offsets[-1])} may come"
            )
        return "; ".join(lacks)

    def reserve_more(self, table_offsets: Tensor) -> int:
        """Make room for `table_offsets.diff()` ids beyond those there, and return how many rows there are then. Waits for the device."""
        self._hear(0)
        self._make_room(table_offsets)
        return self._most_rows + int(table_offsets[-1])

    def find_or_insert(self, ids: Tensor, table_offsets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return what the operator `find_or_insert_` returns of its arguments. `make_room`, or `submit`, comes first."""
        return find_or_insert_(*self.tensors(), self.counters, self.free_rows, ids, table_offsets)

    def count_later(self) -> None:
        """Have what is there after an insertion copied to the host."""
        self._late.append(_Count(LateCopy([self.counters, self._there[1]]), self._submitted.clone(), self._num_submitted))

    def _hear(self, most_behind: int | None = None) -> None:
        """Take the newest counts that have come; wait until no more than `most_behind` calls are still to come."""
        newest = None
        while self._late and (self._late[0].copy.is_done() or (most_behind is not None and len(self._late) > most_behind)):
            newest = self._late.popleft()
            newest.copy.wait()
        if newest is not None:
            counters, ranges = newest.copy.values
            self._take(counters, ranges, self._submitted - newest.submitted, self._num_submitted - newest.num_submitted)

    def _take(self, counters: Tensor, ranges: Tensor, since: Tensor, num_since: int) -> None:
        """Set the bounds: what was counted, and what was submitted since."""
        self._check(counters, ranges)
        self.ranges[:, id_map.RANGE_NUM_KEYS] = ranges[:, id_map.RANGE_NUM_KEYS] + since
        self.ranges[:, id_map.RANGE_NUM_DEAD] = ranges[:, id_map.RANGE_NUM_DEAD]
        self._most_rows = int(counters[id_map.COUNTER_ROWS]) + num_since

    def _check(self, counters: Tensor, ranges: Tensor) -> None:
        num_failed = int(counters[id_map.COUNTER_FAILED])
        torn = ranges[:, id_map.RANGE_NUM_KEYS] == id_map.REBUILD
        if num_failed == 0 and not bool(torn.any()):
            return
        full = ranges[:, id_map.RANGE_NUM_KEYS] >= ranges[:, id_map.RANGE_NUM_LINES] * id_map.IDS_PER_LINE
        owners = (self.headers[:, id_map.HEADER_FIRST_RANGE] <= (torn | full).nonzero()).sum(1) - 1
        names = sorted({self.names[table] for table in owners.tolist()})
        raise TableError(
            f"group {self._group!r} on {self._device}: {num_failed} ids of tables {names} found no room in an earlier step and were "
            f"not trained: they crowd in one range of the id map, as only chosen ids do; load the last checkpoint, and keep them on the CPU"
        )

    def settle(self) -> None:
        """Wait for the device; bounds are then exact. Raises `TableError` where ids found no room."""
        self._late.clear()
        headers, ranges = (tensor.cpu() for tensor in self._there)
        self.headers[:, id_map.HEADER_SIDE_ROW] = headers[:, id_map.HEADER_SIDE_ROW]
        self._take(self.counters.cpu(), ranges, torch.zeros(ranges.shape[0], dtype=torch.int64), 0)

    def _forget_counts(self) -> None:
        """Forget the counts still to come: their ranges are none of today's. Bounds stay."""
        self._late.clear()
        self._submitted = torch.zeros(self.ranges.shape[0], dtype=torch.int64)

    def _rehash(self, headers: Tensor, ranges: Tensor, origins: Tensor) -> None:
        moves = ranges[:, id_map.RANGE_NUM_KEYS] == id_map.REBUILD
        old_headers, old_ranges = self._there
        new_headers, new_ranges = sent(headers, self._device), sent(ranges, self._device)
        new_headers[:, id_map.HEADER_SIDE_ROW] = old_headers[:, id_map.HEADER_SIDE_ROW]
        counts = slice(id_map.RANGE_NUM_KEYS, None)
        stay = old_ranges[sent(origins, self._device), counts]
        new_ranges[:, counts] = torch.where(sent(moves, self._device)[:, None], new_ranges[:, counts], stay)
        self.lines = self._places.lines()
        rehash_(self.lines, new_headers, new_ranges, old_headers, old_ranges)
        self._there = [new_headers, new_ranges]
        before, divided = self.ranges[origins], ranges.shape[0] != self.ranges.shape[0]
        living = before[:, id_map.RANGE_NUM_KEYS] - before[:, id_map.RANGE_NUM_DEAD]
        # The dead are left behind, and the living of a divided range are shared out.
        bounds = torch.stack([share(living, torch.bincount(origins)[origins]), torch.zeros_like(living)], 1)
        ranges[:, counts] = torch.where(moves[:, None], bounds, before[:, counts])
        self.headers, self.ranges = headers, ranges
        if divided:
            self._forget_counts()
