"""How a column lies in memory, and where its values came from."""

from __future__ import annotations

import torch
from torch import Tensor

from sparrow.types import Column, Ragged


def flat(values: Tensor) -> Tensor:
    """Return values end to end, as operators take them: a column may be a strided view of a larger tensor."""
    return values.reshape(-1).contiguous() if values.dim() != 1 or not values.is_contiguous() else values


def values_of(column: Column) -> Tensor:
    """Return the values of a column, end to end. A dense column of bytes is one of integers, not of strings."""
    if isinstance(column, Ragged):
        return flat(column.values)
    return flat(column).long() if column.dtype == torch.uint8 else flat(column)


def row_of(column: Column, position: int) -> int:
    """Return the row that holds value number `position`."""
    if isinstance(column, Tensor):
        return position // max(1, column[0].numel())
    for offsets in reversed(column.offsets):
        position = int(torch.searchsorted(offsets, position, right=True)) - 1
    return position


def nbytes_of(column: Column) -> int:
    """Return the bytes of all tensors of a column."""
    if isinstance(column, Tensor):
        return column.nbytes
    weights = 0 if column.weights is None else column.weights.nbytes
    return column.values.nbytes + weights + sum(level.nbytes for level in column.offsets)
