"""Columns as plain Python rows, there and back: what the oracles of transforms work on."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor

from sparrow.types import Batch, Column, Group, Ragged, RowSpan

NESTED = "nested"
LAYOUTS = ("dense", "wide", "ragged", NESTED)


def column_of(layout: str, rows: list[Any], dtype: torch.dtype, weights: bool = False) -> Column:
    """Return `rows` as a column: numbers (dense), pairs (wide), lists (ragged) or lists of lists (nested)."""
    if layout == "dense":
        return torch.tensor(rows, dtype=dtype)
    if layout == "wide":
        return torch.tensor(rows, dtype=dtype).reshape(len(rows), 2)
    offsets, level = [_offsets(rows)], [value for row in rows for value in row]
    if layout == NESTED:
        offsets.append(_offsets(level))
        level = [value for inner in level for value in inner]
    return Ragged(torch.tensor(level, dtype=dtype), tuple(offsets), torch.arange(len(level)) / 4 if weights else None)


def strings_of(layout: str, rows: list[Any]) -> Ragged:
    """Return rows of `bytes` (dense), of lists of them (ragged) or of lists of lists (nested)."""
    offsets, level = [], rows
    for _ in range(LAYOUTS[1:].index(layout) if layout != "dense" else 0):
        offsets.append(_offsets(level))
        level = [value for row in level for value in row]
    offsets.append(_offsets(level))
    return Ragged(torch.tensor(list(b"".join(level)), dtype=torch.uint8), tuple(offsets))


def _offsets(rows: list[Any]) -> Tensor:
    return torch.tensor([0, *[len(row) for row in rows]]).cumsum(0)


def rows_of(column: Column) -> list[Any]:
    """Return a column as the rows `column_of` was given."""
    if isinstance(column, Tensor):
        return column.tolist()
    level = column.values.tolist()
    for offsets in reversed(column.offsets):
        ends = offsets.tolist()
        level = [level[begin:end] for begin, end in itertools.pairwise(ends)]
    return level


def mapped(function: Callable[[Any], Any], rows: Any) -> Any:
    """Return `rows` with `function` applied to every value."""
    return [mapped(function, row) for row in rows] if isinstance(rows, list) else function(rows)


def same(rows: Any, expected: Any, relative: float = 0.0) -> bool:
    """Whether two nests of values agree; NaN agrees with NaN."""
    if isinstance(expected, list):
        return len(rows) == len(expected) and all(same(a, b, relative) for a, b in zip(rows, expected, strict=True))
    if isinstance(expected, float) and math.isnan(expected):
        return math.isnan(rows)
    return rows == expected or (relative > 0 and math.isclose(rows, expected, rel_tol=relative))


def rows_in(layout: str, values: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    """Rows of a layout, none and empty ones too."""
    of_layout = {
        "dense": values,
        "wide": st.lists(values, min_size=2, max_size=2),
        "ragged": st.lists(values, max_size=3),
        NESTED: st.lists(st.lists(values, max_size=3), max_size=3),
    }
    return st.lists(of_layout[layout], max_size=5)


def tensors_of(batch: Batch) -> list[Tensor]:
    """Every tensor a batch holds."""
    tensors = []
    for group in batch.groups.values():
        tensors += [] if group.sample_to_row is None else [group.sample_to_row]
        for column in group.columns.values():
            if isinstance(column, Tensor):
                tensors.append(column)
            else:
                tensors += [column.values, *column.offsets, *([] if column.weights is None else [column.weights])]
    return tensors


def two_groups(item: Column, age: Column) -> Batch:
    """Five samples of two files; samples 0 to 4 belong to users 2, 0, 0, 1, 2."""
    user = Group({"age": age}, 3, torch.tensor([2, 0, 0, 1, 2]))
    return Batch({"sample": Group({"item": item}, 5), "user": user}, (RowSpan("a.orc", 7, 2), RowSpan("b.orc", 0, 3)))
