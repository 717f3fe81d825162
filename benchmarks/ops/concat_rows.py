"""concat_rows: 30 pairs of columns of 8,192 rows, 20 ids + 20 and 20 + 1, beside torch.cat and a gather, column by column."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import torch
from torch import Tensor

from benchmarks.harness import Options, Result
from benchmarks.ops import list_columns as lists
from benchmarks.ops.list_columns import NUM_COLUMNS, paired
from sparrow.ops.concat_rows.op import concat_rows


def _joined(x: Tensor, x_offsets: Tensor, y: Tensor, y_offsets: Tensor) -> tuple[Tensor, Tensor]:
    """Each value is scattered to its place: its own, and behind as many values as the other column has before it."""
    out = x.new_empty(x.numel() + y.numel())
    out[torch.arange(x.numel(), device=x.device) + torch.repeat_interleave(y_offsets[:-1], x_offsets.diff())] = x
    out[torch.arange(y.numel(), device=y.device) + torch.repeat_interleave(x_offsets[1:], y_offsets.diff())] = y
    return out, x_offsets + y_offsets


def run(options: Options) -> Iterable[Result]:
    num_rows = lists.rows_of(options)
    values, offsets = lists.list_columns(options, 2 * NUM_COLUMNS)
    histories, history_offsets = values[:NUM_COLUMNS], offsets[:NUM_COLUMNS]
    cases = {
        "20 + 20": (values, offsets),
        "20 + 1": (
            paired(histories, lists.dense_columns(options, NUM_COLUMNS)),
            paired(history_offsets, lists.no_offsets(options, NUM_COLUMNS)),
        ),
    }
    first_input = torch.arange(0, 2 * NUM_COLUMNS + 1, 2)
    for name, (inputs, bounds) in cases.items():
        weights = lists.no_weights(options, len(inputs))
        ends = lists.bounds_of(bounds, num_rows)
        columns = list(zip(inputs[::2], ends[::2], inputs[1::2], ends[1::2], strict=True))
        joined = concat_rows(inputs, weights, bounds, first_input)
        assert all(torch.equal(got, _joined(*column)[0]) for got, column in zip(joined[0], columns, strict=True))
        moved = lists.num_bytes(inputs, bounds, *joined)
        del joined

        yield lists.beside_torch(
            options,
            f"30 pairs of columns of {num_rows:,} rows, {name}",
            NUM_COLUMNS * num_rows,
            partial(concat_rows, inputs, weights, bounds, first_input),
            _joined,
            columns,
            unit="M rows/s",
            must_move_bytes=moved,
        )
