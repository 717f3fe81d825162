"""Rows of columns cut and joined into batches, and where a stream stands once each batch is consumed."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, final

from sparrow.io.batches import pack
from sparrow.io.pieces import Piece
from sparrow.types import Batch, RowSpan


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
class _Waiting:
    piece: Piece | None
    marks: deque[Mark]
    num_used: int = 0  # rows of the piece that are handed out
    used_of_mark: int = 0  # rows of the first mark that are handed out


@final
@dataclass(slots=True)
class Batcher:
    """Rows waiting to become batches, in the order they came."""

    num_rows: int = 0
    _waiting: deque[_Waiting] = field(default_factory=deque)

    def add(self, piece: Piece | None, marks: Sequence[Mark]) -> None:
        """Append rows. Those of `marks` add up to those of the piece, None where there are none; its columns are those of every other."""
        if marks:
            self._waiting.append(_Waiting(piece, deque(marks)))
            self.num_rows += sum(mark.num_rows for mark in marks)

    @property
    def oldest(self) -> float | None:
        """When the first of what waits arrived, None where nothing waits."""
        return self._waiting[0].marks[0].arrived if self._waiting else None

    def take(self, num_rows: int) -> Handout:
        """Hand out the first `num_rows` rows, at most `self.num_rows`, and the empty parts up to the next row."""
        parts: list[tuple[Piece, int, int]] = []
        spans: list[RowSpan] = []
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
        self.num_rows -= num_rows
        return Handout(Batch.of(pack(parts), origin=tuple(spans)) if parts else None, after, num_skipped)


def _consume(waiting: _Waiting, wanted: int, spans: list[RowSpan], after: dict[Any, Place]) -> int:
    """Use up to `wanted` rows of what waits; return how many parts were skipped there. Notes the rows' spans, and the places after them."""
    used = num_skipped = 0
    while waiting.marks:
        mark = waiting.marks[0]
        left = mark.num_rows - waiting.used_of_mark
        now = min(left, wanted - used)
        if left and not now:
            break
        first = mark.first_row + waiting.used_of_mark
        if now:
            _extend(spans, RowSpan(mark.path, first, now))
        after[mark.source] = Place(mark.part, None if mark.is_last and now == left else first + now)
        used += now
        waiting.used_of_mark += now
        if now == left:
            num_skipped += mark.num_skipped
            waiting.marks.popleft()
            waiting.used_of_mark = 0
    waiting.num_used += used
    return num_skipped


def _extend(spans: list[RowSpan], span: RowSpan) -> None:
    last = spans[-1] if spans else None
    if last is not None and last.path == span.path and last.first_row + last.num_rows == span.first_row:
        spans[-1] = RowSpan(span.path, last.first_row, last.num_rows + span.num_rows)
    else:
        spans.append(span)
