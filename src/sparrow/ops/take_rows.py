"""Chosen rows of a column, dense or ragged."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from sparrow.ops.pack_lists.op import pack_lists
from sparrow.types import Column, Ragged


def take_rows(column: Column, index: Tensor) -> Column:
    """Return rows `index` (int64 [rows], any order, also repeated) of a column. Cost: a pass over what is taken."""
    if isinstance(column, Tensor):
        return column[index]
    runs = index = index.contiguous()
    levels: list[Tensor] = []
    for offsets, inner in itertools.pairwise(column.offsets):
        # Only the bounds of an outer level are wanted: a value for each of its elements, as they lie in memory, will do.
        levels.append(pack_lists([offsets[None]], [inner[:-1]], runs)[0][0])
        runs = offsets[torch.stack([runs, runs + 1], 1) if runs is index else runs]
    innermost = [column.offsets[-1][None]]
    bounds, values, _ = pack_lists(innermost, [column.values.contiguous()], runs)
    weights = None if column.weights is None else pack_lists(innermost, [column.weights.contiguous()], runs)[1]
    return Ragged(values, (*levels, bounds[0]), weights)
