"""Rows of columns cut and joined into batches, and where a stream stands once each batch is consumed."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, final

import torch
from torch import Tensor

from sparrow.types import Batch, Column, Ragged, RowSpan


class Place(NamedTuple):
    """How far a source is consumed: up to row `row` of `part` (a message, a file), or all of it and nothing beyond where `row` is None."""

    part: Any
    row: int | None


@dataclass(frozen=True, slots=True)
class Mark:
    """Consecutive rows that came from one part of a source.

    source:    what has a place of its own: a partition, a file.
    part:      what of it these rows are from: an offset, a file name.
    path:      the part in words, as errors name it.
    first_row: of the rows, counted within the part. num_rows may be 0: a part that was empty or left out.
    is_last:   whether the part ends with these rows.
    arrived:   when they were read, by the clock of the batcher's owner.
    num_skipped: parts left out here, counted once the mark is consumed.
    """

    source: Hashable
    part: Any
    path: str
    first_row: int
    num_rows: int
    is_last: bool
    arrived: float
    num_skipped: int = 0


class Handout(NamedTuple):
    """A batch, or None where only places moved; and for each source it moves, its place once the batch is consumed. num_skipped: parts left
    out on the way."""

    batch: Batch | None
    after: dict[Any, Place]
    num_skipped: int = 0


@dataclass(slots=True)
class _Piece:
    columns: dict[str, Column]
    marks: deque[Mark]
    num_used: int = 0  # rows of the columns that are handed out
    used_of_mark: int = 0  # rows of the first mark that are handed out


@final
@dataclass(slots=True)
class Batcher:
    """Rows waiting to become batches, in the order they came."""

    num_rows: int = 0
    _pieces: deque[_Piece] = field(default_factory=deque)

    def add(self, columns: dict[str, Column], marks: Sequence[Mark]) -> None:
        """Append rows. The rows of `marks` add up to those of `columns`; columns are those of every other call, {} where there are none."""
        if marks:
            self._pieces.append(_Piece(columns, deque(marks)))
            self.num_rows += sum(mark.num_rows for mark in marks)

    @property
    def oldest(self) -> float | None:
        """When the first of what waits arrived, None where nothing waits."""
        return self._pieces[0].marks[0].arrived if self._pieces else None

    def take(self, num_rows: int) -> Handout:
        """Hand out the first `num_rows` rows, at most `self.num_rows`, and the empty parts up to the next row."""
        parts: list[dict[str, Column]] = []
        spans: list[RowSpan] = []
        after: dict[Any, Place] = {}
        wanted, num_skipped = num_rows, 0
        while self._pieces:
            piece = self._pieces[0]
            begin = piece.num_used
            num_skipped += _consume(piece, wanted, spans, after)
            wanted -= piece.num_used - begin
            if piece.num_used > begin:
                parts.append({name: between(column, begin, piece.num_used) for name, column in piece.columns.items()})
            if piece.marks:
                break
            self._pieces.popleft()
        assert wanted == 0, "more rows asked for than there are"
        self.num_rows -= num_rows
        if not parts:
            return Handout(None, after, num_skipped)
        columns = parts[0] if len(parts) == 1 else {name: concatenate([part[name] for part in parts]) for name in parts[0]}
        return Handout(Batch.of(columns, origin=tuple(spans)), after, num_skipped)


def _consume(piece: _Piece, wanted: int, spans: list[RowSpan], after: dict[Any, Place]) -> int:
    """Use up to `wanted` rows of a piece; return how many parts were skipped there. Notes the rows' spans, and the places after them."""
    used = num_skipped = 0
    while piece.marks:
        mark = piece.marks[0]
        left = mark.num_rows - piece.used_of_mark
        now = min(left, wanted - used)
        if left and not now:
            break
        first = mark.first_row + piece.used_of_mark
        if now:
            _extend(spans, RowSpan(mark.path, first, now))
        after[mark.source] = Place(mark.part, None if mark.is_last and now == left else first + now)
        used += now
        piece.used_of_mark += now
        if now == left:
            num_skipped += mark.num_skipped
            piece.marks.popleft()
            piece.used_of_mark = 0
    piece.num_used += used
    return num_skipped


def _extend(spans: list[RowSpan], span: RowSpan) -> None:
    last = spans[-1] if spans else None
    if last is not None and last.path == span.path and last.first_row + last.num_rows == span.first_row:
        spans[-1] = RowSpan(span.path, last.first_row, last.num_rows + span.num_rows)
    else:
        spans.append(span)


def between(column: Column, begin: int, end: int) -> Column:
    """Return rows [begin, end) of a column; values share its memory, offsets start at 0 again."""
    if isinstance(column, Tensor):
        return column[begin:end]
    levels: list[Tensor] = []
    for offsets in column.offsets:
        here = offsets[begin : end + 1]
        begin, end = int(here[0]), int(here[-1])
        levels.append(here - begin if begin else here)
    return Ragged(column.values[begin:end], tuple(levels))


def concatenate(parts: Sequence[Column]) -> Column:
    """Return the rows of `parts`, all of one dtype and number of levels, end to end."""
    dense = [part for part in parts if isinstance(part, Tensor)]
    if dense:
        return torch.cat(dense)
    ragged = [part for part in parts if isinstance(part, Ragged)]
    levels = []
    for level in range(len(ragged[0].offsets)):
        lengths = torch.cat([part.offsets[level].diff() for part in ragged])
        levels.append(torch.cat([lengths.new_zeros(1), lengths.cumsum(0)]))
    return Ragged(torch.cat([part.values for part in ragged]), tuple(levels))
