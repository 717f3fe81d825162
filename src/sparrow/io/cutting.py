"""Cutting rows into batches: by rows, by cost, and at the end of an epoch so that all ranks end at one step."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from sparrow.errors import ConfigError, did_you_mean
from sparrow.io.batches import Rows, Taken
from sparrow.io.chunks import Chunk, Chunks, Handed, PermutedRows
from sparrow.io.deals import Mark, Position
from sparrow.io.order import dealt_to
from sparrow.io.pieces import Piece
from sparrow.io.worker import Decoded
from sparrow.types import Column, ColumnSpec, RowSpan

Tail = Literal["short", "drop", "pad", "repeat"]


@dataclass(frozen=True, slots=True)
class Cost:
    """A batch ends before the values of `columns` in it (ids; numbers of a dense column; not the bytes of strings) exceed `limit`.

    A row that alone has more is a batch of its own.
    """

    columns: Sequence[str]
    limit: int

    def __post_init__(self) -> None:
        if isinstance(self.columns, str) or not self.columns:
            raise ConfigError(f"Cost: columns is {self.columns!r}; give a list of column names")
        if not isinstance(self.limit, int) or isinstance(self.limit, bool) or self.limit < 1:
            raise ConfigError(f"Cost: limit is {self.limit!r}; expected a whole number of at least 1")

    def require_read(self, specs: Sequence[ColumnSpec]) -> None:
        """Raise `ConfigError` for a column that is not among those read."""
        names = [spec.name for spec in specs]
        for name in self.columns:
            if name not in names:
                raise ConfigError(f"cost counts column {name!r}, which is not read{did_you_mean(name, names)}")

    def of_rows(self, pieces: Iterable[Piece]) -> Tensor:
        """Return the cost of each row of pieces, int64."""
        of_pieces = [sum(_values_of_rows(piece.columns[name]) for name in self.columns) for piece in pieces]
        return torch.cat([torch.as_tensor(of_piece) for of_piece in of_pieces])


def _values_of_rows(column: Column) -> Tensor:
    if isinstance(column, Tensor):
        return torch.full((column.shape[0],), column[0].numel() if column.shape[0] else 1, dtype=torch.int64)
    levels = column.offsets[:-1] if column.is_bytes and len(column.offsets) > 1 else column.offsets
    bounds = levels[0]
    for offsets in levels[1:]:
        bounds = offsets[bounds]
    return bounds.diff() if not (column.is_bytes and len(column.offsets) == 1) else torch.ones(column.num_rows, dtype=torch.int64)


@dataclass(frozen=True, slots=True)
class Cutting:
    """How rows become batches.

    batch_size: rows at most. cost: a further bound, or None. tail: what the rows become that are left at the end.
    is_planned: every rank hands out the rows it was dealt, `batch_size` a batch, so that each can compute where all end.
    empty: makes columns of no rows. some_piece: reads rows of the data, whichever.
    """

    batch_size: int
    cost: Cost | None
    tail: Tail
    rank: int
    world_size: int
    is_planned: bool
    empty: Callable[[], dict[str, Column]]
    some_piece: Callable[[], Piece]


class _Part(NamedTuple):
    chunk: Chunk
    begin: int
    end: int


class Fill:
    """How far the batch that is being filled is: its rows, and what they cost."""

    def __init__(self, batch_size: int, cost: Cost | None) -> None:
        self._batch_size, self._cost = batch_size, cost
        self._spent = 0
        self.num_rows = 0

    def add(self, num_rows: int, costs: Tensor | None) -> Iterator[tuple[int, int, bool]]:
        """Put rows in. Yield runs of them, begin and end, each with whether a batch is full with it, which may be one of no rows.

        costs: int64 [num_rows], of each row; None where there is no cost.
        """
        sums = None if costs is None else torch.cat([torch.zeros(1, dtype=torch.int64), costs.cumsum(0)])
        begin = 0
        while begin < num_rows:
            end = min(num_rows, begin + self._batch_size - self.num_rows)
            is_full = end - begin == self._batch_size - self.num_rows
            if sums is not None and self._cost is not None:
                fits = int(torch.searchsorted(sums, sums[begin] + self._cost.limit - self._spent, right=True)) - 1
                if fits < end:
                    # A row that fits no batch is one by itself.
                    end, is_full = max(fits, begin + (self.num_rows == 0)), True
                self._spent += int(sums[end] - sums[begin])
            self.num_rows += end - begin
            if is_full:
                self.empty()
            yield begin, end, is_full
            begin = end

    def empty(self) -> int:
        """Begin the next batch; return the rows of this one."""
        num_rows, self.num_rows, self._spent = self.num_rows, 0, 0
        return num_rows


class _Filling:
    """The batch that is being filled."""

    def __init__(self, batch_size: int, cost: Cost | None) -> None:
        self._fill, self._cost = Fill(batch_size, cost), cost
        self.parts: list[_Part] = []

    def add(self, chunk: Chunk) -> Iterator[list[_Part]]:
        """Put rows in; yield batches as they are full."""
        costs = None if self._cost is None else self._cost.of_rows(chunk.pieces)
        if costs is not None and chunk.index is not None:
            costs = costs[chunk.index]
        for begin, end, is_full in self._fill.add(chunk.num_rows, costs):
            if begin < end:
                self.parts.append(_Part(chunk, begin, end))
            if is_full:
                yield self.take()

    def take(self) -> list[_Part]:
        parts, self.parts = self.parts, []
        self._fill.empty()
        return parts


def cut(items: Iterable[Decoded | Mark], start: Position, how: Cutting, end: Handed) -> Iterator[tuple[Taken, Handed]]:
    """Yield the rows of batches, each with the position after it.

    items: what the workers bring, from `start` on. end: the position at which the epoch is over, `dealt` of which does not count.
    """
    filling, chunks = _Filling(how.batch_size, how.cost), Chunks()
    held: deque[list[_Part]] = deque()
    last: list[_Part] = []
    flushed: Callable[[], None] | None = None
    dealt, through = start.dealt, dealt_to(how.rank, how.world_size, start.dealt) + start.taken
    for item in items:
        if isinstance(item, Mark):
            dealt = item.dealt
            flushed = item.flushed
            if flushed is not None and filling.parts:
                held.append(filling.take())
        else:
            dealt = item.task.run.dealt_after or dealt
            held.extend(parts for chunk in chunks.add(item) for parts in filling.add(chunk))
        # Nothing is kept while the next piece is waited for but what is not handed out yet, and rows to fill up the last batch with.
        del item
        while held and (not _must_wait(how) or dealt // how.world_size >= _through(held[0], how)):
            parts = held.popleft()
            through = _through(parts, how)
            yield _batch(parts), _after(parts)
            last = parts if how.tail in ("pad", "repeat") else []
            del parts
        if flushed is not None:
            flushed()
            flushed = None
    parts = filling.take()
    if how.tail == "drop" or start.deal >= end.deal:
        return
    at_end = end._replace(dealt=dealt)
    if parts:
        yield _filled(parts, last, how), at_end
    elif how.is_planned and how.world_size > 1 and dealt_to(0, how.world_size, dealt) > through:
        yield _filled([], last, how), at_end


def _must_wait(how: Cutting) -> bool:
    """Whether a full batch may be one too many: the others must be known to have it too."""
    return how.tail == "drop" and how.world_size > 1 and how.is_planned


def _after(parts: list[_Part]) -> Handed:
    return parts[-1].chunk.after(parts[-1].end)


def _through(parts: list[_Part], how: Cutting) -> int:
    """Return how many rows this rank has handed out since the deal began, once it hands out these."""
    after = _after(parts)
    return dealt_to(how.rank, how.world_size, after.dealt) + after.taken


def _batch(parts: list[_Part]) -> Taken:
    num_rows = sum(part.end - part.begin for part in parts)
    if all(part.chunk.index is None for part in parts):
        runs = _runs(parts)
        is_whole = all(piece.rows is None for piece, _, _ in runs)
        origin = _spans(parts) if is_whole else PermutedRows(*_indexed(parts))
        return Taken(Rows([piece for piece, _, _ in runs]), None, runs, num_rows, origin)
    pieces, index = _indexed(parts)
    return Taken(pieces, index, (), num_rows, PermutedRows(pieces, index))


def _filled(parts: list[_Part], last: list[_Part], how: Cutting) -> Taken:
    """Return the last batch: short, or filled up with rows that are there already."""
    if how.tail in ("short", "drop"):
        return _batch(parts) if parts else Taken(Rows([]), None, (), 0, (), empty=how.empty())
    pieces, index = _indexed([*last, *parts])
    rows = sum(part.end - part.begin for part in parts)
    if not index.numel():
        # Nothing was handed out since this rank began, or began anew.
        pieces = Rows([how.some_piece()])
        index = torch.arange(pieces[0].num_rows)
    own = index[index.numel() - rows :]
    if how.tail == "pad":
        filler = index[-1:].expand(how.batch_size - rows)
    else:
        filler = index.repeat(-(-how.batch_size // index.numel()))[: how.batch_size - rows]
    index = torch.cat([own, filler])
    padding = how.batch_size - rows if how.tail == "pad" else 0
    return Taken(pieces, index, (), how.batch_size, PermutedRows(pieces, index), padding)


def _runs(parts: list[_Part]) -> list[tuple[Piece, int, int]]:
    return [(part.chunk.pieces[0], part.begin, part.end) for part in parts]


def _indexed(parts: list[_Part]) -> tuple[Rows, Tensor]:
    """Return the pieces rows lie in, each once, and the rows as numbers into their concatenation."""
    starts: dict[int, int] = {}
    chunks: list[Chunk] = []
    index, num_rows = [torch.empty(0, dtype=torch.int64)], 0
    for chunk, begin, end in parts:
        if id(chunk) not in starts:
            starts[id(chunk)] = num_rows
            chunks.append(chunk)
            num_rows += sum(piece.num_rows for piece in chunk.pieces)
        here = torch.arange(begin, end) if chunk.index is None else chunk.index[begin:end]
        index.append(here + starts[id(chunk)])
    rows = chunks[0].pieces if len(chunks) == 1 else Rows([piece for chunk in chunks for piece in chunk.pieces])
    return rows, torch.cat(index)


def _spans(parts: list[_Part]) -> tuple[RowSpan, ...]:
    merged: list[RowSpan] = []
    for chunk, begin, end in parts:
        piece, num_rows = chunk.pieces[0], end - begin
        last = merged[-1] if merged else None
        if last is not None and (last.path, last.first_row + last.num_rows) == (piece.path, piece.first_row + begin):
            merged[-1] = RowSpan(last.path, last.first_row, last.num_rows + num_rows)
        else:
            merged.append(RowSpan(piece.path, piece.first_row + begin, num_rows))
    return tuple(merged)


def extra_batch(how: Cutting) -> Taken:
    """Return a batch for a rank that has no rows left while others have."""
    return _filled([], [], how)
