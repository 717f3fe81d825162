"""Ragged columns that the benchmarks of operators on rows share."""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from benchmarks.harness import Options, zipf_ids
from benchmarks.ops.list_columns import rows_of as rows_of

NUM_COLUMNS, MEAN = 30, 20


def many_columns(options: Options) -> int:
    """Return how many columns a wide batch has."""
    return 40 if options.quick else 200


def columns_of(
    options: Options, num_columns: int, num_rows: int, *, weighted: bool = False
) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """Return values (Zipf ids), weights (none unless asked for) and offsets of columns with lists of 0 to 40 items. Shared: leave them."""
    return _columns_of(options.device, num_columns, num_rows, weighted)


@functools.lru_cache(4)
def _columns_of(device: str, num_columns: int, num_rows: int, weighted: bool) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    generator = torch.Generator().manual_seed(5)
    values, weights, offsets = [], [], []
    for column in range(num_columns):
        lengths = torch.randint(0, 2 * MEAN + 1, (num_rows,), generator=generator)
        offsets.append(torch.cat([lengths.new_zeros(1), lengths.cumsum(0)]).to(device))
        values.append(zipf_ids(int(offsets[-1][-1]), 1_000_000, seed=column).to(device))
        if weighted:
            weights.append(torch.rand(values[-1].numel(), generator=generator).to(device))
    return values, weights, offsets


def number_of(tensors: list[Tensor]) -> int:
    return sum(tensor.numel() for tensor in tensors)
