"""Rows of decoded pieces -> the columns of a batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sparrow.io.read import Piece
from sparrow.types import Column, Ragged


def pack(parts: Sequence[tuple[Piece, int, int]]) -> dict[str, Column]:
    """Return the rows begin..end of pieces, one after the other. A run inside one piece shares its memory."""
    cut = [{name: _between(column, begin, end) for name, column in piece.columns.items()} for piece, begin, end in parts]
    return cut[0] if len(cut) == 1 else {name: _concatenate([columns[name] for columns in cut]) for name in cut[0]}


def pack_rows(pieces: Sequence[Piece], index: Tensor) -> dict[str, Column]:
    """Return the rows `index` (int64 [rows], in any order, also repeated) of the concatenation of `pieces`."""
    whole = pack([(piece, 0, piece.num_rows) for piece in pieces])
    return {name: _take(column, index) for name, column in whole.items()}


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


def _take(column: Column, index: Tensor) -> Column:
    if isinstance(column, Tensor):
        return column[index]
    levels = []
    for offsets in column.offsets:
        lengths = offsets.diff()[index]
        out = torch.zeros(index.numel() + 1, dtype=torch.int64)
        torch.cumsum(lengths, 0, out=out[1:])
        # Element j of row i lies at offsets[index[i]] + j.
        index = torch.repeat_interleave(offsets[:-1][index] - out[:-1], lengths) + torch.arange(int(out[-1]))
        levels.append(out)
    return Ragged(column.values[index], tuple(levels), None if column.weights is None else column.weights[index])


def _concatenate(parts: list[Column]) -> Column:
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
