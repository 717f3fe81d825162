"""unique_rows: the distinct items of every list of 30 columns, beside torch.unique of (row, item) pairs, column by column."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import torch
from torch import Tensor

from benchmarks.harness import Options, Result
from benchmarks.ops.list_columns import NUM_COLUMNS, beside_torch, number_of, rows_of, zipf_columns
from sparrow.ops.unique_rows.op import unique_rows


def unique_by_torch(values: Tensor, offsets: Tensor) -> Tensor:
    rows = torch.repeat_interleave(torch.arange(offsets.numel() - 1, device=values.device), offsets.diff())
    distinct, inverse = torch.unique(values, return_inverse=True)
    pairs, inverse = torch.unique(rows * distinct.numel() + inverse, return_inverse=True)
    first = torch.full_like(pairs, values.numel()).scatter_reduce_(0, inverse, torch.arange(values.numel(), device=values.device), "amin")
    return values[first.sort().values]


def run(options: Options) -> Iterable[Result]:
    num_rows = rows_of(options)
    values, _, offsets = zipf_columns(options, NUM_COLUMNS, num_rows)
    columns = torch.tensor([[0]] * NUM_COLUMNS)
    kept, _, ends = unique_rows(values, [], offsets, columns)
    assert all(torch.equal(one, unique_by_torch(*given)) for one, given in zip(kept, zip(values, offsets, strict=True), strict=True))

    yield beside_torch(
        options,
        f"30 columns, {num_rows:,} rows of 20 values",
        number_of(values),
        partial(unique_rows, values, [], offsets, columns),
        unique_by_torch,
        zip(values, offsets, strict=True),
        must_move_bytes=8 * (number_of(values) + number_of(kept)) + 16 * number_of(ends),
    )
