"""Columns of lists that the benchmarks of operators on many ragged columns share: 30 columns of 8,192 rows, 20 values a row on average."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.harness import Options

NUM_COLUMNS, LONGEST = 30, 40


def rows_of(options: Options) -> int:
    """Return the rows a column has: four times as many on a GPU, so that a call is long beside its launch."""
    return 64 if options.quick else 8192 if options.device == "cpu" else 32_768


def on_device(options: Options, tensors: list[Tensor]) -> list[Tensor]:
    return [tensor.to(options.device) for tensor in tensors]


def no_offsets(options: Options, count: int) -> list[Tensor]:
    """Return what stands for the offsets of `count` columns of one value a row."""
    return [torch.zeros(0, dtype=torch.int64, device=options.device)] * count


def no_weights(options: Options, count: int) -> list[Tensor]:
    return [torch.zeros(0, device=options.device)] * count


def list_columns(
    options: Options, count: int, *, shortest: int = 0, longest: int = LONGEST, num_ids: int = 10**9
) -> tuple[list[Tensor], list[Tensor]]:
    """Return ids and offsets of `count` columns: rows of `shortest` to `longest` ids, all lengths as likely."""
    generator = torch.Generator().manual_seed(5)
    columns, ends = [], []
    for _ in range(count):
        offsets = torch.zeros(rows_of(options) + 1, dtype=torch.int64)
        offsets[1:] = torch.randint(shortest, longest + 1, (rows_of(options),), generator=generator).cumsum(0)
        columns.append(torch.randint(0, num_ids, (int(offsets[-1]),), generator=generator))
        ends.append(offsets)
    return on_device(options, columns), on_device(options, ends)


def dense_columns(options: Options, count: int) -> list[Tensor]:
    """Return `count` columns of one id a row."""
    generator = torch.Generator().manual_seed(6)
    return on_device(options, [torch.randint(0, 10**9, (rows_of(options),), generator=generator) for _ in range(count)])


def bounds_of(offsets: list[Tensor], num_rows: int) -> list[Tensor]:
    """Return offsets of every column: written out where a column of one value a row has none."""
    return [one if one.numel() else torch.arange(num_rows + 1, device=one.device) for one in offsets]


def paired(first: list[Tensor], second: list[Tensor]) -> list[Tensor]:
    """Return first[0], second[0], first[1], ...: the inputs of results of two each."""
    return [one for pair in zip(first, second, strict=True) for one in pair]


def num_bytes(*lists: list[Tensor]) -> int:
    """Return the bytes of all tensors."""
    return sum(one.numel() * one.element_size() for tensors in lists for one in tensors)
