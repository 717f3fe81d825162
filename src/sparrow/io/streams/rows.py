"""Rows of columns cut and joined into batches, and where a stream stands once each batch is consumed."""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple, final, overload

import numpy as np

from sparrow.io.batches import pack
from sparrow.io.cutting import Cost, Fill
from sparrow.io.pieces import Piece
from sparrow.types import Batch, RowSpan


class Place(NamedTuple):
    """How far a source is consumed: up to row `row` of `part` (a message, a file), or all of it and nothing beyond where `row` is None."""

    part: Any
    row: int | None


@dataclass(frozen=True, slots=True, eq=False)
class Mark:
    """Rows that came from one part of a source, in its order.

    source:    what has a place of its own: a partition, a file.
    part:      what of it these rows are from: an offset, a file name.
    path:      the part in words, as errors name it.
    first_row: of the rows, counted within the part. num_rows may be 0: a part that was empty or left out.
    is_last:   whether the part ends with these rows.
    arrived:   when they were read, by the clock of the batcher's owner.
    num_skipped: parts left out here, counted once the mark is consumed.
    rows:      int64 [num_rows], the part's rows these are, where a filter left some out; None: all from `first_row` on.
    """

    source: Hashable
    part: Any
    path: str
    first_row: int
    num_rows: int
    is_last: bool
    arrived: float
    num_skipped: int = 0
    rows: Any | None = None

    def row_after(self, num_rows: int) -> int:
        """Return the part's row behind the first `num_rows` of these, at least one."""
        return self.first_row + num_rows if self.rows is None else int(self.rows[num_rows - 1]) + 1


class Handout(NamedTuple):
    """A batch, or None where only places moved; and for each source it moves, its place once the batch is consumed. num_skipped: parts left
    out on the way."""

    batch: Batch | None
    after: dict[Any, Place]
    num_skipped: int = 0


@dataclass(slots=True)
class _Waiting:
    piece: Piece | None
    marks: deque[Mark]
    num_used: int = 0  # rows of the piece that are handed out
    used_of_mark: int = 0  # rows of the first mark that are handed out


@final
class Batcher:
    """Rows waiting to become batches, in the order they came.

    batch_size: rows of a batch at most. cost: a further bound, by the values in it.
    """

    def __init__(self, batch_size: int, cost: Cost | None = None) -> None:
        self._fill, self._cost = Fill(batch_size, cost), cost
        self._waiting: deque[_Waiting] = deque()
        self._full: deque[int] = deque()  # rows of the batches that are full
        self._open = 0  # and those behind them

    def add(self, piece: Piece | None, marks: Sequence[Mark]) -> None:
        """Append rows. Those of `marks` add up to those of the piece, None where there are none; its columns are those of every other."""
        if not marks:
            return
        self._waiting.append(_Waiting(piece, deque(marks)))
        if piece is not None:
            for begin, end, is_full in self._fill.add(piece.num_rows, None if self._cost is None else self._cost.of_rows([piece])):
                self._open += end - begin
                if is_full:
                    self._full.append(self._open)
                    self._open = 0

    @property
    def num_rows(self) -> int:
        """How many wait."""
        return sum(self._full) + self._open

    @property
    def oldest(self) -> float | None:
        """When the first of what waits arrived, None where nothing waits."""
        return self._waiting[0].marks[0].arrived if self._waiting else None

    def full(self) -> Iterator[Handout]:
        """Hand out the batches that are full, each with the empty parts up to the next row."""
        while self._full:
            yield self._take(self._full.popleft())

    def empty_parts(self) -> Iterator[Handout]:
        """Hand out what waits before the first row."""
        handout = self._take(0)
        if handout.after:
            yield handout

    def rest(self) -> Iterator[Handout]:
        """Hand out all that waits: the batches that are full, and one of what is behind them; nothing where nothing waits."""
        yield from self.full()
        num_rows, self._open = self._open, 0
        self._fill.empty()
        handout = self._take(num_rows)
        if handout.after:
            yield handout

    def _take(self, num_rows: int) -> Handout:
        parts: list[tuple[Piece, int, int]] = []
        spans: list[_Span] = []
        after: dict[Any, Place] = {}
        wanted, num_skipped = num_rows, 0
        while self._waiting:
            first = self._waiting[0]
            begin = first.num_used
            num_skipped += _consume(first, wanted, spans, after)
            wanted -= first.num_used - begin
            if first.piece is not None and first.num_used > begin:
                parts.append((first.piece, begin, first.num_used))
            if first.marks:
                break
            self._waiting.popleft()
        assert wanted == 0, "more rows asked for than there are"
        return Handout(Batch.of(pack(parts), origin=_origin_of(spans)) if parts else None, after, num_skipped)


class _Span(NamedTuple):
    """The rows begin..end of a mark."""

    mark: Mark
    begin: int
    end: int

    def row_spans(self) -> Iterator[RowSpan]:
        mark, rows = self.mark, self.mark.rows
        if rows is None:
            yield RowSpan(mark.path, mark.first_row + self.begin, self.end - self.begin)
            return
        rows = rows[self.begin : self.end]
        starts = [0, *(np.flatnonzero(np.diff(rows) != 1) + 1).tolist(), len(rows)]
        yield from (RowSpan(mark.path, int(rows[begin]), end - begin) for begin, end in pairwise(starts))


def _consume(waiting: _Waiting, wanted: int, spans: list[_Span], after: dict[Any, Place]) -> int:
    """Use up to `wanted` rows of what waits; return how many parts were skipped there. Notes the rows' spans, and the places after them."""
    used = num_skipped = 0
    while waiting.marks:
        mark = waiting.marks[0]
        left = mark.num_rows - waiting.used_of_mark
        now = min(left, wanted - used)
        if left and not now:
            break
        begin, end = waiting.used_of_mark, waiting.used_of_mark + now
        if now:
            spans.append(_Span(mark, begin, end))
        after[mark.source] = Place(mark.part, None if mark.is_last and now == left else mark.row_after(end))
        used += now
        waiting.used_of_mark = end
        if now == left:
            num_skipped += mark.num_skipped
            waiting.marks.popleft()
            waiting.used_of_mark = 0
    waiting.num_used += used
    return num_skipped


def _origin_of(spans: list[_Span]) -> Sequence[RowSpan]:
    return tuple(_merged(spans)) if all(span.mark.rows is None for span in spans) else FilteredRows(spans)


def _merged(spans: Sequence[_Span]) -> list[RowSpan]:
    merged: list[RowSpan] = []
    for span in (one for each in spans for one in each.row_spans()):
        last = merged[-1] if merged else None
        if last is not None and last.path == span.path and last.first_row + last.num_rows == span.first_row:
            merged[-1] = RowSpan(span.path, last.first_row, last.num_rows + span.num_rows)
        else:
            merged.append(span)
    return merged


class FilteredRows(Sequence[RowSpan]):
    """Where rows came from among which a filter left some out: many spans, made when they are first asked for."""

    def __init__(self, spans: Sequence[_Span]) -> None:
        self._of_marks = spans

    @functools.cached_property
    def _spans(self) -> list[RowSpan]:
        return _merged(self._of_marks)

    def __len__(self) -> int:
        return len(self._spans)

    @overload
    def __getitem__(self, at: int) -> RowSpan: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[RowSpan]: ...
    def __getitem__(self, at: int | slice) -> RowSpan | Sequence[RowSpan]:
        return self._spans[at]
