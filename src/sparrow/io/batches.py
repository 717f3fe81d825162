"""Rows of decoded pieces -> the columns of a batch."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import overload

import torch
from torch import Tensor

from sparrow.io.pieces import Piece
from sparrow.io.sent import SentRows
from sparrow.io.unpack import Blocks, columns_of_matrices
from sparrow.ops.cut_rows.op import cut_rows
from sparrow.ops.pack_lists.op import pack_lists
from sparrow.ops.take_rows import take_rows
from sparrow.types import SAMPLE_GROUP, Batch, Column, Group, Ragged, RowSpan


class Rows(Sequence[Piece]):
    """Pieces whose rows are numbered through. What has to be joined before rows can be taken by number is joined once."""

    def __init__(self, pieces: Sequence[Piece]) -> None:
        self._pieces = pieces
        self._columns: dict[str, Column] = {}

    def __len__(self) -> int:
        return len(self._pieces)

    @overload
    def __getitem__(self, at: int) -> Piece: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[Piece]: ...
    def __getitem__(self, at: int | slice) -> Piece | Sequence[Piece]:
        return self._pieces[at]

    def __iter__(self) -> Iterator[Piece]:
        return iter(self._pieces)

    @functools.cached_property
    def blocks(self) -> list[Blocks] | None:
        """Those of the pieces, None where they are not all laid out alike."""
        return _blocks_of(self._pieces)

    @functools.cached_property
    def dense(self) -> list[Tensor]:
        assert self.blocks is not None
        return [torch.cat(matrices, 1) for matrices in zip(*(blocks.dense for blocks in self.blocks), strict=True)]

    @functools.cached_property
    def others(self) -> dict[str, Column]:
        """The columns that lie by themselves."""
        of_pieces = [blocks.others for blocks in self.blocks] if self.blocks else [piece.columns for piece in self._pieces]
        return {name: _concatenate([columns[name] for columns in of_pieces]) for name in of_pieces[0]}

    def column(self, name: str) -> Column:
        """Return a column of all rows."""
        if name not in self._columns:
            self._columns[name] = _concatenate([piece.columns[name] for piece in self._pieces])
        return self._columns[name]

    @functools.cached_property
    def sent(self) -> SentRows | None:
        """The pieces on a device, None where some are not there, or not laid out alike."""
        sent = [piece.sent for piece in self._pieces if piece.sent is not None]
        return None if self.blocks is None or len(sent) < len(self) else SentRows(sent)


@dataclass(frozen=True, slots=True, eq=False)
class Taken:
    """The rows of a batch, before they become columns.

    rows:  where they lie: whole pieces.
    index: int64 [num_rows], as numbers into the concatenated pieces; None: those of `runs`, end to end.
    runs:  (piece, begin, end), where rows follow each other.
    origin, num_padding: of the batch. empty: its columns where it has no rows, and no pieces either.
    """

    rows: Rows
    index: Tensor | None
    runs: Sequence[tuple[Piece, int, int]]
    num_rows: int
    origin: Sequence[RowSpan]
    num_padding: int = 0
    empty: dict[str, Column] | None = None

    def batch(self) -> Batch:
        """Return the batch, on the CPU. A run inside one piece shares its memory."""
        if self.empty is not None:
            return Batch.of(self.empty)
        columns = pack(self.runs) if self.index is None else pack_rows(self.rows, self.index)
        # Not `Batch.of`, which counts the rows of every column.
        return Batch({SAMPLE_GROUP: Group(columns, self.num_rows)}, self.origin, self.num_padding)

    def columns(self, names: Sequence[str]) -> dict[str, Column]:
        """Return some columns of the batch, on the CPU."""
        if self.index is None:
            return _joined([({name: piece.columns[name] for name in names}, begin, end) for piece, begin, end in self.runs])
        return {name: take_rows(self.rows.column(name), self.index) for name in names}

    def of_rows(self, of_pieces: Sequence[Tensor]) -> Tensor:
        """Return what tensors say of the rows of each piece, a value a row, of the rows of the batch."""
        if self.index is not None:
            return torch.cat(list(of_pieces))[self.index]
        return torch.cat([of[begin:end] for of, (_, begin, end) in zip(of_pieces, self.runs, strict=True)])

    def numbers(self) -> Tensor:
        """Return the rows as numbers into the concatenated pieces."""
        if self.index is not None:
            return self.index
        starts = itertools.accumulate((piece.num_rows for piece in self.rows), initial=0)
        return torch.cat([torch.arange(start + begin, start + end) for start, (_, begin, end) in zip(starts, self.runs, strict=False)])


def _blocks_of(pieces: Sequence[Piece]) -> list[Blocks] | None:
    blocks = [piece.blocks for piece in pieces if piece.blocks is not None]
    if len(blocks) < len(pieces) or any(one.layout != blocks[0].layout for one in blocks):
        return None
    return blocks


def pack(parts: Sequence[tuple[Piece, int, int]]) -> dict[str, Column]:
    """Return the rows begin..end of pieces, one after the other. A run inside one piece shares its memory."""
    blocks = _blocks_of([piece for piece, _, _ in parts])
    if blocks is None:
        return _joined([(piece.columns, begin, end) for piece, begin, end in parts])
    layout = blocks[0].layout
    if len(parts) == 1:
        found = _cut(blocks[0], *parts[0][1:])
    else:
        cut = [[matrix[:, begin:end] for matrix in one.dense] for one, (_, begin, end) in zip(blocks, parts, strict=True)]
        found = columns_of_matrices(layout, [torch.cat(matrices, 1) for matrices in zip(*cut, strict=True)])
        if layout.lists:
            rows, first = [], 0
            for piece, begin, end in parts:
                rows.append((first + begin, first + end))
                first += piece.num_rows
            found.update(_packed(blocks, torch.tensor(rows)))
    if layout.others:
        found.update(_joined([(one.others, begin, end) for one, (_, begin, end) in zip(blocks, parts, strict=True)]))
    return {name: found[name] for name in layout.order}


def pack_rows(pieces: Rows, index: Tensor) -> dict[str, Column]:
    """Return the rows `index` (int64 [rows], in any order, also repeated) of the concatenation of `pieces`."""
    taken = {name: take_rows(column, index) for name, column in pieces.others.items()}
    if pieces.blocks is None:
        return taken
    layout = pieces.blocks[0].layout
    taken.update(columns_of_matrices(layout, [matrix.index_select(1, index) for matrix in pieces.dense]))
    if layout.lists:
        taken.update(_packed(pieces.blocks, index))
    return {name: taken[name] for name in layout.order}


def _cut(blocks: Blocks, begin: int, end: int) -> dict[str, Column]:
    """Return the rows begin..end of the columns in blocks, which share the memory of these."""
    layout = blocks.layout
    tensors = cut_rows(blocks.offsets, blocks.values, blocks.dense, begin, end)
    num_dense, num_lists = len(tensors) - 2 * len(layout.lists), len(layout.lists)
    lists = map(Ragged, tensors[num_dense : num_dense + num_lists], zip(tensors[num_dense + num_lists :], strict=True))
    return dict(zip(itertools.chain(*layout.dense, layout.lists), itertools.chain(tensors[:num_dense], lists), strict=True))


def _packed(blocks: Sequence[Blocks], rows: Tensor) -> Iterator[tuple[str, Column]]:
    """Yield the lists of rows (int64 [R]), or runs of rows ([R, 2]), of several pieces, those of one dtype in one tensor."""
    layout = blocks[0].layout
    for begin, end in layout.groups:
        values = [one for block in blocks for one in block.values[begin:end]]
        offsets, flat, sizes = pack_lists([block.offsets[begin:end] for block in blocks], values, rows)
        lists = map(Ragged, flat.split_with_sizes(sizes.tolist()), zip(offsets.unbind(), strict=True))
        yield from zip(layout.lists[begin:end], lists, strict=True)


# Columns that lie by themselves: one after the other.


def _joined(parts: Sequence[tuple[dict[str, Column], int, int]]) -> dict[str, Column]:
    cut = [{name: _between(column, begin, end) for name, column in columns.items()} for columns, begin, end in parts]
    return cut[0] if len(cut) == 1 else {name: _concatenate([columns[name] for columns in cut]) for name in cut[0]}


def _between(column: Column, begin: int, end: int) -> Column:
    if isinstance(column, Tensor):
        return column[begin:end]
    levels = []
    for offsets in column.offsets:
        here = offsets[begin : end + 1]
        begin, end = int(here[0]), int(here[-1])
        levels.append(here - begin)
    weights = None if column.weights is None else column.weights[begin:end]
    return Ragged(column.values[begin:end], tuple(levels), weights)


def _concatenate(parts: list[Column]) -> Column:
    if len(parts) == 1:
        return parts[0]
    dense = [part for part in parts if isinstance(part, Tensor)]
    if dense:
        return torch.cat(dense)
    ragged = [part for part in parts if isinstance(part, Ragged)]
    levels = [_concatenate_offsets([part.offsets[level] for part in ragged]) for level in range(len(ragged[0].offsets))]
    weights = [part.weights for part in ragged if part.weights is not None]
    return Ragged(torch.cat([part.values for part in ragged]), tuple(levels), torch.cat(weights) if weights else None)


def _concatenate_offsets(parts: list[Tensor]) -> Tensor:
    shifted, base = [parts[0]], int(parts[0][-1])
    for part in parts[1:]:
        shifted.append(part[1:] + base)
        base += int(part[-1])
    return torch.cat(shifted)
