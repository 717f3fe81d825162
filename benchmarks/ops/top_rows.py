"""top_rows: the 10 items of greatest weight of every list of 30 columns, beside torch's stable sorts, column by column."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from benchmarks.harness import Options, Result, compared
from benchmarks.ops.ragged import NUM_COLUMNS, columns_of, number_of, rows_of
from sparrow.ops.top_rows.op import top_rows

KEPT = 10


def top_by_torch(values: Tensor, weights: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor]:
    rows = torch.repeat_interleave(torch.arange(offsets.numel() - 1, device=values.device), offsets.diff())
    order = torch.sort(weights, descending=True, stable=True).indices
    order = order[torch.sort(rows[order], stable=True).indices]
    rank = torch.arange(order.numel(), device=values.device) - offsets[:-1][rows]
    kept = torch.sort(order[rank < KEPT]).values
    return values[kept], weights[kept]


def run(options: Options) -> Iterable[Result]:
    num_rows = rows_of(options)
    values, weights, offsets = columns_of(options, NUM_COLUMNS, num_rows, weighted=True)
    columns = torch.tensor([[KEPT]] * NUM_COLUMNS)
    kept, kept_weights, ends = top_rows(values, weights, offsets, columns)
    for column in range(NUM_COLUMNS):
        expected = top_by_torch(values[column], weights[column], offsets[column])
        assert torch.equal(kept[column], expected[0])
        assert torch.equal(kept_weights[column], expected[1])

    # What a function returns the harness keeps, and memory that is kept cannot be used again, as it is from batch to batch.
    def ours() -> None:
        top_rows(values, weights, offsets, columns)

    def theirs() -> None:
        for given in zip(values, weights, offsets, strict=True):
            top_by_torch(*given)

    moved = 4 * number_of(values) + 20 * number_of(kept) + 16 * number_of(ends)
    functions = {"sparrow": ours, "torch, column by column": theirs}
    yield compared(options, f"30 columns, {num_rows:,} rows, 10 of 20 values", number_of(values), functions, must_move_bytes=moved)
