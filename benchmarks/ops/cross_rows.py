"""cross_rows: 30 crosses of 8,192 rows, 20 ids x 1 and 5 x 5, beside gathers and hashing by torch's operations, column by column."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import torch
from torch import Tensor

from benchmarks.harness import Options, Result
from benchmarks.ops import list_columns as lists
from benchmarks.ops.list_columns import NUM_COLUMNS, paired
from sparrow.ops.cross_rows.op import cross_rows

MULTIPLIER = 0xC6A4A7935BD1E995 - 2**64


def _shifted(x: Tensor) -> Tensor:
    return (x >> 47) & ((1 << 17) - 1)


def _hashed(x: Tensor, y: Tensor) -> Tensor:
    state = torch.full_like(x, 16) * MULTIPLIER
    for word in (x, y):
        word = word * MULTIPLIER
        state = (state ^ (word ^ _shifted(word)) * MULTIPLIER) * MULTIPLIER
    state = (state ^ _shifted(state)) * MULTIPLIER
    return state ^ _shifted(state)


def _crossed(x: Tensor, x_offsets: Tensor, y: Tensor, y_offsets: Tensor) -> tuple[Tensor, Tensor]:
    lengths = x_offsets.diff()
    row = torch.repeat_interleave(torch.arange(lengths.numel(), device=x.device), lengths)
    per_id = y_offsets.diff()[row]
    ends = per_id.cumsum(0)
    second = torch.arange(int(ends[-1]), device=x.device) + torch.repeat_interleave(y_offsets[row] - ends + per_id, per_id)
    sizes = (x_offsets.diff() * y_offsets.diff()).cumsum(0)
    return _hashed(torch.repeat_interleave(x, per_id), y[second]), torch.cat([sizes.new_zeros(1), sizes])


def run(options: Options) -> Iterable[Result]:
    num_rows = lists.rows_of(options)
    histories, history_offsets = lists.list_columns(options, NUM_COLUMNS)
    dense = lists.dense_columns(options, NUM_COLUMNS)
    short, short_offsets = lists.list_columns(options, 2 * NUM_COLUMNS, shortest=5, longest=5)
    cases = {
        "20 x 1": (paired(histories, dense), paired(history_offsets, lists.no_offsets(options, NUM_COLUMNS))),
        "5 x 5": (short, short_offsets),
    }
    first_input = torch.arange(0, 2 * NUM_COLUMNS + 1, 2)
    for name, (values, offsets) in cases.items():
        weights = lists.no_weights(options, len(values))
        ends = lists.bounds_of(offsets, num_rows)
        columns = list(zip(values[::2], ends[::2], values[1::2], ends[1::2], strict=True))
        crossed = cross_rows(values, weights, offsets, first_input)
        assert all(torch.equal(got, _crossed(*column)[0]) for got, column in zip(crossed[0], columns, strict=True))
        moved = lists.num_bytes(values, offsets, *crossed)
        del crossed

        yield lists.beside_torch(
            options,
            f"30 crosses of {num_rows:,} rows, {name}",
            NUM_COLUMNS * num_rows,
            partial(cross_rows, values, weights, offsets, first_input),
            _crossed,
            columns,
            unit="M rows/s",
            must_move_bytes=moved,
        )
