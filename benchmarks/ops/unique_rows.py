"""unique_rows: the distinct items of every list of 30 columns, beside torch.unique of (row, item) pairs, column by column."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from benchmarks.harness import Options, Result, compared
from benchmarks.ops.ragged import NUM_COLUMNS, columns_of, number_of, rows_of
from sparrow.ops.unique_rows.op import unique_rows


def unique_by_torch(values: Tensor, offsets: Tensor) -> Tensor:
    rows = torch.repeat_interleave(torch.arange(offsets.numel() - 1, device=values.device), offsets.diff())
    distinct, inverse = torch.unique(values, return_inverse=True)
    pairs, inverse = torch.unique(rows * distinct.numel() + inverse, return_inverse=True)
    first = torch.full_like(pairs, values.numel()).scatter_reduce_(0, inverse, torch.arange(values.numel(), device=values.device), "amin")
    return values[first.sort().values]


def run(options: Options) -> Iterable[Result]:
    num_rows = rows_of(options)
    values, _, offsets = columns_of(options, NUM_COLUMNS, num_rows)
    columns = torch.tensor([[0]] * NUM_COLUMNS)
    kept, _, ends = unique_rows(values, [], offsets, columns)
    assert all(torch.equal(one, unique_by_torch(*given)) for one, given in zip(kept, zip(values, offsets, strict=True), strict=True))

    # What a function returns the harness keeps, and memory that is kept cannot be used again, as it is from batch to batch.
    def ours() -> None:
        unique_rows(values, [], offsets, columns)

    def theirs() -> None:
        for given in zip(values, offsets, strict=True):
            unique_by_torch(*given)

    moved = 8 * (number_of(values) + number_of(kept)) + 16 * number_of(ends)
    functions = {"sparrow": ours, "torch, column by column": theirs}
    yield compared(options, f"30 columns, {num_rows:,} rows of 20 values", number_of(values), functions, must_move_bytes=moved)
