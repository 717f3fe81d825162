"""Decoded rows in the order they are handed out in, as long as they are cut into batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, overload

import numpy as np
import torch
from torch import Tensor

from sparrow.io.batches import Rows
from sparrow.io.deals import Run
from sparrow.io.pieces import Piece
from sparrow.io.worker import Decoded
from sparrow.types import RowSpan


class Handed(NamedTuple):
    """A position in an epoch: `taken` rows of this rank's share of deal `deal` are done, `dealt` rows were dealt to all before it."""

    deal: int
    dealt: int
    taken: int


@dataclass(frozen=True, slots=True, eq=False)
class Chunk:
    """Rows that are handed out one after the other.

    pieces:   where they lie.
    index:    int64 [rows], as numbers into the concatenated pieces; None: the rows of the only piece.
    places:   int64 [rows], their places in the run, where some of it were left out; None: all of it from `first` on.
    first:    place in the rank's share of the first row (of the run, where `places` is given).
    num_rows: how many.
    """

    pieces: Rows
    index: Tensor | None
    places: Any | None
    first: int
    num_rows: int
    run: Run

    def after(self, rows: int) -> Handed:
        """Return the position after the first `rows` rows, at least one."""
        place = rows - 1 if self.places is None else int(self.places[rows - 1])
        return Handed(self.run.deal, self.run.dealt, self.first + place + 1)


class Chunks:
    """Makes chunks of what the workers bring."""

    def __init__(self) -> None:
        self._parts: list[Decoded] = []

    def add(self, decoded: Decoded) -> Iterator[Chunk]:
        """Take the rows of a task; yield what is ready to be handed out."""
        run = decoded.task.run
        if run.order is None:
            yield from (_in_order(decoded, piece) for piece in decoded)
            return
        self._parts.append(decoded)
        if decoded.task.ends_run:
            parts, self._parts = self._parts, []
            chunk = _permuted(parts, run)
            if chunk.num_rows:
                yield chunk


def _in_order(decoded: Decoded, piece: Piece) -> Chunk:
    task = decoded.task
    before = task.piece.first_row + task.begin
    if piece.rows is None:
        return Chunk(Rows([piece]), None, None, task.run.first + piece.first_row - before, piece.num_rows, task.run)
    return Chunk(Rows([piece]), None, piece.rows - before, task.run.first, piece.num_rows, task.run)


def _permuted(parts: list[Decoded], run: Run) -> Chunk:
    order = run.order
    assert order is not None
    pieces = [piece for decoded in parts for piece in decoded]
    planned = sum(decoded.task.piece.num_rows for decoded in parts)
    places = None
    if sum(piece.num_rows for piece in pieces) < planned:
        # Some are missing: from numbers of rows that were planned to numbers of rows that are there.
        present, number, first = np.full(planned, -1, dtype=np.int64), 0, 0
        for decoded in parts:
            for piece in decoded:
                rows = piece.file_rows() - decoded.task.piece.first_row + first
                present[rows] = np.arange(number, number + piece.num_rows)
                number += piece.num_rows
            first += decoded.task.piece.num_rows
        order = present[order]
        places = np.flatnonzero(order >= 0)
        order = order[places]
    return Chunk(Rows(pieces), torch.from_numpy(order), places, run.first, len(order), run)


class PermutedRows(Sequence[RowSpan]):
    """Where rows taken from pieces by index came from: a span a row, made when asked for."""

    def __init__(self, pieces: Sequence[Piece], index: Any) -> None:
        self._pieces, self._index = pieces, index
        self._ends = np.cumsum([piece.num_rows for piece in pieces])
        # What errors need of a piece, without its columns: they may be large, and a batch may be kept for long.
        self._pieces = [piece.span() for piece in pieces]

    def __len__(self) -> int:
        return len(self._index)

    @overload
    def __getitem__(self, at: int) -> RowSpan: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[RowSpan]: ...
    def __getitem__(self, at: int | slice) -> RowSpan | Sequence[RowSpan]:
        if isinstance(at, slice):
            return [self[one] for one in range(*at.indices(len(self)))]
        row = int(self._index[at])
        number = int(np.searchsorted(self._ends, row, side="right"))
        piece = self._pieces[number]
        row -= int(self._ends[number]) - piece.num_rows
        return RowSpan(piece.path, piece.row_of(row), 1)
