"""Columns as lists, as the operators of rows take them."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable
from numbers import Real

import torch
from torch import Tensor

from sparrow.errors import ConfigError
from sparrow.features.layout import flat
from sparrow.features.types import Call
from sparrow.ops import recorded
from sparrow.ops.value_bits import value_bits
from sparrow.types import Column, Ragged


@functools.lru_cache(maxsize=64)
def nothing(dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return a tensor of no elements, made once: of weights where a column has none, of offsets where there is one value a row."""
    return torch.empty(0, dtype=dtype, device=device)


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
    values = column if isinstance(column, Tensor) else column.values
    if values.dtype == torch.int64:
        return column
    if isinstance(column, Ragged) and column.is_bytes:
        raise call.context.error(f"{call.transform.kind} takes integer ids, the column holds strings; hash it first")
    if values.is_floating_point() or values.is_complex():
        raise call.context.error(f"{call.transform.kind} takes integer ids, the column holds numbers; bucketize it first")
    return values.long() if isinstance(column, Tensor) else column.with_values(values.long())


def innermost_of(taken: Iterable[tuple[Call, Column]]) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """Return values, weights and offsets of columns of one level at most. Raises `DataError` naming a column of more."""
    values: list[Tensor] = []
    weights: list[Tensor] = []
    offsets: list[Tensor] = []
    none: tuple[Tensor, Tensor] | None = None
    for call, column in taken:
        if none is None:
            device = column.device if isinstance(column, Tensor) else column.values.device
            none = nothing(torch.float32, device), nothing(torch.int64, device)
        if isinstance(column, Ragged):
            levels, of_column, of_weights = column.offsets, column.values, column.weights
            if len(levels) != 1:
                raise call.context.error(f"{call.transform.kind} takes lists of one level, the column has {len(levels)}")
            offsets.append(levels[0])
            weights.append(none[0] if of_weights is None else flat(of_weights.float()))
        else:
            of_column = column
            offsets.append(none[1] if column.dim() == 1 or column.shape[1:].numel() == 1 else even_offsets(column))
            weights.append(none[0])
        values.append(flat(of_column))
    return values, weights, offsets


def values_and_offsets(column: Column) -> tuple[Tensor, Tensor]:
    """Return the values of a column, end to end, and the offsets of its innermost lists; empty where there is one value a row."""
    if isinstance(column, Ragged):
        return flat(column.values), column.offsets[-1]
    return flat(column), nothing(torch.int64, column.device) if column.shape[1:].numel() == 1 else even_offsets(column)


def even_offsets(column: Tensor) -> Tensor:
    """Return the offsets of the rows of a dense column, all of one length."""
    of_shape = column.shape[0], column.shape[1:].numel(), column.device
    # What is made while a graph is captured is nothing yet, and what a cache forgets a graph must not read: there it makes its own.
    return _new_even_offsets(*of_shape) if recorded.current_on(column.device) is not None else _even_offsets(*of_shape)


def weights_of(column: Column) -> Tensor:
    """Return the weights of a column as operators take them: float32, or nothing where there are none."""
    weights = column.weights if isinstance(column, Ragged) else None
    return (
        nothing(torch.float32, column.device if isinstance(column, Tensor) else column.values.device)
        if weights is None
        else flat(weights.float())
    )


def require_value(kind: str, what: str, value: object) -> None:
    """Raise `ConfigError` unless `value` is a number that a column may hold; NaN and infinities are."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise ConfigError(f"{kind}: the {what} is {value!r}, expected a number")
    try:
        float(value)
    except OverflowError:
        raise ConfigError(f"{kind}: the {what} is beyond float64, whose largest number is 1.8e308") from None


def is_whole(value: float) -> bool:
    """Whether integers can hold `value`."""
    return math.isfinite(value) and value == int(value)


def bits_in(call: Call, what: str, value: float, dtype: torch.dtype) -> int:
    """Return the bits of `value` as `dtype`, as operators take it. Raises `DataError` where it does not fit."""
    bits = _bits(value, math.copysign(1.0, value), dtype)
    if bits is None:
        raise call.context.error(f"{call.transform.kind}: the {what} {value} does not fit {dtype}")
    return bits


@functools.lru_cache(maxsize=4096)
def _bits(value: float, sign: float, dtype: torch.dtype) -> int | None:
    """Return the bits of `value`, None where it does not fit: made once for a plan's calls. sign: tells -0.0 from 0.0, which are equal."""
    if dtype.is_floating_point:
        fits = not math.isfinite(value) or abs(value) <= torch.finfo(dtype).max
    elif dtype == torch.bool:
        fits = value in (0, 1)
    else:
        fits = is_whole(value) and torch.iinfo(dtype).min <= value <= torch.iinfo(dtype).max
    if not fits:
        return None
    return value_bits(value if dtype.is_floating_point else int(value), dtype)


def with_lists(column: Ragged, values: Tensor, weights: Tensor, offsets: Tensor, *, weighted: bool) -> Ragged:
    """Return a column with other innermost lists."""
    return Ragged(values, (*column.offsets[:-1], offsets), weights if weighted else None)


@functools.lru_cache(maxsize=64)
def _even_offsets(num_rows: int, width: int, device: torch.device) -> Tensor:
    return _new_even_offsets(num_rows, width, device)


def _new_even_offsets(num_rows: int, width: int, device: torch.device) -> Tensor:
    return torch.arange(num_rows + 1, device=device) * width


def _dense_text(column: Tensor) -> str:
    return "one value a row" if column.dim() == 1 else f"{column.shape[1]} values in every row"
