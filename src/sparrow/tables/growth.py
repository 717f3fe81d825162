"""The id map of a group and its growth: room is made before an insert can need it, range by range."""

from __future__ import annotations

import torch
from torch import Tensor

from sparrow.ops import id_map
from sparrow.ops.erase.op import erase_
from sparrow.ops.find.op import find
from sparrow.ops.find_or_insert.op import find_or_insert_
from sparrow.ops.rehash.op import rehash_
from sparrow.tables.line_places import LinePlaces
from sparrow.tables.placement import HOST

# A table of more ids than this is divided into 2^_RANGE_BITS ranges, so that no step pays for the growth of all of it.
_MOST_KEYS_OF_ONE_RANGE = 1 << 15
_RANGE_BITS = 5
# Ids a line, 13/16 of its slots: an eighth of the ids then overflow their home line.
_LOAD_NUMERATOR, _LOAD_DENOMINATOR = 65, 16
# A range doubles: it is 72% full on average then, and an id is moved once in its life on average.
_GROWTH = 2.0
_FIRST_LINES = 4
_GOLDEN = 0.6180339887498949
# An insert of this share of new ids goes to the map at once; below it, ids are looked up first: most calls then write nothing.
_MOSTLY_NEW = 0.02


class IdMap:
    """Tensors of the map (`ops/id_map.py` describes them) and the decision when and how a range grows.

    salts: of the tables, int64. device: where `lines` lie.
    """

    def __init__(self, salts: list[int], device: torch.device = HOST) -> None:
        self._places = LinePlaces(device)
        self.headers = id_map.make_headers([], [])
        self.ranges = torch.empty(0, 4, dtype=torch.int64)
        self.counters, self.free_rows = id_map.empty_rows()
        self._mostly_new = True
        for salt in salts:
            self.add_table(salt)

    def add_table(self, salt: int) -> None:
        """Append a table that holds nothing."""
        header = id_map.make_headers([salt], [0])
        header[0, id_map.HEADER_FIRST_RANGE] = self.ranges.shape[0]
        first, num_lines = self._places.take(_FIRST_LINES), _FIRST_LINES
        self.lines = self._places.lines()
        self.lines[first : first + num_lines] = id_map.EMPTY
        self.headers = torch.cat([self.headers, header])
        self.ranges = torch.cat([self.ranges, torch.tensor([[first, num_lines, 0, 0]])])

    def salt(self, table: int) -> int:
        return int(self.headers[table, id_map.HEADER_SALT])

    def set_salts(self, salts: list[int]) -> None:
        """Take other salts. The map must be empty: the salt decides where an id lies."""
        assert self.num_rows == 0, "salts of a map that holds ids cannot change"
        self.headers[:, id_map.HEADER_SALT] = torch.tensor(salts)

    @property
    def num_rows(self) -> int:
        """Rows handed out and not given back."""
        return int(self.counters[id_map.COUNTER_ROWS] - self.counters[id_map.COUNTER_FREE])

    @property
    def num_rows_ever(self) -> int:
        """Rows ever handed out: all row numbers are below it."""
        return int(self.counters[id_map.COUNTER_ROWS])

    def tensors(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return (lines, headers, ranges) as operators take them."""
        return self.lines, self.headers, self.ranges

    def settle(self) -> None:
        """Know exactly what the map holds. The host always does."""

    def num_ids(self, table: int) -> int:
        """Return how many living ids `table` holds."""
        self.settle()
        own = self.ranges[self._ranges_of(table)]
        side = int(self.headers[table, id_map.HEADER_SIDE_ROW]) != id_map.NO_ROW
        return int(own[:, id_map.RANGE_NUM_KEYS].sum() - own[:, id_map.RANGE_NUM_DEAD].sum()) + side

    def storage_bytes(self) -> int:
        """Return the bytes of all lines, headers and ranges in use."""
        return int(self.ranges[:, id_map.RANGE_NUM_LINES].sum()) * 64 + (self.headers.numel() + self.ranges.numel()) * 8

    def find(self, ids: Tensor, table_offsets: Tensor) -> Tensor:
        """Return rows int32 [N], -1 for ids the map does not hold. Arguments as the operator `find`."""
        return find(*self.tensors(), ids, table_offsets)[0]

    def find_or_insert(self, ids: Tensor, table_offsets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return (rows int32 [N], new_positions int32, num_new int64 [1]) as the operator `find_or_insert_` does, making room first."""
        if self._mostly_new:
            self._make_room(table_offsets)
            rows, new_positions, num_new = self._insert(ids, table_offsets)
            if int(self.counters[id_map.COUNTER_FAILED]):
                self.counters[id_map.COUNTER_FAILED] = 0
                rows, more, _ = self._insert_missing(ids, table_offsets, rows)
                new_positions = torch.cat([new_positions[: int(num_new)], more])
                num_new = torch.tensor([new_positions.numel()])
        else:
            rows, num_missing = find(self.lines, self.headers, self.ranges, ids, table_offsets)
            if int(num_missing) == 0:
                return rows, rows[:0], num_missing
            rows, new_positions, num_new = self._insert_missing(ids, table_offsets, rows)
        self._mostly_new = int(num_new) > _MOSTLY_NEW * ids.numel()
        return rows, new_positions, num_new

    def _insert_missing(self, ids: Tensor, table_offsets: Tensor, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Insert the ids whose row is -1; `rows` is filled in."""
        new_positions = []
        while True:
            missing = (rows < 0).nonzero().squeeze(1)
            their_offsets = torch.searchsorted(missing, table_offsets)
            self._make_room(their_offsets)
            rows[missing], new, num_new = self._insert(ids[missing], their_offsets)
            new_positions.append(missing[new[: int(num_new)].long()].int())
            # Ids that crowd into one range, as only chosen ones do, may leave some without room: those go again.
            if not int(self.counters[id_map.COUNTER_FAILED]):
                positions = torch.cat(new_positions)
                return rows, positions, torch.tensor([positions.numel()])
            self.counters[id_map.COUNTER_FAILED] = 0

    def _insert(self, ids: Tensor, table_offsets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return find_or_insert_(self.lines, self.headers, self.ranges, self.counters, self.free_rows, ids, table_offsets)

    def erase(self, ids: Tensor, table_offsets: Tensor) -> Tensor:
        """Erase ids and return the rows they had, int32, -1 for the absent. The rows stay taken until `free`."""
        rows = erase_(*self.tensors(), ids, table_offsets)
        self.settle()
        # Dead keys lengthen probes and take room: beyond an eighth of its keys a range is rebuilt without them.
        living = self.ranges[:, id_map.RANGE_NUM_KEYS] - self.ranges[:, id_map.RANGE_NUM_DEAD]
        self._rebuild(self.ranges[:, id_map.RANGE_NUM_DEAD] * 8 > self.ranges[:, id_map.RANGE_NUM_KEYS], living)
        return rows

    def free(self, rows: Tensor) -> None:
        """Let `rows` (int32, none of an id the map holds) be handed out again, the last first."""
        num_free = int(self.counters[id_map.COUNTER_FREE])
        needed = num_free + rows.numel()
        if needed > self.free_rows.numel():
            larger = self.free_rows.new_empty(max(needed, self.free_rows.numel() * 2))
            larger[:num_free] = self.free_rows[:num_free]
            self.free_rows = larger
        self.free_rows[num_free:needed] = rows
        self.counters[id_map.COUNTER_FREE] = needed

    def reserve(self, table: int, num_ids: int) -> None:
        """Make room for `num_ids` ids in `table`, so that no insert up to there grows it."""
        self.settle()
        if num_ids > _MOST_KEYS_OF_ONE_RANGE:
            self._divide([table])
        own = self._ranges_of(table)
        needed = torch.zeros(self.ranges.shape[0], dtype=torch.int64)
        needed[own] = share(torch.tensor([num_ids]), torch.tensor([len(own)]))
        self._rebuild(needed > capacity(self.ranges), needed)

    def _shares(self, table_offsets: Tensor) -> Tensor:
        """Return how many of `table_offsets.diff()` new ids each range may get, int64 [R], were they shared out by chance."""
        num_ranges = 1 << self.headers[:, id_map.HEADER_RANGE_BITS]
        return share(table_offsets.diff(), num_ranges).repeat_interleave(num_ranges)

    def _make_room(self, table_offsets: Tensor) -> None:
        """Grow the ranges that inserting `table_offsets.diff()` new ids would overfill, were they shared out by chance."""
        needed = self.ranges[:, id_map.RANGE_NUM_KEYS] + self._shares(table_offsets)
        full = needed > capacity(self.ranges)
        if not bool(full.any()):
            return
        num_ranges = 1 << self.headers[:, id_map.HEADER_RANGE_BITS]
        needed_whole = needed[self.headers[:, id_map.HEADER_FIRST_RANGE]]
        divided = ((num_ranges == 1) & (needed_whole > _MOST_KEYS_OF_ONE_RANGE)).nonzero().squeeze(1).tolist()
        if divided:
            self._divide(divided)
            self._make_room(table_offsets)
        else:
            self._rebuild(full, needed - self.ranges[:, id_map.RANGE_NUM_DEAD])

    def _rebuild(self, which: Tensor, needed: Tensor) -> None:
        """Rebuild the ranges where `which`, without their dead keys, each with room for `needed` ids at least."""
        chosen = which.nonzero().squeeze(1).tolist()
        if not chosen:
            return
        new = self.ranges.clone()
        given_up = []
        for index in chosen:
            first, before = new[index, : id_map.RANGE_NUM_KEYS].tolist()
            num_lines = _size(index, int(needed[index]))
            if not self._places.fits(first, before, num_lines):
                given_up.append(first)
                first = self._places.take(num_lines)
            self._places.prepare(first, num_lines)
            new[index] = torch.tensor([first, num_lines, id_map.REBUILD, 0])
        self._rehash(self.headers, new, torch.arange(new.shape[0]))
        for first in given_up:
            self._places.give_back(first)

    def _rehash(self, headers: Tensor, ranges: Tensor, origins: Tensor) -> None:
        """Move the living ids to where `headers` and `ranges` say, as `rehash_` does; `origins`, int64 [R]: the range each one was."""
        self.lines = self._places.lines()
        rehash_(self.lines, headers, ranges, self.headers, self.ranges)
        self.headers, self.ranges = headers, ranges

    def _divide(self, tables: list[int]) -> None:
        """Divide `tables`, of one range each, into 2^_RANGE_BITS ranges; tables divided already stay."""
        new_headers, pieces, origins, given_up = self.headers.clone(), [], [], []
        num_ranges = 0
        for table in range(self.headers.shape[0]):
            own, origin = self.ranges[self._ranges_of(table)], torch.tensor(self._ranges_of(table))
            if table in tables and own.shape[0] == 1:
                given_up.append(int(own[0, id_map.RANGE_FIRST_LINE]))
                num_each = int(share(own[:, id_map.RANGE_NUM_KEYS], torch.tensor([2**_RANGE_BITS])))
                rows = []
                for index in range(2**_RANGE_BITS):
                    num_lines = _size(num_ranges + index, num_each)
                    rows.append([self._places.take(num_lines), num_lines, id_map.REBUILD, 0])
                own, origin = torch.tensor(rows), origin.expand(2**_RANGE_BITS)
                new_headers[table, id_map.HEADER_RANGE_BITS] = _RANGE_BITS
            new_headers[table, id_map.HEADER_FIRST_RANGE] = num_ranges
            num_ranges += own.shape[0]
            pieces.append(own)
            origins.append(origin)
        self._rehash(new_headers, torch.cat(pieces), torch.cat(origins))
        for first in given_up:
            self._places.give_back(first)

    def _ranges_of(self, table: int) -> range:
        first = int(self.headers[table, id_map.HEADER_FIRST_RANGE])
        return range(first, first + 2 ** int(self.headers[table, id_map.HEADER_RANGE_BITS]))

    def rows_of(self, table: int) -> Tensor:
        """Return the rows, int64, of every living id of `table`, in map order."""
        self.settle()
        parts = []
        for first, num_lines, _, _ in self.ranges[self._ranges_of(table)].tolist():
            lines = self.lines[first : first + num_lines]
            rows = lines.view(torch.int32)[:, id_map.FIRST_ROW_INT32 : id_map.FIRST_ROW_INT32 + id_map.IDS_PER_LINE]
            occupied = (lines[:, : id_map.IDS_PER_LINE] != id_map.EMPTY) & (rows != id_map.NO_ROW)
            parts.append(rows[occupied].long())
        side = self.headers[table, id_map.HEADER_SIDE_ROW]
        return torch.cat(parts if int(side) == id_map.NO_ROW else [*parts, side.reshape(1).to(self.lines.device)])


def capacity(ranges: Tensor) -> Tensor:
    """Return how many ids `ranges` take before they grow."""
    return ranges[:, id_map.RANGE_NUM_LINES] * _LOAD_NUMERATOR // _LOAD_DENOMINATOR


def share(num_ids: Tensor, num_ranges: Tensor) -> Tensor:
    """Return how many of `num_ids` ids a range of `num_ranges` gets at most, but for a chance never met (8 standard deviations)."""
    mean = num_ids / num_ranges
    return torch.where(num_ranges == 1, num_ids, torch.minimum(num_ids, (mean + 8 * mean.sqrt() + 16).long()))


def _size(index: int, needed: int) -> int:
    """Return the lines of range `index` that hold `needed` ids, one of the sizes it may have.

    The sizes of a range are a geometric series; those of different ranges start differently, so that ranges that fill evenly, as
    ranges of one table and tables of one batch do, do not grow in the same step.
    """
    num_lines = _FIRST_LINES * _GROWTH ** (index * _GOLDEN % 1.0)
    while int(num_lines) * _LOAD_NUMERATOR // _LOAD_DENOMINATOR < needed:
        num_lines *= _GROWTH
    return int(num_lines)
