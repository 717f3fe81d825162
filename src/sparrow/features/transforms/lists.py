"""Columns as lists, as the operators of rows take them."""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from sparrow.features.layout import flat
from sparrow.features.types import Call
from sparrow.types import Column, Ragged

NO_WEIGHTS = torch.empty(0)
# Operators read an empty tensor of offsets as one value a row.
_ONE_A_ROW = torch.empty(0, dtype=torch.int64)


@functools.lru_cache(maxsize=4096)
def packed(*rows: tuple[int, ...]) -> Tensor:
    """Return the parameters of an operator's columns, int64 [columns, parameters]: made once for a plan's calls."""
    return torch.tensor(rows, dtype=torch.int64)


def ragged_of(call: Call, column: Column) -> Ragged:
    """Return a column of lists. Raises `DataError` for a dense one, and for one string a row."""
    kind = call.transform.kind
    if not isinstance(column, Ragged):
        raise call.context.error(f"{kind} takes lists, the column holds {_dense_text(column)}")
    if column.is_bytes and len(column.offsets) == 1:
        raise call.context.error(f"{kind} takes lists, the column holds one string a row; hash it first")
    return column


def ids_of(call: Call, column: Column) -> Column:
    """Return a column of integers, as int64. Raises `DataError` for numbers and strings."""
    if isinstance(column, Ragged) and column.is_bytes:
        raise call.context.error(f"{call.transform.kind} takes integer ids, the column holds strings; hash it first")
    values = column if isinstance(column, Tensor) else column.values
    if values.is_floating_point():
        raise call.context.error(f"{call.transform.kind} takes integer ids, the column holds numbers; bucketize it first")
    if values.dtype == torch.int64:
        return column
    return values.long() if isinstance(column, Tensor) else column.with_values(values.long())


def values_and_offsets(column: Column) -> tuple[Tensor, Tensor]:
    """Return the values of a column, end to end, and the offsets of its innermost lists; empty where there is one value a row."""
    if isinstance(column, Ragged):
        return flat(column.values), column.offsets[-1]
    width = column[0].numel() if column.shape[0] else 1
    return flat(column), _ONE_A_ROW if column.dim() == 1 or width == 1 else _even_offsets(column.shape[0], width)


def weights_of(column: Column) -> Tensor:
    """Return the weights of a column as operators take them: float32, or nothing where there are none."""
    weights = column.weights if isinstance(column, Ragged) else None
    return NO_WEIGHTS if weights is None else flat(weights.float())


def with_lists(column: Ragged, values: Tensor, weights: Tensor, offsets: Tensor, *, weighted: bool) -> Ragged:
    """Return a column with other innermost lists."""
    return Ragged(values, (*column.offsets[:-1], offsets), weights if weighted else None)


@functools.lru_cache(maxsize=64)
def _even_offsets(num_rows: int, width: int) -> Tensor:
    return torch.arange(num_rows + 1) * width


def _dense_text(column: Tensor) -> str:
    return "one value a row" if column.dim() == 1 else f"{column.shape[1]} values in every row"
