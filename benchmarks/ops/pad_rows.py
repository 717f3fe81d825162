"""pad_rows: 30 columns as rows of 20, values and mask, beside torch's own masks, column by column."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import torch
from torch import Tensor

from benchmarks.harness import Options, Result
from benchmarks.ops.list_columns import MEAN, NUM_COLUMNS, beside_torch, number_of, rows_of, zipf_columns
from sparrow.ops.pad_rows.op import pad_rows


def mask_by_torch(offsets: Tensor) -> Tensor:
    return torch.arange(MEAN, device=offsets.device) < offsets.diff()[:, None]


def padded_by_torch(values: Tensor, offsets: Tensor) -> Tensor:
    is_there = mask_by_torch(offsets)
    places = (offsets[:-1, None] + torch.arange(MEAN, device=offsets.device)).clamp_(max=values.numel() - 1)
    return torch.where(is_there, values[places], 0)


def run(options: Options) -> Iterable[Result]:
    num_rows = rows_of(options)
    values, _, offsets = zipf_columns(options, NUM_COLUMNS, num_rows)
    columns = torch.tensor([[1, MEAN, 0, 0, 0, 0, 0]] * NUM_COLUMNS)
    num_items = NUM_COLUMNS * num_rows * MEAN
    masks = pad_rows([], offsets, columns, True)
    for column, out in enumerate(pad_rows(values, offsets, columns)):
        assert torch.equal(out.view(num_rows, MEAN), padded_by_torch(values[column], offsets[column]))
        assert torch.equal(masks[column].view(num_rows, MEAN), mask_by_torch(offsets[column]).float())
    num_kept = int(sum(mask.sum() for mask in masks))

    yield beside_torch(
        options,
        f"30 columns, {num_rows:,} rows of 20",
        num_items,
        partial(pad_rows, values, offsets, columns),
        padded_by_torch,
        zip(values, offsets, strict=True),
        must_move_bytes=8 * (num_kept + num_items + number_of(offsets)),
    )
    yield beside_torch(
        options,
        f"30 columns, mask of {num_rows:,} rows of 20",
        num_items,
        partial(pad_rows, [], offsets, columns, True),
        lambda bounds: mask_by_torch(bounds).float(),
        [(bounds,) for bounds in offsets],
        must_move_bytes=4 * num_items + 8 * number_of(offsets),
    )
