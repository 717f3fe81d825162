"""Ragged columns row by row, plainly: what the references of operators that combine columns share."""

from __future__ import annotations

import itertools

from torch import Tensor


def bounds_of(values: Tensor, offsets: Tensor) -> list[tuple[int, int]]:
    """Return where each row's values begin and end. No offsets at all say that each row has one value."""
    return list(itertools.pairwise(offsets.tolist() if offsets.numel() else range(values.numel() + 1)))


def lists_of(values: Tensor, offsets: Tensor) -> list[Tensor]:
    """Return the values of each row."""
    return [values[begin:end] for begin, end in bounds_of(values, offsets)]
