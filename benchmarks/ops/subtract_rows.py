"""subtract_rows: a time a row minus the times of its history, of 30 columns of 8,192 rows, beside torch's repeat_interleave and -."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from benchmarks.harness import Options, Result, compared
from benchmarks.ops.list_columns import NUM_COLUMNS, dense_columns, list_columns, no_offsets, num_bytes, rows_of
from sparrow.ops.subtract_rows.layouts import ONE_A
from sparrow.ops.subtract_rows.op import subtract_rows


def run(options: Options) -> Iterable[Result]:
    num_rows, none = rows_of(options), no_offsets(options, NUM_COLUMNS)
    histories, offsets = list_columns(options, NUM_COLUMNS)
    times, columns = dense_columns(options, NUM_COLUMNS), torch.full((NUM_COLUMNS,), ONE_A)
    for dtype in (torch.int64, torch.float32):
        a, b = [one.to(dtype) for one in times], [one.to(dtype) for one in histories]
        expected = [torch.repeat_interleave(one, ends.diff()) - lists for one, ends, lists in zip(a, offsets, b, strict=True)]
        got = subtract_rows(a, none, b, offsets, columns)
        assert all(torch.equal(mine, theirs) for mine, theirs in zip(got, expected, strict=True))
        moved = num_bytes(a, b, offsets, got)
        del got, expected

        # What a function returns the harness keeps, and memory that is kept cannot be used again, as it is from batch to batch.
        def ours(a: list[torch.Tensor] = a, b: list[torch.Tensor] = b) -> None:
            subtract_rows(a, none, b, offsets, columns)

        def theirs(a: list[torch.Tensor] = a, b: list[torch.Tensor] = b) -> None:
            for one, ends, lists in zip(a, offsets, b, strict=True):
                torch.repeat_interleave(one, ends.diff()) - lists

        functions = {"sparrow": ours, "torch, column by column": theirs}
        yield compared(
            options, f"30 columns of {num_rows:,} rows, {dtype}", NUM_COLUMNS * num_rows, functions, unit="M rows/s", must_move_bytes=moved
        )
