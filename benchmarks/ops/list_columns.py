"""Columns of lists that the benchmarks of operators on many ragged columns share: 30 columns of 8,192 rows, 20 values a row on average."""

from __future__ import annotations

import torch
from torch import Tensor

NUM_COLUMNS, NUM_ROWS, LONGEST = 30, 8192, 40
NO_OFFSETS, NO_WEIGHTS = torch.zeros(0, dtype=torch.int64), torch.zeros(0)


def list_column(generator: torch.Generator, *, shortest: int = 0, longest: int = LONGEST, num_ids: int = 10**9) -> tuple[Tensor, Tensor]:
    """Return ids and offsets of rows of `shortest` to `longest` ids, all lengths as likely."""
    offsets = torch.zeros(NUM_ROWS + 1, dtype=torch.int64)
    offsets[1:] = torch.randint(shortest, longest + 1, (NUM_ROWS,), generator=generator).cumsum(0)
    return torch.randint(0, num_ids, (int(offsets[-1]),), generator=generator), offsets


def list_columns(count: int, *, shortest: int = 0, longest: int = LONGEST, num_ids: int = 10**9) -> tuple[list[Tensor], list[Tensor]]:
    """Return ids and offsets of `count` columns."""
    generator = torch.Generator().manual_seed(5)
    columns = [list_column(generator, shortest=shortest, longest=longest, num_ids=num_ids) for _ in range(count)]
    return [ids for ids, _ in columns], [offsets for _, offsets in columns]


def dense_columns(count: int) -> list[Tensor]:
    """Return `count` columns of one id a row."""
    generator = torch.Generator().manual_seed(6)
    return [torch.randint(0, 10**9, (NUM_ROWS,), generator=generator) for _ in range(count)]


def paired(first: list[Tensor], second: list[Tensor]) -> list[Tensor]:
    """Return first[0], second[0], first[1], ...: the inputs of results of two each."""
    return [one for pair in zip(first, second, strict=True) for one in pair]


def num_bytes(*lists: list[Tensor]) -> int:
    """Return the bytes of all tensors."""
    return sum(one.numel() * one.element_size() for tensors in lists for one in tensors)
