"""Ragged columns that the benchmarks of operators on rows share."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.harness import zipf_ids

NUM_COLUMNS, NUM_ROWS, MEAN = 30, 8192, 20


def columns_of(num_columns: int, num_rows: int = NUM_ROWS, *, weighted: bool = False) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """Return values (Zipf ids), weights (none unless asked for) and offsets of columns with lists of 0 to 40 items."""
    generator = torch.Generator().manual_seed(5)
    values, weights, offsets = [], [], []
    for column in range(num_columns):
        lengths = torch.randint(0, 2 * MEAN + 1, (num_rows,), generator=generator)
        offsets.append(torch.cat([lengths.new_zeros(1), lengths.cumsum(0)]))
        values.append(zipf_ids(int(offsets[-1][-1]), 1_000_000, seed=column))
        if weighted:
            weights.append(torch.rand(values[-1].numel(), generator=generator))
    return values, weights, offsets


def number_of(tensors: list[Tensor]) -> int:
    return sum(tensor.numel() for tensor in tensors)
