"""Cutting decoded pieces into batches of equal size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from sparrow.io.read import Piece, Position
from sparrow.types import Batch, Column, Ragged, RowSpan


def cut(pieces: Iterable[Piece], batch_size: int, *, drop_last: bool) -> Iterator[tuple[Batch, Position]]:
    """Yield batches of `batch_size` rows across pieces and files, each with the position after its last row.

    The last batch is short, or left out with `drop_last`. A batch that lies inside one piece shares its memory.
    """
    parts: list[tuple[RowSpan, dict[str, Column]]] = []
    num_rows, after = 0, Position(0, 0)
    for piece in pieces:
        begin, rows = 0, _Rows(piece.columns)
        while begin < piece.num_rows:
            end = min(piece.num_rows, begin + batch_size - num_rows)
            span = RowSpan(piece.path, piece.first_row + begin, end - begin)
            parts.append((span, rows.between(begin, end)))
            num_rows, begin = num_rows + end - begin, end
            after = Position(piece.file, piece.first_row + end)
            if num_rows == batch_size:
                yield _join(parts), after
                parts, num_rows = [], 0
        # The last piece is let go before the next is asked for.
        del piece, rows
    if parts and not drop_last:
        yield _join(parts), after


class _Rows:
    """The columns of a piece, cut at rows. The outermost offsets of all ragged columns lie in one tensor: one operation cuts them all."""

    def __init__(self, columns: dict[str, Column]) -> None:
        self._columns = columns
        outer = [column.offsets[0] for column in columns.values() if isinstance(column, Ragged)]
        self._outer = torch.stack(outer) if outer else None

    def between(self, begin: int, end: int) -> dict[str, Column]:
        bounds: Iterator[list[int]] = iter(())
        offsets: Iterator[Tensor] = iter(())
        if self._outer is not None:
            first = self._outer[:, begin : begin + 1]
            bounds = iter(torch.cat([first, self._outer[:, end : end + 1]], 1).tolist())
            offsets = iter((self._outer[:, begin : end + 1] - first).unbind())
        return {
            name: column[begin:end] if isinstance(column, Tensor) else _elements(column, next(offsets), *next(bounds))
            for name, column in self._columns.items()
        }


def _elements(column: Ragged, outer: Tensor, begin: int, end: int) -> Ragged:
    levels = [outer]
    for offsets in column.offsets[1:]:
        here = offsets[begin : end + 1]
        begin, end = int(here[0]), int(here[-1])
        levels.append(here - begin)
    weights = None if column.weights is None else column.weights[begin:end]
    return Ragged(column.values[begin:end], tuple(levels), weights)


def _join(parts: list[tuple[RowSpan, dict[str, Column]]]) -> Batch:
    if len(parts) == 1:
        span, columns = parts[0]
        return Batch.of(columns, origin=(span,))
    columns = {name: _concatenate([part[name] for _, part in parts]) for name in parts[0][1]}
    return Batch.of(columns, origin=_merge([span for span, _ in parts]))


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


def _merge(spans: list[RowSpan]) -> tuple[RowSpan, ...]:
    merged = spans[:1]
    for span in spans[1:]:
        last = merged[-1]
        if span.path == last.path:
            merged[-1] = RowSpan(last.path, last.first_row, last.num_rows + span.num_rows)
        else:
            merged.append(span)
    return tuple(merged)
