"""subtract_rows: a time a row minus the times of its history, of 30 columns of 8,192 rows, beside torch's repeat_interleave and -."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import torch
from torch import Tensor

from benchmarks.harness import Options, Result
from benchmarks.ops.list_columns import NUM_COLUMNS, beside_torch, dense_columns, list_columns, no_offsets, num_bytes, rows_of
from sparrow.ops.subtract_rows.layouts import ONE_A
from sparrow.ops.subtract_rows.op import subtract_rows


def _subtracted(one: Tensor, ends: Tensor, lists: Tensor) -> Tensor:
    return torch.repeat_interleave(one, ends.diff()) - lists


def run(options: Options) -> Iterable[Result]:
    num_rows, none = rows_of(options), no_offsets(options, NUM_COLUMNS)
    histories, offsets = list_columns(options, NUM_COLUMNS)
    times, columns = dense_columns(options, NUM_COLUMNS), torch.full((NUM_COLUMNS,), ONE_A)
    for dtype in (torch.int64, torch.float32):
        a, b = [one.to(dtype) for one in times], [one.to(dtype) for one in histories]
        expected = [_subtracted(*column) for column in zip(a, offsets, b, strict=True)]
        got = subtract_rows(a, none, b, offsets, columns)
        assert all(torch.equal(mine, theirs) for mine, theirs in zip(got, expected, strict=True))
        moved = num_bytes(a, b, offsets, got)
        del got, expected

        yield beside_torch(
            options,
            f"30 columns of {num_rows:,} rows, {dtype}",
            NUM_COLUMNS * num_rows,
            partial(subtract_rows, a, none, b, offsets, columns),
            _subtracted,
            zip(a, offsets, b, strict=True),
            unit="M rows/s",
            must_move_bytes=moved,
        )
