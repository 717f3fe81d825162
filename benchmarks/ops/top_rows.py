"""top_rows: the 10 items of greatest weight of every list of 30 columns, beside torch's stable sorts, column by column."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import torch
from torch import Tensor

from benchmarks.harness import Options, Result
from benchmarks.ops.list_columns import NUM_COLUMNS, beside_torch, number_of, rows_of, zipf_columns
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
    values, weights, offsets = zipf_columns(options, NUM_COLUMNS, num_rows, weighted=True)
    columns = torch.tensor([[KEPT]] * NUM_COLUMNS)
    kept, kept_weights, ends = top_rows(values, weights, offsets, columns)
    for column in range(NUM_COLUMNS):
        expected = top_by_torch(values[column], weights[column], offsets[column])
        assert torch.equal(kept[column], expected[0])
        assert torch.equal(kept_weights[column], expected[1])

    yield beside_torch(
        options,
        f"30 columns, {num_rows:,} rows, 10 of 20 values",
        number_of(values),
        partial(top_rows, values, weights, offsets, columns),
        top_by_torch,
        zip(values, weights, offsets, strict=True),
        must_move_bytes=4 * number_of(values) + 20 * number_of(kept) + 16 * number_of(ends),
    )
